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

TEACHER = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"
PROMPT = load_prompt(TEACHER)
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


def test_log_probs_of_other_tokens_are_refused():
    """Every probability of the catalog would be that of the token before."""
    shifted = Changed(lambda r: with_logprobs(r, np.roll(r.logprobs, 1)))
    with pytest.raises(DataError, match="set logprobs_mode=raw_logprobs in the engine"):
        check_raw(shifted, PROMPT, SAMPLING)


def test_an_engine_that_fails_is_told_apart():
    """A server that is down would be said to be set wrong."""
    broken = Changed(lambda r: SampleResult(r.key, error="timeout: 10 s"))
    with pytest.raises(DataError, match="fails on 4 of 4 plain questions: timeout: 10 s"):
        check_raw(broken, PROMPT, SAMPLING)
    short = FakeGenerator(PROMPT.tokenizer.encode, max_context=30)
    with pytest.raises(DataError, match="over context"):
        check_raw(short, PROMPT, SAMPLING)


def test_two_readable_completions_are_enough_for_a_verdict():
    """A run could not start because a hot completion was no text, or would start untried."""

    def unreadable(number, change):
        def some(result):
            if int(result.key[-1]) < number:
                return SampleResult(result.key, error="unreadable answer: token 3")
            return change(result)

        return Changed(some)

    check_raw(unreadable(2, lambda r: r), PROMPT, SAMPLING)
    with pytest.raises(DataError, match="another model answers"):
        check_raw(unreadable(2, lambda r: with_logprobs(r, 0 * r.logprobs)), PROMPT, SAMPLING)
    with pytest.raises(DataError, match="fails on 3 of 4 plain questions: unreadable answer"):
        check_raw(unreadable(3, lambda r: r), PROMPT, SAMPLING)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(0.6, 1.0), (1.0, 0.95), (1.0, 1.0)])
def test_processed_log_probs_of_a_real_model_are_found_out(settings):
    """At T=1 with top_p, or near T=1, a server set for chat would fill the catalog unseen."""
    torch = pytest.importorskip("torch")
    from builders.sample.transformers_engine import TransformersGenerator

    class Processed(TransformersGenerator):
        """Returns log-probs of the distribution that is drawn from."""

        def generate(self, requests, sampling):
            """Scores every prefix at the temperature; the probe asks for no `top_p`."""
            assert sampling.top_p == 1
            requests = list(requests)
            prompts = {r.key: r.prompt_ids for r in requests}
            for result in super().generate(requests, sampling):
                if result is None:
                    continue
                prompt = prompts[result.key]
                ids = torch.from_numpy(np.concatenate([prompt, result.token_ids]).astype(np.int64))
                with torch.no_grad():
                    logits = self.model(input_ids=ids[None]).logits[0] / sampling.temperature
                table = logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[:, 0]
                values = table[len(prompt) - 1 :]
                yield with_logprobs(result, values.numpy())

    engine = Processed(TEACHER, device="cpu")
    engine._use_attention(packed=False)
    with pytest.raises(DataError, match="processed log-probs"):
        check_raw(engine, PROMPT, Sampling(*settings, max_tokens=60, stop_ids=PROMPT.stop_ids))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_log_probs_of_a_real_model_pass_with_their_rounding(dtype):
    """A run could not start on a GPU."""
    pytest.importorskip("torch")
    from builders.sample.transformers_engine import TransformersGenerator

    check_raw(TransformersGenerator(TEACHER, device="cpu", dtype=dtype), PROMPT, SAMPLING)
