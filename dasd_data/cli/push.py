"""`push`."""

from __future__ import annotations

import sys
from typing import Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    at_option,
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    print_table,
    settings_option,
    threads_option,
    trusted_option,
)


@click.command()
@click.option(
    "--view",
    "views",
    required=True,
    multiple=True,
    shell_complete=complete.views,
    help="Name of a view, or path of a .sql file. Repeatable: each is a configuration.",
)
@click.option("--repo", required=True, metavar="NAMESPACE/NAME", help="Data set of the Hub.")
@settings_option
@click.option("--tag", help="Tag to put on the commit.")
@click.option("--private", is_flag=True, help="A new data set is to be private.")
@click.option("--dry-run", is_flag=True, help="Build, and say what would be sent; send nothing.")
@click.option(
    "--parent",
    metavar="COMMIT",
    help="The head that may be written over, where this catalog did not push it.",
)
@click.option(
    "--language",
    "languages",
    multiple=True,
    default=["en"],
    show_default=True,
    help="Language of the texts, as the card says it. Repeatable.",
)
@trusted_option
@threads_option
@catalog_option
@at_option
@json_option
def push(
    views: tuple[str, ...],
    repo: str,
    settings: dict[str, Any],
    tag: str | None,
    private: bool,
    dry_run: bool,
    parent: str | None,
    languages: tuple[str, ...],
    trusted: bool,
    catalog: str | None,
    at: str | None,
    as_json: bool,
) -> None:
    """Publish views as configurations of one data set of the Hugging Face Hub.

    One commit, then the tag: a loader has the old data set whole, or the new one. Run again after a
    failure, it sends only what is missing. The token is that of HF_TOKEN or `hf auth login`.
    A --set goes to every view that declares the parameter; --set VIEW:NAME=VALUE to one.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    import dasd_data
    from dasd_data import hub

    if not sys.stderr.isatty():
        disable_progress_bars()
    found = dasd_data.open(catalog, at=at)
    done = hub.push(
        found,
        views,
        repo,
        settings,
        tag=tag,
        parent=parent,
        private=private,
        languages=languages,
        dry_run=dry_run,
        trusted=trusted,
        told=lambda planned: None if as_json else _tell(planned),
    )
    if as_json:
        print_json(_as_json(done, dry_run))
    elif dry_run:
        note("dry run: nothing was sent")
    elif not done.changes:
        note(f"unchanged: {done.url} is at {(done.revision or '')[:12]}{_tagged(done)}")
    else:
        note(f"{done.url} is at {(done.revision or '')[:12]}{_tagged(done)}")


def _tagged(done: Any) -> str:
    return f", tag {done.tag}" if done.tag else ""


def _tell(planned: Any) -> None:
    """What is going to be sent, a line for each folder."""
    for build in planned.builds:
        for unchecked in build.unchecked:
            note(f"{build.manifest['config']}: not checked: {unchecked}")
    changes, files = planned.changes, planned.files
    places = {
        name: {path.partition("/")[0] if "/" in path else path for path in paths}
        for name, paths in (("files", files), ("removed", changes.removed))
    }
    rows = []
    for place in sorted(places["files"] | places["removed"]):

        def within(paths: Any, place: str = place) -> list[str]:
            return [p for p in paths if p == place or p.startswith(f"{place}/")]

        rows.append(
            {
                "path": place,
                **{
                    kind: len(within(getattr(changes, kind)))
                    for kind in ("new", "changed", "same", "removed")
                },
                "MB": round(sum(files[p].size for p in within(files)) / 1e6, 3),
            }
        )
    print_table(rows)
    note(
        f"{planned.url}: {count(len(changes.sent), 'file')} to send, "
        f"{changes.bytes_new / 1e6:,.3f} MB that it does not hold yet; of these, chunks that it "
        "has are not sent"
    )


def _as_json(done: Any, dry_run: bool) -> dict[str, Any]:
    changes = done.changes
    return {
        "repo": done.repo,
        "url": done.url,
        "revision": done.revision,
        "tag": done.tag,
        "dry_run": dry_run,
        "builds": {b.manifest["config"]: b.build_id for b in done.builds},
        "bytes": sum(file.size for file in done.files.values()),
        "bytes_new": changes.bytes_new,
        "new": list(changes.new),
        "changed": list(changes.changed),
        "same": list(changes.same),
        "removed": list(changes.removed),
    }
