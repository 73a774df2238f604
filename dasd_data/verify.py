"""`verify`: everything that is on disk, held against what was recorded; findings name the place.

Three layers. Logs: every entry parses, chains to the digest that each snapshot recorded, and adds
up to what delta-rs lists. Files: those that the snapshots need are there with their SHA-256, and
no others. Rows, of the newest snapshot or of the one asked for: the queries of `catalog/checks/`.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dasd_data import files, log, manifest, sqlfiles
from dasd_data.errors import DamagedFileError, DataError
from dasd_data.log import State
from dasd_data.parameters import identifier, quote
from dasd_data.schema import SNAPSHOTS, TABLES, Table
from dasd_data.session import Session
from dasd_data.snapshots import Snapshot, parse, versions
from dasd_data.store import Store
from dasd_data.tables import listed

YOUNG_SECONDS = 3600.0  # a file that is in no log may be one that is just being committed
SHOWN = 20  # rows that a check of rows names
RESTORE = "restore it from a backup; without one, make the catalog anew from its inputs"
_OF_LOG = re.compile(  # entries, checkpoints, and what delta-rs is about to rename
    r"\d{20}\.(json|crc|checkpoint(\..+)?\.parquet)|_last_checkpoint|_sidecars|\..*"
    r"|.*\.tmp|.*#\d+"
)
MOVE = "move it away: nothing reads it"
REMOVE = "remove the checkpoint: the entries of the log are all there"
BUILD = "run the same `dasd-data build` again: it makes it anew"
ROWS = (
    "the rows were written so: restore a backup from before, or make the catalog anew from its "
    "inputs; `--at` opens an older state until then"
)
_ADVICE = ": restore it from a backup"


@dataclass(frozen=True)
class Finding:
    """Something wrong: in which table, in which file, at which row, what, and what to do."""

    table: str
    problem: str
    file: str = ""
    row: str = ""
    do: str = RESTORE


@dataclass
class Report:
    """What `verify` found. `notes` are no damage; `checked` counts what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"sound": self.sound, **asdict(self)}

    def count(self, what: str, number: int = 1) -> None:
        """Count what was looked at."""
        self.checked[what] = self.checked.get(what, 0) + number


def verify(
    store: Store,
    at: Snapshot | None = None,
    *,
    quick: bool = False,
    session: Callable[[dict[str, list[Path]]], Session] = Session,
    progress: Callable[[int], None] = lambda n_bytes: None,
) -> Report:
    """Check a catalog. `at` is the snapshot whose rows are checked, by default the newest.

    `quick` trusts files that did not change since they were last checked, and leaves rows and
    the footers of files, and builds, alone. `progress` is told the bytes read. Damage is reported,
    not raised.
    """
    report, closed = Report(), None
    try:
        recorded = store.snapshots()
        # One read: another process may record a snapshot between two.
        newest = recorded[-1] if recorded else store.snapshot()
    except DataError as error:
        recorded, newest, closed = _salvaged(store), None, str(error)
    if newest:
        _snapshots(report, store, recorded, newest)
    kept = store.kept(recorded) if newest else []
    with files.Verified(store.path / "verified.json") as cache:
        known = cache if quick else {}
        report.findings += _foreign(store)
        for name in (*TABLES, SNAPSHOTS.name):
            _table(report, store, name, recorded, kept, known, quick, progress)
        if not quick:  # what failed is trusted no more
            cache.clear()
            cache.update(known)
    if closed and not any(f.table == SNAPSHOTS.name and f.file for f in report.findings):
        report.findings.insert(0, Finding(SNAPSHOTS.name, closed))
    if not quick and report.sound and newest:
        _rows(report, store, at or newest, session)
    return report


def _salvaged(store: Store) -> list[Snapshot]:
    """What can be read of the snapshots where their log cannot: it tells which entry is wrong."""
    found: dict[int, Snapshot] = {}
    for path in sorted(store.folder(SNAPSHOTS.name).glob("*.parquet")):
        with contextlib.suppress(DataError, OSError):
            if log.is_name(path.name):
                found |= {
                    s.snapshot_id: s for s in map(parse, files.read_checked(path).to_pylist())
                }
    return [found[number] for number in sorted(found)]


def _snapshots(report: Report, store: Store, recorded: list[Snapshot], newest: Snapshot) -> None:
    """Snapshots are numbered 1, 2, 3, ... and name versions that exist."""
    numbers = [s.snapshot_id for s in recorded]
    if numbers != list(range(1, newest.snapshot_id + 1)):
        gone = sorted(set(range(1, newest.snapshot_id + 1)) - set(numbers))
        report.findings.append(
            Finding(SNAPSHOTS.name, f"snapshots are not contiguous: missing or repeated {gone[:5]}")
        )
    report.count("snapshots", len(recorded))
    last = {name: len(list((store.folder(name) / "_delta_log").glob("*.json"))) for name in TABLES}
    for name, state in newest.tables.items():
        if name in last and state.version >= last[name]:
            problem = (
                f"snapshot {newest.snapshot_id} names version {state.version}, and the log ends at "
                f"{last[name] - 1}"
            )
            report.findings.append(Finding(name, problem))


