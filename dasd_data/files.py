"""Content-addressed Parquet files: a file is named by its SHA-256, on disk before it is named.

Layout choices and the measurements behind them are in the table below; readers need none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dasd_data.errors import DamagedFileError
from dasd_data.schema import Table

FLAT_ROWS = 122_880  # DuckDB's own row-group size
LIST_ROWS, LIST_BYTES = 8_192, 64 << 20  # long lists: a default row group runs out of memory


def row_groups(table: pa.Table, lists: bool) -> Iterator[pa.Table]:
    """Slices of `table` that each become a row group, by rows and, for lists, by bytes."""
    if not lists:
        yield from (table.slice(i, FLAT_ROWS) for i in range(0, len(table), FLAT_ROWS))
        return
    start = 0
    while start < len(table):
        rows = min(LIST_ROWS, len(table) - start)
        while rows > 1 and table.slice(start, rows).nbytes > LIST_BYTES:
            rows //= 2
        yield table.slice(start, rows)
        start += rows


def write(folder: Path, spec: Table, table: pa.Table) -> dict[str, Any]:
    """Write `table`, sorted by its key, to `folder/<sha256>.parquet`, and flush it to disk.

    Returns the fields of a Delta add action: path (relative), size (bytes) and stats (JSON).
    """
    table = table.sort_by([(name, "ascending") for name in spec.key]).combine_chunks()
    dictionary = [c.name for c in spec.columns if c.type == pa.string() and c.name not in spec.key]
    handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        with pq.ParquetWriter(
            temporary,
            spec.schema,
            compression="zstd",
            use_dictionary=dictionary,
            column_encoding={f"{c}.list.element": "BYTE_STREAM_SPLIT" for c in spec.stream_split},
            write_page_index=True,
            write_page_checksum=True,
        ) as writer:
            for group in row_groups(table, spec.lists):
                writer.write_table(group, row_group_size=max(len(group), 1))
        digest = flush_and_hash(Path(temporary))
        path = folder / f"{digest}.parquet"
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush_folder(folder)
    key = spec.key[0]
    bounds = pc.min_max(table[key]).as_py()
    stats = {
        "numRecords": len(table),
        "minValues": {key: bounds["min"]},
        "maxValues": {key: bounds["max"]},
        "nullCount": {key: 0},
    }
    return {"path": path.name, "size": path.stat().st_size, "stats": json.dumps(stats)}


def flush_and_hash(path: Path) -> str:
    """SHA-256 of a file, after its bytes are on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(path: Path, verified: dict[str, list[int]]) -> None:
    """Check that a content-addressed file still has the content it is named by.

    `verified` maps paths to [size, mtime in ns] of earlier checks and is updated.
    Raises DamagedFileError naming the file.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise DamagedFileError(
            f"{path} is missing: restore it from a backup; nothing was built from it"
        ) from None
    seen = [stat.st_size, stat.st_mtime_ns]
    if verified.get(str(path)) == seen:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != path.stem:
        raise DamagedFileError(
            f"{path} is damaged: its SHA-256 is {digest}; restore it from a backup; "
            "nothing was built from it"
        )
    verified[str(path)] = seen
