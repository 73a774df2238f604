"""Fuzz targets for what a user writes: view files, `dasd.toml` and `--set`."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from dasd_data import config, sqlfiles
from dasd_data.errors import DasdError
from dasd_data.parameters import Parameter, parse_settings, resolve
from tests.fuzz.choices import Choices
from tests.fuzz.of_files import stored
from tests.fuzz.target import Target

FRONT = b"""/*
description = "d"
key = ["response_id"]
config = "c"
[parameters]
beta = { type = "number", default = 0.1, minimum = 0, maximum = 1, help = "h" }
rank = { type = "choice", default = "a", choices = ["a", "b"] }
budget = { type = "budget", default = { math = 5 } }
[defaults]
temperature = 0.6
*/
SELECT 1
"""
TOML = b"""catalog = "dasd.catalog"
[scorers]
teacher = "gpt-oss-120b"
[filters]
length = { max_tokens = 65536 }
[build]
system = "You are"
"""
WORDS = [b"type", b"default", b"minimum", b"choices", b"[parameters]", b"[defaults]", b"[[key]]",
         b"1979-05-27T07:32:00Z", b"inf", b"nan", b"= {", b"}", b'"""', b"budget", b"names",
         b"number", b"integer", b"boolean", b"text", b"scorer", b"/*", b"*/", b"0x1F", b"1e999",
         b"\\u0000", b"[build]", b"[scorers]", b"[filters]", b"= ["]  # fmt: skip


def front_matter(data: bytes) -> None:
    """A view file: a view whose parameters can be resolved, or an error that names the file."""
    try:
        view = sqlfiles.load(stored(data, "view.sql"), "view")
        values = resolve(view.parameters, view.defaults)
    except DasdError as error:
        assert len(str(error)) < 5000
        return
    _literals(view.parameters, values)
    assert isinstance(view.sql, str) and all(isinstance(k, str) for k in view.key)


def toml(data: bytes) -> None:
    """A `dasd.toml`: settings or an error."""
    path = stored(data, "dasd.toml")
    try:
        found = (
            config.load(start=path.parent)
            if path.name == config.FILE
            else config._config(config._read(path), path, path)
        )
    except DasdError as error:
        assert len(str(error)) < 5000
        return
    assert all(isinstance(v, str) for v in found.scorers.values())


@cache
def declared() -> dict[str, Parameter]:
    """The parameters of all shipped SQL, and one of every type without a default."""
    found = {name: p for view in (*sqlfiles.base_views(), *sqlfiles.split_views(None).values())
             for name, p in view.parameters.items()}  # fmt: skip
    kinds = ("number", "integer", "boolean", "text", "choice", "scorer", "segmenter", "budget",
             "names")  # fmt: skip
    return found | {kind: Parameter(kind, kind) for kind in kinds}


def settings(data: bytes) -> None:
    """`--set name=value`, several: checked values of which SQL literals can be made, or an error."""
    choices = Choices(data)
    names = sorted(declared())
    given: dict[str, str] = {}
    while choices.more and len(given) < 6:
        name = choices.pick(names)
        name += choices.pick(("", "", ".math", ".code", ".x", "."))
        given[name] = choices.take().decode("utf-8", "surrogateescape")
    try:
        values = resolve(declared(), parse_settings(given))
        _literals(declared(), values)
    except DasdError as error:
        assert len(str(error)) < 5000


def _literals(parameters: dict[str, Parameter], values: dict[str, Any]) -> None:
    """Every value has a literal, and none leaves its quotes."""
    for name, parameter in parameters.items():
        try:
            literal = parameter.literal(values[name])
        except DasdError as error:
            assert "NUL" in str(error)
            continue
        bare = re.sub(r"'(?:[^']|'')*'", "", literal)
        assert re.fullmatch(r"[\w\s.+\-{}\[\]:,()]*", bare), literal


SETTINGS = (
    Target("front", front_matter, [FRONT, b"SELECT 1", b"/* */ SELECT 1"], WORDS, 2048),
    Target("toml", toml, [TOML, b""], WORDS, 2048),
    Target("set", settings, [b"\0\0\x031.5\1\2\x0210", b"\3\2\5{\"a\":"],
           [b'{"math": 5}', b"inf", b"nan", b"1e999", b"true", b"'", b"\0", b"a,b"], 512),
)  # fmt: skip
