"""Where a stage's work is done: in this process, or by workers of a Ray cluster.

    plan: what is missing  ->  executor: the stage's work over it  ->  commit, in this process

The work is a function that turns items (the keys that are missing) into batches of rows. Only the
process that planned it commits, by keys: a batch that is lost was never there, and one that is
made twice is committed once. `local` is here, `ray` in `executor.cluster`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from builders.run import Notes, Run
from dasd_data.catalog import Catalog
from dasd_data.parameters import quote
from dasd_data.writer import Written

Item = tuple[Any, ...]
Result = TypeVar("Result")
Found = TypeVar("Found")


@dataclass
class Batch:
    """Rows that are committed together, and the items that they are all there is of."""

    tables: dict[str, pa.Table | Written]
    items: Sequence[Item] = field(default_factory=list)


Progress = Callable[[Counter[str]], None]  # told a run's counts
Batches = Generator[Batch | None, None, None]
# (what to do it with, the catalog, items as they are asked for, run id and counts) -> batches, and
# None as a sign of life. Interrupted, it gives what is done as a last batch, and raises.
Work = Callable[[Any, Catalog, Iterable[Item], Notes], Batches]


class Items(Sequence[Item]):
    """Rows of an Arrow table as tuples, made as they are looked at: millions in little memory."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            start, stop, _ = at.indices(len(self))
            part = self.table.slice(start, max(0, stop - start))
            return list(zip(*(column.to_pylist() for column in part.columns), strict=True))
        return self[at : at + 1][0]

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), 10_000):
            yield from self[start : start + 10_000]


class Executor(Protocol):
    """Does the work of stages, with so many `workers` at once."""

    workers: int

    def run(self, work: Work, catalog: Catalog, items: Items, notes: Notes, shard: int) -> Batches:
        """The batches of the items' work; counts are added to those of the notes.

        `shard` is the most items that a worker takes at a time.
        """
        ...

    def call(self, function: Callable[[Any, Catalog], Found], catalog: Catalog) -> Found:
        """What a function gives where the work is done."""
        ...


class Local:
    """Work in this process, with `what` it takes: a run with its engine, or nothing."""

    workers = 1

    def __init__(self, what: Any = None) -> None:
        self.what = what

    def run(self, work: Work, catalog: Catalog, items: Items, notes: Notes, shard: int) -> Batches:
        """The batches of the items' work."""
        return work(self.what, catalog, iter(items), notes)

    def call(self, function: Callable[[Any, Catalog], Found], catalog: Catalog) -> Found:
        """What the function gives."""
        return function(self.what, catalog)


def commit_all(batches: Batches, commit: Callable[[Batch], None], tell: Callable[[], None]) -> None:
    """Commit batches as they come, and `tell` of each sign of life.

    Interrupted, commits what is done, and raises.
    """
    under_way = None
    try:
        for batch in batches:
            under_way = batch
            if batch is not None:
                commit(batch)
            tell()
            under_way = None
    except KeyboardInterrupt:
        if under_way is not None:  # keys say what of it is there
            commit(under_way)
        for batch in at_hand(batches):
            if batch is not None:
                commit(batch)
        raise


def commit(run: Run, batch: Batch, first: str) -> int:
    """Commit a batch: table `first`, then the others.

    What another process put into `first` before, with other content, stays; rows of these
    responses are left out of the others. Returns how many they are.
    """
    tables, others = dict(batch.tables), pa.array([], pa.string())
    if first in tables:
        done = run.append({first: tables.pop(first)})
        if first in done and (theirs := done[first].conflicts) is not None:
            others = theirs["response_id"].combine_chunks()
    tables = {name: run.writer.without(name, rows, others) for name, rows in tables.items()}
    refused = run.append(tables).get("responses") if tables else None
    conflicts = refused.conflicts if refused else None
    return len(others) + (len(conflicts) if conflicts is not None else 0)


def gathered(
    results: Iterator[Result | None],
    take: Callable[[Result], None],
    due: Callable[[], bool],
    batch: Callable[[], Batch | None],
) -> Batches:
    """Batches of an engine's results: whenever one is due, and at the end, however it comes.

    One that is due is given even if it is empty: it shows that the work goes on.
    """
    try:
        for result in results:
            if result is not None:
                take(result)
            yield (batch() or Batch({})) if due() else None
    except GeneratorExit:
        raise
    except KeyboardInterrupt:
        for result in at_hand(results):
            if result is not None:
                take(result)
        yield batch()
        raise
    except Exception:
        yield batch()
        raise
    yield batch()


def at_hand(results: Iterator[Result]) -> Iterator[Result]:
    """What a generator still gives once it is interrupted: what is done, and no more."""
    if not isinstance(results, Generator):
        return
    try:
        yield results.throw(KeyboardInterrupt())
        yield from results
    except (KeyboardInterrupt, StopIteration):
        return


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    incoming = iter(items)
    while some := list(islice(incoming, size)):
        yield some


def quoted(items: Iterable[Item]) -> str:
    """The ids that items begin with, as SQL."""
    return ", ".join(quote(item[0]) for item in items)
