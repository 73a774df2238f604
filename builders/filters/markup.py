"""Where code, tables and quotations stand in a text, by simple rules over its bytes.

Used where a response has not been segmented yet, and to tell a quoted tag from a stray one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from builders.filters.base import CODE, TABLE, Candidate

Spans = npt.NDArray[np.int64]  # shape (k, 2): first and end byte, in order

# Both begin with a newline, which the regex engine finds fast; `_lines` supplies the first one.
FENCE = re.compile(rb"\n[ \t]*(`{3,}|~{3,})([^\n]*)")
TABLE_ROW = re.compile(rb"\n[ \t]*\|[^\n]*\|[ \t]*(?=\n|\Z)")
INLINE_CODE = re.compile(rb"(?<!`)(`{1,3})(?!`)[^\n]+?(?<!`)\1(?!`)")


def _lines(pattern: re.Pattern[bytes], data: bytes) -> Iterator[re.Match[bytes]]:
    """Matches in a newline and the text: their spans are those of the lines in the text."""
    return pattern.finditer(b"\n" + data)


def fences(data: bytes) -> tuple[list[tuple[int, int]], int | None]:
    """(first, end) of each closed fence with its marks; the first byte of one left open."""
    spans: list[tuple[int, int]] = []
    opened: re.Match[bytes] | None = None
    for mark in _lines(FENCE, data):
        if opened is None:
            opened = mark
        elif mark[1].startswith(opened[1]) and not mark[2].strip():  # CommonMark's rule
            spans.append((opened.start(), mark.end() - 1))
            opened = None
    return spans, None if opened is None else opened.start()


def code_spans(data: bytes) -> Spans:
    """Fenced blocks and inline code."""
    blocks, _ = fences(data)
    spans, at = [], 0
    for first, end in [*blocks, (len(data), len(data))]:
        spans += [m.span() for m in INLINE_CODE.finditer(data, at, first)]
        spans.append((first, end))
        at = end
    return np.array(spans[:-1], np.int64).reshape(-1, 2)


def outside_code(pattern: re.Pattern[bytes], data: bytes) -> list[re.Match[bytes]]:
    """The matches that do not start in code."""
    matches = list(pattern.finditer(data))
    if not matches:
        return []
    starts = np.array([m.start() for m in matches])
    hidden = inside(code_spans(data), starts)
    return [m for m, in_code in zip(matches, hidden, strict=True) if not in_code]


def code_and_tables(candidate: Candidate) -> Spans:
    """The bytes of code and table sentences; fenced blocks and table rows if not segmented."""
    if candidate.sentences is not None:
        ends, kinds, _ = (np.asarray(a, np.int64) for a in candidate.sentences)
        firsts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        keep = (kinds == CODE) | (kinds == TABLE)
        return np.stack((firsts[keep], ends[keep]), axis=1)
    spans = []
    for offset, data in candidate.sections:
        found = fences(data)[0] + [(m.start(), m.end() - 1) for m in _lines(TABLE_ROW, data)]
        spans += [(offset + first, offset + end) for first, end in sorted(found)]
    return merged(np.array(spans, np.int64).reshape(-1, 2))


def merged(spans: Spans) -> Spans:
    """Spans in order of their first byte, without those that an earlier one contains."""
    if not len(spans):
        return spans
    reached = np.concatenate(([-1], np.maximum.accumulate(spans[:, 1])[:-1]))
    return spans[spans[:, 1] > reached]


def inside(spans: Spans, positions: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether each byte position lies in one of the spans."""
    if not len(spans):
        return np.zeros(len(positions), bool)
    at = np.searchsorted(spans[:, 0], positions, "right") - 1
    return (at >= 0) & (positions < spans[at, 1])
