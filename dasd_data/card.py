"""The data-set card of a build: what is in it, how it was chosen, how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dasd_data import sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.scorers import describe
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile

_FRONT = """\
---
configs:
- config_name: {config}
  data_files:
  - split: train
    path: data/train-*.parquet
size_categories:
- {size}
tags:
- distillation
- reasoning
- dasd-data
---
"""
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]


def render(catalog: Catalog, view: SqlFile, session: Session, manifest: Mapping[str, Any]) -> str:
    """The card as Markdown, from the rows of `_chosen`."""
    rows = manifest["rows"]
    size = next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
    parts = [
        _FRONT.format(config=view.config, size=size),
        f"# {view.name}\n\n{view.description}.\n\n{rows:,} rows.",
        "## Composition\n\n" + table(session.rows(sqlfiles.report("composition"))),
        *(_selection(session, manifest) if manifest["funnel"] else []),
        "## Scorers\n\n" + _bullets(f"{n}: {describe(s)}" for n, s in manifest["scorers"].items()),
        "## Parameters\n\n"
        + _bullets(
            f"{n} = {v}" for n, v in sorted(manifest["parameters"].items()) if v is not None
        ),
        "## Columns\n\n`messages` is the whole conversation; `prompt` and `completion` are the "
        "same turns apart. All three are lists of {role, content}; the assistant's reasoning "
        "stands between `<think>` and `</think>`.",
        _reproduce(view, manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _selection(session: Session, manifest: Mapping[str, Any]) -> list[str]:
    ratio = session.rows(sqlfiles.report("length_ratio"))[0]
    lines = [
        f"Mean length of the chosen over that of the pool: {ratio['length_ratio']}",
        f"Overlap with choosing the longest: {_overlap(session, manifest, 'length'):.1%}",
        f"Overlap with choosing at random: {_overlap(session, manifest, 'random'):.1%}",
    ]
    if ratio["median_candidates"] == 1 and manifest["parameters"]["scope"] == "within_question":
        lines.append(
            "The median question has one candidate: within questions, ranking changes nothing there"
        )
    columns = ("condition", "responses", "questions")
    funnel = [{name: row[name] for name in columns} for row in manifest["funnel"]]
    parts = ["## Funnel\n\n" + table(funnel), "## Selection\n\n" + _bullets(lines)]
    if manifest["scorers"]:
        parts.append("## Labels\n\n" + table(session.rows(sqlfiles.report("labels"))))
    return parts


def _overlap(session: Session, manifest: Mapping[str, Any], rank_by: str) -> float:
    """Share of the split that another ranking would choose, all else being the same."""
    session.set_text("rank_by", rank_by)
    overlap = session.rows(sqlfiles.report("overlap"))[0]["overlap"]
    session.set_text("rank_by", manifest["parameters"]["rank_by"])
    return float(overlap)


def _reproduce(view: SqlFile, manifest: Mapping[str, Any]) -> str:
    return (
        f"## Reproduction\n\nBuild `{manifest['build_id']}` of snapshot {manifest['snapshot_id']}, "
        f"dasd-data {manifest['version']} (code {manifest['code']}). `manifest.json` names every "
        "input file, the SQL and the parameters.\n\n"
        f"```sql\n{view.sql}\n```"
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table."""
    if not rows:
        return ""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[c]) for c in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)
