"""`docs`."""

from __future__ import annotations

from pathlib import Path

import click

from dasd_data.cli.common import at_option, catalog_option, count, note


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write them to; else `docs` in the catalog.",
)
@catalog_option
@at_option
def docs(out: Path | None, catalog: str | None, at: str | None) -> None:
    """Write a page for each table, column, view and parameter, with what reads what, as HTML.

    The pages need no server: open index.html.
    """
    import dasd_data
    from dasd_data.docs.write import write

    found = dasd_data.open(catalog, at=at)
    folder = out or found.path / "docs"
    number = write(found, folder)
    note(f"{count(number, 'page')} in {folder}: open {folder / 'index.html'}")
