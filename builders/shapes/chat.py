"""Conversations, as chat messages or in ShareGPT's form.

    {"messages": [{"role": "user", "content": "What is 2 + 2?"},
                  {"role": "assistant", "content": "<think>\\n2 + 2 = 4\\n</think>\\n\\n4"}]}
    {"conversations": [{"from": "human", "value": "What is 2 + 2?"},
                       {"from": "gpt", "value": "4"}]}

How several turns are read stands in `conversation`. A row that ends with the user is a question.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import common_fields, question, responses
from builders.shapes.conversation import exchange, is_conversation

_COLUMNS = ("messages", "conversations", "conversation")


def _column(row: Row) -> str | None:
    return next((c for c in _COLUMNS if is_conversation(row.get(c))), None)


def _matches(row: Row, _context: Context) -> bool:
    return _column(row) is not None and "choices" not in row


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    column = _column(row) or next((c for c in _COLUMNS if c in row), _COLUMNS[0])
    found = exchange(row.get(column))
    fields = common_fields(row) | {"question": found.question}
    asked = question(fields, context, rownum, found.meta)
    if found.answer is None:
        yield asked
        return
    fields["completion"] = found.answer
    if found.thinking is not None:
        fields["thinking"] = found.thinking
    yield from responses(asked, [fields], context)


SHAPE = Shape("chat", ("messages",), _matches, _records)
