"""A probe of the log-probs that an engine returns: are they the model's own, or of what is drawn?

At a temperature of 0.6 a token of probability 0.5 may come back as one of 0.7: engines can be set
to give `processed_logprobs`. How one is set does not depend on the request, so a few completions
are sampled at a temperature at which both kinds differ much, whatever the run's own is, and scored
again: raw values agree up to rounding.
"""

from __future__ import annotations

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
READABLE = 2  # of their completions at least
TOKENS = 24  # of each completion
TEMPERATURE = 2.0  # the highest that servers commonly take
OFF = 0.3  # mean difference in nats; of the tiny teacher: processed 1.38, bfloat16 0.01


def check_raw(engine: Generator, prompt: ChatPrompt, sampling: Sampling) -> None:
    """Raise DataError where sampled log-probs are not those of scoring the same tokens."""
    requests = [
        SampleRequest(f"probe {i}", prompt.ids(text), i) for i, text in enumerate(QUESTIONS)
    ]
    few = Sampling(TEMPERATURE, 1.0, min(TOKENS, sampling.max_tokens), sampling.stop_ids)
    made = {r.key: r for r in engine.generate(requests, few) if r is not None}
    again, sampled, errors = [], {}, []
    for request in requests:
        result = made[request.key]
        if result.token_ids is None or result.logprobs is None:
            errors.append(result.error)  # at this temperature some completion may be no text
            continue
        ids = np.concatenate([request.prompt_ids, result.token_ids])
        again.append(ScoreRequest(request.key, ids, len(request.prompt_ids)))
        sampled[request.key] = result.logprobs
    if len(again) < READABLE:
        raise DataError(
            f"the engine fails on {len(errors)} of {len(requests)} plain questions: {errors[-1]}"
        )
    off = []
    for scored in engine.score(again):
        if scored is None:
            continue
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
