"""Parquet, Arrow files and saved `datasets` data sets, batch by batch.

A list of numbers becomes a NumPy array (a view of the batch), which spares one Python object a
token; everything else is what `to_pylist` gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from builders.read.open import ByteStream, DamagedStreamError
from builders.read.rows import OnBytes, RawRow, repeated

BATCH_ROWS = 64  # rows of 64K tokens with ids and log-probs: 50 MB
ARROW_MAGIC = b"ARROW1"

# What pyarrow raises for values that it cannot read: its own errors, times out of range, time
# zones that nobody knows, text that is not UTF-8, types that nest too deeply.
_DAMAGE = (
    pa.ArrowException, ValueError, ArithmeticError, LookupError, TypeError, NotImplementedError,
    RecursionError,
)  # fmt: skip


class _Shard(msgspec.Struct):
    filename: str


class _Saved(msgspec.Struct):
    """What `datasets` writes beside its files: `dataset_dict.json` or `state.json`."""

    splits: list[str] = []
    shards: list[_Shard] = msgspec.field(name="_data_files", default_factory=list)


def read_parquet(file: str, path: Path, on_bytes: OnBytes | None) -> Iterator[RawRow]:
    """The rows of a Parquet file; a row group that is damaged is one error."""
    try:
        parquet = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
    except (*_DAMAGE, OSError) as error:
        yield RawRow(file, 1, None, f"not a readable Parquet file: {_said(error)}")
        return
    with parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            meta = parquet.metadata.row_group(group)
            line = first
            last = first + meta.num_rows - 1
            try:
                if last < first - 1:
                    raise ValueError(f"it says that it has {meta.num_rows} rows")
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group]):
                    yield from _rows(file, line, batch)
                    line += batch.num_rows
            except (*_DAMAGE, OSError) as error:
                reason = f"row group {group} is damaged from here to row {max(line, last)}"
                yield RawRow(file, line, None, f"{reason}: {_said(error)}")
            first = max(line, last + 1)  # the counts of a damaged file may contradict its rows
            if on_bytes:
                on_bytes(sum(meta.column(i).total_compressed_size for i in range(meta.num_columns)))


def read_arrow(file: str, stream: ByteStream, first: int = 1) -> Iterator[RawRow]:
    """The rows of an Arrow IPC stream or file (a stream between two magic words)."""
    line = first
    try:
        if stream.peek(8).startswith(ARROW_MAGIC):
            stream.read(8)
        with pa.ipc.open_stream(pa.PythonFile(stream, mode="r")) as batches:
            for batch in batches:
                batch.validate(full=True)  # offsets and indices that point outside would be read
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from _rows(file, line + start, batch.slice(start, BATCH_ROWS))
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


def _rows(file: str, first: int, batch: pa.RecordBatch) -> Iterator[RawRow]:
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
            yield from _rows(file, first + i, batch.slice(i, 1))
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
    if column.flatten().null_count:
        return list(column.to_pylist())
    values = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_pylist()
    valid = column.is_valid().to_pylist()
    return [
        values[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid, strict=False)
    ]
