"""Samples with vLLM in this process, by continuous batching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import vllm

from builders.sample.engine import SampleRequest, SampleResult, Sampling, refusal
from builders.score.engine import checked
from builders.score.vllm_engine import VLLMScorer


class VLLMGenerator(VLLMScorer):
    """A `Generator` over one model; see VLLMScorer."""

    BATCHED_TOKENS = None  # as vLLM likes: it has no prompts to score but the probe's

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request, as completions end."""

        def refused(request: SampleRequest) -> SampleResult | None:
            error = refusal(request, sampling, self.max_context)
            return SampleResult(request.key, error=error) if error else None

        def asked(request: SampleRequest) -> tuple[Any, Any]:
            return request.prompt_ids, vllm.SamplingParams(
                temperature=sampling.temperature, top_p=sampling.top_p, seed=request.seed,
                max_tokens=sampling.max_tokens, stop_token_ids=list(sampling.stop_ids),
                logprobs=0, detokenize=False,
            )  # fmt: skip

        return self.run(requests, asked, refused, _taken)


def _taken(request: SampleRequest, output: Any) -> SampleResult:
    (made,) = output.outputs
    ids = list(made.token_ids)
    pairs = zip(ids, made.logprobs or (), strict=True)
    values = np.array([table[i].logprob for i, table in pairs], np.float32)
    found = checked(request.key, values)
    if found.logprobs is None:
        return SampleResult(request.key, error=found.error)
    if made.finish_reason not in ("stop", "length"):
        return SampleResult(request.key, error=f"ended: by {made.finish_reason!r}")
    return SampleResult(request.key, np.array(ids, np.int32), found.logprobs, made.finish_reason)
