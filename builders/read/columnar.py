"""Parquet, Arrow files and saved `datasets` data sets, batch by batch.

A list of numbers becomes a NumPy array (a view of the batch), which spares one Python object a
token; everything else is what `to_pylist` gives.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.read.open import ByteStream, DamagedStreamError
from builders.read.rows import OnBytes, RawRow

BATCH_ROWS = 64  # rows of 64K tokens with ids and log-probs: 50 MB
ARROW_MAGIC = b"ARROW1"


def read_parquet(file: str, path: Path, on_bytes: OnBytes | None) -> Iterator[RawRow]:
    """The rows of a Parquet file; a row group that is damaged is one error."""
    try:
        parquet = pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        yield RawRow(file, 1, None, f"not a readable Parquet file: {error}")
        return
    with parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            meta = parquet.metadata.row_group(group)
            line = first
            try:
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group]):
                    yield from _rows(file, line, batch)
                    line += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                reason = (
                    f"row group {group} is damaged from here to row {first + meta.num_rows - 1}"
                )
                yield RawRow(file, line, None, f"{reason}: {error}")
            first += meta.num_rows
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
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from _rows(file, line + start, batch.slice(start, BATCH_ROWS))
                line += batch.num_rows
    except (pa.ArrowException, OSError, DamagedStreamError) as error:
        yield RawRow(file, line, None, f"the Arrow data is damaged from here on: {error}")


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote this folder by `save_to_disk`: a Dataset or a DatasetDict."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def saved_files(folder: Path) -> list[Path]:
    """The Arrow files of a saved data set, in the order of its rows; of all splits of a dict."""
    if (folder / "dataset_dict.json").is_file():
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
        return list(itertools.chain.from_iterable(saved_files(folder / s) for s in splits))
    state = json.loads((folder / "state.json").read_text())
    return [folder / f["filename"] for f in state["_data_files"]]


def _rows(file: str, first: int, batch: pa.RecordBatch) -> Iterator[RawRow]:
    """The rows of a batch; where the batch has a bad value, only its row is an error."""
    try:
        columns = [_column(c) for c in batch.columns]
    except (UnicodeDecodeError, pa.ArrowException, ValueError) as error:
        if batch.num_rows == 1:
            yield RawRow(file, first, None, f"a value cannot be read: {error}")
            return
        for i in range(batch.num_rows):
            yield from _rows(file, first + i, batch.slice(i, 1))
        return
    names = batch.schema.names
    for i, values in enumerate(zip(*columns, strict=True)):
        yield RawRow(file, first + i, dict(zip(names, values, strict=True)))


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
