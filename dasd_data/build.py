"""Builds: a view's rows, rendered for training, as shards with a card and a manifest.

A build is named by the hash of what decides its rows: the SHA-256 of the files of the tables that
the view reads, its SQL, its parameters and the code. Shards carry no run id and no time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_data import (
    __version__,
    card,
    contract,
    explain,
    files,
    place,
    rows,
    shards,
    sqlfiles,
    worth,
)
from dasd_data import robustness as stability
from dasd_data.catalog import Catalog
from dasd_data.errors import ContractError, UsageError
from dasd_data.files import flush_and_hash
from dasd_data.interrupts import held
from dasd_data.materialize import materialize
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile
from dasd_data.writer import Writer


@dataclass(frozen=True)
class Build:
    """A build. `path` is None in a dry run; `unchanged`: it was there, with the same card."""

    manifest: dict[str, Any]
    path: Path | None
    unchanged: bool = False

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

    Raises ContractError (no rows, bad key, scorers that cannot be compared), DamagedFileError,
    UnknownNameError, UsageError (`out` holds something else).
    """
    view = catalog.find_view(view_name)
    mode = robustness if explain.uses_selection(view) else "off"
    tables = sorted({*sqlfiles.reads(view.sql) & TABLES.keys(), "responses", "questions"})
    # Runs and scorers decide which filters, segmenter and scores count.
    catalog.verify_files([*tables, "runs", "scorers", "sentence_scores", "repeat_scores"])
    session = catalog.session(view, settings)
    try:
        unlocked = trusted and not view.shipped
        manifest = _manifest(catalog, view, session, tables, unlocked)
        default = catalog.path / "builds" / view.name / manifest["build_id"]
        target = default if out is None else _out(out)
        again = not (dry_run or unlocked)
        if not dry_run:
            with place.alone(target):  # what a killed build left is put right
                pass
        there = place.unchanged(target, manifest["build_id"]) if again else None
        if there and _carded(target, there, catalog, mode):
            _record(catalog, view, there, target)  # a run that died may not have come to it
            return Build(there, target, unchanged=True)
        if not (dry_run or there):
            _check_target(target)
        _choose(catalog, view, session, manifest, trusted)
        if dry_run:
            return Build(manifest, None)
        manifest["robustness"] = (
            stability.measure(catalog, view, settings, mode) if mode != "off" else None
        )
        if there:
            manifest = {**there, "robustness": manifest["robustness"]}
            _renew_card(catalog, view, session, manifest, target)
            return Build(manifest, target)
        _write(catalog, view, session, manifest, target, progress)
        return Build(manifest, target)
    finally:
        session.close()


def _manifest(
    catalog: Catalog, view: SqlFile, session: Session, tables: Sequence[str], unlocked: bool
) -> dict[str, Any]:
    """What decides the rows of a build, and its id."""
    reads = sqlfiles.reads(view.sql)
    scorers = {row["scorer_id"]: row for row in catalog.scorers()}
    used = {
        name: {k: v for k, v in scorers[value].items() if k not in ("content_hash", "used")}
        for name, value in session.values.items()
        if catalog.declared(view)[name].type == "scorer" and value and "sentence_pairs" in reads
    }
    decides = {
        "view": view.name,
        "config": view.config,
        "description": view.description,
        "sql": view.sql,
        "key": view.key,
        "parameters": session.values,
        "filters": session.filters,
        "system": catalog.config.build.system,
        "files": {t: sorted(p.stem for p in catalog.files[t]) for t in tables},
        "code": sqlfiles.code_version(),
        "libraries": {name: version(name) for name in ("duckdb", "pyarrow")},
        **({"trusted": True, "nonce": uuid.uuid4().hex} if unlocked else {}),
    }
    text = json.dumps(decides, sort_keys=True)
    return {
        "build_id": hashlib.sha256(text.encode()).hexdigest()[:16],
        **decides,
        "scorers": used,
        "snapshot_id": catalog.snapshot.snapshot_id,
        "version": __version__,
    }


def _choose(
    catalog: Catalog, view: SqlFile, session: Session, manifest: dict[str, Any], trusted: bool
) -> None:
    """Put the rows into `_chosen`, and into the manifest how many they are and what left them."""
    contract.check_scorers(manifest["scorers"], manifest["parameters"], catalog.config.build.system)
    selects = explain.uses_selection(view)
    if selects:
        explain.materialize(session)
    rows.choose(catalog, view, session, trusted=trusted)
    manifest["rows"] = contract.check_rows(session, view)
    manifest["funnel"] = explain.funnel(session) if selects else []
    manifest["worth"] = worth.weigh(session, session.values) if selects else None


