"""`diff`: what two builds have in common, and how their scores differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dasd_data import sqlfiles
from dasd_data.builds import Known
from dasd_data.config import SqlConfig
from dasd_data.parameters import identifier
from dasd_data.session import Session

_IDS = ("response_id", "question_id", "domain")
_SETTINGS = ("sql", "key", "filters", "system", "files", "code", "libraries")


@dataclass(frozen=True)
class Diff:
    """Two builds beside each other.

    `settings` are what they were made by and differ in, `parameters` those of them that are
    parameters, as [a, b]. `churn` has a row in all (domain None) and one by domain; `scores` a row
    by numeric column that both have.
    """

    a: dict[str, Any]
    b: dict[str, Any]
    settings: list[str]
    parameters: dict[str, list[Any]]
    churn: list[dict[str, Any]]
    scores: list[dict[str, Any]]


def diff(a: Known, b: Known, limits: SqlConfig | None = None) -> Diff:
    """Compare two builds by their responses. Raises DamagedFileError."""
    session = Session({}, limits=limits)
    try:
        scores = _load(session, a, b)
        return Diff(
            a.about(),
            b.about(),
            [name for name in _SETTINGS if a.manifest.get(name) != b.manifest.get(name)],
            changed(a.manifest["parameters"], b.manifest["parameters"]),
            session.rows(sqlfiles.report("diff_churn")),
            session.rows(sqlfiles.report("diff_scores")) if scores else [],
        )
    finally:
        session.close()


def changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Parameters with another value, as [a, b]."""
    names = sorted({*a, *b})
    return {name: [a.get(name), b.get(name)] for name in names if a.get(name) != b.get(name)}


def _load(session: Session, a: Known, b: Known) -> list[str]:
    """Put ids of both into `_sides`, and into `_scores` the numeric columns that both have.

    Returns the names of those.
    """
    schemas = [a.schema(), b.schema()]
    scores = [f.name for f in schemas[0] if all(_is_number(s, f.name) for s in schemas)]
    ids, values = [], []
    for side, build, schema in zip("ab", (a, b), schemas, strict=True):
        names = [name for name in _IDS if name in schema.names] + scores
        columns = pa.schema(schema.field(name) for name in names)
        session.load(f"_{side}", columns, build.batches(names))
        texts = ", ".join(n if n in names else f"NULL::VARCHAR AS {n}" for n in _IDS)
        ids.append(f"SELECT DISTINCT '{side}' AS side, {texts} FROM _{side}")
        numbers = ", ".join(f"{identifier(n)}::DOUBLE AS {identifier(n)}" for n in scores)
        values.append(f"SELECT '{side}' AS side, response_id, {numbers} FROM _{side}")
    session.execute(f"CREATE TEMP VIEW _sides AS {' UNION ALL '.join(ids)}")
    if scores:
        session.execute(f"CREATE TEMP VIEW _scores AS {' UNION ALL '.join(values)}")
    return scores


def _is_number(schema: pa.Schema, name: str) -> bool:
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
