"""The store: one Delta Lake table per relation, keyed appends, and snapshots across tables.

Two Delta appends never conflict by themselves, so reading keys and committing is one step: a
commit is valid only against the version its keys were read at (no retries by delta-rs); on a
conflict the new files' keys are read and the batch is cut down to what is still missing.

A batch commits its tables in the order of `schema.TABLES`: new responses are announced, then come
their children, and `responses` last; then one row of `snapshots` records the state of every table.
Readers open recorded snapshots only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from dasd_data import files, log, snapshots
from dasd_data.errors import ConflictError, DamagedFileError, UsageError
from dasd_data.keys import KeyIndex, content_hashes, first_of_key
from dasd_data.log import File, State
from dasd_data.schema import SNAPSHOTS, TABLES, Table
from dasd_data.snapshots import Snapshot
from dasd_data.tables import CHECK, Tables, listed

_ATTEMPTS = 100


@dataclass
class Appended:
    """What became of the rows of one table in one append."""

    new: int = 0
    same: int = 0
    repeated: int = 0  # the same key and content earlier in the batch
    conflicts: pa.Table | None = None  # rows whose key is there with other content


class Store(Tables):
    """The tables of a catalog together: their snapshots, and their newest state."""

    @classmethod
    def create(cls, path: Path) -> Store:
        """Create the tables under `path`; what exists already is left as it is."""
        store = cls(path)
        (path / "tables").mkdir(parents=True, exist_ok=True)
        for spec in (*TABLES.values(), SNAPSHOTS):
            store.create_table(spec)
        if store._newest()[2].snapshot_id == 0:
            store.record("init")
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open an existing store. Raises UsageError where there is none."""
        store = cls(path)
        if not (store.folder("snapshots") / "_delta_log").is_dir():
            if path.is_file():
                raise UsageError(f"{path} is a file: a catalog is a folder")
            if any(path.glob("*.sql")) or any(path.glob("*/*.sql")):
                raise UsageError(f"{path} holds SQL files, not a catalog: pass --catalog PATH")
            raise UsageError(f"there is no catalog at {path}: run `dasd-data init {path}`")
        return store

    def newest(self, table: str) -> tuple[DeltaTable, State, list[File]]:
        """A table's newest version: handle, state and files, checked against the last snapshot."""
        base = self.snapshot().tables.get(table, State())
        handle = self.delta(table)
        state = log.advance(base, self.folder(table), handle.version())
        found = listed(handle)
        self.check(table, state, found, handle.version())
        return handle, state, found

    @property
    def _head(self) -> Path:
        return self.path / "tables" / "head.json"

    def snapshots(self) -> list[Snapshot]:
        """All recorded snapshots, oldest first."""
        names = [name for _, _, name in _bounds(self._newest()[0])]
        rows = [row for name in names for row in self._rows(name)]
        return sorted(map(snapshots.parse, rows), key=lambda s: s.snapshot_id)

    def snapshot(self, at: int | datetime | None = None) -> Snapshot:
        """A recorded snapshot, by default the newest: by number, counted back (-1), or by time.

        By time it is the newest at or before it. Raises UsageError for one that is not there or
        is expired, DamagedFileError where the record is not what was written.
        """
        handle, _, newest = self._newest()
        if newest.snapshot_id == 0:
            raise DamagedFileError(f"{self.path} has no snapshot: run `dasd-data init {self.path}`")
        if at is None:
            return newest
        if isinstance(at, datetime):
            found = self._at_time(at)
        else:
            number = at if at > 0 else newest.snapshot_id + at
            if not 1 <= number <= newest.snapshot_id:
                raise UsageError(
                    f"there is no snapshot {at}: they run from 1 to {newest.snapshot_id}"
                )
            found = newest if number == newest.snapshot_id else self._find(handle, number)
        if found.snapshot_id < newest.oldest and found.snapshot_id not in self.built(newest):
            raise UsageError(
                f"snapshot {found.snapshot_id} was expired by gc on {newest.expired_at:%Y-%m-%d}: "
                f"they run from {newest.oldest} to {newest.snapshot_id}"
            )
        return found

    def history(self, snapshot: Snapshot) -> State:
        """The state of `snapshots` with the snapshot's own row as its last."""
        before = snapshot.tables[SNAPSHOTS.name]
        return log.advance(before, self.folder(SNAPSHOTS.name), before.version + 1)

    def kept(
        self, recorded: Sequence[Snapshot] | None = None, oldest: int | None = None
    ) -> list[Snapshot]:
        """Snapshots that can be opened: the newer ones, and those that builds were made from.

        They start at `oldest`, by default at the oldest that was not expired.
        """
        newest = self.snapshot()
        oldest = oldest or newest.oldest
        built = self.built(newest) if oldest > 1 else set()
        all_of_them = recorded if recorded is not None else self.snapshots()
        return [s for s in all_of_them if s.snapshot_id >= oldest or s.snapshot_id in built]

    def built(self, snapshot: Snapshot) -> set[int]:
        """Numbers of the snapshots that recorded builds were made from."""
        paths = self.files("builds", snapshot.tables["builds"])
        tables = [pq.read_table(p, columns=["snapshot_id"]) for p in paths]
        return {n for t in tables for n in t["snapshot_id"].to_pylist()}

    def record(self, what: str, expire_before: int | None = None) -> Snapshot:
        """Record the tables' present states as a snapshot; `expire_before` expires older ones.

        `responses` is read first: whatever it acknowledges was committed before, so the versions
        of its children, read after it, contain theirs.
        """
        for attempt in range(_ATTEMPTS):
            handle, own, base = self._newest()
            tables = {
                name: log.advance(base.tables.get(name, State()), self.folder(name))
                for name in reversed(TABLES)
            }
            now = datetime.now(UTC)
            snapshot = Snapshot(
                base.snapshot_id + 1,
                {**tables, SNAPSHOTS.name: own},
                snapshots.who(),
                what,
                now,
                max(base.oldest, expire_before or 1),
                now if expire_before else base.expired_at,
            )
            rows = pa.Table.from_pylist([snapshot.row()], SNAPSHOTS.schema)
            if self.commit(handle, SNAPSHOTS, rows, what):
                snapshots.write_head(self._head, snapshot.snapshot_id)
                return snapshot
            _pause(attempt)
        raise ConflictError(f"{_ATTEMPTS} other snapshots came first: try again")

    def _newest(self) -> tuple[DeltaTable, State, Snapshot]:
        """Handle and state of `snapshots`, and the newest of them: number 0 where there is none."""
        head = snapshots.read_head(self._head)  # before the log, which may grow meanwhile
        handle = self.delta(SNAPSHOTS.name)
        bounds = _bounds(handle)
        newest = Snapshot(0)
        if number := max((high for _, high, _ in bounds), default=0):
            newest = self._find(handle, number)
        if newest.snapshot_id < head:
            raise DamagedFileError(
                f"snapshot {head} was recorded, and the log of {self.path} ends at "
                f"{newest.snapshot_id}: {CHECK}"
            )
        base = newest.tables.get(SNAPSHOTS.name, State())
        own = log.advance(base, self.folder(SNAPSHOTS.name), handle.version())
        self.check(SNAPSHOTS.name, own, listed(handle), handle.version())
        return handle, own, newest

    def _find(self, handle: DeltaTable, number: int) -> Snapshot:
        for low, high, name in _bounds(handle):
            if low <= number <= high:
                for row in self._rows(name):
                    if row["snapshot_id"] == number:
                        return snapshots.parse(row)
        raise DamagedFileError(f"the record of snapshot {number} is gone: {CHECK}")

    def _at_time(self, time: datetime) -> Snapshot:
        found = [s for s in self.snapshots() if s.at and s.at <= time]
        if not found:
            raise UsageError(f"there is no snapshot at or before {time}: `dasd-data snapshots`")
        return found[-1]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        data = files.read_checked(self.folder(SNAPSHOTS.name) / name)
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
        return rows


