"""Texts of chosen rows, read from the files of their table.

DuckDB says where they are, by ids alone: handed the texts, it takes twice the CPU time and several
times the memory for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dasd_data.errors import DamagedFileError
from dasd_data.schema import TABLES
from dasd_data.session import Session, parquet

BATCH_ROWS, BATCH_BYTES = 8_192, 4 << 20  # of texts at once, or about one longer text
_READ_BYTES = 1 << 20  # of a column at once


def texts(
    session: Session, table: str, columns: Sequence[str], numbered: str
) -> Iterator[pa.RecordBatch]:
    """`_row`, the number of each row, by which a batch is in order, and `columns` of a table.

    `numbered` is SQL of our own that gives the table's key and `_row`; a row may have several.
    """
    if paths := session.files.get(table):
        (key,) = TABLES[table].key
        found = session.table(
            "SELECT filename, list({'place': file_row_number, '_row': _row}) AS rows"
            f" FROM {parquet(paths)} INNER JOIN ({numbered}) USING ({key}) GROUP BY filename"
        )
        for filename, rows in zip(found["filename"], found["rows"], strict=True):
            place, number = (rows.values.field(n).to_numpy() for n in ("place", "_row"))
            order = np.argsort(place)
            path = Path(filename.as_py())
            try:
                yield from _read(path, columns, place[order], number[order])
            except (OSError, pa.ArrowInvalid) as error:
                raise DamagedFileError(
                    f"{path} cannot be read ({error}): `dasd-data verify` names what is damaged",
                    path,
                ) from error


def _read(
    path: Path, columns: Sequence[str], place: NDArray[np.int64], number: NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """The rows of a file at `place`, which rises: its rows are counted from 0."""
    with pq.ParquetFile(
        path, buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True
    ) as file:
        end = 0
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            start, end = end, end + about.num_rows
            if np.searchsorted(place, start) == np.searchsorted(place, end):
                continue
            sizes = (about.column(n) for n in range(about.num_columns))
            size = sum(c.total_uncompressed_size for c in sizes if c.path_in_schema in columns)
            step = min(max(BATCH_BYTES * about.num_rows // max(size, 1), 1), BATCH_ROWS)
            for batch in file.iter_batches(step, [group], columns, use_threads=False):
                first, last = np.searchsorted(place, (start, start + len(batch)))
                for at in range(first, last, len(batch)):  # a row may be asked for many times
                    here = place[at : min(at + len(batch), last)] - start
                    whole = np.array_equal(here, np.arange(len(batch)))
                    found = batch if whole else batch.take(here)
                    yield found.add_column(0, "_row", pa.array(number[at : at + len(here)]))
                start += len(batch)
