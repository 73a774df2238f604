"""Rows of SQL that others wrote, and of views, whoever wrote them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dasd_data import pool, sandbox
from dasd_data.errors import ContractError, UnknownNameError, UsageError
from dasd_data.parameters import Variables
from dasd_data.sandbox import Rows
from dasd_data.session import CHOSEN, Session
from dasd_data.sqlerrors import renumbered
from dasd_data.sqlfiles import SqlFile

if TYPE_CHECKING:
    from dasd_data.catalog import Catalog


@contextlib.contextmanager
def of_sql(
    catalog: Catalog,
    sql: str,
    variables: Variables,
    *,
    trusted: bool = False,
    patient: bool = False,
    repeatable: bool = False,
    chosen: Sequence[Path] = (),
) -> Iterator[Rows]:
    """The rows of one statement: from a child process, or, `trusted`, unlocked in this one.

    It may read the Parquet files `chosen` as a table of that name. For `patient`, `repeatable` and
    errors see `sandbox.rows`. They are read once, within the context.
    """
    files = {**catalog.files, **({CHOSEN: list(chosen)} if chosen else {})}
    if not trusted:
        with sandbox.rows(
            sql,
            files,
            variables,
            limits=sandbox.limits(catalog.config.sql),
            threads=catalog.config.threads,
            patient=patient,
            repeatable=repeatable,
        ) as rows:
            yield rows
        return
    session = Session(
        files, threads=catalog.config.threads, limits=catalog.config.sql, trusted=True
    )
    try:
        session.use(variables)
        session.create_base_views()
        with session.translated():
            schema, batches = pool.stream(session, sql)
            yield Rows(schema, batches)
    finally:
        session.close()


@contextlib.contextmanager
def of_view(
    catalog: Catalog,
    view: SqlFile,
    variables: Variables,
    *,
    before: str = "",
    trusted: bool = False,
) -> Iterator[Rows]:
    """The rows of a view of others, or of EXPLAIN or DESCRIBE `before` it; see `of_sql`.

    A UsageError names the line of the file.
    """
    sql = f"{before}{view.sql}"
    try:
        with of_sql(catalog, sql, variables, trusted=trusted, repeatable=True) as rows:
            yield rows
    except UnknownNameError as error:
        place = f"{view.path}:{error.line + view.line - 1}" if error.line else f"{view.path}"
        raise UnknownNameError(error.kind, error.name, error.known, f" ({place})") from None
    except UsageError as error:
        message, line = renumbered(str(error), view.line - 1)
        if line is None:
            raise
        raise UsageError(f"{view.path}:{line}: {message}") from None


def choose(catalog: Catalog, view: SqlFile, session: Session, *, trusted: bool = False) -> None:
    """Put a view's rows into the table `_chosen` of a session that has its variables.

    A shipped view runs in the session itself; any other in a child process, or, `trusted`,
    unlocked. Raises LimitError, DeniedError, UsageError; ContractError for two columns of one name.
    """
    if view.shipped:
        session.compile(view.sql, "_view")
        chosen = "CREATE TEMP TABLE _chosen AS SELECT * FROM _view"
        with session.timed():
            pool.in_parts(session, lambda: session.execute(chosen))
        return
    with of_view(catalog, view, session.variables, trusted=trusted) as rows:
        names = [name.lower() for name in rows.schema.names]  # as SQL compares them
        for name in names:
            if names.count(name) > 1:
                raise ContractError(f"view {view.name} has two columns named {name!r}: rename one")
        session.load("_chosen", rows.schema, _bounded(view, session, rows.batches))


def _bounded(
    view: SqlFile, session: Session, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The batches, until there are so many rows that the key of the view cannot be unique.

    Raises ContractError. A wider key may repeat a response: the spill limit ends such a view.
    """
    (responses,) = session.rows("SELECT count(*) AS n FROM responses")
    seen = 0
    for batch in batches:
        if view.key == ("response_id",) and seen > responses["n"]:
            raise ContractError(
                f"view {view.name}: its key (response_id) is not unique: it gives more rows than "
                f"there are responses ({responses['n']:,})"
            )
        seen += batch.num_rows
        yield batch
