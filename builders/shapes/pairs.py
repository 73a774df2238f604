"""A prompt with one completion or several, and Alpaca's instructions.

    {"prompt": "What is 2 + 2?", "completion": "<think>\\n2 + 2 = 4\\n</think>\\n\\n4"}
    {"prompt": "What is 2 + 2?", "responses": ["4", {"text": "5", "model": "small"}]}
    {"instruction": "Add the numbers.", "input": "2 and 2", "output": "4"}

Prompt and completion may be lists of chat messages. Alpaca's `input`, where filled, follows the
instruction after a blank line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import common_fields, question, responses
from builders.shapes.conversation import exchange, is_conversation, reasoning
from builders.shapes.fields import optional_text
from dasd_data.errors import RowError

PROMPTS = ("prompt", "question", "problem", "query", "instruction", "input")
SINGLE = ("completion", "response", "output", "generation")
SEVERAL = ("completions", "responses", "candidates", "generations", "outputs", "samples")
_TEXTS = ("text", "completion", "response", "content", "output", "answer")


def _first(row: Row, columns: tuple[str, ...]) -> str | None:
    return next((c for c in columns if row.get(c) is not None), None)


def _matches(row: Row, _context: Context) -> bool:
    several = _first(row, SEVERAL)
    texts = several is not None and isinstance(row[several], list)
    single = _first(row, SINGLE)
    one = single is not None and (isinstance(row[single], str) or is_conversation(row[single]))
    return _first(row, PROMPTS) is not None and (texts or one)


def _asked(row: Row) -> tuple[str, dict[str, Any]]:
    column = _first(row, PROMPTS)
    if column is None:
        raise RowError(f"no question: none of {', '.join(PROMPTS)} is filled")
    if is_conversation(row[column]):
        found = exchange(row[column])
        return found.question, found.meta
    asked = optional_text(row, column) or ""
    more = optional_text(row, "input") if column == "instruction" else None
    return (f"{asked}\n\n{more}" if more and more.strip() else asked), {}


def _completion(value: Any) -> dict[str, Any]:
    """The fields of one completion: text, a message or list of them, or an object."""
    if isinstance(value, str):
        return {"completion": value}
    if is_conversation(value):
        value = value[-1]
    if not isinstance(value, dict):
        raise RowError("a completion is neither text nor an object")
    column = _first(value, _TEXTS)
    fields = common_fields(value) | {"completion": value[column] if column else None}
    return fields | ({"thinking": t} if (t := reasoning(value)) is not None else {})


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    text, meta = _asked(row)
    shared = common_fields(row) | {"question": text}
    asked = question(shared, context, rownum, meta)
    several, single = _first(row, SEVERAL), _first(row, SINGLE)
    if several is not None and isinstance(row[several], list):
        fields = [shared | {"sample_index": i} | _completion(v) for i, v in enumerate(row[several])]
        if not fields:
            raise RowError(f"`{several}` is empty")
    elif single is not None:
        fields = [shared | _completion(row[single])]
    else:
        raise RowError(f"no response: none of {', '.join(SINGLE)} is filled")
    yield from responses(asked, fields, context)


SHAPE = Shape("pairs", ("prompt", "completion"), _matches, _records)
