"""Folders for what does not fit in memory, gone with their process however it ends.

A folder is locked while its process lives. A process that was killed leaves it behind, and the next
one that asks for a folder removes it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "dasd-scratch-"
_NEW = 60  # seconds: one without a lock may be just being made

_of_processes: dict[tuple[int, str], Path] = {}


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder in TMPDIR that goes with this context. Raises OSError."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as made:
        handle = os.open(made, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)  # until this process ends, however it does
            yield Path(made)
        finally:
            os.close(handle)


def of_process() -> Path:
    """The folder in TMPDIR of this process, made when it is first asked for. Raises OSError."""
    key = os.getpid(), tempfile.gettempdir()  # a forked process has one of its own
    if key not in _of_processes:
        held = contextlib.ExitStack()
        _of_processes[key] = held.enter_context(folder())
        atexit.register(lambda: held.close() if os.getpid() == key[0] else None)
    return _of_processes[key]


def _sweep() -> None:
    """Remove the folders of this user's processes that were killed: no one holds their lock."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or gone
            handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                about = os.fstat(handle)
                if about.st_uid == os.getuid() and time.time() - about.st_mtime > _NEW:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left)
            finally:
                os.close(handle)
