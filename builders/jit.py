"""Compiling with numba where there may be no folder to keep the machine code in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def njit(*, allocates: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(**options)`, cached on disk where that can be.

    A function that makes no array and returns none can say so. It then counts no references to
    the arrays that it reads, which in a loop over bytes takes ten times as long as the rest: every
    call from the loop counted some, atomically.

    numba looks for a cache folder when a function is defined and raises RuntimeError without one,
    as in a read-only installation of a user without a home: there it compiles in every process.
    """

    if not allocates:
        options["_nrt"] = False

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compiled