def _bounds(handle: DeltaTable) -> list[tuple[int, int, str]]:
    """Lowest and highest number, and name, of every file of `snapshots`."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    names = ("min.snapshot_id", "max.snapshot_id", "path")
    columns = [actions[c].to_pylist() if c in actions.column_names else [] for c in names]
    return [(low, high, name) for low, high, name in zip(*columns, strict=True) if low and high]


class Writer:
    """Keyed appends to a store, from one process. Keys are read once and then kept up to date."""

    def __init__(self, store: Store, what: str) -> None:
        self.store, self.what = store, what
        self._tables: dict[str, _KeyedTable] = {}

    def append(self, batches: Mapping[str, pa.Table]) -> dict[str, Appended]:
        """Append rows to tables, in commit order, then record a snapshot.

        `batches` maps table names to rows without `content_hash`. Rows whose key is there with the
        same content are counted as `same`, those that repeat a row of the batch as `repeated`;
        rows whose key is there, or came before, with other content are returned as `conflicts`.

        New responses are announced before their children are committed. One that was announced
        with other content, by a process that died or still runs, is a conflict, and its children
        are left out: those that are there may be of the other text.
        """
        batches = dict(batches)
        refused = self._announce(batches["responses"]) if "responses" in batches else None
        if refused is not None:
            for name, rows in batches.items():
                if "response_id" in rows.column_names:
                    of_refused = pc.is_in(rows["response_id"], refused["response_id"])
                    batches[name] = rows.filter(pc.invert(of_refused))
        done = {
            name: self.table(name).append(batches[name])
            for name in TABLES
            if name in batches and len(batches[name])
        }
        if refused is not None:
            result = done.setdefault("responses", Appended())
            others = (
                [] if result.conflicts is None else [result.conflicts.select(refused.schema.names)]
            )
            result.conflicts = pa.concat_tables([refused, *others])
        if any(result.new for result in done.values()) or self._unrecorded(done):
            self.store.record(self.what)
        return done

    def _unrecorded(self, names: Iterable[str]) -> bool:
        """Whether a table has commits that no snapshot names: their writer died, or is about to."""
        recorded = self.store.snapshot().tables
        return any(self.table(name).version > recorded.get(name, State()).version for name in names)

    def pending(self, responses: pa.Table) -> np.ndarray:
        """Responses that are not there and were announced with other content, [rows] bool."""
        announced = _announcements(responses)
        found, content = self.table("announced").find(announced)
        hashes = content_hashes(announced, TABLES["announced"].content)
        return found & (content != hashes) & ~self.known("responses", responses)

    def _announce(self, responses: pa.Table) -> pa.Table | None:
        """Announce the responses that are new; returns those announced with other content."""
        fresh = responses.filter(pa.array(~self.known("responses", responses)))
        if not len(fresh):
            return None
        first = first_of_key(fresh.select(["response_id"])) == np.arange(len(fresh))
        conflicts = (
            self.table("announced").append(_announcements(fresh.filter(pa.array(first)))).conflicts
        )
        if conflicts is None:
            return None
        return responses.filter(pc.is_in(responses["response_id"], conflicts["response_id"]))

    def known(self, name: str, rows: pa.Table) -> np.ndarray:
        """Which rows' keys are in a table, [rows] bool, as of the last commit seen."""
        return self.table(name).find(rows)[0]

    def conflicts(self, name: str, rows: pa.Table) -> np.ndarray:
        """Rows whose key is in the table, or earlier in `rows`, with other content, [rows] bool."""
        table = self.table(name)
        hashes = content_hashes(rows, table.spec.content)
        found, content = table.find(rows)
        first = first_of_key(rows.select(table.spec.key))
        return np.where(found, content != hashes, hashes[first] != hashes)

    def table(self, name: str) -> _KeyedTable:
        """The writer's keyed view of one table."""
        if name not in self._tables:
            self._tables[name] = _KeyedTable(self.store, TABLES[name], self.what)
        return self._tables[name]


