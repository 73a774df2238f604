"""What an engine has under way for a stage, and what it ended since the last commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from builders.executor import Batch, Item
from builders.run import Notes

COMMIT_BYTES, COMMIT_SECONDS = 64 << 20, 60.0  # work at risk when the process dies

Asked = TypeVar("Asked")
Rows = TypeVar("Rows")


@dataclass
class Pending(Generic[Asked, Rows]):
    """Requests under way by key, and finished rows that wait for their commit.

    `done` has all rows of an item as one entry: an interruption cannot part them.
    """

    under_way: dict[str, Asked] = field(default_factory=dict)
    done: list[Rows] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)  # of `done` and `failed`
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether it is time for a commit, even of nothing."""
        return self.size >= COMMIT_BYTES or time.monotonic() - self.since >= COMMIT_SECONDS

    def finish(self, item: Item, rows: Rows, size: int, notes: Notes) -> None:
        """Keep what an item gave, of about `size` bytes."""
        self.done.append(rows)
        self.items.append(item)
        self.size += size
        notes.counts["done"] += 1

    def fail(self, item: Item, attempt: dict[str, Any], notes: Notes) -> None:
        """Keep why an item came to nothing, a row of `attempts`; counted by its reason."""
        self.failed.append(attempt)
        self.items.append(item)
        notes.counts["failed"] += 1
        notes.counts[f"failed: {attempt['reason'].partition(':')[0]}"] += 1

    def batch(self, tables: Callable[[], dict[str, Any]]) -> Batch | None:
        """What waits, as these tables, and begin anew; None: nothing."""
        batch = Batch(tables(), self.items) if self.items else None
        self.done, self.failed, self.items = [], [], []
        self.size, self.since = 0, time.monotonic()
        return batch
