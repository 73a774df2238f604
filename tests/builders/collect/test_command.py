"""`dasd-data collect`: what a user sees."""

from __future__ import annotations

import json

import pytest

FILES = {
    "a": [{"question": f"What is {n}?", "license": "mit"} for n in range(6)],
    "b": [{"question": "What is 1?"}, {"question": "what  is 2 ?"}, "{", {"question": ""}],
}


@pytest.mark.slow
def test_the_report_says_what_was_found_chosen_and_refused(catalog, simple, command):
    """A user would not know what the catalog holds now, and under which licences."""
    path = simple(FILES, "[domains.math]\nbudget = 9\n").file
    done = command("collect", "--recipe", path)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.replace("│", "").splitlines()]
    for line in (
        "a math 6 6 6 6 mit",
        "b math 2 2 2 2 not given",
        "math 6 9 6 6",
        "b 1 the JSON is cut off before its end",
        "b 1 `question` is empty",
        "a b 1 1",
    ):
        assert line in lines, done.stdout
    assert done.stderr.splitlines() == [
        "math: the budget of 9 is 3 short: the sources have 6 different questions",
        "10 rows read: 6 new questions, 8 new sources of questions",
        '2 rows refused: dasd-data sql "SELECT file, line, reason FROM quarantine ORDER BY file, line"',
    ]


@pytest.mark.slow
def test_a_trial_is_a_part_of_the_whole(catalog, simple, command, values):
    """Questions that were sampled for a trial would not be those of the recipe."""
    path = simple({"a": FILES["a"]}, "[domains.math]\nbudget = 4\n").file
    done = command("collect", "--recipe", path, "--limit", 2, "--json")
    assert json.loads(done.stdout)["domains"][0]["chosen"] == 2
    few = values(catalog, "SELECT text FROM questions")
    done = command("collect", "--recipe", path, "--rows", 3, "--dry-run")
    assert "only the first 3 rows of each source" in done.stderr
    assert "3 rows read; nothing written (--dry-run)" in done.stderr
    report = json.loads(command("collect", "--recipe", path, "--json").stdout)
    assert set(few) < set(values(catalog, "SELECT text FROM questions"))
    assert report["domains"] == [
        {"domain": "math", "questions": 6, "budget": 4, "chosen": 4, "new": 2, "missing": 0,
         "unmeasured": 0}
    ]  # fmt: skip
    counts = {"rows": 6, "taken": 6, "questions": 2, "question_sources": 2}
    assert report["counts"] == counts


@pytest.mark.slow
def test_a_local_copy_takes_the_place_of_the_hub(catalog, recipe, write, ace, command, values):
    """A data set that was downloaded before would be downloaded again."""
    path = recipe('[sources.acereason]\npath = "nowhere"\n').file
    copy = write("copy/a.parquet", [ace("What is 2+2?")])
    done = command("collect", "--recipe", path, "--source", f"acereason={copy.parent}")
    assert done.returncode == 0, done.stderr
    assert values(catalog, "SELECT source, row FROM question_sources") == [
        ("nvidia/AceReason-1.1-SFT", "1")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--source", "mine"], "--source 'mine' is not NAME=PATH"),
        (["--source", "min=x"], "no source named 'min'; did you mean 'mine'?"),
        (["--source", "mine=nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["--without", "mine"], "no source is left"),
        (["--limit", "0"], "--limit"),
        (["--rows", "-1"], "--rows"),
        (["--recipe", "nosuch"], "there is no recipe nosuch"),
        (["--recipes", "x"], "No such option"),
    ],
)
def test_a_wrong_flag_is_one_line_and_writes_nothing(catalog, recipe, command, flags, message):
    """A typo would end in a stack trace, or in a run that was not meant."""
    path = recipe('[sources.mine]\nkind = "files"\npath = "q.jsonl"\n').file
    before = catalog.snapshot.snapshot_id
    done = command("collect", "--recipe", path, *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert catalog.refresh().snapshot.snapshot_id == before
