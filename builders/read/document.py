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
_WHOLE = rb'^\{".*\}[ \t\r]*,?[ \t\r]*\]?[ \t\r]*$'


class _Value:
    """The text of the value being read, piece by piece; beyond `cap` only its beginning."""

    def __init__(self, cap: int) -> None:
        self.cap, self.pieces, self.length = cap, list[bytes](), 0
        self.before = b""  # blanks, of which the last line's are its indentation
        self.state = new_state()

    def add(self, piece: bytes) -> None:
        if not self.length:
            text = piece.lstrip(_BLANK)
            self.before = (self.before + piece[: len(piece) - len(text)])[-EXCERPT_BYTES:]
            piece = text
        self.length += len(piece)
        if self.length <= self.cap:
            self.pieces.append(piece)
        else:
            self.pieces = [beginning([*self.pieces, piece])]

    def rows(self, file: str, number: int) -> Iterator[RawRow]:
        """The row; of one that is none, also the elements that an open brace in it took along."""
        text = b"".join(self.pieces)
        if self.length > self.cap:
            reason = f"the row is {size(self.length)} long, over the cap of {size(self.cap)}"
            yield RawRow(file, number, None, reason, text)
            return
        row = decode_row(file, number, text)
        parts = [text] if row.error is None else self._elements(text)
        if len(parts) == 1:
            yield row
            return
        for at, part in enumerate(parts):
            yield decode_row(file, number + at, part)

    def _elements(self, text: bytes) -> list[bytes]:
        """A text cut before every line that begins an object where this one begins in its line.

        A string of JSON holds no line end, so none of these lines is within one. Without an
        indentation, a line must be a whole object: those in this one would begin there, too.
        """
        _, line, indent = self.before.rpartition(b"\n")
        if not line:
            return [text]
        begins = re.compile(b"^%b\\{" % indent if indent else _WHOLE, re.MULTILINE)
        starts = (match.start() for match in begins.finditer(text) if match.start())
        return [text[a:b].rstrip(_BLANK + b",]") for a, b in pairwise([0, *starts, len(text)])]


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
            if skip and (start := chunk.find(b"[") + 1):
                skip = False
            view = np.frombuffer(chunk, np.uint8)
            while (end := next_end(view, start, value.state, open_array)) >= 0:
                value.add(chunk[start : end + (not open_array)])
                if value.length:
                    for row in value.rows(file, number):
                        yield row
                        number = row.line + 1
                if open_array and chunk[end] == CLOSE_LIST:
                    open_array = False
                value, start = _Value(cap), end + 1
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
