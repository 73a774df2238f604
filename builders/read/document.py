"""JSON over many lines: a top-level array, one object, or objects one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from builders.read.decode import decode_row
from builders.read.lines import beginning
from builders.read.open import ByteStream, DamagedStreamError
from builders.read.rows import EXCERPT_BYTES, PEEK_BYTES, RawRow, size
from builders.read.scan import new_state, next_end

_BLANK = b" \t\r\n"
CLOSE_LIST = ord("]")
_AFTER = _BLANK + b",]"  # what may follow an element


class _Value:
    """The text of the value being read, piece by piece; beyond `cap` only its beginning."""

    def __init__(self, cap: int, indent: bytes = b"") -> None:
        self.cap, self.pieces, self.length = cap, list[bytes](), 0
        self.before = b""  # the blanks in front of it
        self.indent = indent  # of the last value that began a line
        self.state = new_state()

    def add(self, piece: bytes) -> None:
        if not self.length:
            text = piece.lstrip(_BLANK)
            self.before = (self.before + piece[: len(piece) - len(text)])[-EXCERPT_BYTES:]
            _, line, blanks = self.before.rpartition(b"\n")
            self.indent = blanks if line and text else self.indent
            piece = text
        self.length += len(piece)
        if self.length <= self.cap:
            self.pieces.append(piece)
        else:
            self.pieces = [beginning([*self.pieces, piece])]

    def rows(self, file: str, number: int) -> Iterator[RawRow]:
        """The row; of one that is none, also the elements that an open bracket took along."""
        text = b"".join(self.pieces)
        if self.length > self.cap:
            reason = f"the row is {size(self.length)} long, over the cap of {size(self.cap)}"
            yield RawRow(file, number, None, reason, text)
            return
        row = decode_row(file, number, text)
        yield from [row] if row.error is None else self._apart(row, text)

    def _apart(self, row: RawRow, text: bytes) -> list[RawRow]:
        """A row that is none, cut before each line that begins an object where elements do.

        The last piece of text must be an object: that of an object's own inside is none, as the
        end of the outer one follows. Without an indentation, each line must be a whole object.
        """
        begins = re.compile(b"^%b\\{[^\n]*" % self.indent, re.MULTILINE)
        starts = [
            match.start()
            for match in begins.finditer(text)
            if match.start() and (self.indent or match[0].rstrip(_AFTER).endswith(b"}"))
        ]
        if not starts:
            return [row]
        cuts = pairwise([0, *starts, len(text)])
        texts = [text[a:b].rstrip(_AFTER) for a, b in cuts]
        rows = [decode_row(row.file, row.line + at, part) for at, part in enumerate(texts)]
        return rows if rows[-1].error is None and rows[0].error is not None else [row]


def read_document(file: str, stream: ByteStream, cap: int) -> Iterator[RawRow]:
    """One row for every element of a top-level array, else for every top-level object.

    `line` is the number of the element. One value at most is in memory.
    """
    in_array = stream.peek(PEEK_BYTES).lstrip(_BLANK).startswith(b"[")
    number, value, open_array = 1, _Value(cap), in_array
    skip = in_array
    try:
        for chunk in stream:
            start = 0
            if skip:
                start = chunk.find(b"[") + 1
                if skip := not start:
                    continue
            view = np.frombuffer(chunk, np.uint8)
            while (end := next_end(view, start, value.state, open_array)) >= 0:
                value.add(chunk[start : end + (not open_array)])
                if value.length:
                    for row in value.rows(file, number):
                        yield row
                        number = row.line + 1
                if open_array and chunk[end] == CLOSE_LIST:
                    open_array = False
                value, start = _Value(cap, value.indent), end + 1
            value.add(chunk[start:])
    except DamagedStreamError as error:
        yield RawRow(file, number, None, str(error), beginning(value.pieces))
        return
    if value.length:
        for last in value.rows(file, number):
            yield last
            open_array &= last.error is None
    if open_array:
        yield RawRow(file, number, None, "the file ends before the ] of its array", b"")
