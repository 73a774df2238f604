"""Rows of a recipe's sources: from local files, or streamed from the Hugging Face Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from builders import read
from builders.collect.recipe import Recipe, Source
from builders.collect.source import Parse
from builders.read import RawRow
from builders.shapes import Context
from dasd_data.errors import (
    ConfigError,
    DasdError,
    DataError,
    MissingExtraError,
    RemoteError,
    UsageError,
)

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Part:
    """A part of a source with rows of one schema: a file, or a configuration on the Hub.

    `label` tells it from the source's other parts, and is empty where there is only one.
    """

    context: Context
    label: str
    rows: Callable[[OnBytes | None], Iterator[RawRow]]
    stored_bytes: int | None  # None: not known before it is read


@dataclass(frozen=True)
class Opened:
    """A source that can be read. `revision` is the Hub's commit, None for local files."""

    source: Source
    parts: tuple[Part, ...]
    revision: str | None = None


def open_all(recipe: Recipe) -> list[Opened]:
    """Open every source, and look at the first row of each of their parts, before any is read.

    Raises ConfigError and UsageError for paths and data sets that are not there or have another
    schema, RemoteError where the Hub cannot be reached.
    """
    opened = [_local(recipe, s) if s.paths else None for s in recipe.sources]
    found = [o or _hub(recipe, s) for o, s in zip(opened, recipe.sources, strict=True)]
    for each in found:
        for part in each.parts:
            _probe(recipe, each.source, part)
    return found


def _probe(recipe: Recipe, source: Source, part: Part) -> None:
    """Raise UsageError where a part's first good row is of another schema."""
    for row in part.rows(None):
        if row.value is not None:
            begin(recipe, source, part, row.value)
            return


def begin(recipe: Recipe, source: Source, part: Part, row: dict[str, Any]) -> Parse:
    """How the rows of a part are parsed. Raises UsageError naming the recipe's table."""
    try:
        return source.kind.begin(row, part.context)
    except UsageError as error:
        hint = "" if source.kind.parse else '; here, map = { question = "COLUMN" }'
        raise UsageError(f"{recipe.where(source)}: {error}{hint}") from error


def _local(recipe: Recipe, source: Source) -> Opened:
    try:
        files = read.expand(source.paths)
    except UsageError as error:
        raise ConfigError(f"{recipe.where(source)}: path: {error}") from None
    common = Path(os.path.commonpath([f.parent for f in files]))
    parts = [
        Part(
            _context(source, read.shown(file)),
            read.shown(file.relative_to(common)) if len(files) > 1 else "",
            partial(_stored, file),
            read.stored_bytes([file]),
        )
        for file in files
    ]
    return Opened(source, tuple(parts))


def _hub(recipe: Recipe, source: Source) -> Opened:
    """A source on the Hub, at the commit that its revision names now."""
    revision = _commit(recipe, source)
    configs: tuple[str | None, ...] = source.configs or (None,)
    parts = []
    for config in configs:
        place = f"hf://datasets/{source.hub}@{revision[:12]}" + (f"/{config}" if config else "")
        parts.append(
            Part(
                _context(source, place),
                config or "" if len(configs) > 1 else "",
                partial(_streamed, recipe, source, revision, config, place),
                None,
            )
        )
    return Opened(source, tuple(parts), revision)


def _context(source: Source, file: str) -> Context:
    return Context(
        file=file,
        source=source.title,
        domain=source.domain,
        mapping=source.mapping,
        as_kind="questions",
        license=source.license,
    )


def _commit(recipe: Recipe, source: Source) -> str:
    """The commit that a source's revision names. Raises UsageError, RemoteError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return str(HfApi().dataset_info(str(source.hub), revision=source.revision).sha)
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ConfigError(
            f"{recipe.where(source)}: the Hugging Face Hub has no data set {source.hub!r} at "
            f"revision {source.revision!r}, or not for you ({type(error).__name__}): see `hub` "
            "and `revision`; a gated one needs its terms accepted and `hf auth login`"
        ) from error
    except Exception as error:  # of whichever HTTP library the client uses
        raise _unreachable(recipe, source, error) from error


def _unreachable(recipe: Recipe, source: Source, error: Exception) -> RemoteError:
    on_hub = [s.name for s in recipe.sources if not s.paths]
    why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    copies = " ".join(f"--source {name}=PATH" for name in on_hub)
    return RemoteError(
        f"{recipe.where(source)}: {source.hub} could not be read from the Hugging Face Hub "
        f"({why}). Nothing was collected. Try again, or name local copies ({copies}, or "
        f"`path = …` in the recipe), or leave sources out (--without {source.name})"
    )


def _stored(file: Path, on_bytes: OnBytes | None) -> Iterator[RawRow]:
    return read.read(file, on_bytes=on_bytes)


def _streamed(
    recipe: Recipe,
    source: Source,
    revision: str,
    config: str | None,
    place: str,
    _on_bytes: OnBytes | None,
) -> Iterator[RawRow]:
    """Rows of a data set on the Hub as they come, without a copy of it on this machine.

    Of Parquet files only the columns that are needed are fetched.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "collect") from None
    from datasets.exceptions import DatasetsError

    kind = source.kind
    try:
        builder = datasets.load_dataset_builder(
            source.hub, config, revision=revision, features=_features(kind.features)
        )
        if kind.columns and hasattr(builder.config, "columns"):
            answer = [kind.answer] if recipe.needs_answers and kind.answer else []
            builder.config.columns = [*kind.columns, *answer]
        streams = builder.as_streaming_dataset(split=source.split)
        number = 0
        for stream in streams.values() if isinstance(streams, dict) else [streams]:
            for row in stream:
                number += 1
                yield RawRow(place, number, row)
    except DasdError:
        raise
    except (DatasetsError, ValueError) as error:  # no such configuration, rows of another schema
        raise DataError(
            f"{recipe.where(source)}: {place} cannot be read by `datasets`: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    except Exception as error:  # of whichever HTTP library the client uses
        raise _unreachable(recipe, source, error) from error


def _features(schema: Any) -> Any:
    """A kind's schema as `datasets` has it."""
    import datasets

    if schema is None:
        return None
    if isinstance(schema, dict):
        return datasets.Features({name: _features(kind) for name, kind in schema.items()})
    if isinstance(schema, list):
        return [_features(schema[0])]
    return datasets.Value(schema)
