"""A scoring engine without a model: for tests, demos and people without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from builders.records import Scorer
from builders.score.engine import ScoreRequest, ScoreResult, checked, refusal


class FakeScorer:
    """Log-probs from a hash: a token's value depends on the model's name and all ids up to it.

    Two scorers of one name agree, another name or another prompt gives other values, and each
    value lies in (-8, 0), like those of a real model.
    """

    gpus: int | None = 0

    def __init__(
        self, model: str = "fake", *, max_context: int | None = None, vocab_size: int = 2**31 - 1
    ) -> None:
        self.model, self.max_context, self.vocab_size = model, max_context, vocab_size

    def describe(self) -> Scorer:
        """The context of a model that does not exist, at temperature 1."""
        return Scorer(self.model, engine="fake", logprobs_mode="raw_logprobs", temperature=1.0)

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, in the order of the requests."""
        for request in requests:
            if error := refusal(request, self.max_context, self.vocab_size):
                yield ScoreResult(request.key, None, error)
            else:
                yield checked(request.key, self._logprobs(request))

    def _logprobs(self, request: ScoreRequest) -> np.ndarray:
        state = hashlib.sha256(self.model.encode())
        values = np.empty(len(request.ids), np.float32)
        for i, token in enumerate(request.ids.tolist()):
            state.update(token.to_bytes(4, "little"))
            values[i] = -8 * int.from_bytes(state.digest()[:4], "little") / 2**32
        return values[request.start :]
