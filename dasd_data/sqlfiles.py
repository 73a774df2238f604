"""The SQL of `catalog/`: where it is, and what its front matter declares.

A file opens with a block comment of TOML, then holds one SELECT:

    /*
    description = "..."
    key = ["response_id"]            # views only
    config = "low_t_das"             # views only: name of the Hub configuration

    [parameters]                     # declared where they are read
    beta = { type = "number", default = 0.1, minimum = 0, help = "..." }

    [defaults]                       # values for parameters declared elsewhere
    temperature = 0.6

    [columns]                        # base views only: what the columns it adds mean
    p = "..."

    [contract]                       # what the rows must satisfy: `contract.declared`
    extends = "split"
    */
    SELECT ...
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dasd_data.contract.declared import Contract, contract
from dasd_data.errors import ConfigError, DasdError, UnknownNameError
from dasd_data.parameters import Parameter

_FRONT = re.compile(r"\s*/\*(.*?)\*/", re.DOTALL)
_KEYS = {
    "description": str,
    "parameters": dict,
    "defaults": dict,
    "columns": dict,
    "key": list,
    "config": str,
    "contract": dict,
}
_NAMED = {str: "text", dict: "table", list: "list"}
_LARGEST = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
_UNPORTABLE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*]')
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class SqlFile:
    """A view: its name, front matter and SELECT."""

    name: str
    path: Path
    sql: str
    description: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ("response_id",)
    config: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    contract: Contract = field(default_factory=Contract)
    line: int = 1  # where its SELECT begins in its file

    @property
    def shipped(self) -> bool:
        """Whether the view came with this package: any other is SQL of others."""
        return self.path.resolve().parent == (sql_folder() / "views").resolve()

    def _repr_html_(self) -> str:
        from dasd_data import notebook

        return notebook.of_view(self)


@cache
def sql_folder() -> Path:
    """Folder of the shipped SQL: packaged in a normal install, `catalog/` in a checkout."""
    here = Path(__file__).parent
    packaged = here / "catalog_sql"
    return packaged if packaged.is_dir() else here.parent / "catalog"


def macros() -> str:
    """The statements that create the macros."""
    return (sql_folder() / "macros.sql").read_text()


@cache
def base_views() -> tuple[SqlFile, ...]:
    """The base views, in order of creation; `NN_name.sql` defines `name`."""
    paths = sorted((sql_folder() / "base").glob("*.sql"))
    return tuple(load(path, path.stem.split("_", 1)[1]) for path in paths)


def checks() -> tuple[SqlFile, ...]:
    """The checks of rows that `verify` runs: relation, key and problem of what is wrong."""
    paths = sorted((sql_folder() / "checks").glob("*.sql"))
    return tuple(load(path, path.stem) for path in paths)


@cache
def contract_checks() -> dict[str, SqlFile]:
    """The shipped checks of contracts, by name: each gives the offending rows of `chosen`."""
    paths = sorted((sql_folder() / "contract").glob("*.sql"))
    return {path.stem: load(path, path.stem) for path in paths}


def split_views(catalog: Path | None) -> dict[str, SqlFile]:
    """Views that define a split: the shipped ones, then the catalog's own, which shadow them.

    A file that is no view hides no other: `views` and `doctor` say what is wrong with it.
    """
    found = {}
    for name, path in view_paths(catalog).items():
        with contextlib.suppress(DasdError):
            found[name] = load(path, name)
    return found


def view_paths(catalog: Path | None) -> dict[str, Path]:
    """Files of the views that define a split, by name; any may turn out to be none."""
    folders = [sql_folder() / "views", *([catalog / "views"] if catalog else [])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.sql"))}


def shadows(view: SqlFile) -> bool:
    """Whether a view takes the place of a shipped one of its name."""
    shipped = sql_folder() / "views" / f"{view.name}.sql"
    return shipped.is_file() and shipped != view.path


def find_view(name: str, catalog: Path | None) -> SqlFile:
    """A view by name, or by a path that ends in .sql. Raises UnknownNameError."""
    if name.endswith(".sql"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"there is no view file {name}")
        return load(path, path.stem)
    paths = view_paths(catalog)
    if name not in paths:
        raise UnknownNameError("view", name, paths, "; `dasd-data views` lists them")
    return load_named(paths[name], name)


def load_named(path: Path, name: str) -> SqlFile:
    """A view that goes by its name alone. Raises ConfigError where that is one of the catalog's."""
    from dasd_data.schema import SNAPSHOTS, TABLES  # with pyarrow: completion needs neither

    if name.lower() in {*TABLES, SNAPSHOTS.name, *(view.name for view in base_views())}:
        raise ConfigError(
            f"view {str(path)!r}: {name} is a table or view of the catalog: give the file another "
            "name"
        )
    return load(path, name)


