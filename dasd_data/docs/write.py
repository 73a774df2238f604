"""The pages as files: all of them, or those of the last time."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from dasd_data.catalog import Catalog
from dasd_data.docs.lineage import lineage
from dasd_data.docs.pages import GENERATOR, STYLE, pages
from dasd_data.errors import UsageError


def write(catalog: Catalog, out: Path) -> int:
    """Write the pages into `out`, in the place of earlier ones; their number.

    Raises UsageError where `out` holds anything else.
    """
    out = out.absolute()
    _check(out)
    counts = {name: state.rows for name, state in catalog.snapshot.tables.items()}
    title = f"{catalog.path.name}, snapshot {catalog.snapshot.snapshot_id}"
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        number = 0
        for path, text in pages(lineage(catalog), counts, title):
            file = temporary / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
            number += 1
        (temporary / "style.css").write_text(STYLE)
        if out.exists():
            shutil.rmtree(out)
        os.rename(temporary, out)
        return number
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(out: Path) -> None:
    """Refuse a folder that holds anything but pages: it would be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / "index.html"
    if not (index.is_file() and GENERATOR in index.read_text(encoding="utf-8", errors="replace")):
        raise UsageError(
            f"--out {out} holds something else than these pages: choose another folder"
        )
