from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from builders.score.engine import ScoreRequest  # noqa: E402
from builders.score.transformers_engine import TransformersScorer  # noqa: E402
from dasd_data.errors import UsageError  # noqa: E402

pytestmark = pytest.mark.slow

SHAPES = ((5, 1), (60, 20), (100, 99), (33, 1), (180, 7), (2, 1), (60, 59))
PACKED = ["qwen3", "llama", "mistral", "gpt2", "gpt_neox", "gemma2", "gemma3"]
PACKED += ["cohere", "granite", "qwen3_moe", "gpt_oss"]
PADDED = ["llama4", "bloom", "mamba"]


def naive(folder, requests, attention="eager"):
    """The definition: one sequence at a time, all logits in fp32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention
    ).eval()
    values = {}
    for request in requests:
        ids = torch.from_numpy(request.ids.astype(np.int64))
        with torch.no_grad():
            table = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        picked = table[:-1].gather(1, ids[1:, None])[request.start - 1 :, 0]
        values[request.key] = picked.numpy()
    return values


def scored(scorer, requests):
    results = {result.key: result for result in scorer.score(iter(requests))}
    assert sorted(results) == sorted(request.key for request in requests)
    assert not [result.error for result in results.values() if result.error]
    return {key: result.logprobs for key, result in results.items()}


def worst(got, expected):
    assert {k: v.shape for k, v in got.items()} == {k: v.shape for k, v in expected.items()}
    return max(float(np.abs(got[key] - expected[key]).max()) for key in expected)


@pytest.mark.parametrize("name", PACKED + PADDED)
def test_equals_a_naive_full_logits_forward(name, model_folder, random_requests):
    """A wrong mask, window, cap, scale or shift would make every stored log-prob wrong."""
    requests = random_requests(*SHAPES)
    scorer = TransformersScorer(model_folder(name), device="cpu", max_tokens=200, head_rows=7)
    expected = naive(model_folder(name), requests)
    assert np.std(np.concatenate(list(expected.values()))) > 0.1
    assert worst(scored(scorer, requests), expected) < 1e-5
    assert scorer.packed is (name in PACKED)


def test_neighbours_in_a_pack_change_nothing(model_folder, random_requests):
    """A response's values would depend on which other responses were scored with it."""
    requests = random_requests(*SHAPES)
    scorer = TransformersScorer(model_folder("qwen3"), device="cpu", max_tokens=1000)
    together = scored(scorer, requests)
    for request in requests:
        alone = scored(scorer, [request])
        assert np.abs(alone[request.key] - together[request.key]).max() < 1e-5


@pytest.mark.parametrize("name", ["phi3_longrope", "qwen3_dynamic"])
def test_frequencies_that_depend_on_the_length_see_one_sequence(
    name, model_folder, random_requests
):
    """A short response would be scored at the rotary frequencies of the longest in its batch."""
    requests = random_requests((30, 1), (200, 1), (100, 1))
    scorer = TransformersScorer(model_folder(name), device="cpu", max_context=256)
    expected = {}
    for request in requests:  # a fresh model each: `dynamic` remembers the longest row
        expected |= naive(model_folder(name), [request])
    assert worst(scored(scorer, requests), expected) < 1e-5
    assert worst(scored(scorer, requests[::-1]), expected) < 1e-5


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_any_head_chunk_gives_the_same(rows, model_folder, random_requests):
    """The number of logits held at a time would leak into the values."""
    requests = random_requests(*SHAPES)
    scorer = TransformersScorer(model_folder("gemma2"), device="cpu", head_rows=rows)
    assert worst(scored(scorer, requests), naive(model_folder("gemma2"), requests)) < 1e-5


def test_a_late_token_cannot_move_an_early_value(model_folder, random_requests):
    """Scores would look into the future and be too good."""
    (request,) = random_requests((50, 1))
    changed = request.ids.copy()
    changed[30:] = (changed[30:] + 1) % 97
    scorer = TransformersScorer(model_folder("llama"), device="cpu")
    first = scored(scorer, [request])["r0"]
    second = scored(scorer, [ScoreRequest("r0", changed, 1)])["r0"]
    np.testing.assert_array_equal(first[:29], second[:29])
    assert abs(first[29] - second[29]) > 1e-3


def test_bfloat16_stays_near_float32(model_folder, random_requests):
    """Half precision would be unusable, or silently not in use at all."""
    requests = random_requests(*SHAPES)
    scorer = TransformersScorer(model_folder("qwen3"), device="cpu", dtype="bfloat16")
    got, expected = scored(scorer, requests), naive(model_folder("qwen3"), requests)
    off = np.concatenate([np.abs(got[key] - expected[key]) for key in expected])
    assert 1e-4 < off.mean() < 0.02
    assert off.max() < 0.2
    assert scorer.describe().dtype == "bfloat16"


def test_packing_is_refused_where_a_layer_bypasses_it(model_folder):
    """In half precision a faint leak between responses hides in the rounding."""
    scorer = TransformersScorer(model_folder("bloom_faint"), device="cpu", dtype="bfloat16")
    assert scorer.packed is False


