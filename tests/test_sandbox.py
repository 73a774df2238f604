"""The lock and the child process: SQL of others reads the snapshot only, writes nowhere, ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import dasd_data
from dasd_data import allowed, sandbox
from dasd_data.build import build
from dasd_data.config import SqlConfig
from dasd_data.errors import (
    ConfigError,
    ContractError,
    DasdError,
    DeniedError,
    LimitError,
    UnknownNameError,
    UsageError,
)
from dasd_data.parameters import Variables
from dasd_data.rows import of_sql
from dasd_data.sqlerrors import renumbered, translated

SCORES = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}
SMALL = SqlConfig(memory_limit="300MB", time_limit=20, spill_limit="50MB")
COPY = "COPY (SELECT 1 AS x) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)"
DML = {
    "delete": "DELETE FROM t RETURNING *",
    "insert": "INSERT INTO t VALUES (1) RETURNING *",
    "update": "UPDATE t SET x = 1 RETURNING *",
    "merge": "MERGE INTO t USING t AS s ON true WHEN MATCHED THEN DELETE RETURNING *",
    "copy": COPY,
}
STATEMENTS = [
    COPY,
    "COPY responses FROM '{file}'",
    f"EXPLAIN ANALYZE {COPY}",
    f"explain /* x */ analyze {COPY}",
    f"EXPLAIN (ANALYZE) {COPY}",
    f"EXPLAIN (FORMAT json) {COPY}",
    "-- x\nEXPLAIN ANALYZE DROP VIEW responses",
    "EXPLAIN ANALYZE EXPLAIN ANALYZE DROP VIEW responses",
    "EXPLAIN ANALYZE SET VARIABLE beta = 5",
    "SELECT 1; COPY (SELECT 1) TO '{file}'",
    "SELECT 1\0; DROP VIEW responses",
    "ATTACH '{folder}/x.db' AS other",
    "DETACH memory",
    "USE system",
    "EXPORT DATABASE '{folder}'",
    "IMPORT DATABASE '{folder}'",
    "INSTALL json",
    "LOAD '{file}'",
    "SET threads = 1",
    "RESET lock_configuration",
    "SET VARIABLE beta = 5",
    "RESET VARIABLE beta",
    "PRAGMA database_list",
    "PRAGMA enable_profiling = 'json'",
    "CALL pragma_version()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "PREPARE q AS SELECT 1",
    "EXECUTE q",
    "DEALLOCATE q",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE MACRO m() AS 1",
    "CREATE TYPE y AS ENUM ('a')",
    "CREATE SEQUENCE s",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP VIEW responses AS SELECT 1",
    "DROP VIEW responses",
    "ALTER VIEW responses RENAME TO r",
    "INSERT INTO responses SELECT * FROM responses",
    "BEGIN TRANSACTION",
    "PIVOT responses ON model USING count(*)",
]
READS = [
    *(f"WITH x AS ({statement}) FROM x" for statement in DML.values()),
    *(f"WITH x AS MATERIALIZED ({statement}) FROM (FROM x)" for statement in DML.values()),
    f"SUMMARIZE WITH x AS ({COPY}) FROM x",
    *("FROM query($$" + f"WITH x AS ({statement}) FROM x" + "$$)" for statement in DML.values()),
    *(
        "FROM json_execute_serialized_sql(json_serialize_sql($$"
        + f"WITH x AS ({statement}) FROM x"
        + "$$))"
        for statement in DML.values()
    ),
    "FROM query_table('{secret}')",
    "FROM histogram('fla' || 'gs', passed)",
    "FROM histogram_values('fla' || 'gs', passed)",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM READ_TEXT('{secret}')",
    "SELECT * FROM main.\"read_blob\"('{secret}')",
    "SELECT * FROM read_json('https://example.com/x.json')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM read_parquet('{folder}/../*.parquet')",
    "SELECT * FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = true)",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM '{file}/../../../../secret.csv'",
    "SELECT * FROM '{link}'",
    "SELECT * FROM 'https://example.com/x.csv'",
    "SELECT (SELECT count(*) FROM glob('/etc/*'))",
    "SELECT * FROM responses, LATERAL (FROM read_text('{secret}'))",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_schema('{file}')",
    "SELECT current_setting('temp_directory')",
    "SHOW allowed_paths",
    "SHOW 'Temp_Directory'",
    "SELECT t.* FROM responses, (SHOW memory_limit) t",
    "SELECT pg_get_viewdef(oid) FROM pg_class",
    "SELECT get_block_size('memory')",
    "SELECT list_transform([1], lambda x: sleep_ms(x))",
    "SELECT x FROM range(1) AS t(x) ORDER BY write_log('x')",
    "SELECT setseed(0.5)",
    "FROM duckdb_settings()",
    "FROM duckdb_secrets()",
    "FROM duckdb_views()",
    "FROM duckdb_views",
    "SELECT sql FROM sqlite_master",
    "SELECT view_definition FROM information_schema.views",
]
OF_THE_SHELL = "SELECT getenv('HOME')"  # elsewhere DuckDB has no such function
PYTHON = ["SELECT * FROM catalog", "SELECT * FROM sys"]


@pytest.fixture
def catalog(made, response):
    """A catalog of one response."""
    return made(response("a", scores=SCORES))


@pytest.fixture
def places(catalog, tmp_path):
    """Names that escapes use: a file of the snapshot, its folder, a secret and a link to it."""
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nhunter2\n")
    file = catalog.files["runs"][0]
    link = catalog.path / "link.csv"
    link.symlink_to(secret)
    return {"file": file, "folder": file.parent, "secret": secret, "link": link}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder under a folder, with its content."""
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def rows(catalog, sql, limits=SMALL, **settings):
    """All rows of a statement, from a child process."""
    variables = catalog.variables(None, settings)
    with sandbox.rows(sql, catalog.files, variables, limits=limits, threads=2) as found:
        return [row for batch in found.batches for row in batch.to_pylist()]


