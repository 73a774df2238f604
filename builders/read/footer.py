"""What the footer of a Parquet file says of its columns, of damaged files too.

`pyarrow.parquet.RowGroupMetaData.column` ends the process where statistics of the column are at
odds with its type: the C++ exception passes it by. A reader raises the same as an OSError.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq


class _ReachedError(Exception):
    """A reader has come to the data of a column: it has taken what the footer says of it."""


class _NoData(io.RawIOBase):
    """A file of a size that raises _ReachedError as soon as it is read."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> NoReturn:
        raise _ReachedError


class Footer(AbstractContextManager["Footer"]):
    """The columns of a file's row groups, each tried by a reader without data first."""

    def __init__(self, metadata: pq.FileMetaData, size: int) -> None:
        self._metadata = metadata
        source = pa.PythonFile(_NoData(size), mode="r")
        self._parquet = pq.ParquetFile(source, metadata=metadata, pre_buffer=False)

    def __exit__(self, *_error: object) -> None:
        self._parquet.close(force=True)

    def columns(self, group: int) -> list[pq.ColumnChunkMetaData]:
        """What it says of each column of a row group. Raises OSError where that is damaged."""
        row_group = self._metadata.row_group(group)
        for i in range(row_group.num_columns):
            try:
                reader = self._parquet.reader
                next(reader.iter_batches(1, [group], column_indices=[i], use_threads=False), None)
            except _ReachedError:
                continue
        return [row_group.column(i) for i in range(row_group.num_columns)]
