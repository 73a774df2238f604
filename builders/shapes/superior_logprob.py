"""Rows of the published `...-gpt-oss-120b-Logprob`, joined to its responses by their uuid.

    {"sample_uuid": "8f1c...", "token_ids": [2167, 1309, 316], "logprobs": [-0.41, -0.02, -0.9]}

gpt-oss ids from the first analysis content token on. Whether the values are before or after
temperature is not documented (mode `unknown`), nor whether the final channel is included: the
channel's delimiter tells, and the fit to the text when both are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from builders.harmony.messages import CHANNEL
from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import bare_logprobs
from builders.shapes.superior import MODEL

_COLUMNS = ("sample_uuid", "token_ids", "logprobs")


def _matches(row: Row, _context: Context) -> bool:
    return all(column in row for column in _COLUMNS)


def _records(row: Row, context: Context, _rownum: int) -> Iterator[Record]:
    fields = {"key": row.get("sample_uuid")} | {c: row.get(c) for c in _COLUMNS[1:]}
    found = bare_logprobs(fields, context, MODEL)
    ids = found.tokens.token_ids
    sections = "thinking+answer" if ids is not None and CHANNEL in ids else "thinking"
    found.tokens.scorer = replace(found.tokens.scorer, sections=sections)
    yield found


SHAPE = Shape("superior_logprob", _COLUMNS, _matches, _records)
