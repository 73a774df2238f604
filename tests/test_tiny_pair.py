import contextlib
import gzip
import io
import json
import math
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

TINY = Path(__file__).parent.parent / "examples" / "tiny"
PAIR = ("teacher", "student")


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The example's scripts, which import each other by their plain names."""
    names = ("tasks", "styles", "lm", "measure")
    sys.path.insert(0, str(TINY))
    try:
        loaded: dict[str, ModuleType] = {name: __import__(name) for name in names}
        yield SimpleNamespace(**loaded)
    finally:
        sys.path.remove(str(TINY))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def pair(scripts: SimpleNamespace) -> dict[str, Any]:
    """Both models as measure.py loads them."""
    torch.set_num_threads(2)
    return {name: scripts.measure.Scorer(TINY / name) for name in PAIR}


def rows(name: str) -> list[dict[str, Any]]:
    """All rows of one of the shipped gzipped JSONL files."""
    return [json.loads(x) for x in gzip.decompress((TINY / name).read_bytes()).splitlines()]


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Any]]:
    """The shipped samples."""
    return rows("samples.jsonl.gz")


def test_pair_has_two_tokenizers_and_a_long_context(pair: dict[str, Any]) -> None:
    """A user could not try cross-tokenizer scoring, or long prompts, on the shipped pair."""
    teacher, student = (pair[name] for name in PAIR)
    text = "Step 1: Mia finds 15 more pens, so 12 + 15 = 27."
    assert len(teacher.tokenizer) != len(student.tokenizer)
    assert len(teacher.tokenizer(text)["input_ids"]) != len(student.tokenizer(text)["input_ids"])
    for one in (teacher, student):
        assert one.model.config.model_type == "qwen3"
        assert one.model.config.max_position_embeddings >= 8192
        assert one.model.config.vocab_size == len(one.tokenizer)
        assert one.model.generation_config.eos_token_id == one.tokenizer.eos_token_id


@pytest.mark.parametrize("name", PAIR)
def test_files_are_small_and_in_bf16(name: str) -> None:
    """A checkout would grow by megabytes, or the stored log-probs belong to other weights."""
    from safetensors.torch import load_file

    weights = TINY / name / "model.safetensors"
    assert weights.stat().st_size < 2_000_000
    assert {t.dtype for t in load_file(weights).values()} == {torch.bfloat16}


