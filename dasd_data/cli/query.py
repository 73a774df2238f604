"""`sql`, `views` and `show`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    at_option,
    catalog_option,
    cell,
    count,
    json_option,
    json_text,
    note,
    print_json,
    print_table,
    printable,
    settings_option,
    threads_option,
    trusted_option,
    visible_json,
)
from dasd_data.errors import DasdError, UsageError

if TYPE_CHECKING:
    from dasd_data.sandbox import Rows

_SHOWN_ROWS = 1_000
_SHOWN_LETTERS = 100_000  # of a value; a table of longer ones takes gigabytes


@click.command()
@click.argument("query")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@click.option("--verify", is_flag=True, help="First check the SHA-256 of the files it may read.")
@trusted_option
@settings_option
@threads_option
@catalog_option
@at_option
@json_option
def sql(
    query: str,
    as_csv: bool,
    verify: bool,
    trusted: bool,
    settings: dict[str, Any],
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Run one reading statement: SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.

    `dasd-data views` lists what can be queried. QUERY may be - for standard input. It runs in a
    process of its own that reads the catalog and nothing else, within the limits of [sql] in
    dasd.toml. That every file is there, with its size, is always checked; a flipped bit within one
    only with --verify.
    """
    import dasd_data
    from dasd_data import rows, sqlfiles

    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two forms of the same rows: choose one")
    text = sys.stdin.read() if query == "-" else query
    found = dasd_data.open(catalog, at=at)
    if verify:
        found.verify_files(sqlfiles.reads(text))
    variables = found.variables(None, settings)
    with rows.of_sql(found, text, variables, trusted=trusted, patient=True) as result:
        names = _distinct(result.schema.names)
        if as_csv:
            _print_csv(names, result)
        elif as_json:
            _print_json(names, result)
        else:
            _print_table(names, result)


def _distinct(names: list[str]) -> list[str]:
    """Names of columns, one that is there already with its place: a, a_2."""
    found: list[str] = []
    for place, name in enumerate(names, 1):
        other = name if name not in found else f"{name}_{place}"
        while other in found or (other != name and other in names):
            other += "_"
        found.append(other)
    return found


def _dictionaries(names: list[str], batch: Any) -> list[dict[str, Any]]:
    try:
        rows = batch.rename_columns(names).to_pylist(maps_as_pydicts="lossy")
    except OverflowError:
        raise UsageError(
            "a date or time is infinite, or of a year that cannot be shown: cast it to VARCHAR"
        ) from None
    return cast(list[dict[str, Any]], rows)


def _print_table(names: list[str], result: Rows) -> None:
    shown: list[dict[str, Any]] = []
    for batch in result.batches:
        shown += _dictionaries(names, batch.slice(0, _SHOWN_ROWS + 1 - len(shown)))
        if len(shown) > _SHOWN_ROWS:
            break
    long = 0
    for row in shown[:_SHOWN_ROWS]:
        for name, value in row.items():
            text = cell(value) if isinstance(value, list | dict) else value
            if isinstance(text, str | bytes) and len(text) > _SHOWN_LETTERS:
                row[name] = f"{text[:_SHOWN_LETTERS]!s}…"
                long += 1
    print_table(shown[:_SHOWN_ROWS], names)
    if long:
        note(
            f"{count(long, 'value')} cut at {_SHOWN_LETTERS:,} letters: --json and --csv print all"
        )
    if len(shown) > _SHOWN_ROWS:
        note(f"only the first {_SHOWN_ROWS:,} rows are shown: --json and --csv print all")


def _print_json(names: list[str], result: Rows) -> None:
    """An array, one row a line, as the rows come."""
    before = "[\n"
    for batch in result.batches:
        for row in _dictionaries(names, batch):
            click.echo(before + visible_json(json_text(row)), nl=False)
            before = ",\n"
    click.echo("[]" if before == "[\n" else "\n]")


def _print_csv(names: list[str], result: Rows) -> None:
    """As faithful as CSV can be, as the rows come.

    On a terminal, control characters are spelled out.
    """
    import pyarrow as pa
    import pyarrow.csv

    visible = printable if sys.stdout.isatty() else str
    schema = pa.schema(
        pa.field(visible(name), pa.string() if pa.types.is_nested(field.type) else field.type)
        for name, field in zip(names, result.schema, strict=True)
    )
    with pyarrow.csv.CSVWriter(sys.stdout.buffer, schema) as writer:
        for batch in result.batches:
            writer.write(pa.table([_flat(column, visible) for column in batch.columns], schema))


def _flat(column: Any, visible: Callable[[str], str]) -> Any:
    """Lists, structs, maps and unions as JSON text: CSV has none of them."""
    import pyarrow as pa

    if pa.types.is_nested(column.type):
        values = column.to_pylist(maps_as_pydicts="lossy")
        texts = [None if v is None else visible(json_text(v)) for v in values]
    elif pa.types.is_string(column.type) and visible is printable:
        texts = [None if v is None else printable(v) for v in column.to_pylist()]
    else:
        return column
    return pa.array(texts, pa.string())


@click.command()
@catalog_option
@at_option
@json_option
def views(catalog: str | None, at: str | None, as_json: bool) -> None:
    """List tables, base views and the views that define splits."""
    import dasd_data
    from dasd_data import sqlfiles
    from dasd_data.schema import SNAPSHOTS, TABLES

    found = dasd_data.open(catalog, at=at)
    rows = [
        *(_about(name, path) for name, path in sqlfiles.view_paths(found.path).items()),
        *({"kind": "view", "name": v.name, "about": v.description} for v in sqlfiles.base_views()),
        *(
            {"kind": "table", "name": t.name, "about": t.comment}
            for t in (*TABLES.values(), SNAPSHOTS)
        ),
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def _about(name: str, path: Path) -> dict[str, str]:
    """A row on a view; a file that cannot be read hides no other."""
    from dasd_data import sqlfiles

    try:
        about = sqlfiles.load_named(path, name).description
    except DasdError as error:
        about = f"cannot be used: {error}"
    return {"kind": "split", "name": name, "about": about}


@click.command()
@click.argument("name", shell_complete=complete.relations)
@catalog_option
@at_option
@json_option
def show(name: str, catalog: str | None, at: str | None, as_json: bool) -> None:
    """Show a table's columns with their comments, or a view's columns, parameters and SQL."""
    import dasd_data
    from dasd_data import sqlfiles
    from dasd_data.schema import SNAPSHOTS, TABLES

    found = dasd_data.open(catalog, at=at)
    base = {view.name: view for view in sqlfiles.base_views()}
    own = name in base or name in TABLES or name == SNAPSHOTS.name
    split = not own and (name.endswith(".sql") or name in sqlfiles.view_paths(found.path))
    view = found.find_view(name) if split else base.get(name)
    report: dict[str, Any] = {"name": name}
    if not split:
        report["columns"] = [
            {"column": column, "type": kind, "about": comment}
            for column, kind, comment in found.describe(name)
        ]
    if view:
        values = found.parameters(view)
        shown = found.declared(view) if split else view.parameters
        report["description"] = view.description
        report["sql"] = view.sql
        report["parameters"] = [
            {"parameter": n, "value": values[n], "type": p.type, "about": p.help}
            for n, p in sorted(shown.items())
        ]
    if as_json:
        print_json(report)
        return
    for part in ("columns", "parameters"):
        if report.get(part):
            print_table(report[part], title=part)
            click.echo()
    if "sql" in report:
        click.echo(printable(report["sql"]))
