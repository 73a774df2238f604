"""Attempts of gpt-oss models at competition problems, with reasoning and content apart.

    {"source_run": "local_gpt-oss-120b_20260111", "attempt": 0, "problem_id": "0e644e",
     "problem": "Let $ABC$ be an acute-angled triangle ...", "reasoning": "We need to find ...",
     "content": "\\\\[\\n\\\\boxed{336}\\n\\\\]", "answer": "336", "ground_truth": "336",
     "correct": true, "total_tokens": 14115.0, "seconds": 124.6}

Sampled at T=0.7. `content` is null where the attempt was cut off; the model is in `source_run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import question, responses
from builders.shapes.fields import filled_text, optional_text, text, whole

_COLUMNS = (
    "source_run", "attempt", "problem_id", "problem", "reasoning", "content", "answer",
    "ground_truth", "correct",
)  # fmt: skip
_TEMPERATURE = 0.7
_MODEL = re.compile(r"(?:local_)?(.+?)(?:_\d{8}(?:_\d+)?)?")


def _matches(row: Row, _context: Context) -> bool:
    return all(column in row for column in _COLUMNS)


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    run, problem = filled_text(row, "source_run"), filled_text(row, "problem_id")
    asked = question(
        {
            "question": text(row, "problem"),
            "reference_answer": row.get("ground_truth"),
            "domain": context.domain or "math",
            "key": problem,
        },
        context,
        rownum,
    )
    model = _MODEL.fullmatch(run)
    content = optional_text(row, "content")
    attempt = whole(row, "attempt")
    fields = {
        "key": f"{run}/{problem}",
        "sample_index": attempt,
        "model": model[1] if model else run,
        "temperature": _TEMPERATURE if context.temperature is None else context.temperature,
        "thinking": optional_text(row, "reasoning"),
        "answer": content or "",
        "finish_reason": "length" if content is None else "stop",
    }
    yield from responses(asked, [fields], context)


SHAPE = Shape("math_attempts", _COLUMNS, _matches, _records)
