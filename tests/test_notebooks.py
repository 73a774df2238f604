"""The example notebooks run from a clean kernel, on a catalog of the bundled samples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dasd_data
from dasd_data import builds
from dasd_data.build import build
from dasd_data.diff import diff
from tests.faults import jobs

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("altair")

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A catalog of the bundled samples, scored without a model."""
    folder = tmp_path_factory.mktemp("notebook")
    jobs.inputs(folder / "inputs", 1_600)
    (folder / "work").mkdir()
    jobs.JOBS["build"].prepare(folder / "work")
    return folder / "work" / "dasd.catalog"


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_the_notebook_answers_each_question_with_a_chart(path, monkeypatch):
    """The first thing a researcher runs would end in a traceback, or in an empty chart."""
    monkeypatch.setenv("DASD_CATALOG", str(path))
    notebook = nbformat.read(EXAMPLES / "catalog.ipynb", 4)
    client = nbclient.NotebookClient(notebook, kernel_name="python3")
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    charts = [data["text/html"] for data in shown if "vega" in data.get("text/html", "")]
    questions = [c.source for c in notebook.cells if re.match(r"## \d+\.", c.source)]
    assert len(questions) == len(charts) == 10
    data = []
    for chart in charts:
        (spec,) = re.findall(r"\}\)\((\{.*\}), \{.*?\}\);\s*</script>", chart, re.DOTALL)
        data.append(list(json.loads(spec)["datasets"].values()))
        assert all(data[-1])
    # One answer is compared: to how many rows DAS and RS have in common, as `diff` counts them.
    catalog = dasd_data.open(path)
    sides = [
        builds.at(build(catalog, view, robustness="off").path) for view in ("low_t_das", "low_t_rs")
    ]
    counted = {
        row["domain"]: row["both"] / (row["both"] + row["only_a"])
        for row in diff(*sides).churn
        if row["domain"]
    }
    (answered,) = data[6]
    assert {row["domain"]: row["same"] for row in answered} == pytest.approx(counted)
    assert 0 < min(counted.values()) < 1


def test_the_marimo_version_runs_and_asks_the_same(path, tmp_path):
    """The two would drift apart: a question mended in one would stay wrong in the other."""
    script = EXAMPLES / "catalog_marimo.py"
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "DASD_CATALOG": str(path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(EXAMPLES / "catalog.ipynb", 4).cells
    text = _squeezed(script.read_text(encoding="utf-8"))
    for cell in cells:
        assert _squeezed(cell.source) in text, cell.source


def _squeezed(text: str) -> str:
    return "".join(text.split())
