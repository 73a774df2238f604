"""`push`: builds of views, as the configurations of one data set of the Hub.

Everything is sent first, then ONE commit names it, then the tag: whoever loads the data set has
the old one whole or the new one whole, whenever this dies. Run again, it compares what is there
with what is wanted, and so goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dasd_data import manifest
from dasd_data.build import Build, build
from dasd_data.card.front import Manifest
from dasd_data.catalog import Catalog
from dasd_data.errors import ConflictError, DamagedFileError, DataError, UsageError
from dasd_data.hub import asked, contents
from dasd_data.hub.compare import Changes, File, compare
from dasd_data.hub.remote import Remote, State
from dasd_data.schema import TABLES
from dasd_data.writer import Writer

_SHORTEST_ID = 7


@dataclass(frozen=True)
class Pushed:
    """What a push did, or would do. `revision` is None where nothing was committed yet."""

    repo: str
    url: str
    builds: Sequence[Build]
    files: Mapping[str, File]
    changes: Changes
    revision: str | None
    tag: str | None


def push(
    catalog: Catalog,
    views: Sequence[str],
    repo: str,
    settings: Mapping[str, Any] | None = None,
    *,
    tag: str | None = None,
    parent: str | None = None,
    private: bool = False,
    languages: Sequence[str] = ("en",),
    dry_run: bool = False,
    trusted: bool = False,
    robustness: str = "fast",
    told: Callable[[Pushed], None] = lambda planned: None,
) -> Pushed:
    """Build views, and make them configurations of the data set `repo` (NAMESPACE/NAME).

    A setting goes to every view that declares it, VIEW:NAME to that view. Configurations of other
    views stay in the data set. `told` hears what is going to be sent before it is; a dry run ends
    there. A head that this catalog did not push, and a repository that it never pushed to, are left
    alone unless `parent` names that head. `tag` is put on the commit.

    Raises UsageError, ConflictError (another head, a tag on another commit), DeniedError,
    RemoteError (run it again: it sends what is missing), and what `build` raises.
    """
    asked.check_languages(languages)
    given = asked.settings_of(catalog, views, settings or {})
    remote = Remote(repo, writes=True)
    if not dry_run:
        remote.need_token()
    state, known = _look(catalog, remote, parent)
    if tag is not None:
        asked.check_tag(tag, state.branches if state else {"main"})
    builds = [
        build(catalog, view, its, robustness=robustness, trusted=trusted)
        for view, its in zip(views, given, strict=True)
    ]
    planned = _plan(remote, state, builds, languages, tag)
    if state and planned.changes and not known:  # without: ours, we died before we noted it
        raise _unseen(remote, state)
    if "README.md" in planned.changes.sent:
        card = planned.files["README.md"].content
        assert isinstance(card, bytes)
        remote.check_card(card.decode())
    told(planned)
    return planned if dry_run else _apply(catalog, remote, state, planned, private)


def _look(catalog: Catalog, remote: Remote, parent: str | None) -> tuple[State | None, bool]:
    """What the repository holds, and whether its head may be written over.

    Raises ConflictError for one that is not of builds, UsageError for the parent of none.
    """
    state = remote.state()
    if state is None:
        if parent:
            raise UsageError(
                f"--parent {parent}: there is no {remote.url}, or the token may not see it"
            )
        return None, True
    known = _known(catalog, remote, state, parent)
    if not known and not any(path.startswith(f"{contents.MANIFESTS}/") for path in state.files):
        raise _unseen(remote, state)
    return state, known


def _plan(
    remote: Remote,
    state: State | None,
    builds: Sequence[Build],
    languages: Sequence[str],
    tag: str | None,
) -> Pushed:
    """The files that are wanted beside those that are there. Raises ConflictError for the tag."""
    _check_configs(builds)
    configs = [str(b.manifest["config"]) for b in builds]
    others = _others(remote, state, configs)
    there = state.files if state else {}
    files = contents.wanted(remote.repo, remote.url, builds, others, languages, there)
    changes = compare(files, there, configs)
    head = state.head if state and not changes else None
    if tag:
        remote.check_tag(tag, head, state.tags if state else {})
    return Pushed(remote.repo, remote.url, builds, files, changes, head, tag)


def _apply(
    catalog: Catalog, remote: Remote, state: State | None, planned: Pushed, private: bool
) -> Pushed:
    """Send what is missing, commit, tag, and note each in the catalog."""
    state, head = state or remote.create(private), planned.revision
    configs = [str(b.manifest["config"]) for b in planned.builds]
    if head is None:
        message = f"Push {', '.join(configs)}"
        said = "\n".join(f"{b.manifest['config']}: build {b.build_id}" for b in planned.builds)
        head = remote.commit(planned.files, planned.changes, configs, state.head, message, said)
    _record(catalog, remote, planned, head, state.head, "")
    if planned.tag:
        remote.tag(planned.tag, head)
        _record(catalog, remote, planned, head, state.head, planned.tag)
    return replace(planned, revision=head)


def _known(catalog: Catalog, remote: Remote, state: State, parent: str | None) -> bool:
    """Whether the head may be written over: pushed from here, named, or empty.

    Raises ConflictError where another is named.
    """
    if parent is not None:
        if len(parent) < _SHORTEST_ID or not state.head.startswith(parent):
            raise remote.moved(state.head, parent)
        return True
    return state.empty or state.head in _seen(catalog, remote)


def _unseen(remote: Remote, state: State) -> ConflictError:
    return ConflictError(
        f"{remote.url} is at {state.head[:12]}, which this catalog did not push: look at it, and "
        f"if its configurations may be replaced, push with --parent {state.head}"
    )


def _seen(catalog: Catalog, remote: Remote) -> set[str]:
    """The commits of this data set that were pushed from this catalog, as of now."""
    rows = Catalog(catalog.config).sql("FROM pushes").to_arrow_table().to_pylist()
    here = (remote.endpoint, remote.repo)
    return {row["revision"] for row in rows if (row["endpoint"], row["repo"]) == here}


def _check_configs(builds: Sequence[Build]) -> None:
    by_config: dict[str, str] = {}
    for one in builds:
        config, view = str(one.manifest["config"]), str(one.manifest["view"])
        if config in by_config:
            raise UsageError(
                f"views {by_config[config]} and {view} have the same config, {config}: give one "
                "of them another in its front matter"
            )
        if config in {contents.MANIFESTS, "figures"}:
            raise UsageError(f"view {view}: {config} cannot be the name of a config")
        by_config[config] = view


def _others(remote: Remote, state: State | None, configs: Sequence[str]) -> list[Manifest]:
    """The manifests of the configurations that a repository has besides these."""
    found: list[Manifest] = []
    for path in sorted(state.files) if state else []:
        folder, _, name = path.partition("/")
        config = name.removesuffix(".json")
        if state is None or folder != contents.MANIFESTS or config in configs or config == name:
            continue
        try:
            other = manifest.parse(remote.read(path, state.head), path)
        except DamagedFileError as error:
            raise DataError(f"{remote.url}: {error}: remove it") from None
        if other["config"] != config:
            raise DataError(f"{remote.url}: {path} is of another config: remove it")
        found.append(other)
    return found


def _record(
    catalog: Catalog, remote: Remote, pushed: Pushed, revision: str, parent: str, tag: str
) -> None:
    """Add a commit, or its tag, to the table of pushes."""
    row = {
        "endpoint": remote.endpoint,
        "repo": pushed.repo,
        "revision": revision,
        "tag": tag,
        "parent": parent,
        "builds": json.dumps({b.manifest["config"]: b.build_id for b in pushed.builds}),
        "files": json.dumps({path: file.sha256 for path, file in pushed.files.items()}),
        "pushed_at": datetime.now(UTC),
    }
    schema = TABLES["pushes"].schema
    rows = pa.Table.from_pylist([row], schema.remove(schema.get_field_index("content_hash")))
    Writer(catalog.store, f"push {pushed.repo}").append({"pushes": rows})
