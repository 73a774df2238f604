"""Fuzz targets for rows: every shape, and the forms of OpenAI's and vLLM's log-probs."""

from __future__ import annotations

import json
import math
import os
from functools import cache
from typing import Any

import numpy as np

from builders.ingest.batch import Batch
from builders.records import Logprobs, Question, Response, TokenScores
from builders.shapes import Context, detect
from builders.tokens.vocab import byte_level_alphabet
from dasd_data.errors import RowError, UsageError
from tests.fuzz.choices import Choices, changed
from tests.fuzz.of_files import stored
from tests.fuzz.of_text import TEXTS
from tests.fuzz.target import Target

TURN = {"role": "user", "content": "Q"}
SAID = {"role": "assistant", "content": "<think>\nT\n</think>\n\nA"}
ENTRY = {"token": "A", "bytes": [65], "logprob": -0.5}
MANY: list[dict[str, Any]] = [
    {"id": 1, "problem": "Q", "solution": "S", "answer": "4", "url": "u"},
    {"uuid": "u", "input": "Q", "output": "A", "domain": "math", "meta": "{}"},
    {"sample_uuid": "8f1c0000-0000-4000-8000-000000000000", "token_ids": [65], "logprobs": [-0.5]},
    {"prompt_tokens": [65], "tokens": [65], "problem_id": "p"},
    {"run": "r", "prompt_tokens": [65], "completion_tokens": [65], "logprobs_initial": [-0.5],
     "logprobs_tuned": [-0.5]},
    {"source_run": "r", "attempt": 0, "problem_id": "p", "problem": "Q", "reasoning": "T",
     "content": "A", "answer": "4", "ground_truth": "4", "correct": True},
    {"question": "Q", "model": "m", "engine": "e", "logprobs_mode": "raw_logprobs",
     "temperature": 0.6, "choices": [
         {"index": 0, "text": "A", "token_ids": [65], "logprobs": [-0.5]}]},
    {"messages": [TURN, SAID], "domain": "math", "temperature": 0.6, "token_ids": [65]},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    {"prompt": [TURN], "completions": ["A", {"text": "B", "model": "m", "logprobs": [-1]}]},
    {"instruction": "Q", "input": "X", "output": "A", "seed": 1},
    {"question": "Q", "reference_answer": "4", "level": 3},
    {"question": "Q", "answer": "S\n#### 4"},
    {"question": "Q", "ground_truth": "x\nA: 1", "m": {"is_correct": True, "solution": "A: 1"}},
    {"problem": "Q", "solution": "S", "answer": "4", "subject": "s", "level": 2, "unique_id": "u"},
    {"id": "m", "subject": "algebra", "split": "test", "question": "Q", "choices": ["a", "b"],
     "answer": "B"},
    {"task_id": "H/0", "prompt": "Q", "entry_point": "f", "canonical_solution": "c", "test": "t"},
    {"key": 1, "prompt": "Q", "instruction_id_list": ["a:b"], "kwargs": [{}]},
    {"id": "s", "name": "n", "instruction": "I", "instances": [{"input": "i", "output": "o"}],
     "is_classification": False},
]  # fmt: skip
SERVED: list[dict[str, Any]] = [
    {"request": {"messages": [TURN], "temperature": 1}, "response": {"model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"content": "A", "reasoning": "T"},
         "token_ids": [65], "logprobs": {"content": [ENTRY]}}]}},
    {"custom_id": "c", "prompt": "Q", "response": {"status_code": 200, "body": {"choices": [
        {"text": "QA", "logprobs": {"tokens": ["Q", "A"], "token_logprobs": [None, -0.5]}}]}}},
    {"object": "chat.completion", "id": "x", "model": "m", "messages": [TURN], "choices": [
        {"index": i, "message": {"role": "assistant", "content": "AA"}, "logprobs": {"content": [
            ENTRY, {"token": "bytes:\\x41", "logprob": -0.25}]}} for i in range(2)]},
    {"prompt": "Q", "seed": 3, "max_tokens": 9, "choices": [
        {"text": "AB", "token_ids": [65, 66], "logprobs": {
            "tokens": ["token_id:65", "token_id:66"], "token_logprobs": [-0.5, -9999.0]}}]},
    {"request": {"body": {"prompt": "Q", "echo": True}}, "response": {"choices": [
        {"text": "QAé", "prompt_token_ids": [81], "logprobs": {
            "tokens": ["Q", "A", "bytes:\\xc3", "bytes:\\xa9"],
            "token_logprobs": [None, -0.5, 1e-5, -3], "text_offset": [0, 1, 2, 2]}}]}},
    {"custom_id": "c", "response": {"status_code": 500, "body": None}, "error": {"message": "no"}},
]  # fmt: skip
ODD: list[Any] = [
    None, "", " ", "x", "[1, 2]", "[", 0, -1, 7.5, math.nan, math.inf, -9999.0, 1e-5, 0.1, 2**31,
    2**63, 2**70, 10**400, True, [], [None], [-0.5], ["x"], [[1]], {}, {"a": 1}, {"content": None},
    [{}], [{"text": None}], [SAID], np.array([1, 2]), np.array([-0.5]), np.array([]), "\0", "é",
    "\U0001f642", "<think>\n", "</think>", "9" * 5000, "token_id:" + "9" * 5000, b"\xff", 1e39,
]  # fmt: skip
KINDS = (None, None, "questions", "responses", "logprobs")


