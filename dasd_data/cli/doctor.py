"""`doctor`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from dasd_data.cli.common import catalog_option, count, json_option, print_json
from dasd_data.cli.tables import printable

_CHECK_WIDTH = 14


@click.command()
@catalog_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, catalog: str | None, as_json: bool) -> None:
    """Tell what is missing or wrong here, and what to do about it.

    Looks at versions, extras, devices, disks, the catalog and what killed processes left behind.
    Works without a catalog, too. Exit code 3 where there is a problem.
    """
    from dasd_data.doctor import PROBLEM, WARNING, examine

    found = []
    for finding in examine(catalog):
        found.append(finding)
        if not as_json:
            _print(finding)
    states = Counter(finding.state for finding in found)
    if as_json:
        print_json(
            {
                "problems": states[PROBLEM],
                "warnings": states[WARNING],
                "checks": [asdict(finding) for finding in found],
            }
        )
    else:
        click.echo(f"\n{count(states[PROBLEM], 'problem')}, {count(states[WARNING], 'warning')}")
    ctx.exit(3 if states[PROBLEM] else 0)


def _print(finding: Any) -> None:
    click.echo(printable(f"{finding.state:<7}  {finding.check:<{_CHECK_WIDTH}}  {finding.what}"))
    if finding.do:
        click.echo(printable(f"{'':<7}  {'':<{_CHECK_WIDTH}}  → {finding.do}"))
