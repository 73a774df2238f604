"""The catalog: whether it opens, where it lies, what was left behind in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dasd_data.doctor.finding import OK, PROBLEM, WARNING, Finding, size
from dasd_data.doctor.installation import truth
from dasd_data.doctor.machine import NETWORK, disk, file_system
from dasd_data.errors import DasdError

if TYPE_CHECKING:
    from dasd_data.catalog import Catalog

MANY_FILES = 500
_STALE_S = 3_600  # nothing writes one file for an hour
_TOLD = 3


def check(given: str | Path | None) -> Iterator[Finding]:
    """Everything about the catalog that `given` means."""
    from dasd_data import config

    try:
        path = config.load(given).catalog
    except DasdError as error:
        yield Finding("settings", PROBLEM, str(error), "mend it: no command runs before")
        return
    if not (path / "tables").is_dir():
        state = PROBLEM if given or path.exists() else WARNING
        what = f"{path} is no catalog" if path.exists() else f"there is none at {path}"
        yield Finding("catalog", state, what, f"run `dasd-data init {path}`, or pass --catalog")
        return
    yield from _place(path)
    yield from _leftovers(path)
    yield from _views(path)
    yield from _content(given, path)


def _place(path: Path) -> Iterator[Finding]:
    yield disk("catalog's disk", path, "make room: commits fail cleanly, but nothing can be added")
    kind = file_system(path)
    if kind in NETWORK or (kind or "").startswith("fuse."):
        yield Finding(
            "file system",
            WARNING,
            f"{kind}: rename and fsync may not be seen, or kept, by other machines",
            "write from one machine at a time, and keep a backup; better: a local disk",
        )
    elif kind in {"tmpfs", "ramfs"}:
        yield Finding(
            "file system", WARNING, f"{kind}: gone after a restart", "keep the catalog on a disk"
        )
    elif kind:
        yield Finding("file system", OK, kind)
    folders = [path, *(p for p in (path / "tables").glob("*") if p.is_dir())]
    closed = [p for p in folders if not os.access(p, os.R_OK | os.X_OK)]
    read_only = [p for p in folders if not os.access(p, os.W_OK)]
    if closed:
        do = f"ask the owner for `chmod -R a+rX {path}`"
        yield Finding("access", PROBLEM, f"{closed[0]} cannot be read", do)
    elif read_only:
        do = "`sql`, `views`, `show` and `build --out` work; to add to it, get the right to write"
        yield Finding("access", WARNING, f"{read_only[0]} cannot be written", do)
    else:
        yield Finding("access", OK, "can be read and written")


def _leftovers(path: Path) -> Iterator[Finding]:
    """Temporary files and folders of processes that were killed."""
    patterns = ("tables/*/*.tmp", "tables/*/_delta_log/*.tmp", "verified.*.tmp")
    found = [p for pattern in patterns for p in path.glob(pattern)]
    found += [p for p in path.glob("builds/*/.*") if p.suffix in {".tmp", ".old"}]
    stale = [p for p in found if _age(p) > _STALE_S]
    if stale:
        total = sum(_size(p) for p in stale)
        yield Finding(
            "leftovers",
            WARNING,
            f"{len(stale)} temporary files of killed processes, {size(total)}: "
            + ", ".join(map(str, stale[:_TOLD]))
            + (", …" if len(stale) > _TOLD else ""),
            "run `dasd-data gc`, or delete them: nothing reads them",
        )
    else:
        yield Finding("leftovers", OK, f"{len(found)} temporary files, none of them old")


def _views(path: Path) -> Iterator[Finding]:
    """The view files of the catalog that cannot be used."""
    from dasd_data import sqlfiles

    for name, file in sqlfiles.view_paths(path).items():
        try:
            sqlfiles.load_named(file, name)
        except DasdError as error:
            yield Finding("views", WARNING, str(error), "mend the file, or move it away")


def _content(given: str | Path | None, path: Path) -> Iterator[Finding]:
    import dasd_data

    try:
        catalog = dasd_data.open(given)
        counts = {table: len(files) for table, files in catalog.files.items()}
        missing = [p for files in catalog.files.values() for p in files if not p.is_file()]
        runs = _unfinished(catalog) if not missing else []
        scorers = catalog.scorers() if not missing else []
    except Exception as error:  # whatever a damaged log or file makes a library raise
        what = " ".join(f"{error}".split())
        do = "run `dasd-data verify`: it names what is damaged, and what to do about each"
        yield Finding("catalog", PROBLEM, f"{path} does not open: {what}", do)
        return
    if missing:
        do = "run `dasd-data verify`: it names them all; restore them from a backup"
        yield Finding("catalog", PROBLEM, f"{len(missing)} files are missing: {missing[0]}", do)
        return
    yield Finding("catalog", OK, f"{path}, snapshot {catalog.snapshot.snapshot_id}")
    table, most = max(counts.items(), key=lambda item: item[1])
    if most > MANY_FILES:
        do = "run `dasd-data compact`"
        yield Finding("files", WARNING, f"{most:,} in {table}: every query is slower", do)
    else:
        yield Finding("files", OK, f"{sum(counts.values()):,}, at most {most:,} in a table")
    if runs:
        yield Finding(
            "runs",
            WARNING,
            f"{len(runs)} of the last 10 never said how they ended: {', '.join(runs)}",
            "still running, or killed: run the same command again, it goes on where it was",
        )
    else:
        yield Finding("runs", OK, "the last ones ended in order")
    paths = {str(row["tokenizer_path"]) for row in scorers if row["tokenizer_path"]}
    yield from (_tokenizer(name) for name in sorted(paths))


def _unfinished(catalog: Catalog) -> list[str]:
    from dasd_data import sqlfiles

    session = catalog.session()
    rows = session.rows(sqlfiles.report("status_runs"))
    session.close()
    ended = {"done", "failed", "interrupted"}
    return [f"{row['stage']} of {row['started']}" for row in rows if row["state"] not in ended]


def _tokenizer(name: str) -> Finding:
    """Whether a scorer's tokenizer is still where it was read from."""
    do = "give it again with --tokenizer when you ingest or score"
    if Path(name).is_absolute() or name.count("/") != 1:
        if Path(name).expanduser().exists():
            return Finding("tokenizer", OK, name)
        return Finding("tokenizer", WARNING, f"{name} is not there any more", do)
    if Path(name).exists():
        return Finding("tokenizer", OK, name)
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "tokenizer.json"), str):
        return Finding("tokenizer", OK, f"{name}, in the Hub's local cache")
    if truth(os.environ.get("HF_HUB_OFFLINE")):
        return Finding(
            "tokenizer", WARNING, f"{name} is not on this machine, and offline is set", do
        )
    try:
        get_hf_file_metadata(hf_hub_url(name, "tokenizer.json"), timeout=5)
    except Exception as error:  # network, authorization or a name that is not there
        what = f"{name}: the Hub does not give it ({type(error).__name__})"
        return Finding("tokenizer", WARNING, what, do)
    return Finding("tokenizer", OK, f"{name}, on the Hub")


def _age(path: Path) -> float:
    return time.time() - path.lstat().st_mtime


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)
