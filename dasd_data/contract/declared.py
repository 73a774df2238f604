"""A contract as front matter declares it.

    [contract]
    extends = "split"                       # all that this base view's contract asks for, too
    rows = { minimum = 1_000, maximum = 200_000 }
    use = ["budget"]                        # shipped checks: catalog/contract/NAME.sql

    [contract.columns]
    domain = { type = "VARCHAR", not_null = true, values = ["math", "code"] }
    teacher_share = { minimum = 0, maximum = 1 }
    question_id = { unique = true }

    [contract.checks]                       # SELECTs that give the offending rows of `chosen`
    short = "SELECT response_id FROM chosen WHERE n_sentences < 3"

What every view must satisfy is not declared: see `check`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dasd_data.errors import ConfigError, UnknownNameError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARTS = {"extends": str, "rows": dict, "use": list, "columns": dict, "checks": dict}
_NUMBER = int | float


@dataclass(frozen=True)
class Rule:
    """What the values of a column must be; NULL breaks `not_null` alone."""

    type: str | None = None
    not_null: bool = False
    unique: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str | float | bool, ...] = ()


_KINDS = {
    "type": str,
    "not_null": bool,
    "unique": bool,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "values": list,
}


@dataclass(frozen=True)
class Contract:
    """Bounds of the number of rows, rules by column, checks as SQL by name."""

    minimum_rows: int = 1
    maximum_rows: int | None = None
    columns: dict[str, Rule] = field(default_factory=dict)
    use: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return {**asdict(self), "use": list(self.use), "columns": self._columns()}

    def _columns(self) -> dict[str, dict[str, Any]]:
        default = asdict(Rule())
        return {
            name: {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(rule).items()
                if value != default[key]
            }
            for name, rule in self.columns.items()
        }


def contract(
    given: Mapping[str, Any], where: str, bases: Mapping[str, Contract], shipped: Mapping[str, Any]
) -> Contract:
    """A declared contract: over that of the base view which it extends, if any.

    `bases` are contracts of base views, `shipped` the checks to `use`, both by name. Raises
    ConfigError, UnknownNameError, naming the file `where` it stands.
    """
    _check_kinds(given, _PARTS, f"{where}: contract", "contract key")
    base = Contract()
    if name := given.get("extends"):
        if name not in bases:
            raise UnknownNameError("base view with a contract", name, bases, f" ({where})")
        base = bases[name]
    for name in given.get("use", ()):
        if name not in shipped:
            raise UnknownNameError("shipped check", str(name), shipped, f" ({where})")
    checks = given.get("checks", {})
    for name, sql in checks.items():
        if not _NAME.fullmatch(name) or not isinstance(sql, str) or not sql.strip():
            raise ConfigError(f"{where}: contract check {name!r} must be a name and a SELECT")
    rules = {
        name: _rule(settings, f"{where}: contract of column {name}", base.columns.get(name, Rule()))
        for name, settings in given.get("columns", {}).items()
    }
    return replace(
        _with_rows(base, given.get("rows", {}), where),
        columns={**base.columns, **rules},
        use=tuple(dict.fromkeys([*base.use, *given.get("use", ())])),
        checks={**base.checks, **checks},
    )


def _with_rows(base: Contract, rows: Mapping[str, Any], where: str) -> Contract:
    bounds = {"minimum": int, "maximum": int}
    _check_kinds(rows, bounds, f"{where}: contract: rows", "bound of rows")
    least = rows.get("minimum", base.minimum_rows)
    most = rows.get("maximum", base.maximum_rows)
    if least < 1 or (most is not None and most < least):
        raise ConfigError(
            f"{where}: contract: rows: minimum must be 1 or more, and no more than maximum"
        )
    return replace(base, minimum_rows=least, maximum_rows=most)


def _rule(settings: Any, where: str, base: Rule) -> Rule:
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where} must be a table, such as {{ not_null = true }}")
    _check_kinds(settings, _KINDS, where, "rule of a column")
    values = tuple(settings.get("values", base.values))
    kinds = {str if isinstance(value, str) else _NUMBER for value in values}
    if len(kinds) > 1 or not all(isinstance(value, str | int | float) for value in values):
        raise ConfigError(f"{where}: values must be texts, or numbers")
    rule = replace(base, **{**settings, "values": values})
    if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
        raise ConfigError(f"{where}: minimum is above maximum")
    return rule


def _check_kinds(given: Mapping[str, Any], kinds: Mapping[str, Any], where: str, kind: str) -> None:
    for key, value in given.items():
        if key not in kinds:
            raise UnknownNameError(kind, key, kinds, f" ({where})")
        right = isinstance(value, kinds[key])
        if not right or (isinstance(value, bool) and kinds[key] is not bool):
            raise ConfigError(f"{where}: {key} has a wrong type")
