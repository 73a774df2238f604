"""`test`."""

from __future__ import annotations

from typing import IO, Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    at_option,
    catalog_option,
    count,
    json_option,
    json_text,
    note,
    print_json,
    print_table,
    settings_option,
    threads_option,
    trusted_option,
)
from dasd_data.errors import ContractError


@click.command()
@click.argument("view", required=False, shell_complete=complete.views)
@settings_option
@click.option(
    "--offenders",
    type=click.File("w", encoding="utf-8", lazy=False),
    help="File for all offending rows, as JSON lines; else the first five of a check are shown.",
)
@trusted_option
@threads_option
@catalog_option
@at_option
@json_option
def test(
    view: str | None,
    settings: dict[str, Any],
    offenders: IO[str] | None,
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Check the contract of a view, or of every view, on the rows that a build would write.

    One line a check; exit code 3 if any fails. VIEW is a name or the path of a .sql file.
    """
    import dasd_data
    from dasd_data.contract.outcome import SAMPLE
    from dasd_data.contract.run import test as check

    found = dasd_data.open(catalog, at=at)
    sample = None if offenders else SAMPLE
    outcomes = {
        name: check(found, name, settings, trusted=trusted, sample=sample)
        for name in ([view] if view else sorted(found.views()))
    }
    failed = [(name, o) for name, all_of in outcomes.items() for o in all_of if not o.passed]
    if offenders:
        for name, o in failed:
            for row in o.sample:
                line = {"view": name, "check": o.check, "problem": o.problem, "row": row}
                offenders.write(json_text(line) + "\n")
    if as_json:
        print_json([{"view": v, **o.json()} for v, all_of in outcomes.items() for o in all_of])
    else:
        rows = [
            {
                "view": name,
                "check": o.check,
                "result": "passed" if o.passed else f"FAILED {o.failed:,}",
                "note": o.problem.split("\n", 1)[0] if o.problem else o.note,
            }
            for name, all_of in outcomes.items()
            for o in all_of
        ]
        print_table(rows, ["view", "check", "result", "note"])
        for name, o in failed:
            note(f"{name}, {o.check}: {o.words()}")
    if failed:
        total = sum(map(len, outcomes.values()))
        raise ContractError(f"{len(failed)} of {count(total, 'check')} failed")
