"""A catalog's Delta tables on disk: listing their files, and committing new ones."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from dasd_data import files, log
from dasd_data.errors import ConflictError, DamagedFileError, UsageError
from dasd_data.log import File, State
from dasd_data.schema import Table

# Time travel dies by default after 60 days; only `gc` may remove what a snapshot needs.
_RETENTION = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.checkpointInterval": "25",
}
ATTEMPTS = 100
CHECK = "run `dasd-data verify`, and restore what it names from a backup"


@dataclass
class Tables:
    """A catalog's tables on disk. `checkpoint(step)` is called at every commit step (for tests)."""

    path: Path
    checkpoint: Callable[[str], None] = field(default=lambda step: None)

    def folder(self, table: str) -> Path:
        """Folder of a table."""
        return self.path / "tables" / table

    def create_table(self, spec: Table) -> None:
        """Create a table unless it exists."""
        DeltaTable.create(
            self.folder(spec.name),
            spec.schema,
            mode="ignore",
            name=spec.name,
            description=spec.comment,
            configuration=_RETENTION,
        )

    def delta(self, table: str, version: int | None = None) -> DeltaTable:
        """A table's Delta handle, at a version or at its newest.

        Raises DamagedFileError, UsageError in a process that was forked.
        """
        try:
            return DeltaTable(self.folder(table), version=version)
        except TableNotFoundError:
            raise DamagedFileError(
                f"table {table} of {self.path} is missing: restore a backup"
            ) from None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # some damage makes delta-rs panic: no Exception
            first = str(error).split("\n", 1)[0][:200]
            if first.startswith("Forked process"):
                raise UsageError(
                    "Delta cannot be used in a process forked after it was: start processes with "
                    "multiprocessing.get_context('spawn')"
                ) from None
            raise DamagedFileError(
                f"the log of table {table} cannot be read ({first}): {CHECK}"
            ) from None

    def files(self, table: str, at: State) -> list[Path]:
        """The Parquet files of a table in a state, in order of their names.

        Raises DamagedFileError unless they are exactly those that were recorded, and all there,
        with their sizes. Their content is what `verify` and builds check.
        """
        if at.files == 0:
            return []
        found = listed(self.delta(table, at.version))
        self.check(table, at, found)
        folder = self.folder(table)
        for file in found:
            files.check_size(folder / file.name, file.size)
        return sorted(folder / file.name for file in found)

    def check(
        self, table: str, state: State, found: Sequence[File], version: int | None = None
    ) -> None:
        """Check that these are the files of a table's state, and that it is of this version.

        Raises DamagedFileError naming the table.
        """
        if (version is not None and version != state.version) or not state.matches(found):
            at = state.version if version is None else version
            raise DamagedFileError(
                f"table {table} of {self.path} is damaged: its log gives other files at version "
                f"{at} ({len(found)}) than were recorded ({state.files}): {CHECK}"
            )

    def commit(self, handle: DeltaTable, spec: Table, rows: pa.Table, what: str) -> bool:
        """Write new rows as a file and commit it from the handle's version.

        Returns False if another commit came first.
        """
        return self.commit_file(handle, spec, self.write(spec, rows), what)

    def write(self, spec: Table, rows: pa.Table) -> dict[str, Any]:
        """Write rows as a file that is in no commit yet; see files.write."""
        self.checkpoint(f"{spec.name}: before write")
        return files.write(self.folder(spec.name), spec, rows)

    def commit_file(
        self,
        handle: DeltaTable,
        spec: Table,
        added: dict[str, Any] | None,
        what: str,
        removed: Sequence[File] = (),
        drops_rows: bool = False,
    ) -> bool:
        """Commit a file that `write` gave from the handle's version, in place of `removed`.

        Returns False if another commit came first. Without `removed` the rows are new; with them
        they are the same rows written anew, but for those that go where `drops_rows` says so.
        Raises ConflictError where `gc` took the file of a process that slept for an hour.
        """
        folder = self.folder(spec.name)
        self.checkpoint(f"{spec.name}: written")
        now = time.time_ns() // 1_000_000
        actions: list[AddAction | RemoveAction] = []
        if added is not None:
            _make_young(folder / added["path"])
            actions.append(
                AddAction(added["path"], added["size"], {}, now, not removed, added["stats"])
            )
        actions += [RemoveAction(f.name, drops_rows, now, f.size, {}) for f in removed]
        gone = {log.REMOVED_ROWS: sum(f.rows for f in removed)} if removed else {}
        try:
            handle.create_write_transaction(
                actions,
                "append",
                spec.schema,
                commit_properties=CommitProperties({"what": what, **gone}, max_commit_retries=0),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError:
            return False
        entry = log.path(folder, handle.version() + 1)
        if entry.exists():
            with entry.open("rb") as file:
                os.fsync(file.fileno())
        files.flush_folder(entry.parent)
        self.checkpoint(f"{spec.name}: committed")
        return True


def _make_young(path: Path) -> None:
    """Make a written file one that `gc` leaves alone: it looks again after it took one aside."""
    try:
        os.utime(path)
    except FileNotFoundError:
        raise ConflictError(
            f"{path} was removed before it was committed: this process was held up for more than "
            "an hour, and `gc` took its file for that of a dead one; nothing of it is committed: "
            "run the same command again"
        ) from None


def listed(handle: DeltaTable) -> list[File]:
    """The files of a table as delta-rs lists them. Raises DamagedFileError for other names."""
    actions = pa.table(handle.get_add_actions())
    columns = [actions[c].to_pylist() for c in ("path", "size_bytes", "num_records")]
    return [
        File(own_name(name), int(size), int(rows or 0))
        for name, size, rows in zip(*columns, strict=True)
    ]


def own_name(name: str) -> str:
    """A name from a log, if it can be that of a data file: others may lead out of the catalog.

    Raises DamagedFileError.
    """
    if not log.is_name(name):
        raise DamagedFileError(f"a log names {name!r}, which is no data file of a catalog: {CHECK}")
    return name


def attempts(table: str) -> Iterator[int]:
    """Numbers of the tries of a commit, from 0, with a random pause between them.

    The pause is a millisecond at first, a tenth of a second at most. Raises ConflictError after
    ATTEMPTS that others won.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, min(0.1, 0.001 * 2**attempt)))
        yield attempt
    raise ConflictError(
        f"{ATTEMPTS} other commits to {table} came first: try again, with fewer writers"
    )
