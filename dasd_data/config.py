"""Settings: `dasd.toml`, then `DASD_*` variables, then flags. An unknown key is an error.

catalog = "dasd.catalog"          # relative to this file
threads = 8                       # all cores by default; --threads and DASD_THREADS come before it

[scorers]                         # names that views use: an alias, a model or a scorer id
teacher = "gpt-oss-120b"

[filters]                         # settings of filters; see `dasd-data filter --help`
length = { max_tokens = 65536 }

[build]
system = "You are a helpful assistant."   # none by default

[sql]                             # what a query may use; DASD_MEMORY_LIMIT, ... come first
memory_limit = "8GB"              # or a share of the machine's memory: "50%"
time_limit = 600                  # seconds
spill_limit = "32GB"              # disk, for what does not fit in memory

[prices]                          # for the cost that `sample` prints, in any currency
million_prompt_tokens = 0.10
million_sampled_tokens = 0.50
hour = 2.50                       # of the machine
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dasd_data.errors import ConfigError, UnknownNameError

FILE = "dasd.toml"
LIMITS = ("memory_limit", "time_limit", "spill_limit")
VARIABLES = (
    "DASD_CATALOG", "DASD_THREADS", *(f"DASD_{name.upper()}" for name in LIMITS), "DASD_DEBUG",
)  # fmt: skip
_TABLES = ("scorers", "filters", "build", "sql", "prices")
_SIZE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?\s*([KMGT]i?B|%)", re.IGNORECASE)

TEMPLATE = """\
# Settings of dasd-data. An unknown key is an error; see `dasd-data --help`.
catalog = {catalog}
# threads = 8

[scorers]
# Names that views use, where several scorers could be meant: a name, a model or a scorer id.
# teacher = "gpt-oss-120b"

[filters]
# length = {{ tokenizer = "Qwen/Qwen3-4B-Instruct-2507", max_tokens = 65536 }}
# structure = {{ thinking = "required" }}

[build]
# system = "You are a helpful assistant."

[sql]
# memory_limit = "50%"
# time_limit = 600
# spill_limit = "32GB"

[prices]
# million_prompt_tokens = 0.10
# million_sampled_tokens = 0.50
# hour = 2.50
"""


@dataclass(frozen=True)
class BuildConfig:
    """[build]: how rows are rendered. `system` is the system turn of every row, if any."""

    system: str | None = None


@dataclass(frozen=True)
class SqlConfig:
    """[sql]: what SQL may use. None: the default of the session, of DuckDB for disk, and no end.

    `memory_limit` and `spill_limit` are sizes ("8GB", "50%" of the machine's memory),
    `time_limit` is in seconds.
    """

    memory_limit: str | None = None
    time_limit: int | None = None
    spill_limit: str | None = None


@dataclass(frozen=True)
class Prices:
    """[prices]: what a million tokens cost, and an hour of the machine. None: nothing."""

    million_prompt_tokens: float | None = None
    million_sampled_tokens: float | None = None
    hour: float | None = None


@dataclass(frozen=True)
class Config:
    """All settings. `folder` is where `dasd.toml` is, or None without one."""

    catalog: Path = Path("dasd.catalog")
    scorers: Mapping[str, str] = field(default_factory=dict)
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    build: BuildConfig = field(default_factory=BuildConfig)
    sql: SqlConfig = field(default_factory=SqlConfig)
    prices: Prices = field(default_factory=Prices)
    threads: int | None = None


def load(catalog: str | Path | None = None, start: Path | None = None) -> Config:
    """Settings for a catalog: the one given, else `DASD_CATALOG`, else that of the nearest
    `dasd.toml` at or above `start` (default: the working folder), else `./dasd.catalog`.

    A `dasd.toml` counts for a catalog given otherwise if it stands beside it.
    """
    given = catalog or os.environ.get("DASD_CATALOG")
    if given:
        path = Path(given)
        beside = path.absolute().parent / FILE
        settings = _read(beside) if beside.is_file() else {}
        if settings and _target(settings, beside) != path.absolute():
            settings = {}
        return _config(settings, path, beside)
    start = (start or Path.cwd()).absolute()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            settings = _read(folder / FILE)
            return _config(settings, _target(settings, folder / FILE), folder / FILE)
    return _config({}, Path("dasd.catalog"), Path(FILE))


def _target(settings: Mapping[str, Any], file: Path) -> Path:
    return file.absolute().parent / settings.get("catalog", "dasd.catalog")


def _read(file: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    _known(settings, {"catalog", "threads", *_TABLES}, file)
    if not isinstance(settings.get("catalog", ""), str):
        raise ConfigError(f"{file}: catalog must be a path")
    threads = settings.get("threads", 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"{file}: threads must be a positive number")
    for table in _TABLES:
        if not isinstance(settings.get(table, {}), dict):
            raise ConfigError(f"{file}: {table} must be a table")
    _known(settings.get("build", {}), {f.name for f in fields(BuildConfig)}, file)
    if not isinstance(settings.get("build", {}).get("system", ""), str):
        raise ConfigError(f"{file}: build.system must be a text")
    _known(settings.get("sql", {}), set(LIMITS), file)
    _known(settings.get("prices", {}), {f.name for f in fields(Prices)}, file)
    for name, value in settings.get("prices", {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise ConfigError(f"{file}: prices.{name} must be a number, from 0")
    for name, value in settings.get("scorers", {}).items():
        if not isinstance(value, str):
            raise ConfigError(f"{file}: scorers.{name} must be a text: a name, a model or an id")
    for name, value in settings.get("filters", {}).items():
        if not isinstance(value, dict):
            raise ConfigError(f"{file}: filters.{name} must be a table of settings")
    return settings


def _known(settings: Mapping[str, Any], known: set[str], file: Path) -> None:
    for key in settings:
        if key not in known:
            raise UnknownNameError("setting", key, known, f" ({file})")


def _config(settings: Mapping[str, Any], catalog: Path, file: Path) -> Config:
    for name in os.environ:
        if name.startswith("DASD_") and name not in (*VARIABLES, "DASD_SHARED"):
            raise UnknownNameError("variable", name, VARIABLES)
    threads = os.environ.get("DASD_THREADS")
    if threads is not None and not (threads.isascii() and threads.isdigit() and int(threads) > 0):
        raise ConfigError(f"DASD_THREADS={threads!r} is not a positive number")
    return Config(
        catalog,
        settings.get("scorers", {}),
        settings.get("filters", {}),
        BuildConfig(**settings.get("build", {})),
        SqlConfig(**_limits(settings.get("sql", {}), file)),
        Prices(**settings.get("prices", {})),
        int(threads) if threads else settings.get("threads"),
    )


def _limits(settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The limits of [sql], and over them those of the environment, checked."""
    limits: dict[str, Any] = {}
    for name in LIMITS:
        variable = f"DASD_{name.upper()}"
        value, where = os.environ.get(variable), variable
        if value is None:
            value, where = settings.get(name), f"{file}: sql.{name}"
        if value is None:
            continue
        if name == "time_limit":
            if isinstance(value, bool) or not re.fullmatch("[1-9][0-9]{0,8}", str(value)):
                raise ConfigError(f"{where} = {value!r} is not a number of seconds, from 1")
            limits[name] = int(value)
        else:
            if not _SIZE.fullmatch(str(value)) or (name == "spill_limit" and "%" in str(value)):
                raise ConfigError(f'{where} = {value!r} is not a size like "8GB"')
            limits[name] = str(value)
    return limits
