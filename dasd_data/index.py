"""`catalog.duckdb`: the pinned snapshot for the DuckDB shell and its UI. Never the truth.

A file of views over the snapshot's Parquet files, which it names by absolute path: it holds no
rows, can be deleted at any time, and is written anew after the catalog grew or moved.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from dasd_data import sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.errors import UsageError
from dasd_data.files import flush_folder
from dasd_data.parameters import identifier, quote
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.session import relation
from dasd_data.sqlerrors import translated

_VARIABLE = re.compile(r"getvariable\('(\w+)'\)")


def write(catalog: Catalog, out: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """Write the views of the catalog's snapshot to `out`, in place of an older such file.

    The parameters of the base views have the values of `settings`, else their defaults; in the
    shell, `SET VARIABLE beta = 0.2` changes one. Raises UsageError where `out` is something else.
    """
    if out.exists() and not _ours(out):
        raise UsageError(f"{out} is not a file of views that `index` wrote: choose another --out")
    values = catalog.variables(None, settings).literals
    beside = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with translated(), contextlib.closing(duckdb.connect(str(beside))) as connection:
            connection.execute(sqlfiles.macros())
            for name, sql, about, columns in _views(catalog, values):
                connection.execute(f"CREATE VIEW {name} AS {sql}")
                connection.execute(f"COMMENT ON VIEW {name} IS {quote(about)}")
                for column in connection.sql(f"FROM {name}").columns:
                    if comment := columns.get(column):
                        place = f"{name}.{identifier(column)}"
                        connection.execute(f"COMMENT ON COLUMN {place} IS {quote(comment)}")
        beside.replace(out)
        flush_folder(out.absolute().parent)
    finally:
        beside.unlink(missing_ok=True)
        beside.with_name(f"{beside.name}.wal").unlink(missing_ok=True)
    return out


def _views(
    catalog: Catalog, values: Mapping[str, str]
) -> Iterator[tuple[str, str, str, Mapping[str, str]]]:
    """Name, SQL, comment and comments of the columns: the tables, then the base views."""
    for spec in (*TABLES.values(), SNAPSHOTS):
        sql = relation(spec.name, catalog.files.get(spec.name, []))
        yield spec.name, sql, spec.comment, {c.name: c.comment for c in spec.columns}

    def value(match: re.Match[str]) -> str:
        literal = values.get(match[1])
        return f"coalesce({match[0]}, {literal})" if literal else match[0]

    for file in sqlfiles.base_views():
        sql = _VARIABLE.sub(value, file.sql)
        yield file.name, sql, file.description, sqlfiles.comments(file)


def _ours(out: Path) -> bool:
    """Whether a file is a DuckDB database without a table."""
    try:
        with contextlib.closing(duckdb.connect(str(out), read_only=True)) as connection:
            return not connection.sql("SELECT 1 FROM duckdb_tables()").fetchall()
    except (duckdb.Error, OSError):
        return False
