"""Questions without responses, and a question with an `answer` once the user says what it is.

    {"question": "What is 2 + 2?", "domain": "math", "reference_answer": "4"}
    {"question": "What is 2 + 2?", "answer": "4"}

An `answer` alone may be the reference or a model's response: `--as questions` or `--as responses`
says which. Further columns are kept in `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import COMMON, common_fields, question, responses
from builders.shapes.fields import filled_text
from builders.shapes.pairs import PROMPTS, SEVERAL, SINGLE
from dasd_data.errors import RowError

_ANSWERS = ("answer", "solution")
_KNOWN = {c for columns in COMMON.values() for c in columns}


def _asked(row: Row) -> str | None:
    return next((c for c in PROMPTS if isinstance(row.get(c), str)), None)


def _answered(row: Row) -> str | None:
    return next((c for c in _ANSWERS if row.get(c) is not None), None)


def _matches(row: Row, context: Context) -> bool:
    if _asked(row) is None or any(row.get(c) is not None for c in (*SINGLE, *SEVERAL)):
        return False
    if context.as_kind is None:
        return _answered(row) is None
    return context.as_kind == "questions" or _answered(row) is not None


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    asked, answered = _asked(row), _answered(row)
    if asked is None:
        raise RowError(f"no question: none of {', '.join(PROMPTS)} is text")
    fields = common_fields(row) | {"question": filled_text(row, asked)}
    if context.as_kind == "responses":
        if answered is None:
            raise RowError(f"no response: none of {', '.join(_ANSWERS)} is filled")
        fields["completion"] = row[answered]
        yield from responses(question(fields, context, rownum), [fields], context)
        return
    if answered == "answer" and "reference_answer" not in fields:
        fields["reference_answer"] = row[answered]
    rest = {k: v for k, v in row.items() if k not in _KNOWN | {asked, "answer"} and v is not None}
    yield question(fields, context, rownum, rest)


SHAPE = Shape("questions", ("question",), _matches, _records)
