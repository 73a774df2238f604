"""The candidates of a selection in memory, at any number of responses.

DuckDB spills joins and sorts; but the groups of a GROUP BY spill only when they have 60% of the
memory limit, whatever the joins that feed them have by then. So a query that counts the labels of
all responses at once may end at the limit: it is asked again with `label_counts` in a table, filled
from one range of response ids after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import pyarrow as pa

from dasd_data import sqlfiles
from dasd_data.errors import LimitError
from dasd_data.session import Session

PARTS = (1, 8, 64)  # in how many ranges labels are counted, until memory is enough

T = TypeVar("T")


def materialize(session: Session) -> None:
    """Keep `pool` in memory: what is asked of it from now on does not scan the sentences again."""
    in_parts(session, lambda: session.execute("CREATE TABLE _pool AS SELECT * FROM pool"))
    session.execute("CREATE OR REPLACE VIEW pool AS SELECT * FROM _pool")


def release(session: Session) -> None:
    """Give back the memory of a `pool` that was kept; nothing can be asked of it after."""
    session.execute("DROP TABLE IF EXISTS _pool")


def stream(
    session: Session, sql: str, *, repeatable: bool = False
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The rows of `Session.stream`; the session may keep `label_counts` after.

    Several statements, which a trusted session takes, are not asked again: the first may be done.
    """

    def ask() -> tuple[pa.RecordBatchReader, pa.RecordBatch | None]:
        with session.translated():
            reader = session.stream(sql, repeatable=repeatable)
            return reader, next(reader, None)  # all labels are counted before the first row

    with session.translated():
        alone = len(session.connection.extract_statements(sql)) == 1
    if alone and "label_counts" in sqlfiles.reads(sql):
        reader, first = in_parts(session, ask, keep=True)
        return reader.schema, chain([] if first is None else [first], reader)
    reader = session.stream(sql, repeatable=repeatable)
    return reader.schema, reader


def in_parts(session: Session, ask: Callable[[], T], *, keep: bool = False) -> T:
    """What `ask` gives; where it ends at the memory limit, with labels counted before in parts.

    The session may `keep` them, for rows that are still to be read, or has them after an error,
    until `at_once`.
    """
    for parts in PARTS:
        try:
            if parts > 1:
                _count(session, parts)
            found = ask()
        except LimitError as error:
            if error.limit != "memory_limit" or parts == PARTS[-1]:
                raise
        else:
            if parts > 1 and not keep:
                at_once(session)
            return found
    raise AssertionError("the last part returns or raises")


def at_once(session: Session) -> None:
    """Let `label_counts` be the view again, for what the variables are then."""
    (view,) = (base for base in sqlfiles.base_views() if base.name == "label_counts")
    session.execute(f"CREATE OR REPLACE VIEW label_counts AS {view.sql}")
    session.execute("DROP TABLE IF EXISTS _label_counts")


def _count(session: Session, parts: int) -> None:
    """Put `label_counts` into a table, for the temperature of the view where it has one.

    Ids are hexadecimal, and files in their order: a range reads its row groups of each.
    """
    at_once(session)
    session.execute("CREATE TABLE _label_counts AS SELECT * FROM label_counts LIMIT 0")
    bounds = [f"'{(n << 32) // parts:08x}'" for n in range(1, parts)]
    ranges = zip(
        ["true", *(f"response_id >= {bound}" for bound in bounds)],
        [*(f"response_id < {bound}" for bound in bounds), "true"],
        strict=True,
    )
    for least, end in ranges:
        session.execute(
            f"INSERT INTO _label_counts SELECT * FROM label_counts WHERE {least} AND {end}"
            " AND (getvariable('temperature') IS NULL OR temperature = getvariable('temperature'))"
        )
    session.execute("CREATE OR REPLACE VIEW label_counts AS SELECT * FROM _label_counts")
