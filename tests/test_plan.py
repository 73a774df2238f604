"""`plan`: which rows would come and go, and the reason of each."""

from __future__ import annotations

import json
from functools import partial

import pytest
from click.testing import CliRunner

from dasd_data.build import build as _build
from dasd_data.cli import cli
from dasd_data.errors import UnknownNameError
from dasd_data.plan import plan

build = partial(_build, robustness="off")

FILTERS = ("length", "structure", "completeness", "repetition", "cjk")


def scores(teacher_sentences):
    """Three sentences, of which some are the teacher's."""
    student = [(6, 0.5)] * teacher_sentences + [(6, 0.9)] * (3 - teacher_sentences)
    return {"teacher": [(6, 0.9)] * 3, "student": student}


def reasons(found):
    """(change, reason) by response."""
    return {row["response_id"]: (row["change"], row["reason"]) for row in found.changes}


def test_a_first_build_brings_every_row(made, response):
    """A first plan would fail, or say nothing."""
    catalog = made(response("a", scores=scores(1)))
    found = plan(catalog, "low_t_das")
    assert (found.last, reasons(found)) == (None, {"a": ("in", "first build")})
    assert not (catalog.path / "builds").exists()


def test_what_a_build_would_leave_alone_changes_nothing(made, response):
    """One would build again, and push, what is there already."""
    catalog = made(response("a", scores=scores(1)))
    first = build(catalog, "low_t_das")
    found = plan(catalog.refresh(), "low_t_das")
    assert (found.unchanged, found.build_id, found.changes) == (True, first.build_id, [])


def test_each_row_has_the_reason_that_decided_it(made, response, add, append):
    """A researcher could not tell new data from a filter that changed its mind."""
    failed = {**dict.fromkeys(FILTERS, True), "cjk": False}
    catalog = made(
        response("q1-old", question="Q1", scores=scores(1)),
        response("q2-only", question="Q2", scores=scores(1)),
        response("q3-refused", question="Q3", passed=failed, scores=scores(3)),
        response("q3-chosen", question="Q3", scores=scores(2)),
        response("q4-refused", question="Q4", passed=failed, scores=scores(3)),
        response("q5-unscored", question="Q5", scores={"teacher": scores(1)["teacher"]}),
        response("q6-best", question="Q6", scores=scores(3)),
        response("q6-next", question="Q6", scores=scores(2)),
    )
    first = build(catalog, "low_t_das")
    # A later version of the filters refuses q6-best and passes what the first had refused.
    again = [
        response(r, question=q, passed=dict.fromkeys(FILTERS, r != "q6-best"), scores=s)
        for r, q, s in (
            ("q1-old", "Q1", scores(1)), ("q2-only", "Q2", scores(1)),
            ("q3-refused", "Q3", scores(3)), ("q3-chosen", "Q3", scores(2)),
            ("q4-refused", "Q4", scores(3)), ("q5-unscored", "Q5", scores(1)),
            ("q6-best", "Q6", scores(3)), ("q6-next", "Q6", scores(2)),
            ("q1-new", "Q1", scores(3)), ("q7-new", "Q7", scores(1)),
        )
    ]  # fmt: skip
    add(catalog, *again, run_id="second", filter_version="2")
    found = plan(catalog.refresh(), "low_t_das")
    assert found.last["build_id"] == first.build_id
    new, passes = "new response", "filter cjk passes it since"
    assert reasons(found) == {
        "q1-new": ("in", new),
        "q1-old": ("out", f"outranked within its question: {new}"),
        "q3-refused": ("in", passes),
        "q3-chosen": ("out", f"outranked within its question: {passes}"),
        "q4-refused": ("in", passes),
        "q5-unscored": ("in", "scored since"),
        "q6-best": ("out", "not passed filter cjk (version 2)"),
        "q6-next": ("in", "in the place of another of its question"),
        "q7-new": ("in", new),
    }
    assert {(r["change"], r["reason"], r["rows"]) for r in found.reasons} >= {
        ("in", new, 2), ("in", passes, 2)
    }  # fmt: skip
    built = build(catalog, "low_t_das")
    assert built.build_id == found.build_id
    assert built.rows == found.domains[0]["after"] == 7
    assert found.domains[0] == {"domain": None, "before": 4, "in": 6, "out": 3, "after": 7}


