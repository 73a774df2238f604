"""Reading rows from files: JSONL, JSON, Parquet, CSV, Arrow, also gzip or zstd, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builders.read.columnar import read_arrow, read_parquet, saved_files
from builders.read.delimited import read_delimited
from builders.read.document import read_document
from builders.read.expand import expand, kind_of, stored_bytes
from builders.read.lines import read_jsonl
from builders.read.open import ByteStream
from builders.read.rows import EXCERPT_BYTES, ROW_CAP_BYTES, OnBytes, RawRow, shown
from builders.read.sniff import UTF8_BOM, is_parquet, sniff

__all__ = ["RawRow", "expand", "read", "shown", "stored_bytes"]

_READERS = {"jsonl": read_jsonl, "document": read_document, "delimited": read_delimited}
_REFUSED = {
    "utf-16": "the file is UTF-16: convert it to UTF-8",
    "unknown": "neither JSON, CSV, Parquet nor Arrow: name a CSV file .csv or .tsv",
}


def read(
    path: str | Path, *, row_cap_bytes: int = ROW_CAP_BYTES, on_bytes: OnBytes | None = None
) -> Iterator[RawRow]:
    """The rows of one input of `expand`, in memory bounded by the longest row and `row_cap_bytes`.

    What cannot be read, if it is the file itself, is a row with an `error`; the rows around it
    are kept. Of a compressed file no more is read than `open.RATIO_CAP` times its size, and
    `open.FREE_BYTES`. `on_bytes` is told how many more bytes of the file, as stored, have been
    read (see `stored_bytes`). A file that cannot be stored under its name has its bytes escaped.
    """
    path = Path(path)
    line = 1
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            yield RawRow(shown(path), 1, None, f"not a file but {kind_of(path)}")
            return
        for row in _rows(path, row_cap_bytes, on_bytes):
            line = row.line + 1
            yield row
    except OSError as error:  # no permission, gone since it was listed, a disk that fails
        yield RawRow(shown(path), line, None, f"the file cannot be read: {error.strerror}")


def _rows(path: Path, row_cap_bytes: int, on_bytes: OnBytes | None) -> Iterator[RawRow]:
    file = shown(path)
    if path.is_dir():
        line = 1
        for part in saved_files(path):
            with ByteStream(part, on_bytes) as stream:
                for row in read_arrow(file, stream, line, row_cap_bytes):
                    line = row.line + 1
                    yield row
    elif is_parquet(path):
        yield from read_parquet(file, path, on_bytes, row_cap_bytes)
    else:
        with ByteStream(path, on_bytes) as stream:
            form = sniff(path, stream)
            if form == "arrow":
                yield from read_arrow(file, stream, cap=row_cap_bytes)
                return
            if form in _REFUSED:
                yield RawRow(file, 1, None, _REFUSED[form], stream.peek(EXCERPT_BYTES))
                return
            if stream.peek(3).startswith(UTF8_BOM):
                stream.read(3)
            yield from _READERS[form](file, stream, row_cap_bytes)
