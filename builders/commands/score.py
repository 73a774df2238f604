"""`dasd-data score`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from builders.commands.engines import (
    check_options,
    engine_options,
    executor_of,
    executor_options,
    gpus_option,
)
from builders.commands.watch import check_done, log_of, log_option, note_failures, watched
from dasd_data.cli.common import (
    catalog_option,
    count,
    duration,
    json_option,
    note,
    print_json,
    threads_option,
)

if TYPE_CHECKING:
    from builders.score.estimate import Estimate
    from builders.score.stage import ScoreRun
    from dasd_data.catalog import Catalog
    from dasd_data.config import Prices


@click.command("score")
@click.option("--model", metavar="PATH_OR_ID", help="Model that scores.")
@click.option("--name", help="Name that views use: student, teacher, …")
@engine_options
@click.option(
    "--context",
    type=click.Choice(["training_render", "sampled_prompt"]),
    default="training_render",
    show_default=True,
    help="Score the render a trainer will see, or the very ids that were sampled.",
)
@click.option("--system", help="System prompt of the training render; else [build] system.")
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
@click.option(
    "--retry", type=click.Choice(["failed"]), help="Try again what this scorer failed at before."
)
@click.option(
    "--compare",
    nargs=2,
    metavar="FIRST SECOND",
    help="Score nothing: print how far two scorers are apart, and the labels that it flips.",
)
@click.option("--dry-run", is_flag=True, help="Print tokens and hours, write nothing.")
@log_option
@executor_options
@gpus_option
@threads_option
@catalog_option
@json_option
def command(
    compare: tuple[str, str] | None,
    dry_run: bool,
    log: str | None,
    catalog: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Score responses with a model: token log-probs, and their sums per sentence.

    Only responses that pass the required filters, which run first where verdicts are missing, and
    only those that this model has not scored yet. What cannot be scored as it is stays unscored,
    with the reason in `attempts`; `--retry failed` tries it again.
    """
    check_options(options)
    import dasd_data

    if compare:
        _compare(dasd_data.open(catalog), *compare, as_json)
        return
    for name in ("model", "name"):
        if options[name] is None:
            raise click.UsageError(f"missing option --{name}")
    from builders.meter import Meter
    from builders.score import prepare
    from builders.score.stage import changes, score
    from builders.score.stage import dry_run as estimate

    found = dasd_data.open(catalog)

    def make(there: Catalog) -> ScoreRun:
        return prepare.prepare(there, prepare.Options(**options))

    with (
        log_of(None if dry_run else log) as lines,
        executor_of(found, options, make) as (executor, what),
    ):
        differs = changes(found, what)
        for field, (before, now) in differs.items():
            note(f"{field} was {before!r} in the last run of {what.name}, and is {now!r}")
        if differs:
            note(
                f"this is another scorer, which scores all anew; views know it by its id, "
                f"{what.scorer_id[:12]}, under [scorers] in dasd.toml, or by another --name"
            )
        if dry_run:
            would = executor.call(lambda run, there: estimate(there, run), found)
            _print_estimate(would, executor.workers, found.config.prices, as_json)
            return
        meter, name = Meter(found.config.prices, "score"), what.name
        with watched(f"score {name}", name, "responses", meter, lines) as told:
            counts = score(found, what, *told, executor)
    reading = meter.whole(counts)
    if as_json:
        print_json({"scorer_id": what.scorer_id, **counts, **reading.record()})
    else:
        _report(counts, what, reading.line())
    check_done(counts, "responses", "then --retry failed", _ENGINES)


# Reasons that an engine gives where it fails whatever the response.
_ENGINES = (
    "server", "unreadable answer", "no log-probs", "out of memory", "not finite", "above 0",
)  # fmt: skip


def _report(counts: Counter[str], what: ScoreRun, line: str) -> None:
    note(
        f"scored {counts['tokens']:,} responses, {counts['scored_tokens']:,} tokens, "
        f"as {what.name} ({what.scorer_id[:12]}); {line}"
    )
    if counts["not eligible"]:
        note(
            f"{count(counts['not eligible'], 'response')} left out, which filters refused: "
            "`dasd-data status` counts them by filter; --all scores them, too"
        )
    if counts["repeat_scores"]:
        note(f"scored {counts['repeat_scores']:,} of them twice, to measure noise")
    note_failures(counts, "response")
    if counts["control_tokens"]:
        note(f"{counts['control_tokens']:,} responses spell out special tokens as text")


def _compare(catalog: Catalog, first: str, second: str, as_json: bool) -> None:
    from builders.score.compare import compare

    found = compare(catalog, first, second)
    if as_json:
        print_json(found)
        return
    for name, (one, two) in found["differ"].items():
        note(f"{name}: {one} and {two}")
    if found["tokens"]:
        note(
            f"{found['tokens']:,} tokens: log-probs apart by {found['mean_gap']:.2g} nats on "
            f"average, 99% by less than {found['gap_99']:.2g}, at most {found['max_gap']:.2g}"
        )
    note(
        f"{count(found['sentences'], 'sentence')} of {count(found['responses'], 'response')}: p "
        f"apart by {found['mean_gap_p']:.2g} on average, 99% by less than {found['gap_p_99']:.2g}, "
        f"at most {found['max_gap_p']:.2g}; {second} is {found['shift_p']:+.2g}"
    )
    if found["labelled"]:
        note(
            f"labels beside {found['other']}: {found['flips']:,} of {found['labelled']:,} flip "
            f"({found['flips'] / found['labelled']:.2%}); {found['lost_teacher']:,} Teacher "
            f"sentences are lost, {found['new_teacher']:,} are new"
        )


def _print_estimate(found: Estimate, workers: int, prices: Prices, as_json: bool) -> None:
    from builders.meter import cost

    side_by_side = 1 if found.gpus is None else workers  # all share one server
    hours = None if found.hours is None else found.hours / side_by_side
    price = cost(prices, found.tokens, 0, (hours or 0.0) * 3600)
    report = {
        "sequences": found.sequences,
        "tokens": found.tokens,
        "scored_tokens": found.scored,
        "tokens_per_second": found.tokens_per_second,
        "workers": workers,
        "hours": hours,
        "hours_per_billion": found.hours_per_billion,
        "unit": found.unit,
        "cost": price,
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
    if hours is not None:
        of = f", by {count(workers, 'worker')}" if side_by_side > 1 else ""
        rate = f"{found.tokens_per_second:,.0f} tokens/s, measured with one engine"
        note(f"{most or 'about '}{duration(hours * 3600)} at {rate}{of}")
        note(f"{found.hours_per_billion:,.1f} {found.unit} per billion candidate tokens")
    if price is not None:
        note(f"cost: {price:,.2f}")
    for name, number in found.refused.items():
        note(f"{number:,} would stay unscored: {name}")
