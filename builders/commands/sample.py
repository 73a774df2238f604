"""`dasd-data sample`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from builders.commands.engines import (
    check_options,
    engine_options,
    executor_of,
    executor_options,
    gpus_option,
)
from builders.commands.watch import (
    check_done,
    log_of,
    log_option,
    note_failures,
    note_left,
    watched,
)
from dasd_data.cli.common import (
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    threads_option,
)

if TYPE_CHECKING:
    from builders.sample.plan import Estimate, SampleRun
    from dasd_data.catalog import Catalog
    from dasd_data.config import Prices


@click.command("sample")
@click.option("--model", required=True, metavar="PATH_OR_ID", help="Model that is sampled.")
@click.option("--temperature", type=float, required=True, help="Sampling temperature; 0: greedy.")
@click.option(
    "--n", type=click.IntRange(1), default=1, show_default=True, help="Samples of each question."
)
@click.option("--name", default="teacher", show_default=True, help="Name that views use.")
@click.option(
    "--policy",
    type=click.Choice(["teacher", "student"]),
    help="Whose samples these are: splits choose from the teacher's. By default the teacher's, and "
    "the student's for a name, model or scorer that is `student` or `distilled` in dasd.toml.",
)
@engine_options
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Nucleus sampling mass.")
@click.option(
    "--max-tokens", type=int, default=65_536, show_default=True, help="Cap on sampled tokens."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all samples.")
@click.option("--system", help="System prompt (gpt-oss: developer message).")
@click.option("--effort", type=click.Choice(["low", "medium", "high"]), help="Reasoning effort.")
@click.option("--date", metavar="YYYY-MM-DD", help="Day that the template writes, where it does.")
@click.option(
    "--where", metavar="SQL", help="Condition on question_id, text, domain, reference_answer."
)
@click.option("--limit", type=click.IntRange(1), help="Questions at most; raise it to go on.")
@click.option(
    "--retry",
    type=click.Choice(["failed", "truncated"]),
    help="Try again what failed, or, under another --max-tokens or --seed, what was cut off.",
)
@click.option("--dry-run", is_flag=True, help="Print samples, tokens and bytes, write nothing.")
@log_option
@executor_options
@gpus_option
@threads_option
@catalog_option
@json_option
def command(
    dry_run: bool, log: str | None, catalog: str | None, as_json: bool, **options: Any
) -> None:
    """Sample completions of the catalog's questions, with token ids and log-probs.

    Only what is missing: raise --n or --limit, add questions or a second temperature, and the same
    command samples the rest. Other settings make other samples, and are told before it starts.
    What is done is committed every minute; Ctrl-C commits it, too.
    """
    check_options(options)
    import dasd_data
    from builders.meter import Meter
    from builders.sample.plan import changes, estimate
    from builders.sample.prepare import Options, prepare
    from builders.sample.stage import sample

    found = dasd_data.open(catalog)

    def make(there: Catalog) -> SampleRun:
        return prepare(there, Options(**options))

    with (
        log_of(None if dry_run else log) as lines,
        executor_of(found, options, make) as (executor, what),
    ):
        for name, (before, now) in changes(found, what).items():
            note(
                f"{name} was {before!r} in the last run of {what.name}, and is {now!r}: new samples"
            )
        if options["policy"] is None:
            note(f"the samples are kept as the {what.policy}'s (--policy)")
        prices = found.config.prices
        if dry_run:
            _print_estimate(estimate(found, what), prices, as_json)
            return
        meter = Meter(prices, "sample")
        with watched(f"sample {what.name}", what.name, "samples", meter, lines) as told:
            counts = sample(found, what, *told, executor)
    if as_json:
        print_json({"scorer_id": what.scorer_id, **counts, **meter.whole(counts).record()})
    else:
        _report(counts, what.name, meter.whole(counts).line())
    check_done(counts, "samples", "then --retry failed")


def _report(counts: Counter[str], name: str, line: str) -> None:
    note(
        f"{counts['responses']:,} responses of {name}: {counts['prompt_tokens']:,} prompt tokens, "
        f"{counts['sampled_tokens']:,} sampled; {line}"
    )
    for label in ("recovered", "sampled by another run", "workers lost"):
        if counts[label]:
            note(f"{counts[label]:,} {label}")
    note_failures(counts, "sample")
    if counts["whole by now"]:
        note(
            f"{count(counts['whole by now'], 'sample')} cut off and left alone: a whole completion "
            "of the same place is there, under another --max-tokens or --seed"
        )


def _print_estimate(found: Estimate, prices: Prices, as_json: bool) -> None:
    from builders.meter import cost

    expected = found.most_tokens if found.expected_tokens is None else found.expected_tokens
    price = cost(prices, found.prompt_tokens, expected)
    if as_json:
        print_json({**asdict(found), "cost": price})
        return
    note(
        f"{count(found.samples, 'sample')} of {count(found.questions, 'question')}: "
        f"{found.prompt_tokens:,} prompt tokens, at most {found.most_tokens:,} sampled, "
        f"{found.most_bytes / 1e6:,.1f} MB"
    )
    if found.expected_tokens is not None:
        size = f", {found.bytes / 1e6:,.1f} MB in the catalog" if found.bytes else ""
        note(f"about {found.expected_tokens:,}, by the completions that are there{size}")
    if price is not None:
        note(f"cost: {price:,.2f} for the tokens; the machine's hours come on top")
    note_left(found.failed_before, "sample")
    if found.refused:
        note(f"{count(found.refused, 'question')} would have no prompt")
