"""Keyed appends to a store: what is there already is not added again.

Two Delta appends never conflict by themselves, so reading keys and committing is one step: a
commit is valid only against the version its keys were read at (no retries by delta-rs); on a
conflict the new files' keys are read and the batch is cut down to what is still missing.

A batch commits its tables in the order of `schema.TABLES`: new responses are announced, then come
their children, and `responses` last; then a snapshot records the state of every table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from dasd_data import log
from dasd_data.keys import KeyIndex, content_hashes, first_of_key, kept
from dasd_data.log import File, State
from dasd_data.schema import TABLES, Table
from dasd_data.snapshots import Snapshot
from dasd_data.store import Store
from dasd_data.tables import attempts


@dataclass
class Appended:
    """What became of the rows of one table in one append."""

    new: int = 0
    same: int = 0
    repeated: int = 0  # the same key and content earlier in the batch
    conflicts: pa.Table | None = None  # rows whose key is there with other content


@dataclass(frozen=True)
class Written:
    """Rows of a table that are in a file of it already, and in no commit yet.

    Another process wrote them, with `write`; `added` is what Tables.write gives.
    """

    table: str
    added: Mapping[str, Any]

    def read(self, store: Store, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows, or these columns of them."""
        path = store.folder(self.table) / self.added["path"]
        return pq.read_table(path, columns=columns, page_checksum_verification=True)


def write(store: Store, table: str, rows: pa.Table) -> Written:
    """Write rows without `content_hash` into a file that Writer.append commits, here or elsewhere.

    A file that is never committed is removed by `gc`.
    """
    spec = TABLES[table]
    return Written(table, store.write(spec, _hashed(spec, rows)))


def _hashed(spec: Table, rows: pa.Table) -> pa.Table:
    """`rows` in the table's schema, with `content_hash`."""
    if "content_hash" not in rows.column_names:
        hashes = content_hashes(rows, spec.content)
        rows = rows.append_column("content_hash", pa.array(hashes))
    return rows.select(spec.schema.names).cast(spec.schema)


