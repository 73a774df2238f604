"""The ingest stage: files in, rows of the catalog out, refused rows into quarantine."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builders import read, shapes
from builders.ingest.again import otherwise
from builders.ingest.batch import Batch, Place
from builders.run import Run, reason, to_table
from builders.segment import SEGMENTER
from builders.segment.derive import TableOf, score_rows, sentence_rows
from builders.segment.stage import segment_missing, token_tables
from builders.tokens.table import TokenTable
from dasd_data.catalog import Catalog
from dasd_data.errors import DasdError, DataError, RowError, UsageError
from dasd_data.interrupts import held
from dasd_data.keys import first_of_key, kept
from dasd_data.writer import Appended

BATCH_BYTES, BATCH_SECONDS = 32 << 20, 60.0  # in memory twice; at risk when the process dies
EXCERPTS = 1_000  # refused rows of a file that are kept with their beginning; the others without
UNKNOWN_ROWS = 100  # rows of no known shape at the beginning of a file, before it is given up
LIVE_OBJECTS = 1_000_000
OTHER_CONTENT = (
    "a row with the same key and other content is there already: its text differs, or a setting "
    "such as the temperature or the model"
)
OTHER_PENDING = (
    "its key was announced with other content by a run that died or still goes on: let that run "
    "end, or drop what it left with `dasd-data gc --pending`"
)


class Ingest:
    """One ingest run: reads inputs, fills batches, commits them by size and by time."""

    def __init__(
        self,
        catalog: Catalog,
        context: shapes.Context,
        strict: bool,
        run: Run,
        seen: set[str] | None,
    ) -> None:
        self.context, self.strict, self.run, self.seen = context, strict, run, seen
        self.catalog = catalog
        self.excerpts = EXCERPTS
        self.known = False  # whether any file's shape was
        self.unknown: UsageError | None = None  # the first row's whose shape was not
        self._start()

    def file(self, path: Path, progress: Callable[[int], None]) -> None:
        """Ingest one input."""
        context = replace(self.context, file=read.shown(path), source="")
        shape: shapes.Shape | None = None
        self.excerpts, unknown = EXCERPTS, 0
        for row in read.read(path, on_bytes=progress):
            with held():  # a response is never without its tokens
                shape = self._row(row, shape, context)
            unknown += shape is None and row.value is not None
            if self.batch.size >= BATCH_BYTES or time.monotonic() >= self.deadline:
                self.commit()
            if shape is None and unknown == UNKNOWN_ROWS:
                why = f"{unknown} rows are of no known shape: the rest of the file is not read"
                self._refuse((row.file, row.line + 1), why)
                break
        self.run.counts["unknown files"] += shape is None and unknown > 0

    def _detect(self, row: shapes.Row, context: shapes.Context) -> shapes.Shape:
        """The shape of a file by this row; an error of the row, unless all files have none."""
        try:
            shape = shapes.detect(row, context)
        except UsageError as error:
            if self.strict:
                raise
            self.unknown = self.unknown or error
            raise RowError(str(error)) from error
        self.known = True
        return shape

    def _row(
        self, row: read.RawRow, shape: shapes.Shape | None, context: shapes.Context
    ) -> shapes.Shape | None:
        """Add an input row to the batch; returns the shape of the file, once a row has told it."""
        self.run.counts["rows"] += 1
        place = (row.file, row.line)
        try:
            if row.value is None:
                raise RowError(row.error or "unreadable")
            shape = shape or self._detect(row.value, context)
            for record in shape.parse(row.value, context, row.line):
                self.batch.add(record, place)
        except RowError as error:
            self._refuse(place, reason(error), row.excerpt())
        return shape

    def commit(self) -> None:
        """Commit the batch, with the sentences and sums of its responses."""
        with held():
            self._commit()

    def _commit(self) -> None:
        tables = self.batch.tables()
        places = self._places(tables)
        self._drop_conflicts(tables)
        for name, table in _derived(tables, self.run, self._table_of).items():
            tables[name] = table
        self._count_unnamed(tables)
        done = self.run.append(tables)
        self._refuse_late(done, places)
        if "responses" in tables and self.seen is not None:
            self.seen.update(tables["responses"]["response_id"].to_pylist())
        for name in ("questions", "responses", "tokens"):
            if name in done:
                self.run.counts[f"same {name}"] += done[name].same
                self.run.counts[f"repeated {name}"] += done[name].repeated
        self._start()

    def _count_unnamed(self, tables: Mapping[str, pa.Table]) -> None:
        """Count the new responses that nothing says the model or the temperature of."""
        if "responses" not in tables:
            return
        rows = tables["responses"].select(["response_id", "model", "temperature"])
        fresh = kept(rows, ~self.run.writer.known("responses", rows))
        for name in ("model", "temperature"):
            self.run.counts[f"no {name}"] += fresh[name].null_count

    def _places(self, tables: Mapping[str, pa.Table]) -> dict[str, list[Place]]:
        """Where each response of the batch stands."""
        found: dict[str, list[Place]] = {}
        if "responses" in tables:
            ids = tables["responses"]["response_id"].to_pylist()
            for key, place in zip(ids, self.batch.places["responses"], strict=True):
                found.setdefault(key, []).append(place)
        return found

    def _refuse_late(self, done: Mapping[str, Appended], places: Mapping[str, list[Place]]) -> None:
        """Quarantine responses that another process announced with other content meanwhile."""
        late = done["responses"].conflicts if "responses" in done else None
        if late is None:
            return
        refused = Batch(self.run.run_id, self.context.tokenizer)
        for key in dict.fromkeys(late["response_id"].to_pylist()):
            for place in places[key]:
                self.run.counts["refused"] += 1
                refused.refuse(place, f"responses: {OTHER_PENDING}")
        self.run.append(refused.tables())

    def _start(self) -> None:
        self.batch = Batch(self.run.run_id, self.context.tokenizer)
        self.deadline = time.monotonic() + BATCH_SECONDS

    def _table_of(self, scorer: str) -> TokenTable | None:
        """Token table of a scorer: as recorded, or, for one new in this run, as it was given."""
        if self.context.tokenizer:
            return TokenTable.load(self.context.tokenizer)
        return self._known_tables(scorer)

    @cached_property
    def _known_tables(self) -> TableOf:
        return token_tables(self.catalog)

    def _refuse(self, place: Place, why: str, raw: bytes | None = None) -> None:
        if self.strict:
            raise DataError(f"{place[0]}:{place[1]}: {why}")
        self.run.counts["refused"] += 1
        self.excerpts -= 1
        self.batch.refuse(place, why, raw if self.excerpts >= 0 else None)

    def _drop_conflicts(self, tables: dict[str, pa.Table]) -> None:
        """Quarantine rows whose key is there, or came before, with other content.

        The tokens of a refused response go with it, whatever their own key: they are of its text.
        """
        gone: set[int | None] = set()
        for name in ("question_sources", "responses", "tokens"):
            if name not in tables:
                continue
            tables[name] = self.run.writer.hashed(name, tables[name])
            conflict = self.run.writer.conflicts(name, tables[name])
            pending = np.zeros(len(conflict), bool)
            if name == "responses":
                pending = self.run.writer.pending(tables[name])
                conflict |= pending
            owners = self.batch.owners.get(name, [])
            for i in conflict.nonzero()[0].tolist():
                if name != "tokens" or owners[i] not in gone:
                    why = OTHER_PENDING if pending[i] else OTHER_CONTENT
                    self._refuse(self.batch.places[name][i], f"{name}: {why}")
                if name == "responses":
                    gone.add(owners[i])
            if name == "tokens":
                conflict |= np.array([owner in gone for owner in owners], bool)
            tables[name] = kept(tables[name], ~conflict)
        if "quarantine" in self.batch.rows:
            tables["quarantine"] = to_table("quarantine", self.batch.rows["quarantine"])


def ingest(
    catalog: Catalog,
    paths: Iterable[str],
    context: shapes.Context,
    *,
    strict: bool = False,
    progress: Callable[[int], None] = lambda n_bytes: None,
    seen: set[str] | None = None,
) -> Counter[str]:
    """Ingest files, folders, globs and saved data sets. What is there already is not added again.

    A row that cannot be taken goes to `quarantine` with file, line and reason; with `strict` it
    raises DataError instead. `progress` is told how many more bytes were read. Sentences and
    their sums are made on the way. Ids of the responses read are added to `seen`. Returns counts
    by name, among them `set otherwise: …` for each setting in which an earlier ingest of the same
    files differs. Raises UsageError where no file has a known shape.
    """
    inputs = read.expand(paths)
    configuration = {
        **asdict(context),
        "file": [str(p) for p in inputs],
        "segmenter": SEGMENTER,
    }
    with _few_collections(), Run(catalog.store, "ingest", configuration) as run:
        stage = Ingest(catalog, context, strict, run, seen)
        try:
            for path in inputs:
                stage.file(path, progress)
        except (KeyboardInterrupt, DasdError):
            if not strict:
                stage.commit()  # what was read before stays
            raise
        if stage.unknown and not stage.known:
            raise stage.unknown
        stage.commit()
    run.counts += segment_missing(catalog)
    there = run.counts["same questions"] or run.counts["same responses"] or run.counts["refused"]
    differs = otherwise(catalog, context, run.run_id, configuration["file"]) if there else []
    for difference in differs:
        run.counts[f"set otherwise: {difference}"] += 1
    return run.counts


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector look for cycles at a million live objects, not at 700.

    A row may be 100K objects, and there is no cycle in any: looking took longer than decoding.
    """
    young, *older = gc.get_threshold()
    gc.set_threshold(max(young, LIVE_OBJECTS) if young else 0, *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)


