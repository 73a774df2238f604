"""Other ways to cut sentences, to see how far a selection depends on the segmenter.

lines: a sentence ends with its line. punkt: nltk's Punkt, untrained, line by line.
The cuts tile the text like those of `segment_text`; every kind is prose, since neither looks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from builders.segment.segmenter import SEGMENTER, Sentences, segment

LONGEST = 20_000  # characters of a line that Punkt is asked about; its regexes are not linear

Cut = Callable[[str], tuple[np.ndarray, np.ndarray]]


def lines(text: str) -> tuple[np.ndarray, np.ndarray]:
    """`(byte_end int32[m], kind int8[m])`: a boundary after every newline that text follows."""
    return _spans([len(part.encode()) for part in _blanks_join(_lines(text))])


def punkt(text: str) -> tuple[np.ndarray, np.ndarray]:
    """`(byte_end int32[m], kind int8[m])`: where untrained Punkt ends a sentence, in every line."""
    sizes = []
    for line in _blanks_join(_lines(text)):
        starts = [0]
        if len(line) <= LONGEST:
            starts = [start for start, _ in _punkt().span_tokenize(line)] or [0]
        starts[0] = 0
        ends = [*starts[1:], len(line)]
        sizes += [len(line[a:b].encode()) for a, b in zip(starts, ends, strict=True)]
    return _spans(sizes)


SEGMENTERS: dict[str, tuple[str, Cut]] = {
    "lines": ("lines-2", lines),
    "punkt": ("punkt-2", punkt),
}


def other(name: str) -> tuple[str, Callable[[str | None, str], Sentences]]:
    """Version and function of a segmenter by name; `dasd` is the usual one."""
    if name == "dasd":
        return SEGMENTER, segment
    version, cut = SEGMENTERS[name]
    return version, lambda thinking, answer: segment(thinking, answer, cut)


def _lines(text: str) -> list[str]:
    """Lines with their newlines; unlike `splitlines`, U+2028, form feeds and the like end none."""
    parts = [f"{part}\n" for part in text.split("\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]


def _blanks_join(parts: list[str]) -> list[str]:
    """Blank lines belong to the line before them, leading ones to the first."""
    joined: list[str] = []
    for part in parts:
        if joined and (not part.strip() or not joined[-1].strip()):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _spans(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum(sizes, dtype=np.int64).astype(np.int32)
    return ends, np.zeros(len(sizes), np.int8)


@cache
def _punkt() -> Any:
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer()
