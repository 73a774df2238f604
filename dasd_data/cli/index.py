"""`index`: the catalog as a file for the DuckDB shell and UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dasd_data.cli.common import at_option, catalog_option, note, settings_option


@click.command()
@catalog_option
@at_option
@settings_option
@click.option("--out", type=click.Path(path_type=Path), help="default: catalog.duckdb in it")
def index(catalog: str | None, at: str | None, settings: dict[str, Any], out: Path | None) -> None:
    """Write a DuckDB file of views over the snapshot, for the DuckDB shell and its UI.

    It holds no rows and is never the truth: write it anew when the catalog has grown or moved.
    """
    import dasd_data
    from dasd_data.index import write

    found = dasd_data.open(catalog, at=at)
    path = write(found, out or found.path / "catalog.duckdb", settings)
    note(f"snapshot {found.snapshot.snapshot_id} as views in {path}")
    note(f"next: duckdb -readonly {path}, or duckdb -ui {path}")
