"""Periodic runs in text, in linear time.

A text is cut into words, each word is hashed, and n-grams of 4, 8 and 20 words are looked up
where they last occurred. While an n-gram recurs at a constant distance d the text is periodic:
L words that each equal the word d before them make (L + d) / d copies of a unit of d words.

White space, Unicode's too, only separates words, so indentation is never a repetition. A word is
one punctuation mark, one character of three or four bytes (so that Chinese or Japanese text has
words), or a stretch of other letters and digits; stretches over 32 bytes are no words of any
language and are cut into bytes. The time is linear in the bytes: each n-gram costs one table
access, and a run reaches back over the run before it at most once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from builders.filters.base import Ints
from builders.jit import njit

SIZES = (4, 8, 20)
LONG_WORD = 32
SPACE, WORD, MARK, WIDE = range(4)  # classes of bytes; WIDE leads a character that is a word

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]


def _byte_classes() -> npt.NDArray[np.uint8]:
    table = np.full(256, MARK, np.uint8)
    table[list(b" \t\n\r\x0b\x0c")] = SPACE
    table[[b for b in range(128) if chr(b).isalnum()]] = WORD
    table[128:0xE0] = WORD
    table[0xC2] = table[0xE0:] = WIDE  # 0xC2: no-break space and signs such as °, ², ·
    return table


CLASSES = _byte_classes()


@njit(nogil=True)
def _mix(x: Any) -> Any:
    """Spread the bits of a 64-bit value (the finalizer of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True)
def _is_space(c: Any) -> bool:
    """Whether the bytes of a character are U+00A0, U+2000 to 200B, U+202F, U+205F or U+3000."""
    if len(c) == 2:
        return c[1] == 0xA0
    if len(c) != 3:
        return False
    if c[0] == 0xE2 and c[1] == 0x80:
        return c[2] <= 0x8B or c[2] == 0xAF
    return (c[0] == 0xE2 and c[1] == 0x81 and c[2] == 0x9F) or (
        c[0] == 0xE3 and c[1] == 0x80 and c[2] == 0x80
    )


@njit(nogil=True)
def _cut_words(data: Any, classes: Any, mask_digits: bool) -> tuple[Any, Any, Any]:
    hashes = np.empty(len(data), np.uint64)
    starts, ends = np.empty(len(data), np.int32), np.empty(len(data), np.int32)
    n, count, i = len(data), 0, 0
    while i < n:
        kind = classes[data[i]]
        if kind == SPACE:
            i += 1
            continue
        start, i = i, i + 1
        if kind == WORD:
            while i < n and classes[data[i]] == WORD:
                i += 1
        elif kind == WIDE:
            while i < n and i - start < 4 and 0x80 <= data[i] < 0xC0:
                i += 1
            if _is_space(data[start:i]):
                continue
        step = 1 if kind == WORD and i - start > LONG_WORD else i - start
        for first in range(start, i, step):
            h = np.uint64(0xCBF29CE484222325)
            for k in range(first, first + step):
                byte = data[k]
                if mask_digits and 48 <= byte <= 57:
                    byte = np.uint8(48)
                h = (h ^ np.uint64(byte)) * np.uint64(0x100000001B3)
            hashes[count], starts[count], ends[count] = _mix(h), first, first + step
            count += 1
    return hashes[:count].copy(), starts[:count].copy(), ends[:count].copy()


@njit(nogil=True)
def _grams(hashes: Any, n: int) -> Any:
    """A hash of every n words in a row, rolled."""
    count = len(hashes) - n + 1
    out = np.empty(count, np.uint64)
    base, top, h = np.uint64(0x9E3779B97F4A7C15), np.uint64(1), np.uint64(0)
    for k in range(n):
        h = h * base + hashes[k]
        top *= base
    out[0] = h
    for i in range(1, count):
        h = h * base + hashes[i + n - 1] - hashes[i - 1] * top
        out[i] = h
    return out


@njit(nogil=True)
def _last_seen(grams: Any, twice: Any) -> Any:
    """Distance of every n-gram to its last occurrence, 0 where it is new.

    `twice[i]` says whether the n-gram at i can occur twice, and is narrowed to those that do: a
    longer one occurs twice only where the shorter one it begins with does.
    """
    count, bits, alive = len(grams), 4, 0
    for i in range(count):
        alive += twice[i]
    while (1 << bits) < 2 * alive:
        bits += 1
    shift, mask = np.uint64(64 - bits), (1 << bits) - 1
    where = np.full(1 << bits, -1, np.int32)
    out = np.zeros(count, np.int32)
    for i in range(count):
        if not twice[i]:
            continue
        twice[i] = False
        h = grams[i]
        slot = np.int64((h * np.uint64(0xD6E8FEB86659FD93)) >> shift)
        while where[slot] >= 0 and grams[where[slot]] != h:
            slot = (slot + 1) & mask
        if where[slot] >= 0:
            out[i] = i - where[slot]
            twice[i] = twice[where[slot]] = True
        where[slot] = i
    return out


