"""What a card tells of the rows of a build, as JSON for its manifest."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dasd_data import parameters, render, sqlfiles
from dasd_data.card import features
from dasd_data.catalog import Catalog
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile

_CHATS = {
    "messages": "the whole conversation",
    "prompt": "its turns before the answer",
    "completion": "the answer's turn; reasoning stands between <think> and </think>",
}


def gather(
    catalog: Catalog, view: SqlFile, session: Session, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts on the rows of `_chosen`.

    `composition` by domain and temperature; `sources` of the questions with their licences;
    `labels` and `distributions` of split and pool, of a selection that models scored; `columns`
    with comments; `features` as the Hub writes them, None for a type it has no name for;
    `command`, which makes the build again `--at` its snapshot.
    """
    scored = bool(manifest["funnel"] and manifest["scorers"])
    facts = {
        "composition": session.rows(sqlfiles.report("composition")),
        "sources": session.rows(sqlfiles.report("sources")),
        "labels": session.rows(sqlfiles.report("labels")) if scored else [],
        "distributions": session.rows(sqlfiles.report("distributions")) if scored else [],
        **_columns(session),
        "command": _command(catalog, view, manifest),
    }
    # As it is read back from its file: the same card when it is made again.
    read_back: dict[str, Any] = json.loads(json.dumps(facts))
    return read_back


def _columns(session: Session) -> dict[str, Any]:
    chosen = session.connection.sql("SELECT * FROM _chosen LIMIT 0").to_arrow_table().schema
    schema = pa.schema([*render.COLUMNS, *chosen])
    comments = dict(_CHATS)
    for table in TABLES.values():
        comments |= {c.name: c.comment for c in table.columns if c.name in chosen.names}
    for base in sqlfiles.base_views():
        comments |= sqlfiles.comments(base)
    return {
        "columns": [
            {"name": f.name, "type": str(f.type), "comment": comments.get(f.name, "")}
            for f in schema
        ],
        "features": features.of_schema(schema),
    }


def _command(catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any]) -> str:
    """The command that makes the build again, at its snapshot: what is not a default is set."""
    own = view.shipped or view.path.resolve().parent == (catalog.path / "views").resolve()
    words = ["dasd-data", "build", "--view", view.name if own else view.path.name]
    defaults, declared = catalog.parameters(view), catalog.declared(view)
    for name, value in sorted(manifest["parameters"].items()):
        unresolved = declared[name].type == "scorer" and not value
        if value != defaults[name] and not unresolved:
            words += ["--set", f"{name}={parameters.setting(value)}"]
    return shlex.join([*words, *(["--trusted"] if manifest.get("trusted") else [])])
