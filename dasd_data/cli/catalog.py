"""`init` and `status`."""

from __future__ import annotations

from typing import Any

import click

from dasd_data.cli.common import (
    at_option,
    catalog_option,
    json_option,
    note,
    print_json,
    print_table,
)

_REPORTS = ("responses", "scorers", "filters", "runs", "failures", "builds")
_SHORT = {"temperature": "T", "logprobs_mode": "mode"}  # headings that fit 80 columns


@click.command()
@click.argument("path", required=False)
def init(path: str | None) -> None:
    """Create a catalog at PATH (default: dasd.catalog), and a dasd.toml beside it."""
    from dasd_data import catalog, config

    made = catalog.create(path or config.load().catalog)
    note(f"catalog at {made.path}, snapshot {made.snapshot.snapshot_id}")
    note("next: dasd-data ingest FILE…")


@click.command()
@catalog_option
@at_option
@json_option
def status(catalog: str | None, at: str | None, as_json: bool) -> None:
    """What the catalog holds: rows, scores, filters, runs and how far they are, builds."""
    import dasd_data
    from dasd_data.compact import MANY_FILES

    report = _status(dasd_data.open(catalog, at=at))
    if as_json:
        print_json(report)
        return
    note(f"{report['catalog']}, snapshot {report['snapshot']} ({report['what']}, {report['at']})")
    print_table(report["tables"], title="tables")
    for name in _REPORTS:
        if report[name]:
            click.echo()
            print_table(
                [{_SHORT.get(k, k): v for k, v in r.items()} for r in report[name]], title=name
            )
    if many := [row["table"] for row in report["tables"] if row["files"] > MANY_FILES]:
        note(f"many files: {', '.join(many)}; `dasd-data compact` makes them few")


def _status(catalog: Any) -> dict[str, Any]:
    from dasd_data import sqlfiles
    from dasd_data.schema import TABLES

    session = catalog.session()
    counts = [
        {"table": name, **session.rows(f"SELECT count(*) AS rows FROM {name}")[0]}
        for name in TABLES
    ]
    for row in counts:
        row["files"] = len(catalog.files[row["table"]])
    report = {name: session.rows(sqlfiles.report(f"status_{name}")) for name in _REPORTS}
    snapshot = catalog.snapshot
    return {
        "catalog": str(catalog.path),
        "snapshot": snapshot.snapshot_id,
        "what": snapshot.what,
        "at": f"{snapshot.at:%Y-%m-%d %H:%M:%S} UTC",
        "tables": counts,
        **report,
    }
