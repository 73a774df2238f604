"""A probe of the log-probs that an engine returns: are they the model's own, or of what is drawn?

At a temperature of 0.6 a token of probability 0.5 may come back as one of 0.7: engines can be set
to give `processed_logprobs`. A few completions are sampled and scored again; under `raw_logprobs`
both values agree up to rounding, and processed ones are above by far more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from builders.sample.engine import Generator, SampleRequest, Sampling
from builders.sample.prompt import ChatPrompt
from builders.score.engine import ScoreRequest
from dasd_data.errors import DataError

QUESTIONS = (
    "Name a colour.",
    "Tell me about a city you know.",
    "What is 17 times 24?",
    "Write the first line of a poem.",
)
TOKENS = 24  # of each completion
OFF = 0.05  # mean difference in nats; half precision is off by less than half of this


def check_raw(engine: Generator, prompt: ChatPrompt, sampling: Sampling) -> None:
    """Raise DataError where sampled log-probs are not those of scoring the same tokens."""
    requests = [
        SampleRequest(f"probe {i}", prompt.ids(text), i) for i, text in enumerate(QUESTIONS)
    ]
    few = replace(sampling, max_tokens=min(TOKENS, sampling.max_tokens))
    made = {r.key: r for r in engine.generate(requests, few) if r is not None}
    again, sampled = [], {}
    for request in requests:
        result = made[request.key]
        if result.token_ids is None or result.logprobs is None:
            raise DataError(f"the engine fails on a plain question: {result.error}")
        ids = np.concatenate([request.prompt_ids, result.token_ids])
        again.append(ScoreRequest(request.key, ids, len(request.prompt_ids)))
        sampled[request.key] = result.logprobs
    off = []
    for scored in engine.score(again):
        if scored.logprobs is None:
            raise DataError(f"the engine cannot score what it sampled: {scored.error}")
        off.append(np.abs(scored.logprobs - sampled[scored.key]))
    mean = float(np.concatenate(off).mean())
    if mean > OFF:
        raise DataError(
            f"the log-probs of sampling differ from those of scoring the same tokens by {mean:.2f} "
            "nats on average: the engine returns processed log-probs, or another model answers; "
            "set logprobs_mode=raw_logprobs in the engine"
        )
