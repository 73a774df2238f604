"""What a filter takes and gives, how its version is made and how its evidence reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

PROSE, MATH, CODE, TABLE = range(4)
THINKING, ANSWER = range(2)
EXCERPT_BYTES = 120

Ints = npt.NDArray[np.integer[Any]]


@dataclass
class Candidate:
    """One response as the filters see it.

    `token_ids` are the harmony ids of the sampled completion, None for other sources.
    `sentences` are three aligned arrays (byte_end, kind, section) over the UTF-8 bytes of
    `thinking || answer`; kinds are PROSE, MATH, CODE, TABLE, sections THINKING, ANSWER.
    """

    response_id: str
    question: str
    thinking: str | None
    answer: str
    finish_reason: str | None = None
    token_ids: Sequence[int] | None = None
    sentences: tuple[Ints, Ints, Ints] | None = None

    @cached_property
    def data(self) -> bytes:
        """The UTF-8 bytes of `thinking || answer`, over which all offsets run."""
        return ((self.thinking or "") + self.answer).encode()

    @cached_property
    def seam(self) -> int:
        """The byte at which the answer starts."""
        return len((self.thinking or "").encode())

    @property
    def sections(self) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        """(first byte, bytes) of the thinking and of the answer."""
        return (0, self.data[: self.seam]), (self.seam, self.data[self.seam :])


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of `flags`. `evidence` is a short JSON object, only where the filter failed."""

    passed: bool
    value: float | None = None
    evidence: str | None = None


class Filter(Protocol):
    """A filter: pure, batch by batch, one verdict per candidate in the same order.

    `required` filters must pass before a response may enter a default split; the others are
    reported only. `version` changes with the code and with every setting that moves a verdict.
    """

    name: ClassVar[str]
    required: ClassVar[bool]
    version: str

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate, in order."""
        ...


def version(code: int, settings: Any) -> str:
    """`<code>-<8 hex digits>` of a configuration: a dataclass or any JSON value."""
    plain = asdict(settings) if hasattr(settings, "__dataclass_fields__") else settings
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return f"{code}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def excerpt(data: bytes, start: int, end: int) -> str:
    """The text of `data[start:end]`, at most 120 bytes of it; a cut character is left out."""
    cut = data[start : min(end, start + EXCERPT_BYTES)].decode(errors="ignore")
    return cut + "…" if end - start > EXCERPT_BYTES else cut


def failed(
    rule: str,
    value: float | None = None,
    *,
    at: tuple[bytes, int, int] | None = None,
    unit_end: int | None = None,
    **more: Any,
) -> Verdict:
    """A failing verdict; `at` is (bytes of the text, start, end) of what broke the rule.

    The excerpt is of all of it, or up to `unit_end` where it repeats one unit.
    """
    place: dict[str, Any] = {}
    if at is not None:
        data, start, end = at
        place = {"start": start, "end": end, "excerpt": excerpt(data, start, unit_end or end)}
    evidence = {"rule": rule, **more, **place}
    return Verdict(False, value, json.dumps(evidence, ensure_ascii=False))