def test_a_changed_parameter_is_named(made, response):
    """Rows would seem to change by themselves."""
    catalog = made(
        *(response(f"{q}{n}", question=q, scores=scores(n)) for q in "ABCD" for n in (1, 2))
    )
    build(catalog, "low_t_das")
    found = plan(catalog.refresh(), "low_t_das", {"keep": 2})
    assert found.parameters == {"keep": [1, 2]}
    assert set(reasons(found).values()) == {("in", "changed: keep")}
    found = plan(catalog, "low_t_das", {"budget": {"math": 1}})
    assert [row["reason"] for row in found.changes] == ["not within the budget of its domain"] * 3
    found = plan(catalog, "low_t_das", {"temperature": 1.0})
    assert set(reasons(found).values()) == {("out", "not sampled at temperature 1.0")}


def test_a_budget_moves_its_edge(made, response, add):
    """A row that a budget cuts off would look refused."""
    catalog = made(*(response(f"r{i}", question=f"Q{i}", scores=scores(1)) for i in range(6)))
    budget = {"budget": {"math": 3}}
    build(catalog, "low_t_das", budget)
    add(catalog, *(response(f"n{i}", question=f"N{i}", scores=scores(1)) for i in range(6)))
    found = plan(catalog.refresh(), "low_t_das", budget)
    assert {row["reason"] for row in found.changes if row["change"] == "in"} == {"new response"}
    assert {row["reason"] for row in found.changes if row["change"] == "out"} == {
        "not within the budget of its domain"
    }
    assert found.domains[0]["before"] == found.domains[0]["after"] == 3


def test_a_users_own_view_is_planned_too(made, response, add):
    """The changes of a view of one's own would have no reason, or a wrong one."""
    catalog = made(response("a", question="A", scores=scores(1)))
    path = catalog.path / "views" / "mine.sql"
    path.write_text("SELECT response_id FROM split")
    build(catalog, "mine")
    add(catalog, response("b", question="B", scores=scores(2)))
    path.write_text("SELECT response_id FROM split WHERE teacher_count > 1")
    assert reasons(plan(catalog.refresh(), "mine")) == {
        "a": ("out", "changed: SQL"), "b": ("in", "new response")
    }  # fmt: skip
    path.write_text("SELECT response_id FROM responses WHERE response_id = 'b'")
    assert reasons(plan(catalog, "mine")) == {
        "a": ("out", "changed: SQL"), "b": ("in", "new response")
    }  # fmt: skip


def test_the_files_of_a_compacted_snapshot_are_still_compared(made, response, add):
    """After `compact` every row would be a new one."""
    from dasd_data.compact import compact

    catalog = made(response("a", question="A", scores=scores(1)))
    build(catalog, "low_t_das")
    add(catalog, response("b", question="B", scores=scores(1)))
    compact(catalog.store)
    assert reasons(plan(catalog.refresh(), "low_t_das")) == {"b": ("in", "new response")}


def test_the_command_prints_domains_and_reasons(made, response, add):
    """One would have to read JSON to see what a build changes."""
    catalog = made(response("a", question="A", scores=scores(1)))
    first = build(catalog, "low_t_das")
    add(catalog, response("b", question="A", scores=scores(2)))
    arguments = ["plan", "--view", "low_t_das", "--catalog", str(catalog.path)]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    cells = [
        [c.strip() for c in line.split("│")] for line in done.stdout.splitlines() if "│" in line
    ]
    assert cells == [
        ["all", "1", "1", "1", "1"], ["math", "1", "1", "1", "1"],
        ["in", "1", "new response"],
        ["out", "1", "outranked within its question: new response"],
    ]  # fmt: skip
    assert f"against build {first.build_id} of low_t_das, 1 row" in done.stderr
    document = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert [row["response_id"] for row in document["changes"]] == ["b", "a"]
    with pytest.raises(UnknownNameError, match="did you mean 'low_t_das'"):
        plan(catalog, "low_t_das", against="low_t_da")
