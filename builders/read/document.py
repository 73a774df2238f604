"""JSON over many lines: a top-level array, one object, or objects one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from builders.read.decode import decode_row
from builders.read.lines import beginning
from builders.read.open import ByteStream, DamagedStreamError
from builders.read.rows import PEEK_BYTES, RawRow, size
from builders.read.scan import new_state, next_end

_BLANK = b" \t\r\n"
CLOSE_LIST = ord("]")


class _Value:
    """The text of the value being read, piece by piece; beyond `cap` only its beginning."""

    def __init__(self, cap: int) -> None:
        self.cap, self.pieces, self.length = cap, list[bytes](), 0
        self.state = new_state()

    def add(self, piece: bytes) -> None:
        if not self.length:
            piece = piece.lstrip(_BLANK)
        self.length += len(piece)
        if self.length <= self.cap:
            self.pieces.append(piece)
        else:
            self.pieces = [beginning([*self.pieces, piece])]

    def row(self, file: str, number: int) -> RawRow:
        text = b"".join(self.pieces)
        if self.length > self.cap:
            reason = f"the row is {size(self.length)} long, over the cap of {size(self.cap)}"
            return RawRow(file, number, None, reason, text)
        return decode_row(file, number, text)


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
                    yield value.row(file, number)
                    number += 1
                if open_array and chunk[end] == CLOSE_LIST:
                    open_array = False
                value, start = _Value(cap), end + 1
            value.add(chunk[start:])
    except DamagedStreamError as error:
        yield RawRow(file, number, None, str(error), beginning(value.pieces))
        return
    if value.length:
        last = value.row(file, number)
        yield last
        open_array &= last.error is None
    if open_array:
        yield RawRow(file, number, None, "the file ends before the ] of its array", b"")
