"""The place of a build: a folder that is there whole or not at all, whoever else builds it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from dasd_data import files, manifest
from dasd_data.errors import ConflictError, DamagedFileError
from dasd_data.manifest import Manifest


def whole(target: Path) -> Manifest | None:
    """The manifest of the build at `target`; None where there is none, or a damaged one."""
    try:
        return manifest.read(target)
    except DamagedFileError:
        return None


def unchanged(target: Path, build_id: str) -> Manifest | None:
    """The manifest of the same build at `target`, if its shards are what it says."""
    found = whole(target)
    if found is None or found["build_id"] != build_id:
        return None
    for shard in found["shards"]:
        path = target / shard["path"]
        if not path.is_file() or files.flush_and_hash(path) != shard["sha256"]:
            return None
    return found


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


def put_right(target: Path) -> None:
    """Put back a build that a killed process moved aside."""
    with alone(target):
        pass


def swap_card(temporary: Path, target: Path, made: Manifest) -> None:
    """Put card and manifest in the place of those of the same build: the last to end has its own.

    Raises ConflictError where another build is there by now.
    """
    there = whole(target)
    if there is None or not _same(there, made):
        raise ConflictError(f"another build took the place of {target}: try again")
    for name in ("README.md", manifest.NAME):
        (temporary / name).replace(target / name)
    files.flush_folder(target)


def _same(there: Manifest, made: Manifest) -> bool:
    return (there["build_id"], there["shards"]) == (made["build_id"], made["shards"])


def replace(temporary: Path, target: Path, made: Manifest) -> bool:
    """Put a finished build in place; false: the same build, finished first by another, stays."""
    for _ in range(10):
        try:
            os.rename(temporary, target)  # replaces an empty folder only
            files.flush_folder(target.parent)
            return True
        except OSError:
            there = unchanged(target, made["build_id"])
            if there and _same(there, made):
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
