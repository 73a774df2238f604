"""The bench of the robustness card: rows in memory, where the selection runs again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from dasd_data import pool, sqlfiles
from dasd_data.parameters import Parameter, Variables
from dasd_data.session import Session

Row = dict[str, Any]


@dataclass
class Bench:
    """A session over the sample's rows in memory, where the selection runs again and again."""

    session: Session
    declared: Mapping[str, Parameter]
    values: dict[str, Any]
    total: int  # questions there are
    sampled: int = 0
    rows: list[Row] = field(default_factory=list)

    def set(self, settings: Mapping[str, Any]) -> None:
        """The build's parameters but for `settings`, with the budget in proportion."""
        values = {**self.values, **settings}
        (count,) = self.session.rows("SELECT count(*) AS n FROM _universe")
        if values["budget"] is not None and count["n"] < self.total:
            share = count["n"] / self.total
            values["budget"] = {d: ceil(n * share) for d, n in values["budget"].items()}
        variables = Variables()
        variables.set_values(self.declared, values)
        self.session.use(variables)

    def rebase(self) -> int:
        """Choose as the build does from the present questions; returns their number."""
        self.set({})
        self.create("_base", "SELECT response_id, domain FROM selection")
        return int(self.session.rows("SELECT count(*) AS n FROM _universe")[0]["n"])

    def create(self, table: str, select: str) -> None:
        """Create or replace a table of what the present variables choose from."""
        sql = f"CREATE OR REPLACE TABLE {table} AS {select}"
        pool.in_parts(self.session, lambda: self.session.execute(sql))

    def measure(self, varied: str, to: str, settings: Mapping[str, Any]) -> None:
        """Add the row of one variation over the present questions."""
        self.set(settings)
        report = sqlfiles.report("robust_moved")
        moved = pool.in_parts(self.session, lambda: self.session.rows(report))
        count = self.session.rows("SELECT count(*) AS n FROM _universe")[0]["n"]
        self.rows.append({"varied": varied, "to": to, "questions": count, **_overlap(moved)})

    def unmeasured(self, varied: str, why: str, command: str) -> None:
        """Add a row that says what would make it measurable."""
        self.rows.append({"varied": varied, "to": None, "not_measured": why, "command": command})


def open_bench(session: Session, declared: Mapping[str, Parameter], limit: int | None) -> Bench:
    """Take the sample: its rows in memory, the base views over them."""
    run = session.execute
    run(
        "CREATE TABLE _universe AS SELECT DISTINCT question_id FROM responses WHERE"
        " policy = 'teacher' AND temperature IS NOT DISTINCT FROM"
        " coalesce(getvariable('temperature'), temperature)"
        " AND model IS NOT DISTINCT FROM coalesce(getvariable('model'), model)"
    )
    bench = Bench(session, declared, dict(session.values), _count(session, "_universe"))
    if limit is not None and bench.total > limit:
        run(
            "CREATE OR REPLACE TABLE _universe AS SELECT question_id FROM _universe"
            f" ORDER BY seeded('robustness', question_id), question_id LIMIT {limit}"
        )
    bench.sampled = _count(session, "_universe")
    run("CREATE TABLE _all AS SELECT * FROM _universe")
    run(
        "CREATE TABLE _responses AS SELECT * EXCLUDE (thinking, answer) FROM responses"
        " WHERE question_id IN (SELECT question_id FROM _all)"
        " AND temperature IS NOT DISTINCT FROM coalesce(getvariable('temperature'), temperature)"
    )
    for table in ("sentences", "sentence_scores", "flags"):
        run(
            f"CREATE TABLE _{table} AS SELECT * FROM {table}"
            " WHERE response_id IN (SELECT response_id FROM _responses)"
        )
        run(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM _{table}")
    run(
        "CREATE OR REPLACE VIEW responses AS SELECT *, NULL::VARCHAR AS thinking,"
        " NULL::VARCHAR AS answer FROM _responses"
        " WHERE question_id IN (SELECT question_id FROM _universe)"
    )
    return bench


def where_covered(bench: Bench, varied: str, to: str, settings: Mapping[str, Any]) -> bool:
    """Measure over the questions whose candidates are scored both ways; false if none is."""
    scored = "SELECT response_id, question_id FROM pool WHERE scored"
    bench.set({})
    bench.create("_scored", scored)
    bench.set(settings)
    bench.create(
        "_covered",
        "SELECT DISTINCT question_id FROM _scored WHERE question_id NOT IN"
        f" (SELECT question_id FROM _scored ANTI JOIN ({scored}) USING (response_id))",
    )
    covered = _count(bench.session, "_covered") > 0
    if covered:
        _questions(bench, "_covered")
        bench.rebase()
        bench.measure(varied, to, settings)
        _questions(bench, "_all")
        bench.rebase()
    return covered


def _questions(bench: Bench, table: str) -> None:
    bench.session.execute(f"CREATE OR REPLACE TABLE _universe AS SELECT question_id FROM {table}")


def _overlap(moved: Sequence[Row]) -> Row:
    """Counts of all domains, and of each."""
    domains = {row["domain"]: _shares(row) for row in moved}
    names = ("base", "chosen", "common")
    return {**_shares({n: sum(row[n] for row in moved) for n in names}), "domains": domains}


def _shares(row: Mapping[str, Any]) -> Row:
    base, chosen, common = (int(row[name]) for name in ("base", "chosen", "common"))
    return {
        "base": base,
        "chosen": chosen,
        "common": common,
        "kept": round(common / base, 4) if base else None,
        "jaccard": round(common / (base + chosen - common), 4) if base + chosen else None,
    }


def _count(session: Session, table: str) -> int:
    return int(session.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])
