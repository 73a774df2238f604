"""Cut a response into sentences: the passes put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from builders.segment.ahead import ENVIRONMENTS
from builders.segment.chars import HOT, TABLE, Text
from builders.segment.fullstop import LOOK
from builders.segment.kinds import classify
from builders.segment.opaque import mark
from builders.segment.scan import scan
from builders.segment.stops import ends_sentence
from builders.segment.words import LEXICON
from dasd_data.errors import RowError

# The version of the segmentation: a new one whenever any text could be cut or named differently.
SEGMENTER = "dasd-1"

SECTIONS = ("thinking", "answer")
_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'") | frozenset(
    range(128, 256)
)


class Sentences(NamedTuple):
    """The sentences of one response, aligned arrays with one element per sentence.

    `byte_end` (int32) are ascending offsets into the UTF-8 of `thinking || answer`: a sentence
    runs from the end of the one before it to its own end, and the last ends with the text.
    `kind` and `section` (int8) are indices into KINDS and SECTIONS.
    """

    byte_end: np.ndarray
    kind: np.ndarray
    section: np.ndarray


def segment(
    thinking: str | None,
    answer: str,
    cut: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None,
) -> Sentences:
    """The sentences of a response; none crosses from `thinking` into `answer`.

    `cut` stands in for `segment_text`.
    Raises RowError where a text is not valid Unicode or is over 2 GiB long.
    """
    ends: list[np.ndarray] = []
    kinds: list[np.ndarray] = []
    sections: list[np.ndarray] = []
    offset = 0
    for index, text in enumerate((thinking or "", answer)):
        end, kind = (cut or segment_text)(text)
        ends.append(end.astype(np.int64) + offset)
        kinds.append(kind)
        sections.append(np.full(end.size, index, np.int8))
        offset += int(end[-1]) if end.size else 0
    _check_length(offset)
    byte_end = np.concatenate(ends).astype(np.int32)
    return Sentences(byte_end, np.concatenate(kinds), np.concatenate(sections))


def segment_text(text: str) -> tuple[np.ndarray, np.ndarray]:
    """`(byte_end int32[m], kind int8[m])` of one section.

    The spans tile the UTF-8 of `text`: blanks belong to the sentence before them, leading ones to
    the first. Empty text has no sentence, a text of blanks has one. Time and memory are linear.

    A boundary is a line end or a stop that ends a sentence. Line ends because reasoning is written
    in lines, and because a mean over a whole fence or table would say nothing: each line of code
    and each row is a sentence. No boundary falls into display mathematics, behind a bare
    enumerator, before the comma that follows a formula on the next line, or where a paragraph is
    hard-wrapped (`lines.goes_on`). See `opaque` for what else is never cut, `fullstop` and `stops`
    for how full stops are read, `kinds.classify` for the kinds.

    Raises RowError where the text is not valid Unicode (lone surrogates) or over 2 GiB long.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"the text is not valid Unicode: {error}") from None
    if not raw:
        return np.empty(0, np.int32), np.empty(0, np.int8)
    _check_length(len(raw))
    data = np.frombuffer(raw, np.uint8)
    marks, _ = mark(data, ENVIRONMENTS)
    scanned = Text(data, marks, TABLE)
    cuts, words = scan(scanned, HOT, LEXICON)
    keep = _ask_nltk(raw, words)
    ends = np.append(cuts[keep], np.int32(len(raw)))
    return ends, classify(scanned, ends)


def _check_length(size: int) -> None:
    if size >= 2**31:
        raise RowError(f"the response is {size:,} bytes long; byte_end (int32) ends at 2 GiB")


def _ask_nltk(raw: bytes, words: np.ndarray) -> np.ndarray:
    """Which candidates are boundaries: bool[m]."""
    keep = np.ones(len(words), np.bool_)
    asked = np.flatnonzero(words[:, 0] >= 0)
    for at, (start, stop, following) in zip(asked.tolist(), words[asked].tolist(), strict=True):
        end = following
        while end < len(raw) and end - following < LOOK and raw[end] in _LETTERS:
            end += 1
        ellipsis = raw[start] in (0x2E, 0xE2)
        before = b"..." if ellipsis else raw[start:stop]
        keep[at] = ends_sentence(before, raw[following:end])
    return keep
