"""What the readers yield: one row of a file, or the reason why it is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

ROW_CAP_BYTES = 256 << 20
EXCERPT_BYTES = 4096
PEEK_BYTES = 1 << 20  # by which a file's format is told

OnBytes = Callable[[int], None]  # told how many bytes of the file, as stored, were read since


@dataclass(slots=True)
class RawRow:
    """One row: either `value`, a dict, or `error`, the reason why it cannot be read.

    `line` counts from 1: the line of a JSONL file, the element of a JSON array or of
    concatenated objects, the row of a table. `raw` is the beginning of the row as it stands
    in the file, None where the file holds no text (Parquet, Arrow).
    """

    file: str
    line: int
    value: dict[str, Any] | None
    error: str | None = None
    raw: bytes | None = None

    def excerpt(self) -> bytes:
        """The first 4 KB of the row, for the quarantine; rows of tables are written as JSON."""
        if self.raw is not None:
            return self.raw[:EXCERPT_BYTES]
        if self.value is None:
            return b""
        try:
            return msgspec.json.encode(self.value, enc_hook=_plain)[:EXCERPT_BYTES]
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
            return ", ".join(self.value).encode("utf-8", "replace")[:EXCERPT_BYTES]  # its columns


def repeated(names: Iterable[str]) -> str | None:
    """The first name that comes twice, None if there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def shown(path: Path) -> str:
    """A path as text that can be stored: a byte that is not UTF-8 is written `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """Arrays of numbers as lists, anything else JSON has no type for as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def size(n_bytes: int) -> str:
    """A number of bytes as a reader of messages wants it: `256 MB`, `4096 bytes`."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if n_bytes >= unit and n_bytes % unit == 0:
            return f"{n_bytes // unit} {name}"
    return f"{n_bytes} bytes"
