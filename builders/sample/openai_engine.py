"""Samples of any OpenAI-compatible server, by `/v1/completions` on token ids.

Asked for: `logprobs`, and the ids by `return_token_ids` or spelled as `token_id:52` (both vLLM's).
A server that gives the tokens' texts only is taken where each is the text of one token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from builders.sample.engine import SampleRequest, SampleResult, Sampling, refusal
from builders.score.engine import checked
from builders.score.openai_engine import OpenAIScorer, float32, ids_of, logprobs_of
from builders.score.server import Choice
from dasd_data.errors import RowError

# vLLM takes what a request leaves out from the model's generation_config.json. Off by -1 is top_k
# for vLLM (0 as well) and for SGLang (0 is an error).
PLAIN: Mapping[str, float] = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}


class OpenAIGenerator(OpenAIScorer):
    """A `Generator` over a server; see OpenAIScorer."""

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request, as they are answered."""

        async def ask(request: SampleRequest) -> SampleResult:
            return await self._sample(request, sampling)

        def failed(request: SampleRequest, problem: str) -> SampleResult:
            return SampleResult(request.key, error=problem)

        return self.server.run(requests, ask, failed)

    async def _sample(self, request: SampleRequest, sampling: Sampling) -> SampleResult:
        if error := refusal(request, sampling, self.max_context):
            return SampleResult(request.key, error=error)
        found = await self.server.completion(
            prompt=request.prompt_ids.tolist(), max_tokens=sampling.max_tokens,
            temperature=sampling.temperature, top_p=sampling.top_p, seed=request.seed,
            logprobs=0, stop_token_ids=list(sampling.stop_ids), skip_special_tokens=False,
            return_token_ids=True, return_tokens_as_token_ids=True, **PLAIN,
        )  # fmt: skip
        return self._read(request.key, found.choices, sampling)

    def _read(self, key: str, choices: list[Choice], sampling: Sampling) -> SampleResult:
        if len(choices) != 1:
            raise RowError(f"{len(choices)} completions, and one was asked for")
        (choice,) = choices
        values = logprobs_of(choice)
        assert choice.logprobs is not None
        if len(values) != len(choice.logprobs.tokens) or None in values:
            raise RowError(f"{len(choice.logprobs.tokens)} tokens, {len(values)} log-probs")
        ids = ids_of(choice.logprobs.tokens, choice.token_ids, self.table)
        found = checked(key, float32(values))
        if found.logprobs is None:
            return SampleResult(key, error=found.error)
        if choice.finish_reason not in ("stop", "length"):
            raise RowError(f"it ended by {choice.finish_reason!r}")
        if choice.finish_reason == "stop" and ids[-1] not in sampling.stop_ids:
            raise RowError(
                "it stopped, and its last token is no end: the server leaves the end out, or stops "
                "at a text of its own"
            )
        return SampleResult(key, ids, found.logprobs, choice.finish_reason)
