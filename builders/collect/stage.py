"""The collect stage: questions of a recipe's sources, merged, chosen and written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from builders.collect import load
from builders.collect.load import Opened, Part
from builders.collect.normal import normal_key
from builders.collect.pool import FOUND, Pool
from builders.collect.recipe import Recipe, Source
from builders.collect.source import Found, LeftOut, Parse
from builders.ingest.batch import Batch, Place
from builders.read import RawRow
from builders.run import Run, reason, to_table
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError, RowError
from dasd_data.interrupts import held
from dasd_data.keys import KeyIndex, first_of_key, kept

BATCH_BYTES, BATCH_SECONDS = 16 << 20, 60.0  # of found questions in memory
EXCERPTS = 1_000  # refused rows of a part that are kept with their beginning; the others without
OTHER_CONTENT = "a row with the same key and other content is there already"


@dataclass
class Report:
    """What a run found and did. The tables are those of the `report_*.sql` queries.

    `left_out` and `refused` count rows by source and reason.
    """

    dry_run: bool
    revisions: dict[str, str] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)
    domains: list[dict[str, Any]] = field(default_factory=list)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def collect(
    catalog: Catalog,
    recipe: Recipe,
    *,
    dry_run: bool = False,
    rows: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
    opened: list[Opened] | None = None,
) -> Report:
    """Collect the questions of a recipe; what is there already is not added again.

    All sources are opened before any is read, all are read before any question is chosen, and
    what is chosen is written in slices: a run that is interrupted wrote nothing, or some slices,
    and the next one adds the others. `rows` bounds the rows read of each source. `progress` is
    told how many more bytes, or rows where bytes are not known, were read.

    Raises UsageError for sources that are not there or have another schema, RemoteError where the
    Hub cannot be reached, DataError where no row could be taken.
    """
    opened = opened or load.open_all(recipe, needs_answers(recipe))
    revisions = {o.source.name: o.revision for o in opened if o.revision}
    with ExitStack() as stack:
        run = None
        if not dry_run:
            settings = configuration(recipe) | {"revisions": revisions, "rows": rows}
            run = stack.enter_context(Run(catalog.store, "collect", settings))
        pool = stack.enter_context(Pool(catalog, recipe))
        reading = Reading(recipe, run, rows, progress)
        pool.fill(reading.batches(opened))
        if not reading.taken and reading.report.counts["rows"]:
            raise DataError(f"{recipe.file}: no row could be taken: {_reasons(reading.report)}")
        pool.choose()
        report = reading.report
        report.dry_run, report.revisions = dry_run, revisions
        for name in ("sources", "domains", "duplicates"):
            setattr(report, name, pool.report(name))
        if run:
            for questions, places in pool.slices():
                _write(run, report, questions, places)
            report.counts.update(run.counts)
    catalog.refresh()
    return report


def needs_answers(recipe: Recipe) -> bool:
    """Whether any domain's order looks at example answers."""
    return any(domain.order == "longer_answers" for domain in recipe.domains.values())


def configuration(recipe: Recipe) -> dict[str, Any]:
    """A recipe as it is kept in `runs`."""
    return {
        "recipe": recipe.file,
        "limit": recipe.limit,
        "domains": {name: asdict(domain) for name, domain in recipe.domains.items()},
        "sources": {s.name: asdict(s) | {"kind": s.kind.name} for s in recipe.sources},
    }


def _reasons(report: Report) -> str:
    reasons = (report.refused + report.left_out).most_common(3)
    return "; ".join(f"{number:,} of {source}: {why}" for (source, why), number in reasons)


