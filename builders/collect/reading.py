"""One pass over all sources: rows become found questions, or are counted with a reason."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builders.collect import load
from builders.collect.load import Opened, Part
from builders.collect.normal import normal_key
from builders.collect.pool import FOUND
from builders.collect.recipe import Recipe, Source
from builders.collect.source import Found, LeftOut, Parse
from builders.ingest.batch import Batch, Place
from builders.read import RawRow
from builders.run import Run, reason
from dasd_data.errors import RowError
from dasd_data.interrupts import held
from dasd_data.keys import KeyIndex, first_of_key, kept

BATCH_BYTES, BATCH_SECONDS = 16 << 20, 60.0  # of found questions in memory
EXCERPTS = 1_000  # refused rows of a part that are kept with their beginning; the others without

Reasons = Counter[tuple[str, str]]  # rows by source and reason


class Reading:
    """Reads sources. Refused rows go to the quarantine of `run`; None: they are only counted.

    `counts` has `rows`, and those `taken`, `left out` and `refused`.
    """

    # Of each question of the batch, in the order in which they were added.
    _systems: list[str | None]
    _keyed: list[bool]
    _chars: list[int | None]

    def __init__(self, recipe: Recipe, run: Run | None, progress: Callable[[int], None]) -> None:
        self.recipe, self.run, self.progress = recipe, run, progress
        self.counts: Counter[str] = Counter()
        self.left_out, self.refused = Reasons(), Reasons()
        self._measured = {
            name for name, domain in recipe.domains.items() if domain.order == "longer_answers"
        }
        self._seen = KeyIndex()  # questions of earlier batches
        self._start()

    def batches(self, opened: Iterable[Opened], rows: int | None) -> Iterator[pa.RecordBatch]:
        """What is found in the sources, or in the first `rows` rows of each: batches of FOUND."""
        for each in opened:
            for _ in islice(self._rows(each), rows):
                if self._batch.size >= BATCH_BYTES or time.monotonic() >= self._deadline:
                    yield from self._flush()
        yield from self._flush()

    def _rows(self, opened: Opened) -> Iterator[None]:
        """Take in a source, one row at a time."""
        for part in opened.parts:
            parse: Parse | None = None
            self._excerpts = EXCERPTS
            sized = part.stored_bytes is not None
            for row in part.rows(self.progress if sized else None):
                if not sized:
                    self.progress(1)
                if parse is None and row.value is not None:
                    parse = load.begin(self.recipe, opened.source, part, row.value)
                self._row(opened.source, part, parse, row)
                yield

    def _row(self, source: Source, part: Part, parse: Parse | None, row: RawRow) -> None:
        """Add what a row holds to the batch, or count why it is not taken."""
        self.counts["rows"] += 1
        place = (row.file, row.line)
        try:
            if row.value is None or parse is None:
                raise RowError(row.error or "unreadable")
            for found in parse(row.value, part.context, row.line):
                self._add(source, part, found, place)
        except LeftOut as why:
            self.counts["left out"] += 1
            self.left_out[source.title, str(why)] += 1
        except RowError as error:
            self.counts["refused"] += 1
            self.refused[source.title, reason(error)] += 1
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
        self._systems.append(question.meta.get("system"))
        self._keyed.append(keyed)
        self._chars.append(chars)
        self.counts["taken"] += 1

    def _flush(self) -> Iterator[pa.RecordBatch]:
        """The batch as found questions; its refused rows go to the catalog."""
        tables = self._batch.tables()
        if self.run and "quarantine" in tables:
            with held():
                self.run.append({"quarantine": tables["quarantine"]})
        if "question_sources" in tables:
            found = tables["question_sources"]
            files, lines = zip(*self._batch.places["question_sources"], strict=True)
            added = [int(i or 0) for i in self._batch.owners["question_sources"]]
            self._systems = [self._systems[i] for i in added]
            self._keyed = [self._keyed[i] for i in added]
            self._chars = [self._chars[i] for i in added]
            texts, normals = self._fresh(tables["questions"])
            for name, values in (
                ("text", texts), ("normal", normals), ("keyed", self._keyed),
                ("answer_chars", self._chars), ("file", files), ("line", lines),
            ):  # fmt: skip
                found = found.append_column(name, pa.array(values, FOUND.field(name).type))
            yield from found.select(FOUND.names).cast(FOUND).combine_chunks().to_batches()
        self._start()

    def _fresh(self, questions: pa.Table) -> tuple[pa.Array, list[str | None]]:
        """Texts and normalized forms of questions, null for those that came before."""
        keys = questions.select(["question_id"])
        first = first_of_key(keys) == np.arange(len(keys))
        fresh = first & ~self._seen.find(keys)[0]
        new = kept(keys, fresh)
        self._seen.add(new, np.zeros(len(new), np.int64))
        texts = questions["text"].combine_chunks()
        texts = pc.if_else(pa.array(fresh), texts, pa.scalar(None, pa.string()))
        pairs = zip(texts.to_pylist(), self._systems, strict=True)
        return texts, [t if t is None else normal_key(t, system) for t, system in pairs]

    def _start(self) -> None:
        self._batch = Batch(self.run.run_id if self.run else "")
        self._systems, self._keyed, self._chars = [], [], []
        self._deadline = time.monotonic() + BATCH_SECONDS
