"""Builds that were made: found by id, view or folder, and their rows read back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dasd_data import files, manifest, render
from dasd_data.errors import DamagedFileError, DataError, UnknownNameError, UsageError
from dasd_data.log import State
from dasd_data.manifest import Manifest

if TYPE_CHECKING:
    from dasd_data.catalog import Catalog

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Known:
    """A build that is there: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def build_id(self) -> str:
        """Hash of what decided its rows."""
        return str(self.manifest["build_id"])

    def about(self) -> dict[str, Any]:
        """What tells it from others."""
        names = ("build_id", "view", "snapshot_id", "rows", "built_at")
        return {**{name: self.manifest.get(name) for name in names}, "path": str(self.folder)}

    def schema(self) -> pa.Schema:
        """Its columns, but for the chats."""
        with _reading(self.folder):
            whole = pq.read_schema(self._shards()[0])
        return pa.schema(field for field in whole if field.name not in render.COLUMNS.names)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of some of its columns, in order. Raises DamagedFileError."""
        for path in self._shards():
            with _reading(path):
                file = pq.ParquetFile(path, page_checksum_verification=True)
                yield from file.iter_batches(_BATCH_ROWS, columns=list(columns))

    def _shards(self) -> list[Path]:
        return [self.folder / shard["path"] for shard in self.manifest["shards"]]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say which file of a build cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): build it again"
        ) from None


def at(folder: Path) -> Known | None:
    """The build in a folder; None where there is none. Raises DamagedFileError."""
    try:
        found = manifest.read(folder)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}: build it again", error.file) from None
    return Known(folder, found) if found else None


def recorded(catalog: Catalog) -> list[dict[str, Any]]:
    """All recorded builds, newest first, whatever the catalog is pinned at.

    Rows of the table `builds` with `folder`, where each was written.
    """
    state = catalog.store.snapshot().tables.get("builds", State())
    # Not by SQL: that would need the files of every other table.
    paths = catalog.store.files("builds", state)
    rows = [row for path in paths for row in files.read_checked(path).to_pylist()]
    rows.sort(key=lambda row: str(row["build_id"]))
    rows.sort(key=lambda row: row["built_at"], reverse=True)
    return [{**row, "folder": catalog.path / row["path"]} for row in rows]


def last(catalog: Catalog, view: str) -> Known | None:
    """The newest build of a view that is still there. Raises DamagedFileError."""
    for row in recorded(catalog):
        found = at(row["folder"]) if row["view"] == view else None
        if found and found.build_id == row["build_id"]:
            return found
    return None


def record(catalog: Catalog, wanted: str) -> dict[str, Any]:
    """The row of a build, by the start of its id, or by its view: the last one.

    Raises UnknownNameError, UsageError where several ids begin like this.
    """
    rows = recorded(catalog)
    found = [row for row in rows if row["view"] == wanted][:1] or [
        row for row in rows if wanted and row["build_id"].startswith(wanted)
    ]
    if len(found) > 1:
        ids = ", ".join(row["build_id"] for row in found[:3])
        raise UsageError(f"several builds begin with {wanted!r}: {ids}; write more of one")
    if not found:
        known = {name for row in rows for name in (row["build_id"], row["view"])}
        raise UnknownNameError("build or view that was built", wanted, known)
    return found[0]


def find(catalog: Catalog, wanted: str) -> Known:
    """A build by its folder, by the start of its id, or by its view: the last one.

    Raises UnknownNameError, UsageError where several ids begin like this, DataError where it is
    gone.
    """
    if known := at(Path(wanted)):
        return known
    row = record(catalog, wanted)
    known = at(row["folder"])
    if known is None or known.build_id != row["build_id"]:
        raise DataError(
            f"build {row['build_id']} is not at {row['folder']} any more: "
            f"`dasd-data build --view {row['view']} --at {row['snapshot_id']}` makes it again"
        )
    return known
