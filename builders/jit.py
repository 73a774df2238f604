"""Compiling with numba where there may be no folder to keep the machine code in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite.binding import ffi


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


def _answer_no_dict() -> None:
    """Let others look at all modules' attributes, as vLLM 0.32 does on a CPU in all its processes.

    llvmlite's library object answers every name, `__dict__` too, with a function of LLVM; vLLM
    takes that for a dictionary.
    """
    kind: Any = type(ffi.lib)
    found = kind.__getattr__

    def getattr_(self: Any, name: str) -> Any:
        if name == "__dict__":
            raise AttributeError(name)
        return found(self, name)

    kind.__getattr__ = getattr_


_answer_no_dict()
