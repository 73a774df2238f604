"""`--explain`: the SELECT that a build runs, as text that runs by itself."""

from __future__ import annotations

import json
from dataclasses import replace

import duckdb
import pytest
from click.testing import CliRunner

from dasd_data.build import build
from dasd_data.cli import cli
from dasd_data.config import SqlConfig
from dasd_data.errors import ContractError, DeniedError, LimitError, UnknownNameError
from dasd_data.explain import explain, inline
from dasd_data.session import Session

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


@pytest.fixture
def catalog(made, response):
    """Six questions in two domains, the first of them with two candidates."""
    less = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5), (6, 0.9)]}
    return made(
        response("a0", question="A", scores=less),
        response("a1", question="A", scores=SCORES),
        *(response(f"b{i}", question=f"B{i}", domain="code", scores=SCORES) for i in range(5)),
    )


def same_rows(catalog, view, **settings):
    """The rows of the written-out SQL in a DuckDB of its own; they must be those of the view."""
    explained = explain(catalog, view, settings)
    found = duckdb.connect().sql(explained.sql)
    file = catalog.find_view(view)
    expected = catalog.session(file, settings).connection.sql(file.sql)
    assert found.columns == expected.columns
    assert found.types == expected.types
    rows = found.fetchall()
    assert rows == expected.fetchall()
    return rows


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"budget": {"code": 2, "math": 1}, "rank_by": "random", "seed": 7},
        {"scope": "pool", "keep": 2, "rank_by": "teacher_count_resid", "budget": {"math": 2}},
        {"model": "big", "distilled": "student", "required_filters": "length"},
    ],
)
def test_the_written_out_sql_gives_the_rows_of_the_build(catalog, settings):
    """A person would check another query than the one that runs."""
    rows = same_rows(catalog, "low_t_das", **settings)
    made = build(catalog, "low_t_das", settings, dry_run=True)
    assert len(rows) == made.rows > 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT response_id, p(logprob_sum, n_tokens) AS p, label(p + 0.2, p, getvariable('beta'))"
        " AS l, 'getvariable(''beta'') p(1, 2)' AS t FROM sentences_flat -- p(1, 2)\nORDER BY ALL",
        "WITH pool AS (SELECT response_id FROM candidates), p AS (FROM pool)"
        " SELECT p.response_id FROM p ORDER BY 1",
        "SELECT s.response_id, exact_mean(s.p) AS m, exact_sum(n_tokens + (1)) AS n,"
        " concat('it''s', completion(NULL, concat('(', ')'))) AS c"
        " FROM sentences_flat AS s GROUP BY ALL ORDER BY ALL",
        "FROM verdicts, runs",
        'SELECT response_id FROM "Selection" AS "s" ORDER BY "response_id"',
        "SELECT response_id FROM 'selection' ORDER BY 1",
        "SELECT s.response_id FROM 'Selection' AS s JOIN 'responses' USING (response_id) ORDER BY 1",
        'SELECT "label"(0.9, 0.5, "getvariable"(\'beta\')) AS l, "P" (-1.0, 2) AS p FROM "selection"',
        "SELECT 'x' AS response_id",
    ],
)
def test_a_users_own_sql_is_written_out_too(catalog, sql):
    """Only shipped views could be read."""
    (catalog.path / "views" / "mine.sql").write_text(sql)
    same_rows(catalog, "mine")


def test_sql_of_others_is_bound_in_a_process_of_its_own(catalog, monkeypatch):
    """Binding runs part of a view: a hostile one would take memory and time without limit."""
    bound = []
    monkeypatch.setattr(Session, "compile", lambda *arguments: bound.append(arguments))
    file = catalog.path / "views" / "mine.sql"
    endless = "levenshtein(repeat('a', 900000), repeat('b', 900000))"
    file.write_text(f"SELECT response_id FROM responses LIMIT ({endless})")
    known, catalog.config = catalog.config, replace(catalog.config, sql=SqlConfig(time_limit=1))
    with pytest.raises(LimitError, match="time_limit"):
        explain(catalog, "mine")
    catalog.config = known
    file.write_text("SELECT response_id FROM responses WHERE answr = ''")
    with pytest.raises(UnknownNameError, match="'answr'; did you mean 'answer'"):
        explain(catalog, "mine")
    file.write_text("DROP VIEW responses")
    with pytest.raises(DeniedError):
        explain(catalog, "mine")
    assert not bound


