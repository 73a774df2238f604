"""`dasd-data sample` with the tiny teacher itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

TEACHER = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"


@pytest.mark.slow
def test_a_teacher_is_sampled_seen_at_work_and_gone_on_with(command, tmp_path):
    """A user could not fill a catalog, follow the run, or go on with it."""
    rows = [{"question": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(6)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "dasd.toml").write_text("[prices]\nmillion_sampled_tokens = 1000000\n")
    assert command("init").returncode == 0
    assert command("ingest", "q.jsonl", "--as", "questions", "--domain", "math").returncode == 0
    options = ("sample", "--model", TEACHER, "--temperature", 0.6, "--max-tokens", 150)
    planned = command(*options, "--n", 2, "--limit", 4, "--dry-run")
    assert "8 samples of 4 questions" in planned.stderr
    assert "at most 1,200 sampled" in planned.stderr
    assert "the samples are kept as the teacher's" in planned.stderr

    done = command(*options, "--n", 2, "--limit", 4, "--json", "--log", "log.jsonl")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["done"] == report["responses"] == 8
    assert report["cost"] == pytest.approx(report["sampled_tokens"])
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert {k: json.loads(line)[k] for k in ("wanted", "done", "failed")} == {
        "wanted": 8, "done": 8, "failed": 0,
    }  # fmt: skip

    more = command(*options, "--n", 2)
    assert "4 responses of teacher" in more.stderr
    changed = command(*options, "--n", 1, "--seed", 1, "--limit", 1)
    assert "seed was 0 in the last run of teacher, and is 1: new samples" in changed.stderr
    status = json.loads(command("status", "--json").stdout)
    runs = [r for r in status["runs"] if r["stage"] == "sample"]
    assert [(r["state"], r["done"], r["remaining"]) for r in runs] == [
        ("done", 1, 0), ("done", 4, 0), ("done", 8, 0),
    ]  # fmt: skip
    assert runs[2]["tokens"] == report["sampled_tokens"]
    assert "sound" in command("verify").stderr + command("verify").stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--temperature", -1), "temperature -1: it lies between 0 and 100"),
        (("--temperature", 0, "--n", 3), "the samples would be all the same"),
        (("--temperature", 1, "--top-p", 0), "top_p 0: it lies above 0"),
        (("--temperature", 1, "--max-tokens", 99999), "the context of teacher holds 8192 tokens"),
        (("--temperature", 1, "--effort", "high"), "leave --effort out"),
        (("--temperature", 1, "--where", "nonsense = 1"), "nonsense"),
        (("--temperature", 1, "--concurrency", 3), "--concurrency is for --engine openai"),
        (("--temperature", 1, "--engine", "openai", "--device", "cpu"), "is for --engine transfo"),
        (("--temperature", 1, "--engine-argument", "a=1"), "--engine-argument is for --engine vl"),
    ],
)
def test_bad_options_are_told_before_anything_is_sampled(options, problem, command):
    """A typing error would cost a run, or end in a stack trace."""
    command("init")
    done = command("sample", "--model", TEACHER, "--max-tokens", 20, *options)
    assert done.returncode == 2, done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
