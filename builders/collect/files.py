"""Local files in any shape that `dasd-data ingest` reads: question sets, chats, any JSONL.

    {"question": "What is 2 + 2?", "domain": "math", "reference_answer": "4"}

The shape is found by the first row of each file (see `builders.shapes`); the recipe's `map` names
the columns where none fits. Of rows with responses only the questions are taken. `domain` and
`license` are the row's or its shape's, else the recipe's.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders import shapes
from builders.collect.source import Found, Kind, Parse
from builders.records import Question
from builders.shapes import Context, Row


def _detect(row: Row, context: Context) -> Parse:
    shape = shapes.detect(row, context)

    def parse(row: Row, context: Context, rownum: int) -> Iterator[Found]:
        for record in shape.parse(row, context, rownum):
            assert isinstance(record, Question)  # as_kind: questions
            yield Found(record)

    return parse


KIND = Kind("files", detect=_detect)
