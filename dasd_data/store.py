"""The store: one Delta Lake table per relation, keyed appends, and snapshots across tables.

Two Delta appends never conflict by themselves, so reading keys and committing is one step: a
commit is valid only against the version its keys were read at (no retries by delta-rs); on a
conflict the new files' keys are read and the batch is cut down to what is still missing.

A batch commits its tables in the order of `schema.TABLES`, children first and `responses` last;
then one row of `snapshots` names the version of every table. Readers open recorded snapshots only.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction

from dasd_data import files
from dasd_data.errors import ConflictError, DataError, UsageError
from dasd_data.keys import KeyIndex, content_hashes
from dasd_data.schema import SNAPSHOTS, TABLES, Table

# Time travel dies by default after 60 days; only `gc` may remove what a snapshot needs.
_RETENTION = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": "100",
}
_ATTEMPTS = 100


@dataclass(frozen=True)
class Snapshot:
    """A consistent state: the version of every table, and who recorded it."""

    snapshot_id: int
    versions: Mapping[str, int]
    who: str = ""
    what: str = ""
    at: datetime | None = None


@dataclass
class Appended:
    """What became of the rows of one table in one append."""

    new: int = 0
    same: int = 0
    repeated: int = 0  # the same key and content earlier in the batch
    conflicts: pa.Table | None = None  # rows whose key is there with other content


@dataclass
class Store:
    """A catalog's tables on disk. `checkpoint(step)` is called at every commit step (for tests)."""

    path: Path
    checkpoint: Callable[[str], None] = field(default=lambda step: None)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Create the tables under `path`; what exists already is left as it is."""
        store = cls(path)
        (path / "tables").mkdir(parents=True, exist_ok=True)
        for spec in (*TABLES.values(), SNAPSHOTS):
            DeltaTable.create(
                store.folder(spec.name),
                spec.schema,
                mode="ignore",
                name=spec.name,
                description=spec.comment,
                configuration=_RETENTION,
            )
        if store.snapshot_count() == 0:
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

    def folder(self, table: str) -> Path:
        """Folder of a table."""
        return self.path / "tables" / table

    def delta(self, table: str, version: int | None = None) -> DeltaTable:
        """A table's Delta handle, at a version or at its newest."""
        try:
            return DeltaTable(self.folder(table), version=version)
        except TableNotFoundError:
            raise DataError(f"table {table} of {self.path} is missing: restore a backup") from None

    # Snapshots

    def snapshot_count(self) -> int:
        """Number of recorded snapshots."""
        return self.delta("snapshots").version()

    def snapshots(self) -> list[Snapshot]:
        """All recorded snapshots, oldest first."""
        rows = pa.concat_tables(
            [SNAPSHOTS.schema.empty_table(), *(pq.read_table(f) for f in self._snapshot_files())]
        ).sort_by("snapshot_id")
        return [_snapshot(row) for row in rows.to_pylist()]

    def snapshot(self, snapshot_id: int | None = None) -> Snapshot:
        """A recorded snapshot, by default the newest. Raises UsageError on an unknown number."""
        handle = self.delta("snapshots")
        newest = handle.version()
        wanted = newest if snapshot_id is None else snapshot_id
        actions = pa.table(handle.get_add_actions(flatten=True))
        for path, low, high in zip(
            actions["path"].to_pylist(),
            actions["min.snapshot_id"].to_pylist(),
            actions["max.snapshot_id"].to_pylist(),
            strict=True,
        ):
            if low <= wanted <= high:
                rows = pq.read_table(self.folder("snapshots") / path).to_pylist()
                return next(_snapshot(r) for r in rows if r["snapshot_id"] == wanted)
        raise UsageError(f"there is no snapshot {wanted}: they run from 1 to {newest}")

    def files(self, table: str, version: int) -> list[Path]:
        """The Parquet files of a table at a version, in order of their names."""
        actions = pa.table(self.delta(table, version).get_add_actions(flatten=True))
        return sorted(self.folder(table) / p for p in actions["path"].to_pylist())

    def record(self, what: str) -> Snapshot:
        """Record the tables' present versions as a snapshot.

        `responses` is read first: whatever it acknowledges was committed before, so the versions
        of its children, read after it, contain theirs.
        """
        for attempt in range(_ATTEMPTS):
            handle = self.delta("snapshots")
            number = handle.version() + 1
            versions = {name: self.delta(name).version() for name in reversed(TABLES)}
            row = {
                "snapshot_id": number,
                "tables": json.dumps(versions, sort_keys=True),
                "who": _who(),
                "what": what,
                "committed_at": datetime.now(UTC),
                "content_hash": 0,
            }
            rows = pa.Table.from_pylist([row], SNAPSHOTS.schema)
            if self._commit(handle, SNAPSHOTS, rows, what):
                return _snapshot(row)
            _pause(attempt)
        raise ConflictError(f"{_ATTEMPTS} other snapshots came first: try again")

    def _snapshot_files(self) -> list[Path]:
        return self.files("snapshots", self.snapshot_count())

    def _commit(self, handle: DeltaTable, spec: Table, rows: pa.Table, what: str) -> bool:
        """Write a file and commit it from the handle's version; False if another commit came."""
        folder = self.folder(spec.name)
        self.checkpoint(f"{spec.name}: before write")
        added = files.write(folder, spec, rows)
        self.checkpoint(f"{spec.name}: written")
        action = AddAction(
            added["path"], added["size"], {}, time.time_ns() // 1_000_000, True, added["stats"]
        )
        try:
            handle.create_write_transaction(
                [action],
                "append",
                spec.schema,
                commit_properties=CommitProperties({"what": what}, max_commit_retries=0),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError:
            return False
        log = folder / "_delta_log"
        entry = log / f"{handle.version() + 1:020d}.json"
        if entry.exists():
            with entry.open("rb") as file:
                os.fsync(file.fileno())
        files.flush_folder(log)
        self.checkpoint(f"{spec.name}: committed")
        return True


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
        """
        done = {
            name: self.table(name).append(batches[name])
            for name in TABLES
            if name in batches and len(batches[name])
        }
        if any(result.new for result in done.values()) or self._unrecorded(done):
            self.store.record(self.what)
        return done

    def _unrecorded(self, names: Iterable[str]) -> bool:
        """Whether a table has commits that no snapshot names: their writer died, or is about to."""
        recorded = self.store.snapshot().versions
        return any(self.table(name).version > recorded[name] for name in names)

    def known(self, name: str, rows: pa.Table) -> np.ndarray:
        """Which rows' keys are in a table, [rows] bool, as of the last commit seen."""
        return self.table(name).find(rows)[0]

    def conflicts(self, name: str, rows: pa.Table) -> np.ndarray:
        """Rows whose key is in the table, or earlier in `rows`, with other content, [rows] bool."""
        table = self.table(name)
        hashes = content_hashes(rows, table.spec.content)
        found, content = table.find(rows)
        first = _first_of_key(rows.select(table.spec.key))
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
        self._read: set[str] = set()

    @cached_property
    def _handle(self) -> DeltaTable:
        return self.store.delta(self.spec.name)

    @cached_property
    def _index(self) -> KeyIndex:
        index = KeyIndex()
        self._read_keys(index)
        return index

    def _read_keys(self, index: KeyIndex) -> None:
        paths = pa.table(self._handle.get_add_actions(flatten=True))["path"].to_pylist()
        unread = sorted(set(paths) - self._read)
        if not unread:
            return
        tables = [
            pq.read_table(
                self.store.folder(self.spec.name) / p, columns=[*self.spec.key, "content_hash"]
            )
            for p in unread
        ]
        rows = pa.concat_tables(tables)
        index.add(rows.select(self.spec.key), rows["content_hash"].to_numpy())
        self._read.update(unread)

    @property
    def version(self) -> int:
        """The version up to which the keys are read."""
        return int(self._handle.version())

    def refresh(self) -> None:
        """Take in what other writers committed."""
        self._handle.update_incremental()
        self._read_keys(self._index)

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
            if self.store._commit(self._handle, self.spec, fresh, self.what):
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
        first = _first_of_key(keys)
        repeated = first != np.arange(len(rows))
        same = found & (known == hashes)
        again = ~found & repeated & (hashes[first] == hashes)
        conflict = (found | repeated) & ~same & ~again
        result.same, result.repeated = int(same.sum()), int(again.sum())
        result.conflicts = rows.filter(pa.array(conflict)) if conflict.any() else None
        return rows.filter(pa.array(~found & ~repeated))


def _first_of_key(keys: pa.Table) -> np.ndarray:
    """For each row, the number of the first row with the same key, [rows] int64."""
    first: dict[tuple[Any, ...], int] = {}
    columns = [column.to_pylist() for column in keys.columns]
    rows = [first.setdefault(k, i) for i, k in enumerate(zip(*columns, strict=True))]
    return np.array(rows, np.int64)


def _snapshot(row: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        row["snapshot_id"], json.loads(row["tables"]), row["who"], row["what"], row["committed_at"]
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, as in some containers
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def _pause(attempt: int) -> None:
    """Back off for a random time: a millisecond at first, a tenth of a second at most."""
    time.sleep(random.uniform(0, min(0.1, 0.001 * 2**attempt)))
