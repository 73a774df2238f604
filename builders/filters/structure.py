"""Structure: one thinking section with content and one answer, and no trace of the format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builders.filters import harmony_ids
from builders.filters.base import Candidate, Verdict, failed, version
from builders.filters.markup import outside_code
from dasd_data.errors import ConfigError

THINKING = ("required", "optional")
# Special tokens are refused even where they are quoted: a trainer's tokenizer makes them special
# again. `assistantfinal` and the like are what remains when a decoder drops the delimiters.
LEAKS = {
    "tool_call": re.compile(
        rb"<\|call\|>|<\|constrain\|>|<\|python_tag\|>|</?tool_calls?>|</?tool_response>"
        rb"|</?function_calls?>|(?:analysis|commentary|assistant) to=\w+"
    ),
    "harmony_token": re.compile(
        rb"<\|(?:channel|start|end|message|return)\|>"
        rb"|assistant(?:final|analysis|commentary)(?![a-z])|\Aanalysis(?=[A-Z])"
    ),
    "chat_token": re.compile(
        rb"<\|(?:im_start|im_end|im_sep|endoftext|endofprompt|eot_id|eom_id|begin_of_text"
        rb"|end_of_text|start_header_id|end_header_id)\|>|<(?:start|end)_of_turn>"
        rb"|<\xef\xbd\x9c[^\n>]{1,40}\xef\xbd\x9c>|\[/INST\]"
    ),
}
HINT = re.compile(rb"<[|/t\xefse]|assistant|analysis|commentary|\[/INST")
TAG = re.compile(rb"</?think(?:ing)?>")
QUOTES = tuple((a.encode(), b.encode()) for a, b in ('""', "''", "“”", "‘’", "«»", "「」"))


@dataclass(frozen=True)
class StructureConfig:
    """`thinking` is `required`, or `optional` for responses that have no thinking section."""

    thinking: str = "required"

    def __post_init__(self) -> None:
        if self.thinking not in THINKING:
            raise ConfigError(
                f"filter structure: thinking = {self.thinking!r} is neither of "
                f"{', '.join(map(repr, THINKING))}"
            )


class Structure:
    """Fails what is not one thinking section and one answer; the value counts the defects.

    The harmony ids are judged where there are some, the text always. A response whose engine
    says `stop` may lack the closing `<|return|>`: many servers drop the end token.
    """

    name: ClassVar[str] = "structure"
    required: ClassVar[bool] = True
    Config = StructureConfig

    def __init__(self, config: StructureConfig = StructureConfig()) -> None:
        self.config = config
        self.version = version(1, config)

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate."""
        return [self._check(candidate) for candidate in candidates]

    def _check(self, candidate: Candidate) -> Verdict:
        defects = _id_defects(candidate)
        missing = _missing(candidate, self.config.thinking)
        places = _leaks(candidate)
        n = len(set(defects) | set(missing) | {rule for rule, _, _ in places})
        if places:
            rule, start, end = places[0]
            return failed(rule, n, at=(candidate.data, start, end))
        if defects or missing:
            rules = [*missing, *defects]
            return failed(rules[0], n, rules=rules)
        return Verdict(True, 0.0)


def _id_defects(candidate: Candidate) -> list[str]:
    if candidate.token_ids is None:
        return []
    defects = harmony_ids.read(candidate.token_ids).defects
    dropped = {"no_return"} if candidate.finish_reason == "stop" else set()
    return [defect for defect in defects if defect not in dropped]


def _missing(candidate: Candidate, thinking: str) -> list[str]:
    rules = []
    if candidate.thinking is None:
        rules += ["no_thinking"] if thinking == "required" else []
    elif not candidate.thinking.strip():
        rules.append("empty_thinking")
    if not candidate.answer.strip():
        rules.append("empty_answer")
    return rules


def _leaks(candidate: Candidate) -> list[tuple[str, int, int]]:
    """(rule, first byte, end byte) of the first place of each rule, in order of place."""
    first: dict[str, tuple[int, int]] = {}
    for offset, data in candidate.sections:
        if not HINT.search(data):
            continue
        for rule, pattern in LEAKS.items():
            if match := pattern.search(data):
                first.setdefault(rule, (offset + match.start(), offset + match.end()))
        if stray := _stray_tag(data):
            first.setdefault("stray_tag", (offset + stray[0], offset + stray[1]))
    return sorted(((r, *place) for r, place in first.items()), key=lambda leak: leak[1])


def _stray_tag(data: bytes) -> tuple[int, int] | None:
    """The first think tag that is neither in code nor between quotation marks."""
    for tag in outside_code(TAG, data):
        before, after = data[max(0, tag.start() - 4) : tag.start()], data[tag.end() : tag.end() + 4]
        if not any(before.endswith(a) and after.startswith(b) for a, b in QUOTES):
            return tag.span()
    return None
