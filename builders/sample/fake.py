"""A generating engine without a model: for tests, demos and people without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from builders.sample.engine import SampleRequest, SampleResult, Sampling, refusal
from builders.score.engine import ScoreRequest
from builders.score.fake import FakeScorer


class FakeGenerator(FakeScorer):
    """Completions from a hash of model, prompt, seed and sampling, encoded by `encode`.

    Every one has thinking and an answer, one to five sentences long, and ends with the first of
    the stop ids; one cut by `max_tokens` ends with `length`. Log-probs are those of `score`.
    """

    def __init__(
        self,
        encode: Callable[[str], Sequence[int]],
        model: str = "fake",
        *,
        max_context: int | None = None,
    ) -> None:
        super().__init__(model, max_context=max_context)
        self.encode = encode

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request, in the order of the requests."""
        for request in requests:
            if error := refusal(request, sampling, self.max_context):
                yield SampleResult(request.key, error=error)
                continue
            ids = [*self.encode(self._text(request, sampling)), *sampling.stop_ids[:1]]
            finish = "stop" if len(ids) <= sampling.max_tokens else "length"
            made = np.array(ids[: sampling.max_tokens], np.int32)
            whole = np.concatenate([request.prompt_ids, made])
            values = self._logprobs(ScoreRequest(request.key, whole, len(request.prompt_ids)))
            yield SampleResult(request.key, made, values, finish)

    def _text(self, request: SampleRequest, sampling: Sampling) -> str:
        state = hashlib.sha256(self.model.encode() + request.prompt_ids.tobytes())
        state.update(f"{request.seed} {sampling.temperature} {sampling.top_p}".encode())
        numbers = list(state.digest())
        steps = "".join(f" Then {n} + 1 = {n + 1}." for n in numbers[: 1 + numbers[-1] % 5])
        return f"<think>\nStart at {numbers[0]}.{steps}\n</think>\n\nThe answer is {numbers[1]}."
