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
    "build.py": (
        ["--rows", "40", "200"],
        r"build / copy \d+\.\d\d in CPU time, \d+\.\d\d in time\nfrom .* grew by -?\d+ MB",
    ),
    "churn.py": (["--rows", "8"], r"lines-\d+ +[\d.]+ .*\n(.*\n)*chance"),
    "generate.py": (["made.catalog", "--responses", "80", "--sentences", "800"], r"CPU seconds"),
    "growth.py": (["--commits", "4"], r"ratio of open to the reference: [\d.]+"),
    "help.py": (["--repeat", "1"], r"ratio to click [\d.]+(.*\n)*heavy libraries imported: none"),
    "ingest.py": (["--megabytes", "0.05", "--form", "samples"], r"samples +[\d.]+"),
    "plan.py": (
        ["--responses", "20000", "--sentences", "60000", "--commits", "2", "--repeat", "1"],
        r"plan / view \d+\.\d\d",
    ),
    "prefix.py": (["--rows", "8"], r"\n +chance"),
    "push.py": (["--rows", "200"], r"overhead / build +[\d.]+%(.*\n)*.*2% appended +[\d.]+%"),
    "repetition.py": ([], r"MB per CPU second"),
    "server.py": (
        ["--requests", "300", "--timeout", "2"],
        r"answered 300, twice 0, failed 0, wrong 0",
    ),
    "sample.py": (["catalog", "--samples", "4", "--tokens", "50"], r"keep up with: [\d.]+ x"),
    "sample.py overhead": (
        ["overhead", "--samples", "4", "--turns", "1"],
        r"stage / engine: [\d.]+ of the time",
    ),
    "sample.py kill": (
        ["kill", "--samples", "40", "--tokens", "50", "--seconds", "3"],
        r"again / not committed [\d.]+",
    ),
    "score.py": (["--sequences", "2", "--longest", "40"], r"packed is [\d.]+x as fast"),
    "segment.py": (["--megabytes", "0.05"], r"ratio +[\d.]+"),
    "train.py": (["--steps", "3", "--length", "96"], r"loop / bare loop: [\d.]+ x the CPU time"),
    "views.py": (["--responses", "80", "--sentences", "800"], r"view / unnest +\d+\.\d\d"),
}
HELPERS = {"fake_server.py", "process.py", "traces.py"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SMALLEST)
def test_every_benchmark_still_states_its_figure(script, tmp_path):
    """A figure in the README could not be repeated."""
    arguments, figure = SMALLEST[script]
    done = subprocess.run(
        [sys.executable, FOLDER / script.split()[0], *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(figure, done.stdout), done.stdout


def test_no_benchmark_is_left_out():
    """A new benchmark would rot unseen."""
    assert {path.name for path in FOLDER.glob("*.py")} == HELPERS | {
        name.split()[0] for name in SMALLEST
    }
