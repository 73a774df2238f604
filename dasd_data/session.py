"""A DuckDB session over the files of one snapshot, locked before any view or query is compiled.

Others write view SQL. What the lock leaves it: the snapshot's files (`allowed_paths`, which unlike
`allowed_directories` admits no new file), no extension, no Python name, no setting. Statements are
compiled as temporary views, which refuse a COPY in a CTE.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dasd_data import sqlfiles
from dasd_data.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    DeniedError,
    UnknownNameError,
    UsageError,
)
from dasd_data.parameters import Parameter, identifier, quote
from dasd_data.schema import SNAPSHOTS, TABLES

_COMMENT = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_EXPLAIN = re.compile(
    rf"^{_COMMENT}EXPLAIN{_COMMENT}(?:ANALYZE\b|\([^)]*\))?", re.IGNORECASE | re.DOTALL
)


class Session:
    """One DuckDB connection over pinned files. Not for several threads at once."""

    def __init__(
        self,
        files: Mapping[str, list[Path]],
        *,
        threads: int | None = None,
        memory_limit: str | None = None,
        trusted: bool = False,
    ) -> None:
        self.connection = duckdb.connect(":memory:")
        self.values: dict[str, Any] = {}  # parameters that were set, names resolved to ids
        self.filters: dict[str, str] = {}  # required filters, with their current versions
        run = self.execute
        # DuckDB makes this folder when it first spills, and removes it when it closes.
        spill = Path(tempfile.gettempdir()) / f"dasd-{uuid.uuid4().hex}"
        run(f"SET temp_directory={quote(str(spill))}")
        run("SET autoinstall_known_extensions=false")
        run("SET autoload_known_extensions=false")
        run("SET python_enable_replacements=false")
        run("SET TimeZone='UTC'")
        run("SET enable_progress_bar=false")
        if threads:
            run(f"SET threads={int(threads)}")
        if memory_limit:
            run(f"SET memory_limit={quote(memory_limit)}")
        everything = [str(path) for paths in files.values() for path in paths]
        run(f"SET allowed_paths={_texts(everything)}")
        for name in (*TABLES, SNAPSHOTS.name):
            try:
                view = relation(name, files.get(name, []))
                self.connection.execute(f"CREATE VIEW {name} AS {view}")
            except duckdb.Error as error:
                raise DamagedFileError(
                    f"a file of table {name} cannot be read ({_first(error)}): restore a backup"
                ) from None
        run(sqlfiles.macros())
        if not trusted:
            run("SET enable_external_access=false")
            run("SET lock_configuration=true")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def create_base_views(self) -> None:
        """Create the shipped base views; the variables they read must be set before."""
        for view in sqlfiles.base_views():
            self.connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")

    def set_variables(self, parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
        """Set every parameter as a variable, with its declared type."""
        for name, value in values.items():
            self.execute(f"SET VARIABLE {identifier(name)} = {parameters[name].literal(value)}")

    def set_text(self, name: str, value: str | None) -> None:
        """Set a text variable."""
        literal = "NULL" if value is None else quote(value)
        self.connection.execute(f"SET VARIABLE {identifier(name)} = {literal}::VARCHAR")

    def set_filters(self, filters: Mapping[str, str]) -> None:
        """Set the filters that an eligible response must have passed, with their versions."""
        self.connection.execute(f"SET VARIABLE filters = {filters_literal(filters)}")

    def compile(self, sql: str, name: str) -> None:
        """Compile one SELECT as the temporary view `name`. Raises DeniedError, UsageError."""
        if self._statement_type(sql) != duckdb.StatementType.SELECT:
            raise DeniedError("a view is one SELECT")
        with translated(sql):
            self.connection.execute(
                f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS {_bare(sql)}"
            )

    def query(self, sql: str) -> duckdb.DuckDBPyRelation:
        """The relation of one reading statement: SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.

        Raises DeniedError for anything else, UnknownNameError for an unknown column or table,
        UsageError for other errors in the SQL.
        """
        explained = _EXPLAIN.sub("", sql, count=1)  # EXPLAIN ANALYZE runs what it explains
        kind = self._statement_type(explained)
        if kind != duckdb.StatementType.SELECT:
            raise DeniedError(
                f"only SELECT, DESCRIBE, SUMMARIZE, SHOW and EXPLAIN may run here, not {kind.name}"
            )
        self._statement_type(sql)
        with translated(sql):
            if not _is_command(explained):
                self.connection.execute(f"CREATE OR REPLACE TEMP VIEW _query AS {_bare(explained)}")
            return self.connection.sql(sql)

    def execute(self, sql: str) -> None:
        """Run a statement of our own."""
        with translated(sql):
            self.connection.execute(sql)

    def table(self, sql: str) -> pa.Table:
        """Rows of a statement of our own, as an Arrow table."""
        with translated(sql):
            return self.connection.sql(sql).to_arrow_table()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a statement of our own, as dictionaries."""
        return self.table(sql).to_pylist()

    def _statement_type(self, sql: str) -> duckdb.StatementType:
        with translated(sql):
            statements = self.connection.extract_statements(sql)
        if not statements:
            raise UsageError("there is no statement")
        if len(statements) != 1:
            raise DeniedError(f"one statement at a time: there are {len(statements)}")
        return statements[0].type