@njit(nogil=True)
def _constant(hashes: Any, grams: Any, back: Any, sticky: bool, out: Any) -> int:
    """Write (first word, end word, d) of runs with three copies or more; how many there are.

    Plain: n-grams whose last occurrence stays d back; exact where n/2 <= d <= n. Sticky: the
    run goes on while the n-gram equals that d back, though a nearer one may have come between,
    and reaches back as far as the words match; finds units longer than n that repeat parts of
    themselves.
    """
    count, found, i, reach = len(grams), 0, 0, 0
    n = len(hashes) - count + 1
    while i < count:
        d = back[i]
        if d == 0:
            i += 1
            continue
        begin = i
        i += 1
        if sticky:
            while i < count and grams[i] == grams[i - d]:
                i += 1
        else:
            while i < count and back[i] == d:
                i += 1
        first = begin
        if sticky:
            while first > reach and first > d and hashes[first - 1] == hashes[first - 1 - d]:
                first -= 1
            reach = begin
        end = i + n - 1
        if end - first >= 2 * d:
            out[found, 0], out[found, 1], out[found, 2] = first - d, end, d
            found += 1
    return found


@njit(nogil=True)
def _find(hashes: Any, sizes: Any) -> Any:
    words = len(hashes)
    out = np.empty((2 * len(sizes) * words + 1, 3), np.int32)
    twice = np.ones(words, np.bool_)
    found = 0
    for n in sizes:
        if words < n:
            break
        grams = _grams(hashes, n)
        back = _last_seen(grams, twice)
        found += _constant(hashes, grams, back, False, out[found:])
        found += _constant(hashes, grams, back, True, out[found:])
    return out[:found].copy()


def words(data: bytes, *, mask_digits: bool = False) -> tuple[U64, I32, I32]:
    """(hash, first byte, end byte) of every word; `mask_digits` makes all digits one."""
    cut: tuple[U64, I32, I32] = _cut_words(np.frombuffer(data, np.uint8), CLASSES, mask_digits)
    return cut


def find(hashes: U64) -> I32:
    """Rows (first word, end word, d) of the runs with at least three copies of d words.

    Each row is periodic, word for word, and cannot be made longer to the right; the three n-gram
    sizes find the same run more than once.
    """
    rows: I32 = _find(hashes, np.array(SIZES))
    return rows


@njit(nogil=True)
def sentence_hashes(hashes: Any, starts: Any, sentence_ends: Any) -> Any:
    """One hash for the words of each sentence (white space apart), 0 where it has none.

    `starts` are the words' first bytes, `sentence_ends` the sentences' end bytes, both rising.
    """
    out = np.zeros(len(sentence_ends), np.uint64)
    word = 0
    for i in range(len(sentence_ends)):
        h = np.uint64(0)
        while word < len(starts) and starts[word] < sentence_ends[i]:
            h = _mix(h + hashes[word])
            word += 1
        out[i] = h
    return out


@njit(nogil=True)
def _simple_ends(data: Any) -> Any:
    ends = np.empty(len(data) + 1, np.int64)
    count, n = 0, len(data)
    for i in range(n):
        stop = data[i] == 46 or data[i] == 33 or data[i] == 63  # . ! ?
        if data[i] == 10 or (stop and i + 1 < n and data[i + 1] == 32) or i == n - 1:
            ends[count] = i + 1
            count += 1
    return ends[:count].copy()


def simple_sentence_ends(data: bytes) -> Ints:
    """End bytes of sentences by a simple rule: a line's end, or `.`, `!`, `?` before a space."""
    ends: Ints = _simple_ends(np.frombuffer(data, np.uint8))
    return ends


@njit(nogil=True)
def _most(grams: Any) -> Any:
    back = _last_seen(grams, np.ones(len(grams), np.bool_))
    counts = np.ones(len(grams), np.int32)
    best = 0
    for i in range(len(grams)):
        if back[i]:
            counts[i] = counts[i - back[i]] + 1
        if counts[i] > counts[best]:
            best = i
    return best, counts[best]


def most_frequent(hashes: U64, n: int) -> tuple[int, int]:
    """(first word of its last occurrence, occurrences) of the most frequent n words in a row."""
    if len(hashes) < n:
        return 0, 0
    at, count = _most(_grams(hashes, n))
    return int(at), int(count)
