"""Ctrl-C and SIGTERM on every stage, in real processes at random times and at every step.

    python -m tests.faults.interrupts --points 60 --seed 0

An interrupted command commits what is done, records its run as interrupted, prints one line that
says how to go on, and exits with 130; the same command then ends as if nobody had stopped it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import builders.sample.prepare
import builders.score.prepare
from dasd_data.main import main as command_line
from dasd_data.store import Store
from tests.faults import kills, processes, state
from tests.faults.jobs import JOBS, TINY, VIEW, fake_run, fake_sample, inputs, small_batches
from tests.faults.steps import Steps

MESSAGE = "interrupted: what was committed stays; run the same command to go on"
_MAIN = "from dasd_data.main import main; main()"


@dataclass(frozen=True)
class Command:
    """A command line with the job that prepares its catalog."""

    job: str
    arguments: tuple[str, ...]


NAMES = ("ingest", "sample", "segment", "score", "filter", "build", "select")


def commands(folder: Path) -> dict[str, Command]:
    """Every stage as a user types it, over the catalog in `folder`."""
    at = ("--catalog", str(folder / "dasd.catalog"))
    files = folder.parent / "inputs"
    student, teacher = str(TINY / "student"), str(TINY / "teacher")
    return {
        "ingest": Command("ingest", ("ingest", str(files / "samples.jsonl"), "--tokenizer", teacher, *at)),
        "sample": Command(
            "sample",
            ("sample", "--model", teacher, "--policy", "teacher", "--temperature", "0.6",
             "--max-tokens", "60", *at),
        ),
        "segment": Command("segment", ("segment", *at)),
        "score": Command("score", ("score", "--model", student, "--name", "student", *at)),
        "filter": Command("filter", ("filter", "--tokenizer", student, *at)),
        "build": Command("build", ("build", "--view", VIEW, *at)),
        "select": Command(
            "select",
            ("select", str(files / "gsm8k_candidates.jsonl"), "--student", student,
             "--teacher", teacher, "--out", str(folder / "train.jsonl")),
        ),
    }  # fmt: skip


@dataclass
class Stopped:
    """How an interrupted command ended: exit code, what it said, and what is wrong with that."""

    code: int
    stderr: str
    problems: list[str] = field(default_factory=list)


def judged(code: int, stderr: str) -> Stopped:
    """Check exit code and message."""
    found = Stopped(code, stderr)
    lines = [line for line in stderr.splitlines() if line]  # click ends the line that has the ^C
    if "Traceback" in stderr or "Exception ignored" in stderr:
        found.problems.append("a stack trace")
    ended = {0, -signal.SIGINT, -signal.SIGTERM}  # done, and gone while Python cleaned up
    if code not in {*ended, 130} or (code < 0 and MESSAGE in lines):
        found.problems.append(f"exit {code}")
    if code == 130 and lines != [MESSAGE]:
        found.problems.append("more or less than the one line")
    return found


def start(command: Command) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, *command.arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def at_time(command: Command, after_s: float, number: signal.Signals) -> Stopped:
    """Run a command in a new process and send it a signal after a time."""
    process = start(command)
    time.sleep(after_s)
    process.send_signal(number)
    stderr = process.communicate(timeout=300)[1]
    return judged(process.returncode, stderr)


def run(
    command: Command, folder: Path, before: Callable[[], None], scratch: Path
) -> tuple[int, str]:
    """Run a command in a forked process, after `before`; its exit code and what it said."""

    def work() -> int:
        builders.score.prepare.prepare = lambda catalog, options: fake_run(options.name)
        builders.sample.prepare.prepare = lambda catalog, options: fake_sample()
        before()
        sys.argv = ["dasd-data", *command.arguments]
        code: Any = None
        try:
            command_line()
        except SystemExit as end:
            code = end.code
        return int(code or 0)

    log = scratch / "command.log"
    died, code = processes.finish(processes.start(work, log), log)
    return died or code, log.read_text()


def at_step(command: Command, folder: Path, step: int, number: int, scratch: Path) -> Stopped:
    """Run a command in a forked process that gets a signal at a step."""
    steps = Steps(folder, step, lambda name: os.kill(os.getpid(), number))
    return judged(*run(command, folder, lambda: steps.install() and None, scratch))


def unended(folder: Path) -> list[str]:
    """Runs that have no end, or failed."""
    if not (folder / "dasd.catalog" / "tables" / "snapshots" / "_delta_log").is_dir():
        return []
    store = Store.open(folder / "dasd.catalog")
    newest = store.snapshot()
    runs = state.table(store, newest, "runs")["run_id"].to_pylist()
    events = state.table(store, newest, "run_events").to_pylist()
    missing = set(runs) - {event["run_id"] for event in events}
    failed = [f"{event['event']}: {event['message']}" for event in events if event["message"]]
    return [f"run {run} has no end" for run in sorted(missing)] + failed


def resumed(ref: kills.Reference) -> list[str]:
    """What is wrong after the command was run again to its end."""
    outcome = kills.resume(ref, kills.Outcome())
    return [*outcome.lost, *outcome.repeated, *outcome.reopen]


def try_steps(ref: kills.Reference, steps: Sequence[int], draw: random.Random) -> int:
    """Interrupt at numbered steps; complaints go to stderr. Returns how many went wrong."""
    wrong = 0
    command = commands(ref.folder)[ref.job.name]
    for step in steps:
        kills.copy(ref.base, ref.folder)
        number = draw.choice([signal.SIGINT, signal.SIGTERM])
        stopped = at_step(command, ref.folder, step, number, ref.scratch)
        stopped.problems += processes.result(
            partial(unended, ref.folder), ref.scratch / "unended.log"
        )
        stopped.problems += resumed(ref)
        wrong += complain(f"{ref.job.name} {number.name} at step {step}", stopped)
    return wrong


def try_times(ref: kills.Reference, points: int, draw: random.Random) -> int:
    """Interrupt new processes at random times. Returns how many went wrong."""
    wrong = 0
    if not points:
        return wrong
    command = commands(ref.folder)[ref.job.name]
    kills.copy(ref.base, ref.folder)
    began = time.monotonic()
    process = start(command)
    complaint = process.communicate()[1]
    assert process.returncode == 0, complaint
    whole = time.monotonic() - began
    for _ in range(points):
        kills.copy(ref.base, ref.folder)
        at, number = draw.uniform(0.15, whole), draw.choice([signal.SIGINT, signal.SIGTERM])
        stopped = at_time(command, at, number)
        stopped.problems += processes.result(
            partial(unended, ref.folder), ref.scratch / "unended.log"
        )
        wrong += complain(f"{ref.job.name} {number.name} after {at:.2f} s", stopped)
    return wrong


def complain(where: str, stopped: Stopped) -> bool:
    """Print what is wrong; returns whether anything is."""
    if stopped.problems:
        print(where, stopped.problems, stopped.stderr, file=sys.stderr)
    return bool(stopped.problems)


def main() -> None:
    """Interrupt at every step, then at random times; exit 1 where anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, default=60, help="random times, over all commands")
    parser.add_argument("--steps", type=int, default=10_000, help="steps of a command, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=NAMES, choices=NAMES)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script: off
    draw = random.Random(arguments.seed)
    wrong = 0
    with kills.scratch_folder() as scratch:
        inputs(scratch / "inputs", 6)
        small_batches()
        processes.warm()
        for name in arguments.commands:
            ref = kills.reference(JOBS[name], scratch)
            steps = list(range(1, len(ref.steps) + 1))
            if len(steps) > arguments.steps:
                steps = draw.sample(steps, arguments.steps)
            bad = try_steps(ref, steps, draw) if name != "select" else 0
            times = arguments.points // len(arguments.commands)
            bad += try_times(ref, times, draw)
            print(f"{name:<8} {len(steps)} steps, {times} times, {bad} wrong", flush=True)
            wrong += bad
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
