"""Rows with any value anywhere: a shape gives records or a reason, never a traceback."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.records import Response
from builders.shapes import SHAPES, Context, detect
from dasd_data.errors import RowError, UsageError

EXCERPTS = Path(__file__).parents[2] / "data" / "excerpts"

TURN = {"role": "user", "content": "Q"}
SAID = {"role": "assistant", "content": "<think>\nT\n</think>\n\nA"}
ENTRY = {"token": "A", "bytes": [65], "logprob": -0.5}
ROWS: list[dict[str, Any]] = [
    *(json.loads(path.read_text()) for path in sorted(EXCERPTS.glob("*.jsonl"))),
    {"id": 1, "problem": "Q", "solution": "S", "answer": "4", "url": "u"},
    {"uuid": "u", "input": "Q", "output": "A", "domain": "math", "meta": "{}"},
    {"sample_uuid": "u", "token_ids": [65], "logprobs": [-0.5]},
    {"prompt_tokens": [65], "tokens": [65], "problem_id": "p"},
    {"run": "r", "prompt_tokens": [65], "completion_tokens": [65], "logprobs_initial": [-0.5],
     "logprobs_tuned": [-0.5]},
    {"source_run": "r", "attempt": 0, "problem_id": "p", "problem": "Q", "reasoning": "T",
     "content": "A", "answer": "4", "ground_truth": "4", "correct": True},
    {"question": "Q", "model": "m", "engine": "e", "logprobs_mode": "raw_logprobs",
     "choices": [{"index": 0, "text": "A", "token_ids": [65], "logprobs": [-0.5]}]},
    {"request": {"messages": [TURN], "temperature": 1}, "response": {"model": "m", "choices": [
        {"index": 0, "message": {"content": "A", "reasoning": "T"}, "token_ids": [65],
         "logprobs": {"content": [ENTRY]}}]}},
    {"custom_id": "c", "prompt": "Q", "response": {"status_code": 200, "body": {"choices": [
        {"text": "QA", "logprobs": {"tokens": ["Q", "A"], "token_logprobs": [None, -0.5]}}]}}},
    {"messages": [TURN, SAID], "domain": "math", "temperature": 0.6, "token_ids": [65]},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    {"prompt": [TURN], "completions": ["A", {"text": "B", "model": "m", "logprobs": [-1]}]},
    {"instruction": "Q", "input": "X", "output": "A", "seed": 1},
    {"question": "Q", "reference_answer": "4", "level": 3},
]  # fmt: skip
ODD: list[Any] = [
    None, "", " ", "x", "[1, 2]", "[", 0, -1, 7.5, math.nan, math.inf, 2**70, True, [], [None],
    [-0.5], ["x"], [[1]], {}, {"a": 1}, {"content": None}, [{}], [{"text": None}], [SAID],
    np.array([1, 2]), np.array([-0.5]), np.array([]), "\0", "\U0001f642",
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in inside:
        if isinstance(below, dict | list):
            yield from places(below, (*path, key))
        else:
            yield (*path, key)


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


def check(row: dict[str, Any], context: Context, shapes: list[Any]) -> None:
    for shape in shapes:
        try:
            for record in shape.parse(row, context, 1):
                if isinstance(record, Response):
                    assert record.question.text.strip()
                    assert isinstance(record.answer, str)
        except (RowError, UsageError) as error:
            assert str(error)


@pytest.mark.parametrize("row", ROWS, ids=[",".join(r)[:40] for r in ROWS])
@pytest.mark.parametrize("as_kind", [None, "questions", "responses", "logprobs"])
def test_any_value_in_any_place(row: dict[str, Any], as_kind: Any, byte_tokenizer: str) -> None:
    """One odd value would end the run with a traceback instead of in the quarantine."""
    context = Context("a.jsonl", tokenizer=byte_tokenizer, as_kind=as_kind)
    first = [s for s in SHAPES if s.matches(row, context)][:1]
    for path in places(row):
        for odd in ODD:
            changed = put(row, path, odd)
            try:
                shapes = [*first, detect(changed, context)]
            except UsageError:
                shapes = first
            check(changed, context, shapes)
        removed = {k: v for k, v in row.items() if k != path[0]}
        check(removed, context, first)


def test_every_shape_against_every_row(byte_tokenizer: str) -> None:
    """A file whose rows change their shape midway would end the run with a traceback."""
    context = Context("a.jsonl", tokenizer=byte_tokenizer)
    mapped = Context("a.jsonl", tokenizer=byte_tokenizer, mapping={"question": "question"})
    generator = random.Random(0)
    for row in ROWS:
        check(row, context, list(SHAPES[1:]))
        check(row, mapped, [SHAPES[0]])
        mixed = row | generator.choice(ROWS)
        check(mixed, context, list(SHAPES[1:]))
