"""The pool of a selection, where memory is too small to count the labels of all at once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

import dasd_data
from dasd_data import pool, rows
from dasd_data.build import build
from dasd_data.config import SqlConfig
from dasd_data.errors import LimitError
from dasd_data.why import why

GENERATE = Path(__file__).parents[1] / "benchmarks" / "generate.py"
ENOUGH, LITTLE = SqlConfig(memory_limit="1GB"), SqlConfig(memory_limit="75MB")
SETTINGS = {"required_filters": ""}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A catalog whose labels 75 MB cannot count at once: 40,000 responses of two models."""
    path = tmp_path_factory.mktemp("large") / "a.catalog"
    size = ["--responses", "40000", "--sentences", "400000"]
    subprocess.run([sys.executable, GENERATE, path, *size], check=True, capture_output=True)
    catalog = dasd_data.open(path)
    (path / "views" / "own.sql").write_text("SELECT * FROM split ORDER BY response_id")
    return catalog


@pytest.fixture
def counted(monkeypatch):
    """In how many parts labels were counted in this process, each time they were."""
    parts, count = [], pool._count
    monkeypatch.setattr(pool, "_count", lambda s, n: (parts.append(n), count(s, n)))
    return parts


def with_memory(catalog, limits):
    """The catalog with other limits of SQL."""
    catalog.config = replace(catalog.config, threads=2, sql=limits)
    return catalog.refresh()


@pytest.mark.slow
@pytest.mark.parametrize(("view", "mode"), [("select", "full"), ("own", "off")])
def test_a_build_that_runs_out_of_memory_counts_labels_in_parts(
    large, tmp_path, counted, view, mode
):
    """A catalog of millions could be built on a large machine only."""
    made = [
        build(with_memory(large, limits), view, SETTINGS, out=tmp_path / name, robustness=mode)
        for name, limits in (("enough", ENOUGH), ("little", LITTLE))
    ]
    assert 8 in counted
    hashes = [[shard["sha256"] for shard in one.manifest["shards"]] for one in made]
    assert hashes[0] == hashes[1]
    assert made[0].manifest["robustness"] == made[1].manifest["robustness"]


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [False, True])
def test_sql_of_others_runs_where_its_labels_do_not_fit(large, trusted):
    """A query of the catalog, or a user's own view, would end where a shipped one does not."""
    query = "SELECT count(*) AS n, sum(teacher_count)::BIGINT AS t FROM candidates"
    found = []
    for limits in (ENOUGH, LITTLE):
        catalog = with_memory(large, limits)
        session = catalog.session(catalog.find_view("select"), SETTINGS)
        with rows.of_sql(catalog, query, session.variables, trusted=trusted) as got:
            found += [batch.to_pylist() for batch in got.batches]
        session.close()
    assert found[0] == found[1]
    assert found[0][0]["n"] == 40_000


@pytest.mark.slow
def test_a_split_is_chosen_without_its_pool_where_labels_do_not_fit(large, counted):
    """What was built could not be reproduced, or looked at in a notebook."""
    one, two = (
        with_memory(large, limits).split("select", **SETTINGS).order("response_id").fetchall()
        for limits in (ENOUGH, LITTLE)
    )
    assert 8 in counted
    assert len(one) > 1_000
    assert one == two


@pytest.mark.slow
def test_several_statements_are_run_once(large, tmp_path):
    """What the first of them wrote would be written twice."""
    catalog, written = with_memory(large, LITTLE), tmp_path / "written.db"
    query = f"ATTACH '{written}' AS other; CREATE TABLE IF NOT EXISTS other.t (i INTEGER);"
    query += "INSERT INTO other.t VALUES (1); SELECT sum(teacher_count) FROM candidates"
    variables = catalog.variables(catalog.find_view("select"), SETTINGS)
    with pytest.raises(LimitError), rows.of_sql(catalog, query, variables, trusted=True) as got:
        list(got.batches)
    assert duckdb.connect(written).sql("FROM t").fetchall() == [(1,)]


@pytest.mark.slow
def test_why_answers_where_labels_do_not_fit(large, counted):
    """The one response that is asked about would be all the same to the limit."""
    ((response,),) = large.sql("SELECT min(response_id) FROM responses").fetchall()
    one, two = (
        why(with_memory(large, limits), response, "select", SETTINGS) for limits in (ENOUGH, LITTLE)
    )
    assert 8 in counted
    assert one.labels["n_sentences"] > 0
    assert one == two


def test_only_the_memory_limit_is_tried_again(made, response, counted):
    """A query that took all its time would take it three times over."""
    catalog = made(response("a", scores={"teacher": [(6, 0.9)], "student": [(6, 0.5)]}))
    session = catalog.session(catalog.find_view("select"), SETTINGS)
    asked = []

    def ask(limit):
        asked.append(session.rows("SELECT teacher_count FROM label_counts"))
        raise LimitError(limit, "1")

    with pytest.raises(LimitError):
        pool.in_parts(session, lambda: ask("time_limit"))
    assert counted == []
    with pytest.raises(LimitError):
        pool.in_parts(session, lambda: ask("memory_limit"))
    assert counted == [8, 64]
    assert asked == [[{"teacher_count": 1}]] * 4
    session.connection.execute("SET VARIABLE beta = 0.5")
    pool.at_once(session)
    assert session.rows("SELECT teacher_count FROM label_counts") == [{"teacher_count": 0}]
    pool.materialize(session)
    assert [row["teacher_count"] for row in session.rows("FROM pool")] == [0]
    session.close()
