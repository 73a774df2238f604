"""What a scoring engine takes and gives: whole sequences in, log-probs of their ends out.

    ScoreRequest(key, ids, start)  ->  ScoreResult(key, logprobs of ids[start:], or error)

A sequence that cannot be scored as it is comes back with an error and without values. It is never
truncated: a log-prob under half a prompt is a number of something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from builders.records import MAX_LOGPROB, Scorer


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRequest:
    """A whole sequence (int32 `ids`) of which `ids[start:]` is wanted; 1 <= start < len(ids)."""

    key: str
    ids: npt.NDArray[np.int32]
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class ScoreResult:
    """Natural log-probs (float32, finite, <= 0), one per token of `ids[start:]`, or an error.

    The error reads `reason: detail`; what stands before the colon can be counted. The reasons are
    `over context`, `unknown token`, `nothing to score`, `no context`, `out of memory`,
    `not finite` and `above 0`.
    """

    key: str
    logprobs: npt.NDArray[np.float32] | None
    error: str | None = None

    @property
    def reason(self) -> str | None:
        """The countable part of `error`."""
        return self.error.partition(":")[0] if self.error else None


class Engine(Protocol):
    """Scores token sequences under one model.

    `max_context` is the longest sequence in tokens (None: no limit) and `vocab_size` the number
    of logits; `gpus` are those it computes on (0: a CPU, None: those of a server). `score` reads
    its requests as it goes, in bounded memory, and gives one result for each, in an order that is
    *not* that of the requests; now and then it gives None, so that the caller can commit and report
    while nothing ends.
    """

    max_context: int | None
    vocab_size: int
    gpus: int | None

    def describe(self) -> Scorer:
        """The scoring context as far as the engine knows it: all but the prompt's part."""
        ...

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, errors included."""
        ...


def refusal(request: ScoreRequest, max_context: int | None, vocab_size: int) -> str | None:
    """Why this request cannot be scored by a model of this context and vocabulary, or None."""
    n = len(request.ids)
    if request.start >= n:
        return "nothing to score: no token follows the prompt"
    if request.start < 1:
        return "no context: the first token has nothing before it"
    if max_context is not None and n > max_context:
        return f"over context: {n} tokens > {max_context}"
    low, high = int(request.ids.min()), int(request.ids.max())
    if low < 0 or high >= vocab_size:
        return f"unknown token: id {low if low < 0 else high} with {vocab_size} logits"
    return None


def checked(key: str, logprobs: npt.NDArray[np.float32]) -> ScoreResult:
    """A result of finite values, with rounding above 0 clamped.

    An error if one is not finite, or above 0 by more (a server may be set to give logits).
    """
    if not np.isfinite(logprobs).all():
        at = int(np.flatnonzero(~np.isfinite(logprobs))[0])
        return ScoreResult(key, None, f"not finite: {logprobs[at]} at scored token {at}")
    if len(logprobs) and logprobs.max() > MAX_LOGPROB:
        at = int(logprobs.argmax())
        return ScoreResult(key, None, f"above 0: {logprobs[at]:.3g} at scored token {at}")
    return ScoreResult(key, np.minimum(logprobs, np.float32(0.0)))
