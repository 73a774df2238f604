from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")

import numpy as np

from builders.sample.engine import SampleResult, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.probe import check_raw
from builders.sample.prompt import load_prompt
from dasd_data.errors import DataError

PROMPT = load_prompt(Path(__file__).parents[3] / "examples" / "tiny" / "teacher")
SAMPLING = Sampling(0.6, max_tokens=500, stop_ids=PROMPT.stop_ids)


class Changed(FakeGenerator):
    """An engine whose log-probs of sampling are something else."""

    def __init__(self, change):
        super().__init__(PROMPT.tokenizer.encode)
        self.change = change

    def generate(self, requests, sampling):
        """The same completions with other log-probs."""
        for result in super().generate(requests, sampling):
            yield self.change(result)


def with_logprobs(result, values):
    return SampleResult(result.key, result.token_ids, values.astype(np.float32), "stop")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: with_logprobs(r, r.logprobs / 0.6),  # unnormalized, and still far off
        lambda r: with_logprobs(r, np.maximum(r.logprobs, -1.0)),
        lambda r: with_logprobs(r, np.roll(r.logprobs, 1)),  # those of the token before
    ],
)
def test_log_probs_of_another_distribution_are_refused(change):
    """Every probability of the catalog would be of a distribution that no model has."""
    with pytest.raises(DataError, match="set logprobs_mode=raw_logprobs in the engine"):
        check_raw(Changed(change), PROMPT, SAMPLING)


def test_log_probs_of_the_model_pass_with_the_rounding_of_half_precision():
    """A run could not start on a GPU."""
    noise = np.random.default_rng(1)
    check_raw(FakeGenerator(PROMPT.tokenizer.encode), PROMPT, SAMPLING)
    check_raw(
        Changed(lambda r: with_logprobs(r, r.logprobs + noise.normal(0, 0.02, len(r.logprobs)))),
        PROMPT,
        SAMPLING,
    )


def test_an_engine_that_fails_is_told_apart():
    """A server that is down would be said to be set wrong."""
    broken = Changed(lambda r: SampleResult(r.key, error="timeout: 10 s"))
    with pytest.raises(DataError, match="fails on a plain question: timeout: 10 s"):
        check_raw(broken, PROMPT, SAMPLING)
    short = FakeGenerator(PROMPT.tokenizer.encode, max_context=30)
    with pytest.raises(DataError, match="over context"):
        check_raw(short, PROMPT, SAMPLING)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.4, 1.0])
def test_processed_log_probs_of_a_real_model_are_found_out(temperature):
    """The probe would miss what it is there for: the difference that a temperature makes."""
    torch = pytest.importorskip("torch")
    from builders.sample.transformers_engine import TransformersGenerator

    class Processed(TransformersGenerator):
        """Returns log-probs of the distribution that is drawn from."""

        def generate(self, requests, sampling):
            """Scores every prefix at the temperature."""
            requests = list(requests)
            prompts = {r.key: r for r in requests}
            for result in super().generate(requests, sampling):
                if result is None:
                    continue
                prompt = prompts[result.key].prompt_ids
                ids = torch.from_numpy(np.concatenate([prompt, result.token_ids]).astype(np.int64))
                with torch.no_grad():
                    logits = self.model(input_ids=ids[None]).logits[0] / sampling.temperature
                table = logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]
                yield with_logprobs(result, table[len(prompt) - 1 :].numpy())

    folder = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"
    sampling = Sampling(temperature, max_tokens=60, stop_ids=PROMPT.stop_ids)
    engine = Processed(folder, device="cpu")
    engine._use_attention(packed=False)
    if temperature == 1:
        check_raw(engine, PROMPT, sampling)
        return
    with pytest.raises(DataError, match="processed log-probs"):
        check_raw(engine, PROMPT, sampling)
