"""What decides the rows of a build: enough to make it again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from dasd_data import __version__, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.manifest import identify
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile


def tables_of(view: SqlFile) -> list[str]:
    """The tables whose rows may be in a split."""
    return sorted({*sqlfiles.reads(view.sql) & TABLES.keys(), "responses", "questions"})


def scorers_of(catalog: Catalog, view: SqlFile, session: Session) -> dict[str, dict[str, Any]]:
    """Rows of `scorers` by the parameters that name them, where the view compares sentences."""
    if "sentence_pairs" not in sqlfiles.reads(view.sql):
        return {}
    scorers, declared = {row["scorer_id"]: row for row in catalog.scorers()}, catalog.declared(view)
    return {
        name: scorers[value]
        for name, value in session.values.items()
        if declared[name].type == "scorer" and value
    }


def gather(
    catalog: Catalog, view: SqlFile, session: Session, tables: Sequence[str], unlocked: bool
) -> dict[str, Any]:
    """The draft of a manifest: what decides the rows, and the id, which hashes all of that."""
    decides = {
        "view": view.name,
        "config": view.config,
        "description": view.description,
        "sql": view.sql,
        "key": view.key,
        "parameters": session.values,
        "declared": {name: _declaration(parameter) for name, parameter in view.parameters.items()},
        "filters": session.filters,
        "system": catalog.config.build.system,
        "files": {t: sorted(p.stem for p in catalog.files[t]) for t in tables},
        "code": sqlfiles.code_version(),
        "libraries": libraries(),
        **({"trusted": True, "nonce": uuid.uuid4().hex} if unlocked else {}),
    }
    return {
        "build_id": identify(decides),
        **decides,
        "scorers": {
            name: {k: v for k, v in row.items() if k not in ("content_hash", "used")}
            for name, row in scorers_of(catalog, view, session).items()
        },
        "snapshot_id": catalog.snapshot.snapshot_id,
        "version": __version__,
    }


def libraries() -> dict[str, str]:
    """The libraries that write a build, with their versions."""
    return {name: version(name) for name in ("duckdb", "pyarrow")}


def _declaration(parameter: Any) -> Mapping[str, Any]:
    """A view's own parameter as front matter declares it, without what only people read."""
    return {"type": parameter.type}
