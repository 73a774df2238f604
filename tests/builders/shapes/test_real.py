"""Every file of the shared real data: as many records as its description says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builders.read import read
from builders.records import Question, Response
from builders.shapes import Context, Shape, detect

SharedData = Callable[[str], Path]


def records(path: Path, **context: Any) -> list[Any]:
    where, shape, found = Context(str(path), **context), None, []
    for raw in read(path):
        assert raw.value is not None, raw.error
        shape = shape or detect(raw.value, where)
        assert isinstance(shape, Shape)
        found += shape.parse(raw.value, where, raw.line)
    return found


@pytest.mark.parametrize(
    ("name", "count", "domains", "licence"),
    [
        ("gsm8k_train", 7473, {"math"}, "mit"),
        ("gsm8k_test", 1319, {"math"}, "mit"),
        ("math500_test", 500, {"math"}, "mit"),
        ("aime24_test", 30, {"math"}, "MAA: contamination checks only"),
        ("mmlu_stem_mcq", 3978, {"math", "science"}, "mit"),
        ("humaneval", 164, {"code"}, "mit"),
        ("mbpp", 974, {"code"}, "cc-by-4.0"),
        ("livecodebench_questions", 880, {"code"}, "mit"),
        ("ifeval_input_data", 541, {"instruction_following"}, "apache-2.0"),
        ("selfinstruct_seed_tasks", 175, {"instruction_following"}, "apache-2.0"),
    ],
)
def test_question_sets(
    shared_data: SharedData, name: str, count: int, domains: set[str], licence: str
) -> None:
    """A row of a real question set would be lost or refused."""
    found = records(shared_data(f"questions/{name}.jsonl"))
    assert len(found) == count
    assert all(isinstance(q, Question) and q.source == name for q in found)
    assert {q.domain for q in found} == domains
    assert {q.license for q in found} == {licence}
    if domains <= {"math", "science"}:
        assert all(q.reference_answer for q in found)


def test_gsm8k_solutions(shared_data: SharedData) -> None:
    """A model's solutions would be missing."""
    found = records(shared_data("responses/gsm8k_example_model_solutions.jsonl"))
    assert Counter(r.model for r in found) == dict.fromkeys(
        ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"), 1319
    )


def test_math_attempts(shared_data: SharedData) -> None:
    """Attempts would share a key, or those that were cut off count as finished."""
    found = records(shared_data("responses/gptoss_math_attempts.parquet"))
    assert Counter(r.model for r in found) == {"gpt-oss-120b": 80, "gpt-oss-20b": 80}
    assert Counter(r.finish_reason for r in found) == {"stop": 144, "length": 16}
    assert len({r.key for r in found}) == 160
    assert len({r.question.text for r in found}) == 10
    assert {r.temperature for r in found} == {0.7}
    assert all((r.answer == "") == (r.finish_reason == "length") for r in found)


def assert_tiled(response: Response) -> None:
    size = len(((response.thinking or "") + response.answer).encode())
    for tokens in response.tokens:
        assert tokens.token_ids is not None
        assert sum(tokens.token_bytes) == size
        assert len(tokens.token_bytes) == len(tokens.token_ids)
        assert tokens.logprobs is None or len(tokens.logprobs) == len(tokens.token_ids)


@pytest.mark.slow
def test_harmony_traces(shared_data: SharedData) -> None:
    """A real trace with tools, or cut off, would be refused or lose bytes."""
    path = shared_data("responses/gptoss120b_harmony_traces.parquet")
    found = records(path, tokenizer=str(shared_data("tokenizers/gpt-oss")))
    assert len(found) == len({r.key for r in found}) == 177
    assert sum(bool(r.answer) for r in found) == 74
    assert len({r.question.row for r in found}) == 18
    assert {r.tokens[0].scorer.reasoning_effort for r in found} == {"high"}
    for response in found:
        assert_tiled(response)


@pytest.mark.slow
def test_two_model_logprobs(shared_data: SharedData) -> None:
    """The traces of seven runs would not merge into 17 responses with one initial score each."""
    path = shared_data("responses/gptoss120b_two_model_logprobs.parquet")
    found = records(path, tokenizer=str(shared_data("tokenizers/gpt-oss")))
    assert len(found) == 119
    traces: dict[tuple[str | None, str], list[Response]] = {}
    for response in found:
        assert_tiled(response)
        traces.setdefault((response.thinking, response.answer), []).append(response)
    assert [len(same) for same in traces.values()] == [7] * 17
    for same in traces.values():
        assert all(r.tokens[0] == same[0].tokens[0] for r in same)
        assert len({r.tokens[1].scorer for r in same}) == 7
    raw = next(iter(read(path)))
    assert raw.value is not None
    scored = found[0].tokens[0].logprobs
    assert scored is not None
    # the source's own sum over the completion, rounded to 0.01
    assert sum(scored[-16:]) == pytest.approx(raw.value["base_sum"], abs=0.005)