@pytest.mark.parametrize("sql", [*STATEMENTS, *READS, *PYTHON, OF_THE_SHELL])
def test_escapes_are_refused_and_nothing_is_written(catalog, places, tmp_path, sql):
    """A query from the internet could read secrets or destroy the catalog."""
    sys = [1]  # noqa: F841  what a replacement scan would find
    text = sql.format(**places)
    before = tree(tmp_path)
    with pytest.raises(DasdError) as refused:
        catalog.sql(text).fetchall()
    assert refused.value.exit_code == (2 if sql == OF_THE_SHELL else 6)
    assert "hunter2" not in str(refused.value)
    assert tree(tmp_path) == before
    query = "SELECT count(*), getvariable('beta') FROM responses"
    assert catalog.sql(query).fetchall() == [(1, 0.1)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("USE system", "not USE"),
        ("/* x */ -- y\n RESET threads", "not RESET"),
        ("INSTALL json", "not INSTALL"),
        ("IMPORT DATABASE 'x'", "not IMPORT"),
        ("CHECKPOINT", "not CHECKPOINT"),
        ("ANALYZE", "not ANALYZE"),
        ("begin", "not BEGIN"),
        ("TRUNCATE responses", "not TRUNCATE"),
        ("DEALLOCATE q", "not DEALLOCATE"),
        ("COMMENT ON VIEW responses IS 'x'", "not COMMENT"),
        ("EXPLAIN ANALYZE DELETE FROM responses", "not DELETE"),
        ("WITH x AS (SELECT 1) DELETE FROM responses", "not DELETE"),
        ("PIVOT responses ON model", "write PIVOT"),
        *((f"WITH x AS ({DML[name]}) FROM x", "a CTE may not write") for name in DML),
        (f"SUMMARIZE WITH x AS ({DML['insert']}) FROM x", "a CTE may not write"),
        ("SELECT 1; SELECT 2", "there are 2"),
    ],
)
def test_a_refusal_names_what_was_written(catalog, sql, named):
    """One would look for a SET that one did not write, or in a VIEW that one did not make."""
    with pytest.raises(DeniedError, match=named):
        catalog.sql(sql)


@pytest.mark.parametrize("sql", ["SELECT '{}'::INT", 'SELECT "{}"', "SELECT error('{}')"])
def test_a_mistake_is_no_refusal_whatever_its_texts_say(catalog, sql):
    """One would look for a CTE that writes."""
    with pytest.raises(UsageError) as mistake:
        rows(catalog, sql.format("must be at the top level"))
    assert "CTE" not in str(mistake.value)


@pytest.mark.parametrize(
    "said",
    [
        "the id must be a, or SET beta to 5. Then", "bad. Use SET beta = 0.5 for it. See",
        "failed to offload", "max_temp_directory_size", "configuration has been locked",
    ],
)  # fmt: skip
def test_what_sql_says_itself_is_told_as_it_is(catalog, said):
    """The words of a view's author would be cut, or taken for those of a full disk."""
    with pytest.raises(UsageError) as error:
        rows(catalog, f"SELECT error('{said}')")
    assert str(error.value) == said


