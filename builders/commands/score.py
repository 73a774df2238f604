"""`dasd-data score`."""

from __future__ import annotations

from typing import Any

import click

from builders.commands.engines import check_options, engine_options
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    duration,
    json_option,
    note,
    print_json,
    threads_option,
)


@click.command("score")
@click.option("--model", required=True, metavar="PATH_OR_ID", help="Model that scores.")
@click.option("--name", required=True, help="Name that views use: student, teacher, …")
@engine_options
@click.option("--revision", help="Branch, tag or commit of a model on the Hub.")
@click.option(
    "--context",
    type=click.Choice(["training_render", "sampled_prompt"]),
    default="training_render",
    show_default=True,
    help="Score the render a trainer will see, or the very ids that were sampled.",
)
@click.option("--system", help="System prompt of the training render; else [build] system.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "auto"]),
    default="auto",
    show_default=True,
    help="Precision; auto: bfloat16 on CUDA, float32 on a CPU.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--batch-tokens", type=int, help="Tokens of a batch; 4,096 on a CPU, else 16,384.")
@click.option("--where", metavar="SQL", help="Condition on `candidates`: which responses.")
@click.option("--all", "everything", is_flag=True, help="Score what the filters dropped, too.")
@click.option(
    "--repeat",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share to score a second time in other batches, to measure noise.",
)
@click.option("--dry-run", is_flag=True, help="Print tokens and hours, write nothing.")
@threads_option
@catalog_option
@json_option
def command(dry_run: bool, catalog: str | None, as_json: bool, **options: Any) -> None:
    """Score responses with a model: token log-probs, and their sums per sentence.

    Only responses that pass the required filters, which run first where verdicts are missing, and
    only those that this model has not scored yet. What cannot be scored as it is stays unscored,
    with the reason in `attempts`.
    """
    check_options(options)
    import dasd_data
    from builders.score import prepare
    from builders.score.stage import dry_run as estimate
    from builders.score.stage import score

    found = dasd_data.open(catalog)
    what = prepare.prepare(found, prepare.Options(**options))
    if dry_run:
        _print_estimate(estimate(found, what), as_json)
        return
    with Progress(f"score {options['name']}", unit="responses") as progress:
        counts = score(found, what, progress.update)
    if as_json:
        print_json({"scorer_id": what.scorer_id, **counts})
        return
    note(
        f"scored {counts['tokens']:,} responses, {counts['scored_tokens']:,} tokens, "
        f"as {options['name']} ({what.scorer_id[:12]})"
    )
    if counts["repeat_scores"]:
        note(f"scored {counts['repeat_scores']:,} of them twice, to measure noise")
    for name, number in sorted(counts.items()):
        if name.startswith("unscored: "):
            note(f"{number:,} {name}")
    if counts["control_tokens"]:
        note(f"{counts['control_tokens']:,} responses spell out special tokens as text")


def _print_estimate(found: Any, as_json: bool) -> None:
    report = {
        "sequences": found.sequences,
        "tokens": found.tokens,
        "scored_tokens": found.scored,
        "tokens_per_second": found.tokens_per_second,
        "hours": found.hours,
        "refused": dict(found.refused),
        "unfiltered": found.unfiltered,
    }
    if as_json:
        print_json(report)
        return
    most = "at most " if found.unfiltered else ""
    tokens = f"{found.tokens:,} tokens, {found.scored:,} to be scored"
    note(f"{most}{found.sequences:,} responses, {tokens}")
    if found.unfiltered:
        note(f"{found.unfiltered:,} are not filtered yet: `score` does so first, and drops some")
    if found.hours is not None:
        rate = f"{found.tokens_per_second:,.0f} tokens/s, measured on this machine"
        note(f"{most or 'about '}{duration(found.hours * 3600)} at {rate}")
    for name, number in found.refused.items():
        note(f"{number:,} would stay unscored: {name}")
