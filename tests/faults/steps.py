"""Fault injection: every step at which a stage commits or touches a file, and what happens there.

Steps are the store's own (`Store.checkpoint`), a stage's progress calls, and every file that
Python opens for writing, renames, removes or makes under the job's folder, which Python's audit
events tell. What the native libraries write lies between two of these, and random kills hit it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dasd_data import store

_EVENTS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink",
    "os.truncate",
}  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = re.compile(r"[0-9a-f]{64}|tmp[a-z0-9_]{8}|[0-9a-f]{32}|\.[0-9a-f]{8}\.|[0-9a-f]{16}")


class Steps:
    """Counts the steps of this process and calls `fault(name)` at number `at`, from 1."""

    def __init__(self, folder: Path, at: int = 0, fault: Callable[[str], None] = print) -> None:
        self.folder, self.at, self.fault = str(folder), at, fault
        self.names: list[str] = []
        self.acknowledged = folder / "acknowledged"

    def __call__(self, name: str) -> None:
        """Reach a step."""
        self.names.append(name)
        if name == "snapshots: committed":
            with open(self.acknowledged, "ab", buffering=0) as file:  # noqa: PTH123
                file.write(b".")
        if len(self.names) == self.at:
            self.fault(name)

    def install(self) -> Steps:
        """Hear of every step from now on, for the rest of this process."""
        create = store.Store.__init__

        def init(this: store.Store, *arguments: Any, **more: Any) -> None:
            create(this, *arguments, **more)
            this.checkpoint = self

        store.Store.__init__ = init  # type: ignore[method-assign]
        sys.addaudithook(self._audit)
        return self

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or not isinstance(arguments[0], str | os.PathLike):
            return
        path = str(arguments[0])
        if not path.startswith(self.folder) or path == str(self.acknowledged):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        self(f"{event} {_CHANGING.sub('*', path[len(self.folder) + 1 :])}")
