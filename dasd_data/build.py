"""Builds: a view's rows, rendered for training, as shards with a card and a manifest.

A build is named by the hash of what decides its rows: the SHA-256 of the files of the tables that
the view reads, its SQL, its parameters and the code. Shards carry no run id and no time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_data import (
    builds,
    card,
    explain,
    files,
    inputs,
    manifest,
    notebook,
    place,
    pool,
    rows,
    shards,
    sqlfiles,
    worth,
)
from dasd_data import robustness as stability
from dasd_data.catalog import Catalog
from dasd_data.contract import scorers
from dasd_data.contract.check import check_rows
from dasd_data.contract.messages import Messages, read
from dasd_data.contract.outcome import enforce
from dasd_data.errors import ContractError, UsageError
from dasd_data.files import flush_and_hash
from dasd_data.interrupts import held
from dasd_data.manifest import Manifest
from dasd_data.materialize import materialize
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile
from dasd_data.writer import Writer


@dataclass(frozen=True)
class Build:
    """A build. `unchanged`: it was there, with the same card.

    In a dry run `path` is None, and the manifest lacks what only written shards have.
    """

    manifest: Mapping[str, Any]
    path: Path | None
    unchanged: bool = False

    def _repr_html_(self) -> str:
        return notebook.of_build(self)

    @property
    def build_id(self) -> str:
        """Hash of what decides the rows."""
        return str(self.manifest["build_id"])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.manifest["rows"])

    @property
    def funnel(self) -> list[dict[str, Any]]:
        """What each condition of the selection leaves; empty for a view without one."""
        return list(self.manifest["funnel"])

    @property
    def warnings(self) -> list[str]:
        """Where the selection is not worth its cost."""
        return list((self.manifest["worth"] or {}).get("warnings", []))

    @property
    def unchecked(self) -> list[str]:
        """What its contract could not look at, and why."""
        checks = self.manifest["contract"]["checks"]
        return [f"{c['check']}: {c['note']}" for c in checks if c["note"] and c["check"] != "rows"]


def build(
    catalog: Catalog,
    view_name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    out: Path | None = None,
    dry_run: bool = False,
    trusted: bool = False,
    robustness: str = "fast",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Build:
    """Materialize a view at the catalog's snapshot.

    `out` is the folder to write, by default `<catalog>/builds/<view>/<build_id>`. A build that is
    there already and undamaged is left as it is. A dry run chooses rows and writes nothing.
    `trusted` runs a view of one's own unlocked, in this process: it may read what no manifest
    names, and so is built each time.
    `robustness` (full, fast or off) says how much the card tells about how the choice would move;
    it changes neither the rows nor the id, and a build that is there gets a new card for it; of
    two at once the one that ends last has its card there.
    `progress(done, total)` is told the number of rows written.

    Raises ContractError (rows that break the contract, scorers that cannot be compared),
    DamagedFileError, UnknownNameError, UsageError (`out` holds something else).
    """
    view = catalog.find_view(view_name)
    mode = robustness if explain.uses_selection(view) else "off"
    tables = inputs.tables_of(view)
    # Runs and scorers decide which filters, segmenter and scores count.
    more = ("runs", "scorers", "sentence_scores", "repeat_scores", "question_sources")
    catalog.verify_files([*tables, *more])
    session = catalog.session(view, settings)
    try:
        unlocked = trusted and not view.shipped
        draft = inputs.gather(catalog, view, session, tables, unlocked)
        default = catalog.path / "builds" / view.name / draft["build_id"]
        target = default if out is None else _out(out)
        again = not (dry_run or unlocked)
        if not dry_run:
            place.put_right(target)
        there = place.unchanged(target, draft["build_id"]) if again else None
        if there and _conflicts(catalog, view, there, target):
            there = None
        if there and _carded(target, there, catalog, view, mode):
            _record(catalog, view, there, target)  # a run that died may not have come to it
            return Build(there, target, unchanged=True)
        if not (dry_run or there):
            _check_target(catalog, target, ours=out is None)
        messages = _choose(catalog, view, session, draft, trusted)
        if dry_run:
            return Build(draft, None)
        draft["robustness"] = (
            stability.measure(catalog, view, settings, mode) if mode != "off" else None
        )
        if there:
            read(session, messages)
            enforce(view.name, messages.outcomes())
            draft = {**there, **{name: draft[name] for name in ("robustness", "contract")}}
            draft["facts"] = card.gather(catalog, view, session, draft)
            return Build(_renew_card(catalog, view, draft, target), target)
        made = _write(catalog, view, session, draft, target, messages, progress)
        return Build(made, target)
    finally:
        session.close()


def _choose(
    catalog: Catalog, view: SqlFile, session: Session, draft: dict[str, Any], trusted: bool
) -> Messages:
    """Put the rows into `_chosen`, and into the draft how many they are and what left them.

    Returns what is to look at their texts. Raises ContractError.
    """
    system = catalog.config.build.system
    compared = scorers.outcomes(draft["scorers"], draft["parameters"], system)
    enforce(view.name, compared)
    selects = explain.uses_selection(view)
    if selects:
        pool.materialize(session)
    rows.choose(catalog, view, session, trusted=trusted)
    draft["rows"], checked = check_rows(catalog, view, session, trusted=trusted)
    enforce(view.name, checked)
    messages = Messages(draft["scorers"].get("student"), system)
    draft["contract"] = {
        **_asked(catalog, view),
        "checks": [
            {"check": outcome.check, "note": outcome.note}
            for outcome in [*compared, *checked, *messages.outcomes()]
        ],
    }
    draft["funnel"] = explain.funnel(session, view) if selects else []
    draft["worth"] = worth.weigh(session, session.values) if selects else None
    return messages


def _asked(catalog: Catalog, view: SqlFile) -> dict[str, Any]:
    """What the contract depends on besides the rows: a build is looked at again for another."""
    return {
        "declared": view.contract.json(),
        "contamination": catalog.filter_versions().get("contamination"),
    }


def _carded(target: Path, there: Manifest, catalog: Catalog, view: SqlFile, mode: str) -> bool:
    """Whether a build that is there kept this contract, and has the card that would be written."""
    path = target / "README.md"
    whole = path.is_file() and flush_and_hash(path) == there["card"]
    kept = _asked(catalog, view).items() <= there["contract"].items()
    return whole and kept and stability.holds(there["robustness"], catalog, mode)


def _out(out: Path) -> Path:
    """The folder that `--out` names. Raises UsageError for a name that few systems can store."""
    folder = out.absolute() if out.name not in ("", "..") else out.resolve()
    if not sqlfiles.portable(folder.name):
        raise UsageError(f"--out {str(out)!r} is no name for a folder that others clone")
    return folder


def _check_target(catalog: Catalog, target: Path, ours: bool) -> None:
    """Refuse a folder that holds anything but a build: it would be replaced."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file: choose a folder by --out")
    if not target.is_dir() or not any(target.iterdir()):
        return
    found = {str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir()}
    known = _known(catalog, target, found, ours)
    if (known or ours) and found <= known:
        return
    other = sorted(found - known, key=lambda n: (manifest.is_file_of_build(n), n[:4] != "data", n))
    raise UsageError(
        f"{target} holds something else than a build ({other[0] if other else 'folders'}), or one "
        "whose manifest is damaged or of another version: choose another folder by --out, or "
        "remove this one"
    )


