"""Competition problems with a worked solution: MATH-500 (MIT), AIME 2024 (MAA).

{"problem": "Convert the point $(0,3)$ in rectangular coordinates to polar coordinates. ...",
 "solution": "We have that $r = \\\\sqrt{0^2 + 3^2} = 3.$ ...", "subject": "Precalculus",
 "answer": "\\\\left( 3, \\\\frac{\\\\pi}{2} \\\\right)", "level": 2,
 "unique_id": "test/precalculus/807.json"}
{"id": 60, "problem": "Every morning Aya goes for a $9$-kilometer-long walk ...",
 "solution": "...", "answer": "204",
 "url": "https://artofproblemsolving.com/wiki/index.php/2024_AIME_I_Problems/Problem_1"}
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.benchmark import ask, is_exactly
from builders.shapes.fields import label, text

_MATH500 = ("problem", "solution", "answer", "subject", "level", "unique_id")
_AIME = ("id", "problem", "solution", "answer", "url")
_AIME_LICENSE = "MAA: contamination checks only"


def _matches_math500(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _MATH500)


def _math500(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "problem"), domain="math", license="mit",
        key="unique_id", reference=label(row, "answer"), meta=("solution", "subject", "level"),
    )  # fmt: skip


def _matches_aime(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _AIME)


def _aime(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "problem"), domain="math",
        license=_AIME_LICENSE, key="id", reference=label(row, "answer"),
        meta=("solution", "url"),
    )  # fmt: skip


MATH500 = Shape("math500", _MATH500, _matches_math500, _math500)
AIME = Shape("aime", _AIME, _matches_aime, _aime)
