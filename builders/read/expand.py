"""From what the user names - files, folders, globs - to the list of inputs."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from builders.read.columnar import is_saved_dataset, saved_files
from builders.read.sniff import SUFFIXES, plain_suffix
from dasd_data.errors import UsageError, closest

# Descriptions that data sets bring along, which hold no rows.
_DESCRIPTIONS = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
)


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """The inputs that `paths` name, each once, in the order of `paths`, sorted within each.

    A file is taken whatever its ending. A folder is searched to all depths for files of known
    endings, hidden ones left out; one written by `datasets.save_to_disk` is one input. A
    glob may hold `**`. Raises UsageError naming a path that is not there or holds no input.
    """
    inputs: dict[str, Path] = {}
    for path in paths:
        for found in _expand_one(str(path)):
            inputs.setdefault(os.path.realpath(found), found)
    return list(inputs.values())


def stored_bytes(paths: Iterable[Path]) -> int:
    """The total that the progress of `read` over these inputs runs up to."""
    files = (f for p in paths for f in (saved_files(p) if p.is_dir() else [p]))
    return sum(f.stat().st_size for f in files if f.is_file())


def kind_of(path: Path) -> str:
    """What a path is that is no file: `a pipe`, `a device`, ..."""
    mode = path.stat().st_mode
    kinds = {"a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK, "a folder": stat.S_ISDIR}
    return next((name for name, is_kind in kinds.items() if is_kind(mode)), "a device")


def _expand_one(name: str) -> Iterator[Path]:
    path = Path(name)
    if path.exists():
        yield from _inputs(path)
    elif glob.has_magic(name):
        matches = [Path(m) for m in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207
        files = [m for m in matches if m.is_file() or is_saved_dataset(m)]
        if not files:
            raise UsageError(f"{name}: no file matches this pattern")
        yield from files
    else:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = closest(path.name, beside) if len(beside) <= 1000 else ""
        raise UsageError(f"{name}: no such file or folder{near}")


def _inputs(path: Path) -> Iterator[Path]:
    if path.is_file() or is_saved_dataset(path):
        yield path
        return
    if not path.is_dir():
        raise UsageError(f"{path}: not a file but {kind_of(path)}: write it to a file first")
    found = list(_in_folder(path, set()))
    if not found:
        raise UsageError(f"{path}: no file in this folder ends in {', '.join(SUFFIXES)}")
    yield from found


def _in_folder(folder: Path, seen: set[str]) -> Iterator[Path]:
    """The inputs below a folder, once if links lead to it in several ways or in a circle."""
    if (real := os.path.realpath(folder)) in seen:
        return
    seen.add(real)
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if is_saved_dataset(entry):
                yield entry
            else:
                yield from _in_folder(entry, seen)
        elif plain_suffix(entry) in SUFFIXES and entry.name not in _DESCRIPTIONS:
            yield entry