def test_a_hint_names_nothing_that_sql_may_not_read(catalog):
    """Whoever takes the hint would be refused."""
    for name in ("catalog", "pg_table", "duckdb_setting"):
        with pytest.raises((UnknownNameError, DeniedError)) as unknown:
            catalog.sql(f"SELECT * FROM {name}")
        assert not re.search("duckdb_(?!setting')|pg_(?!table')", str(unknown.value))
    with pytest.raises(UnknownNameError, match="did you mean 'responses'"):
        catalog.sql("SELECT * FROM respones")


def test_a_variable_of_python_is_no_table(catalog):
    """Whoever names a variable of a notebook would read it, or be told of a mistyped name."""
    frame = pa.table({"secret": ["hunter2"]})
    for sql in ("FROM frame", "SELECT * FROM (FROM frame)", "FROM frame.x", 'FROM "elsewhere"'):
        for ask in (catalog.sql, partial(rows, catalog)):
            with pytest.raises(DeniedError, match="reads nothing else; there is announced, "):
                ask(sql)
    assert frame.num_rows == 1


def test_a_mistake_is_shown_in_the_text_that_was_written(catalog):
    """Lines of a statement that nobody wrote would hide it."""
    sql = "SELECT" + " 1,\n" * 9 + "  length(1, 2)"  # line 10: one digit more than the one before
    for ask in (catalog.sql, partial(rows, catalog)):
        with pytest.raises(UsageError) as mistake:
            ask(sql)
        shown = str(mistake.value).splitlines()[-2:]
        assert shown == ["LINE 10:   length(1, 2)", "           ^^^^^^^^^^^^"]
        with pytest.raises(UsageError, match=r"\n\nLINE 1: SELECT 1 \+\n {17}\^$"):
            ask("SELECT 1 +")
        with pytest.raises(UsageError, match=r"\n\nLINE 4:  length\(1, 2\)\n {9}\^+$"):
            ask("\n\nSELECT 1,\n length(1, 2)")
        with pytest.raises(UsageError, match=r"\n\nLINE 3: SELECT length\(1, 2\)\n {15}\^+$"):
            ask("EXPLAIN\n\nSELECT length(1, 2)")


def test_a_line_is_that_of_the_excerpt_and_its_caret_moves_along():
    """A text in a row could name any line; from 2 to 11 the caret would lose its place."""
    message = "Conversion Error: 'x\nLINE 900: y'\n\nLINE 2:   ab cd\n          ^^"
    moved = "Conversion Error: 'x\nLINE 900: y'\n\nLINE 11:   ab cd\n           ^^"
    assert renumbered(message, 9) == (moved, 11)
    assert renumbered(moved, -9) == (message, 2)
    assert renumbered("Conversion Error: 'x\nLINE 900: y'", 9)[1] is None


@pytest.mark.parametrize(
    ("sql", "closest"),
    [
        ("FROM RESPONSE", "responses"),
        ("WITH CHOSEN_ROWS AS (SELECT 1) FROM CHOSEN_ROW", "chosen_rows"),
        ("WITH best_of_each AS (SELECT 1) FROM best_of_eech", "best_of_each"),
        ("SELECT * FROM (WITH parts AS (SELECT 1) FROM prats)", "parts"),
    ],
)
def test_a_mistyped_name_is_a_mistake(catalog, sql, closest):
    """It would be refused as if it were a file of elsewhere."""
    for ask in (catalog.sql, partial(rows, catalog)):
        with pytest.raises(UnknownNameError, match=f"did you mean '{closest}'"):
            ask(sql)


def test_a_part_that_is_named_before_it_is_defined_is_a_mistake(catalog):
    """The name would be offered in its own place."""
    with pytest.raises(UsageError, match="b can be read only after it is defined: Catalog Error"):
        catalog.sql("WITH a AS (FROM b), b AS (SELECT 1) FROM a")


def test_an_unknown_column_is_not_offered_itself(catalog):
    """The excerpt of the SQL, or parts of a name, would be taken for a list of columns."""
    with pytest.raises(UnknownNameError, match="^no column named 'nope'$"):
        catalog.sql('SELECT "nope"')
    with pytest.raises(UnknownNameError, match="^no column named 'x'$"):
        catalog.sql("SELECT x FROM (SELECT unnest(x, recursive := true) FROM (SELECT [[1]] x))")


