"""`snapshots`, `verify`, `compact` and `gc`."""

from __future__ import annotations

from collections import Counter
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
    shown = [
        {**r, "at": f"{r['at']:%Y-%m-%d %H:%M:%S} UTC", "added": _added(r["added"])} for r in rows
    ]
    print_table(shown, ["snapshot", "at", "who", "what", "added"])


def _added(added: dict[str, int]) -> str:
    return ", ".join(f"{name} {rows:+,}" for name, rows in added.items())


@click.command()
@click.option(
    "--quick", is_flag=True, help="Trust files that did not change; check no rows or builds."
)
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
        return Session(files, threads=settings.threads, limits=settings.sql)

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
        note("quick: unchanged files were trusted; neither rows nor builds were checked")
    if not report.sound:
        for do, n in Counter(finding.do for finding in report.findings).items():
            note(f"{count(n, 'finding')}: {do}")
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


@click.command()
@click.argument("tables", nargs=-1, shell_complete=complete.relations)
@catalog_option
@json_option
def compact(tables: tuple[str, ...], catalog: str | None, as_json: bool) -> None:
    """Write the many small files of TABLES (default: all) anew as few. Others may append meanwhile.

    Interrupted, it goes on where it was. Older snapshots keep the old files until `gc` takes them.
    """
    import dasd_data
    from dasd_data import compact as work
    from dasd_data.errors import UnknownNameError
    from dasd_data.schema import SNAPSHOTS, TABLES

    known = {*TABLES, SNAPSHOTS.name}
    for name in tables:
        if name not in known:
            raise UnknownNameError("table", name, known)
    store = dasd_data.open(catalog).store
    with Progress("compact", unit="bytes") as progress:
        done = work.compact(store, tables, progress=lambda _, size: progress.advance(size))
    rows = [
        {"table": d.table, "files": d.after, "before": d.before, "bytes": d.bytes} for d in done
    ]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        note("nothing to compact")


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option(
    "--expire-before",
    metavar="SNAPSHOT",
    shell_complete=complete.snapshots,
    help="Give up the states before this one (a number, -1 or a time), but for those of builds.",
)
@click.option(
    "--pending",
    is_flag=True,
    help="Drop rows of responses that a process announced and, having died, never wrote.",
)
@catalog_option
@json_option
def gc(
    dry_run: bool, expire_before: str | None, pending: bool, catalog: str | None, as_json: bool
) -> None:
    """Remove files that nothing needs: left by dead processes, compacted away, or expired.

    What the newest snapshot, one that is not expired, or the snapshot of a recorded build needs is
    never removed, nor is a file younger than an hour. Run --pending while nothing ingests.
    """
    import dasd_data
    from dasd_data.gc import collect
    from dasd_data.snapshots import parse_at

    store = dasd_data.open(catalog).store
    before = store.snapshot(parse_at(expire_before)) if expire_before else None
    with Progress("gc"):
        found = collect(store, expire_before=before, pending=pending, dry_run=dry_run)
    if as_json:
        print_json(found.json())
        return
    rows = [{"what": k, "files": n, "bytes": found.bytes[k]} for k, n in found.number.items()]
    would = "would be " if dry_run else ""
    if found.number:
        print_table(rows)
    for name, n in found.rows.items():
        note(f"{count(n, 'pending row')} of {name} {would}dropped")
    if expire_before:
        would_be = "there would be" if dry_run else "there are"
        note(f"{count(found.snapshots, 'snapshot')} {would}expired: {would_be} {found.left}")
    if not (found.number or found.rows or expire_before):
        note("nothing to remove")
    elif dry_run:
        note("dry run: nothing was changed")
