"""`gc`: removes what nothing needs any more, and, when asked, old snapshots and pending rows.

What is needed: the files of the newest version of each table, of every snapshot that is not
expired, and of the snapshots that recorded builds were made from. Everything else that this
project wrote goes once it is SAFE_SECONDS old (what is younger may be about to be committed):
files that no commit names, those compacted away or dropped since, temporary files and folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dasd_data import files, log
from dasd_data.errors import ConflictError, DamagedFileError
from dasd_data.log import File
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.snapshots import Snapshot, versions
from dasd_data.store import Store
from dasd_data.tables import attempts
from dasd_data.writer import Writer

SAFE_SECONDS = 3600.0
CHILDREN = ("tokens", "sentences", "sentence_scores", "announced")  # `announced` goes last


@dataclass
class Garbage:
    """What was removed, or would be: (kind, number, bytes) by kind; `paths` names files.

    `snapshots` were expired; `left` says in words which there are, and why.
    """

    number: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    paths: list[Path] = field(default_factory=list)
    snapshots: int = 0
    left: str = ""
    rows: dict[str, int] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As a JSON document."""
        return asdict(self)

    def add(self, kind: str, path: Path, size: int) -> None:
        """Count a file or folder."""
        self.number[kind] = self.number.get(kind, 0) + 1
        self.bytes[kind] = self.bytes.get(kind, 0) + size
        self.paths.append(path)


def collect(
    store: Store,
    *,
    expire_before: Snapshot | None = None,
    pending: bool = False,
    dry_run: bool = False,
    safe_seconds: float = SAFE_SECONDS,
) -> Garbage:
    """Remove garbage; with `dry_run` nothing changes, and the result is what would go.

    `expire_before` expires the snapshots before it, but for those of recorded builds. `pending`
    drops the children of responses that were announced `safe_seconds` ago or earlier and never
    came, but for those that a finished run brought: run it while nothing ingests. Raises
    DamagedFileError, before anything changes, where a log is damaged, since what is needed cannot
    be known then, or where a file is missing that is needed.
    """
    garbage = Garbage()
    newest = store.snapshot()
    before = store.kept(newest=newest)
    then = store.expire(newest, expire_before.snapshot_id) if expire_before else newest
    stay = store.kept(before, then)
    for name in (*TABLES, SNAPSHOTS.name):  # all is sound before anything is dropped or expired
        _needed(store, name, stay)
    if pending:
        _drop_pending(store, garbage, dry_run, time.time() - safe_seconds)
        newest = store.snapshot()
    if expire_before and expire_before.snapshot_id > newest.oldest:
        number = expire_before.snapshot_id
        # First the record, then the files: a kill in between leaves files, not holes.
        newest = store.expire(newest, number) if dry_run else store.record("gc", number)
        garbage.snapshots = len(before) - len(store.kept(before, newest))
    kept_snapshots, garbage.left = store.kept(newest=newest), newest.range
    young = time.time() - safe_seconds
    found = list(_leftovers(store.path, young))
    for name in (*TABLES, SNAPSHOTS.name):
        found += _unneeded(store, name, kept_snapshots, young)
    for one in found:
        garbage.add(one.kind, one.path, one.size)
        if not dry_run:
            store.checkpoint(f"gc: remove {one.path.name}")
            _remove(one)
    return garbage


@dataclass(frozen=True)
class _Found:
    """A file or folder that may go, as it was when its log, up to `version`, did not name it."""

    kind: str
    path: Path
    changed: int
    size: int
    version: int | None = None


def _found(kind: str, path: Path, young: float, version: int | None = None) -> Iterator[_Found]:
    """What is at `path`, if it is there still and nothing of it is young."""
    changed, size = _look(path)
    if changed and changed < young * 1e9:
        yield _Found(kind, path, changed, size, version)


def _look(path: Path) -> tuple[int, int]:
    """When a file, or anything in a folder, last changed (ns; 0: it is gone), and its bytes."""
    changed = size = 0
    below = [Path(root, n) for root, folders, names in os.walk(path) for n in (*folders, *names)]
    for part in (path, *below):
        with contextlib.suppress(FileNotFoundError):  # whoever wrote it is done, or another gc is
            found = part.lstat()
            changed = max(changed, found.st_mtime_ns)
            size += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return changed, size


def _remove(found: _Found) -> None:
    """Remove what was found, unless it has changed or was committed since.

    A job that is run again writes the file that its kill left, with the same name, and commits it.
    So the file is taken aside before it is looked at for the last time: what comes after stays.
    """
    path = found.path
    if _look(path)[0] != found.changed:
        return
    if path.is_dir():
        with contextlib.suppress(FileNotFoundError):  # another gc is at it
            shutil.rmtree(path)
        return
    if found.version is not None:
        later = log.entries(path.parent, found.version)
        if any(path.name == file.name for entry in later for file in entry.adds):
            return
    aside = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _look(aside)[0] == found.changed:
        aside.unlink(missing_ok=True)
    else:
        aside.replace(path)


def _unneeded(store: Store, name: str, kept: list[Snapshot], young: float) -> Iterator[_Found]:
    """Data files of a table that none of these versions needs, nor any newer one."""
    folder = store.folder(name)
    found = sorted(folder.glob("*.parquet"))  # before the log: what it names later is younger
    history, needed = _needed(store, name, kept)
    ever = {file.name for file, _, _ in history.lives}
    for path in found:
        if log.is_name(path.name) and path.name not in needed:
            kind = "replaced" if path.name in ever else "never committed"
            yield from _found(kind, path, young, history.newest)


