"""Parameters of views: declared in front matter, validated here, handed to SQL as variables."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dasd_data.errors import ConfigError, UnknownNameError, UsageError

DOMAINS = ("math", "code", "science", "instruction_following")
BUDGETS = (*DOMAINS, "other")  # `other` is for questions without a domain
_TYPES = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "text": "VARCHAR",
    "choice": "VARCHAR",
    "scorer": "VARCHAR",
    "segmenter": "VARCHAR",
    "budget": "MAP(VARCHAR, BIGINT)",
    "names": "VARCHAR[]",
}
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_OURS = {"filters", "system"}  # variables that builds set themselves, besides NAME_error
_SETTINGS = {"help": str, "minimum": int | float, "maximum": int | float, "choices": list}
_ONLY_OF = {
    "minimum": ("number", "integer"),
    "maximum": ("number", "integer"),
    "choices": ("choice",),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter: NULL (None) is a value of those that declare no default."""

    name: str
    type: str
    help: str = ""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @classmethod
    def declared(cls, name: str, declaration: Any, path: Path) -> Parameter:
        """From front matter. Raises ConfigError naming the file."""
        known = {f.name: f for f in fields(cls) if f.name != "name"}
        if not _NAME.fullmatch(name) or name in _OURS or name.endswith("_error"):
            raise ConfigError(f"{path}: {name!r} cannot be the name of a parameter")
        if not isinstance(declaration, Mapping):
            raise ConfigError(f"{path}: parameter {name} must be a table")
        for key in declaration:
            if key not in known:
                raise UnknownNameError("parameter setting", key, known, f" ({path}, {name})")
        if str(declaration.get("type")) not in _TYPES:
            raise ConfigError(f"{path}: parameter {name}: type must be one of {', '.join(_TYPES)}")
        for key, kinds in _SETTINGS.items():
            value = declaration.get(key)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise ConfigError(f"{path}: parameter {name}: {key} has a wrong type")
            if value is not None and declaration["type"] not in _ONLY_OF.get(key, _TYPES):
                only = " or ".join(_ONLY_OF[key])
                raise ConfigError(f"{path}: parameter {name}: {key} is for type {only}")
        choices = tuple(map(str, declaration.get("choices", ())))
        if declaration["type"] == "choice" and not choices:
            raise ConfigError(f"{path}: parameter {name}: a choice needs `choices`")
        made = cls(name, **{**declaration, "choices": choices, "default": None})
        default = declaration.get("default")
        try:
            return replace(made, default=None if default is None else made.check(default))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    def check(self, value: Any) -> Any:
        """The value in the parameter's own type. Raises ConfigError saying what is allowed."""
        if value is None or (value == "" and self.type != "names"):
            if self.default is not None:
                raise ConfigError(f"parameter {self.name} must have a value")
            return None
        try:
            value = _CONVERT[self.type](value)
        except UsageError:
            raise
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise ConfigError(
                f"parameter {self.name}: {str(value)[:80]!r} is not a value of type {self.type}"
                + (": write name=N, or JSON" if self.type == "budget" else "")
            ) from None
        if self.choices and value not in self.choices:
            raise UnknownNameError(f"value of parameter {self.name}", value, self.choices)
        if self.minimum is not None and value < self.minimum:
            raise ConfigError(f"parameter {self.name}: {value} is below {self.minimum}")
        if self.maximum is not None and value > self.maximum:
            raise ConfigError(f"parameter {self.name}: {value} is above {self.maximum}")
        return value

    def literal(self, value: Any) -> str:
        """SQL literal of a checked value."""
        return f"{_literal(value)}::{_TYPES[self.type]}"


@dataclass
class Variables:
    """What SQL reads with `getvariable`, as SQL literals, and what the literals came from.

    `values` are the parameters, names resolved to ids; `filters` maps the required filters to
    their current versions. All of it is plain data: a child process is sent the literals.
    """

    values: dict[str, Any] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    literals: dict[str, str] = field(default_factory=dict)

    def set_values(self, parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
        """Set every parameter, with its declared type."""
        self.values = dict(values)
        for name, value in values.items():
            self.literals[name] = parameters[name].literal(value)

    def set_text(self, name: str, value: str | None) -> None:
        """Set a text."""
        self.literals[name] = f"{_literal(value)}::VARCHAR"

    def set_filters(self, filters: Mapping[str, str]) -> None:
        """Set the filters that an eligible response must have passed, with their versions."""
        self.filters = dict(filters)
        items = ", ".join(
            f"{{'filter': {quote(name)}, 'version': {quote(version)}}}"
            for name, version in sorted(filters.items())
        )
        self.literals["filters"] = f"[{items}]::STRUCT(filter VARCHAR, version VARCHAR)[]"


def parse_settings(settings: Mapping[str, str]) -> dict[str, Any]:
    """`--set` values by name; `budget.math=5` becomes {"budget": {"math": "5"}}."""
    parsed: dict[str, Any] = {}
    for name, value in settings.items():
        outer, dot, inner = name.partition(".")
        if not dot:
            parsed[name] = value
        elif isinstance(parsed.setdefault(outer, {}), dict):
            parsed[outer][inner] = value
        else:
            raise ConfigError(f"--set {outer} and --set {name} exclude each other")
    return parsed


def setting(value: Any) -> str:
    """What `--set name=` takes for a checked value."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def resolve(parameters: Mapping[str, Parameter], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all parameters: defaults, then each layer over the one before.

    A mapping given for a budget changes the named domains only. Raises UnknownNameError.
    """
    values = {name: p.default for name, p in parameters.items()}
    for layer in layers:
        for name, value in layer.items():
            if name not in parameters:
                raise UnknownNameError("parameter", name, parameters)
            checked = parameters[name].check(value)
            if isinstance(value, dict) and isinstance(values[name], dict):
                checked = {**values[name], **checked}
            values[name] = checked
    return values


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number) or abs(number) >= 2**63:
        raise ValueError
    return int(value) if isinstance(value, int) else int(number)


def _boolean(value: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in known:
        raise ValueError
    return known[str(value).lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # a ValueError where the command line was not UTF-8
    return value


def _names(value: Any) -> list[str]:
    """A list of names, or a text of them with commas; the empty text is the empty list."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    return [_text(name) for name in value]


def _budget(value: Any) -> dict[str, int]:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, dict):
        raise TypeError
    for domain in value:
        if domain not in BUDGETS:
            raise UnknownNameError("domain", domain, BUDGETS)
    counts = {domain: _integer(count) for domain, count in value.items()}
    if any(count < 0 for count in counts.values()):
        raise ValueError
    return counts


_CONVERT = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "choice": _text,
    "scorer": _text,
    "segmenter": _text,
    "budget": _budget,
    "names": _names,
}


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return (
        "MAP {" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
        if value
        else "MAP {}"
    )


def quote(text: str) -> str:
    """A SQL string literal. NUL cannot be written in one and raises ConfigError."""
    if "\0" in text:
        raise ConfigError(f"a NUL character cannot be part of a value: {text!r}")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
