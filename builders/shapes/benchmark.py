"""What the shapes of known question sets share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builders.records import Question
from builders.shapes.base import Context, Row
from builders.shapes.build import question as build_question


def is_exactly(row: Row, context: Context, columns: Iterable[str]) -> bool:
    """Whether a row has exactly these columns, and is not to be read as responses."""
    return context.as_kind in (None, "questions") and set(row) == set(columns)


def ask(
    row: Row,
    context: Context,
    rownum: int,
    *,
    question: str,
    domain: str,
    license: str,
    key: str | None = None,
    reference: str | None = None,
    meta: Iterable[str] | dict[str, Any] = (),
) -> Question:
    """The question of a known set; `meta` names columns to keep, or is what to keep.

    The user's --domain and --license win over the set's own.
    """
    kept = meta if isinstance(meta, dict) else {c: row[c] for c in meta if c in row}
    fields = {
        "question": question,
        "domain": context.domain or domain,
        "license": license,
        "reference_answer": reference,
        "key": key and row.get(key),
    }
    return build_question(fields, context, rownum, kept)
