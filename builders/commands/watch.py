"""How a long run is watched: a live line, a log of JSON lines, and an end that tells failure."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from dasd_data.cli.common import Progress, count, json_text, note
from dasd_data.errors import DataError

if TYPE_CHECKING:
    from builders.meter import Meter

Told = Callable[[Counter[str]], None]

log_option = click.option(
    "--log",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Append a JSON line per committed batch to this file; -: stderr.",
)


@contextmanager
def watched(
    label: str, name: str, unit: str, meter: Meter, lines: TextIO | None
) -> Iterator[tuple[Told, Told]]:
    """What a stage is to call for every result, and after every commit."""
    with Progress(label, unit=unit) as progress:

        def shown(counts: Counter[str]) -> None:
            reading = meter.read(counts)
            progress.update(reading.done + reading.failed, reading.wanted, reading.line())

        def committed(counts: Counter[str]) -> None:
            if lines:
                record = {"at": datetime.now(UTC), "name": name, **meter.read(counts).record()}
                print(json_text(record), file=lines, flush=True)

        yield shown, committed


@contextmanager
def log_of(path: str | None) -> Iterator[TextIO | None]:
    """The file of `--log`, to be opened before minutes of loading.

    Raises UsageError where it cannot be.
    """
    if path is None or path == "-":
        yield sys.stderr if path else None
        return
    with ExitStack() as opened:
        try:
            file = opened.enter_context(Path(path).open("a", encoding="utf-8"))
        except OSError as error:
            raise click.UsageError(
                f"--log {path}: {error.strerror}; name a file to append to"
            ) from None
        yield file


def note_failures(counts: Counter[str], noun: str) -> None:
    """Say what came to nothing, by reason, and what did before."""
    for label, number in sorted(counts.items()):
        if label.startswith(("finished: ", "failed: ")):
            note(f"{number:,} {label}")
    note_left(counts["failed before"], noun)
    if counts["failed"]:
        note("the reasons are in `attempts`; --retry failed tries them again")


def note_left(number: int, noun: str) -> None:
    """Say how many failed in an earlier run, and were not tried again."""
    if number:
        note(f"{count(number, noun)} failed before and left alone: --retry failed tries again")


def check_done(
    counts: Counter[str], unit: str, then: str, engines: Collection[str] | None = None
) -> None:
    """Raise DataError where all that was wanted failed, and for one of the reasons `engines`.

    Other reasons are a row's own: the one response that came last night may be over the context.
    """
    wanted = counts["wanted"]
    reasons = {k[8:]: n for k, n in sorted(counts.items()) if k.startswith("failed: ")}
    if not wanted or counts["done"] or not (engines is None or reasons.keys() & set(engines)):
        return
    told = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
    raise DataError(
        f'none of {wanted:,} {unit} came to anything ({told}): `dasd-data sql "SELECT reason, '
        f'count(*) FROM attempts GROUP BY ALL"` says why; {then}'
    )
