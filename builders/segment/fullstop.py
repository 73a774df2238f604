"""Read a single full stop from what stands around it: an end, no end, or a question for nltk.

Looks at most LOOK bytes back, so that a walk which calls it at every stop stays linear.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builders.jit import njit
from builders.segment.chars import Text
from builders.segment.lines import is_alnum, is_letter, is_marker, is_ordinal
from builders.segment.words import Lexicon

# Character classes of chars.py, readings of words.py.
_LOWER, _UPPER, _DIGIT, _SYMBOL = 3, 4, 5, 0
_NEVER, _NUMBERED, _EITHER, _LABEL = 1, 2, 3, 4
_TEXT = 0
OPAQUE, END = 12, 13  # what follows a stop, beyond the character classes

NO, YES, ASK = 0, 1, 2
LOOK = 24


class Start(NamedTuple):
    """Where the sentence and the line around a stop start (byte offsets)."""

    sentence: int
    line: int


class Opening(NamedTuple):
    """What follows a stop: the class of the character at `where`, behind brackets if `inside`."""

    kind: int
    where: int
    inside: bool


@njit(allocates=False)
def _body(data: np.ndarray, i: int) -> int:
    """Where the words of a sentence that starts at `i` start: after bullets, #, > and **."""
    for _ in range(16):
        if i >= data.size:
            break
        if data[i] in (32, 35, 42, 43, 45, 62, 95):
            i += 1
        elif is_marker(data, i, min(i + 3, data.size)) and data[i] == 0xE2:
            i += 3
        else:
            break
    return i


@njit(allocates=False)
def token_start(data: np.ndarray, marks: np.ndarray, i: int) -> int:
    """Start of the word that ends before `i`, at most LOOK bytes back."""
    p = i
    while p > 0 and i - p < LOOK and marks[p - 1] == _TEXT:
        b = data[p - 1]
        if not (is_alnum(b) or b == 46):
            break
        if b == 0xE2:  # general punctuation and signs: never part of a word
            return min(p + 2, i)
        p -= 1
    return p


@njit(allocates=False)
def _reading(data: np.ndarray, a: int, b: int, lexicon: Lexicon) -> int:
    """The lexicon's reading of the word [a, b) in lower case, else 0."""
    if not 0 < b - a <= 8:
        return 0
    key = np.uint64(0)
    for p in range(a, b):
        byte = np.uint64(data[p])
        if 65 <= data[p] <= 90:
            byte += np.uint64(32)
        key |= byte << np.uint64(8 * (p - a))
    at = np.searchsorted(lexicon.keys, key)
    return lexicon.readings[at] if at < lexicon.keys.size and lexicon.keys[at] == key else 0


@njit(allocates=False)
def _is_acronym(data: np.ndarray, a: int, b: int) -> bool:
    """Letters in groups of one or two with a full stop between: U.S, Ph.D, q.e.d."""
    run, dots = 0, 0
    for p in range(a, b):
        if data[p] == 46:
            if run == 0:
                return False
            run, dots = 0, dots + 1
        elif is_letter(data[p]) and run < 2:
            run += 1
        else:
            return False
    return dots > 0 and run > 0


@njit(allocates=False)
def _after_name(data: np.ndarray, t: int) -> bool:
    """Whether the initial at `t` follows a name (Albert I. Jones) or an initial (J. R.)."""
    if t < 2 or data[t - 1] != 32:
        return False
    p = t - 1
    if data[p - 1] == 46:
        return p >= 2 and 65 <= data[p - 2] <= 90 and (p == 2 or not is_alnum(data[p - 3]))
    q = p
    while q > 0 and p - q < LOOK and is_letter(data[q - 1]):
        q -= 1
    return p - q >= 2 and 65 <= data[q] <= 90 and not 65 <= data[q + 1] <= 90


@njit(allocates=False)
def _spaced_dots(data: np.ndarray, i: int) -> int:
    """Dots of the spaced run (. . .) that ends at `i`, at most 4."""
    dots, p = 0, i
    while p >= 0 and dots < 4 and data[p] == 46:
        dots += 1
        if p == 0 or data[p - 1] != 32:
            break
        p -= 2
    return dots


@njit(allocates=False)
def _enumerates(data: np.ndarray, lexicon: Lexicon, start: Start, t: int, i: int) -> bool:
    """Whether the word [t, i) only numbers its sentence: "2." or "Step 2." at its start.

    Within a line only one or two digits do, for "We get B. A. Then" is no list.
    """
    if not is_ordinal(data, t, i):
        return False
    body = _body(data, start.sentence)
    if t == body:
        return start.sentence == start.line or (i - t <= 2 and 48 <= data[t] <= 57)
    if not 4 <= t - body <= 16 or data[t - 1] != 32 or not 65 <= data[body] <= 90:
        return False
    return _reading(data, body, t - 1, lexicon) == _LABEL


@njit(allocates=False)
def full_stop(
    text: Text, lexicon: Lexicon, start: Start, i: int, after: Opening
) -> tuple[int, int]:
    """Read the full stop at `i`, which a blank follows: (NO, YES or ASK, start of its word)."""
    data, marks = text.data, text.marks
    if i > 0 and marks[i - 1] != _TEXT:
        return YES, i
    t = token_start(data, marks, i)
    upper = after.kind == _UPPER
    if t == i:
        if i > 0 and data[i - 1] not in (9, 10, 32):
            return YES, i
        return (YES if upper and _spaced_dots(data, i) != 3 else NO), i
    if _enumerates(data, lexicon, start, t, i):
        return NO, t
    second = data[after.where + 1] if after.where + 1 < data.size else 32
    lone_capital = upper and not is_alnum(second)
    reading = _reading(data, t, i, lexicon)
    if reading == _NEVER:
        return NO, t
    if reading == _NUMBERED:
        answer = i - t == 2 and (data[t] == 110 or t == _body(data, start.sentence))  # no. No.
        named = lone_capital or after.kind in (_DIGIT, _SYMBOL, OPAQUE)
        return (NO if (named or (after.inside and not upper)) and not answer else YES), t
    if reading == _EITHER or _is_acronym(data, t, i):
        return (ASK if upper else NO), t
    if i - t == 1 and 65 <= data[t] <= 90 and upper and _after_name(data, t):
        return (YES if lone_capital and second != 46 else ASK), t
    return YES, t