def _table(
    report: Report,
    store: Store,
    name: str,
    recorded: list[Snapshot],
    kept: list[Snapshot],
    known: dict[str, list[int]],
    quick: bool,
    progress: Callable[[int], None],
) -> None:
    """One table: its log, and the files that the snapshots need."""
    folder = store.folder(name)
    try:
        history = log.replay(folder)
        if not history.entries:
            held = recorded and recorded[-1].tables.get(name, State()).version >= 0
            raise DamagedFileError(
                f"{folder} has no log" if held else f"{folder} is not there: {store.completes}"
            )
    except DamagedFileError as error:
        place = str(error.file) if error.file else ""
        report.findings.append(Finding(name, str(error).removesuffix(_ADVICE), place))
        return
    report.count("log entries", len(history.entries))
    if gap := _gap(folder, history.newest):
        report.findings.append(Finding(name, "an entry of the log is missing", str(gap)))
        return
    report.findings += _log(store, name, history, recorded)
    needed = history.needed([history.newest, *versions(name, kept)])
    for file in needed.values():
        report.count("files")
        report.count("bytes", file.size)
        progress(file.size)
        report.findings += _file(folder, name, file, known, quick)
    ever = {file.name for file, _, _ in history.lives}
    for path in sorted(folder.iterdir()):
        if path.name in needed or path.name == "_delta_log":
            continue
        if path.name in ever:
            continue  # compacted away, or expired: `gc` removes it
        try:
            young = time.time() - path.stat().st_mtime < YOUNG_SECONDS
        except FileNotFoundError:  # whoever wrote it is done
            continue
        ours = path.suffix == ".tmp" or log.is_name(path.name)
        if ours:
            when = "being written" if young else "left by a process that died: `gc` removes it"
            report.notes.append(f"{path} is in no commit ({when})")
        else:
            report.findings.append(Finding(name, "a foreign file", str(path), do=MOVE))


def _foreign(store: Store) -> Iterator[Finding]:
    """What is none of the tables, nor of their logs."""
    tables = [store.folder(name) for name in (*TABLES, SNAPSHOTS.name)]
    for path in sorted(store.head.parent.glob("*")):
        ours = path in (*tables, store.head) or path.suffix == ".tmp"
        if not ours and not path.name.startswith("."):
            yield Finding("", "foreign, and of no table", str(path), do=MOVE)
    for table in tables:
        for path in sorted((table / "_delta_log").glob("*")):
            if not _OF_LOG.fullmatch(path.name):
                yield Finding(table.name, "a foreign file in its log", str(path), do=MOVE)


def _gap(folder: Path, newest: int) -> Path | None:
    """The entry that is missing where the log goes on after it."""
    later = (p for p in (folder / "_delta_log").glob("*.json") if p.stem.isdigit())
    return log.path(folder, newest + 1) if any(int(p.stem) > newest for p in later) else None


def _log(
    store: Store, name: str, history: log.History, recorded: list[Snapshot]
) -> Iterator[Finding]:
    """The log against what the snapshots recorded, and against what delta-rs makes of it."""
    folder = store.folder(name)
    states = history.states()
    newest = history.newest
    seen, whole = {newest}, -1
    for snapshot in recorded:
        if (then := snapshot.tables.get(name)) is None:
            continue
        seen.add(then.version)
        if states.get(then.version) != then:
            one = then.version == whole + 1  # else any of several
            yield Finding(
                name,
                f"the log up to version {then.version} is not what snapshot "
                f"{snapshot.snapshot_id} recorded: an entry after version {whole} was changed or "
                "lost",
                str(log.path(folder, then.version) if one else folder / "_delta_log"),
            )
            return
        whole = then.version
    checkpoints = [int(p.name[:20]) for p in (folder / "_delta_log").glob("*.checkpoint.parquet")]
    wanted = {newest, max(min(seen), 0), *(v for v in checkpoints if v <= newest)}
    for version in sorted(wanted):  # delta-rs starts from the last checkpoint at or before each
        mine = sorted(history.needed([version]).values(), key=lambda f: f.name)
        try:
            theirs = sorted(listed(store.delta(name, version)), key=lambda f: f.name)
        except DamagedFileError as error:
            yield Finding(name, str(error), str(folder / "_delta_log"))
            continue
        if [(f.name, f.size, f.rows) for f in mine] != [(f.name, f.size, f.rows) for f in theirs]:
            yield Finding(
                name,
                f"delta-rs lists other files at version {version} than the log's entries give: "
                "a checkpoint is damaged",
                str(folder / "_delta_log"),
                do=REMOVE,
            )


