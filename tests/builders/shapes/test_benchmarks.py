"""Known question sets: an excerpt of each gives exactly this question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builders.read import read
from builders.records import Question, Response
from builders.shapes import Context, detect
from dasd_data.errors import RowError, UsageError

EXCERPTS = Path(__file__).parents[2] / "data" / "excerpts"


def records(name: str, **context: Any) -> list[Any]:
    (raw,) = read(EXCERPTS / f"{name}.jsonl")
    where = Context(str(EXCERPTS / f"{name}.jsonl"), **context)
    assert raw.value is not None
    return list(detect(raw.value, where).parse(raw.value, where, raw.line))


def row(name: str) -> dict[str, Any]:
    return dict(json.loads((EXCERPTS / f"{name}.jsonl").read_text()))


def test_gsm8k() -> None:
    """GSM8K's reference answer would be the whole solution, or its solution a response."""
    assert records("gsm8k_train") == [
        Question(
            text="What is fifteen more than a quarter of 48?",
            domain="math",
            reference_answer="27",
            source="gsm8k_train",
            row="1",
            license="mit",
            meta={
                "solution": "A quarter of 48 is 48/4=<<48/4=12>>12.\n"
                "The number is 12+15=<<12+15=27>>27."
            },
        )
    ]


def test_math500() -> None:
    """A MATH problem would lose its answer, its key or its solution."""
    solution = "We have $2^6=64$, so $\\log_2 64 = \\boxed{6}$."
    assert records("math500_test") == [
        Question(
            "Evaluate $\\log_264$.", "math", "6", "math500_test", "test/algebra/1255.json", "mit",
            {"solution": solution, "subject": "Algebra", "level": 2},
        )
    ]  # fmt: skip


def test_aime() -> None:
    """An AIME problem would be taken without the mark that it may only serve as a check."""
    problem = {"id": 60, "problem": "Aya walks.", "solution": "…", "answer": "204", "url": "u"}
    where = Context("aime24_test.jsonl")
    assert list(detect(problem, where).parse(problem, where, 1)) == [
        Question(
            "Aya walks.", "math", "204", "aime24_test", "60", "MAA: contamination checks only",
            {"solution": "…", "url": "u"},
        )
    ]  # fmt: skip


def test_mmlu() -> None:
    """A multiple-choice question would come without its choices, or all in one domain."""
    (found,) = records("mmlu_stem_mcq")
    assert found == Question(
        "(1+i)^10 =\n\nA. 1\nB. i\nC. 32\nD. 32i", "math", "D", "mmlu_stem_mcq",
        "mmlu/data/test/college_mathematics_test.csv/94", "mit",
        {"subject": "college_mathematics", "split": "test", "choices": ["1", "i", "32", "32i"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "domain"),
    [
        ("abstract_algebra", "math"), ("high_school_statistics", "math"),
        ("elementary_mathematics", "math"), ("college_physics", "science"),
        ("machine_learning", "science"),
    ],
)  # fmt: skip
def test_domains_of_mmlu(subject: str, domain: str) -> None:
    """Questions of algebra would be drawn as science."""
    where, problem = Context("x.jsonl"), row("mmlu_stem_mcq") | {"subject": subject}
    (found,) = detect(problem, where).parse(problem, where, 1)
    assert isinstance(found, Question) and found.domain == domain


def test_humaneval() -> None:
    """HumanEval's solution would be a reference answer, which no text equals, or its test lost."""
    (found,) = records("humaneval")
    given = row("humaneval")
    assert found == Question(
        given["prompt"], "code", None, "humaneval", "HumanEval/34", "mit",
        {k: given[k] for k in ("entry_point", "canonical_solution", "test")},
    )  # fmt: skip


def test_mbpp() -> None:
    """MBPP's tests would be lost, or its licence."""
    (found,) = records("mbpp")
    given = row("mbpp")
    kept = ("code", "test_setup_code", "test_list", "challenge_test_list")
    assert found == Question(
        "Write a python function to find remainder of two numbers.", "code", None, "mbpp", "502",
        "cc-by-4.0", {k: given[k] for k in kept},
    )  # fmt: skip


def test_livecodebench() -> None:
    """A contest problem would be its title instead of its statement."""
    (found,) = records("livecodebench_questions")
    given = row("livecodebench_questions")
    kept = ("question_title", "platform", "contest_date", "starter_code", "difficulty")
    assert found == Question(
        given["question_content"], "code", None, "livecodebench_questions", "abc383_d", "mit",
        {k: given[k] for k in kept},
    )  # fmt: skip


def test_ifeval() -> None:
    """An instruction would lose the constraints that its verifier needs."""
    assert records("ifeval_input_data") == [
        Question(
            "Write a riddle about Camilla that doesn't use commas.", "instruction_following", None,
            "ifeval_input_data", "3615", "apache-2.0",
            {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        )
    ]  # fmt: skip


def test_selfinstruct() -> None:
    """A seed task would be asked without its input."""
    assert records("selfinstruct_seed_tasks") == [
        Question(
            "Convert the following measurement.\n\n3 ft = _____ in.", "instruction_following", None,
            "selfinstruct_seed_tasks", "seed_task_58", "apache-2.0",
            {"name": "measurement_conversion", "is_classification": False,
             "output": "3 ft = 36 in."},
        )
    ]  # fmt: skip


def test_gsm8k_solutions() -> None:
    """Four models' solutions would not be four responses to one question."""
    found = records("gsm8k_example_model_solutions")
    assert [(r.model, r.answer[-6:], r.thinking, r.tokens) for r in found] == [
        ("6b_finetuning", "A: 360", None, []),
        ("6b_verification", "A: 360", None, []),
        ("175b_finetuning", "A: 360", None, []),
        ("175b_verification", "A: 360", None, []),
    ]
    asked = found[0].question
    assert all(r.question is asked for r in found)
    assert (asked.reference_answer, asked.domain, asked.license) == ("360", "math", "mit")
    assert asked.meta["is_correct"] == dict.fromkeys((r.model for r in found), True)


def test_as_and_flags_win_over_the_set() -> None:
    """--as, --domain or --license would be ignored for a known set."""
    (found,) = records("gsm8k_train", domain="science", license="own")
    assert (found.domain, found.license) == ("science", "own")
    (said,) = records("gsm8k_train", as_kind="responses")
    assert isinstance(said, Response) and said.answer.endswith("#### 27")
    (asked,) = records("gsm8k_example_model_solutions", as_kind="questions")
    assert isinstance(asked, Question) and asked.reference_answer == "360"
    with pytest.raises(UsageError, match="no shape has the columns"):
        records("humaneval", as_kind="responses")


def test_a_damaged_row_of_a_set_is_refused() -> None:
    """A row without its text would stop the file or be stored as an empty question."""
    where, given = Context("x.jsonl"), row("math500_test")
    shape = detect(given, where)
    for damage in ({"problem": None}, {"problem": "  "}, {"problem": 7}):
        with pytest.raises(RowError, match=r"`(problem|question)`"):
            list(shape.parse(given | damage, where, 1))
