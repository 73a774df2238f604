"""Filters: each gives every response a verdict with its evidence; none removes a row.

Which verdicts a split asks for is the view's business; `required` names the default.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from builders.filters.base import Candidate, Filter, Verdict
from builders.filters.cjk import Cjk
from builders.filters.completeness import Completeness
from builders.filters.length import Length
from builders.filters.repetition import Repetition
from builders.filters.report import REPORTS
from builders.filters.structure import Structure
from dasd_data.errors import ConfigError, UnknownNameError, closest

__all__ = ["FILTERS", "Candidate", "Filter", "Verdict", "make"]

_CLASSES: tuple[Any, ...] = (Length, Structure, Completeness, Repetition, Cjk, *REPORTS)
FILTERS: dict[str, type[Any]] = {cls.name: cls for cls in _CLASSES}


def make(name: str, config: dict[str, Any] | None = None) -> Filter:
    """The filter of that name with these settings, the defaults for the others.

    Raises UnknownNameError for an unknown filter and ConfigError for an unknown setting or a
    value of another type.
    """
    if name not in FILTERS:
        raise UnknownNameError("filter", name, FILTERS)
    cls, config = FILTERS[name], dict(config or {})
    known = {f.name: f for f in fields(cls.Config)}
    for key, value in config.items():
        if key not in known:
            raise ConfigError(f"filter {name}: no setting named {key!r}{closest(key, known)}")
        config[key] = _typed(name, key, value, str(known[key].type))
    made: Filter = cls(cls.Config(**config))
    return made


def _typed(name: str, key: str, value: Any, annotation: str) -> Any:
    """The value if it is of the setting's type; an int serves as a float."""
    types: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
    wanted = types[annotation.removesuffix(" | None")]
    if value is None and annotation.endswith("None"):
        return None
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"filter {name}: {key} = {value!r} must be of type {wanted.__name__}")
    return value