def test_what_cannot_be_scored_comes_back_with_a_countable_reason(model_folder, random_requests):
    """An over-long response would be truncated, or a bad id would crash the run."""
    ids = random_requests((300, 1))[0].ids
    requests = [
        ScoreRequest("long", ids[:257], 1),
        ScoreRequest("fits", ids[:256], 250),
        ScoreRequest("strange", np.array([1, 97], np.int32), 1),
        ScoreRequest("negative", np.array([-1, 5], np.int32), 1),
        ScoreRequest("empty", ids[:4], 4),
        ScoreRequest("bare", ids[:4], 0),
        ScoreRequest("none", ids[:0], 0),
    ]
    results = {
        r.key: r for r in TransformersScorer(model_folder("qwen3"), device="cpu").score(requests)
    }
    assert results["fits"].logprobs.shape == (6,)
    assert results["long"].error == "over context: 257 tokens > 256"
    assert {key: r.reason for key, r in results.items() if key != "fits"} == {
        "long": "over context",
        "strange": "unknown token",
        "negative": "unknown token",
        "empty": "nothing to score",
        "bare": "no context",
        "none": "nothing to score",
    }
    assert all(r.logprobs is None for key, r in results.items() if key != "fits")


def test_memory_shortage_splits_the_batch(model_folder, random_requests):
    """One batch too large for the GPU would end a run of hours."""
    requests = random_requests(*SHAPES)
    scorer = TransformersScorer(model_folder("qwen3"), device="cpu", max_tokens=1000)

    def small_device(module, args, kwargs):
        if kwargs["input_ids"].numel() > 120:
            raise torch.OutOfMemoryError

    scorer.model.model.register_forward_pre_hook(small_device, with_kwargs=True)
    results = {result.key: result for result in scorer.score(requests)}
    assert results.pop("r4").error == "out of memory: 180 tokens on cpu"
    expected = naive(model_folder("qwen3"), requests)
    got = {key: result.logprobs for key, result in results.items()}
    assert worst(got, {key: expected[key] for key in got}) < 1e-5


def test_a_value_that_is_not_finite_is_an_error(model_folder, random_requests):
    """NaN passes `>` in SQL and would count as a Teacher sentence."""
    scorer = TransformersScorer(model_folder("qwen3"), device="cpu")
    with torch.no_grad():
        scorer.model.model.embed_tokens.weight[5] = float("nan")
    ids = np.array([1, 5, 7, 8], np.int32)
    bad, good = scorer.score([ScoreRequest("bad", ids, 1), ScoreRequest("good", ids[2:], 1)])
    assert bad.logprobs is None
    assert bad.error.startswith("not finite: nan at scored token ")
    assert good.error is None


def test_an_unknown_head_is_refused(model_folder, monkeypatch):
    """A model whose logits pass through something unknown would be scored without it."""
    gemma = transformers.Gemma2ForCausalLM
    plain = gemma.forward

    def forward(self, *args, **kwargs):
        out = plain(self, *args, **kwargs)
        out.logits = out.logits * 1.5
        return out

    monkeypatch.setattr(gemma, "forward", forward)
    with pytest.raises(UsageError, match="the head of Gemma2ForCausalLM is not a linear layer"):
        TransformersScorer(model_folder("gemma2"), device="cpu")


def test_describe_names_the_content_of_the_model(model_folder, tmp_path):
    """Scores of a retrained model would be joined with those of the old one."""
    folder = model_folder("qwen3")
    scorer = TransformersScorer(folder, device="cpu").describe()
    assert (scorer.model, scorer.engine, scorer.dtype) == ("qwen3", "transformers", "float32")
    assert (scorer.logprobs_mode, scorer.temperature) == ("raw_logprobs", 1.0)
    other = tmp_path / "qwen3"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(other)
    same = TransformersScorer(other, device="cpu").describe()
    with torch.no_grad():
        model.model.norm.weight += 1e-3
    model.save_pretrained(other)
    changed = TransformersScorer(other, device="cpu").describe()
    assert scorer == same
    assert len(scorer.revision) == 12
    assert changed.revision != scorer.revision


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"dtype": "int8"}, "dtype 'int8'"), ({"device": "cuda:99"}, "no GPU")],
)
def test_wrong_settings_say_what_to_use(arguments, message, model_folder):
    """A typing mistake would end in a traceback from inside torch."""
    if "device" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match=message):
        TransformersScorer(model_folder("qwen3"), **arguments)


def test_a_missing_model_is_a_usage_error(tmp_path):
    """A wrong path would end in a traceback from inside transformers."""
    with pytest.raises(UsageError, match="no model at"):
        TransformersScorer("not a model name/at all/x")
    with pytest.raises(UsageError, match="cannot load a causal language model"):
        TransformersScorer(tmp_path)


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_trained_models_score_like_a_naive_forward(model, shared_data, random_requests):
    """Real weights, whose log-probs span far more than random ones, would be off."""
    folder = shared_data(f"tiny_models/{model}")
    requests = random_requests((700, 1), (40, 30), (333, 50), vocab=500)
    scorer = TransformersScorer(folder, device="cpu", max_tokens=1100)
    assert worst(scored(scorer, requests), naive(folder, requests, "sdpa")) < 1e-5
