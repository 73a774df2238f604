"""Token byte counts carried from normalized text back to the text that was stored.

A tokenizer may normalize before it encodes (Qwen's: NFC), so the tokens of U+2126 OHM SIGN hold
the bytes of U+03A9 OMEGA. Normal forms: https://unicode.org/reports/tr15/
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from builders.tokens.table import split_weights

# ASCII never composes with what stands before it, so normalization stays inside such a run.
_RUN = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")


def nfc(text: str) -> str:
    """The text in Unicode's composed normal form."""
    return unicodedata.normalize("NFC", text)


def respan(text: str, counts: Sequence[int]) -> list[int]:
    """Counts over the bytes of `nfc(text)` as counts over those of `text`.

    The bytes of what was normalized together go to the token that holds its first byte.
    """
    weight = np.ones(len(nfc(text).encode()), dtype=np.int64)
    at = done = 0
    for run in _RUN.finditer(text):
        at += run.start() - done
        done = run.end()
        for cluster in _clusters(run[0]):
            normal = nfc(cluster)
            stop = at + len(normal.encode())
            if normal != cluster:
                weight[at:stop] = 0
                weight[at] = len(cluster.encode())
            at = stop
    return split_weights(weight, counts)


def _clusters(run: str) -> Iterator[str]:
    """Cut a run before every character that composes with nothing before it."""
    if unicodedata.is_normalized("NFC", run):
        yield run
        return
    start = 0
    for i in range(1, len(run)):
        if not unicodedata.combining(run[i]) and run[i] not in _trailing():
            yield run[start:i]
            start = i
    yield run[start:]


@lru_cache(maxsize=1)
def _trailing() -> frozenset[str]:
    """Characters of combining class 0 that compose with the one before: Hangul, some vowels."""
    found = {chr(jamo) for jamo in range(0x1160, 0x1200)}
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code))
        if " " in parts and not parts.startswith("<"):
            found.add(chr(int(parts.split()[-1], 16)))
    return frozenset(found)
