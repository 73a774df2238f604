"""A dry run: how many tokens there are to score, and how many hours at a rate measured on them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from builders.score.engine import Engine, ScoreRequest, refusal

SAMPLE = 64


@dataclass(slots=True)
class Estimate:
    """What scoring would take.

    `tokens` are those of a forward pass (prompt and response), `scored` those that get a value;
    `refused` counts the requests that would come back without one, by reason; `unfiltered` those
    that the filters, which have not seen them yet, may still take out.
    """

    sequences: int = 0
    tokens: int = 0
    scored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unfiltered: int = 0
    tokens_per_second: float | None = None
    gpus: int | None = 0  # of the engine

    @property
    def hours(self) -> float | None:
        """Hours with one engine; None where there was nothing to measure with."""
        return self.tokens / self.tokens_per_second / 3600 if self.tokens_per_second else None

    @property
    def hours_per_billion(self) -> float | None:
        """Hours of `unit` per billion tokens of responses, their prompts' share included."""
        if self.hours is None or not self.scored:
            return None
        return self.hours / self.scored * 1e9 * (self.gpus or 1)

    @property
    def unit(self) -> str:
        """What works for an hour: a GPU, a machine without one, or a server."""
        if self.gpus is None:
            return "server hours"
        return "GPU-hours" if self.gpus else "hours of this machine"


def estimate(
    engine: Engine,
    requests: Iterable[ScoreRequest],
    *,
    seconds: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Estimate:
    """Counts all requests and scores a few of them, evenly spaced, for about `seconds`.

    Holds 64 requests at a time. The rate is real work at the real lengths: attention makes long
    sequences slower per token than short ones.
    """
    total, sample, stride = Estimate(gpus=engine.gpus), list[ScoreRequest](), 1
    for request in requests:
        if error := refusal(request, engine.max_context, engine.vocab_size):
            total.refused[error.partition(":")[0]] += 1
            continue
        if total.sequences % stride == 0:
            sample.append(request)
            if len(sample) > SAMPLE:
                sample, stride = sample[::2], stride * 2
        total.sequences += 1
        total.tokens += len(request.ids)
        total.scored += len(request.ids) - request.start
    if sample:
        total.tokens_per_second = measure_rate(engine, sample, seconds=seconds, clock=clock)
    return total


def measure_rate(
    engine: Engine,
    sample: list[ScoreRequest],
    *,
    seconds: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Tokens per second of a forward pass, measured on more and more of `sample`.

    Runs 1, 2, 4, ... requests until `seconds` are over or all have run at once, and gives the
    rate of the last run: the earlier ones warm up. One run is finished whatever it takes.
    """
    started, size = clock(), 1
    while True:
        part = sample[:: max(1, len(sample) // size)][:size]
        before = clock()
        for _ in engine.score(part):
            pass
        now = clock()
        rate = sum(len(request.ids) for request in part) / max(now - before, 1e-9)
        if size >= len(sample) or now - started >= seconds:
            return rate
        size *= 2
