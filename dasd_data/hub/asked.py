"""What a push is asked for, checked before anything is built or sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dasd_data.catalog import Catalog
from dasd_data.errors import UnknownNameError, UsageError

# What git check-ref-format refuses in the name of a tag, and a dash that options begin with.
_NO_TAG = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|(^|/)\.|\.lock(/|$)|^@?$")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_LANGUAGE = re.compile(r"[a-z]{2,3}|code|multilingual")  # what the Hub knows


def check_tag(tag: str, branches: Collection[str]) -> None:
    """Raise UsageError for what git takes for no tag, or for a branch or a commit."""
    if _NO_TAG.search(tag):
        raise UsageError(f"--tag {tag!r} cannot be a tag of git: write one such as v1.0")
    if _COMMIT.fullmatch(tag):
        raise UsageError(f"--tag {tag} would be read as a commit: choose another")
    if tag in branches:
        raise UsageError(f"--tag {tag} is a branch of the data set: choose another")


def check_languages(languages: Sequence[str]) -> None:
    """Raise UsageError for what is no code of a language."""
    for language in languages:
        if not _LANGUAGE.fullmatch(language):
            raise UsageError(
                f"--language {language!r} is no ISO 639 code of two or three letters, such as en"
            )


def settings_of(
    catalog: Catalog, views: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The settings of each view: NAME goes to all that declare it, VIEW:NAME to that one, over it.

    Raises UnknownNameError for what no view declares, or for no such view.
    """
    files = [catalog.find_view(view) for view in views]
    declared = [catalog.declared(file) for file in files]
    given: list[dict[str, Any]] = [{} for _ in files]
    for key, value in sorted(settings.items(), key=lambda item: ":" in item[0]):
        view, _, name = key.rpartition(":")
        asked = [n for n, file in enumerate(files) if view in ("", file.name)]
        if not asked:
            raise UnknownNameError("view", view, [file.name for file in files], " (--set)")
        takers = [n for n in asked if name in declared[n]]
        if not takers:
            raise UnknownNameError("parameter", name, {p for n in asked for p in declared[n]})
        for n in takers:
            before = given[n].get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                given[n][name] = {**before, **value}
            else:
                given[n][name] = value
    return given
