"""What `dasd-data doctor` looks at. Each check tells what it found and, if need be, what to do.

No check writes anything, and none depends on another: they must work without a catalog, with a
damaged one and in a broken installation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from dasd_data.doctor.finding import OK, PROBLEM, WARNING, Finding

__all__ = ["OK", "PROBLEM", "WARNING", "Finding", "examine"]


def examine(catalog: str | Path | None = None) -> Iterator[Finding]:
    """Findings on the installation, the machine and the catalog that `catalog` means."""
    from dasd_data.doctor import installation, machine, storage

    for check in (*installation.CHECKS, *machine.CHECKS):
        yield from _guarded(check.__name__, check)
    yield from _guarded("catalog", lambda: storage.check(catalog))


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that fails is a finding: the others still run."""
    try:
        yield from check()
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(name, PROBLEM, f"could not be checked: {what}", "see the message")
