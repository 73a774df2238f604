"""GSM8K (openai/grade-school-math, MIT).

{"question": "Natalia sold clips to 48 of her friends in April, and then she sold half as
              many clips in May. How many clips did Natalia sell altogether in April and May?",
 "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\nNatalia sold 48+24 =
            <<48+24=72>>72 clips altogether in April and May.\\n#### 72"}
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.benchmark import ask, is_exactly
from builders.shapes.fields import text

_COLUMNS = ("question", "answer")
_MARK = "\n#### "


def _matches(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _COLUMNS) and _MARK in str(row["answer"])


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    solution, mark, reference = text(row, "answer").rpartition(_MARK)
    yield ask(
        row, context, rownum, question=text(row, "question"), domain="math", license="mit",
        reference=reference.strip() if mark else None, meta={"solution": solution},
    )  # fmt: skip


SHAPE = Shape("gsm8k", _COLUMNS, _matches, _records)
