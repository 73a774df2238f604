"""Repetition: the text goes round in circles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from builders.filters import runs
from builders.filters.base import Candidate, Ints, Verdict, failed, version
from builders.filters.markup import Spans, code_and_tables, inside


@dataclass(frozen=True)
class RepetitionConfig:
    """Thresholds; bytes are those of words plus one for each stretch of white space.

    Fails: a periodic run of `min_copies` and `min_bytes`; runs of `min_copies` and
    `min_share_bytes` each that together make `min_share` of the text; `min_sentences` identical
    ones in a row; one character `min_characters` times. Bytes of code and tables do not count.
    """

    min_copies: float = 3.0
    min_bytes: int = 200
    min_share: float = 0.05
    min_share_bytes: int = 40
    min_sentences: int = 3
    min_characters: int = 100


@dataclass(frozen=True, slots=True)
class Run:
    """A periodic stretch: bytes [start, end), its first copy ends at `unit_end`.

    `weight` is its counted bytes, `characters` the copies of its unit if that is one character
    and they follow each other without white space, else 0.
    """

    start: int
    end: int
    unit_end: int
    copies: float
    weight: int
    characters: int


@dataclass(frozen=True, slots=True)
class Section:
    """The words of the thinking or of the answer; `weights` are their counted bytes."""

    offset: int
    data: bytes
    hashes: runs.U64
    starts: runs.I32
    ends: runs.I32
    weights: Ints


class Repetition:
    """Fails a response that repeats itself; the value is the share of the text in runs."""

    name: ClassVar[str] = "repetition"
    required: ClassVar[bool] = True
    Config = RepetitionConfig

    def __init__(self, config: RepetitionConfig = RepetitionConfig()) -> None:
        self.config = config
        self.version = version(1, config)

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate; linear in the bytes of the text."""
        return [self._check(candidate) for candidate in candidates]

    def _check(self, candidate: Candidate) -> Verdict:
        c, data = self.config, candidate.data
        exempt = code_and_tables(candidate)
        sections = cut_sections(candidate, exempt)
        found, share = periodic(sections, c.min_copies, c.min_share_bytes)
        for run in found:
            if run.characters >= c.min_characters:
                return _failed("character", share, data, run)
            if run.weight >= c.min_bytes:
                return _failed("periodic", share, data, run)
        for section in sections:
            if same := _same_sentences(candidate, section, exempt, c.min_sentences):
                start, unit_end, end, copies = same
                return failed(
                    "sentences", share, at=(data, start, end), unit_end=unit_end, copies=copies
                )
        if share >= c.min_share:
            return _failed("periodic_share", share, data, found[0])
        return Verdict(True, share)


def cut_sections(
    candidate: Candidate, exempt: Spans, *, mask_digits: bool = False
) -> list[Section]:
    """The words of both sections; those in `exempt` weigh nothing."""
    sections = []
    for offset, data in candidate.sections:
        hashes, starts, ends = runs.words(data, mask_digits=mask_digits)
        weights = (ends - starts).astype(np.int64)
        weights[:-1] += starts[1:] != ends[:-1]
        weights[inside(exempt, starts + offset)] = 0
        sections.append(Section(offset, data, hashes, starts, ends, weights))
    return sections


def periodic(
    sections: Sequence[Section], min_copies: float, min_bytes: int
) -> tuple[list[Run], float]:
    """The runs of the sections, heaviest first, and the share of the text that they cover."""
    found: list[Run] = []
    covered = total = 0
    for section in sections:
        total += len(section.data)
        rows = runs.find(section.hashes)
        if not len(rows):
            continue
        sums = np.concatenate(([0], np.cumsum(section.weights)))
        weights = sums[rows[:, 1]] - sums[rows[:, 0]]
        copies = (rows[:, 1] - rows[:, 0]) / rows[:, 2]
        keep = (weights >= min_bytes) & (copies >= min_copies)
        covered += _covered(rows[keep], section.weights)
        found += [
            _run(section, row, int(w)) for row, w in zip(rows[keep], weights[keep], strict=True)
        ]
    found.sort(key=lambda run: (-run.weight, run.start, run.unit_end))
    return found, covered / total if total else 0.0


def _covered(rows: Ints, weights: Ints) -> int:
    depth = np.zeros(len(weights) + 1, np.int64)
    np.add.at(depth, rows[:, 0], 1)
    np.add.at(depth, rows[:, 1], -1)
    return int(weights[np.cumsum(depth)[:-1] > 0].sum())


def _run(section: Section, row: Ints, weight: int) -> Run:
    first, stop, d = (int(x) for x in row)
    start, end = int(section.starts[first]), int(section.ends[stop - 1])
    unit_end = int(section.ends[first + d - 1])
    copies, size, at = (stop - first) / d, unit_end - start, section.offset
    one = len(section.data[start:unit_end].decode(errors="ignore")) == 1
    whole = end - start == (stop - first) // d * size <= weight
    characters = int(copies) if one and whole else 0
    return Run(at + start, at + end, at + unit_end, copies, weight, characters)


def _failed(rule: str, share: float, data: bytes, run: Run) -> Verdict:
    place = (data, run.start, run.end)
    return failed(rule, share, at=place, unit_end=run.unit_end, copies=round(run.copies, 2))


def _same_sentences(
    candidate: Candidate, section: Section, exempt: Spans, least: int
) -> tuple[int, int, int, int] | None:
    """(start, end of the first, end of the last, copies) of equal sentences in a row, if any."""
    ends = _sentence_ends(candidate, section)
    keys = runs.sentence_hashes(section.hashes, section.starts, ends)
    firsts = np.concatenate(([0], ends[:-1]))[keys != 0]
    ends, keys = ends[keys != 0], keys[keys != 0]
    code = inside(exempt, firsts + section.offset) | inside(exempt, ends - 1 + section.offset)
    keys[code] = np.arange(1, int(code.sum()) + 1, dtype=np.uint64)
    turns = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1], [True])))
    copies = np.diff(turns)
    if not (copies >= least).any():
        return None
    i = int((copies >= least).argmax())
    text = section.data[firsts[turns[i]] : ends[turns[i]]]
    start = int(firsts[turns[i]]) + len(text) - len(text.lstrip())
    last = section.data[: ends[turns[i + 1] - 1]]
    end, at = len(last.rstrip()), section.offset
    return at + start, at + start + len(text.strip()), at + end, int(copies[i])


def _sentence_ends(candidate: Candidate, section: Section) -> Ints:
    """End bytes within the section: the stored sentences', else by a simple rule."""
    if candidate.sentences is None:
        return runs.simple_sentence_ends(section.data)
    ends = np.asarray(candidate.sentences[0], np.int64) - section.offset
    return ends[(ends > 0) & (ends <= len(section.data))]
