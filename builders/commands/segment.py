"""`dasd-data segment`."""

from __future__ import annotations

from typing import Any

import click

from builders.commands.engines import executor_of, executor_options
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    json_option,
    note,
    print_json,
    threads_option,
)


@click.command("segment")
@click.option(
    "--segmenter",
    type=click.Choice(["dasd", "lines", "punkt"]),
    default="dasd",
    show_default=True,
    help="Another one's sentences stand beside the usual, for the robustness card.",
)
@click.option("--questions", type=int, help="Only so many questions, the first in a seeded order.")
@click.option("--retry", is_flag=True, help="Also log-probs that could not be aligned before.")
@executor_options
@threads_option
@catalog_option
@json_option
def command(
    segmenter: str,
    questions: int | None,
    retry: bool,
    catalog: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Cut responses into sentences and sum log-probs per sentence, where either is missing.

    Runs by itself after an ingest or a score; by hand after an interruption, or for a new
    segmenter.
    """
    import dasd_data
    from builders.segment.stage import segment_missing

    found = dasd_data.open(catalog)
    with (
        executor_of(found, options) as (executor, _),
        Progress("segment", unit="responses") as progress,
    ):
        counts = segment_missing(
            found,
            progress.update,
            name=None if segmenter == "dasd" else segmenter,
            questions=questions,
            retry=retry,
            executor=executor,
        )
    if as_json:
        print_json(dict(counts))
    else:
        note(
            f"segmented {counts['sentences']:,} responses, "
            f"summed log-probs of {counts['sentence_scores']:,}"
            + (f", {counts['unaligned']:,} could not be aligned" if counts["unaligned"] else "")
        )
