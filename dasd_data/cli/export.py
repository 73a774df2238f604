"""`export`."""

from __future__ import annotations

from pathlib import Path

import click

from dasd_data.cli.common import catalog_option, note

_USE = {
    "llamafactory": "llamafactory-cli train … --dataset_dir {out} --dataset {config}",
    "axolotl": "axolotl train {path} (with base_model and the rest of its settings added)",
    "swift": "swift sft … --custom_dataset_info {path} --dataset {data}",
}


@click.command()
@click.argument("build")
@click.option(
    "--for",
    "trainer",
    required=True,
    type=click.Choice(list(_USE)),
    help="The trainer that is to read it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for the file; by default this one.",
)
@catalog_option
def export(build: str, trainer: str, out: Path, catalog: str | None) -> None:
    """Write the small file by which a trainer finds a build; the rows stay where they are.

    BUILD is a view (its last build), the start of a build id, or a folder.
    """
    import dasd_data
    from dasd_data import builds
    from dasd_data import export as exports

    # A folder needs no catalog.
    known = builds.at(Path(build)) or builds.find(dasd_data.open(catalog), build)
    path = exports.write(known, trainer, out)
    data = known.folder.resolve() / "data"
    use = _USE[trainer].format(out=out, path=path, config=known.manifest["config"], data=data)
    note(f"{path}: {use}")