@contextlib.contextmanager
def translated(sql: str) -> Iterator[None]:
    """Turn DuckDB's errors into this project's."""
    try:
        yield
    except duckdb.PermissionException as error:
        raise DeniedError(_first(error)) from None
    except duckdb.InvalidInputException as error:
        if "configuration has been locked" in str(error):
            raise DeniedError(_first(error)) from None
        raise UsageError(_first(error)) from None
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise _unknown_name(str(error)) or UsageError(str(error)) from None
    except duckdb.IOException as error:
        raise DataError(_first(error)) from None
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(f"{_first(error)}: raise DASD_MEMORY_LIMIT") from None
    except duckdb.Error as error:
        raise UsageError(str(error)) from None


def _unknown_name(message: str) -> UnknownNameError | None:
    """DuckDB names its candidates; ours is one line with the closest one."""
    first, _, rest = message.partition("\n")
    for kind, marker in (("column", 'Referenced column "'), ("table or view", "Table with name ")):
        if marker in first:
            name = first.split(marker, 1)[1].split('"' if kind == "column" else " ", 1)[0]
            tail = rest.split("Candidate bindings:", 1)[-1] if "Candidate" in rest else rest
            candidates = [part.split('"')[0].split(".")[-1] for part in tail.split('"')[1::2]]
            return UnknownNameError(kind, name, {c for c in candidates if c})
    return None


def _first(error: Exception) -> str:
    first = str(error).split("\n", 1)[0]
    return first.removeprefix("Invalid Input Error: ")  # what `error()` says in a view is ours


def _bare(sql: str) -> str:
    return sql.strip().rstrip(";")


def _is_command(sql: str) -> bool:
    return _bare(sql).split(None, 1)[0].upper() in {"DESCRIBE", "SUMMARIZE", "SHOW"}


def _texts(values: list[str]) -> str:
    return "[" + ", ".join(quote(value) for value in values) + "]::VARCHAR[]"


def filters_literal(filters: Mapping[str, str]) -> str:
    """SQL literal of the variable `filters`."""
    items = ", ".join(
        f"{{'filter': {quote(name)}, 'version': {quote(version)}}}"
        for name, version in sorted(filters.items())
    )
    return f"[{items}]::STRUCT(filter VARCHAR, version VARCHAR)[]"


def relation(table: str, paths: list[Path]) -> str:
    """SELECT over a table's files, or over no rows of its schema."""
    spec = SNAPSHOTS if table == SNAPSHOTS.name else TABLES[table]
    if paths:
        columns = ", ".join(identifier(c.name) for c in spec.columns)
        return f"SELECT {columns} FROM read_parquet({_texts([str(p) for p in paths])})"
    columns = ", ".join(f"NULL::{_duck(c.type)} AS {identifier(c.name)}" for c in spec.columns)
    return f"SELECT {columns} WHERE false"


def _duck(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _duck(kind.value_type) + "[]"
    return {
        pa.string(): "VARCHAR",
        pa.int8(): "TINYINT",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.bool_(): "BOOLEAN",
        pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
    }[kind]
