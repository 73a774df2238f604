"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A parser under test. `check` raises for any input that breaks what the parser promises."""

    name: str
    check: Callable[[bytes], None]
    seeds: Sequence[bytes] = ()
    words: Sequence[bytes] = ()
    max_len: int = 8192
