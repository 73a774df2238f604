"""`why`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    at_option,
    catalog_option,
    json_option,
    print_json,
    printable,
    settings_option,
    trusted_option,
)

if TYPE_CHECKING:
    from dasd_data.why import Row, Why


@click.command()
@click.argument("response_id")
@click.option(
    "--view",
    required=True,
    shell_complete=complete.views,
    help="Name of a view, or path of a .sql file.",
)
@settings_option
@trusted_option
@catalog_option
@at_option
@json_option
def why(
    response_id: str,
    view: str,
    settings: dict[str, Any],
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Say why a response is in a split, or is not: its filters, its rank, its place, its labels.

    RESPONSE_ID may be the start of an id, and may be a question's: then all its responses.
    """
    from dataclasses import asdict

    import dasd_data
    from dasd_data import why as reasons

    found = reasons.why(
        dasd_data.open(catalog, at=at), response_id, view, settings, trusted=trusted
    )
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(printable(words(found)), nl=False)


def words(found: Why) -> str:
    """The explanation as text."""
    lines = list(_of_question(found) if found.response is None else _of_response(found))
    return "\n".join(lines) + "\n"


def _of_question(found: Why) -> Iterator[str]:
    n, chosen = len(found.candidates), sum(c["chosen"] for c in found.candidates)
    yield f"{chosen} of {n} responses to this question are in {_split(found)}."
    yield from _question(found)
    yield ""
    yield from _table(found)
    yield ""
    yield from (
        f"{candidate['response_id']}: {_verdict(found, candidate)}"
        for candidate in found.candidates
        if not candidate["chosen"]
    )


def _of_response(found: Why) -> Iterator[str]:
    one = found.response
    assert one is not None
    yield f"{one['response_id']} is {'' if one['chosen'] else 'not '}in {_split(found)}."
    if not one["chosen"]:
        yield f"{_verdict(found, one)[0].upper()}{_verdict(found, one)[1:]}."
    yield ""
    yield from _question(found)
    finish = one["finish_reason"] or "an unknown reason"
    yield (
        f"Sampled by {one['model']} ({one['policy']}) at T={one['temperature']}, ended by {finish}."
    )
    yield from (f"No {a['stage']} under {a['name'] or '?'}: {a['reason']}" for a in found.attempts)
    yield ""
    asked = "" if found.selects else " (this view need not ask for them)"
    yield f"Conditions of the selection, in the order they are applied{asked}:"
    for number, condition in enumerate(one["conditions"]):
        mark = "yes" if condition["holds"] else "NO" if number == one["reached"] else "no"
        if number > one["reached"] and condition["holds"] is None:
            mark = "-"
        yield f"  {mark:<4}{condition['condition']}{_evidence(found, condition['condition'])}"
    yield ""
    yield from _rank(found, one)
    yield from _labels(found)


def _split(found: Why) -> str:
    return f"{found.view} (snapshot {found.snapshot_id})"


def _question(found: Why) -> Iterator[str]:
    text = " ".join(found.question["text"].split())
    domain = found.question["domain"] or "no domain"
    yield f"Question {found.question['question_id']} ({domain}): {_short(text, 200)}"


def _verdict(found: Why, one: Row) -> str:
    """The reason in one line."""
    if not found.selects:
        return f"the SELECT of {found.view} leaves it out, and does not use the selection"
    if one["reached"] == len(one["conditions"]):
        return "every condition of the selection holds; the view itself leaves it out"
    condition = one["conditions"][one["reached"]]["condition"]
    return f"it fails: {condition}{_evidence(found, condition)}"


def _evidence(found: Why, condition: str) -> str:
    """What a filter saw, behind its condition."""
    for row in found.filters:
        if not condition.startswith(f"passed filter {row['filter']} ("):
            continue
        if row["passed"] is None:
            return ": no verdict; run `dasd-data filter`"
        value = "" if row["value"] is None else f": value {row['value']:.4g}"
        if row["passed"] or not row["evidence"]:
            return value
        return f"{value}; {_saw(row['evidence'])}"
    return ""


