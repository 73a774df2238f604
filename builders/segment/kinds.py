"""Pass 3: what a sentence is made of."""

from __future__ import annotations

import numpy as np

from builders.jit import njit
from builders.segment.chars import Text, class_of, decode

KINDS = ("prose", "math", "code", "table")
_PROSE, _MATH, _CODE, _ROW = 0, 1, 2, 3
_TEXT, _SPAN, _FENCE, _TABLE_ROW = 0, 3, 4, 5


@njit(allocates=False)
def _is_sign(cp: int) -> bool:
    """Whether a character outside delimited mathematics speaks for a formula."""
    if cp < 128:
        return cp in (43, 60, 61, 62, 92, 94)  # + < = > \ ^
    return cp in (0xB1, 0xB7, 0xD7, 0xF7) or 0x2190 <= cp < 0x2300


@njit(allocates=False)
def _is_word(data: np.ndarray, a: int, b: int, letters: int) -> bool:
    r"""Whether the letters [a, b) are a word: three or more, no \command, no function( call."""
    if letters < 3 or (a > 0 and data[a - 1] == 92):
        return False
    return not (b < data.size and data[b] == 40)


@njit(allocates=False)
def _is_math(text: Text, a: int, b: int) -> bool:
    data, marks, table = text.data, text.marks, text.table
    total = words = 0
    signs = False
    i = a
    while i < b:
        cp, width = decode(data, i)
        c = class_of(table, cp)
        mark = marks[i]
        greek = 0x370 <= cp < 0x400
        if mark == _TEXT and 3 <= c <= 4 and not greek:
            start, letters = i, 0
            while i < b and marks[i] == _TEXT:
                cp, width = decode(data, i)
                if not 3 <= class_of(table, cp) <= 4 or 0x370 <= cp < 0x400:
                    break
                letters += 1
                i += width
            total += letters
            wide = data[start] >= 0xE3  # a CJK character is a word by itself
            words += letters if wide or _is_word(data, start, i, letters) else 0
            continue
        if not 1 <= c <= 2:
            total += 1
            words += mark == _SPAN
            signs = signs or 0 < mark < _SPAN or _is_sign(cp)
        i += width
    return signs and 4 * words <= total


def classify(text: Text, ends: np.ndarray) -> np.ndarray:
    """The kind of each sentence, int8[m], an index into KINDS.

    - code: it starts on a line of a fence, the fence's own lines included;
    - table: it is a row of a Markdown table, which needs its `|---|` row;
    - math: it holds delimited mathematics or a sign (+ < = > ^ × ≤ → …), and at most a
      quarter of its characters that are not blank are letters of words outside mathematics. A word
      has three letters or more and is neither a `\\command` nor a `function(`;
    - prose: everything else.
    """
    kinds = np.empty(ends.size, np.int8)
    _classify(text, ends, kinds)
    return kinds


@njit(allocates=False)
def _classify(text: Text, ends: np.ndarray, kinds: np.ndarray) -> None:
    data, marks = text.data, text.marks
    start = 0
    for k in range(ends.size):
        first, end = start, ends[k]
        while first < end - 1 and data[first] in (9, 10, 13, 32):
            first += 1
        if marks[first] == _FENCE:
            kinds[k] = _CODE
        elif marks[first] == _TABLE_ROW:
            kinds[k] = _ROW
        else:
            kinds[k] = _MATH if _is_math(text, first, end) else _PROSE
        start = end