@pytest.mark.parametrize("name", PAIR)
def test_template_is_verbatim(pair: dict[str, Any], name: str) -> None:
    """A completion that quotes a tag, or ends in blanks, would be trained on in another form."""
    completion = "<think>\n\nA quoted </think> and <think>.\n</think>\n\n\n 42 \n"
    messages = [
        {"role": "system", "content": " Be brief.\n"},
        {"role": "user", "content": "Why </think>?"},
        {"role": "assistant", "content": completion},
    ]
    apply = pair[name].tokenizer.apply_chat_template
    prompt = apply(messages[:2], tokenize=False, add_generation_prompt=True)
    assert prompt == (
        "<|im_start|>system\n Be brief.\n<|im_end|>\n"
        "<|im_start|>user\nWhy </think>?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert apply(messages, tokenize=False) == prompt + completion + "<|im_end|>\n"


@pytest.mark.parametrize("name", PAIR)
def test_tokenizer_is_byte_exact(pair: dict[str, Any], name: str) -> None:
    """Text outside the training domains would come back changed, or its bytes not add up."""
    one = pair[name]
    text = "<think>\n  Ünïcødé “数学” 😀\t  x = 3.14;\r\n\n</think>\n\nJanet’s  \\boxed{7} "
    ids = one.tokenizer(text)["input_ids"]
    assert one.tokenizer.decode(ids) == text
    assert b"".join(one.bytes[i] for i in ids) == text.encode()


@pytest.mark.parametrize("name", PAIR)
def test_tags_are_added_tokens_not_flagged_special(pair: dict[str, Any], name: str) -> None:
    """Decoding with special tokens skipped would lose the thinking's delimiters."""
    tokenizer = pair[name].tokenizer
    for tag in ("<think>", "</think>"):
        (i,) = tokenizer(tag)["input_ids"]
        assert not tokenizer.added_tokens_decoder[i].special
    for marker in ("<|im_start|>", "<|im_end|>", "<|endoftext|>"):
        (i,) = tokenizer(marker)["input_ids"]
        assert tokenizer.added_tokens_decoder[i].special


def test_stored_logprobs_are_the_teachers(
    scripts: SimpleNamespace, pair: dict[str, Any], samples: list[dict[str, Any]]
) -> None:
    """The demo's teacher scores would not be those of the shipped teacher at temperature 1."""
    teacher = pair["teacher"]
    for row in random.Random(0).sample(samples, 12):
        assert row["prompt_token_ids"] == scripts.lm.prompt_ids(teacher.tokenizer, row["question"])
        for choice in row["choices"]:
            fresh = scripts.lm.logprobs(teacher.model, row["prompt_token_ids"], choice["token_ids"])
            assert choice["logprobs"] == pytest.approx(fresh, abs=2e-4)


def test_token_bytes_tile_every_text(pair: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """Log-probs would be attributed to the wrong sentences."""
    table = pair["teacher"].bytes
    for row in samples:
        for choice in row["choices"]:
            joined = b"".join(table[i] for i in choice["token_ids"])
            assert joined.decode("utf-8", "replace") == choice["text"]
            assert len(choice["logprobs"]) == len(choice["token_ids"])
            assert max(choice["logprobs"]) <= 0


def test_finish_reasons_are_true(pair: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """A cut-off answer would pass as a finished one, or the demo would hold no cut-off at all."""
    end = pair["teacher"].tokenizer.eos_token_id
    seen = set()
    for row in samples:
        for choice in row["choices"]:
            stopped = choice["token_ids"][-1] == end
            assert end not in choice["token_ids"][:-1]
            assert stopped or len(choice["token_ids"]) == row["max_tokens"]
            assert choice["finish_reason"] == ("stop" if stopped else "length")
            seen.add(choice["finish_reason"])
    assert seen == {"stop", "length"}


def test_samples_cover_the_grid(scripts: SimpleNamespace, samples: list[dict[str, Any]]) -> None:
    """A domain or temperature would be missing, or a question was trained on."""
    grid: dict[tuple[str, float], set[str]] = {}
    for row in samples:
        grid.setdefault((row["domain"], row["temperature"]), set()).add(row["question"])
        assert scripts.tasks.held_out(row["question"])
        assert [c["index"] for c in row["choices"]] == [0, 1, 2, 3]
    assert {key: len(qs) >= 40 for key, qs in grid.items()} == {
        (d, t): True for d in scripts.tasks.DOMAINS for t in (0.6, 1.0)
    }


def test_worked_solutions_are_right(scripts: SimpleNamespace) -> None:
    """The pair would be trained on wrong arithmetic and graded against wrong answers."""
    for domain in scripts.tasks.DOMAINS:
        for problem in islice(scripts.tasks.problems(3, domain, held=False), 200):
            for step in problem.steps:
                if step.rel == "=":
                    assert eval(step.expr) == int(step.value)
            if domain == "code":
                code = problem.question.split("\n", 1)[1].rsplit("\n", 1)[0]
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    exec(code, {})
                assert out.getvalue().strip() == problem.reference
            if domain == "science":
                product, found = problem.steps[0].value, problem.steps[-1]
                assert f"\n{problem.reference}) {product} " in problem.question
                assert found.words.startswith(f"option {problem.reference} says {product} ")
                assert [x.value for x in problem.steps[1:-1]] == ["wrong"] * (
                    len(problem.steps) - 2
                )


def test_generator_is_seeded(scripts: SimpleNamespace) -> None:
    """Running the script again would train on, or sample, other questions."""

    def first(seed: int) -> list[str]:
        return [p.question for p in islice(scripts.tasks.problems(seed, "math", held=True), 5)]

    assert first(7) == first(7) != first(8)
    assert all(scripts.tasks.held_out(q) for q in first(7))


def test_answers_are_read_after_the_thinking(scripts: SimpleNamespace) -> None:
    """Accuracy would count what the thinking says, or a completion that was cut off."""
    answered = scripts.measure.answered
    assert answered("math", "<think>\n\\boxed{1}\n</think>\n\nThe answer is \\boxed{2}.") == "2"
    assert answered("math", "<think>\n\\boxed{1}") is None
    assert answered("instruction_following", "<think>\na\n</think>\n\nB C") == "B C"


def test_sentence_p_is_a_geometric_mean(scripts: SimpleNamespace) -> None:
    """The table of the README would rest on misplaced tokens; worked by hand."""
    pieces = [b"<think>", b"\n", b"Ab", b"c.", b" De", b".", b"\n", b"</think>", b"\n\n", b"X", b""]
    values = [-9.0, -9.0, -0.1, -0.3, -0.5, -0.6, -0.7, -9.0, -9.0, -2.0, -9.0]
    p = scripts.measure.sentence_p(b"".join(pieces), pieces, values)
    assert [math.log(x) for x in p if not math.isnan(x)] == pytest.approx([-0.2, -0.6, -2.0])


def test_pair_separates_candidates(
    scripts: SimpleNamespace, pair: dict[str, Any], samples: list[dict[str, Any]]
) -> None:
    """Selecting by Teacher sentences would be selecting the longest, or nothing at all."""
    measure = scripts.measure
    groups = [measure.score_sampled(r, pair["teacher"], pair["student"]) for r in samples[::8]]
    every = [c for g in groups for c in g]
    sentences = sum(len(c.p_t) for c in every)
    assert 0.10 < sum(c.teacher for c in every) / sentences < 0.50
    assert measure.overlap(groups) < 0.60
    assert sum(len({c.teacher for c in g}) > 1 for g in groups) > 0.9 * len(groups)


def test_gsm8k_candidates_are_real_and_distinct(
    scripts: SimpleNamespace, pair: dict[str, Any]
) -> None:
    """The real-text part of the demo would have nothing to choose from."""
    given = rows("gsm8k_candidates.jsonl.gz")
    assert len(given) == 150
    assert all(
        len(r["completions"]) == len(r["models"]) == len(r["is_correct"]) == 4 for r in given
    )
    groups = [scripts.measure.score_given(r, *(pair[n] for n in PAIR)) for r in given[:20]]
    assert sum(c.teacher for g in groups for c in g) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIR)
def test_far_positions_are_trained(
    scripts: SimpleNamespace, pair: dict[str, Any], samples: list[dict[str, Any]], name: str
) -> None:
    """The advertised context would hold noise beyond the length of one sample."""
    near, far = scripts.measure.near_and_far(pair[name], samples)
    chance = -math.log(len(pair[name].tokenizer))
    assert near > far > 0.4 * chance
