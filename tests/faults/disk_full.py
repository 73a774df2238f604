"""A full disk at every place: a clean stop, nothing half, and on again once there is room.

    python -m tests.faults.disk_full

Each stage runs on a small tmpfs with room for one page more each time, until it ends; and, where
no file system can be mounted, under a limit to the size of a file that grows likewise.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults import interrupts, kills, processes
from tests.faults.jobs import JOBS, inputs, small_batches

PAGE = 4096


@contextmanager
def small_disk(size_mb: int = 4) -> Iterator[Path]:
    """A tmpfs of that size. Raises PermissionError where none can be mounted."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            raise PermissionError("no tmpfs can be mounted here")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=False)


def leave(disk: Path, pages: int) -> None:
    """Fill a disk up, but for some pages."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    stat = os.statvfs(disk)
    ballast.write_bytes(b"x" * ((stat.f_bavail - pages) * stat.f_bsize))


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond `size` bytes: a write then fails as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def stopped(code: int, text: str) -> list[str]:
    """What is wrong with how a command ended that found no room."""
    lines = [line for line in text.splitlines() if line]
    wrong = [] if code in {0, 3} else [f"exit {code}"]
    if code and (len(lines) != 1 or "make room and run the same command again" not in lines[0]):
        wrong.append("more or less than the one line")
    return wrong


def try_rooms(
    ref: kills.Reference,
    folder: Path,
    rooms: Iterable[int],
    before: Callable[[int], None],
    within: Callable[[int], None],
    after: Callable[[], None],
) -> tuple[Counter[str], int]:
    """Run a job with ever more room until it ends; returns what it said, and how many were wrong."""
    command = interrupts.commands(folder)[ref.job.name]
    said: Counter[str] = Counter()
    wrong = 0
    for room in rooms:
        after()
        kills.copy(ref.base, folder)
        before(room)
        code, text = interrupts.run(command, folder, partial(within, room), ref.scratch)
        after()
        problems = stopped(code, text)
        problems += interrupts.resumed(ref)
        said[" ".join(text.split())[-100:] or "ended"] += 1
        if problems:
            wrong += 1
            print(f"{ref.job.name} with room {room}: {problems} {text}", file=sys.stderr)
        if code == 0:
            break
    return said, wrong


def on_disk(name: str, disk: Path, scratch: Path, every: int = 1) -> tuple[Counter[str], int]:
    """Run a job on a disk with room for 0, `every`, 2 x `every`... pages, until it ends."""
    inputs(disk / "inputs", 6)
    ref = kills.reference(JOBS[name], scratch, disk / "work")
    return try_rooms(
        ref, disk / "work", range(0, 1_000, every), partial(leave, disk), lambda room: None,
        lambda: (disk / "ballast").unlink(missing_ok=True),
    )  # fmt: skip


def under_limit(name: str, scratch: Path, sizes: Iterable[int]) -> tuple[Counter[str], int]:
    """Run a job under limits to the size of a file, until it ends."""
    ref = kills.reference(JOBS[name], scratch)
    return try_rooms(
        ref, ref.folder, sizes, lambda size: None, limit_files, lambda: None
    )  # fmt: skip


def _try(name: str, scratch: Path, every: int, *, limits: bool) -> tuple[Counter[str], int]:
    sizes = range(500, 100_000, 500 * every)  # what a command says must fit, too
    if limits:
        return under_limit(name, scratch, sizes)
    try:
        with small_disk() as disk:
            return on_disk(name, disk, scratch, every)
    except PermissionError as why:
        print(f"{why}: the size of files is limited instead", file=sys.stderr)
        return under_limit(name, scratch, sizes)


def main() -> None:
    """Run every stage with ever more room; exit 1 where anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="pages between two runs")
    parser.add_argument("--limits", action="store_true", help="limit the size of files instead")
    parser.add_argument("--stages", nargs="+", default=list(JOBS), choices=list(JOBS))
    arguments = parser.parse_args()
    bad = 0
    with kills.scratch_folder() as scratch:
        inputs(scratch / "inputs", 6)
        small_batches()
        processes.warm()
        for name in arguments.stages:
            said, wrong = _try(name, scratch, arguments.every, limits=arguments.limits)
            print(f"{name}: {said.total()} rooms, {wrong} wrong", flush=True)
            for text, number in said.most_common():
                print(f"    {number:>4}  {text}", flush=True)
            bad += wrong
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