def test_macros_are_written_out_with_their_arguments_whole():
    """`a + b` in place of a factor would change the value."""
    text = inline("SELECT difference(a + b, f(c, ')')) * 2, x.p (1), \"p\"", {}.__getitem__)
    assert text == "SELECT ((a + b) - (f(c, ')'))) * 2, x.p (1), \"p\""


def test_the_command_prints_sql_that_can_be_pasted(catalog):
    """The funnel above the SQL would be a syntax error in a DuckDB shell."""
    arguments = ["build", "--view", "low_t_das", "--explain", "--catalog", str(catalog.path)]
    done = CliRunner().invoke(cli, [*arguments, "--set", "budget.code=3"])
    assert done.exit_code == 0, done.output
    assert len(duckdb.connect().sql(done.stdout).fetchall()) == 4
    lines = [line.split() for line in done.stdout.split("WITH")[0].splitlines()]
    assert lines[0][1:3] == ["responses", "questions"]
    assert lines[-1] == ["--", "4", "4", "3", "1", "within", "the", "budget", "of", "its", "domain"]
    assert not (catalog.path / "builds").exists()
    report = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert report["funnel"][-1]["parts"] == [
        {"domain": "code", "temperature": 0.6, "responses": 5, "questions": 5},
        {"domain": "math", "temperature": 0.6, "responses": 1, "questions": 1},
    ]
    assert report["parameters"]["temperature"] == 0.6
    assert report["sql"].startswith("WITH")


def test_the_funnel_of_a_users_own_view_ends_with_its_own_conditions(catalog):
    """The rows that its own WHERE drops would be missing from every step, and nobody would know."""
    sql = "SELECT * FROM split WHERE domain = 'math' OR response_id = 'b1'"
    (catalog.path / "views" / "mine.sql").write_text(sql)
    steps = explain(catalog, "mine").funnel
    assert steps == build(catalog, "mine", dry_run=True).funnel
    shown = [(s["step"], s["condition"], s["responses"], s["questions"]) for s in steps[-2:]]
    assert shown[0] == (shown[1][0] - 1, "among the best 1 of its question", 6, 6)
    assert shown[1][1:] == ("chosen by the SELECT of the view", 2, 2)
    assert steps[-1]["parts"] == [
        {"domain": "code", "temperature": 0.6, "responses": 1, "questions": 1},
        {"domain": "math", "temperature": 0.6, "responses": 1, "questions": 1},
    ]
    (catalog.path / "views" / "mine.sql").write_text("SELECT * FROM split WHERE domain = 'x'")
    with pytest.raises(ContractError, match="0 responses chosen by the SELECT of the view"):
        build(catalog, "mine")
    shipped = build(catalog, "low_t_das", dry_run=True).funnel
    assert shipped[-1]["condition"] == "within the budget of its domain"


def test_a_view_without_a_selection_has_no_funnel(catalog):
    """A funnel of conditions that the view does not use would mislead."""
    (catalog.path / "views" / "mine.sql").write_text("SELECT response_id FROM responses")
    assert explain(catalog, "mine").funnel == []
    with pytest.raises(UnknownNameError, match="did you mean 'low_t_das'"):
        explain(catalog, "low_t_dsa")


def test_trusted_sql_is_explained_as_it_is_built(catalog, tmp_path):
    """What one's own view does with a file of one's own could not be looked at."""
    (tmp_path / "keep.csv").write_text("id\na0\nb1\n")
    view = tmp_path / "mine.sql"
    view.write_text(
        f"SELECT * FROM split WHERE response_id IN (SELECT id FROM '{tmp_path}/keep.csv')"
    )
    arguments = ["build", "--view", str(view), "--explain", "--catalog", str(catalog.path)]
    assert isinstance(CliRunner().invoke(cli, arguments).exception, DeniedError)
    done = CliRunner().invoke(cli, [*arguments, "--trusted", "--json"])
    assert done.exit_code == 0, done.output
    explained = json.loads(done.stdout)
    assert explained["funnel"][-1]["responses"] == len(duckdb.sql(explained["sql"]).fetchall()) == 1