def _carded(target: Path, manifest: Mapping[str, Any], catalog: Catalog, mode: str) -> bool:
    """Whether a build that is there has the card that was written, and would be again."""
    path = target / "README.md"
    whole = path.is_file() and flush_and_hash(path) == manifest.get("card")
    return whole and stability.holds(manifest.get("robustness"), catalog, mode)


def _out(out: Path) -> Path:
    """The folder that `--out` names. Raises UsageError for a name that few systems can store."""
    folder = out.absolute() if out.name not in ("", "..") else out.resolve()
    if not sqlfiles.portable(folder.name):
        raise UsageError(f"--out {str(out)!r} is no name for a folder that others clone")
    return folder


def _check_target(target: Path) -> None:
    """Refuse a folder that holds anything but a build: it would be replaced."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"--out {target} is a file: choose a folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    manifest = place.read_manifest(target)
    known = {"README.md", "manifest.json", *(s["path"] for s in (manifest or {}).get("shards", []))}
    found = {str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir()}
    if manifest is None or found - known:
        other = sorted(found - known if manifest else found)[0]
        raise UsageError(
            f"--out {target} holds something else than a build ({other}): choose another folder"
        )


def _write(
    catalog: Catalog,
    view: SqlFile,
    session: Session,
    manifest: dict[str, Any],
    target: Path,
    progress: Callable[[int, int], None],
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        described = card.render(catalog, view, session, manifest)
        explain.release(session)
        manifest["shards"] = [
            s.json() for s in _shards(catalog, view, session, manifest, temporary, progress)
        ]
        manifest["built_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        _describe(described, manifest, temporary)
        for path in temporary.rglob("*"):
            if path.is_file():
                files.flush(path)
        with held(), place.alone(target):
            _check_recorded(catalog, view, manifest, target)
            if not place.replace(temporary, target, manifest["build_id"]):
                place.swap_card(temporary, target, manifest["build_id"])
            _record(catalog, view, manifest, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _describe(described: str, manifest: dict[str, Any], folder: Path) -> None:
    """Write the card and the manifest, by which a build is known: it comes last."""
    (folder / "README.md").write_text(described)
    manifest["card"] = hashlib.sha256(described.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))


def _renew_card(
    catalog: Catalog, view: SqlFile, session: Session, manifest: dict[str, Any], target: Path
) -> None:
    """Give a build that is there another card and manifest; its shards stay as they are."""
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        temporary.mkdir()
        _describe(card.render(catalog, view, session, manifest), manifest, temporary)
        with held(), place.alone(target):
            place.swap_card(temporary, target, manifest["build_id"])
            _record(catalog, view, manifest, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _record(catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any], target: Path) -> None:
    """Add the build to the table of builds, unless it is there. Raises ContractError."""
    row = _row(catalog, view, manifest, target)
    done = Writer(catalog.store, f"build {view.name}").append({"builds": row})
    if done["builds"].conflicts is not None:
        raise _other_rows(manifest)


def _check_recorded(
    catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any], target: Path
) -> None:
    """Raise ContractError if the build was recorded with other shards."""
    if (
        Writer(catalog.store, "build")
        .conflicts("builds", _row(catalog, view, manifest, target))
        .any()
    ):
        raise _other_rows(manifest)


def _other_rows(manifest: Mapping[str, Any]) -> ContractError:
    return ContractError(
        f"view {manifest['view']} gave other rows when build {manifest['build_id']} was recorded, "
        "by the same SQL over the same files: an ORDER BY within its aggregates, window functions "
        "and LIMITs that leaves no ties gives the same rows each time"
    )


def _row(catalog: Catalog, view: SqlFile, manifest: Mapping[str, Any], target: Path) -> pa.Table:
    """The row of a build in the table of builds; within the catalog, its path moves with it."""
    path, home = target.absolute(), catalog.path.absolute()
    if path.is_relative_to(home):
        path = path.relative_to(home)
    row = {
        "build_id": manifest["build_id"],
        "view": view.name,
        "snapshot_id": manifest["snapshot_id"],
        "parameters": json.dumps(manifest["parameters"], sort_keys=True),
        "rows": manifest["rows"],
        "shards": json.dumps([s["sha256"] for s in manifest["shards"]]),
        "path": path.as_posix(),
        "built_at": datetime.fromisoformat(manifest["built_at"]),
    }
    schema = TABLES["builds"].schema
    return pa.Table.from_pylist([row], schema.remove(schema.get_field_index("content_hash")))


def _shards(
    catalog: Catalog,
    view: SqlFile,
    session: Session,
    manifest: Mapping[str, Any],
    folder: Path,
    progress: Callable[[int, int], None],
) -> list[shards.Shard]:
    total, done = manifest["rows"], 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    return materialize(session, view, catalog.config.build.system, total, folder, count)
