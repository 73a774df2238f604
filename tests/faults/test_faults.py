"""Kills, interruptions, full disks and crowds, at a scale for every commit.

Each test runs the script in a process of its own, since pytest's process has threads and cannot
fork.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str, *arguments: str, within: int = 900) -> str:
    """Run one of the scripts here; what it prints. Fails with its complaints."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{name}", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=within,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ingest", "segment", "score", "filter", "build"])
def test_a_stage_killed_around_its_commits_loses_and_repeats_nothing(stage):
    """After a crash a user would find rows gone, twice, or a catalog that does not open."""
    table = script("kills", "--commits", "--points", "14", "--rows", "2", "--stages", stage)
    assert table.splitlines()[1].split()[5:8] == ["0", "0", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["select", "sample"])
def test_a_long_stage_that_is_killed_ends_the_same_when_it_is_run_again(stage):
    """A crash in the hours of scoring or sampling would change which candidates are chosen."""
    script("kills", "--points", "2", "--rows", "2", "--stages", stage)


@pytest.mark.slow
def test_ctrl_c_between_commits_keeps_what_is_done_and_says_how_to_go_on():
    """A user who stops a job would lose its work, or see a stack trace."""
    script("interrupts", "--steps", "1", "--points", "0")


@pytest.mark.slow
def test_ctrl_c_at_any_time_is_no_stack_trace():
    """A user who stops a job while it loads or computes would see a stack trace."""
    script("interrupts", "--steps", "0", "--points", "3", "--commands", "ingest", "score", "build")


@pytest.mark.slow
def test_a_full_disk_stops_a_job_cleanly_and_it_goes_on_once_there_is_room():
    """A full disk would end in a stack trace, or in half a commit."""
    script("disk_full", "--every", "24", "--stages", "ingest", "sample", "build")


@pytest.mark.slow
def test_a_file_that_cannot_grow_stops_a_job_cleanly():
    """A quota would end in a stack trace, or in half a commit."""
    script("disk_full", "--limits", "--every", "16", "--stages", "ingest", "score")


@pytest.mark.slow
def test_many_processes_share_a_catalog():
    """Two jobs at once would fail, wait for ever, or write rows twice."""
    script("concurrency", "--small")
