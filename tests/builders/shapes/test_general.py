"""General shapes: chat, ShareGPT, pairs, Alpaca, questions, --map."""

from __future__ import annotations

from typing import Any

import pytest

from builders.records import Question, Response
from builders.shapes import Context, detect
from dasd_data.errors import UnknownNameError, UsageError

ASKED = Question("What is 2 + 2?", source="set", row="3")
THOUGHT = "<think>\n2 + 2 = 4\n</think>\n\n4"
SPLIT: dict[str, Any] = {"thinking": "2 + 2 = 4", "answer": "4"}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ("chat", {"messages": [turn("user", ASKED.text), turn("assistant", THOUGHT)]}),
        ("chat", {"conversations": [
            {"from": "human", "value": ASKED.text}, {"from": "gpt", "value": THOUGHT}]}),
        ("chat", {"messages": [turn("user", ASKED.text),
                               turn("assistant", "4") | {"reasoning_content": "2 + 2 = 4"}]}),
        ("pairs", {"prompt": ASKED.text, "completion": THOUGHT}),
        ("pairs", {"question": ASKED.text, "response": THOUGHT}),
        ("pairs", {"prompt": [turn("user", ASKED.text)],
                   "completion": [turn("assistant", THOUGHT)]}),
        ("pairs", {"instruction": ASKED.text, "input": "", "output": THOUGHT}),
        ("pairs", {"problem": ASKED.text, "thinking": "2 + 2 = 4", "generation": "4"}),
    ],
)  # fmt: skip
def test_one_response(parse: Any, shape: str, row: dict[str, Any]) -> None:
    """A usual shape of training data would not give its question, thinking and answer."""
    assert parse(row, shape) == [Response(ASKED, **SPLIT)]


def test_columns_beside_the_text(parse: Any) -> None:
    """Sampling settings, the domain or the key that stand in the row would be lost."""
    row = {
        "id": "r1", "prompt": "Q", "completion": "A", "domain": "Instruction Following",
        "model": "m", "temperature": 0.6, "top_p": "0.95", "max_tokens": 512.0, "seed": 7,
        "finish_reason": "length", "reference_answer": 12, "license": "mit",
    }  # fmt: skip
    assert parse(row, "pairs") == [
        Response(
            Question("Q", "instruction_following", "12", "set", "r1", "mit"), "A",
            model="m", temperature=0.6, top_p=0.95, max_tokens=512, seed=7, finish_reason="length",
        )
    ]  # fmt: skip


def test_the_flags_fill_what_the_row_leaves_open(parse: Any) -> None:
    """--model, --temperature or --domain would not reach the rows, or overwrite the row's own."""
    flags = {
        "model": "f",
        "temperature": 1.0,
        "domain": "code",
        "license": "own",
        "policy": "student",
    }
    (own,) = parse(
        {"prompt": "Q", "completion": "A", "model": "m", "temperature": 0}, "pairs", **flags
    )
    assert (own.model, own.temperature, own.policy) == ("m", 0.0, "student")
    (filled,) = parse({"prompt": "Q", "completion": "A"}, "pairs", **flags)
    assert (filled.model, filled.temperature) == ("f", 1.0)
    assert (filled.question.domain, filled.question.license) == ("code", "own")


def test_several_responses(parse: Any) -> None:
    """Candidates of one question would not be samples 0, 1, ... of it with their own models."""
    row = {
        "id": "q",
        "prompt": "Q",
        "model": "m",
        "responses": [THOUGHT, {"text": "5", "model": "n"}],
    }
    first, second = parse(row, "pairs")
    assert (first.thinking, first.answer, first.model) == ("2 + 2 = 4", "4", "m")
    assert (second.thinking, second.answer, second.model) == (None, "5", "n")
    assert [(r.sample_index, r.key) for r in (first, second)] == [(0, None), (1, None)]
    assert first.question is second.question


