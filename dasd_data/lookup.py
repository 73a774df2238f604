"""Texts of chosen rows, read from the files of their table.

DuckDB says where they are, by ids alone: to read them takes it several times the memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dasd_data import shards
from dasd_data.errors import DamagedFileError, UsageError
from dasd_data.schema import TABLES
from dasd_data.session import Session, parquet

BATCH_ROWS, BATCH_BYTES = 8_192, 4 << 20  # of texts at once, or about one longer text
_READ_BYTES = 1 << 20  # of a column at once


def texts(
    session: Session, table: str, columns: Sequence[str], numbered: str
) -> Iterator[pa.RecordBatch]:
    """`_row`, the number of each row, and `columns` of a table, in no order.

    `numbered` is SQL of our own that gives the table's key and `_row`; a row may have several.
    Raises DamagedFileError.
    """
    paths = session.files.get(table)
    if not paths:
        return iter(())
    (key,) = TABLES[table].key
    try:
        found = session.table(
            "SELECT filename, list({'place': file_row_number, '_row': _row}) AS rows"
            f" FROM {parquet(paths)} INNER JOIN ({numbered}) USING ({key}) GROUP BY filename"
        )
    except UsageError as error:  # not of the user: what DuckDB takes invalid files for
        raise _damaged(f"a file of {table}", error) from error
    return _texts(found, columns)


def _texts(found: pa.Table, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for filename, rows in zip(found["filename"], found["rows"], strict=True):
        place, number = (rows.values.field(n).to_numpy() for n in ("place", "_row"))
        order = np.argsort(place)
        place, number = place[order], number[order]
        for start, batch in _batches(Path(filename.as_py()), columns, place):
            here = slice(*np.searchsorted(place, (start, start + len(batch))))
            for part, numbers in _parts(place[here] - start, number[here], batch):
                yield part.add_column(0, "_row", pa.array(numbers))


def _parts(
    place: NDArray[np.int64], number: NDArray[np.int64], batch: pa.RecordBatch
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """The rows of a batch at `place`, few enough at once: a long one may be asked for often."""
    if np.array_equal(place, np.arange(len(batch))):
        yield batch, number
        return
    sizes = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    ends = shards.group_ends(sizes[place], BATCH_ROWS, BATCH_BYTES)
    for first, last in itertools.pairwise([0, *ends]):
        yield batch.take(place[first:last]), number[first:last]


def _batches(
    path: Path, columns: Sequence[str], place: NDArray[np.int64]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of a file and the place of the first row of each, from 0; those without rows at
    `place`, which rises, may be left out.

    Raises DamagedFileError.
    """
    try:
        with pq.ParquetFile(
            path, buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True
        ) as file:
            end = 0
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                start, end = end, end + about.num_rows
                if np.searchsorted(place, start) == np.searchsorted(place, end):
                    continue
                # Of all columns: pyarrow ends the process over damaged metadata of one.
                size = max(about.total_byte_size, 1)
                step = min(max(BATCH_BYTES * about.num_rows // size, 1), BATCH_ROWS)
                for batch in file.iter_batches(step, [group], columns, use_threads=False):
                    yield start, batch
                    start += len(batch)
                if start != end:
                    raise pa.ArrowInvalid(f"row group {group} lacks {end - start:,} rows")
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise _damaged(str(path), error, path) from error


def _damaged(what: str, error: Exception, path: Path | None = None) -> DamagedFileError:
    return DamagedFileError(
        f"{what} cannot be read ({error}): `dasd-data verify` names what is damaged", path
    )
