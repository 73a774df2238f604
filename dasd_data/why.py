"""Why a response is in a split, or is not: every condition with the values that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dasd_data import rows, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.errors import UnknownNameError, UsageError
from dasd_data.explain import uses_selection
from dasd_data.parameters import quote
from dasd_data.pool import materialize
from dasd_data.session import Session

Row = dict[str, Any]
_ALIKE = 3  # first letters that an id has in common with one that it is offered for


@dataclass(frozen=True)
class Why:
    """What decides whether the responses to one question are in a split.

    `candidates` are all responses to the question, the ranked ones first: each with `chosen`,
    its `conditions` ({condition, holds}), `reached` (how many hold before the first that does
    not), and its values. With a response asked for, `response_id` names it, and `filters`,
    `labels`, `sentences` and `attempts` are about it. `selects` is false for a view that does
    not use `selection`: the conditions then are those that a selection would apply.
    """

    view: str
    snapshot_id: int
    question: Row
    candidates: list[Row]
    parameters: dict[str, Any]
    selects: bool
    response_id: str | None = None
    filters: list[Row] = field(default_factory=list)
    labels: Row | None = None
    sentences: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)

    @property
    def response(self) -> Row | None:
        """The candidate that was asked for."""
        return next((c for c in self.candidates if c["response_id"] == self.response_id), None)


def why(
    catalog: Catalog,
    wanted: str,
    view_name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    trusted: bool = False,
) -> Why:
    """Explain a response, or all responses to a question, by id or by a unique start of it.

    `trusted` runs a view of one's own unlocked, as in a build.
    Raises UnknownNameError with the closest ids, UsageError where several ids begin like this.
    """
    view = catalog.find_view(view_name)
    session = catalog.session(view, settings)
    try:
        response, question = _find(session, wanted)
        session.set_text("why_question", question)
        session.set_text("why_response", response)
        materialize(session)
        rows.choose(catalog, view, session, trusted=trusted)
        (about,) = session.rows(
            "SELECT question_id, d.domain, q.text FROM questions AS q"
            " INNER JOIN question_domains AS d USING (question_id)"
            " WHERE question_id = getvariable('why_question')"
        )
        found = Why(
            view.name,
            catalog.snapshot.snapshot_id,
            about,
            [_decided(row) for row in session.rows(sqlfiles.report("why_candidates"))],
            session.values,
            uses_selection(view),
        )
        return found if response is None else _about_one(found, session, response)
    finally:
        session.close()


def _about_one(found: Why, session: Session, response: str) -> Why:
    labels = session.rows(sqlfiles.report("why_labels"))
    details = {
        "response_id": response,
        "filters": session.rows(sqlfiles.report("why_filters")),
        "labels": labels[0] if labels else None,
        "sentences": session.rows(sqlfiles.report("why_sentences")),
        "attempts": session.rows(
            "SELECT stage, name, reason FROM attempts LEFT JOIN"
            " (SELECT scorer_id, min(name) AS name FROM scorers GROUP BY scorer_id)"
            " USING (scorer_id) WHERE response_id = getvariable('why_response') ORDER BY ALL"
        ),
    }
    return Why(**{**vars(found), **details})


def _decided(row: Row) -> Row:
    """The first condition that does not hold is false; later ones may be unknown (None)."""
    holds = row.pop("holds")
    if row["reached"] < len(holds):
        holds[row["reached"]] = False
    row["conditions"] = [
        {"condition": words, "holds": held}
        for words, held in zip(row["conditions"], holds, strict=True)
    ]
    return row


def _find(session: Session, wanted: str) -> tuple[str | None, str]:
    """(response_id, question_id) that a text means; no response where it names a question."""
    start = quote(wanted)
    ids = (
        "(SELECT response_id AS id, response_id, question_id FROM responses"
        " UNION ALL SELECT question_id, NULL, question_id FROM questions)"
    )
    found = session.rows(
        f"SELECT * FROM {ids} WHERE starts_with(id, {start}) ORDER BY id <> {start}, id LIMIT 4"
    )
    if found and wanted and (found[0]["id"] == wanted or len(found) == 1):
        return found[0]["response_id"], found[0]["question_id"]
    if found:
        several = ", ".join(row["id"] for row in found[:3]) + (", …" if len(found) > 3 else "")
        raise UsageError(f"several ids begin with {wanted!r}: {several}; write more of one")
    near = session.rows(
        f"SELECT max(id) FILTER (WHERE id < {start}) AS below,"
        f" min(id) FILTER (WHERE id > {start}) AS above FROM {ids}"
    )
    around = sorted(id for id in near[0].values() if id)
    close = " and ".join(id for id in around if id[:_ALIKE] == wanted[:_ALIKE])
    hint = '; `dasd-data sql "SELECT response_id FROM responses"` lists them'
    if not around:
        hint = ": the catalog is empty"
    elif close:
        hint = f"; close to it: {close}"
    raise UnknownNameError("response or question", wanted, (), hint)
