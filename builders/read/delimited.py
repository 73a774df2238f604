"""CSV and TSV with a header row, in bounded memory. An empty field is None."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from builders.read.lines import Line, lines
from builders.read.open import ByteStream
from builders.read.rows import EXCERPT_BYTES, RawRow, repeated

csv.field_size_limit(2**31 - 1)  # the cap on a row is ours; the module's default is 128 KB
_BLANK = re.compile(rb"(?:\r?\n)+")  # no record, unless a quote is open


class _TooLongError(Exception):
    """A line that cannot be handed to the csv module; the message is the reason."""


class _Text:
    """Lines as the csv module takes them; keeps the beginning of the record being read."""

    source: Iterator[Line]

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.begin()

    def begin(self) -> None:
        self.raw, self.length, self.lines = b"", 0, 0

    def __iter__(self) -> _Text:
        return self

    def __next__(self) -> str:
        line = next(self.source)
        self.length += len(line.text) + 1
        self.lines += 1
        if len(self.raw) < EXCERPT_BYTES:
            self.raw += line.text[:EXCERPT_BYTES] + b"\n"
        if line.error:
            raise _TooLongError(line.error)
        if self.length > self.cap:
            raise _TooLongError("the row is over the cap: is a quote left open?")
        return line.text.decode("utf-8", "surrogateescape") + "\n"


def delimiter_of(header: bytes) -> str:
    """The delimiter that the header line holds most of; a comma if it holds none."""
    return max(",\t;|", key=lambda c: header.count(c.encode()))


def read_delimited(file: str, stream: ByteStream, cap: int) -> Iterator[RawRow]:
    """One row for every record after the header, which `line` does not count.

    Lines that a quote left open takes along are rows of their own, with an error: how many there
    were, nobody can tell.
    """
    delimiter = delimiter_of(stream.peek(EXCERPT_BYTES).split(b"\n", 1)[0])
    text = _Text(cap)
    text.source = lines(stream, cap, _BLANK, lambda: not text.length)
    records = csv.reader(text, delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    number = 0
    while True:
        text.begin()
        try:
            record = next(records)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            number += 1
            yield RawRow(file, number, None, str(error), text.raw[:EXCERPT_BYTES])
            reason = f"a line that row {number} took along, which ends with: {error}"
            for _ in range(text.lines - 1):
                number += 1
                yield RawRow(file, number, None, reason, b"")
            continue
        if not record:
            continue
        if columns is None:
            if why := _unusable(record):
                yield RawRow(
                    file, number + 1, None, f"no row can be read: {why}", text.raw[:EXCERPT_BYTES]
                )
                return
            columns = record
            continue
        number += 1
        yield _row(file, number, columns, record, text.raw[:EXCERPT_BYTES])


def _unusable(header: list[str]) -> str | None:
    """Why rows cannot be read under a header, None where they can."""
    try:
        "".join(header).encode()
    except UnicodeEncodeError:
        return "its header is not UTF-8"
    twice = repeated(header)
    return None if twice is None else f"the column {twice[:80]!r} stands twice in its header"


def _row(file: str, number: int, columns: list[str], record: list[str], raw: bytes) -> RawRow:
    if len(record) != len(columns):
        reason = f"{len(record)} fields under a header of {len(columns)}"
        return RawRow(file, number, None, reason, raw)
    try:
        for field in record:
            field.encode()
    except UnicodeEncodeError as error:
        bad = ord(str(error.object)[error.start]) - 0xDC00
        return RawRow(file, number, None, f"not UTF-8: byte 0x{bad:02x}", raw)
    row = {k: v or None for k, v in zip(columns, record, strict=True)}
    return RawRow(file, number, row, None, raw)