def _saw(evidence: str) -> str:
    try:
        seen = json.loads(evidence)
    except ValueError:
        return _short(evidence, 200)
    if not isinstance(seen, dict):
        return _short(evidence, 200)
    parts = [f"{name} {value}" for name, value in seen.items() if name != "excerpt"]
    if "excerpt" in seen:
        parts.append(f"“{_short(' '.join(str(seen['excerpt']).split()), 120)}”")
    return ", ".join(parts)


def _rank(found: Why, one: Row) -> Iterator[str]:
    rank_by, keep = found.parameters["rank_by"], found.parameters["keep"]
    if one["candidate_rank"] is None:
        yield "It has no rank: it is not in the pool that candidates are ranked in."
        yield from _table(found)
        return
    yield (
        f"Rank {one['candidate_rank']} of {one['n_candidates']} candidates of its question by "
        f"{rank_by}; {keep} {'is' if keep == 1 else 'are'} kept."
    )
    yield from _table(found)
    ahead = [c for c in found.candidates if c["candidate_rank"] and c["candidate_rank"] <= keep]
    if one["candidate_rank"] > keep:
        last = ahead[-1]
        how = "has the same value, and comes first in the seeded order of ties"
        if rank_by == "random":
            how = "comes first in the seeded order"
        elif last["rank_value"] != one["rank_value"]:
            how = f"has {_number(last['rank_value'])}, this one {_number(one['rank_value'])}"
        yield f"{last['response_id']}, the last that is kept, {how}."
    places = [c["place"] for c in ahead if c["kept"]]
    if places:
        domain = found.question["domain"] or "other"
        budget = found.parameters["budget"]
        limit = "no budget is set" if budget is None else f"the budget is {budget.get(domain, 0):,}"
        first = f"{places[0]:,}" + (f" to {places[-1]:,}" if len(places) > 1 else "")
        yield f"The question's place in the order of {domain}: {first}; {limit}."


def _table(found: Why) -> Iterator[str]:
    """All responses to the question, one a line."""
    yield (
        f"  {'rank':>4}  {'response':<32}  {found.parameters['rank_by']:>16}  {'teacher':>7}  "
        f"{'sentences':>9}  {'share':>6}  {'p_T-p_S':>7}  {'bytes':>7}"
    )
    for c in found.candidates:
        cells = [f"{c['candidate_rank'] or '-':>4}", f"{c['response_id']:<32}"]
        cells += [
            f"{_number(c[name]):>{width}}"
            for name, width in (
                ("rank_value", 16),
                ("teacher_count", 7),
                ("n_sentences", 9),
                ("teacher_share", 6),
                ("mean_difference", 7),
                ("n_bytes", 7),
            )
        ]
        cells += ["in the split"] * c["chosen"]
        cells += ["<- this"] * (c["response_id"] == found.response_id)
        yield "  " + "  ".join(cells)


def _labels(found: Why) -> Iterator[str]:
    yield ""
    counts = found.labels
    if counts is None:
        yield "It has no sentence that both models scored and that is long enough to count."
        return
    boosted = f", {counts['boosted_count']} boosted" if found.parameters["distilled"] else ""
    yield (
        f"Of {counts['n_sentences']} sentences of min_tokens ({found.parameters['min_tokens']}) or "
        f"more: {counts['teacher_count']} Teacher, {counts['shared_count']} shared, "
        f"{counts['student_count']} Student{boosted} (beta {found.parameters['beta']:g}); mean "
        f"difference of p {counts['mean_difference']:+.3f}."
    )
    yield "The most divergent:"
    for row in found.sentences:
        text = _short(" ".join(row["text"].split()), 90)
        yield f"  p_T {row['p_teacher']:.3f}  p_S {row['p_student']:.3f}  {row['label']:<8} {text}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3f}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
