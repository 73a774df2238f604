from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from builders.jit import njit

# What numba finds in a read-only installation of a user without a home.
NO_FOLDER = "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = []; "
USERS = (
    "builders.filters.runs, builders.read.scan, builders.segment.segmenter, "
    "builders.tokens.aggregate"
)


def test_functions_are_kept_on_disk_where_that_can_be():
    """Every command would spend seconds on compiling what was compiled before."""
    assert njit()(lambda x: x)._cache.cache_path


def test_every_compiled_module_imports_without_a_cache_folder():
    """A read-only installation would end in `no locator available` before the first row."""
    code = (
        f"{NO_FOLDER}import {USERS}; from builders.jit import njit; "
        "assert njit(nogil=True)(lambda x: x + 1)(2) == 3"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
