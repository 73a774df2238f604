"""What reads what: relations as DuckDB's parser finds them, columns as its planner scans them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dasd_data import rows, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.errors import DasdError
from dasd_data.explain import macros
from dasd_data.parameters import Parameter, identifier
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.session import Session, relation
from dasd_data.sqlfiles import SqlFile

TABLE, BASE, SPLIT = "table", "base view", "split"
_VARIABLE = re.compile(r"\bgetvariable\s*\(\s*'(\w+)'", re.IGNORECASE)
_OF_FILTERS = {"filters": "required_filters"}  # variables that are made of a parameter


@dataclass(frozen=True)
class Field:
    """A column. `reads` are the columns of tables that decide its values or its rows, by table."""

    name: str
    type: str
    comment: str = ""
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Relation:
    """A table, a base view or a split, with the relations and parameters that its SQL names."""

    name: str
    kind: str
    about: str
    fields: tuple[Field, ...]
    reads: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    file: SqlFile | None = None
    key: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Lineage:
    """All relations and parameters, by name."""

    relations: dict[str, Relation]
    parameters: dict[str, Parameter]

    def readers(self, name: str) -> list[str]:
        """The relations that read this one."""
        return [r.name for r in self.relations.values() if name in r.reads]

    def readers_of(self, table: str, column: str) -> list[tuple[str, str]]:
        """The (view, column) that a column of a table decides."""
        return [
            (r.name, f.name)
            for r in self.relations.values()
            for f in r.fields
            if r.name != table and column in f.reads.get(table, ())
        ]


def lineage(catalog: Catalog) -> Lineage:
    """The lineage of a catalog's views; those of its own are parsed here, and bound in a child."""
    session = _empty(catalog)
    try:
        found: dict[str, Relation] = {}
        for spec in (*TABLES.values(), SNAPSHOTS):
            fields = tuple(Field(c.name, str(c.type), c.comment) for c in spec.columns)
            found[spec.name] = Relation(spec.name, TABLE, spec.comment, fields, key=spec.key)
        known = {*found, *(view.name for view in sqlfiles.base_views())}
        for file in sqlfiles.base_views():
            found[file.name] = _view(session, file, BASE, known, _columns(session, file))
        for name, file in sorted(catalog.views().items()):
            try:
                fields = _columns(session, file) if file.shipped else _described(catalog, file)
                problem = ""
            except DasdError as error:
                fields, problem = (), str(error)
            found[name] = _view(session, file, SPLIT, known, fields, problem)
        declared = dict(catalog.declared())
        for file in catalog.views().values():
            declared |= {n: p for n, p in file.parameters.items() if n not in declared}
        return Lineage(found, declared)
    finally:
        session.close()


def _empty(catalog: Catalog) -> Session:
    """Tables without rows and the base views over them: what they scan can be asked cheaply."""
    session = Session({}, trusted=True)
    for name in (*TABLES, SNAPSHOTS.name):
        session.execute(f"DROP VIEW {name}")
        session.execute(f"CREATE TABLE {name} AS {relation(name, [])}")
    session.use(catalog.variables(settings={"require_scores": False}))
    session.create_base_views()
    # What is known of no rows is no reason to leave a scan out.
    session.execute("SET disabled_optimizers='statistics_propagation,filter_pushdown'")
    return session


def _view(
    session: Session,
    file: SqlFile,
    kind: str,
    known: set[str],
    fields: tuple[Field, ...],
    problem: str = "",
) -> Relation:
    session.set_text("docs_sql", file.sql)
    (named,) = session.rows(sqlfiles.report("docs_names"))
    ctes = {name.lower() for name in named["ctes"]}
    reads = sorted({name.lower() for name in named["relations"]} & known - ctes)
    return Relation(
        file.name,
        kind,
        file.description,
        fields,
        tuple(reads),
        tuple(sorted(_variables(file.sql))),
        file,
        file.key if kind == SPLIT else (),
        problem,
    )


def _variables(sql: str) -> set[str]:
    """Parameters that a query reads, itself or by a macro."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    texts = [sql, *(body for name, (_, body) in macros().items() if name in words)]
    names = {name for text in texts for name in _VARIABLE.findall(text)}
    return {_OF_FILTERS.get(name, name) for name in names}


def _columns(session: Session, file: SqlFile) -> tuple[Field, ...]:
    """Columns of a shipped view, each with what a query for it alone scans."""
    about = sqlfiles.comments(file)
    described = session.rows(f"DESCRIBE {file.sql}")
    return tuple(
        Field(
            row["column_name"],
            row["column_type"],
            about.get(row["column_name"], ""),
            _scanned(session, file.sql, row["column_name"]),
        )
        for row in described
    )


def _scanned(session: Session, sql: str, column: str) -> dict[str, tuple[str, ...]]:
    query = f"SELECT {identifier(column)} FROM (\n{sql}\n)"
    plan = session.connection.execute(f"EXPLAIN (FORMAT JSON) {query}").fetchall()[0][1]
    found: dict[str, set[str]] = {}
    for table, columns in _scans(json.loads(plan)):
        found.setdefault(table, set()).update(columns)
    return {table: tuple(sorted(columns)) for table, columns in sorted(found.items())}


def _scans(nodes: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Tables that a plan scans, with the columns that it takes from them."""
    for node in nodes:
        about = node.get("extra_info", {})
        if "Table" in about:
            columns = about.get("Projections", [])
            yield (
                about["Table"].rsplit(".", 1)[-1],
                [columns] if isinstance(columns, str) else columns,
            )
        yield from _scans(node.get("children", []))


def _described(catalog: Catalog, file: SqlFile) -> tuple[Field, ...]:
    """Columns of a view of others, bound in a process of its own."""
    about = sqlfiles.comments(file)
    variables = catalog.variables(file)
    with rows.of_view(catalog, file, variables, before="DESCRIBE ") as found:
        described = [row for batch in found.batches for row in batch.to_pylist()]
    return tuple(
        Field(row["column_name"], row["column_type"], about.get(row["column_name"], ""))
        for row in described
    )
