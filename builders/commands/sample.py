"""`dasd-data sample`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from builders.commands.engines import check_options, engine_options
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    count,
    json_option,
    json_text,
    note,
    print_json,
    threads_option,
)

if TYPE_CHECKING:
    from builders.sample.plan import Estimate
    from dasd_data.config import Prices


@click.command("sample")
@click.option("--model", required=True, metavar="PATH_OR_ID", help="Model that is sampled.")
@click.option("--temperature", type=float, required=True, help="Sampling temperature; 0: greedy.")
@click.option(
    "--n", type=click.IntRange(1), default=1, show_default=True, help="Samples of each question."
)
@click.option("--name", default="teacher", show_default=True, help="Name that views use.")
@engine_options
@click.option("--revision", help="Branch, tag or commit of a model on the Hub.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Nucleus sampling mass.")
@click.option(
    "--max-tokens", type=int, default=65_536, show_default=True, help="Cap on sampled tokens."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all samples.")
@click.option("--system", help="System prompt (gpt-oss: developer message).")
@click.option("--effort", type=click.Choice(["low", "medium", "high"]), help="Reasoning effort.")
@click.option("--date", metavar="YYYY-MM-DD", help="Day that the template writes, where it does.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "auto"]),
    default="auto",
    show_default=True,
    help="Precision; auto: bfloat16 on CUDA, float32 on a CPU.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
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
@click.option(
    "--log",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Append a JSON line per committed batch to this file; -: stderr.",
)
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
    from builders.sample.meter import Meter
    from builders.sample.plan import changes, estimate
    from builders.sample.prepare import Options, prepare
    from builders.sample.stage import sample

    found = dasd_data.open(catalog)
    what = prepare(found, Options(**options))
    for name, (before, now) in changes(found, what).items():
        note(f"{name} was {before!r} in the last run of {what.name}, and is {now!r}: new samples")
    prices = found.config.prices
    if dry_run:
        _print_estimate(estimate(found, what), prices, as_json)
        return
    meter = Meter(prices)
    with Progress(f"sample {what.name}", unit="samples") as progress, _log(log) as lines:

        def shown(counts: Counter[str]) -> None:
            reading = meter.read(counts)
            progress.update(reading.done + reading.failed, reading.wanted, reading.line())

        def committed(counts: Counter[str]) -> None:
            if lines:
                record = {"at": datetime.now(UTC), "name": what.name, **meter.read(counts).record()}
                print(json_text(record), file=lines, flush=True)

        counts = sample(found, what, shown, committed)
    if as_json:
        print_json({"scorer_id": what.scorer_id, **counts, **meter.read(counts).record()})
    else:
        _report(counts, what.name, meter.read(counts).line())


@contextmanager
def _log(path: str | None) -> Iterator[TextIO | None]:
    if path is None or path == "-":
        yield sys.stderr if path else None
        return
    with Path(path).open("a", encoding="utf-8") as file:
        yield file


def _report(counts: Counter[str], name: str, line: str) -> None:
    note(
        f"{counts['responses']:,} responses of {name}: {counts['prompt_tokens']:,} prompt tokens, "
        f"{counts['sampled_tokens']:,} sampled; {line}"
    )
    for label in ("recovered", "sampled by another run"):
        if counts[label]:
            note(f"{counts[label]:,} {label}")
    for label, number in sorted(counts.items()):
        if label.startswith(("finished: ", "failed: ")):
            note(f"{number:,} {label}")
    if counts["failed"]:
        note("the reasons are in `attempts`; --retry failed tries them again")


def _print_estimate(found: Estimate, prices: Prices, as_json: bool) -> None:
    from builders.sample.meter import cost

    expected = found.most_tokens if found.expected_tokens is None else found.expected_tokens
    price = cost(prices, found.prompt_tokens, expected)
    if as_json:
        print_json({**asdict(found), "cost": price})
        return
    note(
        f"{count(found.samples, 'sample')} of {count(found.questions, 'question')}: "
        f"{found.prompt_tokens:,} prompt tokens, at most {found.most_tokens:,} sampled"
    )
    if found.expected_tokens is not None:
        size = f", {found.bytes / 1e6:,.1f} MB in the catalog" if found.bytes else ""
        note(f"about {found.expected_tokens:,}, by the completions that are there{size}")
    if price is not None:
        note(f"cost: {price:,.2f} for the tokens; the machine's hours come on top")
    if found.refused:
        note(f"{count(found.refused, 'question')} would have no prompt")
