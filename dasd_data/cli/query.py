"""`sql`, `views` and `show`."""

from __future__ import annotations

import sys
from typing import Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    catalog_option,
    json_option,
    json_text,
    note,
    print_json,
    print_table,
    settings_option,
    threads_option,
)

_SHOWN_ROWS = 1_000


@click.command()
@click.argument("query")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@settings_option
@threads_option
@catalog_option
@json_option
def sql(
    query: str, as_csv: bool, settings: dict[str, Any], catalog: str | None, as_json: bool
) -> None:
    """Run one reading statement: SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.

    `dasd-data views` lists what can be queried. QUERY may be - for standard input.
    """
    import dasd_data
    from dasd_data.session import translated

    text = sys.stdin.read() if query == "-" else query
    relation = dasd_data.open(catalog).sql(text, **settings)
    with translated(text):
        relation = _presentable(relation)
        if as_csv:
            import pyarrow.csv

            pyarrow.csv.write_csv(_flat(relation.to_arrow_table()), sys.stdout.buffer)
        elif as_json:
            print_json(relation.to_arrow_table().to_pylist(maps_as_pydicts="lossy"))
        else:
            rows = relation.limit(_SHOWN_ROWS + 1).to_arrow_table()
            shown = rows.slice(0, _SHOWN_ROWS).to_pylist(maps_as_pydicts="lossy")
            print_table(shown, rows.column_names)
            if len(rows) > _SHOWN_ROWS:
                note(f"only the first {_SHOWN_ROWS:,} rows are shown: --json and --csv print all")


def _presentable(relation: Any) -> Any:
    """The rows with intervals as text, which neither JSON nor CSV has, and names that differ."""
    names, kinds = relation.columns, [str(kind) for kind in relation.types]
    if len(set(names)) == len(names) and "INTERVAL" not in kinds:
        return relation
    from dasd_data.parameters import identifier

    columns = []
    for n, (name, kind) in enumerate(zip(names, kinds, strict=True), 1):
        value = f"#{n}::VARCHAR" if kind == "INTERVAL" else f"#{n}"
        other = name if name not in names[: n - 1] else f"{name}_{n}"
        columns.append(f"{value} AS {identifier(other)}")
    return relation.project(", ".join(columns))


def _flat(table: Any) -> Any:
    """Lists and structs as JSON text: CSV has neither."""
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json_text(v) for v in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


@click.command()
@catalog_option
@json_option
def views(catalog: str | None, as_json: bool) -> None:
    """List tables, base views and the views that define splits."""
    import dasd_data
    from dasd_data import sqlfiles
    from dasd_data.schema import SNAPSHOTS, TABLES

    found = dasd_data.open(catalog)
    rows = [
        *(
            {"kind": "split", "name": v.name, "about": v.description}
            for v in found.views().values()
        ),
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


@click.command()
@click.argument("name", shell_complete=complete.relations)
@catalog_option
@json_option
def show(name: str, catalog: str | None, as_json: bool) -> None:
    """Show a table's columns with their comments, or a view's columns, parameters and SQL."""
    import dasd_data
    from dasd_data import sqlfiles

    found = dasd_data.open(catalog)
    split = found.views().get(name)
    base = {view.name: view for view in sqlfiles.base_views()}
    view = found.find_view(name) if split or name.endswith(".sql") else base.get(name)
    report: dict[str, Any] = {"name": name}
    if split is None or not view:
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
        click.echo(report["sql"])
