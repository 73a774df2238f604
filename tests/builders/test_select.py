"""`select` with the tiny pair: from candidates to a file that trainers read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TINY = Path(__file__).parents[2] / "examples" / "tiny"
PAIR = ("--student", TINY / "student", "--teacher", TINY / "teacher")


def select(*arguments):
    """Run `dasd-data select` in a process of its own."""
    code = "from dasd_data.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "select", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture
def candidates(tmp_path):
    """Real GSM8K questions, each with the answers of four models."""
    with gzip.open(TINY / "gsm8k_candidates.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for _, line in zip(range(6), file, strict=False)]
    path = tmp_path / "candidates.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def read(path):
    """Rows of a JSONL file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_the_candidate_with_most_teacher_sentences_of_each_question_is_kept(candidates, tmp_path):
    """The README's first example would not do what it says."""
    done = select(candidates, *PAIR, "--out", "train.jsonl")
    assert done.returncode == 0, done.stderr
    rows = read("train.jsonl")
    source = read(candidates)
    assert {r["messages"][0]["content"] for r in rows} == {s["prompt"] for s in source}
    answers = {s["prompt"]: s["completions"] for s in source}
    for row in rows:
        user, assistant = row["messages"]
        assert assistant["content"] in answers[user["content"]]

    import dasd_data

    catalog = dasd_data.open("train.catalog")
    best = catalog.sql(
        "SELECT question_id, max(teacher_count) FROM responses_scored GROUP BY ALL"
    ).fetchall()
    assert {r["question_id"]: r["teacher_count"] for r in rows} == dict(best)
    assert "dasd-data sql --catalog train.catalog" in done.stderr

    again = select(candidates, *PAIR, "--out", "train.jsonl")
    assert "unscored" not in again.stderr
    assert read("train.jsonl") == rows

    more = select(candidates, *PAIR, "--out", "two.jsonl", "--keep", "2", "--json")
    assert json.loads(more.stdout)["rows"] == 12


def test_log_probs_in_the_files_serve_as_the_teachers(chat, tmp_path):
    """A teacher that already gave log-probs would have to be run again."""
    sure, unsure = [-0.01] * 40, [-3.0] * 40
    rows = [chat("Q?", "Yes, it is so.", sure[:14]), chat("Q?", "No, it is not.", unsure[:14])]
    Path("chats.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    given = ("chats.jsonl", "--student", TINY / "student", "--out", "out.jsonl")
    refused = select(*given)
    assert refused.returncode == 3
    assert "if an unknown mode is known to be raw, pass --set assume_raw=true" in refused.stderr
    done = select(*given, "--set", "assume_raw=true")
    assert done.returncode == 0, done.stderr
    (row,) = read("out.jsonl")
    assert row["messages"][1]["content"] == "Yes, it is so."
    assert row["teacher_probability"] == pytest.approx(0.99005, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["candidates.jsonl", "--student", TINY / "student"], "pass --teacher MODEL"),
        (["candidates.jsonl", "--student", "a/b/c", "--teacher", "nope"], "no model at 'a/b/c'"),
        (["candidates.jsonl", *PAIR, "--set", "rank=1"], "did you mean 'rank_by'"),
        (["gone.jsonl", *PAIR], "gone.jsonl: no such file"),
    ],
)
def test_mistakes_are_told_before_anything_is_scored(candidates, arguments, message):
    """A wrong flag would be found after hours, or end in a stack trace."""
    done = select(*arguments, "--out", "out.jsonl")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("out.jsonl").exists()


def test_candidates_of_another_file_are_not_mixed_in(candidates, tmp_path):
    """The file would be no function of its input."""
    given = (*PAIR, "--out", "out.jsonl")
    assert select(candidates, *given).returncode == 0
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"prompt": "1+1?", "completions": ["2 it is.", "3 it is."]}))
    done = select(other, *given)
    assert done.returncode == 2
    assert "holds candidates of other inputs too" in done.stderr
    assert len(read("out.jsonl")) == 6


def test_scoring_a_teacher_does_not_change_what_is_eligible(candidates, tmp_path):
    """Lengths would be judged under the teacher's tokenizer because it was scored last."""
    assert select(candidates, *PAIR, "--out", "out.jsonl").returncode == 0

    import dasd_data

    catalog = dasd_data.open("out.catalog")
    found = catalog.sql("SELECT DISTINCT version FROM flags WHERE filter = 'length'").fetchall()
    assert found == [(catalog.filter_versions()["length"],)]
