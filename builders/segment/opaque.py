"""Pass 1: mark the bytes inside which a full stop is no full stop.

One walk from left to right; the first opener wins. Every look-ahead goes through `seek`, whose
cursors only ever move forward, so that the walk is linear on any input. An opener without its
closer is plain text:

- `$…$`, `\\(…\\)` and backticks close within their line; an inline `$` touches its content
  (`$5 and $7` is money), and money with words in it (`$5 (or US$)`) is not mathematics;
- `$$…$$` closes within its paragraph, `\\[…\\]` before the next `\\[` or fence;
- `\\begin{…}` of a mathematical environment closes with its own `\\end{…}`;
- a fence without a closing line is code (answers are cut off in the middle of code) up to a blank
  line that is followed by a line which reads as prose.
"""

from __future__ import annotations

import numpy as np

from builders.jit import njit
from builders.segment.ahead import (
    BLANK,
    BRACKET,
    BRACKET_OPEN,
    CURSORS,
    DOLLAR,
    DOLLARS,
    FENCE_LINE,
    GAP,
    LINE,
    PAREN,
    SIGN,
    TICK,
    Ahead,
    at,
    environments,
    seek,
    tick_run,
)

TEXT, INLINE, DISPLAY, SPAN, FENCE, TABLE_ROW = 0, 1, 2, 3, 4, 5


@njit(allocates=False)
def _fence(data: np.ndarray, line: int, end: int) -> tuple[int, int, bool]:
    """Character, length (at most 8) and bareness of the fence on a line; length 0: no fence."""
    p = line
    while p < end and data[p] in (9, 32, 62):
        p += 1
    char = data[p] if p < end else 0
    if char not in (96, 126):
        return 0, 0, False
    q = p
    while q < end and data[q] == char:
        q += 1
    length = min(q - p, 8)
    if length < 3:
        return 0, 0, False
    bare = True
    while q < end:
        if data[q] == char and char == 96:
            return 0, 0, False
        bare = bare and data[q] in (9, 13, 32)
        q += 1
    return char, length, bare


@njit()
def _last_closers(data: np.ndarray) -> np.ndarray:
    """`int64[2, 9]`: by fence character (backtick, tilde) and length, its last bare line."""
    last = np.full((2, 9), -1, np.int64)
    line = 0
    while line < data.size:
        end = line
        while end < data.size and data[end] != 10:
            end += 1
        char, length, bare = _fence(data, line, end)
        if length and bare:
            last[int(char == 126), 3 : length + 1] = line
        line = end + 1
    return last


@njit(allocates=False)
def _reads_as_prose(data: np.ndarray, line: int) -> bool:
    """Whether a line opens like a sentence: a capitalized word, a blank, a letter."""
    p = line
    if p >= data.size or not 65 <= data[p] <= 90:
        return False
    p += 1
    while p < data.size and p - line < 24 and (97 <= data[p] <= 122 or data[p] in (39, 44)):
        p += 1
    if p + 1 >= data.size or data[p] != 32:
        return False
    return 65 <= data[p + 1] <= 90 or 97 <= data[p + 1] <= 122


@njit(allocates=False)
def _delimiter_row(data: np.ndarray, line: int) -> bool:
    """Whether a line is the `|---|:-:|` below the head of a Markdown table."""
    bars = dashes = 0
    p = line
    while p < data.size and data[p] != 10:
        if data[p] not in (9, 13, 32, 45, 58, 124):
            return False
        bars += data[p] == 124
        dashes += data[p] == 45
        p += 1
    return bars > 0 and dashes > 0


@njit(allocates=False)
def _has_bar(data: np.ndarray, line: int, end: int) -> bool:
    for p in range(line, end):  # noqa: SIM110
        if data[p] == 124:
            return True
    return False


@njit(allocates=False)
def _dollar(data: np.ndarray, cursors: np.ndarray, i: int, end: int) -> int:
    """End of the inline mathematics that a `$` at `i` opens, else 0."""
    if i + 1 >= end or data[i + 1] in (9, 32, 36):
        return 0
    close = seek(data, cursors, DOLLAR, i + 1)
    if close >= end:
        return 0
    money = 48 <= data[i + 1] <= 57
    if money and seek(data, cursors, GAP, i) < close < seek(data, cursors, SIGN, i):
        return 0
    return close + 1


