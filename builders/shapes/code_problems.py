"""Programming problems: HumanEval (MIT), MBPP (CC BY 4.0), LiveCodeBench (MIT).

    {"task_id": "HumanEval/0", "prompt": "from typing import List\\n\\n\\ndef has_close_...",
     "entry_point": "has_close_elements", "canonical_solution": "    for idx, ...", "test": "..."}
    {"text": "Write a function to find the minimum cost path ...", "code": "R = 3\\r\\nC = 3...",
     "task_id": 1, "test_setup_code": "", "challenge_test_list": [],
     "test_list": ["assert min_cost([[1, 2, 3], [4, 8, 2], [1, 5, 3]], 2, 2) == 8"]}
    {"question_id": "1873_A", "question_title": "A. Short Sort", "question_content": "There ...",
     "platform": "codeforces", "contest_date": "2023-08-21T00:00:00", "starter_code": "",
     "difficulty": "easy"}

Solutions and tests are kept in `meta`: code is judged by running it, so there is no reference
answer to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.benchmark import ask, is_exactly
from builders.shapes.fields import text

_HUMANEVAL = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
_MBPP = ("text", "code", "task_id", "test_setup_code", "test_list", "challenge_test_list")
_LIVECODEBENCH = (
    "question_id", "question_title", "question_content", "platform", "contest_date",
    "starter_code", "difficulty",
)  # fmt: skip


def _matches_humaneval(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _HUMANEVAL)


def _humaneval(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "prompt"), domain="code", license="mit",
        key="task_id", meta=_HUMANEVAL[2:],
    )  # fmt: skip


def _matches_mbpp(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _MBPP)


def _mbpp(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "text"), domain="code", license="cc-by-4.0",
        key="task_id", meta=("code", *_MBPP[3:]),
    )  # fmt: skip


def _matches_livecodebench(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _LIVECODEBENCH)


def _livecodebench(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "question_content"), domain="code",
        license="mit", key="question_id", meta=("question_title", *_LIVECODEBENCH[3:]),
    )  # fmt: skip


HUMANEVAL = Shape("humaneval", _HUMANEVAL, _matches_humaneval, _humaneval)
MBPP = Shape("mbpp", _MBPP, _matches_mbpp, _mbpp)
LIVECODEBENCH = Shape("livecodebench", _LIVECODEBENCH, _matches_livecodebench, _livecodebench)