def test_one_bad_candidate_keeps_the_others(refuse: Any) -> None:
    """A null among the candidates would lose them all, or be lost without a word."""
    kept, reason = refuse({"prompt": "Q", "completions": ["A", {"text": None}, "C"]})
    assert [(r.answer, r.sample_index) for r in kept] == [("A", 0), ("C", 2)]
    assert reason == "response 1: the row has no response: its text is null"


def test_alpaca_joins_instruction_and_input(parse: Any) -> None:
    """An Alpaca row would be asked without its input."""
    row = {"instruction": "Add.", "input": "2 and 2", "output": "4"}
    (found,) = parse(row, "pairs")
    assert (found.question.text, found.answer) == ("Add.\n\n2 and 2", "4")


def test_several_turns_are_one_question(parse: Any) -> None:
    """ "And 3 + 3?" would be stored as a question that nobody understands."""
    turns = [turn("user", "2 + 2?"), turn("assistant", "4"), turn("user", "And 3 + 3?")]
    row = {"messages": [turn("system", "Be brief."), *turns, turn("assistant", "6")]}
    (found,) = parse(row, "chat")
    assert found.question.text == "User: 2 + 2?\n\nAssistant: 4\n\nUser: And 3 + 3?"
    assert found.question.meta == {"system": "Be brief.", "messages": turns}
    assert found.answer == "6"


def test_a_conversation_that_ends_with_the_user_is_a_question(parse: Any) -> None:
    """Prompts in chat form would be refused for want of a response."""
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"}]
    assert parse({"messages": [{"role": "user", "content": parts}]}, "chat") == [ASKED]


def test_a_question_where_responses_are_wanted_is_refused(refuse: Any) -> None:
    """--as responses would store questions without a word."""
    records, reason = refuse({"messages": [turn("user", "Q")]}, as_kind="responses")
    assert records == [] and reason == "the row is a question (shape chat), not responses (--as)"


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([turn("tool", "x"), turn("assistant", "y")], "'tool'"),
        ([turn("system", "x"), turn("assistant", "y")], "no user turn"),
        ([turn("user", "Q"), {"role": "assistant", "content": [{"type": "image"}]}], "parts"),
        ([turn("user", " "), turn("assistant", "y")], "`question` is empty"),
        ([turn("user", "Q"), turn("assistant", "")], "response is empty"),
        ([turn("user", "Q"), "text"], "not an object"),
    ],
)
def test_conversations_that_cannot_be_read(refuse: Any, turns: list[Any], reason: str) -> None:
    """A broken conversation would be stored with a wrong or an empty question."""
    records, said = refuse({"messages": turns})
    assert records == [] and reason in said


def test_an_unknown_domain_names_the_four_and_the_way_out(refuse: Any, parse: Any) -> None:
    """A row of another domain would be stored under none, or refused without a remedy."""
    row = {"prompt": "Q", "completion": "A", "domain": "poetry"}
    _, reason = refuse(row)
    assert "math, code, science, instruction_following" in reason and "--domain" in reason
    (found,) = parse(row, "pairs", domain="science")
    assert found.question.domain == "science"


@pytest.mark.parametrize(
    ("column", "value"),
    [("temperature", "warm"), ("temperature", True), ("seed", 1.5), ("model", 3), ("prompt", 5)],
)
def test_values_of_the_wrong_type_are_refused(refuse: Any, column: str, value: Any) -> None:
    """A value of the wrong type would stop the run with a traceback or be stored as text."""
    records, reason = refuse({"prompt": "Q", "input": "", "completion": "A"} | {column: value})
    assert records == [] and f"`{column}`" in reason


def test_a_question_with_further_columns(parse: Any) -> None:
    """A list of questions would lose what else it says about them."""
    row = {"question": "Q", "domain": "math", "id": 5, "level": "hard", "empty": None}
    assert parse(row, "questions") == [
        Question("Q", "math", None, "set", "5", meta={"level": "hard"})
    ]


