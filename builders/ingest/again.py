"""What an ingest was told otherwise than an earlier one of the same files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from builders.shapes import Context
from dasd_data.catalog import Catalog

_OF_A_FILE = {"file", "source"}  # fields of a Context that are not settings


def otherwise(catalog: Catalog, context: Context, run_id: str, files: Iterable[str]) -> list[str]:
    """The settings in which this run differs from the newest earlier one that shares a file.

    Each as `temperature: none, now 0.6`.
    """
    mine = set(files)
    for before in catalog.refresh().configurations("ingest", but=run_id):
        if mine & set(before.get("file", ())):
            return [
                f"{name}: {_said(before.get(name))}, now {_said(value)}"
                for name, value in asdict(context).items()
                if name not in _OF_A_FILE and before.get(name) != value
            ]
    return []


def _said(value: Any) -> str:
    return "none" if value is None or value == {} else str(value)
