"""`dasd-data collect`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from dasd_data.cli import complete
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    print_table,
    threads_option,
)

if TYPE_CHECKING:
    from builders.collect.stage import Report

REASONS = 20  # lines of reasons that are printed; --json has all


def _recipes(
    ctx: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    from builders.collect.recipe import shipped

    names = [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
    return names + complete.files(ctx, option, incomplete)


@click.command("collect")
@click.option(
    "--recipe",
    default="dasd",
    show_default=True,
    metavar="FILE",
    shell_complete=_recipes,
    help="Recipe: a TOML file with sources and budgets, or the name of a shipped one.",
)
@click.option(
    "--source",
    "copies",
    multiple=True,
    metavar="NAME=PATH",
    help="Read this source of the recipe from a local copy: file, folder or glob. Repeatable.",
)
@click.option("--without", multiple=True, metavar="NAME", help="Leave a source out. Repeatable.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most N questions of each domain: the first of those the whole recipe chooses.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read the first N rows of each source only, to try a recipe.",
)
@click.option("--dry-run", is_flag=True, help="Read and choose, print the counts, write nothing.")
@threads_option
@catalog_option
@json_option
def command(
    recipe: str,
    copies: tuple[str, ...],
    without: tuple[str, ...],
    limit: int | None,
    rows: int | None,
    dry_run: bool,
    catalog: str | None,
    as_json: bool,
) -> None:
    """Collect questions from data sets, merged where they are the same, chosen by budgets.

    A recipe names sources, on the Hugging Face Hub or local, and how many questions of each domain
    are wanted. All sources of a question are kept, with their licences. A second run adds nothing,
    one with a larger budget what is missing. All sources must be there: one that cannot be read
    would leave its place to others.
    """
    import dasd_data
    from builders.collect import load
    from builders.collect import recipe as recipes
    from builders.collect.stage import collect

    found = dasd_data.open(catalog)
    wanted = recipes.load(recipe).with_paths(_pairs(copies)).without(without)
    wanted = replace(wanted, limit=limit)
    opened = load.open_all(wanted)
    sizes = [part.stored_bytes for each in opened for part in each.parts]
    known = [size for size in sizes if size is not None]
    total, unit = (sum(known), "bytes") if len(known) == len(sizes) else (None, "rows and bytes")
    with Progress("collect", total, unit) as progress:
        report = collect(
            found, wanted, dry_run=dry_run, rows=rows, progress=progress.advance, opened=opened
        )
    if as_json:
        print_json(_json(report))
    else:
        _print(report, rows)


def _pairs(values: tuple[str, ...]) -> dict[str, str]:
    """`--source` values by name."""
    found = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not path:
            raise click.BadParameter(f"--source {value!r} is not NAME=PATH")
        found[name.strip()] = path
    return found


def _json(report: Report) -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "sources": report.sources,
        "domains": report.domains,
        "duplicates": report.duplicates,
        "left_out": _reasons(report.left_out),
        "refused": _reasons(report.refused),
        "revisions": report.revisions,
        "counts": dict(report.counts),
    }


def _reasons(counts: Any) -> list[dict[str, Any]]:
    return [
        {"source": source, "rows": number, "reason": why}
        for (source, why), number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _print(report: Report, rows: int | None) -> None:
    """The report, for a person."""
    print_table(report.sources, title="sources")
    click.echo()
    columns = ["domain", "questions", "budget", "chosen", "new"]
    print_table(report.domains, columns, title="domains")
    for title, reasons in (("left out", report.left_out), ("refused", report.refused)):
        if reasons:
            click.echo()
            print_table(_reasons(reasons)[:REASONS], title=title)
    if report.duplicates:
        click.echo()
        print_table(report.duplicates, title="the same question in two rows")
    for row in report.domains:
        if row["missing"]:
            note(
                f"{row['domain']}: the budget of {row['budget']:,} is {row['missing']:,} short: "
                f"the sources have {count(row['questions'], 'different question')}"
            )
        if row["unmeasured"]:
            note(
                f"{row['domain']}: {count(row['unmeasured'], 'question')} without an example "
                "answer, which come last in the order longer_answers"
            )
    if rows is not None:
        note(f"only the first {count(rows, 'row')} of each source: the whole may choose others")
    counts = report.counts
    if report.dry_run:
        note(f"{count(counts['rows'], 'row')} read; nothing written (--dry-run)")
        return
    note(
        f"{count(counts['rows'], 'row')} read: {count(counts['questions'], 'new question')}, "
        f"{count(counts['question_sources'], 'new source')} of questions"
    )
    if counts["refused"]:
        note(
            f"{count(counts['refused'], 'row')} refused: dasd-data sql "
            '"SELECT file, line, reason FROM quarantine ORDER BY file, line"'
        )
