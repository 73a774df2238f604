"""Tables for people: as wide as the terminal, cells wrapped and never cut; a pipe has no width."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import click

NARROWEST = 12  # a column of text is wrapped down to this; what is wider still is shown row by row
_BETWEEN, _ANY_HEIGHT = 3, 25


def print_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """A table on stdout; cells are plain text, never markup.

    Where a terminal is too narrow for the columns, every row is a list of its own.
    """
    from rich import console as rich
    from rich.table import Table
    from rich.text import Text

    class Console(rich.Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # a reader that left is no failure: rich would exit with 1

    names = list(columns or (rows[0] if rows else []))
    cells = [[cell(row[name]) for name in names] for row in rows]
    heads = [printable(name) for name in names]
    numeric = [_numeric([row[name] for row in rows]) for name in names]
    # With a height, too: rich takes every dumb terminal for 80 columns wide otherwise.
    console = Console(width=shutil.get_terminal_size().columns, height=_ANY_HEIGHT)
    wide = [_widths(heads, cells, i) for i in range(len(names))]
    least = [
        w if n else max(len(h), min(w, NARROWEST))
        for h, w, n in zip(heads, wide, numeric, strict=True)
    ]
    between = _BETWEEN * (len(names) - 1)
    if not sys.stdout or not sys.stdout.isatty():
        console = Console(width=max(sum(wide) + between, 1), height=_ANY_HEIGHT)
    elif rows and sum(least) + between > console.width:
        _print_records(heads, cells, title)
        return
    table = Table(
        title=title and Text(printable(title)),
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for head, width, right in zip(heads, least, numeric, strict=True):
        table.add_column(
            Text(head), justify="right" if right else "left", min_width=width, overflow="fold"
        )
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in known
    )


def _widths(heads: Sequence[str], cells: Sequence[Sequence[str]], column: int) -> int:
    """Width of a column's widest line, in cells of the terminal."""
    from rich.cells import cell_len

    texts = (heads[column], *(row[column] for row in cells))
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _print_records(heads: Sequence[str], cells: Sequence[Sequence[str]], title: str | None) -> None:
    width = max(map(len, heads))
    if title:
        click.echo(title)
    for number, row in enumerate(cells, 1):
        click.echo(f"── row {number:,} " + "─" * width)
        for head, text in zip(heads, row, strict=True):
            click.echo(f"{head:<{width}}  {text}".rstrip())


def cell(value: Any) -> str:
    """A value as a person reads it; control characters spelled out."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return printable(_inner(value))


def _inner(value: Any) -> str:
    """A value within a list or a struct, where commas stand between values."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_inner(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inner, value)) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def printable(text: str) -> str:
    """Text with control characters spelled out: model output must not steer the terminal.

    They are those of C0 and C1 but for line ends and tabs, what reverses or hides text (bidi
    controls, zero-width characters), and every other character without a shape of its own.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def visible_json(text: str) -> str:
    """The same JSON, with the characters that `printable` spells out escaped as JSON does."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] if ord(c) > 127 else "\\u007f"
        for c in text
    )
