"""The ingest stage: files in, rows of the catalog out, refused rows into quarantine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builders import read, shapes
from builders.ingest.batch import Batch
from builders.run import Run, reason
from builders.segment import SEGMENTER
from builders.segment.derive import TableOf, score_rows, sentence_rows
from builders.segment.stage import failures, segment_missing, token_tables
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError, RowError
from dasd_data.store import Appended

BATCH_BYTES, BATCH_SECONDS = 64 << 20, 60.0  # work at risk when the process dies
OTHER_CONTENT = "a row with the same key and other content is there already"


class Ingest:
    """One ingest run: reads inputs, fills batches, commits them by size and by time."""

    def __init__(self, catalog: Catalog, context: shapes.Context, strict: bool, run: Run) -> None:
        self.context, self.strict, self.run = context, strict, run
        self.table_of = token_tables(catalog)
        self._start()

    def file(self, path: Path, progress: Callable[[int], None]) -> None:
        """Ingest one input."""
        context = replace(self.context, file=str(path), source="")
        shape: shapes.Shape | None = None
        for row in read.read(path, on_bytes=progress):
            self.run.counts["rows"] += 1
            try:
                if row.value is None:
                    raise RowError(row.error or "unreadable")
                shape = shape or shapes.detect(row.value, context)
                for record in shape.parse(row.value, context, row.line):
                    self.batch.add(record, row.file, row.line)
            except RowError as error:
                if self.strict:
                    raise DataError(f"{row.file}:{row.line}: {error}") from None
                self.run.counts["refused"] += 1
                self.batch.refuse(row.file, row.line, reason(error), row.excerpt())
            if self.batch.size >= BATCH_BYTES or time.monotonic() >= self.deadline:
                self.commit()

    def commit(self) -> None:
        """Commit the batch, with the sentences and sums of its responses."""
        tables = self.batch.tables()
        self._drop_conflicts(tables)
        for name, table in _derived(tables, self.run, self.table_of).items():
            tables[name] = table
        done = self.run.append(tables)
        self._refuse_conflicts(done)
        for name in ("questions", "responses", "tokens"):
            if name in done:
                self.run.counts[f"same {name}"] += done[name].same
                self.run.counts[f"repeated {name}"] += done[name].repeated
        self._start()

    def _refuse_conflicts(self, done: Mapping[str, Appended]) -> None:
        """Quarantine rows that the store refused: their key is there with other content."""
        self.batch.rows.clear()
        for name, result in done.items():
            if result.conflicts is None or name in ("sentences", "quarantine"):
                continue  # sentences follow from responses, which are told themselves
            key = "response_id" if "response_id" in result.conflicts.column_names else "question_id"
            if key not in result.conflicts.column_names:
                continue
            for row in result.conflicts.to_pylist():
                file, line = self.batch.origin.get(row[key], ("", 0))
                self.run.counts["refused"] += 1
                self.batch.refuse(file, line, f"{name}: {OTHER_CONTENT} ({row[key]})", None)
        if self.batch.rows:
            self.run.append(self.batch.tables())

    def _start(self) -> None:
        self.batch = Batch(self.run.run_id, self.context.tokenizer)
        self.deadline = time.monotonic() + BATCH_SECONDS

    def _drop_conflicts(self, tables: dict[str, pa.Table]) -> None:
        """Take rows whose key is there with other content, and their tokens, into quarantine."""
        for name in ("responses", "tokens"):
            if name not in tables:
                continue
            rows = tables[name]
            conflict = self.run.writer.conflicts(name, rows)
            if not conflict.any():
                continue
            bad = set(rows["response_id"].filter(pa.array(conflict)).to_pylist())
            if self.strict:
                file, line = self.batch.origin[min(bad)]
                raise DataError(f"{file}:{line}: {name}: {OTHER_CONTENT}")
            self.run.counts["refused"] += len(bad)
            for key in sorted(bad):
                file, line = self.batch.origin[key]
                self.batch.refuse(file, line, f"{name}: {OTHER_CONTENT} ({key})", None)
            keep = pa.array(~conflict)
            tables[name] = rows.filter(keep)
            if name == "responses" and "tokens" in tables:
                mine = pc.is_in(tables["tokens"]["response_id"], pa.array(sorted(bad)))
                tables["tokens"] = tables["tokens"].filter(pc.invert(mine))
            tables["quarantine"] = self.batch.tables()["quarantine"]


def ingest(
    catalog: Catalog,
    paths: Iterable[str],
    context: shapes.Context,
    *,
    strict: bool = False,
    progress: Callable[[int], None] = lambda n_bytes: None,
) -> Counter[str]:
    """Ingest files, folders, globs and saved data sets. What is there already is not added again.

    A row that cannot be taken goes to `quarantine` with file, line and reason; with `strict` it
    raises DataError instead. `progress` is told how many more bytes were read. Sentences and
    their sums are made on the way. Returns counts by name.
    """
    inputs = read.expand(paths)
    configuration = {
        **asdict(context),
        "file": [str(p) for p in inputs],
        "segmenter": SEGMENTER,
    }
    with Run(catalog.store, "ingest", configuration) as run:
        stage = Ingest(catalog, context, strict, run)
        try:
            for path in inputs:
                stage.file(path, progress)
        except KeyboardInterrupt:
            stage.commit()
            raise
        stage.commit()
    run.counts += segment_missing(catalog)
    return run.counts


def _derived(tables: Mapping[str, pa.Table], run: Run, table_of: TableOf) -> dict[str, pa.Table]:
    """Sentences and sums of the batch's responses that are new or have new tokens."""
    if "responses" not in tables or not len(tables["responses"]):
        return {}
    responses = tables["responses"].select(["response_id", "thinking", "answer"])
    fresh = set(_new(run, "responses", tables["responses"]))
    tokens = tables.get("tokens")
    if tokens is not None:
        tokens = tokens.filter(tokens["has_logprobs"])
        fresh |= set(_new(run, "tokens", tokens))
    wanted = pc.is_in(responses["response_id"], pa.array(sorted(fresh), pa.string()))
    responses = _distinct(responses.filter(wanted))
    if not len(responses):
        return {}
    sentences = sentence_rows(responses.to_pylist(), run.run_id)
    derived = {"sentences": sentences}
    if tokens is None or not len(tokens):
        return derived
    texts = responses.append_column("byte_end", sentences["byte_end"]).append_column(
        "segmentation_id", sentences["segmentation_id"]
    )
    mine = _distinct(tokens.filter(pc.is_in(tokens["response_id"], responses["response_id"])), 2)
    sections = dict(
        zip(
            tables["scorers"]["scorer_id"].to_pylist(),
            tables["scorers"]["sections"].to_pylist(),
            strict=True,
        )
    )
    scored = score_rows(texts, mine, sections, table_of, run.run_id)
    derived["sentence_scores"] = scored.rows
    if scored.failed:
        derived["attempts"] = failures(scored.failed, run)
    return derived


def _new(run: Run, name: str, rows: pa.Table) -> Sequence[Any]:
    found = run.writer.known(name, rows)
    ids: Sequence[Any] = rows["response_id"].filter(pa.array(~found)).to_pylist()
    return ids


def _distinct(rows: pa.Table, key_columns: int = 1) -> pa.Table:
    """The first row of each key; the key is the first columns."""
    seen: set[Any] = set()
    keep = []
    keys = zip(*(rows.column(i).to_pylist() for i in range(key_columns)), strict=True)
    for i, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            keep.append(i)
    return rows.take(keep) if len(keep) < len(rows) else rows
