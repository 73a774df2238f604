"""`dasd-data filter`."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from builders.commands.engines import executor_of, executor_options
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    json_option,
    note,
    print_json,
    print_table,
    threads_option,
)

NAMES = (
    "length", "structure", "completeness", "repetition", "cjk", "any_cjk", "frequent_ngram",
    "compressible", "masked_run", "unbalanced", "refusal", "identity", "secrets", "several_boxed",
)  # fmt: skip


def _names(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in NAMES if name.startswith(incomplete)]


@click.command("filter")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    shell_complete=_names,
    help="Run this filter only. Repeatable.",
)
@click.option(
    "--tokenizer",
    metavar="PATH_OR_ID",
    help="Student's tokenizer, for `length`; by default that of the scorer named student.",
)
@executor_options
@threads_option
@catalog_option
@json_option
def command(
    only: tuple[str, ...],
    tokenizer: str | None,
    catalog: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge responses by every filter, where a verdict at its present version is missing.

    length, structure, completeness and repetition decide what a split may choose from; the others
    are reported only. Settings stand under [filters] in dasd.toml.
    """
    import dasd_data
    from builders.filters.stage import configured, filter_missing

    found = dasd_data.open(catalog)
    filters = configured(found, only, tokenizer)
    with (
        executor_of(found, options) as (executor, _),
        Progress("filter", unit="responses") as progress,
    ):
        counts = filter_missing(found, filters, progress.update, executor)
    rows = [
        {
            "filter": f.name,
            "version": f.version,
            "required": f.required,
            "passed": counts[f"passed: {f.name}"],
            "failed": counts[f"failed: {f.name}"],
        }
        for f in filters
    ]
    if as_json:
        print_json(rows)
        return
    print_table(rows, title="new verdicts")
    note('why: dasd-data sql "SELECT filter, evidence FROM flags WHERE NOT passed LIMIT 10"')
