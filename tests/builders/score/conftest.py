"""The real inputs where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A path under the shared data folder; skips where it is not at hand."""
    beside = Path(__file__).parents[3].parent / "shared"
    root = Path(os.environ.get("DASD_SHARED", beside)) / "data"

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"needs {root / name}; set DASD_SHARED to the shared folder")
        return root / name

    return find
