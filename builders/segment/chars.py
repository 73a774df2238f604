"""Character classes of the segmenter: one table that the scanners index by code point.

The table covers U+0000 to U+30FF and the full-width forms; any other letter or sign counts as a
caseless letter. Case is looked up only where Unicode has long been settled, so that the table is
the same under every Python.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builders.jit import njit

SYMBOL, SPACE, NEWLINE, LOWER, UPPER, DIGIT = 0, 1, 2, 3, 4, 5
STOP = 6  # . ? ! and their compounds: a boundary only where whitespace follows
STRONG = 7  # 。 and its kin: a boundary even without whitespace
CLOSE, OPEN, QUOTE = 8, 9, 10  # QUOTE opens or closes, by its place
COMMA = 11  # , ; : and their kin: what precedes them is no end of a sentence

_BMP_END, _WIDE, _WIDE_END = 0x3100, 0xFF00, 0xFFF0
_BLANKS = "\t\v\f \x1c\x1d\x1e\x1f\x85\xa0\u1680\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_SETS = {
    SPACE: _BLANKS,
    NEWLINE: "\n\r\u2028\u2029",
    DIGIT: "0123456789０１２３４５６７８９",
    STOP: ".?!…‼‽⁇⁈⁉",
    STRONG: "。！？｡．।॥؟۔։።။។",
    CLOSE: ")]}”’»›）］｝〉》」』】〕〗〙〛｣",
    OPEN: "([{“‘„‚«‹（［｛〈《「『【〔〖〘〚｢",
    QUOTE: "\"'*_",
    COMMA: ",;:，、；：､،؛",
}


def _build_table() -> np.ndarray:
    """`uint8[_BMP_END + 240]`: the class of each code point that `class_of` looks up."""
    table = np.full(_BMP_END + _WIDE_END - _WIDE, UPPER, np.uint8)
    table[:0x80] = SYMBOL
    for low, high in ((0x80, 0xC0), (0x2000, 0x2070), (0x20A0, 0x20D0), (0x2190, 0x2C00)):
        table[low:high] = SYMBOL
    table[[0xD7, 0xF7]] = SYMBOL
    for cp in [*range(0x41, 0x7B), *range(0xAA, 0x530), *range(0x1E00, 0x2000)]:
        if chr(cp).isalpha():
            table[cp] = LOWER if chr(cp).islower() else UPPER
    for kind, members in _SETS.items():
        for char in members:
            table[_slot(ord(char))] = kind
    return table


def _slot(cp: int) -> int:
    return cp if cp < _BMP_END else cp - _WIDE + _BMP_END


def _build_hot(table: np.ndarray) -> np.ndarray:
    """`bool[256]`: whether a byte can start a character that may end a sentence or open a list."""
    hot = np.zeros(256, np.bool_)
    points = [*range(_BMP_END), *range(_WIDE, _WIDE_END)]
    for cp in points:
        if table[_slot(cp)] in (STOP, STRONG, NEWLINE):
            hot[chr(cp).encode()[0]] = True
    hot["•".encode()[0]] = True
    return hot


class Text(NamedTuple):
    """What the scanners read: UTF-8 and marks (uint8[n]) and TABLE; numba takes it as it is."""

    data: np.ndarray
    marks: np.ndarray
    table: np.ndarray


TABLE = _build_table()
HOT = _build_hot(TABLE)


@njit(allocates=False)
def decode(data: np.ndarray, i: int) -> tuple[np.int64, int]:
    """The code point at byte `i` of valid UTF-8 and its length in bytes."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (data[i + 1] & 0x3F), 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F), 3
    return np.int64(0x10000), 4


@njit(allocates=False)
def class_of(table: np.ndarray, cp: np.int64) -> np.int64:
    """The class of a code point."""
    if cp < 0x3100:
        return np.int64(table[cp])
    if 0xFF00 <= cp < 0xFFF0:
        return np.int64(table[cp - 0xFF00 + 0x3100])
    return np.int64(4)


@njit(allocates=False)
def skip_space(data: np.ndarray, table: np.ndarray, i: int) -> int:
    """The first byte at or after `i` that is not whitespace, else the length of the text."""
    while i < data.size:
        cp, width = decode(data, i)
        if not 1 <= class_of(table, cp) <= 2:
            return i
        i += width
    return i
