"""GSM8K's test questions with the solutions of four models (openai/grade-school-math, MIT).

    {"question": "Janet’s ducks lay 16 eggs per day. ...", "ground_truth": "...\\nA: 18",
     "6b_finetuning": {"is_correct": false, "solution": "Janet eats 3 ducks eggs ...\\nA: 26"},
     "175b_verification": {"is_correct": true, "solution": "Janet eats 3 duck eggs ...\\nA: 18"}}

The column is the model. Whether each is correct stands in the question's `meta`.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import question, responses
from builders.shapes.fields import text

_COLUMNS = ("question", "ground_truth")
_MARK = "\nA: "


def _solved(row: Row) -> dict[str, dict[str, object]]:
    """The solution objects of a row, by model."""
    return {k: v for k, v in row.items() if isinstance(v, dict) and "solution" in v}


def _matches(row: Row, _context: Context) -> bool:
    solved = _solved(row)
    return bool(solved) and set(row) == {*_COLUMNS, *solved}


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    solved = _solved(row)
    solution, mark, reference = text(row, "ground_truth").rpartition(_MARK)
    fields = {
        "question": text(row, "question"),
        "reference_answer": reference.strip() if mark else None,
        "domain": context.domain or "math",
        "license": "mit",
    }
    correct = {model: found.get("is_correct") for model, found in solved.items()}
    meta = {"solution": solution, "is_correct": correct}
    asked = question(fields, context, rownum, meta)
    each = ({"model": m, "answer": found["solution"]} for m, found in solved.items())
    yield from responses(asked, each, context)


SHAPE = Shape("gsm8k_solutions", _COLUMNS, _matches, _records)
