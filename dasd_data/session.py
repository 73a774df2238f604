"""A DuckDB session over the files of one snapshot, locked before any view or query is compiled.

Others write view SQL. What the lock leaves it: the snapshot's files (`allowed_paths`, which unlike
`allowed_directories` admits no new file), no extension, no Python name, no setting. Statements are
checked for what they name (`allowed`) and compiled as temporary views, which refuse a COPY in a
CTE. SQL of others runs in a process of its own besides: `sandbox`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dasd_data import allowed, scratch, sqlfiles
from dasd_data.config import SqlConfig
from dasd_data.errors import (
    ContractError,
    DamagedFileError,
    DeniedError,
    LimitError,
    UnknownNameError,
    UsageError,
    closest,
    near,
)
from dasd_data.parameters import Variables, identifier, quote
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.sqlerrors import first_line, renumbered, shortened, translated

_COMMENT = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_EXPLAIN = re.compile(
    rf"^{_COMMENT}EXPLAIN{_COMMENT}(?:ANALYZE\b|\([^)]*\))?", re.IGNORECASE | re.DOTALL
)
_FIRST_WORD = re.compile(rf"{_COMMENT}(\w+)", re.DOTALL)
_BATCH_ROWS = 2_048
CHOSEN = "chosen"  # what the checks of a contract call the rows of their view
_AS_TEXT = {"INTERVAL", "BIT", "BIGNUM"}
_NO_RELATION = re.compile(r'Catalog Error: Table with name "?(.*?)"? does not exist')


def default_memory(threads: int) -> str:
    """What a session may use unless told otherwise: what is more, DuckDB spills.

    2 GB, or half a GB a thread where there are many, so that a catalog of any size leaves the
    machine usable; never over 80% of its memory.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    return f"{min(max(2_000, 500 * threads), machine * 8 // 10)}MB"


