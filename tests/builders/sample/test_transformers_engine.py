from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from builders.sample.engine import SampleRequest, Sampling  # noqa: E402
from builders.sample.fake import FakeGenerator  # noqa: E402
from builders.sample.prompt import load_prompt  # noqa: E402
from builders.sample.transformers_engine import TransformersGenerator, draw  # noqa: E402
from builders.score.engine import ScoreRequest  # noqa: E402
from dasd_data.errors import UsageError  # noqa: E402
from tests.builders.architectures import VOCAB  # noqa: E402

TEACHER = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"
ARCHITECTURES = [
    "qwen3",
    "llama",
    "mistral",
    "gpt2",
    "gemma2",
    "gemma3",
    "cohere",
    "qwen3_moe",
    "gpt_oss",
    "bloom",
    "llama4",
    "gpt_neox",
    "qwen3_dynamic",
    "phi3_longrope",
]


def prompts(*lengths, seed=3):
    random = np.random.default_rng(seed)
    return [
        SampleRequest(f"r{i}", random.integers(3, VOCAB, n).astype(np.int32), seed=100 + i)
        for i, n in enumerate(lengths)
    ]


def made(engine, requests, sampling):
    results = [r for r in engine.generate(iter(requests), sampling) if r is not None]
    assert sorted(r.key for r in results) == sorted(r.key for r in requests)
    assert not [r.error for r in results if r.error]
    return {r.key: r for r in results}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_log_probs_are_those_of_scoring_the_same_tokens(name, model_folder):
    """Cache, padding or positions gone wrong would make samples of another model."""
    engine = TransformersGenerator(model_folder(name), device="cpu")
    requests = prompts(5, 1, 23, 12, 12)
    results = made(engine, requests, Sampling(0.9, max_tokens=40, stop_ids=(7, 8, 9)))
    again = [
        ScoreRequest(r.key, np.concatenate([r.prompt_ids, results[r.key].token_ids]), len(r.prompt_ids))
        for r in requests
    ]  # fmt: skip
    for scored in engine.score(again):
        assert np.abs(scored.logprobs - results[scored.key].logprobs).max() < 1e-4


@pytest.mark.slow
def test_a_model_without_a_key_value_cache_is_refused(model_folder):
    """A recurrent model would end in a stack trace, or sample from a state of its neighbour."""
    engine = TransformersGenerator(model_folder("mamba"), device="cpu")
    with pytest.raises(UsageError, match="no key-value cache: use another engine"):
        next(engine.generate(prompts(4), Sampling(1.0, max_tokens=3)))


@pytest.mark.slow
def test_a_completion_does_not_depend_on_its_neighbours(model_folder):
    """A run that goes on after a kill would sample another completion under the same key."""
    engine = TransformersGenerator(model_folder("qwen3"), device="cpu")
    requests = prompts(5, 1, 23, 12, 12, 60)
    sampling = Sampling(0.9, 0.95, max_tokens=40, stop_ids=(7, 8, 9))
    together = made(engine, requests, sampling)
    assert len({len(r.token_ids) for r in together.values()}) > 1  # some left the batch before
    engine.cache_bytes = 1  # one row at a time
    for key, alone in made(engine, requests[::-1], sampling).items():
        assert alone.token_ids.tolist() == together[key].token_ids.tolist()
        assert np.abs(alone.logprobs - together[key].logprobs).max() < 1e-5


@pytest.mark.slow
def test_greedy_equals_the_library(model_folder):
    """Temperature 0 would not be the most probable token of each step."""
    engine = TransformersGenerator(model_folder("qwen3"), device="cpu")
    (request,) = prompts(11)
    got = made(engine, [request], Sampling(0, max_tokens=30))[request.key]
    ids = torch.from_numpy(request.prompt_ids.astype(np.int64))[None]
    expected = engine.model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=30,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    assert got.token_ids.tolist() == expected[0, 11:].tolist()
    assert got.finish_reason == "length"


@pytest.mark.slow
def test_a_stop_id_ends_a_completion_and_is_its_last_token(model_folder):
    """Completions would run on after their end, or lose the token that ends them."""
    engine = TransformersGenerator(model_folder("qwen3"), device="cpu")
    requests = prompts(*[9] * 12)
    stop = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
    results = made(engine, requests, Sampling(1.0, max_tokens=30, stop_ids=stop))
    assert Counter(r.finish_reason for r in results.values())["stop"] > 2
    for result in results.values():
        ids = result.token_ids.tolist()
        assert len(ids) <= 30
        assert not set(ids[:-1]) & set(stop)
        assert (ids[-1] in stop) == (result.finish_reason == "stop")
        assert len(result.logprobs) == len(ids)


