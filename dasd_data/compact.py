"""`compact`: many small files of a table, written anew as few.

Files of under half of GROUP_BYTES (uncompressed) are gathered into groups of up to GROUP_BYTES;
each group is read, sorted by key and committed as one file in place of its own. So memory is
bounded by the group, work at risk by one commit, and a byte is seldom written more than twice.
The rows stay the same, old snapshots keep their files until `gc`, and others may append meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dasd_data import files, log
from dasd_data.errors import ConflictError
from dasd_data.log import File
from dasd_data.schema import SNAPSHOTS, TABLES, Table
from dasd_data.store import Store
from dasd_data.tables import attempts

GROUP_BYTES, GROUP_FILES = 256 << 20, 1_000
MANY_FILES = 500  # small files scan slower: 4,000 take three times as long as few
LEAST_SNAPSHOTS = 16  # files: every compaction adds one


@dataclass
class Compacted:
    """What became of a table: number of files before and after, and bytes written anew."""

    table: str
    before: int
    after: int
    bytes: int = 0


def compact(
    store: Store,
    tables: Iterable[str] = (),
    *,
    group_bytes: int = GROUP_BYTES,
    progress: Callable[[str, int], None] = lambda table, n_bytes: None,
) -> list[Compacted]:
    """Compact some tables, by default all, and record a snapshot.

    Killed anywhere it has lost nothing, and run again it goes on. `progress` is told the bytes of
    each group. Raises DamagedFileError where a file is not what was written: it is left alone.
    """
    names = list(tables) or [*TABLES, SNAPSHOTS.name]
    done = [_compact(store, name, group_bytes, progress) for name in names]
    if _unrecorded(store, names):  # also by a run that was killed before it came to this
        store.record("compact")
    return [d for d in done if d.before != d.after]


def groups(sizes: Sequence[tuple[File, int]], group_bytes: int) -> list[list[File]]:
    """Files to be written anew together: two or more small ones, up to `group_bytes`.

    `sizes` has every file with its uncompressed bytes. Smallest first: equals are merged.
    """
    found: list[list[File]] = []
    group: list[File] = []
    total = 0
    for file, size in sorted(sizes, key=lambda pair: (pair[1], pair[0].name)):
        if size * 2 >= group_bytes:
            break
        if total + size > group_bytes or len(group) == GROUP_FILES:
            found.append(group)
            group, total = [], 0
        group.append(file)
        total += size
    return [g for g in [*found, group] if len(g) > 1]


def _compact(
    store: Store, name: str, group_bytes: int, progress: Callable[[str, int], None]
) -> Compacted:
    spec = SNAPSHOTS if name == SNAPSHOTS.name else TABLES[name]
    folder = store.folder(name)
    _, _, found = store.newest(name)
    sizes = [(file, _uncompressed(pq.read_metadata(folder / file.name))) for file in found]
    result = Compacted(name, len(found), len(found))
    found_groups = groups(sizes, group_bytes)
    if name == SNAPSHOTS.name and len(found) < LEAST_SNAPSHOTS:
        found_groups = []
    for group in found_groups:
        rows = _read(store, spec, group)
        _replace(store, spec, group, rows)
        result.after -= len(group) - 1
        result.bytes += sum(file.size for file in group)
        progress(name, sum(file.size for file in group))
    return result


def _unrecorded(store: Store, names: Iterable[str]) -> bool:
    """Whether a table has commits after the newest snapshot."""
    tables = store.snapshot().tables
    return any(
        log.path(store.folder(name), tables[name].version + 1).exists()
        for name in names
        if name in tables and name != SNAPSHOTS.name
    )


def _uncompressed(footer: pq.FileMetaData) -> int:
    return sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))


def _read(store: Store, spec: Table, group: Sequence[File]) -> pa.Table:
    """The rows of a group, each file checked by its SHA-256: damage must not get a new name."""
    folder = store.folder(spec.name)
    tables = [files.read_checked(folder / file.name).cast(spec.schema) for file in group]
    return pa.concat_tables(tables)


def _replace(store: Store, spec: Table, group: Sequence[File], rows: pa.Table) -> None:
    """Commit the rows in place of the group; others may append, or compact, meanwhile."""
    added = store.write(spec, rows)  # once: who writes anew for each try never comes first
    for _ in attempts(spec.name):
        handle, _, found = store.newest(spec.name)
        if not set(group) <= set(found):
            raise ConflictError(f"another process compacts {spec.name}: let it end, then try again")
        if store.commit_file(handle, spec, added, "compact", group):
            return
