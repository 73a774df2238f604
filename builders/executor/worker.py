"""What runs on the cluster: workers, and the feed from which they take items.

Plain classes, which `cluster` makes into actors.
"""

from __future__ import annotations

import math
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from builders.executor import Batch, Item, Items, Work
from builders.run import Notes
from dasd_data import __version__, writer
from dasd_data.catalog import Catalog
from dasd_data.config import Config
from dasd_data.errors import DataError, UsageError

ASK_SECONDS = 2.0  # between two questions whether to stop


class Feed:
    """The items of one run, handed out in shards: who has which, and what is left.

    A worker asks when its engine has room, so no engine runs empty between two shards. It gets no
    more than its share of all that is left, so all end at about the same time.
    """

    def __init__(self, items: Items, shard: int, workers: int) -> None:
        self.items, self.shard, self.workers = items, shard, workers
        self.next = 0
        self.again: deque[Item] = deque()
        self.held: dict[str, set[Item]] = {}
        self.stopped = False

    def take(self, worker: str) -> list[Item]:
        """More items for a worker; none: it is to end what it has."""
        held = self.held.setdefault(worker, set())
        share = math.ceil((self.queued() + sum(map(len, self.held.values()))) / self.workers)
        most = 0 if self.stopped else min(self.shard, share - len(held))
        taken: list[Item] = []
        while self.again and len(taken) < most:
            taken.append(self.again.popleft())
        fresh = self.items[self.next : self.next + max(0, most - len(taken))]
        self.next += len(fresh)
        taken += fresh
        held.update(taken)
        return taken

    def queued(self) -> int:
        """How many items nobody has taken."""
        return 0 if self.stopped else len(self.items) - self.next + len(self.again)

    def done(self, worker: str, items: list[Item]) -> None:
        """These are committed."""
        self.held[worker].difference_update(items)

    def ended(self, worker: str) -> int:
        """The worker gave all it had; returns how many items nobody has taken."""
        self.held.pop(worker, None)
        return self.queued()

    def died(self, worker: str) -> int:
        """The worker is gone; what it held is for others. Returns how many there are to take."""
        self.again.extend(sorted(self.held.pop(worker, set())))
        return self.queued()

    def stop(self) -> None:
        """Have the workers end, with what they have done."""
        self.stopped = True

    def is_stopped(self) -> bool:
        """Whether the workers are to end."""
        return self.stopped


@dataclass
class Message:
    """A batch, in files that are in no commit yet, with its counts."""

    batch: Batch
    counts: Counter[str] = field(default_factory=Counter)


class Worker:
    """A process of the cluster, with a catalog and with `what` it works with: an engine, loaded
    once.
    """

    def load(
        self, config: Config, make: Callable[[Catalog], Any] | None, version: str = __version__
    ) -> Any:
        """Open the catalog and load the engine; returns what `make` made, without its engine.

        Raises UsageError where this node has another version than the process that asks.
        """
        self.node = platform.node()
        if version != __version__:
            raise UsageError(
                f"node {self.node} has dasd-data {__version__}, and this process {version}: "
                "install one version on all"
            )
        self.catalog = Catalog(config)
        self.what = make(self.catalog) if make else None
        return self.what.portable() if self.what is not None else None

    def call(self, function: Callable[[Any, Catalog], Any]) -> Any:
        """What a function gives here."""
        return function(self.what, self.catalog.refresh())

    def run(
        self, name: str, work: Work, snapshot: int, run_id: str, stage: str, feed: Any
    ) -> Iterator[Message]:
        """Do the work of what the feed gives; `name` is this worker's there.

        Raises DataError where this node does not see the catalog as it is.
        """
        seen = self.catalog.refresh().snapshot.snapshot_id
        if seen < snapshot:
            raise DataError(
                f"node {self.node} sees snapshot {seen} of {self.catalog.path}, and {snapshot} is "
                "recorded: put the catalog on a file system that all nodes share"
            )
        notes = Notes(run_id, stage)
        batches = work(self.what, self.catalog, self._items(name, feed), notes)
        told, stopping, asked = Counter[str](), False, time.monotonic()
        while True:
            try:
                batch = batches.throw(KeyboardInterrupt()) if stopping else next(batches)
            except (StopIteration, KeyboardInterrupt):
                return
            if batch is not None:
                counts = notes.counts.copy()
                yield Message(self._written(batch), Counter(_added(counts, told)))
                told = counts
            if not stopping and time.monotonic() - asked >= ASK_SECONDS:
                stopping, asked = _ask(feed.is_stopped.remote()), time.monotonic()

    def _items(self, name: str, feed: Any) -> Iterator[Item]:
        while items := _ask(feed.take.remote(name)):
            yield from items

    def _written(self, batch: Batch) -> Batch:
        """The batch with its rows in files: one of each table."""
        store = self.catalog.store
        files = {
            name: writer.write(store, name, rows)
            for name, rows in batch.tables.items()
            if isinstance(rows, pa.Table) and len(rows)
        }
        return Batch(files, list(batch.items))


def _added(now: Counter[str], before: Counter[str]) -> dict[str, int]:
    return {name: n - before[name] for name, n in now.items() if n != before[name]}


def _ask(answer: Any) -> Any:
    import ray

    return ray.get(answer)
