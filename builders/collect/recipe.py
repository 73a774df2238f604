"""Recipes: which sources, and how many questions of each domain.

seed = 42                             # of the domains that set none

[domains.math]                        # math, code, science, instruction_following, other
budget = 103_300                      # questions; without it: all there are
order = "random"                      # by a seeded hash; or "longer_answers", longest first

[sources.acereason]                   # the kind is the table's name, unless `kind` says it
path = "data/acereason"               # file, folder, glob or a list of them, from the recipe's
                                      # folder; without it, the Hub
revision = "main"                     # of the Hub: branch, tag or commit
domains = ["math"]                    # take these only

[sources.my_questions]
kind = "files"                        # any shape that `ingest` reads
path = "questions.jsonl"
domain = "science"                    # of rows that name none
license = "mit"
map = { question = "prompt" }         # columns by field, as `--map` of `ingest`

Further settings of a source: `hub`, `configs` and `split` (where it is on the Hub, by default the
kind's, and all splits), `only` (take rows that the source itself has from these data sets only).
`license` comes before what rows and kinds say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from builders.collect import KINDS
from builders.collect.source import Kind
from builders.shapes.base import FIELDS
from dasd_data.errors import ConfigError, UnknownNameError
from dasd_data.parameters import BUDGETS, DOMAINS

ORDERS = ("random", "longer_answers")
SHIPPED = Path(__file__).parents[1] / "recipes"

_TOP = {"seed": int, "domains": dict, "sources": dict}
_DOMAIN = {"budget": int, "seed": int, "order": str}
_SOURCE = {
    "kind": str, "path": (str, list), "hub": str, "revision": str, "configs": list, "split": str,
    "domain": str, "domains": list, "only": list, "license": str, "map": dict,
}  # fmt: skip
_TYPES = {int: "a whole number", str: "a text", list: "a list of texts", dict: "a table"}


@dataclass(frozen=True)
class Domain:
    """How many questions of a domain are taken, and which come first. `budget` None: all."""

    budget: int | None = None
    seed: int = 0
    order: str = "random"


@dataclass(frozen=True)
class Source:
    """A source as the recipe has it, with the kind's settings where it says nothing.

    `paths` are local; where there is none, the rows come from the Hub. `split`, `domains` and
    `only` are None where all are taken.
    """

    name: str
    kind: Kind
    paths: tuple[str, ...] = ()
    hub: str | None = None
    revision: str = "main"
    configs: tuple[str, ...] = ()
    split: str | None = None
    domain: str | None = None
    domains: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    license: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name that rows of the source carry: the Hub's, else the recipe's."""
        return self.hub or self.name

    def settings(self) -> dict[str, Any]:
        """The settings by name, the kind by its own."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return found | {"kind": self.kind.name}


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read from `file`. `limit` is a further bound on every domain, for a trial.

    The budget says what is wanted: only what is missing of it is reported.
    """

    file: str
    domains: Mapping[str, Domain]
    sources: tuple[Source, ...]
    limit: int | None = None

    @property
    def needs_answers(self) -> bool:
        """Whether any domain's order looks at example answers."""
        return any(domain.order == "longer_answers" for domain in self.domains.values())

    def where(self, source: Source) -> str:
        """The place of a source's settings, as messages begin."""
        return f"{self.file}: [sources.{source.name}]"

    def with_paths(self, paths: Mapping[str, str]) -> Recipe:
        """The recipe with local copies in place of what it says. Raises UnknownNameError."""
        self._known(paths)
        return replace(
            self,
            sources=tuple(
                replace(s, paths=(paths[s.name],)) if s.name in paths else s for s in self.sources
            ),
        )

    def without(self, names: Iterable[str]) -> Recipe:
        """The recipe without some sources. Raises UnknownNameError, and ConfigError for all."""
        left_out = set(names)
        self._known(left_out)
        kept = tuple(s for s in self.sources if s.name not in left_out)
        if not kept:
            raise ConfigError(f"{self.file}: no source is left")
        return replace(self, sources=kept)

    def _known(self, names: Iterable[str]) -> None:
        known = [s.name for s in self.sources]
        for name in names:
            if name not in known:
                raise UnknownNameError("source", name, known, f" ({self.file})")