def comments(view: SqlFile) -> dict[str, str]:
    """What the columns of a base view mean: its own words, else those of what it reads."""
    from dasd_data.schema import TABLES

    read = reads(view.sql)
    found = {c.name: c.comment for name in TABLES if name in read for c in TABLES[name].columns}
    for base in base_views():
        if base.name in read:
            found |= base.columns
    return found | view.columns


def report(name: str) -> str:
    """A query that builds and cards run over the chosen rows (`_chosen`)."""
    return (sql_folder() / "reports" / f"{name}.sql").read_text()


def reads(sql: str) -> set[str]:
    """Tables and base views that a query may read: every known name in it, and theirs.

    A name that only stands in a comment or a text counts too: too many inputs rebuild a split
    needlessly, too few would miss a change.
    """
    from dasd_data.schema import TABLES  # with pyarrow: listing views needs neither

    views = {view.name: view.sql for view in base_views()}
    found: set[str] = set()
    unread = {word.lower() for word in re.findall(r"\w+", sql)}
    while unread:
        name = unread.pop()
        if name in found or not (name in views or name in TABLES):
            continue
        found.add(name)
        unread |= {word.lower() for word in re.findall(r"\w+", views.get(name, ""))}
    return found


def code_version() -> str:
    """Hash of the code and SQL that decide what a build holds."""
    state = hashlib.sha256()
    sources = [*Path(__file__).parent.glob("*.py"), *sql_folder().rglob("*.sql")]
    for path in sorted(sources, key=lambda p: (p.suffix, p.name)):
        if path.parent != sql_folder() / "views":
            state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:16]


def load(path: Path, name: str) -> SqlFile:
    """Read a SQL file. Raises ConfigError naming the file and the key that is wrong."""
    check_name(name, f"view {str(path)!r}")
    text = _read(path)
    match = _FRONT.match(text)
    try:
        front = tomllib.loads(match.group(1)) if match else {}
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: the opening comment is not TOML: {error}") from None
    for key, value in front.items():
        if key not in _KEYS:
            raise UnknownNameError("front-matter key", key, _KEYS, f" ({path})")
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"{path}: {key} must be a {_NAMED[_KEYS[key]]}")
    key = front.get("key", ["response_id"])
    if not key or not all(isinstance(column, str) and column for column in key):
        raise ConfigError(f"{path}: key must be a list of columns")
    parameters = {
        name: Parameter.declared(name, declaration, path)
        for name, declaration in front.get("parameters", {}).items()
    }
    start = match.end() if match else 0
    sql = text[start:].strip()
    return SqlFile(
        name,
        path,
        sql.rstrip(";"),
        front.get("description", ""),
        parameters,
        front.get("defaults", {}),
        tuple(dict.fromkeys(key)),
        check_name(front.get("config", name), f"{path}: config"),
        front.get("columns", {}),
        _contract(front["contract"], path) if "contract" in front else Contract(),
        text.count("\n", 0, text.find(sql, start)) + 1,
    )


def _contract(given: dict[str, Any], path: Path) -> Contract:
    of_base = path.parent == sql_folder() / "base"
    bases = {} if of_base else {v.name: v.contract for v in base_views() if v.contract.columns}
    return contract(given, str(path), bases, contract_checks())


def check_name(name: str, what: str) -> str:
    """A name of a view or a Hub configuration, which become folders in everybody's clones.

    Raises ConfigError for what another system could not store, or would take for a path.
    """
    if not _NAME.fullmatch(name) or not portable(name):
        raise ConfigError(
            f"{what}: {name!r} cannot be its name: use letters, digits, _, - and . (64 at most, "
            "not a dot at either end), and none of Windows' own, such as CON"
        )
    return name


def portable(name: str) -> bool:
    """Whether Windows, too, can have a file or folder of this name."""
    return not (_RESERVED.fullmatch(name) or _UNPORTABLE.search(name) or name.endswith((".", " ")))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ConfigError(f"{path}: a view file has at most {_LARGEST:,} bytes")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
