"""What a build runs, written out: one SELECT over files, and what each of its conditions leaves.

The text of a view is put together as DuckDB would bind it: base views and tables become common
table expressions, calls of macros their bodies, variables their present values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dasd_data import rows, sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.session import Session, relation
from dasd_data.sqlfiles import SqlFile

_TOKEN = re.compile(
    r"(?P<text>--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<word>[A-Za-z_]\w*)|.",
    re.DOTALL,
)
_MACRO = re.compile(r"CREATE MACRO (\w+)\(([^)]*)\) AS\s+(.*?);\s*$", re.DOTALL | re.MULTILINE)
_ATOM = re.compile(r"[\w.]+|'(?:[^']|'')*'|\(.*\)", re.DOTALL)
_OPENING = re.compile(r"\s*\(")

Literal = Callable[[str], str]


@dataclass(frozen=True)
class Explained:
    """The SELECT that a build runs, over the snapshot's files, and its funnel.

    `funnel` is empty for a view that does not use `selection`.
    """

    sql: str
    funnel: list[dict[str, Any]]
    parameters: dict[str, Any]


def explain(
    catalog: Catalog,
    view_name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    trusted: bool = False,
) -> Explained:
    """Explain what `build` would run, `trusted` as it would; nothing is written by us.

    Raises UnknownNameError, UsageError or DeniedError as the build would.
    """
    view = catalog.find_view(view_name)
    session = catalog.session(view, settings)
    try:
        if view.shipped:
            session.compile(view.sql, "_view")
        else:  # to bind SQL runs part of it: arguments of table functions, a LIMIT
            variables = session.variables
            with rows.of_view(catalog, view, variables, before="EXPLAIN ", trusted=trusted):
                pass
        steps = []
        if uses_selection(view):
            if not view.shipped:  # its own conditions are the last row
                rows.choose(catalog, view, session, trusted=trusted)
            steps = funnel(session, view)
        return Explained(expanded(catalog, view, session), steps, session.values)
    finally:
        session.close()


def uses_selection(view: SqlFile) -> bool:
    """Whether a view chooses by the conditions of the base view `selection`."""
    return "selection" in sqlfiles.reads(view.sql)


def funnel(session: Session, view: SqlFile) -> list[dict[str, Any]]:
    """What each condition of the selection leaves, first to last, and the view's own at the end.

    Rows of step, condition, responses, questions and `parts`, the same by domain and temperature.
    The last one is that of a view that is not shipped: its rows must be in `_chosen`.
    """
    steps = session.rows("SELECT * FROM funnel ORDER BY step")
    if not view.shipped and len(steps) > 1:  # one step: the catalog is empty
        (last,) = session.rows(sqlfiles.report("funnel_chosen"))
        steps.append({"step": len(steps), **last})
    return steps


def expanded(catalog: Catalog, view: SqlFile, session: Session) -> str:
    """One SELECT over the snapshot's files that gives the rows of a view, as text."""

    def literal(name: str) -> str:
        return _value(session, name)

    files = {name: [path.absolute() for path in paths] for name, paths in catalog.files.items()}
    tables = {name: relation(name, files.get(name, [])) for name in (*TABLES, SNAPSHOTS.name)}
    sources = {**tables, **{base.name: base.sql for base in sqlfiles.base_views()}}
    texts = {name: inline(sources[name], literal) for name in _needed(view.sql, sources)}
    select = inline(view.sql, literal)
    if re.match(r"\s*WITH\b", select, re.IGNORECASE):
        select = f"SELECT * FROM (\n{select}\n)"
    if not texts:
        return select + "\n"
    return "WITH\n" + ",\n".join(f"{n} AS (\n{t}\n)" for n, t in texts.items()) + f"\n{select}\n"


def inline(sql: str, literal: Literal) -> str:
    """SQL with every call of a shipped macro and of `getvariable` written out."""
    out, skip_to = [], 0
    for token in _TOKEN.finditer(sql):
        if token.start() < skip_to:
            continue
        name = _word(token).lower()
        call = _call(sql, token.end()) if name == "getvariable" or name in macros() else None
        if call is None or sql.endswith(".", 0, token.start()):
            out.append(token[0])
            continue
        arguments, skip_to = call
        if name == "getvariable":
            out.append(literal(arguments[0].strip().strip("'")))
            continue
        parameters, body = macros()[name]
        values = (inline(argument.strip(), literal) for argument in arguments)
        bound = dict(zip(parameters, map(_atom, values), strict=True))
        out.append(f"({_substituted(inline(body, literal), bound)})")
    return "".join(out)


@cache
def macros() -> dict[str, tuple[list[str], str]]:
    """Parameters and body of every shipped macro, by name."""
    found = _MACRO.findall(sqlfiles.macros())
    return {n: ([p.strip() for p in names.split(",")], body) for n, names, body in found}


def _needed(sql: str, sources: Mapping[str, str]) -> Iterator[str]:
    """Names among `sources` that a query needs, each after those that it needs itself."""
    seen: set[str] = set()

    def visit(text: str) -> Iterator[str]:
        for name in dict.fromkeys(_names(text)):
            if name in sources and name not in seen:
                seen.add(name)
                yield from visit(sources[name])
                yield name

    yield from visit(sql)


def _names(sql: str) -> Iterator[str]:
    """What may name a relation in a query: no call, no part of a qualified name."""
    for token in _TOKEN.finditer(sql):
        text = token[0][1:-1] if token[0][0] == "'" else ""  # FROM 'selection' names one, too
        word = text or _word(token)
        qualified = sql.endswith(".", 0, token.start())
        if word and not qualified and not _OPENING.match(sql, token.end()):
            yield word.lower()


def _word(token: re.Match[str]) -> str:
    """The name that a token is, quoted or not; empty for any other token."""
    return token["word"] or (token[0][1:-1] if token[0][0] == '"' else "")


def _call(sql: str, at: int) -> tuple[list[str], int] | None:
    """Arguments of the call whose parenthesis opens at `at`, and where it ends."""
    opening = _OPENING.match(sql, at)
    if opening is None:
        return None
    depth, start, arguments = 1, opening.end(), []
    for token in _TOKEN.finditer(sql, opening.end()):
        if token[0] in "([{":
            depth += 1
        elif token[0] in ")]}":
            depth -= 1
        if not depth or (depth == 1 and token[0] == ","):
            arguments.append(sql[start : token.start()])
            start = token.end()
        if not depth:
            return arguments, token.end()
    return None


def _substituted(body: str, bound: Mapping[str, str]) -> str:
    return "".join(
        bound.get(token["word"], token[0]) if token["word"] else token[0]
        for token in _TOKEN.finditer(body)
    )


def _atom(sql: str) -> str:
    """An expression that can stand beside any operator."""
    return sql if _ATOM.fullmatch(sql) else f"({sql})"


def _value(session: Session, name: str) -> str:
    """The present value of a variable as SQL."""
    literal = session.variables.literals.get(name, "NULL")
    text = re.fullmatch(r"('(?:[^']|'')*')::VARCHAR", literal)
    return text[1] if text else f"({literal})"