class Session:
    """One DuckDB connection over pinned files. Not for several threads at once.

    A `trusted` one is not locked, and its `query` takes any statement. `files` are those of the
    tables, and of `chosen` where the rows of a view are looked at; our own statements may name
    those that are `readable` besides. `spill` is the folder for what does not fit in memory, by
    default one of its own that goes with the session.
    """

    def __init__(
        self,
        files: Mapping[str, list[Path]],
        *,
        threads: int | None = None,
        limits: SqlConfig | None = None,
        trusted: bool = False,
        spill: Path | None = None,
        readable: Iterable[Path] = (),
    ) -> None:
        self.connection = duckdb.connect(":memory:")
        self.files = files
        self.trusted = trusted
        self.limits = limits or SqlConfig()
        self.variables = Variables()
        # DuckDB makes this folder when it first spills, and removes it when it closes.
        self._limit(threads, spill or _spill())
        run = self.execute
        run("SET autoinstall_known_extensions=false")
        run("SET autoload_known_extensions=false")
        run("SET python_enable_replacements=false")
        run("SET TimeZone='UTC'")
        # In a notebook without ipywidgets it is off, and DuckDB lets no one set it.
        if self.rows("SELECT current_setting('enable_progress_bar')::BOOLEAN AS is_on")[0]["is_on"]:
            run("SET enable_progress_bar=false")
        everything = [str(path) for paths in (*files.values(), readable) for path in paths]
        run(f"SET allowed_paths={_texts(everything)}")
        for name in (*TABLES, SNAPSHOTS.name):
            try:
                view = relation(name, files.get(name, []))
                self.connection.execute(f"CREATE VIEW {name} AS {view}")
            except (duckdb.Error, UnicodeDecodeError) as error:  # it quotes damaged names
                raise DamagedFileError(
                    f"a file of table {name} cannot be read ({first_line(error)}): restore a backup"
                ) from None
        if CHOSEN in files:
            run(f"CREATE VIEW {CHOSEN} AS FROM {parquet(files[CHOSEN])}")
        run(sqlfiles.macros())
        if not trusted:
            run("SET enable_external_access=false")
            run("SET lock_configuration=true")

    def _limit(self, threads: int | None, spill: Path) -> None:
        limits = self.limits
        self.execute(f"SET temp_directory={quote(str(spill))}")
        if threads:
            self.execute(f"SET threads={int(threads)}")
        if limits.memory_limit is None:
            cores = self.rows("SELECT current_setting('threads') AS n")[0]["n"]
            limits = self.limits = replace(limits, memory_limit=default_memory(int(cores)))
        self.execute(f"SET memory_limit={quote(str(limits.memory_limit))}")
        if limits.spill_limit:
            self.execute(f"SET max_temp_directory_size={quote(limits.spill_limit)}")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    @property
    def values(self) -> dict[str, Any]:
        """Parameters that were set, names resolved to ids."""
        return self.variables.values

    @property
    def filters(self) -> dict[str, str]:
        """Required filters, with their current versions."""
        return self.variables.filters

    def create_base_views(self) -> None:
        """Create the shipped base views; the variables they read must be set before."""
        for view in sqlfiles.base_views():
            self.connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")

    def use(self, variables: Variables) -> None:
        """Set all variables."""
        self.variables = variables
        for name, literal in variables.literals.items():
            self.connection.execute(f"SET VARIABLE {identifier(name)} = {literal}")

    def set_text(self, name: str, value: str | None) -> None:
        """Set a text variable."""
        literal = "NULL" if value is None else quote(value)
        self.connection.execute(f"SET VARIABLE {identifier(name)} = {literal}::VARCHAR")

    def compile(self, sql: str, name: str) -> None:
        """Compile one SELECT as the temporary view `name`. Raises DeniedError, UsageError."""
        if (kind := self._statement_type(sql)) != duckdb.StatementType.SELECT:
            raise DeniedError(f"a view is one SELECT, not {_statement_name(sql, kind)}")
        with self.translated():
            self._define(name, sql, allowed.check(self.connection, sql))

    def query(self, sql: str, *, repeatable: bool = False) -> duckdb.DuckDBPyRelation:
        """The relation of one reading statement: SELECT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN.

        Raises DeniedError for anything else, UnknownNameError for an unknown column or table,
        UsageError for other errors in the SQL. For `repeatable` see `allowed.check`.
        """
        if self.trusted:
            with self.translated(), self._relations_named():
                found = self.connection.sql(sql)
            if found is None:  # a relation without rows is falsy, too
                raise UsageError("there is no statement")
            return found
        explained = _EXPLAIN.sub(_lines, sql, count=1)  # EXPLAIN ANALYZE runs what it explains
        kind = self._statement_type(explained)
        if kind != duckdb.StatementType.SELECT:
            raise DeniedError(
                "only SELECT, DESCRIBE, SUMMARIZE, SHOW and EXPLAIN may run here, not "
                + _statement_name(explained, kind)
                + ("; write PIVOT … ON … IN (…)" if kind == duckdb.StatementType.MULTI else "")
            )
        self._statement_type(sql)
        with self.translated():
            own = allowed.check(self.connection, explained, repeatable=repeatable)
            self._define("_query", explained, own)
            self.connection.execute("DROP VIEW _query")
            return self.connection.sql(sql)

    def stream(self, sql: str, *, repeatable: bool = False) -> pa.RecordBatchReader:
        """The rows of `query` as they come; the session does nothing else meanwhile.

        Types that few readers of Arrow know are text, as DuckDB writes them.
        """
        found = self.query(sql, repeatable=repeatable)
        kinds = [str(kind) for kind in found.types]
        if _AS_TEXT & set(kinds):
            columns = zip(found.columns, kinds, strict=True)
            found = found.project(
                ", ".join(
                    f"#{n}{'::VARCHAR' if kind in _AS_TEXT else ''} AS {identifier(name)}"
                    for n, (name, kind) in enumerate(columns, 1)
                )
            )
        return found.to_arrow_reader(_BATCH_ROWS)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Stop statements of this block at the time limit. Raises LimitError."""
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            self.connection.interrupt()

        seconds = self.limits.time_limit
        timer = threading.Timer(seconds, stop) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield
        except (duckdb.InterruptException, UsageError):
            if stopped.is_set():
                raise LimitError("time_limit", f"{seconds} s") from None
            raise
        finally:
            if timer:
                timer.cancel()

    def load(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Put rows that came from elsewhere into a temporary table.

        Raises ContractError for a column that is a UNION: Parquet has none.
        """
        for column in schema:
            if "union<" in str(column.type):
                raise ContractError(
                    f"column {column.name} is a UNION, which Parquet cannot hold: cast it"
                )
        table = identifier(name)
        incoming = self.connection.register
        with self.translated():
            incoming("_incoming", schema.empty_table())
            self.connection.execute(f"CREATE TEMP TABLE {table} AS FROM _incoming")
        for batch in batches:
            with self.translated():
                incoming("_incoming", pa.Table.from_batches([batch]))
                self.connection.execute(f"INSERT INTO {table} FROM _incoming")
        self.connection.unregister("_incoming")

    def translated(self) -> contextlib.AbstractContextManager[None]:
        """Turn DuckDB's errors into this project's."""
        return translated(self.limits)

    def execute(self, sql: str) -> None:
        """Run a statement of our own."""
        with self.translated():
            self.connection.execute(sql)

    def table(self, sql: str) -> pa.Table:
        """Rows of a statement of our own, as an Arrow table."""
        with self.translated():
            return self.connection.sql(sql).to_arrow_table()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a statement of our own, as dictionaries."""
        return self.table(sql).to_pylist()

    def _define(self, name: str, sql: str, own: Iterable[str]) -> None:
        """Create a view of SQL that has these names for parts of itself."""
        view = f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS\n"
        with self._relations_named(own):
            try:
                self.connection.execute(view + _bare(sql))
            except duckdb.Error as error:
                raise type(error)(renumbered(str(error), -1)[0]) from None

    @contextlib.contextmanager
    def _relations_named(self, own: Iterable[str] = ()) -> Iterator[None]:
        """Name the relation that is closest to one that is not there.

        What is like none here is not mistyped: it is a file, or a variable of Python.
        """
        try:
            yield
        except duckdb.CatalogException as error:
            message = str(error)
            if not (unknown := _NO_RELATION.match(message)):
                raise
            name, parts = shortened(unknown[1]), {part.lower() for part in own}
            if name.lower() in parts:
                raise UsageError(
                    f"{name} can be read only after it is defined: {message}"
                ) from None
            views = self.rows("SELECT view_name FROM duckdb_views() WHERE NOT internal")
            there = {row["view_name"] for row in views if not row["view_name"].startswith("_")}
            known = sorted(parts | there)
            if self.trusted or near(name.lower(), known):
                line = renumbered(message, 0)[1]
                raise UnknownNameError("table or view", name.lower(), known, line=line) from None
            raise DeniedError(
                f"the catalog has no table or view named {name!r}, and SQL here reads nothing else"
                + closest(name, known)
            ) from None

    def _statement_type(self, sql: str) -> duckdb.StatementType:
        with self.translated():
            statements = self.connection.extract_statements(sql)
        if not statements:
            raise UsageError("there is no statement")
        if len(statements) != 1:
            raise DeniedError(f"one statement at a time: there are {len(statements)}")
        return statements[0].type


def _statement_name(sql: str, kind: duckdb.StatementType) -> str:
    """The word that a statement opens with; DuckDB has one name for several: USE is a SET to it."""
    first = _FIRST_WORD.match(sql)
    word = first[1].upper() if first else kind.name
    return kind.name if word == "WITH" else word


def _spill() -> Path:
    try:
        folder = scratch.of_process()
    except OSError:  # a full disk stops what spills, not what reads
        folder = Path(tempfile.gettempdir())
    return folder / uuid.uuid4().hex


def _bare(sql: str) -> str:
    return sql.rstrip().rstrip(";")


def _lines(found: re.Match[str]) -> str:
    """The line breaks of what was found: what follows stays where it stands."""
    return "\n" * found[0].count("\n")


def _texts(values: list[str]) -> str:
    return "[" + ", ".join(quote(value) for value in values) + "]::VARCHAR[]"


def parquet(paths: Iterable[Path]) -> str:
    """What SQL reads the rows of Parquet files from.

    A folder above the catalog may be named like `model=x`: its name is no column.
    """
    return f"read_parquet({_texts([str(path) for path in paths])}, hive_partitioning = false)"


def relation(table: str, paths: list[Path]) -> str:
    """SELECT over a table's files, or over no rows of its schema."""
    spec = SNAPSHOTS if table == SNAPSHOTS.name else TABLES[table]
    if paths:
        columns = ", ".join(identifier(c.name) for c in spec.columns)
        return f"SELECT {columns} FROM {parquet(paths)}"
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
