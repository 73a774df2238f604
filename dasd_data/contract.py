"""What every build must satisfy before its rows are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dasd_data.errors import ContractError
from dasd_data.parameters import identifier
from dasd_data.render import COLUMNS
from dasd_data.scorers import describe
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile, reads


def check_rows(session: Session, view: SqlFile) -> int:
    """Check the rows of `_chosen`: some, with a unique key, all of them responses.

    Returns their number. Raises ContractError naming offending keys.
    """
    kinds = {row["column_name"]: row["column_type"] for row in session.rows("DESCRIBE _chosen")}
    columns = list(kinds)
    for name in {"response_id", *view.key}:
        if name not in columns:
            raise ContractError(f"view {view.name} has no column {name}: it has {columns}")
    for name in columns:
        if name.lower() in COLUMNS.names:
            raise ContractError(
                f"view {view.name} has a column {name}: the build adds it itself, leave it out"
            )
    (count,) = session.rows("SELECT count(*) AS n FROM _chosen")
    if count["n"] == 0:
        raise ContractError(f"view {view.name} chose no rows\n{_funnel(session, view)}")
    key = ", ".join(map(identifier, view.key))
    _none(
        session,
        f"SELECT {key} FROM _chosen GROUP BY ALL HAVING count(*) > 1",
        f"view {view.name}: its key ({key}) is not unique",
    )
    _none(
        session,
        f"SELECT {key} FROM _chosen WHERE "
        + " OR ".join(f"{identifier(k)} IS NULL" for k in view.key),
        f"view {view.name}: its key ({key}) has NULLs",
    )
    floats = [k for k in view.key if kinds[k] in ("FLOAT", "DOUBLE")]
    _none(
        session,
        f"SELECT {key} FROM _chosen WHERE "
        + (" OR ".join(f"isnan({identifier(k)})" for k in floats) or "false"),
        f"view {view.name}: its key ({key}) has NaNs, which readers take for different",
    )
    _none(
        session,
        f"SELECT {key} FROM _chosen WHERE response_id NOT IN (SELECT response_id FROM responses)",
        f"view {view.name}: not every row is a response",
    )
    return int(count["n"])


def check_scorers(
    scorers: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any], system: str | None
) -> None:
    """Check that the scorers of a split can be compared, and score what will be trained on.

    `scorers` maps parameter names (teacher, student, ...) to rows of `scorers`.
    Raises ContractError.
    """
    modes = {name: _mode(row, values.get("assume_raw")) for name, row in scorers.items()}
    if len(set(modes.values())) > 1:
        raise ContractError(
            "log-probs of different modes cannot be compared: "
            + "; ".join(f"{name} is {describe(row)}" for name, row in scorers.items())
            + ". Score both models the same way, or, if an unknown mode is known to be raw, "
            "pass --set assume_raw=true"
        )
    student = scorers.get("student")
    if student and student["context"] == "training_render" and student["system_prompt"] != system:
        raise ContractError(
            f"the student was scored with the system prompt {student['system_prompt']!r}, and this "
            f"build renders {system!r}: score again with --system, or set [build] system"
        )


def _mode(scorer: Mapping[str, Any], assume_raw: bool | None) -> tuple[str, float | None]:
    mode = scorer["logprobs_mode"]
    if mode == "raw_logprobs" or (mode == "unknown" and assume_raw):
        return "raw_logprobs", 1.0
    return mode, scorer["temperature"]


def _none(session: Session, sql: str, problem: str) -> None:
    rows = session.rows(f"SELECT *, count(*) OVER () AS _n FROM ({sql}) ORDER BY ALL LIMIT 3")
    if rows:
        found = rows[0]["_n"]
        examples = ", ".join(str({k: v for k, v in r.items() if k != "_n"}) for r in rows)
        raise ContractError(f"{problem}: {found} times, first {examples}")


def _funnel(session: Session, view: SqlFile) -> str:
    if "selection" not in reads(view.sql):
        return "try its SELECT with `dasd-data sql`"
    lines = [
        f"{row['responses']:>12,} responses {row['condition']}"
        for row in session.rows("SELECT * FROM funnel ORDER BY step")
    ]
    missing = [name for name, version in session.filters.items() if not version]
    if missing:
        lines.append(f"never run: filter {', '.join(missing)}: run `dasd-data filter`")
    return "\n".join(lines)