class Reading:
    """One pass over all sources: rows become found questions, or are counted with a reason."""

    def __init__(
        self, recipe: Recipe, run: Run | None, rows: int | None, progress: Callable[[int], None]
    ) -> None:
        self.recipe, self.run, self.rows, self.progress = recipe, run, rows, progress
        self.report = Report(run is None)
        self.taken = 0
        self._measured = {
            name for name, domain in recipe.domains.items() if domain.order == "longer_answers"
        }
        self._texts = KeyIndex()  # questions whose text is in a batch before
        self._start()

    def batches(self, opened: list[Opened]) -> Iterator[pa.RecordBatch]:
        """What is found, in batches of the schema FOUND."""
        for each in opened:
            read = 0
            for part in each.parts:
                parse: Parse | None = None
                self._excerpts = EXCERPTS
                for row in part.rows(self.progress if part.stored_bytes is not None else None):
                    if self.rows is not None and read >= self.rows:
                        break
                    read += 1
                    if part.stored_bytes is None:
                        self.progress(1)
                    if parse is None and row.value is not None:
                        parse = load.begin(self.recipe, each.source, part, row.value)
                    self._row(each.source, part, parse, row)
                    if self._batch.size >= BATCH_BYTES or time.monotonic() >= self._deadline:
                        yield from self._flush()
        yield from self._flush()

    def _row(self, source: Source, part: Part, parse: Parse | None, row: RawRow) -> None:
        """Add what a row holds to the batch, or count why it is not taken."""
        self.report.counts["rows"] += 1
        place = (row.file, row.line)
        try:
            if row.value is None or parse is None:
                raise RowError(row.error or "unreadable")
            for found in parse(row.value, part.context, row.line):
                self._add(source, part, found, place)
        except LeftOut as why:
            self.report.counts["left out"] += 1
            self.report.left_out[source.title, str(why)] += 1
        except RowError as error:
            self.report.counts["refused"] += 1
            self.report.refused[source.title, reason(error)] += 1
            self._excerpts -= 1
            raw = row.excerpt() if self._excerpts >= 0 else None
            self._batch.refuse(place, reason(error), raw)

    def _add(self, source: Source, part: Part, found: Found, place: Place) -> None:
        """Add a question. Raises LeftOut where the recipe does not want it."""
        question = found.question
        domain = question.domain or "other"
        if source.only is not None and found.upstream not in source.only:
            raise LeftOut(f"from {found.upstream or 'no named data set'} (`only`)")
        if source.domains is not None and question.domain not in source.domains:
            raise LeftOut(f"of domain {domain} (`domains`)")
        keyed = question.row != str(place[1])
        if not keyed and part.label:
            question.row = f"{part.label}:{place[1]}"
        question.license = question.license or source.kind.license
        chars = None
        if domain in self._measured and found.answer is not None:
            chars = question.meta["answer_chars"] = len(found.answer)
        self._batch.add(question, place)
        key = normal_key(question.text, question.meta.get("system"))
        self._more.append({"normal": key, "keyed": keyed, "answer_chars": chars})
        self.taken += 1

    def _flush(self) -> Iterator[pa.RecordBatch]:
        """The batch as found questions; its refused rows go to the catalog."""
        tables = self._batch.tables()
        if self.run and "quarantine" in tables:
            with held():
                self.run.append({"quarantine": tables["quarantine"]})
        if "question_sources" in tables:
            found = tables["question_sources"]
            found = found.append_column("text", self._unseen(tables["questions"]))
            more = pa.Table.from_pylist(self._more, FOUND_MORE)
            for name in more.column_names:
                found = found.append_column(name, more[name])
            files, lines = zip(*self._batch.places["question_sources"], strict=True)
            found = found.append_column("file", pa.array(files))
            found = found.append_column("line", pa.array(lines, pa.int64()))
            yield from found.select(FOUND.names).cast(FOUND).combine_chunks().to_batches()
        self._start()

    def _unseen(self, questions: pa.Table) -> pa.Array:
        """The texts of questions, null for those that came before."""
        keys = questions.select(["question_id"])
        seen = self._texts.find(keys)[0] | (first_of_key(keys) != np.arange(len(keys)))
        fresh = kept(keys, ~seen)
        self._texts.add(fresh, np.zeros(len(fresh), np.int64))
        texts = questions["text"].combine_chunks()
        return pa.compute.if_else(pa.array(~seen), texts, pa.scalar(None, pa.string()))

    def _start(self) -> None:
        self._batch = Batch(self.run.run_id if self.run else "")
        self._more: list[dict[str, Any]] = []
        self._deadline = time.monotonic() + BATCH_SECONDS


FOUND_MORE = pa.schema([FOUND.field(name) for name in ("normal", "keyed", "answer_chars")])


def _write(
    run: Run, report: Report, questions: list[dict[str, Any]], places: list[dict[str, Any]]
) -> None:
    """Commit a slice; a place whose key is there with other content goes to quarantine."""
    tables = {"questions": to_table("questions", questions)}
    sources = run.writer.hashed("question_sources", to_table("question_sources", places))
    conflict = run.writer.conflicts("question_sources", sources)
    tables["question_sources"] = kept(sources, ~conflict)
    refused = Batch(run.run_id)
    for i in conflict.nonzero()[0].tolist():
        row = places[i]
        report.counts["refused"] += 1
        report.refused[row["source"], OTHER_CONTENT] += 1
        refused.refuse((row["file"], row["line"]), f"question_sources: {OTHER_CONTENT}")
    with held():
        run.append(tables | refused.tables())
