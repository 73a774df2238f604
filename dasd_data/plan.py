"""`plan`: what a build of a view would change against an earlier one, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_data import builds, explain, pool, rows, sqlfiles
from dasd_data.builds import Known
from dasd_data.catalog import Catalog
from dasd_data.diff import changed
from dasd_data.errors import UsageError
from dasd_data.inputs import gather, tables_of
from dasd_data.parameters import Variables
from dasd_data.session import Session, relation
from dasd_data.sqlfiles import SqlFile

_BEFORE = ("responses", "flags", "sentence_scores")


@dataclass(frozen=True)
class Plan:
    """What a build would change.

    `last` is the build compared with, None for a first one; `build_id` the one that would be made,
    and `unchanged` that it is `last`. `parameters` that differ are [last, now]. `domains` has a
    row in all (domain None) and one by domain; `reasons` count `changes`, which are the rows that
    would come in and go out, each with its reason.
    """

    view: str
    build_id: str
    snapshot_id: int
    last: dict[str, Any] | None
    unchanged: bool = False
    parameters: dict[str, list[Any]] = field(default_factory=dict)
    domains: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)


def plan(
    catalog: Catalog,
    view_name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    against: str | None = None,
    trusted: bool = False,
) -> Plan:
    """Compare what a build would choose with the view's last build, or with `against`.

    Nothing is written, and the view's contract is not looked at.
    Raises what a build does for a view that does not run, UnknownNameError for no such build.
    """
    view = catalog.find_view(view_name)
    last = builds.find(catalog, against) if against else builds.last(catalog, view.name)
    before = _files_before(catalog, last)
    session = catalog.session(view, settings, readable=[p for f in before.values() for p in f])
    try:
        unlocked = trusted and not view.shipped
        would = gather(catalog, view, session, tables_of(view), unlocked)
        about = last.about() if last else None
        if last and last.build_id == would["build_id"]:
            return Plan(view.name, last.build_id, would["snapshot_id"], about, unchanged=True)
        parameters = changed(last.manifest["parameters"], would["parameters"]) if last else {}
        _choose(catalog, view, session, trusted)
        _load_before(session, before, last)
        _set_reasons(session, would, last, parameters)
        session.execute(sqlfiles.report("plan_changes"))
        domains = session.rows(sqlfiles.report("plan_domains"))
        _narrow(session, catalog)
        if explain.uses_selection(view):
            session.execute(sqlfiles.report("plan_conditions"))
        else:
            session.execute("CREATE TEMP TABLE _unmet (response_id VARCHAR, condition VARCHAR)")
        session.execute(sqlfiles.report("plan_reasons"))
        return Plan(
            view.name,
            would["build_id"],
            would["snapshot_id"],
            about,
            parameters=parameters,
            domains=domains,
            reasons=session.rows(
                "SELECT change, reason, count(*) AS rows FROM _reasons GROUP BY ALL"
                " ORDER BY change, rows DESC, reason"
            ),
            changes=session.rows("FROM _reasons ORDER BY change, response_id"),
        )
    finally:
        session.close()


def _choose(catalog: Catalog, view: SqlFile, session: Session, trusted: bool) -> None:
    if explain.uses_selection(view):
        pool.materialize(session)
    rows.choose(catalog, view, session, trusted=trusted)
    names = {row["column_name"] for row in session.rows("DESCRIBE _chosen")}
    if "response_id" not in names:
        raise UsageError(f"view {view.name} has no column response_id")


def _narrow(session: Session, catalog: Catalog) -> None:
    """Leave the session only the rows of responses that change: the pool is in memory by now."""
    for name in ("responses", "flags", "sentences", "sentence_scores"):
        rows_of = relation(name, catalog.files[name])
        session.execute(
            f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM ({rows_of})"
            " WHERE response_id IN (SELECT response_id FROM _changes)"
        )


def _files_before(catalog: Catalog, last: Known | None) -> dict[str, list[Path]]:
    """Files of the tables that the reasons ask for, at the snapshot of the last build."""
    if last is None:
        return {}
    then = Catalog(catalog.config, at=last.manifest["snapshot_id"])
    return {name: then.files[name] for name in _BEFORE}


def _load_before(session: Session, before: Mapping[str, list[Path]], last: Known | None) -> None:
    """`_before`, the rows of the last build, and the tables that it was made from."""
    for name in _BEFORE:
        select = relation(name, before.get(name, []))
        session.execute(f"CREATE TEMP VIEW _before_{name} AS {select}")
    session.load(
        "_before",
        pa.schema([("response_id", pa.string())]),
        last.batches(["response_id"]) if last else (),
    )


def _set_reasons(
    session: Session,
    would: Mapping[str, Any],
    last: Known | None,
    parameters: Mapping[str, list[Any]],
) -> None:
    """What the reasons depend on besides rows, as variables."""
    then: Mapping[str, Any] = last.manifest if last else would
    variables = Variables()
    variables.set_filters(then["filters"])
    session.execute(f"SET VARIABLE plan_filters = {variables.literals['filters']}")
    for name in ("teacher", "student", "segmenter"):
        session.set_text(f"plan_{name}", then["parameters"].get(name) or None)
    others = [what for what in ("SQL", "code") if then[what.lower()] != would[what.lower()]]
    session.set_text("plan_settings", ", ".join(list(parameters) or others) or None)
    session.set_text("plan_first", None if last else json.dumps(True))
