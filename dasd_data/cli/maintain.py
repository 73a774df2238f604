"""`snapshots`, `verify`, `compact` and `gc`."""

from __future__ import annotations

from typing import Any

import click

from dasd_data.cli.common import (
    Progress,
    at_option,
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    print_table,
)


@click.command()
@catalog_option
@json_option
def snapshots(catalog: str | None, as_json: bool) -> None:
    """List the states that --at can name, with the rows that each added."""
    import dasd_data
    from dasd_data.snapshots import listing

    found = dasd_data.open(catalog)
    rows = listing(found.store.snapshots(), found.store.kept())
    if as_json:
        print_json(rows)
        return
    shown = [{**r, "at": f"{r['at']:%Y-%m-%d %H:%M:%S}", "added": _added(r["added"])} for r in rows]
    print_table(shown, ["snapshot", "at", "who", "what", "added"])


def _added(added: dict[str, int]) -> str:
    return ", ".join(f"{name} {rows:+,}" for name, rows in added.items())


@click.command()
@click.option("--quick", is_flag=True, help="Trust files that did not change; check no rows.")
@catalog_option
@at_option
@json_option
def verify(quick: bool, catalog: str | None, at: str | None, as_json: bool) -> None:
    """Check logs, files, rows and builds; name what is damaged. Exit code 3 where anything is.

    Logs and files are those of all snapshots; rows are checked at one, the newest or that of --at.
    --quick reads no file that has the size, times and inode of its last check: what a disk changes
    by itself it cannot see.
    """
    from dasd_data import config
    from dasd_data import verify as checks
    from dasd_data.session import Session
    from dasd_data.snapshots import parse_at
    from dasd_data.store import Store

    settings = config.load(catalog)
    store = Store.open(settings.catalog)
    snapshot = store.snapshot(parse_at(at)) if at else None

    def session(files: Any) -> Session:
        return Session(files, threads=settings.threads, memory_limit=settings.memory_limit)

    with Progress("verify", unit="bytes") as progress:
        report = checks.verify(
            store, snapshot, quick=quick, session=session, progress=progress.advance
        )
    if as_json:
        print_json(report.json())
    else:
        _print(report)
    if not quick:
        note("checked: " + ", ".join(f"{n:,} {what}" for what, n in report.checked.items()))
    else:
        note("quick: unchanged files were trusted, and no rows checked")
    if not report.sound:
        note(f"{count(len(report.findings), 'finding')}: restore what is named from a backup")
        raise click.exceptions.Exit(3)


def _print(report: Any) -> None:
    if report.findings:
        rows = [
            {"table": f.table, "problem": f.problem, "file": f.file, "row": f.row}
            for f in report.findings
        ]
        print_table(rows)
    for text in report.notes:
        note(f"note: {text}")
    if report.sound:
        click.echo("sound")