class _KeyedTable:
    """One table of a writer: its handle, and the keys up to the handle's version."""

    def __init__(self, store: Store, spec: Table, what: str) -> None:
        self.store, self.spec, self.what = store, spec, what
        self._version = -1

    @cached_property
    def _opened(self) -> tuple[DeltaTable, list[File]]:
        handle, _, found = self.store.newest(self.spec.name)
        self._version = handle.version()
        return handle, found

    @property
    def _handle(self) -> DeltaTable:
        return self._opened[0]

    @cached_property
    def _index(self) -> KeyIndex:
        index = KeyIndex()
        self._read_keys(index, self._opened[1])
        return index

    def _read_keys(self, index: KeyIndex, found: Sequence[File]) -> None:
        if not found:
            return
        folder, columns = self.store.folder(self.spec.name), [*self.spec.key, "content_hash"]
        tables = [
            pq.read_table(folder / f.name, columns=columns, page_checksum_verification=True)
            for f in found
        ]
        rows = pa.concat_tables(tables)
        index.add(rows.select(self.spec.key), rows["content_hash"].to_numpy())

    @property
    def version(self) -> int:
        """The version up to which the keys are read."""
        return int(self._handle.version())

    def refresh(self) -> None:
        """Take in what other writers committed."""
        handle, index = self._handle, self._index
        handle.update_incremental()
        news = log.entries(self.store.folder(self.spec.name), self._version, handle.version())
        for entry in news:
            if entry.dropped:  # keys may be gone: start again
                for name in ("_opened", "_index"):
                    self.__dict__.pop(name, None)
                return
            self._read_keys(index, [file for file in entry.adds if file.fresh])
            self._version = entry.version

    def find(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Which rows' keys are in the table, [rows] bool, and the content hashes there."""
        return self._index.find(rows.select(self.spec.key))

    def append(self, rows: pa.Table) -> Appended:
        """Append the rows whose keys are missing; see Writer.append."""
        hashes = content_hashes(rows, self.spec.content)
        rows = rows.append_column("content_hash", pa.array(hashes)).select(self.spec.schema.names)
        rows = rows.cast(self.spec.schema)
        result = Appended()
        for attempt in range(_ATTEMPTS):
            fresh = self._missing(rows, result)
            if len(fresh) == 0:
                return result
            if self.store.commit(self._handle, self.spec, fresh, self.what):
                self.refresh()
                result.new = len(fresh)
                return result
            _pause(attempt)
            self.refresh()
        raise ConflictError(
            f"{_ATTEMPTS} other commits to {self.spec.name} came first: use fewer writers"
        )

    def _missing(self, rows: pa.Table, result: Appended) -> pa.Table:
        """Rows whose key is neither in the table nor earlier in `rows`; counts the others."""
        keys = rows.select(self.spec.key)
        hashes = rows["content_hash"].to_numpy()
        found, known = self._index.find(keys)
        first = first_of_key(keys)
        repeated = first != np.arange(len(rows))
        same = found & (known == hashes)
        again = ~found & repeated & (hashes[first] == hashes)
        conflict = (found | repeated) & ~same & ~again
        result.same, result.repeated = int(same.sum()), int(again.sum())
        result.conflicts = rows.filter(pa.array(conflict)) if conflict.any() else None
        return rows.filter(pa.array(~found & ~repeated))


def _announcements(responses: pa.Table) -> pa.Table:
    """Rows of `announced` for responses."""
    hashes = content_hashes(responses, TABLES["responses"].content)
    return pa.table(
        {"response_id": responses["response_id"], "response_hash": pa.array(hashes, pa.int64())}
    )


def _pause(attempt: int) -> None:
    """Back off for a random time: a millisecond at first, a tenth of a second at most."""
    time.sleep(random.uniform(0, min(0.1, 0.001 * 2**attempt)))
