"""What commands share: the catalog option, tables, JSON, numbers and progress."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import click

from dasd_data.cli import complete
from dasd_data.cli.tables import cell, print_table, printable, visible_json

__all__ = [
    "Progress",
    "catalog_option",
    "cell",
    "count",
    "duration",
    "json_option",
    "json_text",
    "note",
    "print_funnel",
    "print_json",
    "print_sentences",
    "print_table",
    "printable",
    "settings_option",
    "threads_option",
    "trusted_option",
    "visible_json",
]

_EVERY_S = 30.0  # one progress line per 30 s without a terminal

catalog_option = click.option(
    "--catalog",
    metavar="PATH",
    shell_complete=complete.folders,
    help="Catalog folder; else DASD_CATALOG, else the nearest dasd.toml, else ./dasd.catalog.",
)
at_option = click.option(
    "--at",
    metavar="SNAPSHOT",
    shell_complete=complete.snapshots,
    help="An older state: a number, -1 (the one before the newest), or a time; see `snapshots`.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def _threads(ctx: click.Context, option: click.Parameter, value: int | None) -> None:
    """The flag takes the place of the variables: libraries read theirs when they are loaded."""
    if value is not None:
        for name in ("DASD_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"):
            os.environ[name] = str(value)


threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    expose_value=False,
    callback=_threads,
    help="Threads; else DASD_THREADS, else `threads` in dasd.toml, else all cores.",
)


def _trusted(ctx: click.Context, option: click.Parameter, value: bool) -> bool:
    if value:
        note("--trusted: this SQL may read and write files, and runs without limits of time")
    return value


trusted_option = click.option(
    "--trusted",
    is_flag=True,
    callback=_trusted,
    help="The SQL is your own: run it unlocked, in this process; it may read and write files.",
)


def note(text: str) -> None:
    """A line for the person, on stderr."""
    click.echo(printable(text), err=True)


def print_json(value: Any) -> None:
    """A JSON document on stdout."""
    import msgspec

    click.echo(visible_json(msgspec.json.format(json_text(value), indent=1)))


def json_text(value: Any) -> str:
    """Strict JSON: NaN and infinities are null, times ISO 8601, bytes base64, the rest text."""
    import msgspec

    def other(value: Any) -> Any:
        return value.item() if hasattr(value, "item") else str(value)

    encoder = msgspec.json.Encoder(enc_hook=other, decimal_format="number")
    return encoder.encode(value).decode()


def print_funnel(funnel: Sequence[Mapping[str, Any]]) -> None:
    """The funnel of a selection: what each condition leaves."""
    print_table(funnel, ["condition", "responses", "questions"])


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def print_sentences(rows: Sequence[Mapping[str, Any]], width: int = 88) -> None:
    """Sentences with their probabilities and label, one a line."""
    for row in rows:
        text = " ".join(printable(row["text"]).split())
        text = text if len(text) <= width else text[: width - 1] + "…"
        click.echo(
            f"  p_T {row['p_teacher']:.3f}  p_S {row['p_student']:.3f}  {row['label']:<8} {text}"
        )


class Progress:
    """Progress on stderr: a bar on a terminal, else a line every 30 s. Use as a context.

    The lines come by a timer, whether or not there is anything new: a silent job looks dead.
    """

    def __init__(
        self, label: str, total: float | None = None, unit: str = "rows", stream: Any = None
    ) -> None:
        self.label, self.unit = printable(label), unit
        self._now: tuple[float, float | None, str] = (0.0, total, "")  # one value: two threads
        self._stream = stream or sys.stderr
        self._start, self._over = time.monotonic(), threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._stream.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}:
            from rich import progress as bars
            from rich.console import Console

            self._bar = bars.Progress(
                bars.TextColumn("{task.description}", markup=False),
                bars.BarColumn(),
                bars.TextColumn("{task.fields[rate]}", markup=False),
                bars.TimeRemainingColumn(),
                console=Console(file=self._stream),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self._now[1], rate="")
        else:
            self._thread = threading.Thread(target=self._tell, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._bar:
            self._bar.stop()
        if self._thread:
            self._thread.join(timeout=1)  # a stream that takes nothing holds no one up

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more is done."""
        self.update(self._now[0] + amount)

    def update(self, done: float, total: float | None = None, detail: str = "") -> None:
        """Say how much is done, and of how much, and what else there is to say."""
        self._now = (done, total if total is not None else self._now[1], detail)
        if self._bar:
            spent = time.monotonic() - self._start
            self._bar.update(
                self._task, completed=done, total=self._now[1], rate=self._rate(*self._now, spent)
            )

    def _tell(self) -> None:
        while not self._over.wait(_EVERY_S):
            (done, total, detail), spent = self._now, time.monotonic() - self._start
            said = f"{duration(spent)} so far"
            if done or detail:
                said = self._rate(done, total, detail, spent)
            if done and total:
                said += f", {duration(spent * (total - done) / done)} left"
            with contextlib.suppress(OSError, ValueError):  # stderr is closed, or its disk full
                print(f"{self.label}: {said}", file=self._stream, flush=True)

    def _rate(self, done: float, total: float | None, detail: str, spent: float) -> str:
        rate = done / max(spent, 1e-9)
        of = f" of {total:,.0f}" if total else ""
        more = f", {detail}" if detail else ""
        return f"{done:,.0f}{of} {self.unit}, {rate:,.{0 if rate >= 10 else 1}f}/s{more}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--set name=value`, repeatable, as a dictionary `settings`."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_settings,
        shell_complete=complete.settings,
        help="Set a parameter of the view; budget.math=5 sets one domain. Repeatable.",
    )(function)


def _settings(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    from dasd_data.parameters import parse_settings

    pairs = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        pairs[name.strip()] = setting
    return parse_settings(pairs)
