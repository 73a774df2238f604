"""Stop a stage where it hurts, look at what is left, and run it again to the end.

    python -m tests.faults.kills --points 1000 --seed 0

`--points` are shared between the stages; a stage with more steps than its share has a sample of
them. `--commits` tries the places before and after each commit instead of every step.

A point runs a stage in a child process that dies by SIGKILL, at a numbered step or at a random
time, once or twice in a row. Then the catalog is reopened: its newest snapshot is whole, nothing
that was acknowledged is gone, and the same command, run again, ends with the rows, shards and files
of a run that nobody stopped.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dasd_data.errors import DamagedFileError, UsageError
from dasd_data.store import Store
from tests.faults import processes, state
from tests.faults.jobs import JOBS, STUDENT, Job, catalog_of, inputs, small_batches
from tests.faults.steps import Steps

STAGES = ("ingest", "sample", "segment", "score", "filter", "build")


@dataclass(frozen=True)
class Point:
    """Deaths in a row: a step's number from 1, or a share of the run's time below 1."""

    deaths: tuple[float, ...]


@dataclass
class Reference:
    """A job's state before, its run that nobody stopped, and the steps of that run."""

    job: Job
    scratch: Path
    base: Path
    folder: Path  # where it runs, each time: paths are the same
    final: state.State
    steps: list[str]
    seconds: float


@dataclass
class Outcome:
    """What a point found. All lists are empty where nothing is wrong."""

    died: list[str] = field(default_factory=list)  # step or "at a random time", per death
    acknowledged: int = 0  # rows at the newest snapshot after the last death
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    reopen: list[str] = field(default_factory=list)
    resumed: bool = False


def reference(job: Job, scratch: Path, folder: Path | None = None) -> Reference:
    """Prepare a job, and run it once to its end, in `folder`."""
    base, folder = scratch / f"{job.name}.base", folder or scratch / f"{job.name}.work"
    log = scratch / "reference.log"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    processes.result(partial(job.prepare, base), log)
    copy(base, folder)
    start = time.monotonic()
    steps = processes.result(partial(_run, job, folder), log)
    seconds = time.monotonic() - start
    final = processes.result(partial(_look, job, folder), log)[0]
    return Reference(job, scratch, base, folder, final, steps, seconds)


def try_point(point: Point, ref: Reference) -> Outcome:
    """Run one point."""
    copy(ref.base, ref.folder)
    outcome = Outcome()
    for death in point.deaths:
        outcome.died += _die(death, ref)
    return resume(ref, outcome)


def resume(ref: Reference, outcome: Outcome) -> Outcome:
    """Look at what was left and run the job to its end, in a child; fills in the outcome."""
    log = ref.scratch / "resume.log"
    work = partial(_resume, ref, ref.folder, outcome)
    code, found = processes.finish(processes.start(work, log), log)
    if code:
        outcome.reopen.append(f"the resumed run ended with {code}: {log.read_text()[-2000:]}")
        return outcome
    assert isinstance(found, Outcome)
    return found


def _die(death: float, ref: Reference) -> list[str]:
    """Run until a death; returns where it came, nothing where the run ended before."""
    log = ref.scratch / "die.log"
    at = int(death) if death >= 1 else 0
    pid = processes.start(partial(_run, ref.job, ref.folder, at), log)
    if not at:
        time.sleep(death * ref.seconds)
        os.kill(pid, signal.SIGKILL)
    code, _ = processes.finish(pid, log)
    if code == -signal.SIGKILL:
        return [log.read_text().split("died at ", 1)[-1].strip() or "a random time"]
    if code:
        raise RuntimeError(f"the run ended with {code} by itself: {log.read_text()}")
    return []