class Writer:
    """Keyed appends to a store, from one process. Keys are read once and then kept up to date."""

    def __init__(self, store: Store, what: str) -> None:
        self.store, self.what = store, what
        self._tables: dict[str, _KeyedTable] = {}

    @cached_property
    def _since(self) -> Snapshot:
        return self.store.snapshot()

    def append(self, batches: Mapping[str, pa.Table | Written]) -> dict[str, Appended]:
        """Append rows to tables, in commit order, then record a snapshot.

        `batches` maps table names to rows without `content_hash`, or to files of rows, which are
        committed as they are where all of their rows are new; of these, `conflicts` has the keys
        only. Rows that repeat an earlier one of the batch are counted as `repeated`, others whose
        key is there with the same content as `same`; rows whose key is there, or came before, with
        other content are returned as `conflicts`.

        New responses are announced before their children are committed. One that was announced
        with other content, by a process that died or still runs, is a conflict, and its children
        are left out: those that are there may be of the other text.
        """
        batches = dict(batches)
        refused = None
        if "responses" in batches:
            refused = self._announce(self.table("responses").keys(batches["responses"]))
        if refused is not None:
            for name in batches:
                batches[name] = self.without(name, batches[name], refused["response_id"])
        done = {
            name: self.table(name).append(rows)
            for name in TABLES
            if isinstance(rows := batches.get(name), Written) or (rows is not None and len(rows))
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

    def without(
        self, name: str, rows: pa.Table | Written, responses: pa.Array
    ) -> pa.Table | Written:
        """Rows of a table but for those of these responses."""
        if not len(responses) or "response_id" not in TABLES[name].schema.names:
            return rows
        whole = rows.read(self.store) if isinstance(rows, Written) else rows
        return whole.filter(pc.invert(pc.is_in(whole["response_id"], responses)))

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

    def hashed(self, name: str, rows: pa.Table) -> pa.Table:
        """`rows` with their `content_hash`, which `conflicts` and `append` then do not compute."""
        return self.table(name).hashed(rows)

    def conflicts(self, name: str, rows: pa.Table) -> np.ndarray:
        """Rows whose key is in the table, or earlier in `rows`, with other content, [rows] bool."""
        table = self.table(name)
        hashes = table.hashed(rows)["content_hash"].to_numpy()
        found, content = table.find(rows)
        first = first_of_key(rows.select(table.spec.key))
        return np.where(found, content != hashes, hashes[first] != hashes)

    def table(self, name: str) -> _KeyedTable:
        """The writer's keyed view of one table."""
        if name not in self._tables:
            self._tables[name] = _KeyedTable(self.store, TABLES[name], self.what, self._since)
        return self._tables[name]


class _KeyedTable:
    """One table of a writer: its handle, and the keys up to the handle's version."""

    def __init__(self, store: Store, spec: Table, what: str, since: Snapshot) -> None:
        self.store, self.spec, self.what, self.since = store, spec, what, since
        self._version = -1

    @cached_property
    def _opened(self) -> tuple[DeltaTable, list[File]]:
        handle, _, found = self.store.newest(self.spec.name, self.since)
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
        self._add_keys(index, pa.concat_tables(tables))

    def _add_keys(self, index: KeyIndex, rows: pa.Table) -> None:
        index.add(rows.select(self.spec.key), rows["content_hash"].to_numpy())

    @property
    def version(self) -> int:
        """The version up to which the keys are read."""
        return int(self._handle.version())

    def refresh(self, own: str | None = None, rows: pa.Table | None = None) -> None:
        """Take in what was committed; the file `own` has these `rows` and is not read again."""
        handle, index = self._handle, self._index
        handle.update_incremental()
        news = log.entries(self.store.folder(self.spec.name), self._version, handle.version())
        for entry in news:
            if entry.dropped:  # keys may be gone: start again
                for name in ("_opened", "_index"):
                    self.__dict__.pop(name, None)
                return
            for file in entry.adds:
                if file.name == own and rows is not None:
                    self._add_keys(index, rows)
                elif file.fresh:
                    self._read_keys(index, [file])
            self._version = entry.version

    def find(self, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Which rows' keys are in the table, [rows] bool, and the content hashes there."""
        return self._index.find(rows.select(self.spec.key))

    def hashed(self, rows: pa.Table) -> pa.Table:
        """`rows` with a column `content_hash`."""
        if "content_hash" in rows.column_names:
            return rows
        hashes = content_hashes(rows, self.spec.content)
        return rows.append_column("content_hash", pa.array(hashes))

    def keys(self, rows: pa.Table | Written) -> pa.Table:
        """`rows`; of a file only keys and `content_hash`."""
        if isinstance(rows, Written):
            return rows.read(self.store, [*self.spec.key, "content_hash"])
        return rows

    def append(self, given: pa.Table | Written) -> Appended:
        """Append the rows whose keys are missing; see Writer.append."""
        is_file = isinstance(given, Written)
        rows = self.keys(given) if is_file else _hashed(self.spec, given)
        result = Appended()
        for attempt in attempts(self.spec.name):
            if attempt:
                self.refresh()
            missing = self._missing(rows, result)
            if not missing.any():
                return result
            fresh = kept(rows, missing)
            if is_file and missing.all():
                added = dict(given.added)
            else:
                whole = kept(given.read(self.store), missing) if is_file else fresh
                added = self.store.write(self.spec, whole)
            if self.store.commit_file(self._handle, self.spec, added, self.what):
                self.refresh(added["path"], fresh)
                result.new = len(fresh)
                return result
        raise AssertionError("attempts end in an error")

    def _missing(self, rows: pa.Table, result: Appended) -> np.ndarray:
        """Rows whose key is neither in the table nor earlier in `rows`, [rows] bool.

        Counts the others.
        """
        keys = rows.select(self.spec.key)
        hashes = rows["content_hash"].to_numpy()
        found, known = self._index.find(keys)
        first = first_of_key(keys)
        repeated = first != np.arange(len(rows))
        same = found & (known == hashes)
        again = repeated & (hashes[first] == hashes) & (same | ~found)
        conflict = (found | repeated) & ~same & ~again
        result.same, result.repeated = int((same & ~again).sum()), int(again.sum())
        result.conflicts = rows.filter(pa.array(conflict)) if conflict.any() else None
        return ~found & ~repeated


def _announcements(responses: pa.Table) -> pa.Table:
    """Rows of `announced` for responses."""
    if "content_hash" in responses.column_names:
        hashes = responses["content_hash"]
    else:
        hashes = pa.array(content_hashes(responses, TABLES["responses"].content), pa.int64())
    return pa.table({"response_id": responses["response_id"], "response_hash": hashes})
