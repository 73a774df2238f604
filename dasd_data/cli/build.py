"""`build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    Progress,
    at_option,
    catalog_option,
    count,
    json_option,
    note,
    print_funnel,
    print_json,
    printable,
    settings_option,
    threads_option,
    trusted_option,
)


@click.command()
@click.option(
    "--view",
    required=True,
    shell_complete=complete.views,
    help="Name of a view, or path of a .sql file.",
)
@settings_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write the split to.")
@click.option("--dry-run", is_flag=True, help="Choose the rows, write nothing.")
@click.option(
    "--robustness",
    type=click.Choice(["full", "fast", "off"]),
    default="fast",
    show_default=True,
    help="How the choice would move, in the card: on all questions, a sample, or not at all.",
)
@click.option("--explain", is_flag=True, help="Print the funnel and the SQL, build nothing.")
@trusted_option
@threads_option
@catalog_option
@at_option
@json_option
def build(
    view: str,
    settings: dict[str, Any],
    out: Path | None,
    dry_run: bool,
    robustness: str,
    explain: bool,
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Materialize a view as a training split: Parquet shards, a card and a manifest.

    A build that is there already is left as it is, but for a card of another --robustness.
    """
    import dasd_data
    from dasd_data import build as builds
    from dasd_data import sqlfiles

    found = dasd_data.open(catalog, at=at)
    if sqlfiles.shadows(file := found.find_view(view)):
        note(f"{file.path} takes the place of the shipped view {view}")
    if explain:
        _explain(found, view, settings, trusted, as_json)
        return
    with Progress(f"build {view}") as progress:
        made = builds.build(
            found,
            view,
            settings,
            out=out,
            dry_run=dry_run,
            robustness=robustness,
            trusted=trusted,
            progress=progress.update,
        )
    if as_json:
        print_json({**made.manifest, "path": made.path, "unchanged": made.unchanged})
        return
    if made.funnel:
        print_funnel(made.funnel)
    for warning in made.warnings:
        note(f"warning: {warning}")
    for unchecked in made.unchecked:
        note(f"not checked: {unchecked}")
    if made.path is None:
        note(f"dry run: {count(made.rows, 'row')}, build {made.build_id}; nothing was written")
    elif made.unchanged:
        note(f"unchanged: {count(made.rows, 'row')} in {made.path}")
    else:
        note(f"{count(made.rows, 'row')} in {made.path}")


def _explain(
    catalog: Any, view: str, settings: dict[str, Any], trusted: bool, as_json: bool
) -> None:
    """The funnel as SQL comments, then the SQL: all of it can be pasted into a DuckDB shell."""
    from dataclasses import asdict

    from dasd_data.explain import explain

    explained = explain(catalog, view, settings, trusted=trusted)
    if as_json:
        print_json(asdict(explained))
        return
    for line in _funnel_lines(explained.funnel):
        click.echo(printable(f"-- {line}"))
    click.echo(explained.sql, nl=False)


def _funnel_lines(funnel: list[dict[str, Any]]) -> list[str]:
    """The funnel with a column per domain and temperature, the conditions last."""
    if not funnel:
        return []
    parts = [f"{p['domain']} {p['temperature']}" for p in funnel[0]["parts"] or []]
    rows = [["responses", "questions", *parts, "condition"]]
    for row in funnel:
        counts = [row["responses"], row["questions"], *(p["responses"] for p in row["parts"] or [])]
        rows.append([*(f"{count:,}" for count in counts), row["condition"]])
    widths = [max(9, len(name)) for name in rows[0][:-1]]
    return [
        "  ".join([*(f"{c:>{w}}" for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
