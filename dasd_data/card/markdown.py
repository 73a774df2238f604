"""Tables, lists and bars of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], *columns: str) -> str:
    """A Markdown table of these columns, by default of all in the order of the first row.

    Rows that were in a file have their keys in the order of the alphabet.
    """
    if not rows:
        return ""
    head = list(columns or rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[c]) for c in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")