@njit(allocates=False)
def _region(data: np.ndarray, ahead: Ahead, i: int, end: int) -> tuple[int, int]:
    """What opens at `i` on a line that ends at `end`: (end of the region or 0, its mark)."""
    cursors = ahead.cursors
    b = data[i]
    if b == 36:
        if not at(data, i, b"$$"):
            return _dollar(data, cursors, i, end), INLINE
        close = seek(data, cursors, DOLLARS, i + 2)
        stop = seek(data, cursors, BLANK, i)
        return (close + 2 if close < stop else 0), DISPLAY
    if b == 96:
        run = tick_run(data, i)
        if run in (0, 4):
            return 0, SPAN
        close = seek(data, cursors, TICK + run, i + run)
        return (close + run if close < end else 0), SPAN
    if at(data, i, b"\\("):
        close = seek(data, cursors, PAREN, i + 2)
        return (close + 2 if close < end else 0), INLINE
    if at(data, i, b"\\["):
        close = seek(data, cursors, BRACKET, i + 2)
        other = seek(data, cursors, BRACKET_OPEN, i + 2)
        fence = seek(data, cursors, FENCE_LINE, i)
        return (close + 2 if close < data.size and close < min(other, fence) else 0), DISPLAY
    place = np.searchsorted(ahead.begin, i)
    if place < ahead.begin.size and ahead.begin[place] == i and ahead.end[place] >= 0:
        return ahead.end[place], DISPLAY
    return 0, TEXT


def mark(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
    """Mark every byte of `data` (uint8[n], valid UTF-8); `known` is ENVIRONMENTS.

    Returns uint8[n] of TEXT, INLINE and DISPLAY mathematics, SPAN (backticks), FENCE and
    TABLE_ROW (both with their line ends), and the number of steps that look-aheads took.
    """
    marks = np.zeros(data.size, np.uint8)
    cursors = np.zeros(CURSORS + 1, np.int64)
    _mark(data, Ahead(cursors, *environments(data, known)), _last_closers(data), marks)
    return marks, int(cursors[CURSORS])


@njit(allocates=False)
def _mark(data: np.ndarray, ahead: Ahead, last: np.ndarray, marks: np.ndarray) -> None:
    """Write the marks; `last` is what `_last_closers` found."""
    n, cursors = data.size, ahead.cursors
    fence_char = fence_length = 0
    closed = table = False
    i, line_start, end = 0, True, 0
    while i < n:
        if line_start:
            end = seek(data, cursors, LINE, i)
            line_start = False
            char, length, bare = _fence(data, i, end)
            if fence_length and not closed and _reads_as_prose(data, i) and _after_blank(data, i):
                fence_length = 0
            inside = fence_length > 0
            if inside and bare and char == fence_char and length >= fence_length:
                fence_length = 0
            elif not inside and length:
                fence_char, fence_length, inside = char, length, True
                closed = last[int(char == 126), length] > i
            table = (
                not inside and _has_bar(data, i, end) and (table or _delimiter_row(data, end + 1))
            )
            if inside or table:
                marks[i : end + 1] = FENCE if inside else TABLE_ROW
                i, line_start = end + 1, True
                continue
        b = data[i]
        if b == 10:
            line_start = True
        elif b in (36, 92, 96):
            close, kind = _region(data, ahead, i, end)
            if close:
                marks[i:close] = kind
                i = close
                end = max(end, seek(data, cursors, LINE, i)) if kind == DISPLAY else end
                continue
            if b == 92 or (b == 36 and at(data, i, b"$$")):
                i += 1  # an escaped character opens nothing
                line_start = i < n and data[i] == 10
            elif b == 96:
                while i + 1 < n and data[i + 1] == 96:
                    i += 1
        i += 1


@njit(allocates=False)
def _after_blank(data: np.ndarray, line: int) -> bool:
    return line >= 2 and data[line - 1] == 10 and data[line - 2] in (10, 13)
