"""The store: one Delta Lake table per relation, and snapshots across tables.

A snapshot records the state of every table; readers open recorded snapshots only. `writer` appends
rows and records one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from deltalake import DeltaTable

from dasd_data import files, log, snapshots
from dasd_data.errors import DamagedFileError, UsageError
from dasd_data.log import File, State
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.snapshots import Snapshot
from dasd_data.tables import CHECK, Tables, attempts, listed, own_name


class Store(Tables):
    """The tables of a catalog together: their snapshots, and their newest state."""

    _checked: State | None = None  # of `snapshots`, when this object last held it against its log

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

    def newest(
        self, table: str, since: Snapshot | None = None
    ) -> tuple[DeltaTable, State, list[File]]:
        """A table's newest version: handle, state and files, checked against a snapshot.

        By default that is the last one; an older one that is at hand will do as well.
        """
        base = (since or self.snapshot()).tables.get(table, State())
        if base.version < 0 and not self.folder(table).is_dir():
            raise UsageError(f"{self.path} is older than table {table}: {self.completes}")
        handle = self.delta(table)
        state = log.advance(base, self.folder(table), handle.version())
        found = listed(handle)
        self.check(table, state, found, handle.version())
        return handle, state, found

    @property
    def completes(self) -> str:
        """What adds the tables that came after a catalog was made."""
        return f"`dasd-data init {self.path}` completes it"

    @property
    def head(self) -> Path:
        """File that names the newest snapshot."""
        return self.path / "tables" / "head.json"

    def snapshots(self) -> list[Snapshot]:
        """All recorded snapshots, oldest first."""
        handle, own, _ = self._newest()
        found = listed(handle)  # all of them: the bounds are statistics, which nothing vouches for
        self.check(SNAPSHOTS.name, own, found, handle.version())
        rows = [row for file in found for row in self._rows(file.name)]
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
                raise UsageError(f"there is no snapshot {at}: there are {newest.range}")
            found = newest if number == newest.snapshot_id else self._find(handle, number)
        if not newest.opens(found.snapshot_id):
            raise UsageError(
                f"snapshot {found.snapshot_id} was expired by gc on {newest.expired_at:%Y-%m-%d}: "
                f"there are {newest.range}"
            )
        return found

    def history(self, snapshot: Snapshot) -> State:
        """The state of `snapshots` with the snapshot's own row as its last."""
        before = snapshot.tables[SNAPSHOTS.name]
        return log.advance(before, self.folder(SNAPSHOTS.name), before.version + 1)

    def kept(
        self, recorded: Sequence[Snapshot] | None = None, newest: Snapshot | None = None
    ) -> list[Snapshot]:
        """Snapshots that can be opened, as of `newest`, by default the newest that is recorded."""
        newest = newest or self.snapshot()
        all_of_them = recorded if recorded is not None else self.snapshots()
        return [s for s in all_of_them if newest.opens(s.snapshot_id)]

    def expire(self, snapshot: Snapshot, before: int) -> Snapshot:
        """The snapshot with those before number `before` expired, but for those of builds.

        A build that is recorded later does not bring its snapshot back: files of it may be gone.
        """
        if before <= snapshot.oldest:
            return snapshot
        paths = self.files("builds", snapshot.tables["builds"])
        tables = [files.read_columns(Path(p), ["snapshot_id"]) for p in paths]
        built = {n for t in tables for n in t["snapshot_id"].to_pylist() if n < before}
        kept = tuple(n for n in sorted(built) if snapshot.opens(n))
        return replace(snapshot, oldest=before, kept=kept, expired_at=snapshot.at)

    def record(self, what: str, expire_before: int | None = None) -> Snapshot:
        """Record the tables' present states as a snapshot; `expire_before` expires older ones.

        `responses` is read first: whatever it acknowledges was committed before, so the versions
        of its children, read after it, contain theirs.
        """
        for _ in attempts(SNAPSHOTS.name):
            handle, own, base = self._newest()
            tables = {
                name: log.advance(base.tables.get(name, State()), self.folder(name))
                for name in reversed(TABLES)
            }
            snapshot = Snapshot(
                base.snapshot_id + 1,
                {**tables, SNAPSHOTS.name: own},
                snapshots.who(),
                what,
                datetime.now(UTC),
                base.oldest,
                base.kept,
                base.expired_at,
            )
            if expire_before:
                snapshot = self.expire(snapshot, expire_before)
            rows = pa.Table.from_pylist([snapshot.row()], SNAPSHOTS.schema)
            if self.commit(handle, SNAPSHOTS, rows, what):
                snapshots.write_head(self.head, snapshot.snapshot_id)
                return snapshot
        raise AssertionError("attempts end in an error")

    def _newest(self) -> tuple[DeltaTable, State, Snapshot]:
        """Handle and state of `snapshots`, and the newest of them: number 0 where there is none."""
        head = snapshots.read_head(self.head)  # before the log, which may grow meanwhile
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
        if own.version != handle.version() or self._checked is None:
            self.check(SNAPSHOTS.name, own, listed(handle), handle.version())
        self._checked = own
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
            first = min((s.at for s in self.kept() if s.at), default=None)
            raise UsageError(
                f"there is no snapshot at or before {time:%Y-%m-%d %H:%M:%S %Z}"
                + (f": the oldest is of {first:%Y-%m-%d %H:%M:%S} UTC" if first else "")
            )
        return found[-1]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        rows = files.read_checked(self.folder(SNAPSHOTS.name) / name).to_pylist()
        return cast(list[dict[str, Any]], rows)


def _bounds(handle: DeltaTable) -> list[tuple[int, int, str]]:
    """Lowest and highest number, and name, of every file of `snapshots`."""
    actions = pa.table(handle.get_add_actions(flatten=True))
    names = ("min.snapshot_id", "max.snapshot_id", "path")
    columns = [actions[c].to_pylist() if c in actions.column_names else [] for c in names]
    rows = zip(*columns, strict=True)
    return [(low, high, own_name(name)) for low, high, name in rows if low and high]
