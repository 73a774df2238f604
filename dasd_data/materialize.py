"""The rows of `_chosen`, with their texts, as shards.

DuckDB puts scores and ids in order. Texts are long: `lookup` reads them from the files, and `texts`
puts them in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from dasd_data import lookup, render, shards
from dasd_data.ahead import ahead
from dasd_data.errors import ContractError
from dasd_data.parameters import identifier
from dasd_data.session import Session
from dasd_data.shards import Shard
from dasd_data.sqlfiles import SqlFile
from dasd_data.texts import SCHEMA, Texts

BATCH_ROWS = 1_024

# Ids, questions and completions of a group of rows.
Look = Callable[[pa.ChunkedArray, pa.Array, pa.Array], None]


def materialize(
    session: Session,
    view: SqlFile,
    system: str | None,
    rows: int,
    folder: Path,
    progress: Callable[[int], None],
    look: Look = lambda ids, question, completion: None,
) -> list[Shard]:
    """Write the chosen rows, of which there are `rows`, in the order of the view's key.

    `look` is shown the texts of each row group before it is written, in a thread; `progress` is
    told the number of its rows after that. Raises ContractError for a response without question or
    text, or with several, OSError where TMPDIR has no room for the texts.
    """
    key = ", ".join(map(identifier, view.key))
    session.execute(
        "CREATE TEMP TABLE _numbered AS "
        f"SELECT row_number() OVER (ORDER BY {key}) - 1 AS _row, response_id FROM _chosen"
    )
    with session.translated(), Texts(rows) as questions, Texts(rows) as completions:
        asked = "SELECT _row, question_id FROM _numbered INNER JOIN responses USING (response_id)"
        questions.spill(lookup.texts(session, "questions", ["text"], asked))
        whole = lookup.texts(session, "responses", ["thinking", "answer"], "FROM _numbered")
        with contextlib.closing(ahead(map(_completions, whole))) as batches:
            completions.spill(batches)
        if missing := int(((questions.sizes < 0) | (completions.sizes < 0)).sum()):
            raise ContractError(
                f"view {view.name} chose {missing:,} responses whose question or text is missing: "
                "`dasd-data verify` names what is damaged"
            )
        if twice := max(questions.taken, completions.taken) - rows:
            raise ContractError(
                f"view {view.name} chose responses of which {twice:,} questions or texts are there "
                "again: `dasd-data verify` names duplicate keys"
            )
        session.execute("DROP TABLE _numbered")
        ordered = session.connection.sql(f"SELECT * FROM _chosen ORDER BY {key}")
        columns = ordered.to_arrow_reader(BATCH_ROWS)
        schema = pa.schema([*render.COLUMNS, *columns.schema])
        # Made in a thread, which has the session's connection until all are written.
        groups = _groups(questions, completions, columns, system, schema, look)
        return shards.write(groups, schema, folder, progress)


def _completions(batch: pa.RecordBatch) -> pa.RecordBatch:
    text = render.completions(batch["thinking"], batch["answer"])
    return pa.record_batch([batch["_row"], text], SCHEMA)


def _groups(
    questions: Texts,
    completions: Texts,
    columns: pa.RecordBatchReader,
    system: str | None,
    schema: pa.Schema,
    look: Look,
) -> Iterator[tuple[pa.Table, int]]:
    """Row groups of the shards, each with its bytes of text."""
    sizes = questions.sizes + completions.sizes
    ends = shards.group_ends(sizes)
    texts = zip(questions.groups(ends), completions.groups(ends), strict=True)
    start = 0
    for end, group, (question, completion) in zip(ends, _cut(columns, ends), texts, strict=True):
        look(group["response_id"], question, completion)
        chats = render.render(question, completion, system)
        whole = pa.table([*chats.itercolumns(), *group.itercolumns()], schema=schema)
        yield whole.combine_chunks(), int(sizes[start:end].sum())
        start = end


def _cut(batches: pa.RecordBatchReader, ends: Sequence[int]) -> Iterator[pa.Table]:
    """Rows, which come in batches of any size, cut before each of `ends`."""
    rest, start = batches.schema.empty_table(), 0
    for end in ends:
        while len(rest) < end - start:
            rest = pa.concat_tables([rest, pa.Table.from_batches([next(batches)])])
        yield rest[: end - start]
        rest, start = rest[end - start :], end
