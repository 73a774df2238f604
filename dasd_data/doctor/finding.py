"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """A line of the report: `do` says what to do about a warning or a problem."""

    check: str
    state: str
    what: str
    do: str = ""


def size(number: float) -> str:
    """`3.4 GB`."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if number < 1_000 or unit == "TB":
            break
        number /= 1_000
    return f"{number:.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.1f} {unit}"
