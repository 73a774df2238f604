"""Completeness: the response came to its end and gives what was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builders.filters.base import Candidate, Verdict, failed, version
from builders.filters.markup import code_spans, fences, outside_code

COMPLETE = ("stop", "eos", "eos_token", "end_turn")  # OpenAI and vLLM, TGI, Anthropic
TAIL = 100  # bytes of the end that evidence shows

# After a line break, a bracket holds a distance: `\\[4pt]`; a dollar may be escaped.
DISPLAY = re.compile(rb"(?<!\\)\\[\[\]]|\\begin\{(\w+\*?)\}|\\end\{(\w+\*?)\}")
DOLLARS = re.compile(rb"(?<!\\)(?:\\\\)*(\$\$?)")
# A line that goes on: an operator, an opening mark, a comma, a joining word in small letters
# ("the answer is A" is complete).
GOES_ON = re.compile(
    rb"(?:[,;(\[{=&<\\]|(?<![+-])[+-]|"
    rb"\S \S+ \S*\b(?:the|an|of|and|or|to|is|are|was|that|which|with|for|in|on|by|from|as|at|if"
    rb"|because|but|so|we|its|their|this|these|then|than|where|when|let|thus|hence|therefore))\Z"
)
NOT_PROSE = re.compile(rb"\s*(?:[-*+>#|]|\d+[.)]\s|\\|`)")
PROSE_WORDS = 8


@dataclass(frozen=True)
class CompletenessConfig:
    r"""`boxed`: whether an answer must hold the `\boxed{}` that its question asks for."""

    boxed: bool = True


class Completeness:
    r"""Fails what was cut off, and an answer without the `\boxed{}` that was asked for.

    The value is 1 where the engine says that the model stopped by itself, 0 where it says
    otherwise, and NULL where the finish reason is unknown: such a response passes if its text
    looks complete. Fences, display mathematics and think tags must be closed in both cases; the
    look of the last line counts only where the finish reason is unknown.
    """

    name: ClassVar[str] = "completeness"
    required: ClassVar[bool] = True
    Config = CompletenessConfig

    def __init__(self, config: CompletenessConfig = CompletenessConfig()) -> None:
        self.config = config
        self.version = version(1, config)

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate."""
        return [self._check(candidate) for candidate in candidates]

    def _check(self, candidate: Candidate) -> Verdict:
        reason, data = candidate.finish_reason, candidate.data
        value = None if reason is None else float(reason in COMPLETE)
        if reason is not None and reason not in COMPLETE:
            return failed("finish_reason", value, at=_tail(data), finish_reason=reason)
        rule = _cut_off(candidate, unknown=reason is None)
        if rule is not None:
            return failed(rule, value, at=_tail(data))
        if self.config.boxed and _boxed_missing(candidate):
            return failed("no_boxed", value, at=_tail(data))
        return Verdict(True, value)


def _tail(data: bytes) -> tuple[bytes, int, int]:
    start = max(0, len(data) - TAIL)
    while start < len(data) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data, start, len(data)


def _boxed_missing(candidate: Candidate) -> bool:
    return "\\boxed" in candidate.question and "\\boxed" not in candidate.answer


def _cut_off(candidate: Candidate, *, unknown: bool) -> str | None:
    """The rule that shows where the text was cut off, None if it looks complete."""
    answer = candidate.data[candidate.seam :].rstrip()
    if answer.startswith(b"<think>") and b"</think>" not in answer:
        return "open_think"
    if not answer:
        return "no_answer"
    if fences(answer)[1] is not None:
        return "open_fence"
    if _open_math(answer):
        return "open_math"
    if unknown and _mid_sentence(answer):
        return "mid_sentence"
    return None


def _open_math(answer: bytes) -> bool:
    r"""Whether a `\[`, a `\begin{}` or a `$$` outside code is still open at the end.

    Dollars are read as TeX reads them: in `$x,$$y$` the two belong to two formulas. A single one
    may be a price and shows nothing.
    """
    opened = 0
    for mark in outside_code(DISPLAY, answer):
        opened = max(0, opened + (1 if mark[0] == b"\\[" or mark[1] else -1))
    inline = display = False
    for mark in outside_code(DOLLARS, answer) if b"$$" in answer else ():
        if mark[1] == b"$" and not display:
            inline = not inline
        elif mark[1] == b"$$" and not inline:
            display = not display
    return opened > 0 or display


def _mid_sentence(answer: bytes) -> bool:
    """Whether the last line stops where no sentence stops."""
    line = answer[answer.rfind(b"\n") + 1 :]
    if len(code := code_spans(answer)) and code[-1, 1] == len(answer):
        return False
    if GOES_ON.search(line[-60:]) or _opened(line) > 0:
        return True
    if line.replace(b"\\$", b"").count(b"$") % 2 and not re.search(rb"\$\d", line):
        return True
    prose = not NOT_PROSE.match(line) and len(line.split()) >= PROSE_WORDS
    return prose and line[-1:].isalpha()


def _opened(line: bytes) -> int:
    """Brackets left open; half-open intervals mix the two kinds."""
    return sum(line.count(c) for c in (b"(", b"[")) - sum(line.count(c) for c in (b")", b"]"))