def test_a_mistake_is_shown_at_a_length_that_one_reads(catalog):
    """A text of a megabyte would fill the terminal."""
    for sql in ("SELECT '{}'::INT", "SELECT regexp_matches(model, '{}') FROM responses"):
        with pytest.raises(UsageError) as mistake:
            rows(catalog, sql.format("(" * 100_000))
        assert "(( …" in str(mistake.value)
        assert 400 < len(str(mistake.value)) < 1_500
    for sql in ("FROM {}", "SELECT {} FROM responses"):
        with pytest.raises(DasdError) as mistake:
            rows(catalog, sql.format("t" * 100_000))
        assert len(str(mistake.value)) < 1_500
    with pytest.raises(UsageError, match="not convert string 'a, or SET alpha beta'"):
        rows(catalog, "SELECT 'a, or SET alpha beta'::INT")
        assert 400 < len(str(mistake.value)) < 1_500
        assert "(( …" in str(mistake.value)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT " + "+".join(["1"] * 3_000), "depth limit of 1000 exceeded.$"),
        ("SELECT invoke(x -> x, 1)", "before DuckDB's next release.\nFor more information"),
    ],
)
def test_no_setting_is_advised_that_is_locked(catalog, sql, told):
    """Whoever takes the advice would be refused."""
    with pytest.raises(UsageError, match=told):
        catalog.sql(sql)


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("Memory allocation failure", LimitError, "memory_limit"),
        (
            "Attempted to access index 3",
            DeniedError,
            "INTERNAL Error: Attempted to access index 3$",
        ),
    ],
)
def test_an_error_within_duckdb_is_one_line(said, kind, told):
    """A user would read the stack of a library, and take it for a mistake of hers."""
    with pytest.raises(kind, match=told) as error, translated():
        raise duckdb.InternalException(
            f"INTERNAL Error: {said}\n\nStack Trace:\n\n/lib.so(x) [0x1]"
        )
    assert "Stack" not in str(error.value)


@pytest.mark.slow
def test_the_child_refuses_the_same(catalog, places, tmp_path):
    """The process would be a wall with a door in it."""
    before = tree(tmp_path)
    for sql in [*STATEMENTS[::9], *READS[::5]]:
        with pytest.raises((DeniedError, UsageError)) as refused:
            rows(catalog, sql.format(**places))
        assert "hunter2" not in str(refused.value)
    assert tree(tmp_path) == before


def test_every_function_that_varies_was_looked_at():
    """A new one of DuckDB's would give other rows in each build of a view."""
    varying = duckdb.sql(
        "SELECT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    ).fetchall()
    fixed = {"error", "getvariable", "in_search_path"}
    fixed |= {"current_database", "current_schema", "current_schemas"}
    assert {n for (n,) in varying} <= allowed.VARYING_FUNCTIONS | allowed.REFUSED_FUNCTIONS | fixed


def test_every_table_function_was_looked_at():
    """A function that a new DuckDB brings would be open to views of others."""
    found = duckdb.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions()"
        " WHERE function_type IN ('table', 'table_macro')"
    ).fetchall()
    names = {name for (name,) in found}
    assert names >= allowed.TABLE_FUNCTIONS
    connection = duckdb.connect()
    for name in sorted(names - allowed.TABLE_FUNCTIONS):
        with pytest.raises(DeniedError, match="may not be used here"):
            allowed.check(connection, f'SELECT * FROM "{name}"()')
    effects = duckdb.sql(
        "SELECT DISTINCT function_name FROM duckdb_functions()"
        " WHERE has_side_effects AND function_type = 'scalar'"
    ).fetchall()
    harmless = {
        "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "random", "error", "vector_type", "stats",
        "current_connection_id", "current_query", "current_query_id", "current_transaction_id",
    }  # fmt: skip
    assert {name for (name,) in effects} - harmless <= allowed.REFUSED_FUNCTIONS


def test_every_macro_was_looked_at():
    """It would call what may not be called, under another name."""
    connection = duckdb.connect()
    macros = connection.execute(
        "SELECT function_name, macro_definition FROM duckdb_functions()"
        " WHERE function_type = 'macro'"
    ).fetchall()
    assert len(macros) > 50
    harmless = {"pg_get_constraintdef"}  # duckdb_constraints(): those of tables
    for name, definition in macros:
        try:
            allowed.check(connection, f"SELECT {definition}")
        except DeniedError:
            assert name in allowed.REFUSED_FUNCTIONS | harmless


def test_no_view_of_duckdbs_tells_paths(catalog):
    """A shard that is published would hold the paths of a machine."""
    views = duckdb.sql("SELECT schema_name, view_name FROM duckdb_views() WHERE internal")
    read = 0
    for schema, name in views.fetchall():
        with contextlib.suppress(DeniedError):
            assert str(catalog.path) not in str(catalog.sql(f"FROM {schema}.{name}").fetchall())
            read += 1
    assert read > 20


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT * FROM responses",
        "EXPLAIN ANALYZE SELECT * FROM responses",
        "EXPLAIN (FORMAT json) SELECT * FROM responses",
        "DESCRIBE responses",
        "-- x\nDESCRIBE responses",
        "SUMMARIZE responses",
        "SHOW TABLES",
        "SHOW responses",
        "-- a comment\nFROM responses;",
        "SELECT unnest(range(3)), 'read_text(''x'')', [1].list_transform(lambda x: x + 1)",
        "FROM responses, LATERAL (SELECT unnest([1, 2]))",
        "FROM (PIVOT responses ON model IN ('big') USING count(*))",
        "SELECT table_name FROM information_schema.tables",
        "SELECT " + " + ".join(["1"] * 900),
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


