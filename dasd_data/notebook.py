"""How catalogs, views and builds look in a notebook: small HTML tables, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from dasd_data import sqlfiles
from dasd_data.schema import TABLES

if TYPE_CHECKING:
    from dasd_data.build import Build
    from dasd_data.catalog import Catalog
    from dasd_data.sqlfiles import SqlFile


def of_catalog(catalog: Catalog) -> str:
    """Where it is pinned, its tables with rows, its base views and splits."""
    snapshot = catalog.snapshot
    tables = [
        {"table": name, "rows": state.rows, "MB": round(state.bytes / 1e6, 1), "": spec.comment}
        for name, spec in TABLES.items()
        if (state := snapshot.tables.get(name)) and state.rows
    ]
    splits = catalog.views()
    views = [{"view": v.name, "": v.description} for v in sqlfiles.base_views()]
    views += [{"view": f"{v.name} (split)", "": v.description} for v in splits.values()]
    when = f", {snapshot.at:%Y-%m-%d %H:%M:%S} UTC" if snapshot.at else ""
    return (
        f"<b>Catalog</b> <code>{escape(str(catalog.path))}</code>, snapshot "
        f"{snapshot.snapshot_id} ({escape(snapshot.what)}{when})"
        f"{table(tables)}{_folded('views', table(views))}"
    )


def of_view(view: SqlFile) -> str:
    """What it is for, its parameters with their defaults, its SQL."""
    declared = {name: p for base in sqlfiles.base_views() for name, p in base.parameters.items()}
    declared |= view.parameters
    rows = [
        {
            "parameter": name,
            "default": view.defaults.get(name, parameter.default),
            "type": parameter.type,
            "": parameter.help,
        }
        for name, parameter in sorted(declared.items())
        if name in view.parameters or name in view.defaults
    ]
    sql = f"<pre>{escape(view.sql)}</pre>"
    return (
        f"<b>View</b> <code>{escape(view.name)}</code>: {escape(view.description)}"
        f"{table(rows)}{_folded('SQL', sql)}"
    )


def of_build(build: Build) -> str:
    """What it is called, where it is, its funnel and its parameters."""
    where = f", <code>{escape(str(build.path))}</code>" if build.path else ", a dry run"
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in build.warnings)
    settings = [
        {"parameter": name, "value": value}
        for name, value in sorted(build.manifest["parameters"].items())
        if value is not None
    ]
    funnel = [{k: v for k, v in step.items() if k != "parts"} for step in build.funnel]
    return (
        f"<b>Build</b> of <code>{escape(str(build.manifest['view']))}</code>, "
        f"{build.rows:,} rows, <code>{escape(build.build_id)}</code>{where}"
        f"{f'<ul>{warnings}</ul>' if warnings else ''}"
        f"{table(funnel)}{_folded('parameters', table(settings))}"
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as an HTML table; nothing where there are none."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, rows))}</tbody></table>"


def _row(row: Mapping[str, Any]) -> str:
    return f"<tr>{''.join(_cells(row.values()))}</tr>"


def _cells(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        text = "" if value is None else f"{value:,}" if number else escape(str(value))
        style = "right" if number else "left"
        yield f'<td style="text-align:{style}">{text}</td>'


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>" if inner else ""