def _file(
    folder: Path, name: str, file: log.File, known: dict[str, list[int]], quick: bool
) -> Iterator[Finding]:
    path = folder / file.name
    try:
        files.check_size(path, file.size)
        files.verify(path, known)
    except DamagedFileError as error:
        yield Finding(name, str(error).split(";")[0], str(path))
        return
    if not quick:
        rows = pq.read_metadata(path).num_rows
        if rows != file.rows:
            yield Finding(name, f"has {rows} rows, and its log entry says {file.rows}", str(path))


def _rows(
    report: Report,
    store: Store,
    snapshot: Snapshot,
    session: Callable[[dict[str, list[Path]]], Session],
) -> None:
    """Run the checks of rows, and count what waits for its response."""
    paths = {name: store.files(name, state) for name, state in snapshot.tables.items()}
    connection = session(paths)
    try:
        keys = map(_repeated_keys, (*TABLES.values(), SNAPSHOTS))
        for sql in (*keys, *(check.sql for check in sqlfiles.checks())):
            report.count("checks of rows")
            report.findings += _check(connection, sql)
        for row in connection.rows(sqlfiles.report("pending")):
            if row["n"]:
                report.notes.append(
                    f"{row['n']:,} rows of {row['relation']} wait for their response: it was being "
                    "written, or is to come; `gc --pending` drops what a process that died left"
                )
        recorded: dict[str, dict[str, dict[str, Any]]] = {}
        for row in connection.rows("FROM builds ORDER BY built_at, build_id"):
            recorded.setdefault(row["path"], {})[row["build_id"]] = row
        for path, rows in recorded.items():
            _build(report, store.path / path, rows)
    finally:
        connection.close()


def _repeated_keys(table: Table) -> str:
    """SELECT of the keys that are there twice, as the checks of `catalog/checks/` give them."""
    key = ", ".join(map(identifier, table.key))
    return (
        f"SELECT {quote(table.name)} AS relation, concat_ws(' ', {key}) AS key,"
        " 'the key is there ' || count(*) || ' times' AS problem"
        f" FROM {table.name} GROUP BY {key} HAVING count(*) > 1"
    )


def _check(connection: Session, sql: str) -> Iterator[Finding]:
    found = connection.rows(f"SELECT *, count(*) OVER () AS n FROM ({sql}) LIMIT {SHOWN}")
    for row in found:
        yield Finding(row["relation"], row["problem"], row=row["key"], do=ROWS)
    if found and (more := found[0]["n"] - len(found)):
        yield Finding(found[0]["relation"], f"{more:,} more rows with problems like these", do=ROWS)


def _build(report: Report, folder: Path, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """The build in a folder, held against its row of those that were recorded there, by id."""
    last = list(recorded)[-1]

    def wrong(problem: str, path: Path) -> None:
        report.findings.append(Finding("builds", problem, str(path), do=BUILD))

    if not folder.exists():
        report.notes += [f"build {build_id} is gone from {folder}" for build_id in recorded]
        return
    try:
        there = manifest.read(folder)
    except DamagedFileError as error:
        wrong(f"build {last}: {error}".replace(f"{folder}/", ""), folder / manifest.NAME)
        return
    if there is None:
        wrong(f"build {last} has no manifest", folder / manifest.NAME)
        return
    name = f"build {there['build_id']}"
    if (row := recorded.get(there["build_id"])) is None:
        if folder.name in recorded:  # by default a folder is named by its build
            wrong(f"build {folder.name}: another build, {there['build_id']}, is there", folder)
        return  # by --out: of another catalog, or later than --at
    report.count("builds")
    hashes = {shard["path"]: shard["sha256"] for shard in there["shards"]}
    parameters = json.loads(row["parameters"])
    if (row["rows"], parameters, json.loads(row["shards"])) != (
        there["rows"], there["parameters"], list(hashes.values())
    ):  # fmt: skip
        wrong(f"{name}: the manifest is not that of the build that was recorded", folder)
    for path, digest in {**hashes, "README.md": there["card"]}.items():
        what = "the card" if path == "README.md" else f"shard {digest[:12]}"
        if not (folder / path).is_file():
            wrong(f"{name}: {what} is missing", folder / path)
        elif files.flush_and_hash(folder / path) != digest:
            wrong(f"{name}: {what} is damaged", folder / path)
