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

from typing import NamedTuple

import numpy as np
from numba import njit

TEXT, INLINE, DISPLAY, SPAN, FENCE, TABLE_ROW = 0, 1, 2, 3, 4, 5

_ENVIRONMENTS = (
    "equation align aligned alignat alignedat flalign gather gathered multline split cases dcases "
    "rcases array matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix eqnarray displaymath "
    "math subequations"
)


def _name_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value * 131 + byte) % (1 << 55)
    return value


ENVIRONMENTS = np.array(sorted(_name_hash(e.encode()) for e in _ENVIRONMENTS.split()), np.int64)

# What a cursor looks for.
_PAREN, _BRACKET, _BRACKET_OPEN, _DOLLAR, _DOLLARS, _BLANK, _SIGN, _GAP, _FENCE, _LINE = range(10)
_TICK = 10  # + length of the run, 1 to 3
_KINDS = 14


class Ahead(NamedTuple):
    """What lies ahead: cursors (int64[_KINDS + 1], the last counts steps) and environments."""

    cursors: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@njit(cache=True)
def _at(data: np.ndarray, p: int, text: bytes) -> bool:
    if p + len(text) > data.size:
        return False
    for k in range(len(text)):  # noqa: SIM110
        if data[p + k] != text[k]:
            return False
    return True


@njit(cache=True)
def _escaped(data: np.ndarray, p: int) -> bool:
    return p > 0 and data[p - 1] == 92 and not (p > 1 and data[p - 2] == 92)


@njit(cache=True)
def _tick_run(data: np.ndarray, p: int) -> int:
    """Length of the backtick run that starts at `p`, at most 4; 0 inside a run."""
    if p > 0 and data[p - 1] == 96:
        return 0
    k = 0
    while k < 4 and p + k < data.size and data[p + k] == 96:
        k += 1
    return k


@njit(cache=True)
def _matches(data: np.ndarray, kind: int, p: int) -> bool:
    b = data[p]
    if kind == _LINE:
        return b == 10
    if kind == _PAREN:
        return b == 92 and _at(data, p, b"\\)") and not _escaped(data, p)
    if kind == _BRACKET:
        return b == 92 and _at(data, p, b"\\]") and not _escaped(data, p)
    if kind == _BRACKET_OPEN:
        return b == 92 and _at(data, p, b"\\[") and not _escaped(data, p)
    if kind == _DOLLAR:
        if b != 36 or p == 0 or data[p - 1] in (9, 10, 32, 36, 92):
            return False
        return p + 1 == data.size or not (48 <= data[p + 1] <= 57)
    if kind == _DOLLARS:
        return b == 36 and _at(data, p, b"$$") and not _escaped(data, p)
    if kind == _BLANK:
        return b == 10 and (_at(data, p, b"\n\n") or _at(data, p, b"\n\r\n"))
    if kind == _SIGN:
        return b in (42, 43, 45, 47, 60, 61, 62, 92, 94, 95, 123)  # * + - / < = > \ ^ _ {
    if kind == _GAP:
        return b == 32
    if kind == _FENCE:
        return b == 10 and (_at(data, p, b"\n```") or _at(data, p, b"\n~~~"))
    return b == 96 and _tick_run(data, p) == kind - _TICK


@njit(cache=True)
def seek(data: np.ndarray, cursors: np.ndarray, kind: int, start: int) -> int:
    """First match of `kind` at or after `start`, else the length; `start` never decreases."""
    p = max(cursors[kind], start)
    while p < data.size and not _matches(data, kind, p):
        p += 1
        cursors[_KINDS] += 1
    cursors[kind] = p
    return p


