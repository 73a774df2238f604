"""How many bytes the values of Arrow arrays have once each stands by itself.

A dictionary, a view or a run holds a value once for any number of rows: a file of a few KB may
spell out as gigabytes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Sizes = NDArray[np.int64]


def decoded_bytes(array: pa.Array) -> Sizes:
    """The bytes of each value of an array, at least one, [rows] int64; nothing is decoded.

    Raises IndexError where an index points outside its dictionary: Parquet's are not checked
    when they are read, and to decode such a value would read any memory.
    """
    kind, n = array.type, len(array)
    if isinstance(array, pa.ExtensionArray):
        return decoded_bytes(array.storage)
    if pa.types.is_dictionary(kind):
        sizes = decoded_bytes(array.dictionary)
        if array.null_count == n:
            return np.ones(n, np.int64)
        indices = array.indices.fill_null(0).to_numpy()
        if indices.min() < 0 or indices.max() >= len(sizes):
            raise IndexError(f"an index points outside its dictionary of {len(sizes)} values")
        return sizes[indices]
    if pa.types.is_run_end_encoded(kind):
        return np.full(n, decoded_bytes(array.values).max(initial=1))
    if kind in (pa.string_view(), pa.binary_view()):
        views = np.frombuffer(array.buffers()[1] or b"", np.int32).reshape(-1, 4)
        return np.maximum(views[array.offset : array.offset + n, 0].astype(np.int64), 1)
    if pa.types.is_struct(kind):
        return sum((decoded_bytes(field) for field in array.flatten()), np.ones(n, np.int64))
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
    if kind in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()):
        return np.maximum(pc.binary_length(array).fill_null(0).to_numpy().astype(np.int64), 1)
    try:
        return np.full(n, max(kind.bit_width // 8, 1), np.int64)
    except ValueError:  # null and unions have no width
        return np.full(n, 8, np.int64)


def _between(values: pa.Array, starts: Sizes, stops: Sizes) -> Sizes:
    """The bytes of all values from each start to before its stop."""
    if pa.types.is_primitive(values.type):  # as ids and log-probs are: without a number for each
        return np.maximum((stops - starts) * max(values.type.bit_width // 8, 1), 1)
    ends = np.zeros(len(values) + 1, np.int64)
    np.cumsum(decoded_bytes(values), out=ends[1:])
    return np.maximum(ends[stops] - ends[starts], 1)
