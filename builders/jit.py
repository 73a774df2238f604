"""Compiling with numba where there may be no folder to keep the machine code in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(**options)`, cached on disk where that can be.

    numba looks for a cache folder when a function is defined and raises RuntimeError without one,
    as in a read-only installation of a user without a home: there it compiles in every process.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compiled