@njit(cache=True)
def _environments(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start of each mathematical `\\begin{…}` and the end of its `\\end{…}` (-1: it has none)."""
    marks = 0
    for p in range(data.size):
        marks += data[p] == 92 and _at(data, p, b"\\begin{")
    begin, end = np.empty(marks, np.int64), np.full(marks, -1, np.int64)
    stack, names = np.empty(marks, np.int64), np.empty(marks, np.int64)
    count, depth = 0, 0
    for p in range(data.size if marks else 0):
        if data[p] != 92:
            continue
        opens = _at(data, p, b"\\begin{")
        if not opens and not _at(data, p, b"\\end{"):
            continue
        q, name = p + (7 if opens else 5), np.int64(0)
        for _ in range(16):
            if q >= data.size or data[q] in (42, 125):
                break
            name = (name * 131 + data[q]) % (1 << 55)
            q += 1
        q += q < data.size and data[q] == 42
        at = np.searchsorted(known, name)
        if q >= data.size or data[q] != 125 or at == known.size or known[at] != name:
            continue
        if opens:
            begin[count], stack[depth], names[depth] = p, count, name
            count, depth = count + 1, depth + 1
        elif depth and names[depth - 1] == name:
            depth -= 1
            end[stack[depth]] = q + 1
        else:
            depth = 0  # not nested: what is open stays plain text
    return begin[:count], end[:count]


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
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


@njit(cache=True)
def _has_bar(data: np.ndarray, line: int, end: int) -> bool:
    for p in range(line, end):  # noqa: SIM110
        if data[p] == 124:
            return True
    return False


@njit(cache=True)
def _dollar(data: np.ndarray, cursors: np.ndarray, i: int, end: int) -> int:
    """End of the inline mathematics that a `$` at `i` opens, else 0."""
    if i + 1 >= end or data[i + 1] in (9, 32, 36):
        return 0
    close = seek(data, cursors, _DOLLAR, i + 1)
    if close >= end:
        return 0
    money = 48 <= data[i + 1] <= 57
    if money and seek(data, cursors, _GAP, i) < close < seek(data, cursors, _SIGN, i):
        return 0
    return close + 1


@njit(cache=True)
def _region(data: np.ndarray, ahead: Ahead, i: int, end: int) -> tuple[int, int]:
    """What opens at `i` on a line that ends at `end`: (end of the region or 0, its mark)."""
    cursors = ahead.cursors
    b = data[i]
    if b == 36:
        if not _at(data, i, b"$$"):
            return _dollar(data, cursors, i, end), INLINE
        close = seek(data, cursors, _DOLLARS, i + 2)
        stop = seek(data, cursors, _BLANK, i)
        return (close + 2 if close < stop else 0), DISPLAY
    if b == 96:
        run = _tick_run(data, i)
        if run in (0, 4):
            return 0, SPAN
        close = seek(data, cursors, _TICK + run, i + run)
        return (close + run if close < end else 0), SPAN
    if _at(data, i, b"\\("):
        close = seek(data, cursors, _PAREN, i + 2)
        return (close + 2 if close < end else 0), INLINE
    if _at(data, i, b"\\["):
        close = seek(data, cursors, _BRACKET, i + 2)
        other = seek(data, cursors, _BRACKET_OPEN, i + 2)
        fence = seek(data, cursors, _FENCE, i)
        return (close + 2 if close < data.size and close < min(other, fence) else 0), DISPLAY
    at = np.searchsorted(ahead.begin, i)
    if at < ahead.begin.size and ahead.begin[at] == i and ahead.end[at] >= 0:
        return ahead.end[at], DISPLAY
    return 0, TEXT


@njit(cache=True)
def mark(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
    """Mark every byte of `data` (uint8[n], valid UTF-8); `known` is ENVIRONMENTS.

    Returns uint8[n] of TEXT, INLINE and DISPLAY mathematics, SPAN (backticks), FENCE and
    TABLE_ROW (both with their line ends), and the number of steps that look-aheads took.
    """
    n = data.size
    marks = np.zeros(n, np.uint8)
    cursors = np.zeros(_KINDS + 1, np.int64)
    ahead = Ahead(cursors, *_environments(data, known))
    last = _last_closers(data)
    fence_char = fence_length = 0
    closed = table = False
    i, line_start, end = 0, True, 0
    while i < n:
        if line_start:
            end = seek(data, cursors, _LINE, i)
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
                end = max(end, seek(data, cursors, _LINE, i)) if kind == DISPLAY else end
                continue
            if b == 92 or (b == 36 and _at(data, i, b"$$")):
                i += 1  # an escaped character opens nothing
                line_start = i < n and data[i] == 10
            elif b == 96:
                while i + 1 < n and data[i + 1] == 96:
                    i += 1
        i += 1
    return marks, cursors[_KINDS]


@njit(cache=True)
def _after_blank(data: np.ndarray, line: int) -> bool:
    return line >= 2 and data[line - 1] == 10 and data[line - 2] in (10, 13)