LIMITS = {
    "SELECT length(repeat('x', 3000000000))": "memory_limit",
    "SELECT list(i) FROM range(1000000000) AS t(i)": "memory_limit",
    "SELECT length(string_agg(repeat('x', 1000))) FROM range(3000000)": "memory_limit",
    "SELECT max(x) FROM (SELECT md5(i::VARCHAR) AS x FROM range(6000000) AS t(i)"
    " ORDER BY x LIMIT 5000000)": "spill_limit",
    "FROM range(1000000000000000000)": "time_limit",
    "SELECT count(*) FROM range(1000000) AS a, range(1000000) AS b WHERE a.range < b.range":
        "time_limit",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r":
        "time_limit",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sql", LIMITS)
def test_what_never_ends_is_stopped_at_a_limit(catalog, tmp_path, sql):
    """A query could fill the memory or the disk, or run for ever."""
    short = SqlConfig("300MB", 2 if LIMITS[sql] == "time_limit" else 60, "50MB")
    before = tree(tmp_path)
    with pytest.raises(LimitError) as stopped:
        rows(catalog, sql, short)
    assert stopped.value.limit == LIMITS[sql]
    assert stopped.value.exit_code == 6
    assert f"DASD_{LIMITS[sql].upper()}" in str(stopped.value)
    assert tree(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
        "SELECT " + "NOT " * 100_000 + "true",
        "SELECT " + "[" * 3_000 + "1" + "]" * 3_000,
        "SELECT * FROM " + "(SELECT * FROM " * 3_000 + "responses" + ")" * 3_000,
        "WITH " + ", ".join(f"c{i} AS (FROM c{i - 1}, c{i - 1} AS d)" for i in range(1, 40))
        + " SELECT 1 FROM c39",
    ],
)  # fmt: skip
def test_nesting_ends_in_an_error_and_not_in_a_crash(catalog, sql):
    """A nested expression would take the whole program with it."""
    with pytest.raises(DasdError):
        rows(catalog, sql, SqlConfig("300MB", 5, "50MB"))


def test_a_crash_of_the_child_is_an_error(catalog, monkeypatch):
    """A fault of DuckDB would look like an empty result, or end the caller."""
    for number, problem in ((signal.SIGSEGV, DeniedError), (signal.SIGXCPU, LimitError)):
        crash = f"import os; os.kill(os.getpid(), {int(number)})"
        monkeypatch.setattr(sandbox, "_START", crash)
        with pytest.raises(problem):
            rows(catalog, "SELECT 1")


def test_rows_are_the_same_as_in_process(catalog):
    """A type would change on its way through the pipe."""
    sql = (
        "SELECT 1::HUGEINT AS h, 'x' AS t, NULL AS n, 1.5::DECIMAL(9, 2) AS d, [1, 2] AS l,"
        " {'a': 1} AS s, MAP {'k': 1.5::DOUBLE} AS m, TIMESTAMPTZ '2026-01-01' AS z,"
        " 'nan'::DOUBLE::VARCHAR AS f, '\\x00'::BLOB AS b FROM range(3)"
    )
    assert rows(catalog, sql) == catalog.sql(sql).to_arrow_table().to_pylist()
    assert rows(catalog, "SELECT getvariable('beta') AS b", beta=0.25) == [{"b": 0.25}]
    quoted = "it's; DROP VIEW responses --"
    assert rows(catalog, "SELECT getvariable('model') AS m", model=quoted) == [{"m": quoted}]
    with pytest.raises(UnknownNameError, match="did you mean 'answer'"):
        rows(catalog, "SELECT answr FROM responses")


