"""`reproduce`: a build made again from its manifest, and compared shard by shard.

A manifest names the snapshot, the SHA-256 of the input files, the SQL, the parameters and the
versions of the code and of the libraries. What of that is not here is said before anything runs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dasd_data import rows, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError, UsageError
from dasd_data.inputs import libraries, tables_of
from dasd_data.log import State
from dasd_data.manifest import Manifest
from dasd_data.materialize import materialize
from dasd_data.parameters import Parameter, Variables
from dasd_data.schema import TABLES
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile
from dasd_data.tables import listed


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    `missing` says what a rebuild needs and is not here: then nothing was run. `shards` has path,
    the SHA-256 in the manifest and that of the rebuild; `versions` what it was made by and what it
    was made by again, where they differ.
    """

    build_id: str
    view: str
    snapshot_id: int
    missing: list[str] = field(default_factory=list)
    versions: dict[str, list[str]] = field(default_factory=dict)
    shards: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reproduced(self) -> bool:
        """Whether every shard is the same, byte by byte."""
        same = all(shard["expected"] == shard["found"] for shard in self.shards)
        return bool(self.shards) and same and not self.missing


def reproduce(
    catalog: Catalog,
    manifest: Manifest,
    *,
    trusted: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reproduction:
    """Build again what a manifest describes, in a temporary folder, and compare.

    Raises UsageError for the manifest of a build that was `--trusted` unless this is too, and for
    names and values that no build has.
    """
    if manifest.get("trusted") and not trusted:
        raise UsageError(
            f"build {manifest['build_id']} was made with --trusted, so its SQL runs unlocked and "
            "may have read what no manifest names: pass --trusted if it is your own"
        )
    view = _view(catalog, manifest)
    about = (manifest["build_id"], manifest["view"], manifest["snapshot_id"])
    versions = _versions(manifest)
    then, missing = _at(catalog, manifest)
    if then is not None and not missing:
        then.verify_files([*tables_of(view), "runs", "scorers"])
        session, missing = _session(then, view, manifest)
        if session is not None:
            try:
                shards = _rebuild(then, view, session, manifest, trusted, progress)
            finally:
                session.close()
            return Reproduction(*about, versions=versions, shards=shards)
    return Reproduction(*about, missing=missing, versions=versions)


def _view(catalog: Catalog, manifest: Manifest) -> SqlFile:
    """The view as it was. It is SQL of others, unless it is a shipped one word for word."""
    name = sqlfiles.check_name(manifest["view"], "the manifest's view")
    shipped = sqlfiles.sql_folder() / "views" / f"{name}.sql"
    own = catalog.path / "views" / f"{name}.sql"
    known = shipped.is_file() and sqlfiles.load(shipped, name).sql == manifest["sql"]
    path = shipped if known else own
    parameters = {
        declared: Parameter.declared(declared, settings, path)
        for declared, settings in manifest["declared"].items()
    }
    return SqlFile(
        name,
        path,
        manifest["sql"],
        parameters=parameters,
        key=tuple(manifest["key"]),
    )


def _versions(manifest: Manifest) -> dict[str, list[str]]:
    here = {"code": sqlfiles.code_version(), **libraries()}
    then = {"code": manifest["code"], **manifest["libraries"]}
    return {name: [then.get(name, "none"), v] for name, v in here.items() if then.get(name) != v}


def _at(catalog: Catalog, manifest: Manifest) -> tuple[Catalog | None, list[str]]:
    """The catalog at the build's snapshot, and what is missing there."""
    number, named = manifest["snapshot_id"], manifest["files"]
    try:
        then = Catalog(catalog.config, at=number)
        there = {table: _listed(then, table) for table in TABLES}
    except (UsageError, DataError) as error:
        return None, [f"snapshot {number}: {error}", *_absent(catalog, named)]
    absent = list(_absent(catalog, {**there, **named}))
    if other := [t for t in named if there.get(t) != sorted(named[t])]:
        which = f"snapshot {number} of this catalog has other files of {', '.join(other)}"
        return None, [f"{which}: it is another catalog, or another history", *absent]
    return then, absent


def _listed(then: Catalog, table: str) -> list[str]:
    """The files that a table has at the snapshot, whether they are there or not."""
    state = then.snapshot.tables.get(table, State())
    if not state.files:
        return []
    return sorted(Path(f.name).stem for f in listed(then.store.delta(table, state.version)))


def _absent(catalog: Catalog, files: Mapping[str, list[str]]) -> Iterator[str]:
    """Input files that are not in the catalog's folders, by table."""
    for table, stems in sorted(files.items()):
        if table not in TABLES:
            yield f"table {table}: this version of dasd-data has none"
            continue
        folder = catalog.store.folder(table)
        gone = [stem for stem in stems if not (folder / f"{stem}.parquet").is_file()]
        if gone:
            some = ", ".join(f"{stem[:12]}…" for stem in gone[:3])
            more = ", …" if len(gone) > 3 else ""
            yield f"table {table}: {len(gone):,} of {len(stems):,} files ({some}{more})"


def _session(then: Catalog, view: SqlFile, manifest: Manifest) -> tuple[Session | None, list[str]]:
    """A session with the build's parameters and filters, and which of them are not known here."""
    declared = then.declared(view)
    given = manifest["parameters"]
    missing = [f"parameter {n}: this version has none" for n in given if n not in declared]
    scorers = {row["scorer_id"] for row in then.scorers()}
    variables = Variables()
    for name, parameter in declared.items():
        # As they were: what had no value then has none now, whatever is the default.
        value = given.get(name)
        value = None if value is None else parameter.check(value)
        if parameter.type == "scorer" and value and value not in scorers:
            missing.append(f"scorer {value} ({name}): the catalog has none")
        variables.values[name], variables.literals[name] = value, parameter.literal(value)
    if missing:
        return None, missing
    variables.set_filters(manifest["filters"])
    session = Session(then.files, threads=then.config.threads, limits=then.config.sql)
    session.use(variables)
    session.create_base_views()
    return session, []


def _rebuild(
    then: Catalog,
    view: SqlFile,
    session: Session,
    manifest: Manifest,
    trusted: bool,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """Shards of the manifest beside those of a rebuild, by path."""
    total, done = manifest["rows"], 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        progress(done, total)

    rows.choose(then, view, session, trusted=trusted)
    (chosen,) = session.rows("SELECT count(*) AS n FROM _chosen")
    with tempfile.TemporaryDirectory(prefix="dasd-reproduce-") as folder:
        made = materialize(
            session, view, manifest["system"], int(chosen["n"]), Path(folder) / "build", count
        )
    expected = {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
    found = {shard.path: shard.sha256 for shard in made}
    return [
        {"path": path, "expected": expected.get(path), "found": found.get(path)}
        for path in sorted({*expected, *found})
    ]
