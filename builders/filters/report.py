"""What is reported of a response without dropping it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from builders.filters import runs
from builders.filters.base import Candidate, Verdict, failed, version
from builders.filters.cjk import cjk_share
from builders.filters.markup import code_and_tables, code_spans, fences, inside
from builders.filters.repetition import cut_sections, periodic

REFUSAL = re.compile(
    rb"\bI(?: *'m| am) (?:sorry|unable to)\b[^.\n]{0,80}"
    rb"\b(?:cannot|can *'t|unable|comply|help|assist)"
    rb"|\bI (?:cannot|can *'t|won *'t) (?:help|assist|comply|provide|fulfill?)\b",
    re.IGNORECASE,
)
IDENTITY = re.compile(
    rb"\bas an AI\b|\bI(?: *'m| am) (?:an AI|a large language model|ChatGPT|Qwen|Claude)\b"
    rb"|\b(?:trained|created|developed|made) by (?:OpenAI|Alibaba|Anthropic|Google|Meta)\b"
    rb"|\bChatGPT\b",
    re.IGNORECASE,
)
SECRET = re.compile(
    rb"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{36}|hf_[A-Za-z0-9]{34}|AKIA[0-9A-Z]{16}"
    rb"|AIza[0-9A-Za-z_-]{35}|xox[abprs]-[A-Za-z0-9-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
EMAIL = re.compile(rb"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
EXAMPLE_HOST = re.compile(rb"@(?:[\w.-]*\.)?(?:example|test|invalid)(?:\.\w+)?\Z")
BRACES = re.compile(rb"\\[{}]|(\\boxed\s*)?\{|\}")
DOLLAR = re.compile(rb"(?<!\\)\$")


@dataclass(frozen=True)
class ReportConfig:
    """A report has no settings: its thresholds are part of its code version."""


class Report:
    """A filter that is only reported, around one function of a candidate."""

    name: ClassVar[str]
    required: ClassVar[bool] = False
    judge: ClassVar[Callable[[Candidate], Verdict]]
    Config = ReportConfig

    def __init__(self, config: ReportConfig = ReportConfig()) -> None:
        self.config = config
        self.version = version(1, config)

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate."""
        return [type(self).judge(candidate) for candidate in candidates]


def any_cjk(candidate: Candidate) -> Verdict:
    """Any CJK character; the value is their share."""
    share, place = cjk_share(candidate)
    return (
        Verdict(True, share)
        if place is None
        else failed("any_cjk", share, at=(candidate.data, *place))
    )


def frequent_ngram(candidate: Candidate) -> Verdict:
    """The same 20 words 20 times or more; the value is the highest count."""
    worst = (0, 0, 0)
    for offset, data in candidate.sections:
        hashes, starts, ends = runs.words(data)
        at, count = runs.most_frequent(hashes, 20)
        if count > worst[0]:
            worst = (count, offset + int(starts[at]), offset + int(ends[at + 19]))
    count, start, end = worst
    if count < 20:
        return Verdict(True, float(count))
    return failed("frequent_ngram", float(count), at=(candidate.data, start, end))


def compressible(candidate: Candidate) -> Verdict:
    """zlib makes the text shorter than 15% of itself; the value is that ratio."""
    if not candidate.data:
        return Verdict(True, None)
    ratio = len(zlib.compress(candidate.data)) / len(candidate.data)
    return Verdict(True, ratio) if ratio >= 0.15 else failed("compressible", ratio)


def masked_run(candidate: Candidate) -> Verdict:
    """A periodic run of 3+ copies and 200+ bytes once all digits are the same one."""
    sections = cut_sections(candidate, code_and_tables(candidate), mask_digits=True)
    found, share = periodic(sections, 3.0, 200)
    if not found:
        return Verdict(True, share)
    run, copies = found[0], round(found[0].copies, 2)
    place = (candidate.data, run.start, run.end)
    return failed("masked_run", share, at=place, unit_end=run.unit_end, copies=copies)


def unbalanced(candidate: Candidate) -> Verdict:
    """A code fence left open, or an odd number of `$` outside code, in a section."""
    for offset, data in candidate.sections:
        opened = fences(data)[1]
        if opened is not None:
            return failed("open_fence", at=(candidate.data, offset + opened, offset + len(data)))
        dollars = np.array([m.start() for m in DOLLAR.finditer(data)], np.int64)
        if len(dollars):
            dollars = dollars[~inside(code_spans(data), dollars)]
        if len(dollars) % 2:
            last = offset + int(dollars[-1])
            return failed("odd_dollars", at=(candidate.data, last, offset + len(data)))
    return Verdict(True)


def _phrase(rule: str, pattern: re.Pattern[bytes], candidate: Candidate, start: int) -> Verdict:
    plain = candidate.data.replace(b"\xe2\x80\x99", b"  '")  # ’ as ', offsets kept
    match = pattern.search(plain, start)
    return Verdict(True) if match is None else failed(rule, at=(candidate.data, *match.span()))


def refusal(candidate: Candidate) -> Verdict:
    """The answer refuses."""
    return _phrase("refusal", REFUSAL, candidate, candidate.seam)


def identity(candidate: Candidate) -> Verdict:
    """The model speaks of itself or of its maker."""
    return _phrase("identity", IDENTITY, candidate, 0)


def secrets(candidate: Candidate) -> Verdict:
    """An access token, a private key, or an e-mail address that is no example."""
    if match := SECRET.search(candidate.data):
        return failed("secret", at=(candidate.data, *match.span()))
    for match in EMAIL.finditer(candidate.data) if b"@" in candidate.data else ():
        if not EXAMPLE_HOST.search(match[0]):
            return failed("email", at=(candidate.data, *match.span()))
    return Verdict(True)


def several_boxed(candidate: Candidate) -> Verdict:
    r"""Different contents of `\boxed{}` in the answer; the value is how many."""
    found = {
        b"".join(candidate.data[first:end].split()): (first, end)
        for first, end in _boxed(candidate)
    }
    if len(found) <= 1:
        return Verdict(True, float(len(found)))
    last = max(found.values())
    return failed("several_boxed", float(len(found)), at=(candidate.data, *last))


def _boxed(candidate: Candidate) -> Iterator[tuple[int, int]]:
    r"""The bytes inside each `\boxed{}` of the answer whose braces are closed."""
    opened: list[tuple[bool, int]] = []
    for brace in BRACES.finditer(candidate.data, candidate.seam):
        if brace[0].endswith(b"{") and brace[0] != b"\\{":
            opened.append((brace[1] is not None, brace.end()))
        elif brace[0] == b"}" and opened:
            boxed, first = opened.pop()
            if boxed:
                yield first, brace.start()


def _report(judge: Callable[[Candidate], Verdict]) -> type[Report]:
    title = judge.__name__.title().replace("_", "")
    members = {"name": judge.__name__, "judge": staticmethod(judge), "__doc__": judge.__doc__}
    return type(title, (Report,), members)


REPORTS = tuple(
    _report(judge)
    for judge in (
        any_cjk,
        frequent_ngram,
        compressible,
        masked_run,
        unbalanced,
        refusal,
        identity,
        secrets,
        several_boxed,
    )
)