def test_the_child_has_no_secret_no_network_and_no_file(catalog, tmp_path, monkeypatch):
    """A hole in DuckDB would be a hole in the machine."""
    probe = f"""
import json, os, socket, sys
from pathlib import Path
from dasd_data import walls
sys.path[:0] = sys.argv[2:]
found = dict(os.environ)
handles = sorted(int(n) for n in os.listdir("/proc/self/fd"))
folder, group = os.getcwd(), os.getpgid(0)
listed = os.listdir(folder)
walls.die_with(int(sys.argv[1]))
linux = [walls.only_files([Path({str(catalog.files["runs"][0])!r})], Path(folder)), walls.no_network()]
def tried(what):
    try: what()
    except OSError as error: return type(error).__name__
tries = [
    tried(lambda: open({str(tmp_path / "secret")!r})),
    tried(lambda: open({str(catalog.path / "new")!r}, "w")),
    tried(lambda: open({str(catalog.files["runs"][0])!r}, "rb+")),
    tried(lambda: open("/proc/%d/environ" % os.getppid())),
    tried(socket.socket),
    tried(lambda: os.execv("/bin/true", ["true"])),
    tried(lambda: open({str(catalog.files["runs"][0])!r})),
    tried(lambda: open("spill", "w")),
]
report = [sorted(found), found["HOME"] == folder, listed, handles[:4], group == os.getpid(), linux, tries]
sys.stderr.write(json.dumps({{"error": "UsageError", "message": json.dumps(report)}}))
sys.stderr.flush()
os._exit(1)
"""
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("https_proxy", "http://user:password@proxy")
    start = f"import sys; sys.path[:0] = sys.argv[2:]; exec({probe!r})"
    monkeypatch.setattr(sandbox, "_START", start)
    with pytest.raises(UsageError) as told, (tmp_path / "secret").open() as held:
        os.set_inheritable(held.fileno(), True)
        rows(catalog, "SELECT 1")
    names, home, listed, handles, own_group, linux, tries = json.loads(str(told.value))
    assert set(names) <= {"HOME", "LANG", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR"}
    assert home
    assert listed == []
    assert handles[:3] == [0, 1, 2]
    assert own_group
    if all(linux):
        refused = ["PermissionError"] * 6
        assert tries == [*refused, None, None]


def ends(process: int) -> bool:
    """Whether a process ends within some seconds; one that nobody waited for has ended, too."""
    for _ in range(200):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                time.sleep(0.05)
                continue
        return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels end a process as they please")
def test_a_process_out_of_cpu_time_says_so():
    """It would be told as out of memory, and a user raise the wrong limit."""
    code = "from dasd_data import walls; walls.cap(1, 1 << 20)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGXCPU


@pytest.mark.slow
def test_the_child_dies_with_its_parent(catalog):
    """A killed command would leave a query running for minutes."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's end")
    code = (
        "import dasd_data, os, subprocess, sys\n"
        "from dasd_data import sandbox\n"
        "start = sandbox._start\n"
        "def told(folder):\n"
        "    child = start(folder)\n"
        "    print(child.pid, flush=True)\n"
        "    return child\n"
        "sandbox._start = told\n"
        f"c = dasd_data.open({str(catalog.path)!r})\n"
        "with sandbox.rows('SELECT count(*) FROM range(10000000000000)', c.files, c.variables()): pass\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends(child)


@pytest.mark.slow
def test_ctrl_c_ends_the_query_and_its_process(catalog):
    """Ctrl-C would leave the query running, or end without the exit code of an interruption."""
    code = "from dasd_data.main import main; main()"
    query = "SELECT count(*) FROM range(10000000000000)"
    command = subprocess.Popen(
        [sys.executable, "-c", code, "sql", query, "--catalog", str(catalog.path)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    found: list[str] = []
    while not found and command.poll() is None:
        time.sleep(0.05)
        found = children.read_text().split()
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=60)
    assert command.returncode == 130, said
    assert ends(int(found[0]))


def view(tmp_path: Path, sql: str, name: str = "mine.sql") -> str:
    """A view file of somebody else."""
    path = tmp_path / name
    path.write_text(sql)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT response_id FROM responses; DROP VIEW responses", "one statement"),
        (f"WITH x AS ({COPY}) FROM x", "COPY"),
        (
            f"FROM json_execute_serialized_sql(json_serialize_sql($$WITH x AS ({COPY}) FROM x$$))",
            "may not be used",
        ),
        ("SELECT content AS response_id FROM read_text('{secret}')", "may not be used"),
        ("SELECT response_id FROM responses, '{secret}'", "Cannot access"),
    ],
)
def test_a_view_of_others_writes_and_reads_nothing(catalog, places, tmp_path, sql, problem):
    """`dasd-data build --view downloaded.sql` would run whatever it says."""
    path = view(
        tmp_path,
        sql.replace("{file}", str(places["file"])).replace("{secret}", str(places["secret"])),
    )
    before = tree(catalog.path)
    with pytest.raises(DasdError, match=problem):
        build(catalog, path)
    after = tree(catalog.path)
    after.pop(str(catalog.path / "verified.json"))
    assert after == before


@pytest.mark.slow
def test_a_view_of_others_stops_at_the_limits(catalog, tmp_path):
    """A view could return rows until the disk is full."""
    from dataclasses import replace

    catalog.config = replace(catalog.config, sql=SqlConfig("300MB", 3, "50MB"))
    path = tmp_path / "mine.sql"
    path.write_text(
        "/*\nkey = ['response_id', 'i']\n*/\n"
        "SELECT response_id, i FROM responses, range(100000000000) AS t(i)"
    )
    with pytest.raises(LimitError):
        build(catalog, str(path))
    assert not (catalog.path / "builds").exists()


def test_a_view_of_others_that_repeats_its_key_without_end_is_stopped_at_once(catalog, tmp_path):
    """Its rows would fill the disk of the process that started it, which has no limit."""
    path = view(tmp_path, "SELECT response_id FROM responses, range(100000000000)")
    with pytest.raises(ContractError, match=r"more rows than there are responses \(1\)"):
        build(catalog, path)
    wide = tmp_path / "wide.sql"
    wide.write_text("/*\nkey = ['response_id', 'i']\n*/\nSELECT response_id, 1 AS i FROM responses")
    session = catalog.session(catalog.find_view(str(wide)))
    assert session.limits.spill_limit == sandbox.DEFAULTS.spill_limit
    session.close()


def test_two_columns_of_one_name_are_an_error(catalog, tmp_path):
    """A split would hold a column that the view does not name."""
    path = view(tmp_path, "SELECT response_id, 1 AS n, 2 AS N FROM responses")
    with pytest.raises(ContractError, match="two columns named 'n'"):
        build(catalog, path)


def test_a_trusted_view_reads_other_files_and_is_never_taken_for_unchanged(catalog, tmp_path):
    """Own SQL could not use a file of one's own, or its change would go unseen."""
    (tmp_path / "keep.csv").write_text("id,n\na,1\n")
    sql = f"SELECT response_id, n FROM responses JOIN '{tmp_path}/keep.csv' ON id = response_id"
    path = view(tmp_path, sql)
    with pytest.raises(DeniedError):
        build(catalog, path)
    first = build(catalog, path, trusted=True)
    assert first.manifest["trusted"]
    (tmp_path / "keep.csv").write_text("id,n\na,2\n")
    second = build(catalog.refresh(), path, trusted=True)
    assert not second.unchanged
    assert [s["sha256"] for s in first.manifest["shards"]] != [
        s["sha256"] for s in second.manifest["shards"]
    ]


def test_trusted_sql_without_rows_gives_none(catalog, tmp_path):
    """No row would be shown as a row, or a split be built of columns that the view does not name."""
    with of_sql(catalog, "SELECT 1 AS a WHERE false", Variables(), trusted=True) as found:
        assert (found.schema.names, sum(map(len, found.batches))) == (["a"], 0)
    with pytest.raises(ContractError, match="chose no rows"):
        build(
            catalog, view(tmp_path, "SELECT response_id FROM responses WHERE false"), trusted=True
        )
    with (
        pytest.raises(UsageError, match="there is no statement"),
        of_sql(catalog, "-- nothing", Variables(), trusted=True),
    ):
        pass


def test_limits_come_from_the_settings(monkeypatch, tmp_path):
    """A limit in dasd.toml would be ignored, or a misspelt one taken for none."""
    from dasd_data import config
    from dasd_data.errors import ConfigError

    Path("dasd.toml").write_text('[sql]\nmemory_limit = "2GB"\ntime_limit = 30\n')
    assert config.load().sql == SqlConfig("2GB", 30, None)
    assert sandbox.limits(config.load().sql) == SqlConfig("2GB", 30, sandbox.DEFAULTS.spill_limit)
    monkeypatch.setenv("DASD_TIME_LIMIT", "7")
    assert config.load().sql.time_limit == 7
    for name, value in (("time_limit", "0"), ("memory_limit", "much"), ("spill_limit", "5%")):
        monkeypatch.setenv(f"DASD_{name.upper()}", value)
        with pytest.raises(ConfigError, match=name.upper()):
            config.load()
        monkeypatch.delenv(f"DASD_{name.upper()}")


def test_a_shipped_view_stops_at_the_time_limit(catalog):
    """`time_limit` would hold for views of others only."""
    from dataclasses import replace

    catalog.config = replace(catalog.config, sql=SqlConfig(time_limit=1))
    session = catalog.session()
    with pytest.raises(LimitError, match="time limit of 1 s"), session.timed():
        session.execute("CREATE TEMP TABLE t AS SELECT count(*) FROM range(10000000000000)")
    assert dasd_data.open(catalog.path).sql("SELECT 1").fetchall() == [(1,)]


SELECT = "SELECT response_id FROM responses"
NAMES = [
    "CON", "nul", "com1.x", "a b", "it's", 'a"b', "a;b", "a\nb", "a\x1b[31m", "x" * 65, "раypal",
    ".hidden", "dot.", "a\u202eb", "a/b", "",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_others_cannot_store_are_refused(catalog, tmp_path, name):
    """A data set would not clone on Windows, or a name would steer a path or a terminal."""
    if "/" not in name and name:
        with pytest.raises(ConfigError, match="cannot be its name"):
            build(catalog, view(tmp_path, SELECT, f"{name}.sql"))
    quoted = json.dumps(name)
    with pytest.raises(ConfigError, match="cannot be its name"):
        build(catalog, view(tmp_path, f"/*\nconfig = {quoted}\n*/\n{SELECT}"))


def test_a_view_that_is_not_there_is_no_path(catalog, tmp_path):
    """`--view ../secret` would read a file outside the catalog."""
    view(tmp_path, SELECT, "secret.sql")
    for name in ("../../secret", "", "/etc/passwd", "x" * 5_000):
        with pytest.raises(UnknownNameError):
            build(catalog, name)


def test_out_is_a_folder_that_others_can_have(catalog, tmp_path):
    """A split could not be copied to another machine."""
    for name in ("CON", "a\nb", "a:b", "dot."):
        with pytest.raises(UsageError, match="no name for a folder"):
            build(catalog, "low_t_das", out=tmp_path / name)


@pytest.mark.parametrize(
    "front",
    [
        "a = " + "[" * 5_000 + "]" * 5_000,
        "# " + "x" * 2_000_000,
        "description = 1",
        "key = 'response_id'",
        "key = []",
        "key = ['']",
        "config = 'a\\u001b'",
        "parameters = 1",
        "[parameters]\nx = 1",
        "[parameters]\n'x y' = { type = 'text' }",
        "[parameters]\nfilters = { type = 'text' }",
        "[parameters]\nteacher_error = { type = 'text' }",
        "[parameters]\nbeta = { type = 'text', default = 'x' }",
        "[parameters]\nx = { type = 'number', default = 'y' }",
        "[parameters]\nx = { type = 'number', minimum = 'y' }",
        "[parameters]\nx = { type = 'text', choices = 'y' }",
        "[parameters]\nx = { type = 'number', default = 0.1, choices = ['a'] }",
        "[parameters]\nx = { type = 'text', default = 'y', minimum = 1 }",
        "[parameters]\nx = { type = 'choice' }",
    ],
)
def test_hostile_front_matter_is_an_error_with_the_file(catalog, tmp_path, front):
    """A view could crash the program, or change what a parameter of ours means."""
    with pytest.raises(UsageError, match=r"mine\.sql"):
        build(catalog, view(tmp_path, f"/*\n{front}\n*/\n{SELECT}"))


def test_columns_and_values_are_quoted_wherever_they_go(catalog, tmp_path):
    """A column's name, or a parameter's value, would be run as SQL."""
    import pyarrow.parquet as pq

    name, value = 'a"b; DROP VIEW responses --', "it's; DROP VIEW responses --"
    front = f"key = ['response_id', '{name}']\n[parameters]\nx = {{ type = 'text' }}"
    quoted = name.replace('"', '""')
    path = view(
        tmp_path,
        f"/*\n{front}\n*/\nSELECT response_id, getvariable('x') AS \"{quoted}\" FROM responses",
    )
    made = build(catalog, path, {"x": value})
    (shard,) = (made.path / "data").glob("*.parquet")
    assert pq.read_table(shard)[name].to_pylist() == [value]


@pytest.mark.parametrize("value", ["'nan'::DOUBLE", "'nan'::FLOAT"])
def test_a_key_is_never_nan(catalog, tmp_path, value):
    """Rows could not be found again by a key that differs from itself."""
    sql = f"/*\nkey = ['response_id', 'k']\n*/\nSELECT response_id, {value} AS k FROM responses"
    with pytest.raises(ContractError, match="has NaNs"):
        build(catalog, view(tmp_path, sql))


def test_catalogs_have_any_name_that_delta_can_store(tmp_path):
    """A catalog would be made that no command can open."""
    for name in ("it's", 'a"b', "x[1]*?", "a b;c", "{x}"):
        made = dasd_data.create(tmp_path / name / name)
        assert made.sql("SELECT count(*) FROM snapshots").fetchall() == [(1,)]
        os.chdir(tmp_path / name)
        assert dasd_data.open().path == made.path
    for name in ("a\nb", "a%41", "a\\b", "a\x1bb"):
        with pytest.raises(UsageError, match="cannot be the path of a catalog"):
            dasd_data.create(tmp_path / name)
