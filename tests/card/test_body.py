"""The data-set card of a build: what it says can be checked against the catalog."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from dasd_data.build import build

SCORES = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.9), (6, 0.95)]}


@pytest.fixture
def catalog(made, response):
    """Two questions with two candidates each."""
    return made(*(response(f"{q}{i}", question=q, scores=SCORES) for q in "AB" for i in (0, 1)))


def card(made_build):
    """The text of a build's card."""
    return (made_build.path / "README.md").read_text()


OWN = """/*
[parameters]
shout = { type = "text", default = "no" }
[defaults]
temperature = 0.6
*/
SELECT *, getvariable('shout') AS shout FROM split"""


@pytest.mark.parametrize("view", ["low_t_das", "own", "file.sql"])
def test_the_command_of_the_card_gives_the_same_bytes(
    catalog, command, add, response, tmp_path, view
):
    """A published split could not be made again once the catalog has grown."""
    (catalog.path / "views" / "own.sql").write_text(OWN)
    (tmp_path / "file.sql").write_text(OWN)
    settings = {"beta": 0.2, "budget": {"math": 1}, "required_filters": ["cjk", "length"]}
    settings |= {"temperature": None, "filter_after": True, "rank_by": "teacher_share"}
    settings |= {} if view == "low_t_das" else {"shout": "it's\t`now`"}
    first = build(catalog, view, settings, robustness="off")
    add(catalog, response("C", question="C", scores=SCORES), run_id="later")
    (line,) = [t for t in card(first).splitlines() if t.startswith("dasd-data build")]
    name, *words = shlex.split(line)
    done = command(*words, "--out", "again", "--json")
    assert (name, done.returncode, done.stderr) == ("dasd-data", 0, "")
    second = json.loads(done.stdout)
    assert second["build_id"] == first.build_id
    assert second["shards"] == first.manifest["shards"]
    other = build(catalog.refresh(), view, settings, robustness="off")
    assert other.build_id != first.build_id  # else the test would hold without --at


def test_the_system_prompt_that_decides_the_rows_is_told(catalog, made, response):
    """The command alone would render another system turn."""
    assert "under [build]" not in card(build(catalog, "low_t_das", robustness="off"))
    Path("dasd.toml").write_text('catalog = "dasd.catalog"\n[build]\nsystem = "Be \\"good\\"."\n')
    import dasd_data

    text = card(build(dasd_data.open(), "low_t_das", {"assume_raw": True}, robustness="off"))
    assert 'system = "Be \\"good\\"."` under [build]' in text


def test_labels_are_shares_of_sentences_and_boosted_needs_a_model(catalog):
    """A share would be taken for one of responses, or no model for a model that boosts nothing."""
    text = card(build(catalog, "low_t_das", {"min_tokens": 2}))
    section = text.partition("## Labels")[2].partition("## ")[0]
    assert "Shares of sentences, not of responses" in section
    assert "min_tokens (2)" in section
    assert "*boosted* is empty" in section
    # 3 sentences each: differences of .4 (teacher), 0 (shared) and -.05 (shared)
    assert "| split | 6 | 0.3333 | 0.6667 | 0.0 |  |" in section
    scored = card(build(catalog, "low_t_das", {"distilled": "student"}))
    section = scored.partition("## Labels")[2].partition("## ")[0]
    assert "is empty" not in section
    assert "| split | 6 | 0.3333 | 0.6667 | 0.0 | 0.0 |" in section


def test_noise_that_is_the_student_s_alone_is_called_so(catalog, append):
    """The teacher's noise would be taken for nought."""
    twice = {"response_id": "A0", "segmentation_id": "", "n_tokens": [6] * 3}
    (row,) = (
        catalog.sql("SELECT segmentation_id AS s FROM sentences WHERE response_id = 'A0'")
        .to_arrow_table()
        .to_pylist()
    )
    twice |= {"segmentation_id": row["s"], "logprob_sum": [-1.0, -1.0, -1.0]}
    append(catalog, "repeat_scores", [{**twice, "scorer_id": "id-of-student"}])
    alone = "the noise is the student's alone"
    assert alone in card(build(catalog.refresh(), "low_t_das"))
    append(catalog, "repeat_scores", [{**twice, "scorer_id": "id-of-teacher"}])
    assert alone not in card(build(catalog.refresh(), "low_t_das"))


def test_the_card_says_what_was_checked_and_what_was_not(catalog):
    """A split that nobody searched for benchmark items would be taken for a clean one."""
    section = card(build(catalog, "low_t_das", robustness="off")).partition("## Contract")[2]
    section = section.partition("## ")[0]
    assert ", not_null, " in section
    assert "- contamination: filter contamination has never run" in section


def test_a_question_without_a_source_leaves_the_licence_open(made, append, tmp_path):
    """The card would promise the licence of one source for rows that came from nowhere."""
    catalog, view = made(), tmp_path / "all.sql"
    view.write_text("SELECT response_id FROM responses")
    append(catalog, "questions", [{"question_id": q, "text": q} for q in "AB"])
    some = [
        {"response_id": q, "question_id": q, "run_id": "r", "thinking": "t", "answer": "a"}
        for q in "AB"
    ]
    append(catalog, "responses", some)
    known = {"source": "gsm8k", "row": "1", "domain": "math", "license": "MIT"}
    append(catalog, "question_sources", [{"question_id": "A", **known}])
    catalog.refresh()
    first = build(catalog, str(view), robustness="off")
    assert "\nlicense_name: mixed\n" in card(first)
    assert [(s["source"], s["questions"]) for s in first.manifest["facts"]["sources"]] == [
        ("gsm8k", 1),
        ("unknown", 1),
    ]
