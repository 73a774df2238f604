"""What a card tells of one build, from its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dasd_data.card import histogram
from dasd_data.card.front import Manifest
from dasd_data.card.markdown import bullets, table
from dasd_data.scorers import describe

_LENGTHS = ("mean_kb", "p10_kb", "p50_kb", "p90_kb", "p99_kb", "max_kb")
_COMPOSITION = ("domain", "temperature", "rows", "questions", *_LENGTHS)
_LABELS = ("rows", "sentences", "teacher", "shared", "student", "boosted")
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


def render(manifest: Manifest, level: str, path: str, picture: str | None = None) -> str:
    """The sections of a build, under headings of a level (`##`).

    `path` is that of the manifest, and `picture` that of the distributions, from the card's.
    """
    return "\n\n".join(
        f"{level} {title}\n\n{text}" for title, text in _sections(manifest, path, picture) if text
    )


def _sections(manifest: Manifest, path: str, picture: str | None) -> Iterator[tuple[str, str]]:
    facts = manifest["facts"]
    yield "Composition", table(facts["composition"], *_COMPOSITION)
    if manifest["funnel"]:
        yield from _selection(manifest)
    if facts["distributions"]:
        drawn = f"![How the split differs from its pool]({picture})" if picture else None
        yield "Distributions", drawn or histogram.text(facts["distributions"])
    if manifest["robustness"]:
        yield "Robustness", _robustness(manifest["robustness"])
    yield "Contract", _contract(manifest["contract"]["checks"])
    yield "Scorers", bullets(f"{n}: {describe(s)}" for n, s in manifest["scorers"].items())
    given = sorted(manifest["parameters"].items())
    yield "Parameters", bullets(f"{n} = {v}" for n, v in given if v is not None)
    columns = [{**c, "type": f"`{c['type']}`"} for c in facts["columns"]]
    yield "Columns", table(columns, "name", "type", "comment")
    yield "Reproduction", _reproduce(manifest, path)


def _selection(manifest: Manifest) -> Iterator[tuple[str, str]]:
    worth = manifest["worth"]
    lines = [
        f"Mean length of the chosen over that of the pool: {worth['length_ratio']}",
        f"Overlap with choosing the longest: {worth['overlap']['length']:.1%}",
        f"Overlap with choosing at random: {worth['overlap']['random']:.1%}",
        f"Candidates of the median question: {worth['median_candidates']}",
        *(f"**Warning**: {warning}" for warning in worth["warnings"]),
    ]
    yield "Funnel", table(manifest["funnel"], "condition", "responses", "questions")
    yield "Selection", bullets(lines)
    if manifest["facts"]["labels"]:
        yield "Labels", _labels(manifest)


def _labels(manifest: Manifest) -> str:
    values = manifest["parameters"]
    boosted = (
        ""
        if values["distilled"]
        else " *boosted* is empty: it compares with a distilled model, and none is set "
        "(`--set distilled=NAME`)."
    )
    return (
        "Shares of sentences, not of responses, among those of min_tokens "
        f"({values['min_tokens']}) tokens or more under both models.{boosted}\n\n"
        + table(manifest["facts"]["labels"], *_LABELS)
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
            "How much of the split stays when one thing changes and all else is "
            f"the same, over {sampled}. *kept* is the share of the split that is chosen again. "
            "`rank_by` random is the floor, what chance keeps; `ties` tells how much of the split "
            "is an order among equals. *Jaccard* is common rows over rows of either.",
            table(list(_moves(report))),
            bullets(f"**{name}**: {text}" for name, text in meant.items()),
            bullets(noise),
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


def _contract(checks: Sequence[Mapping[str, Any]]) -> str:
    """What was checked, and what could not be looked at."""
    names = ", ".join(check["check"] for check in checks)
    noted = bullets(f"{check['check']}: {check['note']}" for check in checks if check["note"])
    told = f"Checked before it was written (a split that fails is not written): {names}."
    return f"{told}\n\n{noted}" if noted else told


def _reproduce(manifest: Manifest, path: str) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in manifest["libraries"].items())
    system = manifest["system"]
    told = "" if system is None else f", and `system = {json.dumps(system)}` under [build],"
    return (
        f"Build `{manifest['build_id']}`. On its catalog{told} with dasd-data "
        f"{manifest['version']} (code {manifest['code']}; {libraries}) this gives the same bytes:"
        f"\n\n```\n{manifest['facts']['command']} --at {manifest['snapshot_id']}\n```\n\n"
        f"`{path}` names every input file by its SHA-256, the SQL and the parameters. The view:\n\n"
        f"```sql\n{manifest['sql']}\n```"
    )
