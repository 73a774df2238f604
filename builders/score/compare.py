"""Two scorers of the same model: how far apart backends and precisions are, and what it changes."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from dasd_data import scorers, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.errors import DasdError, DataError

TELLING = ("model", "revision", "engine", "engine_version", "dtype", "context", "chat_template")


def compare(catalog: Catalog, first: str, second: str) -> dict[str, Any]:
    """What differs between two scorers, by name, model or id, over what both have scored.

    `differ` has the settings in which they do, as pairs; `tokens`: mean_gap, gap_99 and max_gap of
    log-probs in nats, over token ids that are the same; of sentences: mean_gap_p, gap_p_99,
    max_gap_p, shift_p (second less first), and `flips` among `labelled` beside scorer `other`: the
    teacher, or, of two teachers, the student; None where there is none.
    Raises UnknownNameError, ConfigError (several of a name), DataError where nothing is in both.
    """
    rows = catalog.scorers()
    ids = [scorers.resolve(name, catalog.config.scorers, rows) for name in (first, second)]
    found = [next(row for row in rows if row["scorer_id"] == i) for i in ids]
    other, is_teacher = _other(catalog, rows, ids)
    with closing(catalog.session(settings={"require_scores": False})) as session:
        for variable, value in zip(("first", "second", "other"), (*ids, other), strict=True):
            session.set_text(variable, value)
        session.set_text("other_is_teacher", "true" if is_teacher else "false")
        (tokens,) = session.rows(sqlfiles.report("compare_tokens"))
        (sentences,) = session.rows(sqlfiles.report("compare_sentences"))
    if not sentences["sentences"]:
        raise DataError(
            f"no response is scored by both {first} and {second}: score the same ones with both, "
            "such as `dasd-data score --model MODEL --dtype bfloat16 --name OTHER --all`"
        )
    differ = {n: [row[n] for row in found] for n in TELLING if found[0][n] != found[1][n]}
    name = next((row["name"] for row in rows if row["scorer_id"] == other), None)
    return {"scorers": ids, "differ": differ, "other": name, **tokens, **sentences}


def _other(catalog: Catalog, rows: list[dict[str, Any]], ids: list[str]) -> tuple[str | None, bool]:
    """The scorer beside which sentences have labels, and whether it is the teacher."""
    for name in ("teacher", "student"):
        try:
            other = scorers.resolve(name, catalog.config.scorers, rows)
        except DasdError:
            continue
        if other not in ids:
            return other, name == "teacher"
    return None, True