def test_an_answer_is_a_reference_or_a_response_as_the_user_says(parse: Any) -> None:
    """Reference answers would be trained on as a teacher's, or responses compared with."""
    row = {"question": "Q", "answer": "4"}
    with pytest.raises(UsageError, match="--as questions or --as responses"):
        detect(row, Context("a.jsonl"))
    assert parse(row, "questions", as_kind="questions") == [Question("Q", None, "4", "set", "3")]
    (said,) = parse(row, "questions", as_kind="responses")
    assert (said.answer, said.question.reference_answer) == ("4", None)


def test_mapped_columns(parse: Any) -> None:
    """Columns of other names, or inside objects, could not be ingested."""
    row = {"task": "What is 2 + 2?", "out": THOUGHT, "config": {"temp": 0.6}, "model": "m"}
    mapping = {"question": "task", "completion": "out", "temperature": "config.temp"}
    assert parse(row, "mapped", mapping=mapping) == [
        Response(ASKED, **SPLIT, model="m", temperature=0.6)
    ]
    assert parse(row, "mapped", mapping={"question": "task"}) == [ASKED]


def test_mapping_mistakes_name_the_closest(refuse: Any) -> None:
    """A typing error in --map would read nothing and say nothing."""
    with pytest.raises(UnknownNameError, match="did you mean 'question'"):
        Context("a.jsonl", mapping={"questoin": "task"})
    _, reason = refuse({"task": "Q"}, mapping={"question": "tusk"})
    assert reason == "no column 'tusk' (--map); did you mean 'task'?"
    with pytest.raises(UsageError, match="did you mean 'math'"):
        Context("a.jsonl", domain="maths")


def test_an_unknown_shape_shows_the_way(parse: Any) -> None:
    """A file of unknown columns would fail without telling what to type."""
    row = {"task_text": "Add 2 and 2.", "model_reply": "4", "n": 1}
    with pytest.raises(UsageError) as refused:
        detect(row, Context("odd.jsonl"))
    said = str(refused.value)
    assert "odd.jsonl" in said and "task_text, model_reply, n" in said and "Nearest:" in said
    assert said.endswith("--map question=task_text --map completion=model_reply")
    mapping = {"question": "task_text", "completion": "model_reply"}
    assert parse(row, "mapped", mapping=mapping)[0].answer == "4"


@pytest.mark.parametrize(
    "file", ["a/gsm8k.jsonl", "gsm8k.json.gz", "gsm8k.csv", "/x/gsm8k.parquet", "gsm8k"]
)
def test_the_source_is_named_after_the_file(file: str) -> None:
    """The same source would get another name when it is compressed or converted."""
    assert Context(file).source == "gsm8k"
    assert Context("run-0.6.jsonl").source == "run-0.6"


@pytest.mark.parametrize(
    ("column", "least", "most"),
    [
        ("sample_index", -(2**31), 2**31 - 1),
        ("max_tokens", -(2**31), 2**31 - 1),
        ("seed", -(2**63), 2**63 - 1),
    ],
)
def test_numbers_that_the_catalog_cannot_hold(
    parse: Any, refuse: Any, column: str, least: int, most: int
) -> None:
    """One random 64-bit seed without a sign would end the run of all files."""
    row = {"prompt": "Q", "completion": "A"}
    for value in (least, most):
        (found,) = parse(row | {column: value}, "pairs")
        assert getattr(found, column) == value
    for value in (least - 1, most + 1, 1e300):
        _, reason = refuse(row | {column: value})
        assert f"`{column}` is not within" in reason


def test_a_number_too_large_for_a_float(refuse: Any) -> None:
    """A long row of digits in one cell would end the run."""
    _, reason = refuse({"prompt": "Q", "completion": "A", "temperature": 10**400})
    assert "`temperature` is not a number" in reason
