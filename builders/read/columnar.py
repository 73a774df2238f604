"""Parquet, Arrow files and saved `datasets` data sets, batch by batch.

A list of numbers becomes a NumPy array (a view of the batch), which spares one Python object a
token; everything else is what `to_pylist` gives. Texts that repeat are decoded row by row, and a
row over the cap not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.read.decoded import decoded_bytes
from builders.read.footer import Footer
from builders.read.messages import CheckedMessages
from builders.read.open import ByteStream, DamagedStreamError, bomb
from builders.read.rows import ROW_CAP_BYTES, OnBytes, RawRow, repeated, size

BATCH_ROWS = 64  # rows of 64K tokens with ids and log-probs: 50 MB
BATCH_BYTES = 64 << 20
FREE_GROUPS = 4  # caps of a row that a row group or a batch may spell out as, however small it is
FREE_ROWS = 1 << 20  # rows of a batch that may take no room at all
ARROW_MAGIC = b"ARROW1"

_WIDTHS = {"BOOLEAN": 1, "INT64": 8, "DOUBLE": 8, "INT96": 12}  # of a value; of a text's place 4

# What pyarrow raises for values that it cannot read: its own errors, times out of range, time
# zones that nobody knows, text that is not UTF-8, types that nest too deeply, sizes beyond memory.
_DAMAGE = (
    pa.ArrowException, ValueError, ArithmeticError, LookupError, TypeError, NotImplementedError,
    RecursionError, MemoryError,
)  # fmt: skip


class _Shard(msgspec.Struct):
    filename: str


class _Saved(msgspec.Struct):
    """What `datasets` writes beside its files: `dataset_dict.json` or `state.json`."""

    splits: list[str] = []
    shards: list[_Shard] = msgspec.field(name="_data_files", default_factory=list)


def read_parquet(
    file: str, path: Path, on_bytes: OnBytes | None, cap: int = ROW_CAP_BYTES
) -> Iterator[RawRow]:
    """The rows of a Parquet file; a row group that is damaged is one error."""
    try:
        parquet = _opened(path)
    except (*_DAMAGE, OSError) as error:
        yield RawRow(file, 1, None, f"not a readable Parquet file: {_said(error)}")
        return
    with parquet, Footer(parquet.metadata, path.stat().st_size) as footer:
        first = 1
        for group in range(parquet.num_row_groups):
            meta = parquet.metadata.row_group(group)
            line = first
            last = first + meta.num_rows - 1
            stored = 0
            try:
                if last < first - 1:
                    raise ValueError(f"it says that it has {meta.num_rows} rows")
                columns = footer.columns(group)
                stored = sum(c.total_compressed_size for c in columns)
                rows = _batch_rows(meta.num_rows, columns, cap)
                for batch in parquet.iter_batches(rows, row_groups=[group]):
                    yield from _rows(file, line, batch, cap)
                    line += batch.num_rows
            except (*_DAMAGE, OSError) as error:
                reason = f"row group {group} is damaged from here to row {max(line, last)}"
                yield RawRow(file, line, None, f"{reason}: {_said(error)}")
            first = max(line, last + 1)  # the counts of a damaged file may contradict its rows
            if on_bytes:
                on_bytes(stored)


def _opened(path: Path) -> pq.ParquetFile:
    """The file, its texts as they are stored: each once, with the rows that have it."""
    options = {"pre_buffer": False, "page_checksum_verification": True}
    parquet = pq.ParquetFile(path, **options)
    columns = [parquet.schema.column(i) for i in range(len(parquet.schema))]
    texts = [c.path for c in columns if c.physical_type == "BYTE_ARRAY"]
    metadata = parquet.metadata
    parquet.close()
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=texts, **options)


def _batch_rows(rows: int, columns: list[pq.ColumnChunkMetaData], cap: int) -> int:
    """How many rows of a group to read at a time. Raises ValueError where its rows are a bomb.

    A number takes as many bytes as its type has, however few it is stored in.
    """
    values = sum(c.num_values * _WIDTHS.get(c.physical_type, 4) for c in columns)
    stored = sum(c.total_compressed_size for c in columns)
    most = max(values, *(c.total_uncompressed_size for c in columns), 0)
    if said := bomb(most, stored, FREE_GROUPS * cap):
        raise ValueError(f"it is {said}")
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(values, 1)))


def read_arrow(
    file: str, stream: ByteStream, first: int = 1, cap: int = ROW_CAP_BYTES
) -> Iterator[RawRow]:
    """The rows of an Arrow IPC stream or file (a stream between two magic words)."""
    line = first
    try:
        if stream.peek(8).startswith(ARROW_MAGIC):
            stream.read(8)
        messages = CheckedMessages(stream, FREE_GROUPS * cap)
        with pa.ipc.open_stream(pa.PythonFile(messages, mode="r")) as batches:
            for batch in batches:
                batch.validate(full=True)  # offsets and indices that point outside would be read
                stored = batch.get_total_buffer_size()  # `nbytes` ends the process on a union
                if batch.num_rows > FREE_ROWS + 8 * stored:  # less than a bit for each
                    raise ValueError(f"it is a bomb: {batch.num_rows:,} rows in {stored:,} bytes")
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from _rows(file, line + start, batch.slice(start, BATCH_ROWS), cap)
                line += batch.num_rows
    except (*_DAMAGE, OSError, DamagedStreamError) as error:
        yield RawRow(file, line, None, f"the Arrow data is damaged from here on: {_said(error)}")


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote this folder by `save_to_disk`: a Dataset or a DatasetDict."""
    return _description(folder) is not None