def _run(job: Job, folder: Path, at: int = 0) -> list[str]:
    """Run a job; die at step number `at`. Returns the names of its steps."""

    def die(name: str) -> None:
        os.write(1, f"died at {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    steps = Steps(folder, at, die).install()
    job.run(folder, steps)
    return steps.names


def _resume(ref: Reference, folder: Path, outcome: Outcome) -> Outcome:
    """Reopen what a death left, look at it, run the job to its end, and look again."""
    before = None
    try:
        before, wrong = _look(ref.job, folder)
    except (UsageError, DamagedFileError) as error:  # `select` died before it had its catalog
        none = any(text in str(error) for text in ("there is no catalog", "has no snapshot"))
        wrong = [] if none and not _committed(folder) else [str(error)]
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
    outcome.reopen += wrong
    if before:
        outcome.acknowledged = sum(rows.total() for rows in before.rows.values())
        outcome.lost += _missed_acknowledgements(ref, folder, before)
        outcome.lost += state.acknowledged_whole(before, ref.job.children, ref.final)
        outcome.repeated += before.repeated
    ref.job.run(folder, lambda name: None)
    after, wrong = _look(ref.job, folder)
    outcome.reopen += wrong
    outcome.lost += _differences(before, after, ref)
    outcome.repeated += after.repeated
    for name, rows in after.content.items():
        outcome.repeated += [
            f"{name} too much: {row[:200]}" for row in rows - ref.final.content[name]
        ]
    outcome.resumed = after.outputs == ref.final.outputs
    if not outcome.resumed:
        wanted = ref.final.outputs
        outcome.lost += [f"output: {name[:200]}" for name in wanted - after.outputs]
        outcome.repeated += [f"output: {name[:200]}" for name in after.outputs - wanted]
    return outcome


def _committed(folder: Path) -> bool:
    return (folder / "acknowledged").exists()


def _missed_acknowledgements(ref: Reference, folder: Path, before: state.State) -> list[str]:
    """Snapshots whose commit had returned before the death, and which are not there."""
    marks = folder / "acknowledged"
    number = marks.stat().st_size if marks.exists() else 0
    start = ref.final.snapshot_id - ref.steps.count("snapshots: committed")
    missing = start + number - before.snapshot_id
    return [f"{missing} snapshots that were acknowledged"] if missing > 0 else []


def _differences(before: state.State | None, after: state.State, ref: Reference) -> list[str]:
    lost = []
    for name, rows in ref.final.content.items():
        lost += [f"{name}: {row[:200]}" for row in rows - after.content[name]]
    for name, rows in (before.rows if before else {}).items():
        lost += [
            f"{name} after it was acknowledged: {row[:200]}" for row in rows - after.rows[name]
        ]
    return lost


def _look(job: Job, folder: Path) -> tuple[state.State, list[str]]:
    """Open the catalog as a user does, and read all of it by both ways that there are."""
    catalog = catalog_of(folder)
    store = Store.open(catalog.path)
    found = state.read(store, catalog.snapshot, folder, job.noise)
    wrong = state.damaged(store, catalog.snapshot)
    counts = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in found.rows
    )
    for name, number in catalog._plain.connection.sql(counts).fetchall():
        if number != found.rows[name].total():
            wrong.append(f"{name}: DuckDB sees {number} rows")
    return found, wrong


def copy(base: Path, folder: Path) -> None:
    """Make `folder` a copy of `base`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory where that can be: a kill loses nothing of the page cache."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        yield Path(name)


def every_step(ref: Reference) -> Iterator[Point]:
    """One death at each step."""
    yield from (Point((float(k),)) for k in range(1, len(ref.steps) + 1))


def every_commit(ref: Reference) -> Iterator[Point]:
    """One death before and after each commit, and at each step of a build."""
    for number, name in enumerate(ref.steps, 1):
        if name.endswith((": written", ": committed")) or "builds" in name:
            yield Point((float(number),))


def at_random(ref: Reference, seed: int) -> Iterator[Point]:
    """Without end: deaths at random times, in pairs at random steps, and of both kinds."""
    draw = random.Random(f"{ref.job.name} {seed}")
    while True:
        step = partial(draw.randint, 1, len(ref.steps))
        yield Point((draw.random(),))
        yield Point((float(step()), float(step())))
        yield Point((draw.random(), float(step())))


def try_points(ref: Reference, points: Sequence[Point]) -> list[Outcome]:
    """Run points one after another; complaints go to stderr as they come."""
    outcomes = []
    for point in points:
        outcome = try_point(point, ref)
        for problem in (*outcome.lost, *outcome.repeated, *outcome.reopen):
            print(f"{ref.job.name} {point.deaths} {outcome.died}: {problem}", file=sys.stderr)
        outcomes.append(outcome)
    return outcomes


def line(ref: Reference, points: Sequence[Point], outcomes: Sequence[Outcome]) -> str:
    """A line of the table."""
    died = Counter(place for outcome in outcomes for place in outcome.died)
    hit = len({p.deaths[0] for p in points if p.deaths[0] >= 1})
    return (
        f"{ref.job.name:<10} {len(outcomes):>7} {died.total():>7} {hit:>5}/{len(ref.steps):<5}"
        f"{sum(o.acknowledged for o in outcomes):>13}"
        f"{sum(len(o.lost) for o in outcomes):>6} {sum(len(o.repeated) for o in outcomes):>9}"
        f"{sum(len(o.reopen) for o in outcomes):>16} {sum(o.resumed for o in outcomes):>8}"
    )


HEADER = (
    "stage       points  deaths  steps hit  acknowledged  lost  repeated  reopen failures  resumed"
)


def main() -> None:
    """Run points over the stages, print the table; exit 1 where anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=1_000, help="over all stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=[*JOBS, "student"])
    parser.add_argument(
        "--commits", action="store_true", help="places around commits instead of every step"
    )
    parser.add_argument("--rows", type=int, default=6, help="input rows, of four candidates each")
    arguments = parser.parse_args()
    with scratch_folder() as scratch:
        inputs(scratch / "inputs", arguments.rows)
        small_batches()
        processes.warm()
        print(HEADER, flush=True)
        wrong = 0
        for n, stage in enumerate(arguments.stages):
            ref = reference({**JOBS, "student": STUDENT}[stage], scratch)
            share = arguments.points // len(arguments.stages)
            share += n < arguments.points % len(arguments.stages)
            points = list(every_commit(ref) if arguments.commits else every_step(ref))
            if len(points) > share:
                points = random.Random(arguments.seed).sample(points, share)
            more = at_random(ref, arguments.seed)
            points += [next(more) for _ in range(share - len(points))]
            outcomes = try_points(ref, points)
            wrong += sum(bool(o.lost or o.repeated or o.reopen) for o in outcomes)
            print(line(ref, points, outcomes), flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
