"""Rows of the published `Superior-Reasoning-SFT-gpt-oss-120b` (CC BY 4.0).

    {"uuid": "8f1c...", "input": "Find all real x with ...", "domain": "math", "meta": "...",
     "output": "<think>\\nWe need ...\\n</think>\\n\\nThe solutions are ..."}

Stage 1 was sampled at T=0.6, stage 2 at T=1.0 (arXiv 2601.09088, section 3); the temperature is
taken from `stage1` or `stage2` in the file's path unless the user gives one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import question, response
from builders.shapes.fields import filled_text, text

MODEL, LICENSE = "gpt-oss-120b", "cc-by-4.0"

_COLUMNS = ("uuid", "input", "output", "domain", "meta")
_TEMPERATURES = {"1": 0.6, "2": 1.0}
_STAGE = re.compile(r"stage[-_ ]?([12])(?!\d)", re.IGNORECASE)


def _matches(row: Row, _context: Context) -> bool:
    return all(column in row for column in _COLUMNS)


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    uuid = filled_text(row, "uuid")
    asked = question(
        {"question": filled_text(row, "input"), "domain": row.get("domain"), "key": uuid,
         "license": LICENSE},
        context, rownum, {"meta": row["meta"]} if row.get("meta") is not None else {},
    )  # fmt: skip
    stage = _STAGE.search(context.file)
    if context.temperature is None and stage:
        context = replace(context, temperature=_TEMPERATURES[stage[1]])
    fields = {"completion": text(row, "output"), "key": uuid, "model": context.model or MODEL}
    yield response(asked, fields, context)


SHAPE = Shape("superior", _COLUMNS, _matches, _records)