def _known(catalog: Catalog, target: Path, found: set[str], ours: bool) -> set[str]:
    """The files that a build may have in a folder: all that may be replaced there.

    Those that its manifest names; where that is damaged, in the catalog's own place any that are
    named like a build's, and elsewhere none but the shards that the table of builds has there.
    """
    described = {"README.md", manifest.NAME}
    if there := place.whole(target):
        return described | {shard["path"] for shard in there["shards"]}
    named = {name for name in found if manifest.is_file_of_build(name)}
    if ours:
        return named
    recorded = {
        digest
        for row in builds.recorded(catalog)
        if row["folder"].absolute() == target
        for digest in json.loads(row["shards"])
    }
    shards = {n for n in named - described if flush_and_hash(target / n) in recorded}
    return described | shards if shards else set()


def _write(
    catalog: Catalog,
    view: SqlFile,
    session: Session,
    draft: dict[str, Any],
    target: Path,
    messages: Messages,
    progress: Callable[[int, int], None],
) -> Manifest:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        draft["facts"] = card.gather(catalog, view, session, draft)
        pool.release(session)
        draft["shards"] = [
            s.json() for s in _shards(catalog, view, session, draft, temporary, messages, progress)
        ]
        enforce(view.name, messages.outcomes())
        draft["built_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        made = _describe(draft, temporary)
        with held(), place.alone(target):
            if _conflicts(catalog, view, made, target):
                raise _other_rows(made)
            if not place.replace(temporary, target, made):
                place.swap_card(temporary, target, made)
            _record(catalog, view, made, target)
        return made
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _describe(draft: Mapping[str, Any], folder: Path) -> Manifest:
    """Write the card and the manifest, by which a build is known: it comes last. All on disk."""
    described = card.of_build(manifest.plain(draft)).encode()
    made = manifest.seal({**draft, "card": hashlib.sha256(described).hexdigest()})
    for name, content in (("README.md", described), (manifest.NAME, manifest.encode(made))):
        (folder / name).write_bytes(content)
        files.flush(folder / name)
    files.flush_folder(folder)
    return made


def _renew_card(
    catalog: Catalog, view: SqlFile, draft: Mapping[str, Any], target: Path
) -> Manifest:
    """Give a build that is there another card and manifest; its shards stay as they are."""
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        temporary.mkdir()
        made = _describe(draft, temporary)
        with held(), place.alone(target):
            place.swap_card(temporary, target, made)
            _record(catalog, view, made, target)
        return made
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _record(catalog: Catalog, view: SqlFile, made: Manifest, target: Path) -> None:
    """Add the build to the table of builds, unless it is there. Raises ContractError."""
    row = _row(catalog, view, made, target)
    done = Writer(catalog.store, f"build {view.name}").append({"builds": row})
    if done["builds"].conflicts is not None:
        raise _other_rows(made)


def _conflicts(catalog: Catalog, view: SqlFile, made: Manifest, target: Path) -> bool:
    """Whether the build was recorded with other shards."""
    row = _row(catalog, view, made, target)
    return bool(Writer(catalog.store, "build").conflicts("builds", row).any())


def _other_rows(made: Manifest) -> ContractError:
    return ContractError(
        f"view {made['view']} gave other rows when build {made['build_id']} was recorded, "
        "by the same SQL over the same files: an ORDER BY within its aggregates, window functions "
        "and LIMITs that leaves no ties gives the same rows each time"
    )


def _row(catalog: Catalog, view: SqlFile, made: Manifest, target: Path) -> pa.Table:
    """The row of a build in the table of builds; within the catalog, its path moves with it."""
    path, home = target.absolute(), catalog.path.absolute()
    if path.is_relative_to(home):
        path = path.relative_to(home)
    row = {
        "build_id": made["build_id"],
        "view": view.name,
        "snapshot_id": made["snapshot_id"],
        "parameters": json.dumps(made["parameters"], sort_keys=True),
        "rows": made["rows"],
        "shards": json.dumps([s["sha256"] for s in made["shards"]]),
        "path": path.as_posix(),
        "built_at": datetime.fromisoformat(made["built_at"]),
    }
    schema = TABLES["builds"].schema
    return pa.Table.from_pylist([row], schema.remove(schema.get_field_index("content_hash")))


def _shards(
    catalog: Catalog,
    view: SqlFile,
    session: Session,
    draft: Mapping[str, Any],
    folder: Path,
    messages: Messages,
    progress: Callable[[int, int], None],
) -> list[shards.Shard]:
    total, done = draft["rows"], 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    return materialize(
        session, view, catalog.config.build.system, total, folder, count, messages.look
    )
