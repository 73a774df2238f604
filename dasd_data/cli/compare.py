"""`plan` and `diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    printable,
    settings_option,
    threads_option,
    trusted_option,
)

if TYPE_CHECKING:
    from dasd_data.diff import Diff
    from dasd_data.plan import Plan

_CHURN = ("domain", "a", "b", "both", "only_a", "only_b", "jaccard",
          "questions_both", "questions_only_a", "questions_only_b")  # fmt: skip


@click.command()
@click.argument("build_a")
@click.argument("build_b")
@catalog_option
@json_option
def diff(build_a: str, build_b: str, catalog: str | None, as_json: bool) -> None:
    """Compare two builds: rows in common and not, by domain, and how their scores shift.

    BUILD_A and BUILD_B are folders, the start of a build id, or views: then their last builds.
    """
    import dasd_data
    from dasd_data import builds
    from dasd_data.diff import diff as compare

    folders = [builds.at(Path(name)) for name in (build_a, build_b)]
    if all(folders):  # copies of builds need no catalog
        a, b = [known for known in folders if known]
    else:
        found = dasd_data.open(catalog)
        a, b = builds.find(found, build_a), builds.find(found, build_b)
    compared = compare(a, b)
    if as_json:
        print_json(asdict(compared))
    else:
        _print_diff(compared)


def _print_diff(found: Diff) -> None:
    for side, about in (("a", found.a), ("b", found.b)):
        click.echo(printable(
            f"{side}: {about['view']} {about['build_id']}, {count(about['rows'], 'row')}, "
            f"snapshot {about['snapshot_id']}"
        ))  # fmt: skip
    _print_parameters(found.parameters)
    if others := [name for name in found.settings if name != "files"]:
        click.echo(f"made by another {', '.join(others)}")
    if "files" in found.settings:
        click.echo("made from other files of the catalog")
    click.echo()
    print_table([{**row, "domain": row["domain"] or "all"} for row in found.churn], _CHURN)
    if found.scores:
        click.echo()
        print_table(found.scores)


def _print_parameters(parameters: dict[str, list[Any]]) -> None:
    for name, (before, after) in parameters.items():
        click.echo(printable(f"{name}: {_shown(before)} -> {_shown(after)}"))


def _shown(value: Any) -> str:
    from dasd_data.parameters import setting

    return "(empty)" if value in (None, "", []) else setting(value)


@click.command()
@click.option(
    "--view",
    required=True,
    shell_complete=complete.views,
    help="Name of a view, or path of a .sql file.",
)
@click.option("--against", metavar="BUILD", help="Build to compare with; else the view's last one.")
@settings_option
@trusted_option
@threads_option
@catalog_option
@at_option
@json_option
def plan(
    view: str,
    against: str | None,
    settings: dict[str, Any],
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Say what a build would change against the last one: rows in, rows out, and why.

    Nothing is written. --json names every row with its reason.
    """
    import dasd_data
    from dasd_data.plan import plan as compare

    now = dasd_data.open(catalog, at=at)
    with Progress(f"plan {view}"):
        found = compare(now, view, settings, against=against, trusted=trusted)
    if as_json:
        print_json(asdict(found))
    else:
        _print_plan(found)


def _print_plan(found: Plan) -> None:
    if found.last is None:
        note(f"there is no build of {found.view} yet: every row is new")
    else:
        note(
            f"against build {found.last['build_id']} of {found.last['view']}, "
            f"{count(found.last['rows'], 'row')}, snapshot {found.last['snapshot_id']}; now "
            f"snapshot {found.snapshot_id}"
        )
    if found.unchanged:
        note(f"nothing would change: {found.build_id} is there")
        return
    _print_parameters(found.parameters)
    print_table([{**row, "domain": row["domain"] or "all"} for row in found.domains])
    click.echo()
    if found.reasons:
        print_table(found.reasons, ["change", "rows", "reason"])
    else:
        note("the same rows, under another id: a card, a manifest and a folder of its own")