def _description(folder: Path) -> list[str] | None:
    """The splits of a saved dict, else the files of a saved data set; None: it is neither."""
    for name in ("dataset_dict.json", "state.json"):
        try:
            saved = msgspec.json.decode((folder / name).read_bytes(), type=_Saved)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        names = saved.splits + [shard.filename for shard in saved.shards]
        if names and all(Path(n).name == n != ".." for n in names):  # none of another folder
            return names
    return None


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved data set, in the order of its rows; of all splits of a dict."""
    paths = [folder / name for name in _description(folder) or ()]
    return [f for p in paths for f in (saved_files(p) if p.is_dir() else [p])]


def _rows(file: str, first: int, batch: pa.RecordBatch, cap: int) -> Iterator[RawRow]:
    """The rows of a batch, of which no more is decoded at a time than BATCH_BYTES or one row."""
    sizes = sum((decoded_bytes(column) for column in batch.columns), np.zeros(len(batch), np.int64))
    start = 0
    while start < len(batch):
        if sizes[start] > cap:
            reason = f"the row is {size(int(sizes[start]))} long, over the cap of {size(cap)}"
            yield RawRow(file, first + start, None, reason)
            start += 1
            continue
        over = np.flatnonzero(sizes[start:].cumsum() > min(BATCH_BYTES, cap))
        stop = start + max(1, int(over[0])) if len(over) else len(batch)
        yield from _decoded_rows(file, first + start, batch.slice(start, stop - start))
        start = stop


def _decoded_rows(file: str, first: int, batch: pa.RecordBatch) -> Iterator[RawRow]:
    """The rows of a batch; where the batch has a bad value, only its row is an error."""
    names = batch.schema.names
    try:
        if (twice := repeated(names)) is not None:
            raise ValueError(f"the column {twice[:80]!r} stands twice")
        columns = [_column(c) for c in batch.columns]
    except _DAMAGE as error:
        if batch.num_rows == 1:
            yield RawRow(file, first, None, f"a value cannot be read: {_said(error)}")
            return
        for i in range(batch.num_rows):
            yield from _decoded_rows(file, first + i, batch.slice(i, 1))
        return
    for i, values in enumerate(zip(*columns, strict=True)):
        yield RawRow(file, first + i, dict(zip(names, values, strict=True)))


def _said(error: BaseException) -> str:
    """What an error says, in a line of a length that one reads."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _column(column: pa.Array) -> list[Any]:
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or not (
        pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)
    ):
        return list(column.to_pylist())
    flat = column.flatten()  # of these rows: a null of another would turn all numbers into floats
    if flat.null_count:
        return list(column.to_pylist())
    values, stop = flat.to_numpy(zero_copy_only=False), 0
    rows: list[Any] = []
    for length in column.value_lengths().to_pylist():
        start, stop = stop, stop + (length or 0)
        rows.append(None if length is None else values[start:stop])
    return rows
