"""The checks of a view's contract, over its rows in `_chosen`.

Every view: some rows, the key unique without NULL or NaN, the columns that it declares and none
that the build adds, every row a response that no contamination filter refused, scorers that
compare, whole chats. Then the rules of its columns, in one pass, and its SQL checks. SQL of others
runs as their views do: in a process of its own, over a copy of the rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from dasd_data import explain, rows, sqlfiles
from dasd_data.contract.columns import Condition, conditions, type_problems
from dasd_data.contract.outcome import SAMPLE, Outcome
from dasd_data.errors import DeniedError, LimitError, UnknownNameError, UsageError
from dasd_data.parameters import identifier
from dasd_data.render import COLUMNS
from dasd_data.session import CHOSEN, Session
from dasd_data.sqlerrors import renumbered
from dasd_data.sqlfiles import SqlFile

if TYPE_CHECKING:
    from dasd_data.catalog import Catalog

ALWAYS = ("responses", "contamination")
_BATCH_ROWS = 8_192
_GIVES = "its SELECT in the contract of {} gives rows"

Offenders = Callable[..., Outcome]  # of a check, its SQL, what is wrong with its rows, and a note


def check_rows(
    catalog: Catalog,
    view: SqlFile,
    session: Session,
    *,
    trusted: bool = False,
    sample: int | None = SAMPLE,
) -> tuple[int, list[Outcome]]:
    """The number of rows of `_chosen`, and what each check finds. Nothing is raised for bad rows.

    Without its columns or any row, a view is not looked at further. `sample` is the number of
    offending rows that are kept of a check; None keeps all.
    """
    kinds = {row["column_name"]: row["column_type"] for row in session.rows("DESCRIBE _chosen")}
    (counted,) = session.rows("SELECT count(*) AS n FROM _chosen")
    count = int(counted["n"])
    first = [_columns(view, kinds), _count(session, view, count)]
    if not (count and first[0].passed):
        return count, first
    session.execute(f"CREATE OR REPLACE TEMP VIEW {CHOSEN} AS FROM _chosen")
    session.set_text("contamination", catalog.filter_versions().get("contamination"))
    offenders = partial(_asked, session.rows, sample)
    found = [
        *first,
        *_types(session, view, kinds),
        *_unique(offenders, view),
        *_rules(session, offenders, view, kinds),
        *(_shipped(session, offenders, name) for name in (*ALWAYS, *view.contract.use)),
    ]
    if view.contract.checks and view.shipped:
        found += [
            offenders(name, sql, _GIVES.format(view.name))
            for name, sql in view.contract.checks.items()
        ]
    elif view.contract.checks:
        found += _own(catalog, view, session, trusted, sample)
    return count, found


def _columns(view: SqlFile, kinds: Mapping[str, str]) -> Outcome:
    wanted = dict.fromkeys(["response_id", *view.key, *view.contract.columns])
    problems = [f"has no column {name}" for name in wanted if name not in kinds]
    problems += [
        f"has a column {name}, which the build adds itself: leave it out"
        for name in kinds
        if name.lower() in COLUMNS.names
    ]
    if problems and problems[0].startswith("has no"):
        problems.append(f"it has {', '.join(kinds)}")
    return Outcome("columns", len(problems), "; ".join(problems))


def _count(session: Session, view: SqlFile, count: int) -> Outcome:
    least, most = view.contract.minimum_rows, view.contract.maximum_rows
    if count == 0:
        return Outcome("rows", 1, f"it chose no rows\n{_funnel(session, view)}")
    if count < least:
        return Outcome("rows", 1, f"it chose {count:,} rows, and {least:,} or more are asked for")
    if most is not None and count > most:
        return Outcome("rows", 1, f"it chose {count:,} rows, and at most {most:,} are allowed")
    return Outcome("rows", note=f"{count:,} rows")


def _types(session: Session, view: SqlFile, kinds: Mapping[str, str]) -> list[Outcome]:
    if not view.contract.columns:
        return []
    problems = type_problems(session, view.contract.columns, kinds)
    return [Outcome("types", len(problems), "; ".join(problems))]


def _unique(offenders: Offenders, view: SqlFile) -> Iterator[Outcome]:
    sets = [view.key, *((n,) for n, rule in view.contract.columns.items() if rule.unique)]
    for names in dict.fromkeys(sets):
        key = ", ".join(map(identifier, names))
        sql = f"SELECT {key}, count(*) AS rows FROM {CHOSEN} GROUP BY {key} HAVING count(*) > 1"
        what = "key" if names == view.key else "unique"
        yield offenders(what, sql, f"({', '.join(names)}) is not unique")


def _rules(
    session: Session, offenders: Offenders, view: SqlFile, kinds: Mapping[str, str]
) -> Iterator[Outcome]:
    """All rules of columns, counted in one pass; what fails is looked at again."""
    key = ", ".join(map(identifier, view.key))
    asked = list(conditions(view, kinds))
    counts = ", ".join(f"count(*) FILTER (WHERE {c.sql}) AS c{n}" for n, c in enumerate(asked))
    (found,) = session.rows(f"SELECT {counts} FROM {CHOSEN}")
    failed: dict[str, list[Condition]] = {condition.check: [] for condition in asked}
    for condition, number in zip(asked, found.values(), strict=True):
        if number:
            failed[condition.check].append(condition)
    for check, broken in failed.items():
        if not broken:
            yield Outcome(check)
        for condition in broken:
            shown = (
                key if condition.column in view.key else f"{key}, {identifier(condition.column)}"
            )
            sql = f"SELECT {shown} FROM {CHOSEN} WHERE {condition.sql}"
            yield offenders(check, sql, condition.problem)


def _shipped(session: Session, offenders: Offenders, name: str) -> Outcome:
    check = sqlfiles.contract_checks()[name]
    note = ""
    if name == "contamination":
        (seen,) = session.rows(sqlfiles.report("contract_contamination"))
        note = str(seen["note"] or "")
    return offenders(name, check.sql, check.description, note)


def _own(
    catalog: Catalog, view: SqlFile, session: Session, trusted: bool, sample: int | None
) -> Iterator[Outcome]:
    """The checks of a view that is not shipped, as SQL: in a child."""
    with tempfile.TemporaryDirectory(prefix="dasd-contract-") as folder:
        copy = Path(folder) / "chosen.parquet"
        with session.translated():
            batches = session.connection.sql("FROM _chosen").to_arrow_reader(_BATCH_ROWS)
            with pq.ParquetWriter(copy, batches.schema) as out:
                for batch in batches:
                    out.write_batch(batch)
        for name, sql in view.contract.checks.items():

            def ask(query: str) -> list[dict[str, Any]]:
                with rows.of_sql(
                    catalog, query, session.variables, trusted=trusted, chosen=[copy]
                ) as found:
                    return [row for batch in found.batches for row in batch.to_pylist()]

            yield _asked(ask, sample, name, sql, _GIVES.format(view.name))


def _asked(
    ask: Callable[[str], Sequence[dict[str, Any]]],
    sample: int | None,
    check: str,
    sql: str,
    problem: str,
    note: str = "",
) -> Outcome:
    """Offending rows of one check: how many, and the first by all their columns."""
    bare = sql.rstrip().rstrip(";")
    limit = "ALL" if sample is None else sample
    query = f"SELECT *, count(*) OVER () AS _n FROM (\n{bare}\n) ORDER BY ALL LIMIT {limit}"
    try:
        found = ask(query)
    except LimitError:
        raise
    except (UsageError, DeniedError) as error:
        told = renumbered(str(error), -1)[0]  # of the SQL within
        if isinstance(error, UnknownNameError) and error.line:
            told += f" (line {error.line - 1})"
        kind = DeniedError if isinstance(error, DeniedError) else UsageError
        raise kind(f"contract check {check}: {told}") from None
    if not found:
        return Outcome(check, note=note)
    rows = [{k: v for k, v in row.items() if k != "_n"} for row in found]
    return Outcome(check, int(found[0]["_n"]), problem, rows, note)


def _funnel(session: Session, view: SqlFile) -> str:
    if not explain.uses_selection(view):
        return "try its SELECT with `dasd-data sql`"
    lines = [
        f"{row['responses']:>12,} responses {row['condition']}"
        for row in explain.funnel(session, view)
    ]
    missing = [name for name, version in session.filters.items() if not version]
    if missing:
        lines.append(f"never run: filter {', '.join(missing)}: run `dasd-data filter`")
    return "\n".join(lines)
