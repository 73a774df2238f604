"""`reproduce`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dasd_data.cli.common import (
    Progress,
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    threads_option,
    trusted_option,
)
from dasd_data.errors import DataError

if TYPE_CHECKING:
    from dasd_data.reproduce import Reproduction


@click.command()
@click.argument("build")
@click.option("--config", help="Of a data set of the Hub: this configuration alone.")
@trusted_option
@threads_option
@catalog_option
@json_option
def reproduce(
    build: str, config: str | None, trusted: bool, catalog: str | None, as_json: bool
) -> None:
    """Build again what a manifest describes, and compare every shard by its SHA-256.

    BUILD is the start of a build id, a view (its last build), a folder, or a data set of the Hub
    as org/name@tag. Nothing is kept of the rebuild. Exit code 3 where it differs, or where
    something that it needs is missing, which is then named.
    """
    import dasd_data
    from dasd_data import builds, published
    from dasd_data.errors import UnknownNameError
    from dasd_data.reproduce import reproduce as again

    found = dasd_data.open(catalog)
    if published.is_name(build):
        manifests = published.manifests(build)
        if config is not None and config not in manifests:
            raise UnknownNameError("configuration", config, manifests, f" ({build})")
        chosen = [manifests[config]] if config else list(manifests.values())
    elif config is not None:
        raise click.UsageError("--config is for a data set of the Hub: org/name@tag")
    else:
        chosen = [builds.find(found, build).manifest]
    done = []
    for manifest in chosen:
        with Progress(f"reproduce {manifest['view']}") as progress:
            done.append(again(found, manifest, trusted=trusted, progress=progress.update))
    if as_json:
        print_json([{**asdict(one), "reproduced": one.reproduced} for one in done])
    for one in done if not as_json else []:
        _print(one)
    failed = [one for one in done if not one.reproduced]
    if failed:
        raise DataError("; ".join(_why(one) for one in failed))


def _print(one: Reproduction) -> None:
    for name, (then, here) in one.versions.items():
        note(f"{one.view}: made by {name} {then}, and made again by {here}")
    for what in one.missing:
        note(f"{one.view}: missing: {what}")
    if one.reproduced:
        shards = count(len(one.shards), "shard")
        click.echo(f"reproduced: {one.view} {one.build_id}, {shards}, the same byte by byte")
        return
    for shard in one.shards:
        if shard["expected"] != shard["found"]:
            click.echo(
                f"differs: {shard['path']}: {shard['expected'] or 'not in the manifest'} was built,"
                f" {shard['found'] or 'nothing'} is built now"
            )


def _why(one: Reproduction) -> str:
    about = f"build {one.build_id} of {one.view}"
    if one.missing:
        return f"{about} cannot be made again here: {len(one.missing)} missing, named above"
    others = ", ".join(f"{name} {then}" for name, (then, _) in one.versions.items())
    hint = f": it was made by {others}" if others else ", by the same code and libraries"
    return f"{about} differs when it is made again{hint}"
