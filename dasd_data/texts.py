"""The texts of a split, put in the order of its rows: an external merge sort.

A sort of whole rows copies each text several times, and spills them besides. Here a text is
written once, to a file without a name, in runs that are each in order, and read once. In memory
are one run, and while runs are merged a piece of each: 4 MB for a gigabyte of text. The file is in
TMPDIR, and DuckDB's spill limit does not count it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

RUN_BYTES = 32 << 20  # put in order in memory
PIECE_BYTES = 128 << 10  # of each run that are in memory while runs are merged
SCHEMA = pa.schema([("_row", pa.int64()), ("text", pa.string())])


class Texts:
    """Texts of rows 0 .. n-1, numbered by `_row`, that came in any order. Use as a context.

    `sizes` are the bytes of each row's text, -1 where no such row came; `taken` rows came in all.
    """

    def __init__(self, rows: int) -> None:
        self.sizes: NDArray[np.int64] = np.full(rows, -1, np.int64)
        self.taken = 0
        self._runs: list[range] = []  # of numbers of the file's pieces
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - gone with the process, if killed

    def __enter__(self) -> Texts:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def spill(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take all rows, of SCHEMA. Raises OSError where the disk is full."""
        with pa.ipc.new_file(self._file, SCHEMA) as writer:
            pieces = 0
            for run in _runs(batches):
                step = max(len(run) * PIECE_BYTES // max(run.nbytes, 1), 1)
                lengths = pc.fill_null(pc.binary_length(run["text"]), 0)
                self.sizes[run["_row"].to_numpy()] = lengths.to_numpy()
                self.taken += len(run)
                writer.write_table(_in_order(run), max_chunksize=step)
                self._runs.append(range(pieces, pieces + -(-len(run) // step)))
                pieces = self._runs[-1].stop
        self._file.flush()

    def groups(self, ends: Iterable[int]) -> Iterator[pa.Array]:
        """The texts of the rows before each of `ends`, which rise, from the one before it on."""
        self._file.seek(0)
        with pa.ipc.open_file(self._file) as reader:
            runs = [_Run(reader, pieces) for pieces in self._runs]
            for end in ends:
                parts = [part for run in runs for part in run.before(end)]
                yield _in_order(pa.Table.from_batches(parts, SCHEMA))["text"].chunk(0)


class _Run:
    """Rows in order, read piece by piece."""

    def __init__(self, reader: pa.ipc.RecordBatchFileReader, pieces: range) -> None:
        self._reader, self._pieces = reader, iter(pieces)
        self._piece: pa.RecordBatch | None = None

    def before(self, end: int) -> Iterator[pa.RecordBatch]:
        """The rows before `end` that were not yet given."""
        while True:
            if self._piece is None:
                number = next(self._pieces, None)
                if number is None:
                    return
                self._piece = self._reader.get_batch(number)
            stop = int(np.searchsorted(self._piece["_row"].to_numpy(), end))
            if stop < len(self._piece):
                if stop:
                    yield self._piece[:stop]
                    self._piece = self._piece[stop:]
                return
            yield self._piece
            self._piece = None


def _runs(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches gathered into tables of about RUN_BYTES."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= RUN_BYTES:
            run, waiting, size = pa.Table.from_batches(waiting), [], 0
            yield run
    if waiting:
        yield pa.Table.from_batches(waiting)


def _in_order(rows: pa.Table) -> pa.Table:
    """One chunk of the rows by number; without a copy where they are that."""
    number = rows["_row"].to_numpy()
    if rows["_row"].num_chunks == 1 and (number[1:] > number[:-1]).all():
        return rows
    return rows.combine_chunks().take(np.argsort(number))
