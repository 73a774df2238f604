"""Fixtures: catalogs of hand-made rows, and the real data where it is at hand."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dasd_data
from builders.run import to_table as table
from dasd_data.catalog import Catalog
from dasd_data.config import VARIABLES
from dasd_data.keys import question_id
from dasd_data.schema import TABLES
from dasd_data.writer import Writer

FILTERS = ("length", "structure", "completeness", "repetition", "cjk")


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts in an empty folder, without the caller's DASD_* settings."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """command(*arguments, before="", **more): run `dasd-data` in a process of its own.

    `before` is Python that runs first; `more` goes to subprocess.run.
    """

    def run(*arguments: Any, before: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        code = f"{before}\nfrom dasd_data.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            **{"capture_output": True, "text": True, "timeout": 120, **more},
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a file of the real data; skips the test where it is absent."""
    root = Path(os.environ.get("DASD_SHARED", Path(__file__).parents[2] / "shared"))

    def find(name: str) -> Path:
        path = root / "data" / name
        if not path.exists():
            pytest.skip(f"real data is absent: {path}")
        return path

    return find


@dataclass
class Made:
    """A hand-made response. Each sentence is (tokens, p) per scorer: {"teacher": [(5, .9)]}."""

    id: str
    question: str = "q"
    domain: str | None = "math"
    temperature: float | None = 0.6
    thinking: str | None = "Think."
    answer: str = "Answer."
    policy: str = "teacher"
    model: str = "big"
    passed: Mapping[str, bool] = field(default_factory=lambda: dict.fromkeys(FILTERS, True))
    scores: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    byte_end: Sequence[int] | None = None
    section: Sequence[int] | None = None


@pytest.fixture
def add() -> Callable[..., None]:
    """add(catalog, *responses): append hand-made responses with all their rows."""
    return _add


@pytest.fixture
def append() -> Callable[[Catalog, str, Sequence[Mapping[str, Any]]], None]:
    """append(catalog, table, rows): append rows to one table."""

    def append_rows(catalog: Catalog, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        Writer(catalog.store, "test").append({name: table(name, rows)})

    return append_rows


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Catalog]:
    """made(*responses): a new catalog of hand-made responses."""

    def make(*responses: Made, name: str = "dasd.catalog") -> Catalog:
        catalog = dasd_data.create(tmp_path / name)
        _add(catalog, *responses)
        return catalog.refresh()

    return make


@pytest.fixture
def response() -> type[Made]:
    """The class of hand-made responses."""
    return Made


def _add(
    catalog: Catalog,
    *responses: Made,
    run_id: str = "run",
    segmenter: str = "seg-1",
    started_at: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    filter_version: str = "1",
    logprobs_mode: str = "raw_logprobs",
) -> None:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    settings = {
        "segmenter": segmenter,
        "filters": {name: filter_version for r in responses for name in r.passed},
    }
    rows["runs"].append(
        {
            "run_id": run_id,
            "stage": "test",
            "configuration": json.dumps(settings),
            "started_at": started_at,
        }
    )
    for r in responses:
        key = question_id(r.question)
        rows["questions"].append({"question_id": key, "text": r.question, "domain": r.domain})
        rows["question_sources"].append(
            {"question_id": key, "source": "made", "row": r.question, "domain": r.domain or ""}
        )
        rows["responses"].append(
            {
                "response_id": r.id,
                "question_id": key,
                "run_id": run_id,
                "policy": r.policy,
                "model": r.model,
                "temperature": r.temperature,
                "thinking": r.thinking,
                "answer": r.answer,
                "finish_reason": "stop",
            }
        )
        n = max((len(s) for s in r.scores.values()), default=1)
        length = len(((r.thinking or "") + r.answer).encode())
        ends = list(r.byte_end or [*range(1, n), length])
        rows["sentences"].append(
            {
                "response_id": r.id,
                "segmenter": segmenter,
                "segmentation_id": f"{segmenter}:{ends}",
                "byte_end": ends,
                "kind": [0] * n,
                "section": list(r.section or [0] * n),
                "run_id": run_id,
            }
        )
        for scorer, sentences in r.scores.items():
            rows["scorers"].append(
                {
                    "scorer_id": f"id-of-{scorer}",
                    "name": scorer,
                    "model": f"{scorer}-model",
                    "logprobs_mode": logprobs_mode,
                    "temperature": 1.0,
                }
            )
            rows["sentence_scores"].append(
                {
                    "response_id": r.id,
                    "scorer_id": f"id-of-{scorer}",
                    "segmentation_id": f"{segmenter}:{ends}",
                    "n_tokens": [tokens for tokens, _ in sentences],
                    "logprob_sum": [
                        tokens * math.log(p) if tokens else 0.0 for tokens, p in sentences
                    ],
                    "run_id": run_id,
                }
            )
        rows["flags"] += [
            {
                "response_id": r.id,
                "filter": name,
                "version": filter_version,
                "passed": passed,
                "run_id": run_id,
            }
            for name, passed in r.passed.items()
        ]
    Writer(catalog.store, "test").append({n: table(n, v) for n, v in rows.items() if v})