@pytest.mark.slow
def test_a_prompt_over_the_context_is_refused_alone(model_folder):
    """One long question would stop a run, or be cut short without a word."""
    engine = TransformersGenerator(model_folder("qwen3"), device="cpu", max_context=50)
    results = {
        r.key: r
        for r in engine.generate(prompts(11, 45, 12), Sampling(1.0, max_tokens=20))
        if r is not None
    }
    assert [k for k, r in results.items() if r.error] == ["r1"]
    assert results["r1"].error == "over context: 45 tokens of prompt and 20 to be sampled > 50"


@pytest.mark.slow
def test_memory_that_ends_halves_the_batch(model_folder, monkeypatch):
    """A batch too large for the device would end the run, or draw other completions."""
    engine = TransformersGenerator(model_folder("qwen3"), device="cpu")
    requests, sampling = prompts(*[9] * 8), Sampling(1.0, max_tokens=12, stop_ids=(7,))
    expected = made(engine, requests, sampling)
    forward = engine.model.forward
    sizes = []

    def small(input_ids, **more):
        sizes.append(len(input_ids))
        if len(input_ids) > 3:
            raise torch.OutOfMemoryError
        return forward(input_ids=input_ids, **more)

    monkeypatch.setattr(engine.model, "forward", small)
    results = made(engine, requests, sampling)
    assert max(sizes) == 8
    assert {k: r.token_ids.tolist() for k, r in results.items()} == {
        k: r.token_ids.tolist() for k, r in expected.items()
    }


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.3, 0.8), (0.7, 0.2)])
def test_draws_have_the_distribution_of_the_library(temperature, top_p):
    """Samples would come from another distribution than the temperature and top_p asked for."""
    torch.manual_seed(1)
    logits = torch.randn(1, 50) * 2
    scores = transformers.TemperatureLogitsWarper(temperature)(None, logits)
    if top_p < 1:
        scores = transformers.TopPLogitsWarper(top_p)(None, scores)
    expected = scores.softmax(-1)[0].double()
    n = 20_000
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    drawn = draw(logits.expand(n, -1), Sampling(temperature, top_p), uniforms)
    shares = torch.bincount(drawn[:, 0], minlength=50).double() / n
    assert (shares - expected).abs().max() < 2 / n + 1e-6


def test_a_draw_at_either_end_takes_a_token_that_can_come():
    """A uniform of 0, or just below 1, would draw a token of probability 0, or one past the end."""
    logits = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf]])
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    for top_p in (1.0, 0.9):
        drawn = draw(logits.expand(2, -1), Sampling(1.0, top_p), ends)[:, 0]
        assert set(drawn.tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ((-0.1,), "temperature -0.1"),
        ((float("nan"),), "temperature nan"),
        ((1.0, 0.0), "top_p 0"),
        ((1.0, 1.5), "top_p 1.5"),
        ((1.0, 1.0, 0), "max_tokens 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, problem):
    """A typing error would sample for days at a temperature that nobody meant."""
    with pytest.raises(UsageError, match=problem):
        Sampling(*settings)


@pytest.mark.slow
def test_a_thinking_prefix_is_continued_and_read_as_one_completion():
    """A continuation would be read as an answer without thinking, or begin anew."""
    prompt = load_prompt(TEACHER)
    engine = TransformersGenerator(TEACHER, device="cpu")
    plain = prompt.ids("Tom has 4 apples and buys 7 more. How many has he?")
    greedy = Sampling(0.0, max_tokens=300, stop_ids=prompt.stop_ids)

    def drawn(ids):
        (found,) = [r for r in engine.generate([SampleRequest("r", ids, 1)], greedy) if r]
        return found

    whole = drawn(plain)
    read = prompt.read(whole.token_ids.tolist())
    assert read.thinking
    assert read.answer
    prefix = whole.token_ids[: len(whole.token_ids) // 3]
    assert "</think>" not in prompt.tokenizer.decode(prefix)
    rest = drawn(np.concatenate([plain, prefix]))
    assert [*prefix, *rest.token_ids] == whole.token_ids.tolist()
    again = prompt.read([*prefix.tolist(), *rest.token_ids.tolist()])
    assert again[:2] == read[:2]
    assert again.token_bytes.sum() == len((read.thinking + read.answer).encode())
    fake = FakeGenerator(prompt.tokenizer.encode)
    longer = SampleRequest("r", np.concatenate([plain, prefix]), 1)
    (made,) = fake.generate([longer], greedy)
    sequence = np.concatenate([longer.prompt_ids, made.token_ids])
    (scored,) = fake.score([ScoreRequest("r", sequence, len(longer.prompt_ids))])
    assert made.logprobs.tolist() == scored.logprobs.tolist()
