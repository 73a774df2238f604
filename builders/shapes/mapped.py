"""Any columns, named by the user.

    --map question=task --map completion=model_output --map temperature=config.temp

for rows like

    {"task": "What is 2 + 2?", "model_output": "<think>\\n2 + 2 = 4\\n</think>\\n\\n4",
     "config": {"temp": 0.6}, "n": 17}

A column may be a path with dots into objects. What is not mapped keeps its usual name (see
`build.COMMON`). With `answer` or `completion` the row is a response, with only `token_ids` and
`logprobs` it is log-probs, else a question.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import bare_logprobs, common_fields, question, responses
from dasd_data.errors import RowError, closest

_ABSENT = object()


def _matches(_row: Row, context: Context) -> bool:
    return bool(context.mapping)


def _value(row: Row, column: str) -> Any:
    """The value of a column or of a dotted path; RowError naming the closest column."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
    if value is _ABSENT:
        raise RowError(f"no column {column!r} (--map){closest(column, list(row)[:40])}")
    return value


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    fields = common_fields(row)
    fields |= {name: _value(row, column) for name, column in context.mapping.items()}
    has_text = any(fields.get(f) is not None for f in ("answer", "completion", "thinking"))
    if context.as_kind == "logprobs" or ("question" not in fields and "logprobs" in fields):
        yield bare_logprobs(fields, context)
        return
    if "question" not in fields:
        raise RowError("--map names no question: add --map question=COLUMN")
    asked = question(fields, context, rownum)
    if has_text and context.as_kind != "questions":
        yield from responses(asked, [fields], context)
    elif {"answer", "completion"} & set(context.mapping) and context.as_kind != "questions":
        raise RowError("the row has no response: its text is null")
    else:
        yield asked


SHAPE = Shape("mapped", (), _matches, _records)
