"""The place of a build: a folder that is there whole or not at all, whoever else builds it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dasd_data import files
from dasd_data.errors import ConflictError


def read_manifest(target: Path) -> dict[str, Any] | None:
    """The manifest of the build at `target`; None where there is none that is ours."""
    try:
        manifest = json.loads((target / "manifest.json").read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    ours = isinstance(manifest, dict) and {"build_id", "shards", "view"} <= manifest.keys()
    return manifest if ours else None


def unchanged(target: Path, build_id: str) -> dict[str, Any] | None:
    """The manifest of the same build at `target`, if its shards are what it says."""
    manifest = read_manifest(target)
    if manifest is None or manifest["build_id"] != build_id:
        return None
    for shard in manifest["shards"]:
        path = target / shard["path"]
        if not path.is_file() or files.flush_and_hash(path) != shard["sha256"]:
            return None
    return manifest


@contextlib.contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold other builds of this folder's neighbourhood off, and put back what a killed one moved.

    A build that is replaced stands aside for a moment: a process that is killed then leaves it so.
    """
    if not target.parent.is_dir():
        yield
        return
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        for aside in target.parent.glob(f".{glob.escape(target.name)}.{'?' * 8}.old"):
            with contextlib.suppress(OSError):
                if target.exists():
                    shutil.rmtree(aside)
                else:
                    os.rename(aside, target)
        yield
    finally:
        os.close(handle)


def swap_card(temporary: Path, target: Path, build_id: str) -> None:
    """Put card and manifest in the place of those of the same build: the last to end has its own.

    Raises ConflictError where another build is there by now.
    """
    if (read_manifest(target) or {}).get("build_id") != build_id:
        raise ConflictError(f"another build took the place of {target}: try again")
    for name in ("README.md", "manifest.json"):
        files.flush(temporary / name)
        (temporary / name).replace(target / name)
    files.flush_folder(target)


def replace(temporary: Path, target: Path, build_id: str) -> bool:
    """Put a finished build in place; false: the same build, finished first by another, stays."""
    for _ in range(10):
        try:
            os.rename(temporary, target)  # replaces an empty folder only
            files.flush_folder(target.parent)
            return True
        except OSError:
            if unchanged(target, build_id):
                return False
        aside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.old"
        try:
            os.rename(target, aside)
        except FileNotFoundError:
            continue
        try:
            os.rename(temporary, target)
        except BaseException as error:
            if not target.exists():
                os.rename(aside, target)
            if isinstance(error, OSError):
                continue
            raise
        shutil.rmtree(aside, ignore_errors=True)
        return True
    raise ConflictError(f"other builds keep writing {target}: choose another --out")
