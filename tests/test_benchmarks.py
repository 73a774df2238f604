"""The benchmarks run: each at its smallest size, to the line that states its figure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALLEST = {
    "aggregate.py": (
        ["--tokens", "20000"],
        r"DuckDB, sentences +[\d.]+ Mtok/CPU-s +[\d.]+ x the CPU",
    ),
    "build.py": (["--rows", "200"], r"build / copy \d+\.\d\d"),
    "churn.py": (["--rows", "8"], r"lines-\d+ +[\d.]+ .*\n(.*\n)*chance"),
    "generate.py": (["made.catalog", "--responses", "80", "--sentences", "800"], r"CPU seconds"),
    "growth.py": (["--commits", "4"], r"ratio of open to the reference: [\d.]+"),
    "ingest.py": (["--megabytes", "0.05", "--form", "samples"], r"samples +[\d.]+"),
    "repetition.py": ([], r"MB per CPU second"),
    "requests.py": (
        ["--requests", "300", "--timeout", "2"],
        r"answered 300, twice 0, failed 0, wrong 0",
    ),
    "score.py": (["--sequences", "2", "--longest", "40"], r"packed is [\d.]+x as fast"),
    "segment.py": (["--megabytes", "0.05"], r"ratio +[\d.]+"),
    "views.py": (["--responses", "80", "--sentences", "800"], r"view / unnest +\d+\.\d\d"),
}
HELPERS = {"fake_server.py", "process.py", "traces.py"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_every_benchmark_still_states_its_figure(script, tmp_path):
    """A figure in the README could not be repeated."""
    arguments, figure = SMALLEST[script]
    done = subprocess.run(
        [sys.executable, FOLDER / script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(figure, done.stdout), done.stdout


def test_no_benchmark_is_left_out():
    """A new benchmark would rot unseen."""
    assert {path.name for path in FOLDER.glob("*.py")} == SMALLEST.keys() | HELPERS
