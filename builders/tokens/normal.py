"""Token byte counts carried from normalized text back to the text that was stored.

A tokenizer may normalize before it encodes (Qwen's: NFC), so the tokens of U+2126 OHM SIGN hold
the bytes of U+03A9 OMEGA. Normal forms and their boundaries: https://unicode.org/reports/tr15/
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from builders.tokens.table import split_weights


def nfc(text: str) -> str:
    """The text in Unicode's composed normal form."""
    return unicodedata.normalize("NFC", text)


def respan(text: str, counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Counts over the bytes of `nfc(text)` as counts over those of `text`.

    The bytes of what was normalized together go to the token that holds its first byte.
    """
    weight = np.ones(len(nfc(text).encode()), dtype=np.int64)
    at = done = 0
    for start, stop in _segments(text):
        at += len(text[done:start].encode())
        segment, done = text[start:stop], stop
        normal = nfc(segment)
        end = at + len(normal.encode())
        if normal != segment:
            weight[at:end] = 0
            weight[at] = len(segment.encode())
        at = end
    return split_weights(weight, counts)


def _segments(text: str) -> list[tuple[int, int]]:
    """The stretches [start, stop) between normalization boundaries that may not be in NFC."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    joining, changing = _classes()
    boundary = ~joining[codes]
    boundary[:1] = True
    starts = np.flatnonzero(boundary)
    stops = np.append(starts, len(codes))[1:]
    unstable = (stops - starts > 1) | changing[codes[starts]]
    return list(zip(starts[unstable].tolist(), stops[unstable].tolist(), strict=True))


@lru_cache(maxsize=1)
def _classes() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """By code point: whether it joins what stands before it, and whether it is not in NFC itself.

    A character joins if the first one of its full decomposition may be reordered (combining class
    not 0) or composed onto another: U+0F73 has class 0 but begins with a mark, Hangul vowels and
    finals have class 0 but compose.
    """
    decomposed = {
        char: parts
        for char in map(chr, range(sys.maxunicode + 1))
        if (parts := unicodedata.normalize("NFD", char)) != char or unicodedata.combining(char)
    }
    changing = {char for char in decomposed if nfc(char) != char}
    last = {decomposed[char][-1] for char in decomposed.keys() - changing}  # each mark is its own
    joining = last | {char for char, parts in decomposed.items() if parts[0] in last}
    return _table(joining), _table(changing)


def _table(chars: Iterable[str]) -> NDArray[np.bool_]:
    table = np.zeros(sys.maxunicode + 1, dtype=np.bool_)
    table[[ord(char) for char in chars]] = True
    return table
