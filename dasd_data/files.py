"""Content-addressed Parquet files: a file is named by its SHA-256, on disk before it is named.

Layout choices and the measurements behind them are in the table below; readers need none of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import uuid
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
    if not _in_order(table[spec.key[0]]):
        table = table.sort_by([(name, "ascending") for name in spec.key])
    table = table.combine_chunks()
    dictionary = [c.name for c in spec.columns if c.type == pa.string() and c.name not in spec.key]
    bounded = [
        f"{c.name}.list.element" if pa.types.is_list(c.type) else c.name
        for c in spec.columns
        if c.name not in spec.texts
    ]
    handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=folder)
    os.close(handle)
    try:
        with pq.ParquetWriter(
            temporary,
            spec.schema,
            compression="zstd",
            use_dictionary=dictionary,
            column_encoding={f"{c}.list.element": "BYTE_STREAM_SPLIT" for c in spec.stream_split},
            write_statistics=bounded,
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


def _in_order(keys: pa.ChunkedArray) -> bool:
    """Whether each key is above the one before it: then sorting would only copy the rows."""
    rising = pc.less(keys.slice(0, max(len(keys) - 1, 0)), keys.slice(1))
    return bool(pc.all(rising, min_count=0).as_py())


def flush(path: Path) -> None:
    """Put a file's bytes on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


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


def check_size(path: Path, size: int) -> None:
    """Check that a file is there with its size. Raises DamagedFileError naming it.

    A link is refused: it may lead to what the reader may read and the catalog's author may not.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise DamagedFileError(f"{path} is missing: restore it from a backup") from None
    if not stat.S_ISREG(found.st_mode):
        raise DamagedFileError(
            f"{path} is a link or a folder, not a file: restore it from a backup"
        )
    if found.st_size != size:
        raise DamagedFileError(
            f"{path} is damaged: it has {found.st_size:,} bytes and was written with {size:,}; "
            "restore it from a backup"
        )


def read_checked(path: Path) -> pa.Table:
    """The rows of a content-addressed file. Raises DamagedFileError naming it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DamagedFileError(f"{path} is missing: restore it from a backup") from None
    _check_digest(path, hashlib.sha256(data).hexdigest())
    # Not `read_table`: its threads may let go of `data` after Python has ended, and abort.
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        return file.read(use_threads=False)


def read_columns(
    path: Path, names: list[str], verified: dict[str, list[int]] | None = None
) -> pa.Table:
    """Some columns of a content-addressed file, all of which is checked first, in bounded memory.

    `verified` is that of `verify`. Raises DamagedFileError naming the file.
    """
    verify(path, {} if verified is None else verified)
    return pq.read_table(path, columns=names)


class Verified(dict[str, list[int]]):
    """Files that were checked, kept in a file between runs; see `verify`. Use as a context."""

    def __init__(self, place: Path) -> None:
        self._place = place
        try:
            kept = json.loads(place.read_text())
        except (OSError, ValueError):
            kept = {}
        super().__init__(kept if isinstance(kept, dict) else {})
        self._before = dict(self)

    def __enter__(self) -> Verified:
        return self

    def __exit__(self, *error: object) -> None:
        if self == self._before:
            return
        temporary = self._place.with_suffix(f".{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_text(json.dumps(self))
            temporary.replace(self._place)
        except OSError:  # a catalog that one may only read is checked in full each time
            with contextlib.suppress(OSError):
                temporary.unlink()


def verify(path: Path, verified: dict[str, list[int]]) -> None:
    """Check that a content-addressed file still has the content it is named by.

    `verified` maps paths to [size, mtime, ctime (ns), inode] at earlier checks, and is updated: a
    file in which nothing of it changed is not read again. A program can set mtime back, ctime it
    cannot; what a failing disk changes by itself shows in neither, so `dasd-data verify` uses none.
    Raises DamagedFileError naming the file.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise DamagedFileError(
            f"{path} is missing: restore it from a backup; nothing was built from it"
        ) from None
    seen = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    if verified.get(str(path)) == seen:
        return
    with path.open("rb") as file:
        _check_digest(path, hashlib.file_digest(file, "sha256").hexdigest())
    verified[str(path)] = seen


def _check_digest(path: Path, digest: str) -> None:
    if digest != path.stem:
        raise DamagedFileError(
            f"{path} is damaged: its SHA-256 is {digest}; restore it from a backup; "
            "nothing was built from it"
        )
