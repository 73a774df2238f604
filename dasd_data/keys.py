"""Identifiers: 128-bit hashes as 32 hexadecimal digits, and 64-bit hashes of row contents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa


def digest(kind: str, *parts: Any) -> str:
    """Hash of JSON-representable parts under a kind, as 32 hexadecimal digits (BLAKE2b-128).

    Stable across machines and versions: parts are encoded as canonical JSON.
    """
    text = json.dumps([kind, *parts], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def question_id(text: str, system: str | None = None) -> str:
    """Id of a question: a hash of its text and, where it came with one, of its system prompt."""
    return digest("question", text) if system is None else digest("question", text, system)


def content_hashes(table: pa.Table, columns: Iterable[str]) -> np.ndarray:
    """64-bit content hash of every row over `columns`, an int64 array of shape [rows].

    Hashes the values' own bytes (BLAKE2b-64), column by column, with lengths and nulls, so that it
    depends on values only: not on chunking, offsets or library versions.
    """
    table = table.combine_chunks()
    encoded = [_encoded(table[name].combine_chunks()) for name in columns]
    result = np.empty(len(table), np.int64)
    for row in range(len(table)):
        state = hashlib.blake2b(digest_size=8)
        for values in encoded:
            value = values[row]
            if value is None:
                state.update(b"\0")
            else:
                state.update(b"\1" + len(value).to_bytes(8, "little"))
                state.update(value)
        result[row] = int.from_bytes(state.digest(), "little", signed=True)
    return result


def _encoded(column: pa.Array) -> list[Any]:
    """Each value of a column as bytes, or None."""
    kind = column.type
    if pa.types.is_string(kind):
        return column.cast(pa.binary()).to_pylist()
    if pa.types.is_list(kind):
        present = column.values.is_valid().to_numpy(zero_copy_only=False)
        values = column.values.fill_null(0).to_numpy()
        ends = column.offsets.to_numpy()
        valid = column.is_valid().to_pylist()
        rows = [slice(ends[i], ends[i + 1]) if valid[i] else None for i in range(len(column))]
        return [None if r is None else _list_bytes(values[r], present[r]) for r in rows]
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return [None if v is None else repr(v).encode() for v in column.to_pylist()]


def _list_bytes(values: np.ndarray, present: np.ndarray) -> bytes:
    """A list's values, and where one is null, which."""
    return values.tobytes() + (b"" if present.all() else b"null" + present.tobytes())


def first_of_key(keys: pa.Table) -> np.ndarray:
    """For each row, the number of the first row with the same key, [rows] int64."""
    first: dict[tuple[Any, ...], int] = {}
    columns = [column.to_pylist() for column in keys.columns]
    rows = [first.setdefault(k, i) for i, k in enumerate(zip(*columns, strict=True))]
    return np.array(rows, np.int64)


class KeyIndex:
    """Keys already in a table, with their content hashes: 24 bytes a key.

    Keys are compared by two 64-bit hashes that need to be stable only within this process.
    """

    def __init__(self) -> None:
        self._high = np.empty(0, np.uint64)
        self._low = np.empty(0, np.uint64)
        self._content = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._high)

    def add(self, keys: pa.Table, content: np.ndarray) -> None:
        """Add keys (a table of the key columns) with their content hashes, [rows] int64."""
        high, low = _hashes(keys)
        order = np.argsort(high, kind="stable")
        at = np.searchsorted(self._high, high[order])
        self._high = np.insert(self._high, at, high[order])
        self._low = np.insert(self._low, at, low[order])
        self._content = np.insert(self._content, at, content[order])

    def find(self, keys: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Which keys are there, [rows] bool, and their content hashes, [rows] int64 (0: absent)."""
        high, low = _hashes(keys)
        found = np.zeros(len(high), bool)
        content = np.zeros(len(high), np.int64)
        if len(self._high) == 0:
            return found, content
        at = np.searchsorted(self._high, high)
        open_rows = np.arange(len(high))
        while len(open_rows):  # one turn, but for keys that agree in their first 64 bits
            open_rows = open_rows[at[open_rows] < len(self._high)]
            open_rows = open_rows[self._high[at[open_rows]] == high[open_rows]]
            hit = self._low[at[open_rows]] == low[open_rows]
            found[open_rows[hit]] = True
            content[open_rows[hit]] = self._content[at[open_rows[hit]]]
            open_rows = open_rows[~hit]
            at[open_rows] += 1
        return found, content


def _hashes(keys: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    row = pl.struct(pl.all())
    frame = pl.from_arrow(keys)
    assert isinstance(frame, pl.DataFrame)
    both = frame.select(high=row.hash(seed=0), low=row.hash(seed=1))
    return both["high"].to_numpy(), both["low"].to_numpy()
