"""Pass 2: find where sentences may start, deciding all but the ambiguous full stops.

One walk over the bytes that `opaque.mark` left as text. A decision looks a few bytes back and
over the run of stops, closers and blanks ahead, which the walk then skips: linear on any input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builders.jit import njit
from builders.segment.chars import Text, class_of, decode, skip_space
from builders.segment.fullstop import (
    ASK,
    END,
    NO,
    OPAQUE,
    YES,
    Opening,
    Start,
    full_stop,
    token_start,
)
from builders.segment.lines import goes_on, is_alnum, is_letter, repeats_bullet
from builders.segment.words import Lexicon

# Character classes of chars.py, marks of opaque.py.
_SYMBOL, _SPACE, _NEWLINE, _LOWER, _UPPER, _DIGIT, _STOP, _STRONG = range(8)
_CLOSE, _OPEN, _QUOTE, _COMMA = 8, 9, 10, 11
_TEXT, _SPAN, _FENCE = 0, 3, 4


class Stops(NamedTuple):
    """A run of stops: its end, its dots, and whether it has a ?, a !, a 。 or its kin."""

    end: int
    dots: int
    asks: bool
    cries: bool
    strong: bool


class Verdict(NamedTuple):
    """NO, YES or ASK; where the next sentence starts; for nltk the word before and after."""

    verdict: int
    next: int
    word: int
    word_end: int
    following: int


@njit(allocates=False)
def _skip_blanks(text: Text, i: int) -> int:
    """The first byte at or after `i` that is no blank within a line."""
    while i < text.data.size:
        cp, width = decode(text.data, i)
        if class_of(text.table, cp) != _SPACE:
            break
        i += width
    return i


@njit(allocates=False)
def _class_at(text: Text, i: int) -> int:
    if i >= text.data.size:
        return END
    if text.marks[i] != _TEXT and text.data[i] != 10:
        return OPAQUE
    return class_of(text.table, decode(text.data, i)[0])


@njit(allocates=False)
def _opening(text: Text, k: int) -> Opening:
    """What a sentence at `k` opens with, behind brackets, quotes and #."""
    inside = False
    for _ in range(8):
        c = _class_at(text, k)
        if c not in (_OPEN, _QUOTE) and not (c == _SYMBOL and text.data[k] == 35):
            return Opening(c, k, inside)
        inside = True
        k += decode(text.data, k)[1]
    return Opening(_SYMBOL, k, inside)


@njit(allocates=False)
def _stops(text: Text, i: int) -> Stops:
    dots, asks, cries, strong = 0, False, False, False
    while i < text.data.size and text.marks[i] == _TEXT:
        cp, width = decode(text.data, i)
        c = class_of(text.table, cp)
        if c not in (_STOP, _STRONG):
            break
        strong = strong or c == _STRONG
        dots += 1 if cp == 46 else 3 if cp == 0x2026 else 0
        asks = asks or cp in (63, 0x203D, 0x2047, 0x2048, 0x2049)
        cries = cries or cp in (33, 0x203C)
        i += width
    return Stops(i, dots, asks, cries, strong)


@njit(allocates=False)
def _closers(text: Text, i: int) -> int:
    """Where the brackets and quotes end that close behind a stop."""
    while _class_at(text, i) in (_CLOSE, _QUOTE):
        i += decode(text.data, i)[1]
    return i


@njit(allocates=False)
def _exclamation(text: Text, i: int, after: Opening) -> int:
    """Read a ! at `i`: after a word it ends a sentence, after anything else it is a factorial."""
    data = text.data
    t = token_start(data, text.marks, i)
    word = i - t >= 2
    for p in range(t, i):
        word = word and is_letter(data[p])
    if word:
        return NO if after.kind == _LOWER else YES
    second = data[after.where + 1] if after.where + 1 < data.size else 32
    return YES if after.kind == _UPPER and (97 <= second <= 122 or second >= 128) else NO


@njit(allocates=False)
def _question(text: Text, i: int, after: Opening) -> int:
    """Read a ? at `i`: behind a blank or an operator it is a placeholder (24 + ? = 32)."""
    data = text.data
    asks = i > 0 and (text.marks[i - 1] != _TEXT or is_alnum(data[i - 1]))
    asks = asks or (i > 0 and data[i - 1] in (34, 39, 41, 42, 93, 125))
    if i > 2 and data[i - 3] == 0xE2 and data[i - 2] in (0x86, 0x87, 0x88, 0x89):
        asks = False  # an arrow or an operator: t ≤ ?
    return YES if asks or after.kind == _UPPER else NO


