"""Parquet shards of a split: the same bytes for the same rows, whatever the thread count."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

GROUP_ROWS, GROUP_BYTES = 1_000, 32 << 20
SHARD_BYTES = 512 << 20  # of text, before compression


@dataclass(frozen=True)
class Shard:
    """A written shard: name relative to the build, SHA-256, rows and size in bytes."""

    path: str
    sha256: str
    rows: int
    bytes: int

    def json(self) -> dict[str, Any]:
        """As the manifest lists it."""
        return asdict(self)


def write(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    folder: Path,
    progress: Callable[[int], None] = lambda rows: None,
    shard_bytes: int = SHARD_BYTES,
) -> list[Shard]:
    """Write rows to `folder/data/train-NNNNN-of-NNNNN.parquet` in their order.

    Row groups and shards end by the rows' own text lengths, never by how batches came.
    """
    (folder / "data").mkdir(parents=True)
    written: list[tuple[Path, int]] = []
    out, rows, size = None, 0, 0
    for group, group_bytes in _groups(batches, schema):
        if out is None:
            path = folder / "data" / f"{len(written)}.parquet"
            out, rows, size = writer(path, schema), 0, 0
        out.write_table(group, row_group_size=len(group))
        rows, size = rows + len(group), size + group_bytes
        progress(len(group))
        if size >= shard_bytes:
            out.close()
            written.append((path, rows))
            out = None
    if out is not None:
        out.close()
        written.append((path, rows))
    return [_named(path, n, rows, len(written)) for n, (path, rows) in enumerate(written)]


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """An open shard: pages have an index and checksums, and end by content."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        write_page_index=True,
        write_page_checksum=True,
        use_content_defined_chunking=True,
    )


def _named(path: Path, number: int, rows: int, total: int) -> Shard:
    final = path.with_name(f"train-{number:05d}-of-{total:05d}.parquet")
    path.rename(final)
    with final.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(f"data/{final.name}", digest, rows, final.stat().st_size)


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[tuple[pa.Table, int]]:
    """Row groups of at most GROUP_ROWS rows and, but for a longer row, GROUP_BYTES of text."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(schema)
        lengths = pc.binary_length(
            pc.struct_field(pc.list_flatten(table["completion"]), "content")
        ).to_pylist()
        start = 0
        for end, length in enumerate(lengths):
            if rows and (rows >= GROUP_ROWS or size + length > GROUP_BYTES):
                waiting.append(table.slice(start, end - start))
                yield pa.concat_tables(waiting).combine_chunks(), size
                waiting, start, rows, size = [], end, 0, 0
            rows, size = rows + 1, size + length
        waiting.append(table.slice(start))
    if rows:
        yield pa.concat_tables(waiting).combine_chunks(), size
