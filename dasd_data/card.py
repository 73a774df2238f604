"""The data-set card of a build: what is in it, how it was chosen, how to make it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dasd_data import parameters, sqlfiles
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
---"""
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]

_VARIED = {
    "rank_by": "another ranking, no model asked: what the selection is worth is what it differs by",
    "ties": "another seeded order among candidates of equal rank",
    "beta": "difference of p above which a sentence is the teacher's or the student's",
    "min_tokens": "sentences shorter than this are not counted",
    "normalization": "p per byte in place of per token, so that tokenizers do not matter",
    "segmenter": "sentences cut by other rules",
    "noise": "scores with the noise that scoring a second time in other batches shows",
    "template": "the same student under another chat template or system prompt",
    "engine": "the same student and prompt in another precision or engine",
    "second student": "scored by another model",
}


def render(catalog: Catalog, view: SqlFile, session: Session, manifest: Mapping[str, Any]) -> str:
    """The card as Markdown, from the rows of `_chosen`."""
    # As it is read back from its file: the same card when it is made again.
    manifest = json.loads(json.dumps(manifest, sort_keys=True))
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
        _reproduce(catalog, view, manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _selection(session: Session, manifest: Mapping[str, Any]) -> list[str]:
    worth = manifest["worth"]
    lines = [
        f"Mean length of the chosen over that of the pool: {worth['length_ratio']}",
        f"Overlap with choosing the longest: {worth['overlap']['length']:.1%}",
        f"Overlap with choosing at random: {worth['overlap']['random']:.1%}",
        f"Candidates of the median question: {worth['median_candidates']}",
        *(f"**Warning**: {warning}" for warning in worth["warnings"]),
    ]
    columns = ("condition", "responses", "questions")
    funnel = [{name: row[name] for name in columns} for row in manifest["funnel"]]
    parts = ["## Funnel\n\n" + table(funnel), "## Selection\n\n" + _bullets(lines)]
    if manifest["scorers"]:
        parts.append(_labels(session, manifest["parameters"]))
    if manifest["robustness"]:
        parts.append(_robustness(manifest["robustness"]))
    return parts


def _labels(session: Session, values: Mapping[str, Any]) -> str:
    boosted = (
        ""
        if values["distilled"]
        else " *boosted* is empty: it compares with a distilled model, and none is set "
        "(`--set distilled=NAME`)."
    )
    return (
        "## Labels\n\nShares of sentences, not of responses, among those of min_tokens "
        f"({values['min_tokens']}) tokens or more under both models.{boosted}\n\n"
        + table(session.rows(sqlfiles.report("labels")))
    )


def _robustness(report: Mapping[str, Any]) -> str:
    """How the chosen set moves, and what each row means."""
    sampled = (
        "all questions"
        if report["questions"] == report["of"]
        else f"{report['questions']:,} of {report['of']:,} questions, sampled with a seed"
    )
    meant = {row["varied"]: _VARIED[row["varied"]] for row in report["rows"]}
    noise = [
        f"The {row['scorer']} scored {row['responses']:,} responses twice, {row['sentences']:,} "
        f"sentences: sd of p {row['sd_p']:.2g}, largest difference {row['max_p']:.2g}, "
        f"{row['flips']:,} labels flipped ({row['flips'] / row['sentences']:.2%})"
        for row in report["noise"]
    ]
    if [row["scorer"] for row in report["noise"]] == ["student"]:
        noise.append(
            "The teacher's log-probs were not taken a second time: the noise is the student's alone"
        )
    return "\n\n".join(
        part
        for part in (
            "## Robustness\n\nHow much of the split stays when one thing changes and all else is "
            f"the same, over {sampled}. *kept* is the share of the split that is chosen again. "
            "`rank_by` random is the floor, what chance keeps; `ties` tells how much of the split "
            "is an order among equals. *Jaccard* is common rows over rows of either.",
            table(list(_moves(report))),
            _bullets(f"**{name}**: {text}" for name, text in meant.items()),
            _bullets(noise),
        )
        if part
    )


def _moves(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of the table of what moves the split."""
    for row in report["rows"]:
        measured = "kept" in row
        domains = row.get("domains", {})
        yield {
            "what varies": row["varied"],
            "to": row["to"] if measured else "not measured",
            "questions": row.get("questions"),
            "chosen": row.get("chosen"),
            "in common": row.get("common"),
            "kept": f"{row['kept']:.1%}" if measured and row["kept"] is not None else None,
            "Jaccard": f"{row['jaccard']:.3f}" if measured and row["jaccard"] is not None else None,
            "kept by domain": ", ".join(
                f"{name} {d['kept']:.0%}" for name, d in domains.items() if d["kept"] is not None
            )
            or row.get("command"),
        }


def _reproduce(catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any]) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in manifest["libraries"].items())
    system = manifest["system"]
    told = "" if system is None else f", and `system = {json.dumps(system)}` under [build],"
    return (
        f"## Reproduction\n\nBuild `{manifest['build_id']}`. On its catalog{told} with dasd-data "
        f"{manifest['version']} (code {manifest['code']}; {libraries}) this gives the same bytes:"
        f"\n\n```\n{_command(catalog, view, manifest)}\n```\n\n`manifest.json` names every input "
        "file by its SHA-256, the SQL and the parameters. The view:\n\n"
        f"```sql\n{view.sql}\n```"
    )


def _command(catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any]) -> str:
    """The command that makes the build again: what is not a default is set."""
    own = view.shipped or view.path.resolve().parent == (catalog.path / "views").resolve()
    words = ["dasd-data", "build", "--view", view.name if own else view.path.name]
    words += ["--at", str(manifest["snapshot_id"])]
    defaults, declared = catalog.parameters(view), catalog.declared(view)
    for name, value in sorted(manifest["parameters"].items()):
        unresolved = declared[name].type == "scorer" and not value
        if value != defaults[name] and not unresolved:
            words += ["--set", f"{name}={parameters.setting(value)}"]
    return shlex.join([*words, *(["--trusted"] if manifest.get("trusted") else [])])


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
