"""Delta logs, read strictly: what each entry adds and removes, and what a table adds up to.

delta-rs reads logs leniently: where one flipped bit makes "add" into "bdd" it silently leaves a
file out. So every snapshot records a `State` of every table, and a list of files that does not add
up to it is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dasd_data.errors import DamagedFileError

_ACTIONS = {"add", "remove", "commitInfo", "metaData", "protocol", "txn", "domainMetadata"}
# What JSON that is not an action, or has odd numbers or depths in its places, raises.
_DAMAGES = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_NAME = re.compile(r"[0-9a-f]{64}\.parquet")
_MODULUS = 1 << 256
REMOVED_ROWS = "removedRows"  # commitInfo: Delta's remove actions have no row counts


@dataclass(frozen=True)
class File:
    """A file as an add action has it. `fresh`: its rows are new, not only written anew."""

    name: str
    size: int
    rows: int
    fresh: bool = True


@dataclass(frozen=True)
class Entry:
    """One commit of a table. `dropped`: whether rows went with the removed files."""

    version: int
    adds: tuple[File, ...]
    removes: tuple[tuple[str, int], ...]  # names and sizes
    removed_rows: int
    dropped: bool
    sha256: str


@dataclass(frozen=True)
class State:
    """What a table holds at a version.

    `names` is the sum, modulo 2^256, of the SHA-256 of its files' names: it does not depend on
    order, and a commit moves it without looking at the files that were there. `log` chains the
    SHA-256 of all entries up to the version.
    """

    version: int = -1
    files: int = 0
    rows: int = 0
    bytes: int = 0
    names: str = ""
    log: str = ""

    def then(self, entry: Entry) -> State:
        """The state after one more entry."""
        names = int(self.names or "0", 16)
        names += sum(_name_hash(file.name) for file in entry.adds)
        names -= sum(_name_hash(name) for name, _ in entry.removes)
        return State(
            entry.version,
            self.files + len(entry.adds) - len(entry.removes),
            self.rows + sum(file.rows for file in entry.adds) - entry.removed_rows,
            self.bytes + sum(f.size for f in entry.adds) - sum(size for _, size in entry.removes),
            f"{names % _MODULUS:064x}" if names % _MODULUS else "",
            hashlib.sha256(f"{self.log} {entry.sha256}".encode()).hexdigest(),
        )

    def matches(self, files: Iterable[File]) -> bool:
        """Whether these are the files of the state."""
        found = list(files)
        start = replace(self, files=0, rows=0, bytes=0, names="")
        sums = start.then(Entry(self.version, tuple(found), (), 0, False, ""))
        return replace(sums, log=self.log) == self


@dataclass(frozen=True)
class History:
    """A table's log, replayed: all entries, and each file's name with its life.

    A file lives from the version that added it to before the one that removed it.
    """

    entries: tuple[Entry, ...]
    lives: tuple[tuple[File, int, int | None], ...]

    @property
    def newest(self) -> int:
        """The newest version, -1 where there is no entry."""
        return self.entries[-1].version if self.entries else -1

    def states(self) -> dict[int, State]:
        """The state at each version; at -1, that of a table without entries."""
        found = {-1: State()}
        for entry in self.entries:
            found[entry.version] = found[entry.version - 1].then(entry)
        return found

    def needed(self, versions: Iterable[int]) -> dict[str, File]:
        """The files of any of these versions, by name."""
        wanted = sorted(set(versions))
        return {
            file.name: file
            for file, start, end in self.lives
            if any(start <= v and (end is None or v < end) for v in wanted)
        }


def path(folder: Path, version: int) -> Path:
    """Path of a log entry of the table in `folder`."""
    return folder / "_delta_log" / f"{version:020d}.json"


def read(folder: Path, version: int) -> Entry:
    """A log entry. Raises DamagedFileError naming the line that is no Delta action."""
    place = path(folder, version)
    adds, removes, removed_rows, dropped = [], [], 0, False
    kinds, ours = {"commitInfo"}, True
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        raise DamagedFileError(f"{place} is missing: restore it from a backup", place) from None
    for number, line in enumerate(data.splitlines(), 1):
        try:
            kind, body = _action(line)
            kinds.add(kind)
            if kind == "add":
                adds.append(_file(body))
            elif kind == "remove":
                removes.append((_checked_name(body["path"]), int(body["size"])))
                dropped = dropped or bool(body["dataChange"])
            elif kind == "commitInfo":
                removed_rows = int(body.get(REMOVED_ROWS, 0))
                ours = "what" in body
        except _DAMAGES as error:
            raise DamagedFileError(
                f"{place}:{number} is damaged ({type(error).__name__}: {error}): "
                "restore it from a backup",
                place,
            ) from None
    if len(kinds) == 1 and ours:  # unlike the VACUUM of another engine
        raise DamagedFileError(f"{place} does nothing: restore it from a backup", place)
    digest = hashlib.sha256(data).hexdigest()
    return Entry(version, tuple(adds), tuple(removes), removed_rows, dropped, digest)


def entries(folder: Path, after: int, to: int | None = None) -> Iterator[Entry]:
    """Log entries after a version: up to version `to`, else as far as there are any."""
    version = after + 1
    while version <= to if to is not None else path(folder, version).exists():
        yield read(folder, version)
        version += 1


def advance(state: State, folder: Path, to: int | None = None) -> State:
    """The state after the entries that follow it: up to version `to`, else all there are."""
    for entry in entries(folder, state.version, to):
        state = state.then(entry)
    return state


def replay(folder: Path) -> History:
    """A table's log from its first entry on. Raises DamagedFileError."""
    found = tuple(entries(folder, -1))
    living: dict[str, tuple[File, int]] = {}
    lives: list[tuple[File, int, int | None]] = []
    for entry in found:
        for name, _ in entry.removes:
            if name not in living:
                place = path(folder, entry.version)
                raise DamagedFileError(f"{place} removes {name}, which was not there", place)
            lives.append((*living.pop(name), entry.version))
        for file in entry.adds:
            if file.name in living:
                place = path(folder, entry.version)
                raise DamagedFileError(f"{place} adds {file.name} twice", place)
            living[file.name] = (file, entry.version)
    return History(found, (*lives, *((f, start, None) for f, start in living.values())))


def _action(line: bytes) -> tuple[str, dict[str, Any]]:
    action = json.loads(line)
    ((kind, body),) = action.items()
    if kind not in _ACTIONS:
        raise ValueError(f"there is no action {kind!r}")
    return kind, body


def _file(body: dict[str, Any]) -> File:
    stats = json.loads(body["stats"])
    return File(
        _checked_name(body["path"]),
        int(body["size"]),
        int(stats["numRecords"]),
        bool(body["dataChange"]),
    )


def is_name(name: str) -> bool:
    """Whether this can be the name of a data file of ours."""
    return bool(_NAME.fullmatch(name))


def _checked_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{name!r} is not the name of a file of ours")
    return name


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")
