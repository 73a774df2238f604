"""`why`: what decided about one response, in words."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dasd_data.cli import cli
from dasd_data.errors import UnknownNameError, UsageError
from dasd_data.keys import question_id
from dasd_data.why import why

BEST = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5)] * 3}
LESS = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.2), (6, 0.9), (6, 0.9)]}


@pytest.fixture
def catalog(made, response, append):
    """One question with a best candidate, a lesser one, two equal ones and one that failed."""
    failed = {"length": True, "structure": True, "completeness": True, "cjk": True}
    catalog = made(
        response("aa-best", question="A?", scores=BEST),
        response("aa-less", question="A?", thinking="One.Two.", scores=LESS, byte_end=[4, 8, 15]),
        response("ab-long", question="A?", passed=failed, scores=BEST),
        response("ac-hot", question="A?", temperature=1.0, scores=BEST),
        *(response(f"b{i}", question=f"B{i}?", scores=BEST) for i in range(3)),
    )
    loop = {
        "response_id": "ab-long",
        "filter": "repetition",
        "version": "1",
        "passed": False,
        "value": 0.42,
        "evidence": json.dumps({"rule": "periodic", "copies": 9, "excerpt": "again\nand again"}),
    }
    append(catalog, "flags", [loop])
    return catalog.refresh()


def told(catalog, *arguments):
    """What the command prints."""
    done = CliRunner().invoke(cli, ["why", *arguments, "--catalog", str(catalog.path)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_chosen_response_holds_every_condition(catalog):
    """A person could not see that nothing but the conditions decided."""
    found = why(catalog, "aa-best", "low_t_das")
    assert found.response["chosen"]
    assert all(c["holds"] for c in found.response["conditions"])
    assert (found.response["candidate_rank"], found.response["n_candidates"]) == (1, 2)
    assert "aa-best is in low_t_das (snapshot" in told(catalog, "aa-best", "--view", "low_t_das")


def test_a_beaten_candidate_names_what_beat_it_and_both_values(catalog):
    """The ranking could not be checked."""
    text = told(catalog, "aa-less", "--view", "low_t_das")
    assert "aa-less is not in low_t_das" in text
    assert "It fails: among the best 1 of its question." in text
    assert "Rank 2 of 2 candidates of its question by teacher_count; 1 is kept." in text
    assert "aa-best, the last that is kept, has 3, this one 1." in text
    assert "Of 3 sentences of min_tokens (1) or more: 1 Teacher, 2 shared, 0 Student" in text
    assert "  p_T 0.900  p_S 0.200  teacher  One.\n" in text


def test_a_failed_filter_shows_its_value_version_and_evidence(catalog):
    """A wrong verdict could not be recognized."""
    text = told(catalog, "ab-long", "--view", "low_t_das")
    line = "passed filter repetition (version 1): value 0.42; rule periodic, copies 9, “again and again”"
    assert f"It fails: {line}.\n" in text
    assert f"  NO  {line}\n" in text
    assert "  -   with a sentence of min_tokens" in text  # nobody looked: it is not in the pool


def test_a_verdict_that_is_missing_is_no_pass(catalog, response, add):
    """A filter that never ran would be taken for one that rejected."""
    add(catalog, response("new", question="N?", passed={"length": True}, scores=BEST))
    text = told(catalog.refresh(), "new", "--view", "low_t_das")
    assert "It fails: passed filter cjk (version 1): no verdict; run `dasd-data filter`." in text


def test_a_questions_place_stands_against_the_budget(catalog):
    """A response that only the budget left out would seem to have failed."""
    settings = {"budget": {"math": 2}}
    ids = ["aa-best", "b0", "b1", "b2"]
    found = [why(catalog, i, "low_t_das", settings).response for i in ids]
    assert sorted(one["place"] for one in found) == [1, 2, 3, 4]
    assert {one["place"] for one in found if one["chosen"]} == {1, 2}
    out = next(one for one in found if one["place"] == 3)
    text = told(catalog, out["response_id"], "--view", "low_t_das", "--set", "budget.math=2")
    assert "It fails: within the budget of its domain." in text
    assert "The question's place in the order of math: 3; the budget is 2." in text


def test_a_question_tells_about_all_its_responses(catalog):
    """All candidates would have to be asked for one by one."""
    text = told(catalog, question_id("A?")[:12], "--view", "low_t_das")
    assert text.startswith("1 of 4 responses to this question are in low_t_das")
    assert "ac-hot: it fails: sampled at temperature 0.6\n" in text
    assert "aa-less: it fails: among the best 1 of its question\n" in text


def test_ids_may_be_short_and_must_be_unique(catalog):
    """A mistyped id would end without a hint."""
    assert why(catalog, "ac", "low_t_das").response_id == "ac-hot"
    with pytest.raises(UsageError, match="several ids begin with 'aa': aa-best, aa-less; write"):
        why(catalog, "aa", "low_t_das")
    with pytest.raises(UnknownNameError, match="named 'aa-c'; close to it: aa-best and aa-l"):
        why(catalog, "aa-c", "low_t_das")


def test_a_view_without_a_selection_is_asked_for_its_rows(catalog):
    """A user's own view could not be explained."""
    sql = "SELECT response_id FROM responses WHERE temperature = 1"
    (catalog.path / "views" / "hot.sql").write_text(sql)
    assert "ac-hot is in hot" in told(catalog, "ac-hot", "--view", "hot")
    text = told(catalog, "aa-best", "--view", "hot")
    assert "The SELECT of hot leaves it out, and does not use the selection." in text
    found = json.loads(told(catalog, "ac-hot", "--view", "hot", "--json"))
    assert not found["selects"]


def test_an_earlier_snapshot_can_be_asked(catalog, response, add):
    """A split of last week could not be explained."""
    at = catalog.snapshot.snapshot_id
    add(catalog, response("aa-new", question="A?", scores=BEST))
    assert "3 candidates of its question" in told(catalog, "aa-less", "--view", "low_t_das")
    old = told(catalog, "aa-less", "--view", "low_t_das", "--at", str(at))
    assert "2 candidates of its question" in old
