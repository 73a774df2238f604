"""What a generating engine takes and gives: prompts in, sampled token ids with log-probs out.

    SampleRequest(key, prompt_ids, seed)  ->  SampleResult(key, token_ids, logprobs, finish_reason)

To continue from a prefix is to sample after a longer prompt; what it says is read from prefix and
continuation together (`ChatPrompt.read`), as one completion of the plain prompt. A prompt that
cannot be sampled as it is comes back with an error and is never truncated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from builders.score.engine import Engine
from dasd_data.errors import UsageError


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 takes the most probable one.

    `max_tokens` caps the sampled tokens of a completion; `stop_ids` end one and are its last.
    Raises UsageError for values out of range.
    """

    temperature: float
    top_p: float = 1.0
    max_tokens: int = 65_536
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # 1 and 1.0 are one setting, and so are 0.0 and -0.0: keys are made of what is printed.
        object.__setattr__(self, "temperature", float(self.temperature) + 0.0)
        object.__setattr__(self, "top_p", float(self.top_p))
        if not 0 <= self.temperature <= 100:
            raise UsageError(f"temperature {self.temperature:g}: it lies between 0 and 100")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p {self.top_p:g}: it lies above 0, at most 1")
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens {self.max_tokens}: at least one token is sampled")


@dataclass(frozen=True, slots=True, eq=False)
class SampleRequest:
    """A prompt (int32 `prompt_ids`) and the seed of the one completion that is wanted."""

    key: str
    prompt_ids: npt.NDArray[np.int32]
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class SampleResult:
    """A completion: int32 `token_ids` and their float32 `logprobs`, or an error.

    Log-probs are natural and of the model's own distribution, before temperature and top_p
    (`raw_logprobs`). `finish_reason` is `stop` (a stop id is the last token) or `length`. The
    error reads `reason: detail`, as that of `ScoreResult`.
    """

    key: str
    token_ids: npt.NDArray[np.int32] | None = None
    logprobs: npt.NDArray[np.float32] | None = None
    finish_reason: str | None = None
    error: str | None = None


class Generator(Engine, Protocol):
    """An engine that samples as well as scores, under one model.

    `generate` gives one result for each request, and None now and then, as `score` does. A
    KeyboardInterrupt that comes, or is thrown in, lets it give what is at hand, and goes on. A
    completion depends on its prompt, its seed and the sampling only, up to rounding.
    """

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request, errors included."""
        ...


def refusal(request: SampleRequest, sampling: Sampling, max_context: int | None) -> str | None:
    """Why this prompt cannot be sampled from under a context of `max_context` tokens, or None."""
    n = len(request.prompt_ids)
    if n == 0:
        return "no context: the prompt is empty"
    if max_context is not None and n + sampling.max_tokens > max_context:
        return (
            f"over context: {n} tokens of prompt and {sampling.max_tokens} to be sampled > "
            f"{max_context}"
        )
    return None
