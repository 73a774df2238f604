"""Snapshots: consistent states of all tables, as rows of the table `snapshots`."""

from __future__ import annotations

import getpass
import json
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dasd_data import files
from dasd_data.errors import DamagedFileError, UsageError
from dasd_data.log import State
from dasd_data.schema import SNAPSHOTS


@dataclass(frozen=True)
class Snapshot:
    """A consistent state: what every table held, and who recorded it.

    The state of `snapshots` itself is that before this snapshot's own row. Snapshots before
    `oldest` were expired at `expired_at`, but for `kept`, which builds had been made from by then.
    """

    snapshot_id: int
    tables: Mapping[str, State] = field(default_factory=dict)
    who: str = ""
    what: str = ""
    at: datetime | None = None
    oldest: int = 1
    kept: tuple[int, ...] = ()
    expired_at: datetime | None = None

    def opens(self, number: int) -> bool:
        """Whether, as of this snapshot, the one of that number can be opened."""
        return number >= self.oldest or number in self.kept

    @property
    def range(self) -> str:
        """Which snapshots can be opened as of this one, in words."""
        last = self.snapshot_id
        text = f"{self.oldest} to {last}" if self.oldest < last else f"{last}"
        if self.kept:
            text += f", and {', '.join(map(str, self.kept))}, which builds were made from"
        return text

    @property
    def versions(self) -> dict[str, int]:
        """The version of every table of the catalog."""
        return {name: s.version for name, s in self.tables.items() if name != "snapshots"}

    def row(self) -> dict[str, Any]:
        """As a row of the table `snapshots`."""
        tables = {name: asdict(state) for name, state in self.tables.items()}
        return {
            "snapshot_id": self.snapshot_id,
            "tables": json.dumps(tables, sort_keys=True),
            "who": self.who,
            "what": self.what,
            "committed_at": self.at,
            "oldest": self.oldest,
            "kept": list(self.kept),
            "expired_at": self.expired_at,
            "content_hash": 0,
        }


def parse(row: Mapping[str, Any]) -> Snapshot:
    """A row of the table `snapshots`. Raises UsageError for one of another version."""
    if missing := [f.name for f in SNAPSHOTS.schema if f.name not in row]:
        raise UsageError(
            f"the catalog was made by another version of dasd-data (snapshots lack "
            f"{', '.join(missing)}): use that version, or make the catalog anew"
        )
    tables = {name: State(**state) for name, state in json.loads(row["tables"]).items()}
    return Snapshot(
        row["snapshot_id"],
        tables,
        row["who"],
        row["what"],
        row["committed_at"],
        row["oldest"],
        tuple(row["kept"]),
        row["expired_at"],
    )


def listing(recorded: Iterable[Snapshot], kept: Iterable[Snapshot]) -> list[dict[str, Any]]:
    """Snapshots for a person, those that can be opened, with the rows that each added."""
    open_ones = {s.snapshot_id for s in kept}
    rows, before = [], dict[str, int]()
    for s in recorded:
        now = {name: state.rows for name, state in s.tables.items() if name != "snapshots"}
        added = {name: n - before.get(name, 0) for name, n in now.items()}
        added = {name: n for name, n in added.items() if n}
        if s.snapshot_id in open_ones:
            who = {"snapshot": s.snapshot_id, "at": s.at, "who": s.who, "what": s.what}
            rows.append({**who, "added": added})
        before = now
    return rows


def versions(table: str, of: Iterable[Snapshot]) -> list[int]:
    """The versions of a table that snapshots need; of `snapshots`, those with their own rows."""
    own = table == "snapshots"
    return [s.tables[table].version + own for s in of if table in s.tables]


def who() -> str:
    """User and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no passwd entry, as in some containers
        user = str(os.getuid())
    return f"{user}@{platform.node()}"


def read_head(place: Path) -> int:
    """Number of a snapshot that was recorded, 0 where there is no note of one.

    The note lies beside the logs: a log that lost its last entries is as whole as a younger one.
    """
    try:
        return int(json.loads(place.read_text())["snapshot_id"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        raise DamagedFileError(
            f"{place} is damaged: run `dasd-data verify`; if the rest is sound, remove the file"
        ) from None


def write_head(place: Path, snapshot_id: int) -> None:
    """Note the newest snapshot; the commit of its row is what counts, and came before."""
    temporary = place.with_suffix(f".{uuid.uuid4().hex}.tmp")
    temporary.write_text(json.dumps({"snapshot_id": snapshot_id}))
    files.flush(temporary)  # else a machine that loses power may keep the name and not the bytes
    temporary.replace(place)


def parse_at(text: str) -> int | datetime:
    """What `--at` names: a number, one counted back from the newest (-1), or a time.

    A time without a zone is UTC, and a date is its last moment. Raises UsageError.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
        if len(text) == len("2026-05-31"):
            time = time.replace(hour=23, minute=59, second=59, microsecond=999_999)
    except ValueError:
        raise UsageError(
            f"--at {text!r} is neither the number of a snapshot, nor -1 (the one before the "
            "newest), nor a time such as 2026-05-31 or 2026-05-31T12:00: "
            "`dasd-data snapshots` lists them"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