def _derived(tables: Mapping[str, pa.Table], run: Run, table_of: TableOf) -> dict[str, pa.Table]:
    """Sentences and sums of the batch's responses that are new or have new tokens."""
    if "responses" not in tables or not len(tables["responses"]):
        return {}
    responses = tables["responses"].select(["response_id", "thinking", "answer"])
    fresh = set(_new(run, "responses", tables["responses"]))
    tokens = tables.get("tokens")
    if tokens is not None:
        tokens = kept(tokens, tokens["has_logprobs"].to_numpy())
        fresh |= set(_new(run, "tokens", tokens))
    responses = _distinct(_of(responses, sorted(fresh)))
    if not len(responses):
        return {}
    sentences = sentence_rows(_dictionaries(responses), run.run_id)
    derived = {"sentences": sentences}
    if tokens is None or not len(tokens):
        return derived
    texts = responses.append_column("byte_end", sentences["byte_end"]).append_column(
        "segmentation_id", sentences["segmentation_id"]
    )
    mine = _distinct(_of(tokens, responses["response_id"]), "scorer_id")
    # What fails here is tried again, and told, by `segment_missing` at the end of the run.
    derived["sentence_scores"] = score_rows(texts, mine, table_of, run.run_id).rows
    return derived


def _dictionaries(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows one after the other: as Python's they are as large as the table."""
    for batch in rows.to_batches(64):
        yield from batch.to_pylist()


def _new(run: Run, name: str, rows: pa.Table) -> Sequence[Any]:
    found = run.writer.known(name, rows)
    ids: Sequence[Any] = rows["response_id"].filter(pa.array(~found)).to_pylist()
    return ids


def _of(rows: pa.Table, responses: Iterable[Any]) -> pa.Table:
    """The rows of some responses."""
    found = pc.is_in(rows["response_id"], pa.array(responses, pa.string()))
    return kept(rows, found.to_numpy())


def _distinct(rows: pa.Table, *more: str) -> pa.Table:
    """The first row of each response, and of each of its values in further columns."""
    first = first_of_key(rows.select(["response_id", *more]))
    return kept(rows, first == np.arange(len(rows)))
