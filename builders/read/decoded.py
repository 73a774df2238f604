"""How many bytes the values of Arrow arrays have once each stands by itself.

A dictionary, a view or a run holds a value once for any number of rows, and values without content
take no room at all: a file of a few KB may spell out as gigabytes, or say that it has 2^60 values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Sizes = NDArray[np.int64]
MOST = 1 << 36  # counted as no more than this, so that sums stay exact
PIECE = 1 << 20  # values that are counted at a time
OBJECT = 64  # what a value of Python takes at least, within a list or a struct
FIELD = 40  # what a field takes in a dict, besides its value


def decoded_bytes(array: pa.Array) -> Sizes:
    """The bytes of each value of an array, at least one, [rows] int64; nothing is decoded.

    Raises IndexError where an index points outside its dictionary: Parquet's are not checked
    when they are read, and to decode such a value would read any memory.
    """
    kind, n = array.type, len(array)
    if isinstance(array, pa.ExtensionArray):
        return decoded_bytes(array.storage)
    if pa.types.is_dictionary(kind):
        return _looked_up(array)
    if (each := _each(array)) is not None:
        return np.full(n, each, np.int64)
    if kind in (pa.string_view(), pa.binary_view()):
        views = np.frombuffer(array.buffers()[1] or b"", np.int32).reshape(-1, 4)
        return np.maximum(views[array.offset : array.offset + n, 0].astype(np.int64), 1)
    if pa.types.is_struct(kind):
        fields = (decoded_bytes(field) for field in array.flatten())
        dicts = np.full(n, OBJECT + FIELD * kind.num_fields, np.int64)
        return np.minimum(sum(fields, dicts), MOST)
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        starts = array.offsets.to_numpy().astype(np.int64)
        return _between(array.values, starts, starts + array.sizes.to_numpy())
    if pa.types.is_fixed_size_list(kind):
        starts = (np.arange(n, dtype=np.int64) + array.offset) * kind.list_size
        return _between(array.values, starts, starts + kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        at = array.offsets.to_numpy().astype(np.int64)
        parts = [array.keys, array.items] if pa.types.is_map(kind) else [array.values]
        return sum((_between(p, at[:-1], at[1:]) for p in parts), np.zeros(n, np.int64))
    return np.maximum(pc.binary_length(array).fill_null(0).to_numpy().astype(np.int64), 1)


def _each(array: pa.Array) -> int | None:
    """The bytes that every value of an array has, or may have.

    None: they differ, and each takes some room.
    """
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _each(array.storage)
    if pa.types.is_dictionary(kind):
        return None
    if pa.types.is_run_end_encoded(kind):
        runs = array.find_physical_offset(), array.find_physical_length()
        return _most(array.values.slice(*runs))
    if pa.types.is_union(kind):  # any of its children, any number of times
        return max((_most(array.field(i)) for i in range(kind.num_fields)), default=1)
    if pa.types.is_struct(kind):
        fields = [_each(array.field(i)) for i in range(kind.num_fields)]
        known = [each for each in fields if each is not None]
        if len(known) < len(fields):
            return None
        return min(OBJECT + FIELD * len(known) + sum(known), MOST)
    if pa.types.is_fixed_size_list(kind):
        each = _each(array.values) if kind.list_size else 1
        return None if each is None else min(max(kind.list_size * each, 1), MOST)
    try:
        return max(kind.bit_width // 8, 1)
    except ValueError:
        return 8 if pa.types.is_null(kind) else None


def _most(array: pa.Array) -> int:
    each = _each(array)
    return int(decoded_bytes(array).max(initial=1)) if each is None else each


def _looked_up(array: pa.DictionaryArray) -> Sizes:
    if array.null_count == len(array):
        return np.ones(len(array), np.int64)
    known = len(array.dictionary)
    used, place = np.unique(array.indices.drop_null().to_numpy(), return_inverse=True)
    if used[0] < 0 or used[-1] >= known:
        raise IndexError(f"an index points outside its dictionary of {known} values")
    if (each := _each(array.dictionary)) is not None:
        sizes = np.full(len(used), each, np.int64)
    else:
        try:  # only of these, each once
            sizes = decoded_bytes(array.dictionary.take(pa.array(used)))
        except pa.ArrowNotImplementedError:  # of views of texts: 16 bytes each, so that all may do
            sizes = decoded_bytes(array.dictionary)[used]
    found = np.ones(len(array), np.int64)
    found[array.indices.is_valid().to_numpy(zero_copy_only=False)] = sizes[place]
    return found


def _between(values: pa.Array, starts: Sizes, stops: Sizes) -> Sizes:
    """The bytes of all values from each start to before its stop."""
    found: NDArray[Any]
    if (each := _each(values)) is not None:  # as of ids and log-probs: without a number for each
        found = (stops - starts) * float(each)
    else:
        at = np.unique(np.concatenate([starts, stops]))
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, 0)
        sums, total = np.zeros(len(at), np.int64), 0  # from the first of these places to each
        for start in range(first, last, PIECE):
            piece = values.slice(start, min(PIECE, last - start))
            ends = np.cumsum(np.maximum(decoded_bytes(piece), OBJECT))
            inside = slice(*np.searchsorted(at, [start, start + len(piece)], side="right"))
            sums[inside] = total + ends[at[inside] - start - 1]
            total += int(ends[-1])
        found = sums[np.searchsorted(at, stops)] - sums[np.searchsorted(at, starts)]
    return np.clip(found, 1, MOST).astype(np.int64)