def load(name: str) -> Recipe:
    """The recipe in a file, or a shipped one by its name (`dasd`) or path in this project.

    Raises ConfigError naming file and table, UnknownNameError for an unknown key, kind or domain.
    """
    path = _find(name)
    try:
        settings = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    _check(settings, _TOP, str(path), "recipe")
    seed = settings.get("seed", 0)
    domains = {n: Domain(seed=seed) for n in BUDGETS}
    for domain, table in settings.get("domains", {}).items():
        if domain not in BUDGETS:
            raise UnknownNameError("domain", domain, BUDGETS, f" ({path}: [domains])")
        domains[domain] = _domain(table, seed, f"{path}: [domains.{domain}]")
    tables = settings.get("sources", {})
    if not tables:
        raise ConfigError(f"{path}: there is no source: add a table such as [sources.acereason]")
    sources = tuple(_source(name, tables[name], path) for name in tables)
    _once(sources, path)
    return Recipe(str(path), domains, sources)


def shipped() -> list[str]:
    """Names of the recipes that come with this package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def _find(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise ConfigError(f"{name} is a folder: a recipe is a TOML file")
    for found in (path, SHIPPED / f"{name}.toml", SHIPPED.parents[1] / name):
        if found.is_file():
            return found
    raise ConfigError(
        f"there is no recipe {name}: give the path of a TOML file, or the name of a shipped "
        f"recipe ({', '.join(shipped())})"
    )


def _check(table: Any, keys: Mapping[str, Any], where: str, what: str) -> None:
    """Raise where a table is none, or has an unknown key or a value of another type."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where} is not a table")
    for key, value in table.items():
        if key not in keys:
            raise UnknownNameError(f"key of a {what}", key, keys, f" ({where})")
        kinds = keys[key] if isinstance(keys[key], tuple) else (keys[key],)
        texts = not isinstance(value, list) or all(isinstance(v, str) for v in value)
        if not isinstance(value, kinds) or isinstance(value, bool) or not texts:
            wanted = " or ".join(_TYPES[kind] for kind in kinds)
            raise ConfigError(f"{where}: {key} must be {wanted}")


def _domain(table: Any, seed: int, where: str) -> Domain:
    _check(table, _DOMAIN, where, "domain")
    found = Domain(**{"seed": seed, **table})
    if found.budget is not None and found.budget < 0:
        raise ConfigError(f"{where}: budget = {found.budget} is not a number of questions")
    if found.order not in ORDERS:
        raise UnknownNameError("order", found.order, ORDERS, f" ({where})")
    return found


def _source(name: str, table: Any, recipe: Path) -> Source:
    where = f"{recipe}: [sources.{name}]"
    _check(table, _SOURCE, where, "source")
    kind = _kind(table.get("kind"), name, where)
    given = dict(table)
    paths = given.pop("path", [])
    for key in ("configs", "domains", "only"):
        if key in given:
            given[key] = tuple(given[key])
    for domain in (*given.get("domains", ()), given.get("domain", DOMAINS[0])):
        if domain not in DOMAINS:
            raise UnknownNameError("domain", domain, DOMAINS, f" ({where})")
    for column in given.get("map", {}):
        if column not in FIELDS:
            raise UnknownNameError("field", column, FIELDS, f" ({where}: map)")
    settings: dict[str, Any] = {"hub": kind.hub, "configs": kind.configs} | given
    settings |= {"name": name, "kind": kind, "mapping": settings.pop("map", {})}
    paths = [paths] if isinstance(paths, str) else paths
    found = Source(**settings, paths=tuple(_located(path, recipe) for path in paths))
    if not found.paths and not found.hub:
        raise ConfigError(f"{where}: it needs a path, or `hub` with the id of a data set")
    if found.mapping and kind.parse:
        raise ConfigError(f'{where}: map is for kind = "files"; {kind.name} has its own columns')
    return found


def _kind(given: str | None, name: str, where: str) -> Kind:
    kind = given or name
    if kind not in KINDS:
        hint = " (set `kind`)" if given is None else ""
        raise UnknownNameError("kind of source", kind, KINDS, f"{hint} ({where})")
    return KINDS[kind]


def _located(path: str, recipe: Path) -> str:
    """A path of the recipe, from the recipe's folder."""
    return str(recipe.parent / Path(path).expanduser())


def _once(sources: Iterable[Source], recipe: Path) -> None:
    """Raise where two sources give their rows the same name."""
    seen: dict[str, str] = {}
    for source in sources:
        if (other := seen.setdefault(source.title, source.name)) != source.name:
            raise ConfigError(
                f"{recipe}: [sources.{other}] and [sources.{source.name}] are both "
                f"{source.title}: their rows could not be told apart"
            )
