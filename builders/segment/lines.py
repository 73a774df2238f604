"""Lines: enumerators at their start, and what joins one line to the next."""

from __future__ import annotations

import numpy as np

from builders.jit import njit
from builders.segment.chars import Text

# Marks of opaque.py.
_TEXT, _INLINE, _DISPLAY = 0, 1, 2

WRAPPED = 60  # bytes from which on a line may have been broken to keep it short


@njit(allocates=False)
def is_letter(b: int) -> bool:
    """Whether a byte is an ASCII letter or part of a character beyond ASCII."""
    return 65 <= b <= 90 or 97 <= b <= 122 or b >= 128


@njit(allocates=False)
def is_alnum(b: int) -> bool:
    """Whether a byte is a letter in that sense or a digit."""
    return 48 <= b <= 57 or is_letter(b)


@njit(allocates=False)
def is_marker(data: np.ndarray, a: int, b: int) -> bool:
    """Whether bytes [a, b) are an enumerator: - * + • 1. 1) (1) a) (iv) 2.1."""
    if b - a == 1:
        return data[a] in (42, 43, 45)
    if b - a == 3 and data[a] == 0xE2:
        return (data[a + 1] == 0x80 and data[a + 2] == 0xA2) or (  # •
            data[a + 1] == 0x81 and data[a + 2] == 0x83  # ⁃
        )
    if not 2 <= b - a <= 8 or data[b - 1] not in (41, 46):
        return False
    bracketed = data[a] == 40
    if bracketed and data[b - 1] != 41:
        return False
    return is_ordinal(data, a + bracketed, b - 1)


@njit(allocates=False)
def is_ordinal(data: np.ndarray, a: int, b: int) -> bool:
    """Whether bytes [a, b) number something: up to 3 digits (2.1 too), a letter, a numeral."""
    if b > a and data[b - 1] == 46:
        b -= 1  # 1.)
    if b - a == 1:
        return data[a] < 128 and is_alnum(data[a])
    digits = numeral = True
    run = 0
    for p in range(a, b):
        run = 0 if data[p] == 46 else run + 1
        digits = digits and (48 <= data[p] <= 57 or (data[p] == 46 and p > a)) and run <= 3
        numeral = numeral and data[p] in (73, 86, 88, 105, 118, 120)  # i v x
    return 0 < b - a <= 6 and (digits or (numeral and b - a <= 4))


@njit(allocates=False)
def goes_on(text: Text, line: int, i: int, k: int) -> bool:
    """Whether the sentence of the line [line, i) goes on in the next one, which starts at `k`.

    It does after a bare enumerator, where a formula's comma or full stop has a line of its own,
    and where a paragraph is hard-wrapped.
    """
    data, marks = text.data, text.marks
    if marks[i - 1] == _DISPLAY and data[k] in (44, 46, 59):
        return k + 1 == data.size or data[k + 1] in (10, 13, 32)
    if marks[line] > _INLINE:
        return False
    if i - line >= WRAPPED:
        return _wraps(text, line, i, k)
    while i > line and data[i - 1] in (9, 32):
        i -= 1
    return is_marker(data, line, i)


@njit(allocates=False)
def _wraps(text: Text, line: int, i: int, k: int) -> bool:
    """Whether a line break is one of layout only: a long line of prose without a stop at its end,
    directly below it a word in lower case or inline mathematics, and prose after that.

    A line with one of = ; { } or a tab outside mathematics is code or a formula, and no prose.
    """
    data, marks = text.data, text.marks
    if k - i != (2 if data[i] == 13 else 1) or data[k - 1] != 10:
        return False
    last = data[i - 1]
    if marks[i - 1] > _INLINE or (
        marks[i - 1] == _TEXT and not (97 <= last <= 122 or last in (41, 44) or last >= 128)
    ):
        return False
    for p in range(line, i):
        if marks[p] == _TEXT and data[p] in (9, 59, 61, 123, 125):
            return False
    p = k
    while p < data.size and (marks[p] == _INLINE or (marks[p] == _TEXT and 97 <= data[p] <= 122)):
        p += 1
    if p == k or p >= data.size or marks[p] != _TEXT:
        return False
    if marks[k] == _INLINE or data[p] in (44, 45, 46):
        return True
    return (
        data[p] == 32 and p + 1 < data.size and (marks[p + 1] == _INLINE or is_alnum(data[p + 1]))
    )


@njit(allocates=False)
def repeats_bullet(data: np.ndarray, sentence: int, i: int) -> bool:
    """Whether a • at `i` starts the next item of the list that the sentence's own • started."""
    if i <= sentence or data[i - 1] != 32 or not is_marker(data, i, min(i + 3, data.size)):
        return False
    return data[sentence] == data[i] and data[sentence + 2] == data[i + 2]
