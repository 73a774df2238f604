"""Rules of columns as SQL conditions, each true of a row that breaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dasd_data.contract.declared import Rule
from dasd_data.errors import DasdError
from dasd_data.parameters import identifier, quote
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile

_FLOATS = ("FLOAT", "DOUBLE")
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = (*_FLOATS, *_INTEGERS, *(f"U{name}" for name in _INTEGERS))


@dataclass(frozen=True)
class Condition:
    """What offends: its check, the column, the words for it and the SQL that is true of it."""

    check: str
    column: str
    problem: str
    sql: str


def conditions(view: SqlFile, kinds: Mapping[str, str]) -> Iterator[Condition]:
    """The conditions of a view's key and columns, whose types `kinds` names.

    A NaN is in no range: comparisons would let it pass as the greatest number.
    """
    for name in view.key:
        column = identifier(name)
        yield Condition("not_null", name, f"({name}) of its key has NULLs", f"{column} IS NULL")
        if kinds[name] in _FLOATS:
            told = f"({name}) of its key has NaNs, which readers take for different"
            yield Condition("not_null", name, told, f"isnan({column})")
    for name, rule in view.contract.columns.items():
        column = identifier(name)
        if rule.not_null and name not in view.key:
            yield Condition("not_null", name, f"{name} is NULL", f"{column} IS NULL")
        if (rule.minimum, rule.maximum) != (None, None) and _is_number(kinds[name]):
            if kinds[name] in _FLOATS:
                yield Condition("range", name, f"{name} is NaN", f"isnan({column})")
            if rule.minimum is not None:
                told = f"{name} is below {rule.minimum}"
                yield Condition("range", name, told, f"{column} < {rule.minimum!r}")
            if rule.maximum is not None:
                above = f"{column} > {rule.maximum!r}"
                if kinds[name] in _FLOATS:
                    above += f" AND NOT isnan({column})"
                yield Condition("range", name, f"{name} is above {rule.maximum}", above)
        if rule.values and _has_kind(rule, kinds[name]):
            told = f"{name} is none of {', '.join(map(str, rule.values))}"
            values = ", ".join(quote(v) if isinstance(v, str) else repr(v) for v in rule.values)
            yield Condition("values", name, told, f"{column} NOT IN ({values})")


def type_problems(
    session: Session, rules: Mapping[str, Rule], kinds: Mapping[str, str]
) -> list[str]:
    """Columns of another type than declared, or than their rules are about."""
    problems = []
    for name, rule in rules.items():
        kind = kinds[name]
        if rule.type is not None and _type(session, rule.type) != kind:
            problems.append(f"{name} is {kind}, not {rule.type}")
        elif (rule.minimum, rule.maximum) != (None, None) and not _is_number(kind):
            problems.append(f"{name} is {kind}, and its range is of numbers")
        elif rule.values and not _has_kind(rule, kind):
            problems.append(f"{name} is {kind}, and its values are of another type")
    return problems


def _type(session: Session, name: str) -> str:
    """DuckDB's own name of a type; the name itself where there is no such type."""
    try:
        with session.translated():
            return str(session.connection.sqltype(name))
    except DasdError:
        return name


def _is_number(kind: str) -> bool:
    return kind in _NUMBERS or kind.startswith("DECIMAL")


def _has_kind(rule: Rule, kind: str) -> bool:
    if isinstance(rule.values[0], str):
        return kind == "VARCHAR"
    return _is_number(kind)