def _needed(store: Store, name: str, kept: list[Snapshot]) -> tuple[log.History, set[str]]:
    """The log of a table, and the files that these snapshots and all that is newer need.

    Raises DamagedFileError where the log is not what was recorded, or such a file is missing: it
    may be there by another name, and look unneeded.
    """
    _, recorded, _ = store.newest(name)
    history = log.replay(store.folder(name))
    if history.states().get(recorded.version) != recorded:  # an old entry was lost, or changed
        raise DamagedFileError(
            f"the log of table {name} is not what was recorded, and nothing can be removed: "
            "`dasd-data verify` names the entry"
        )

    def files_of(snapshots: list[Snapshot]) -> set[str]:
        old = versions(name, snapshots)
        return {*history.needed([*old, *range(max(old, default=0), history.newest + 1)])}

    needed = files_of(kept)
    missing = {file for file in needed if not (store.folder(name) / file).exists()}
    if missing and (lost := missing & files_of(store.kept())):  # another gc may have expired more
        raise DamagedFileError(
            f"{store.folder(name) / min(lost)} is missing, and nothing can be removed: run "
            "`dasd-data verify`"
        )
    return history, needed


def _leftovers(root: Path, young: float) -> Iterator[_Found]:
    """Temporary files, and folders of builds that were being written or replaced."""
    places = [*root.glob("*.tmp"), *root.glob("tables/*.tmp"), *root.glob("tables/*/*.tmp")]
    places += root.glob("builds/*/.*.tmp")
    places += root.glob("builds/*/.*.old")
    for path in sorted(places):
        yield from _found("temporary", path, young)


def _drop_pending(store: Store, garbage: Garbage, dry_run: bool, young: float) -> None:
    """Drop what was announced before `young`, and its children, unless the response came.

    Children of runs that are done stay: those came apart, as log-probs may, and their run, which
    has told that it took them, is not going to be run again.
    """
    announced = _ids(store, "announced", young)
    dead = announced.filter(pc.invert(pc.is_in(announced, _ids(store, "responses"))))
    if not len(dead):
        return
    done = _done(store)
    sound: dict[str, list[int]] = {}
    for name in CHILDREN:  # all of them before the first row goes
        for file in store.newest(name)[2]:
            files.verify(store.folder(name) / file.name, sound)
    dropped: dict[str, pa.Table] = {}
    for name in CHILDREN:
        dropped[name] = _drop(store, name, dead, done, sound, dry_run)
        garbage.rows[name] = len(dropped[name])
    if dry_run:
        return
    # A response that came while its children went gets them back.
    came = pc.is_in(dead, _ids(store, "responses"))
    if pc.any(came).as_py():
        back = dead.filter(came)
        writer = Writer(store, "gc")
        for name, rows in dropped.items():
            mine = rows.filter(pc.is_in(rows["response_id"], back))
            writer.append({name: mine.drop_columns(["content_hash"])})
    store.record("gc --pending")


def _ids(store: Store, name: str, young: float | None = None) -> pa.ChunkedArray:
    """The response_ids of a table's newest version, of files that are old enough."""
    _, _, found = store.newest(name)
    paths = [store.folder(name) / file.name for file in found]
    if young is not None:
        paths = [path for path in paths if path.stat().st_mtime < young]
    tables = [files.read_columns(path, ["response_id"]) for path in paths]
    return pa.chunked_array([c for t in tables for c in t["response_id"].chunks], pa.string())


def _done(store: Store) -> pa.Array:
    """The runs that came to their end."""
    folder, (_, _, found) = store.folder("run_events"), store.newest("run_events")
    events = [files.read_columns(folder / file.name, ["run_id", "event"]) for file in found]
    done = {
        run for t in events for run in t.filter(pc.field("event") == "done")["run_id"].to_pylist()
    }
    return pa.array(sorted(done), pa.string())


def _drop(
    store: Store,
    name: str,
    dead: pa.ChunkedArray,
    done: pa.Array,
    sound: dict[str, list[int]],
    dry_run: bool,
) -> pa.Table:
    """Rewrite the files of a table that hold rows of these responses; returns those rows."""

    def goes(rows: pa.Table) -> pa.ChunkedArray:
        of_dead = pc.is_in(rows["response_id"], dead)
        if "run_id" not in rows.column_names:
            return of_dead
        return pc.and_not(of_dead, pc.is_in(rows["run_id"], done))

    spec, folder = TABLES[name], store.folder(name)
    gone = [spec.schema.empty_table()]
    _, _, found = store.newest(name)
    for file in found:
        needed = [c for c in ("response_id", "run_id") if c in spec.schema.names]
        if not pc.any(goes(files.read_columns(folder / file.name, needed, sound))).as_py():
            continue
        rows = files.read_checked(folder / file.name).cast(spec.schema)
        out = goes(rows)
        gone.append(rows.filter(out))
        if not dry_run:
            _replace(store, name, file, rows.filter(pc.invert(out)))
    return pa.concat_tables(gone)


def _replace(store: Store, name: str, file: File, rows: pa.Table) -> None:
    left = store.write(TABLES[name], rows) if len(rows) else None
    for _ in attempts(name):
        handle, _, found = store.newest(name)
        if file not in found:
            raise ConflictError(f"another process rewrites {name}: let it end, then try again")
        if store.commit_file(handle, TABLES[name], left, "gc", [file], drops_rows=True):
            return
