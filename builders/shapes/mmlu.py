"""MMLU's multiple choice (MIT), as SkyThought keeps it.

    {"id": "mmlu/data/test/abstract_algebra_test.csv/0", "subject": "abstract_algebra",
     "split": "test", "choices": ["0", "4", "2", "6"], "answer": "B",
     "question": "Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18))
                  over Q."}

The question's text is the question and, after a blank line, its choices as `A. 0` and so on. The
mathematical subjects are of the domain math, the others of science.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.benchmark import ask, is_exactly
from builders.shapes.fields import text
from dasd_data.errors import RowError

_COLUMNS = ("id", "subject", "split", "question", "choices", "answer")
_MATHEMATICAL = ("mathematics", "algebra", "statistics")


def _matches(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _COLUMNS)


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    choices = row.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        raise RowError("`choices` is not a list of texts")
    listed = "\n".join(f"{chr(ord('A') + i)}. {choice}" for i, choice in enumerate(choices))
    is_math = text(row, "subject").endswith(_MATHEMATICAL)
    yield ask(
        row, context, rownum, question=f"{text(row, 'question')}\n\n{listed}",
        domain="math" if is_math else "science", license="mit", key="id",
        reference=text(row, "answer"), meta=("subject", "split", "choices"),
    )  # fmt: skip


SHAPE = Shape("mmlu", _COLUMNS, _matches, _records)
