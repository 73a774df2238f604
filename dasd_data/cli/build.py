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
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Materialize a view as a training split: Parquet shards, a card and a manifest.

    A build that is there already is left as it is.
    """
    import dasd_data
    from dasd_data import build as builds
    from dasd_data import sqlfiles

    found = dasd_data.open(catalog, at=at)
    if sqlfiles.shadows(file := found.find_view(view)):
        note(f"{file.path} takes the place of the shipped view {view}")
    with Progress(f"build {view}") as progress:
        made = builds.build(
            found,
            view,
            settings,
            out=out,
            dry_run=dry_run,
            trusted=trusted,
            progress=progress.update,
        )
    if as_json:
        print_json({**made.manifest, "path": made.path, "unchanged": made.unchanged})
        return
    if made.funnel:
        print_funnel(made.funnel)
    if made.path is None:
        note(f"dry run: {count(made.rows, 'row')}, build {made.build_id}; nothing was written")
    elif made.unchanged:
        note(f"unchanged: {count(made.rows, 'row')} in {made.path}")
    else:
        note(f"{count(made.rows, 'row')} in {made.path}")
