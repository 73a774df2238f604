"""Parquet shards of a split: the same bytes for the same rows, whatever the thread count."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dasd_data.ahead import Work, ahead
from dasd_data.files import flush_and_hash, flush_folder

GROUP_ROWS, GROUP_BYTES = 1_000, 32 << 20
SHARD_BYTES = 512 << 20  # of text, before compression
# A change sends its pages anew: with the default, of 256 KB to 1 MB, half as much again.
PAGES = {"min_chunk_size": 64 << 10, "max_chunk_size": 256 << 10, "norm_level": 0}


@dataclass(frozen=True)
class Shard:
    """A written shard: name relative to the build, SHA-256, rows, bytes as a file and as Arrow."""

    path: str
    sha256: str
    rows: int
    bytes: int
    arrow_bytes: int

    def json(self) -> dict[str, Any]:
        """As the manifest lists it."""
        return asdict(self)


def write(
    groups: Iterable[tuple[pa.Table, int]],
    schema: pa.Schema,
    folder: Path,
    progress: Callable[[int], None] = lambda rows: None,
    shard_bytes: int = SHARD_BYTES,
) -> list[Shard]:
    """Write row groups to `folder/data/train-NNNNN-of-NNNNN.parquet` in their order, and to disk.

    Each comes with its bytes of text, which decide where a shard ends; the next one is made, in a
    thread, while one is written.
    """
    (folder / "data").mkdir(parents=True)
    written: list[tuple[Path, Work[str], int, int]] = []
    out, rows, size, in_memory = None, 0, 0, 0

    def close() -> None:
        nonlocal out
        if out is not None:
            out.close()
            written.append((path, Work(partial(flush_and_hash, path)), rows, in_memory))
            written[-1][1].start()  # while the next one is written
            out = None

    with contextlib.closing(ahead(groups)) as made:
        for group, group_bytes in made:
            if out is None:
                path = folder / "data" / f"{len(written)}.parquet"
                out, rows, size, in_memory = writer(path, schema), 0, 0, 0
            out.write_table(group, row_group_size=len(group))
            rows, size, in_memory = rows + len(group), size + group_bytes, in_memory + group.nbytes
            progress(len(group))
            if size >= shard_bytes:
                close()
    close()
    named = [_named(n, len(written), *shard) for n, shard in enumerate(written)]
    flush_folder(folder / "data")
    return named


def group_ends(
    sizes: NDArray[np.int64], rows: int = GROUP_ROWS, most: int = GROUP_BYTES
) -> list[int]:
    """Where groups of rows end: after `rows` of them, or `most` bytes of text; a row that is longer
    is a group of its own.

    `sizes` are the bytes of text of each row.
    """
    total = np.concatenate(([0], np.cumsum(sizes)))
    ends = [0]
    while (start := ends[-1]) < len(sizes):
        full = int(np.searchsorted(total, total[start] + most, "right")) - 1
        ends.append(max(min(start + rows, full), start + 1))
    return ends[1:]


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """An open shard: pages have an index and checksums, and end by content.

    Texts have no dictionary: it would be one page of them all, which a row more or less changes.
    """
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[leaf for leaf in _leaves(schema) if not leaf.endswith(".content")],
        write_page_index=True,
        write_page_checksum=True,
        use_content_defined_chunking=PAGES,
    )


def _leaves(schema: pa.Schema) -> list[str]:
    """The columns as Parquet stores them, by path."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    return [column.path for column in pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema]


def _named(
    number: int, total: int, path: Path, digest: Work[str], rows: int, in_memory: int
) -> Shard:
    final = path.with_name(f"train-{number:05d}-of-{total:05d}.parquet")
    sha256 = digest.result()
    path.rename(final)
    return Shard(f"data/{final.name}", sha256, rows, final.stat().st_size, in_memory)