@cache
def byte_tokenizer(process: int) -> str:
    """A tokenizer whose ids are the bytes, in a file of this process."""
    vocabulary = dict(byte_level_alphabet().items())
    added = [{"id": 256 + i, "content": t.decode("latin-1")} for i, t in enumerate(TEXTS)]
    spec = {"model": {"type": "BPE", "vocab": vocabulary}, "decoder": {"type": "ByteLevel"},
            "added_tokens": added}  # fmt: skip
    return str(stored(json.dumps(spec).encode(), "bytes.json"))


def checked(row: dict[str, Any], context: Context) -> None:
    """A row is records that the catalog can hold, or is refused with a reason."""
    batch = Batch("run", context.tokenizer)
    try:
        shape = detect(row, context)
        for record in shape.parse(row, context, 1):
            _sound(record)
            batch.add(record, ("f", 1))
    except (RowError, UsageError) as error:
        assert str(error)
        batch.refuse(("f", 1), str(error)[:500])
    sizes = {name: len(rows) for name, rows in batch.rows.items()}
    assert {name: len(table) for name, table in batch.tables().items()} == sizes


def _sound(record: Any) -> None:
    if isinstance(record, Question):
        assert record.text.strip()
    elif isinstance(record, Logprobs):
        assert record.key
        _sound_tokens(record.tokens, None)
    else:
        assert isinstance(record, Response) and record.question.text.strip()
        assert record.answer or record.thinking
        for tokens in record.tokens:
            _sound_tokens(tokens, record)


def _sound_tokens(tokens: TokenScores, of: Response | None) -> None:
    sizes = {len(tokens.token_bytes)}
    sizes |= {len(s) for s in (tokens.token_ids, tokens.logprobs) if s is not None}
    assert len(sizes) == 1, sizes
    values = tokens.logprobs if tokens.logprobs is not None else []
    assert all(-9999 < float(v) <= 0 for v in values)
    if of is not None:
        texts = {"thinking+answer": (of.thinking or "") + of.answer, "thinking": of.thinking or "",
                 "answer": of.answer}  # fmt: skip
        assert sum(tokens.token_bytes) == len(texts[tokens.scorer.sections].encode())


def _check(rows: list[dict[str, Any]], data: bytes) -> None:
    choices = Choices(data)
    tokenizer = byte_tokenizer(os.getpid()) if choices.below(4) else None
    mapping = {"question": "question", "completion": "a.b"} if choices.below(16) == 15 else {}
    context = Context(
        "stage1/a.jsonl", tokenizer=tokenizer, as_kind=choices.pick(KINDS), mapping=mapping,
        domain=choices.pick((None, "math")),
    )  # fmt: skip
    row = changed(choices.pick(rows), choices, ODD)
    if isinstance(row, dict):
        checked(row, context)


def shapes(data: bytes) -> None:
    """Rows of every shape with odd values in any place."""
    _check(MANY, data)


def served(data: bytes) -> None:
    """Responses of OpenAI's API and vLLM's server with odd values in any place."""
    _check(SERVED, data)


def objects(data: bytes) -> None:
    """Any JSON object, as text."""
    try:
        row = json.loads(data.decode())
    except (ValueError, RecursionError):
        return
    if isinstance(row, dict):
        checked(row, Context("a.jsonl", tokenizer=byte_tokenizer(os.getpid())))


_SEEDS = [
    bytes([1, 0, 0, 0, i, k, p, 6, o]) for i in range(19) for k, p, o in ((0, 0, 0), (1, 3, 9))
]
_NAMES = sorted({k for row in (*MANY, *SERVED) for k in row})
ROWS = (
    Target("shapes", shapes, _SEEDS, max_len=256),
    Target("openai", served, _SEEDS[:12], max_len=256),
    Target("objects", objects, [json.dumps(r).encode() for r in (*MANY, *SERVED)],
           [f'"{name}":'.encode() for name in _NAMES] + [b"{", b"}", b"[", b"]", b"-9999"], 2048),
)  # fmt: skip
