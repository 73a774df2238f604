"""Pages of HTML: plain elements, one style sheet, no script. Every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from dasd_data import sqlfiles
from dasd_data.docs.draw import svg
from dasd_data.docs.lineage import BASE, SPLIT, TABLE, Field, Lineage, Relation
from dasd_data.parameters import Parameter, setting

GENERATOR = '<meta name="generator" content="dasd-data docs">'
_FOLDERS = {TABLE: "tables", BASE: "views", SPLIT: "splits"}
_TITLES = {TABLE: "Tables", BASE: "Base views", SPLIT: "Splits"}
_PLAIN = re.compile(r"[A-Za-z0-9_]{1,100}")
STYLE = """\
:root { color-scheme: light dark; --line: #8886; --soft: #8881 }
:root { --link: light-dark(#0b57d0, #8ab4f8) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: auto; padding: 1rem 1.5rem }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem }
nav { color: #888 } small { color: #888 }
table { border-collapse: collapse; width: 100% } .wide { overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
tr { border-bottom: 1px solid var(--line) }
code, pre, td:first-child { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: 4px }
svg { height: auto } svg text { font: 13px ui-monospace, monospace; fill: currentColor }
svg rect { fill: var(--soft); stroke: var(--line) } svg .table { stroke: #b8860b }
svg .base-view { stroke: #4682b4 } svg .split { stroke: #2e8b57; stroke-width: 2 }
svg .edge { fill: none; stroke: var(--line) }
td:last-child { min-width: 6rem } svg rect { fill: light-dark(#f4f4f4, #222) }
"""


def pages(lineage: Lineage, counts: Mapping[str, int], title: str) -> Iterator[tuple[str, str]]:
    """(path, HTML) of every page; `counts` are rows by table."""
    yield "index.html", _index(lineage, counts, title)
    for relation in lineage.relations.values():
        yield relation_path(relation), _relation(lineage, relation, counts)
        for column in relation.fields:
            yield column_path(relation, column.name), _column(lineage, relation, column)
    for parameter in lineage.parameters.values():
        yield parameter_path(parameter.name), _parameter(lineage, parameter)


def relation_path(relation: Relation) -> str:
    """The page of a relation: views have names that any system can store."""
    return f"{_FOLDERS[relation.kind]}/{relation.name}.html"


def column_path(relation: Relation, column: str) -> str:
    """The page of a column, by name where that is plain, else by place."""
    names = [field.name for field in relation.fields]
    plain = column if _PLAIN.fullmatch(column) else f"column-{names.index(column) + 1}"
    return f"columns/{relation.name}.{plain}.html"


def parameter_path(name: str) -> str:
    """The page of a parameter."""
    return f"parameters/{name}.html"


def _page(title: str, body: Iterable[str], depth: int = 1) -> str:
    up = "../" * depth
    nav = "" if not depth else f'<nav><a href="{up}index.html">catalog</a></nav>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{GENERATOR}\n<title>{escape(title)}</title>\n"
        f'<link rel="stylesheet" href="{up}style.css">\n</head>\n<body>\n{nav}\n'
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; empty without rows."""
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    if not lines:
        return ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="wide"><table>\n<tr>{heads}</tr>\n' + "\n".join(lines) + "\n</table></div>"


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def _link(path: str, text: str, up: str = "../") -> str:
    return f'<a href="{up}{escape(path)}">{escape(text)}</a>'


def _relations(lineage: Lineage, names: Iterable[str]) -> str:
    return ", ".join(_link(relation_path(lineage.relations[name]), name) for name in names)


def _index(lineage: Lineage, counts: Mapping[str, int], title: str) -> str:
    links = {name: relation_path(relation) for name, relation in lineage.relations.items()}
    body = [f"<h1>{escape(title)}</h1>"]
    for kind, heading in reversed(_TITLES.items()):
        rows = [
            [
                _link(links[r.name], r.name, ""),
                escape(r.about),
                f"{counts[r.name]:,} rows" if r.name in counts else f"{len(r.fields)} columns",
            ]
            for r in lineage.relations.values()
            if r.kind == kind
        ]
        body.append(_section(heading, _table(["name", "what it holds", ""], rows)))
    parameters = [
        [_link(parameter_path(p.name), p.name, ""), escape(p.help), escape(_shown(p.default))]
        for p in sorted(lineage.parameters.values(), key=lambda p: p.name)
    ]
    body.append(_section("Parameters", _table(["name", "what it does", "default"], parameters)))
    picture = f'<div class="wide">{svg(lineage, links)}</div>'
    body.insert(1, _section("Lineage", picture))
    return _page(title, body, 0)


def _relation(lineage: Lineage, relation: Relation, counts: Mapping[str, int]) -> str:
    rows = f", {counts[relation.name]:,} rows" if relation.name in counts else ""
    key = f", key {', '.join(relation.key)}" if relation.key else ""
    columns = [
        [_link(column_path(relation, f.name), f.name), escape(f.type), escape(f.comment)]
        for f in relation.fields
    ]
    parameters = [
        [_link(parameter_path(n), n), escape(lineage.parameters[n].help)]
        for n in relation.parameters
        if n in lineage.parameters
    ]
    return _page(relation.name, [
        f"<h1>{escape(relation.name)}</h1>",
        f"<p>{escape(relation.about)} <small>{escape(relation.kind + key + rows)}</small></p>",
        f"<p>It does not run: {escape(relation.problem)}</p>" if relation.problem else "",
        _section("Columns", _table(["column", "type", "what it means"], columns)),
        _section("Reads", _relations(lineage, relation.reads)),
        _section("Is read by", _relations(lineage, lineage.readers(relation.name))),
        _section("Parameters it reads", _table(["parameter", "what it does"], parameters)),
        _defaults(relation),
        _contract(relation),
        _section("SQL", f"<pre>{escape(relation.file.sql)}</pre>" if relation.file else ""),
    ])  # fmt: skip


def _defaults(relation: Relation) -> str:
    defaults = relation.file.defaults if relation.file else {}
    rows = [
        [_link(parameter_path(name), name), escape(_shown(value))]
        for name, value in defaults.items()
    ]
    return _section("Values it sets", _table(["parameter", "value"], rows))


def _contract(relation: Relation) -> str:
    """The contract's rules by column, and its checks."""
    contract = relation.file.contract.json() if relation.file else {}
    rules = [
        [escape(name), escape(", ".join(f"{k} {_shown(v)}" for k, v in rule.items()))]
        for name, rule in contract.get("columns", {}).items()
    ]
    checks = [(n, sqlfiles.contract_checks()[n].sql) for n in contract.get("use", ())]
    checks += contract.get("checks", {}).items()
    selects = [[escape(name), f"<pre>{escape(sql)}</pre>"] for name, sql in checks]
    return _section("Contract", _table(["column", "rule"], rules)) + _section(
        "Checks", _table(["check", "SELECT of the offending rows"], selects)
    )


def _column(lineage: Lineage, relation: Relation, column: Field) -> str:
    sources = [
        [
            _link(relation_path(lineage.relations[table]), table),
            ", ".join(_link(column_path(lineage.relations[table], n), n) for n in names),
        ]
        for table, names in column.reads.items()
    ]
    readers: dict[str, list[str]] = {}
    for view, name in lineage.readers_of(relation.name, column.name):
        readers.setdefault(view, []).append(name)
    decided = [
        [
            _link(relation_path(lineage.relations[view]), view),
            ", ".join(_link(column_path(lineage.relations[view], n), n) for n in names),
        ]
        for view, names in readers.items()
    ]
    title = f"{relation.name}.{column.name}"
    return _page(title, [
        f"<h1>{_link(relation_path(relation), relation.name)}.{escape(column.name)}</h1>",
        f"<p>{escape(column.comment)} <small>{escape(column.type)}</small></p>",
        _section("Comes from", _table(["table", "columns that decide its value or rows"], sources)),
        _section("Goes into", _table(["view", "columns"], decided)),
    ])  # fmt: skip


def _parameter(lineage: Lineage, parameter: Parameter) -> str:
    facts = {
        "type": parameter.type,
        "default": _shown(parameter.default),
        "minimum": _shown(parameter.minimum),
        "maximum": _shown(parameter.maximum),
        "choices": ", ".join(parameter.choices),
    }
    rows = [[escape(name), escape(value)] for name, value in facts.items() if value]
    readers = [r.name for r in lineage.relations.values() if parameter.name in r.parameters]
    sets = [
        [_link(relation_path(r), r.name), escape(_shown(r.file.defaults[parameter.name]))]
        for r in lineage.relations.values()
        if r.file and parameter.name in r.file.defaults
    ]
    return _page(parameter.name, [
        f"<h1>{escape(parameter.name)}</h1>",
        f"<p>{escape(parameter.help)} <small>--set {escape(parameter.name)}=…</small></p>",
        _table(["", ""], rows),
        _section("Is read by", _relations(lineage, readers)),
        _section("Is set by", _table(["split", "value"], sets)),
    ])  # fmt: skip


def _shown(value: object) -> str:
    return setting(list(map(str, value)) if isinstance(value, list) else value)
