"""The lock: SQL of others reads the snapshot and nothing else, and writes nowhere."""

from __future__ import annotations

import duckdb
import pytest

from dasd_data.errors import DasdError, DeniedError

SCORES = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}


@pytest.fixture
def catalog(made, response):
    """A catalog of one response."""
    return made(response("a", scores=SCORES))


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)",
        "explain /* x */ analyze COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)",
        "EXPLAIN (FORMAT json) COPY (SELECT 1) TO '{file}' (FORMAT csv, USE_TMP_FILE false)",
        "-- x\nEXPLAIN ANALYZE DROP VIEW responses",
        "EXPLAIN ANALYZE EXPLAIN ANALYZE DROP VIEW responses",
        "EXPLAIN ANALYZE SET VARIABLE beta = 5",
        "WITH x AS (COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)) FROM x",
        "FROM query('COPY (SELECT 1) TO ''{file}'' (USE_TMP_FILE false)')",
        "SELECT 1; COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS other",
        "EXPORT DATABASE '{folder}'",
        "INSTALL json",
        "LOAD json",
        "SET threads = 1",
        "SET VARIABLE beta = 5",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW responses",
        "INSERT INTO responses SELECT * FROM responses",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_parquet('{folder}/../*.parquet')",
        "SELECT * FROM read_json('https://example.com/x.json')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM catalog",
    ],
)
def test_escapes_are_refused_and_nothing_is_written(catalog, sql):
    """A view from the internet could read secrets or destroy the catalog."""
    path = catalog.files["runs"][0]
    before = {p: p.read_bytes() for p in catalog.path.rglob("*") if p.is_file()}
    with pytest.raises((DasdError, duckdb.Error)):
        catalog.sql(sql.format(file=path, folder=path.parent)).fetchall()
    assert {p: p.read_bytes() for p in catalog.path.rglob("*") if p.is_file()} == before
    query = "SELECT count(*), getvariable('beta') FROM responses"
    assert catalog.sql(query).fetchall() == [(1, 0.1)]


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT * FROM responses",
        "EXPLAIN ANALYZE SELECT * FROM responses",
        "EXPLAIN (FORMAT json) SELECT * FROM responses",
        "DESCRIBE responses",
        "SUMMARIZE responses",
        "SHOW TABLES",
        "-- a comment\nFROM responses;",
    ],
)
def test_reading_statements_run(catalog, sql):
    """A notebook could not look at a plan or a summary."""
    assert catalog.sql(sql).fetchall()


def test_a_query_may_use_the_names_of_views_as_its_own(made, response):
    """`count(*) AS candidates` would ask for a scorer."""
    catalog = made(response("a", scores={"teacher": [(6, 0.9)]}))
    assert catalog.sql("SELECT count(*) AS candidates, 'funnel' FROM responses").fetchall()
    with pytest.raises(duckdb.Error, match="no scorer named 'student'"):
        catalog.sql("FROM sentence_pairs").fetchall()


def test_views_of_others_are_one_select(catalog, tmp_path):
    """A view file could hold a second statement."""
    from dasd_data.build import build

    view = tmp_path / "mine.sql"
    view.write_text("SELECT response_id FROM responses; DROP VIEW responses")
    with pytest.raises(DeniedError, match="one statement"):
        build(catalog, str(view))
