"""Lines of a byte stream in bounded memory, and JSON rows one a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from builders.read.decode import decode_row
from builders.read.open import ByteStream, DamagedStreamError
from builders.read.rows import EXCERPT_BYTES, RawRow, size

_BLANK = re.compile(rb"(?:[ \t\r\v\f]*+\n)+")  # what bytes.strip leaves nothing of


@dataclass(slots=True)
class Line:
    """A line without its end; `error` where it is over the cap or the stream broke in it."""

    number: int
    text: bytes
    error: str | None = None


def beginning(pieces: Sequence[bytes]) -> bytes:
    """The first 4 KB of pieces that may be too many to join."""
    return b"".join(p[:EXCERPT_BYTES] for p in pieces[:EXCERPT_BYTES])[:EXCERPT_BYTES]


def lines(
    stream: ByteStream,
    cap: int,
    blank: re.Pattern[bytes] | None = None,
    between: Callable[[], bool] = lambda: True,
) -> Iterator[Line]:
    """The lines of `stream`, split at LF; a line over `cap` bytes is
    never held whole: it comes with its beginning and an error.

    Where `between` two rows, lines that `blank` matches are counted and left out, many at a time.
    """
    held: list[bytes] = []
    length, number = 0, 1

    def finish() -> Line:
        over = length > cap
        text = beginning(held) if over else b"".join(held)
        held.clear()
        if not over:
            return Line(number, text)
        return Line(number, text, f"the row is {size(length)} long, over the cap of {size(cap)}")

    try:
        for chunk in stream:
            at = 0
            while (stop := chunk.find(b"\n", at)) >= 0:
                if blank and not held and between() and (skipped := blank.match(chunk, at)):
                    number += chunk.count(b"\n", at, skipped.end())
                    at = skipped.end()
                    continue
                end, at = chunk[at:stop], stop + 1
                length += len(end)
                held.append(end if length <= cap else end[:EXCERPT_BYTES])
                yield finish()
                length, number = 0, number + 1
            rest = chunk[at:]
            length += len(rest)
            if length > cap and held:
                held[:] = [beginning(held)]
            elif rest:
                held.append(rest if length <= cap else rest[:EXCERPT_BYTES])
    except DamagedStreamError as error:
        yield Line(number, beginning(held), str(error))
        return
    if held:
        yield finish()


def read_jsonl(file: str, stream: ByteStream, cap: int) -> Iterator[RawRow]:
    """One row for every line that is not blank."""
    for line in lines(stream, cap, _BLANK):
        if line.error:
            yield RawRow(file, line.number, None, line.error, line.text[:EXCERPT_BYTES])
        elif line.text.strip():
            yield decode_row(file, line.number, line.text)
