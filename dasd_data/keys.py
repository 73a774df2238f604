"""Identifiers: 128-bit hashes as 32 hexadecimal digits, and 64-bit hashes of row contents."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

_HASHED_BYTES = 16 << 20  # of values that are put in a row at a time


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

    BLAKE2b-64, as a little-endian signed integer, of the columns' values one after the other. A
    value is a byte, 0 for null, 1 for a list with a null in it, else 2; then 8 bytes: a number as
    int64 or float64, little-endian, a time in its unit, or, of text and lists, the length in bytes;
    then those bytes: UTF-8, or the list's items in their own width, nulls as 0, and after a 1 one
    byte an item, 1 where it is there. So it depends on values only: not on chunking, offsets,
    library versions or platforms.
    """
    names = list(columns)
    rows = max(1, _HASHED_BYTES * len(table) // max(table.nbytes, 1))
    digests = b"".join(
        digest
        for start in range(0, len(table), rows)
        for digest in _digests(table.slice(start, rows), names)
    )
    return np.frombuffer(digests, "<i8").astype(np.int64)


def _digests(rows: pa.Table, columns: list[str]) -> Iterator[bytes]:
    """The hash of each row over `columns`."""
    pieces = [_binary(np.empty(0, np.uint8), np.zeros(len(rows) + 1))]  # there may be no column
    for name in columns:
        pieces += _pieces(rows[name])
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))
    data = memoryview(joined.buffers()[2] or b"")
    ends = np.frombuffer(joined.buffers()[1], np.int64, len(joined) + 1, 8 * joined.offset)
    for start, stop in itertools.pairwise(ends.tolist()):
        yield hashlib.blake2b(data[start:stop], digest_size=8).digest()


def _pieces(column: pa.ChunkedArray) -> list[pa.Array]:
    """The bytes of each value, as binary arrays to be joined: head, then what is not fixed."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_list(array.type):
        bodies, whole = _list_bytes(array, valid)
    elif pa.types.is_string(array.type):
        bodies, whole = [array.cast(pa.large_binary()).fill_null(b"")], valid
    else:
        return [_heads(valid, valid, _numbers(array))]
    sizes = pc.binary_length(bodies[0]).to_numpy()
    return [_heads(valid, whole, sizes.astype("<i8")), *bodies]


def _numbers(array: pa.Array) -> np.ndarray:
    """Numbers as they are hashed: 8 bytes each, 0 for null."""
    if pa.types.is_floating(array.type):
        values = array.cast(pa.float64()).fill_null(0.0).to_numpy()
        return np.where(np.isnan(values), np.nan, values).astype("<f8")  # one NaN of the many
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    return array.cast(pa.int64()).fill_null(0).to_numpy().astype("<i8")


def _heads(valid: np.ndarray, whole: np.ndarray, values: np.ndarray) -> pa.Array:
    """A byte that says null, with nulls or whole, and 8 bytes of `values` where not null."""
    heads = np.empty(len(valid), [("kind", "u1"), ("value", values.dtype)])
    heads["kind"] = valid.astype(np.uint8) + (valid & whole)
    heads["value"] = values
    sizes = np.where(valid, 9, 1)
    if not valid.all():
        keep = np.arange(9) < sizes[:, None]
        return _binary(heads.view(np.uint8).reshape(-1, 9)[keep], np.append(0, sizes.cumsum()))
    return _binary(heads, np.append(0, sizes.cumsum()))


def _list_bytes(array: pa.Array, valid: np.ndarray) -> tuple[list[pa.Array], np.ndarray]:
    """The items of each list, and if any is null, which are there; and which lists are whole."""
    items, at = array.values, array.offsets.to_numpy().astype(np.int64)
    values = items.fill_null(0).to_numpy()
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    starts, stops = np.where(valid, at[:-1], 0), np.where(valid, at[1:], 0)
    bodies = [_binary(little, at * little.itemsize)]
    if not valid.all():
        bodies = [pc.if_else(pa.array(valid), bodies[0], pa.scalar(b"", pa.large_binary()))]
    if not items.null_count:
        return bodies, np.ones(len(array), np.bool_)
    there = items.is_valid().to_numpy(zero_copy_only=False)
    absent = np.append(0, np.cumsum(~there))
    whole = absent[stops] == absent[starts]
    empty = pa.scalar(b"", pa.large_binary())
    bodies.append(pc.if_else(pa.array(whole), empty, _binary(there.view(np.uint8), at)))
    return bodies, whole


def _binary(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """The bytes of an array between ascending offsets, without a copy."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def first_of_key(keys: pa.Table) -> np.ndarray:
    """For each row, the number of the first row with the same key, [rows] int64."""
    high, low = _hashes(keys)
    order = np.lexsort((low, high))  # stable: rows of one key stay in their order
    high, low = high[order], low[order]
    begins = np.append(True, (high[1:] != high[:-1]) | (low[1:] != low[:-1]))[: len(order)]
    first = np.empty(len(order), np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def kept(table: pa.Table, mask: np.ndarray) -> pa.Table:
    """The rows that a mask keeps; without a copy where that is all of them."""
    return table if mask.all() else table.filter(pa.array(mask))


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
