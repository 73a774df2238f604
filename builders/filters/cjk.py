"""Chinese, Japanese or Korean in answer to a question that has none: the policy drifts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from builders.filters.base import Candidate, Verdict, failed, version

# Han, kana, hangul and CJK punctuation; full-width forms. U+3000 is white space.
CJK = re.compile("[\u3001-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uff00-\uffef]")


@dataclass(frozen=True)
class CjkConfig:
    """`max_share` of the text's characters, white space apart, may be CJK."""

    max_share: float = 0.05


class Cjk:
    """Fails CJK text in answer to a question that has none; the value is its share."""

    name: ClassVar[str] = "cjk"
    required: ClassVar[bool] = True
    Config = CjkConfig

    def __init__(self, config: CjkConfig = CjkConfig()) -> None:
        self.config = config
        self.version = version(2, config)

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate."""
        return [self._check(candidate) for candidate in candidates]

    def _check(self, candidate: Candidate) -> Verdict:
        share, place = cjk_share(candidate)
        if place is None or share < self.config.max_share or CJK.search(candidate.question):
            return Verdict(True, share)
        return failed("cjk_share", share, at=(candidate.data, *place))


def cjk_share(candidate: Candidate) -> tuple[float, tuple[int, int] | None]:
    """Share of CJK among the characters, and the bytes of the first line's CJK, if any."""
    if candidate.data.isascii():
        return 0.0, None
    text = candidate.data.decode()
    first = CJK.search(text)
    if first is None:
        return 0.0, None
    share = len(CJK.findall(text)) / sum(map(len, text.split()))
    start = len(text[: first.start()].encode())
    end = candidate.data.find(b"\n", start)
    return share, (start, len(candidate.data) if end < 0 else end)
