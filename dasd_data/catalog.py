"""The catalog as a user sees it: a pinned snapshot, SQL over it, views and their parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dasd_data import config as configuration
from dasd_data import files, notebook, parameters, rows, sandbox, scorers, sqlfiles
from dasd_data.errors import ConfigError, UnknownNameError, UsageError
from dasd_data.log import State
from dasd_data.parameters import Parameter, Variables
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.session import Session
from dasd_data.snapshots import Snapshot, parse_at
from dasd_data.sqlfiles import SqlFile
from dasd_data.store import Store

if TYPE_CHECKING:
    import duckdb

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f%\\]")


class Catalog:
    """A catalog at one snapshot. Others may write meanwhile; `refresh` moves to the newest."""

    def __init__(self, config: configuration.Config, at: int | datetime | None = None) -> None:
        self.config = config
        if config.threads:
            pa.set_cpu_count(config.threads)
        self.store = Store.open(config.catalog)
        self.snapshot: Snapshot = self.store.snapshot(at)

    @property
    def path(self) -> Path:
        """The catalog's folder."""
        return self.store.path

    def __repr__(self) -> str:
        return f"Catalog({str(self.path)!r}, snapshot {self.snapshot.snapshot_id})"

    def _repr_html_(self) -> str:
        return notebook.of_catalog(self)

    def _ipython_key_completions_(self) -> list[str]:
        return [*dict.fromkeys([*self._relations(), *self.views()])]

    def _relations(self) -> list[str]:
        return [*TABLES, SNAPSHOTS.name, *(view.name for view in sqlfiles.base_views())]

    def __getitem__(self, name: str) -> duckdb.DuckDBPyRelation:
        """A table, a base view, or the rows that a view chooses: `cat["low_t_das"]`.

        Raises UnknownNameError, and what `split` raises.
        """
        if name in self._relations():
            return self.sql(f"FROM {parameters.identifier(name)}")
        if name not in self.views():
            raise UnknownNameError("table or view", name, self._ipython_key_completions_())
        return self.split(name)

    def refresh(self) -> Catalog:
        """Move to the newest snapshot, in a new session; relations made before stay as they were.

        Returns the catalog itself.
        """
        self.snapshot = self.store.snapshot()
        for name in ("files", "_sessions", "_plain"):
            self.__dict__.pop(name, None)
        return self

    def sql(self, query: str, **settings: Any) -> duckdb.DuckDBPyRelation:
        """Run one reading statement over the snapshot: `.pl()`, `.df()`, `.arrow()`, `.fetchall()`.

        Keyword arguments set parameters of the base views, such as `beta=0.2`. It is locked, and
        it runs in this process when its rows are asked for: unlike `dasd-data sql` it has no time
        limit and ends with a notebook's own interrupt. For SQL of others, use the command.
        Raises UnknownNameError for an unknown name, DeniedError for a statement that writes.
        """
        return self._session_with(settings).query(query)

    def split(self, name: str, **settings: Any) -> duckdb.DuckDBPyRelation:
        """The rows that a view chooses, before they are rendered for training.

        They are chosen at once, as a build chooses them, with keyword arguments as its `--set`.
        Raises UnknownNameError, LimitError, DeniedError.
        """
        view = self.find_view(name)
        session = self.session(view, settings)
        rows.choose(self, view, session)
        return session.connection.sql("FROM _chosen")

    def connect(self, **settings: Any) -> duckdb.DuckDBPyConnection:
        """A plain DuckDB connection: in memory, over the pinned snapshot, locked, the caller's.

        It has the tables, the base views and the macros; temporary tables can be made in it, and
        no other file can be read or written. Parameters are variables: `SET VARIABLE beta = 0.2`.
        """
        return self.session(settings=settings).connection

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """The Parquet files of every table at the snapshot; all are there, with their sizes.

        Raises DamagedFileError where the tables' logs give other files than were recorded.
        """
        states = {name: self.snapshot.tables.get(name, State()) for name in TABLES}
        states[SNAPSHOTS.name] = self.store.history(self.snapshot)
        return {name: self.store.files(name, state) for name, state in states.items()}

    def verify_files(self, tables: Iterable[str]) -> None:
        """Check the SHA-256 of every file of these tables; what did not change is not read again.

        DuckDB reads most flipped bits without an error. Raises DamagedFileError naming the file.
        """
        with files.Verified(self.path / "verified.json") as verified:
            for table in sorted(set(tables) & self.files.keys()):
                for path in self.files[table]:
                    files.verify(path, verified)

    def checked_session(self) -> Session:
        """A session over the tables alone, all files checked, for what derives rows from rows.

        What was derived from a damaged file would stay, and look sound, after it is restored.
        """
        self.verify_files(TABLES)
        return Session(self.files, threads=self.config.threads, limits=self.config.sql)

    @cached_property
    def _sessions(self) -> dict[str, Session]:
        return {}

    def _session_with(self, settings: Mapping[str, Any]) -> Session:
        """The session with these settings; kept, since its relations are read later."""
        key = repr(sorted(settings.items()))
        if key not in self._sessions:
            self._sessions[key] = self.session(settings=settings)
        return self._sessions[key]

    def session(
        self,
        view: SqlFile | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        readable: Iterable[Path] = (),
    ) -> Session:
        """A new locked session with the base views, and with the parameters of a view set.

        Files of other snapshots that are `readable` may be named by our own statements.
        """
        limits = self.config.sql
        if view and not view.shipped:  # its rows come here, and no limit of a child's is wider
            limits = replace(limits, spill_limit=sandbox.limits(limits).spill_limit)
        session = Session(self.files, threads=self.config.threads, limits=limits, readable=readable)
        session.use(self.variables(view, settings))
        session.create_base_views()
        return session

    def variables(
        self, view: SqlFile | None = None, settings: Mapping[str, Any] | None = None
    ) -> Variables:
        """What the SQL of a view reads as variables: names mean what they mean in this catalog."""
        declared, given = self.declared(view), settings or {}
        variables, known = Variables(), self.scorers()
        values = self.parameters(view, settings)
        for name, parameter in declared.items():
            if parameter.type == "segmenter" and values[name] is None:
                values[name] = self.segmenter()
            if parameter.type != "scorer" or values[name] is None:
                continue
            try:
                values[name] = scorers.resolve(values[name], self.config.scorers, known)
            except UsageError as problem:
                if name in given:
                    raise
                # Only a query that reads this scorer's sentences fails, and then says why.
                values[name] = None if values["require_scores"] else ""
                variables.set_text(f"{name}_error", str(problem))
        variables.set_values(declared, values)
        current = self.filter_versions()
        variables.set_filters({n: current.get(n, "") for n in values["required_filters"]})
        return variables

    def declared(self, view: SqlFile | None = None) -> dict[str, Parameter]:
        """All parameters: those of the base views, and a view's own."""
        declared: dict[str, Parameter] = {}
        for file in sqlfiles.base_views():
            declared.update(file.parameters)
        for name, parameter in view.parameters.items() if view else ():
            if declared.get(name, parameter) != parameter:
                raise ConfigError(
                    f"{view and view.path}: parameter {name} is declared already: give it another "
                    "value under [defaults], or another name"
                )
            declared[name] = parameter
        return declared

    def parameters(
        self, view: SqlFile | None = None, settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Values of all parameters: declared defaults, the view's, then `settings`."""
        return parameters.resolve(
            self.declared(view), view.defaults if view else {}, settings or {}
        )

    def find_view(self, name: str) -> SqlFile:
        """A view by name or by path. Raises UnknownNameError with the closest name."""
        return sqlfiles.find_view(name, self.path)

    def views(self) -> dict[str, SqlFile]:
        """The views that define splits: shipped ones and the catalog's own, if they can be used."""
        return sqlfiles.split_views(self.path)

    def describe(self, name: str) -> list[tuple[str, str, str]]:
        """Columns of a table or base view: name, type, comment. Raises UnknownNameError."""
        if name in TABLES or name == SNAPSHOTS.name:
            spec = SNAPSHOTS if name == SNAPSHOTS.name else TABLES[name]
            return [(c.name, str(c.type), c.comment) for c in spec.columns]
        base = {view.name: view for view in sqlfiles.base_views()}
        if name not in base:
            raise UnknownNameError(
                "table or view", name, {*TABLES, SNAPSHOTS.name, *base, *self.views()}
            )
        rows = self._session_with({}).rows(f"DESCRIBE {parameters.identifier(name)}")
        about = sqlfiles.comments(base[name])
        return [
            (row["column_name"], row["column_type"], about.get(row["column_name"], ""))
            for row in rows
        ]

    def filter_versions(self) -> dict[str, str]:
        """The current version of every filter: that of the newest run that asked for it."""
        return {name: v for run in self._settings("filters") for name, v in run.items()}

    def segmenter(self) -> str | None:
        """The current segmenter: that of the newest run that used one."""
        return next(reversed(self._settings("segmenter")), None)

    def _settings(self, name: str) -> list[Any]:
        """A setting of all runs that have it, the newest last.

        Of the runs, not of the rows they wrote: settings that are turned back find all their rows
        there, and write none.
        """
        rows = self._plain.rows(
            "SELECT configuration FROM runs WHERE configuration IS NOT NULL"
            " ORDER BY started_at, run_id"
        )
        settings = [json.loads(row["configuration"]) for row in rows]
        return [s[name] for s in settings if s.get(name)]

    def configurations(self, stage: str, but: str = "") -> list[dict[str, Any]]:
        """What the runs of a stage were asked for, the newest first, `but` for one run id."""
        rows = self._plain.rows(
            f"SELECT configuration FROM runs WHERE stage = {parameters.quote(stage)}"
            f" AND run_id <> {parameters.quote(but)} AND configuration IS NOT NULL"
            " ORDER BY started_at DESC, run_id"
        )
        return [json.loads(row["configuration"]) for row in rows]

    def scorers(self) -> list[dict[str, Any]]:
        """Rows of `scorers`, with `used`: whether any response is scored by it."""
        return self._plain.rows(
            "SELECT *, scorer_id IN (SELECT scorer_id FROM sentence_scores) AS used"
            " FROM scorers ORDER BY name, scorer_id"
        )

    @cached_property
    def _plain(self) -> Session:
        """A session over the tables alone, for what the variables depend on."""
        return Session(self.files, threads=self.config.threads, limits=self.config.sql)


def open(path: str | Path | None = None, *, at: int | str | datetime | None = None) -> Catalog:
    """Open a catalog, pinned at its newest snapshot, or at an older one.

    `at` is the number of a snapshot, -1 for the one before the newest, or a time: the newest
    snapshot at or before it. Without a path: `DASD_CATALOG`, else the nearest `dasd.toml`, else
    `./dasd.catalog`. Raises UsageError where there is no catalog or no such snapshot.
    """
    return Catalog(configuration.load(path), parse_at(at) if isinstance(at, str) else at)


def create(path: str | Path, *, settings: bool = True) -> Catalog:
    """Create a catalog, or complete one; with `settings`, a `dasd.toml` beside it if none is."""
    path = Path(path)
    if bad := _UNSTORABLE.search(str(path.absolute())):
        raise UsageError(
            f"{str(path)!r} cannot be the path of a catalog: Delta cannot store tables under "
            f"{bad.group()!r}"
        )
    if any(path.glob("*.sql")) or ((path / "views").is_dir() and not (path / "tables").is_dir()):
        raise UsageError(f"{path} holds SQL files: a catalog needs a folder of its own")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: a catalog is a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "tables").is_dir():
        raise UsageError(f"{path} is not empty and is no catalog: choose another folder")
    Store.create(path)
    (path / "views").mkdir(exist_ok=True)
    beside = path.absolute().parent / configuration.FILE
    if settings and not beside.exists():
        beside.write_text(configuration.TEMPLATE.format(catalog=json.dumps(path.name)))
    return Catalog(replace(configuration.load(path), catalog=path))