@njit(allocates=False)
def _stop_in_math(data: np.ndarray, start: int, end: int) -> bool:
    r"""Whether the mathematics [start, end) closes on a full stop of its own, as in \(x = 1.\)."""
    p = end - (1 if data[end - 1] == 36 and (data[end - 2] != 36 or end - start < 4) else 2)
    for _ in range(8):
        if p - 1 > start and data[p - 1] in (9, 10, 32):
            p -= 1
    return p - 2 > start and data[p - 1] == 46 and data[p - 2] != 46


@njit(allocates=False)
def _judge(text: Text, lexicon: Lexicon, start: Start, i: int) -> Verdict:
    """Read the run of stops at `i`."""
    stops = _stops(text, i)
    closed = _closers(text, stops.end)
    k = _skip_blanks(text, closed)
    after = _opening(text, k)
    verdict, word = NO, i
    if after.kind in (_NEWLINE, _CLOSE, _COMMA, _STOP, _STRONG, END):
        pass
    elif stops.strong:
        wide = stops.end - i == 3 and text.data[i + 1] == 0xBC and text.data[i + 2] == 0x8E  # ．
        verdict = NO if wide and k == stops.end and after.kind == _DIGIT else YES
    elif k == closed or (closed > stops.end and after.kind == _LOWER):
        pass
    elif stops.asks:
        verdict = _question(text, i, after)
    elif stops.cries:
        verdict = _exclamation(text, i, after)
    elif stops.dots == 1:
        verdict, word = full_stop(text, lexicon, start, i, after)
    elif after.kind == _UPPER:
        verdict = YES if stops.dots == 4 else ASK
    return Verdict(verdict, k, word, stops.end, after.where)


@njit(allocates=False)
def _math_end(text: Text, i: int) -> tuple[int, int]:
    """End of the region at `i` and, where its last full stop ends a sentence, the next start."""
    k, mark = i + 1, text.marks[i]
    while k < text.data.size and text.marks[k] == mark:
        k += 1
    if mark != _SPAN and _stop_in_math(text.data, i, k):
        after = _skip_blanks(text, k)
        if after > k and _opening(text, after).kind == _UPPER:
            return k, after
    return k, -1


def scan(text: Text, hot: np.ndarray, lexicon: Lexicon) -> tuple[np.ndarray, np.ndarray]:
    """Candidate sentence starts.

    Returns `cuts` (int32[m], ascending, none at 0 and none among leading or trailing blanks) and
    `words` (int32[m, 3]): for an ambiguous candidate the bounds of the word with its stop and the
    start of the next word, else -1.
    """
    n = text.data.size
    cuts, words = np.empty(n, np.int32), np.empty((n, 3), np.int32)
    count = _scan(text, hot, lexicon, cuts, words)
    return cuts[:count], words[:count]


@njit(allocates=False)
def _scan(
    text: Text, hot: np.ndarray, lexicon: Lexicon, cuts: np.ndarray, words: np.ndarray
) -> int:
    """Write the candidates; returns how many there are."""
    data, marks = text.data, text.marks
    n = data.size
    count = 0
    i = sentence = line = skip_space(data, text.table, 0)
    while i < n:
        cut, question = -1, Verdict(YES, 0, -1, -1, -1)
        if _TEXT < marks[i] < _FENCE:
            i, cut = _math_end(text, i)
        elif not hot[data[i]] or (marks[i] != _TEXT and data[i] != 10):
            i += 1
            continue
        else:
            cp, width = decode(data, i)
            c = class_of(text.table, cp)
            if c == _NEWLINE:
                k = skip_space(data, text.table, i)
                cut = k if k < n and not goes_on(text, line, i, k) else -1
                i = line = k
            elif c in (_STOP, _STRONG):
                question = _judge(text, lexicon, Start(sentence, line), i)
                i = question.next
                cut = i if question.verdict != NO else -1
            else:
                cut = i if repeats_bullet(data, sentence, i) else -1
                i += width
        if cut >= 0:
            asked = question.verdict == ASK
            cuts[count], words[count, 0] = cut, question.word if asked else -1
            words[count, 1], words[count, 2] = question.word_end, question.following
            count += 1
            sentence = sentence if asked else cut
    return count
