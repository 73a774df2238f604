"""Which functions and system views SQL of others may name.

DuckDB's own lock stops files, settings and extensions, but not everything: in 2.0.0
`json_execute_serialized_sql` runs a statement outside the view that holds it, and so overwrites a
file that may be read. Table functions are therefore allowed by name; what is new is refused until
it was looked at; `histogram` names the table it reads in a string, which no build could check.
Scalar functions compute, but for the few below.
"""

from __future__ import annotations

import duckdb

from dasd_data.errors import DeniedError, UsageError

TABLE_FUNCTIONS = frozenset({
    "duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_tables", "duckdb_types",
    "duckdb_variables", "generate_series", "icu_calendar_names", "json_each", "json_tree",
    "pg_timezone_names", "pragma_table_info", "pragma_version", "range", "repeat", "repeat_row",
    "unnest",
})  # fmt: skip
# They wait, log, keep state, run other statements or tell paths of this machine; the `get_` ones
# are macros over table functions that are refused.
REFUSED_FUNCTIONS = frozenset({
    "current_setting", "currval", "get_block_size", "json_serialize_plan", "nextval",
    "pg_get_viewdef", "pg_sleep", "setseed", "setval", "sleep_ms", "write_log",
})  # fmt: skip
# Their SQL texts hold the paths of the catalog's files.
REFUSED_TABLES = frozenset({
    "duckdb_views", "pg_settings", "pg_views", "sqlite_master", "sqlite_schema",
    "sqlite_temp_master", "sqlite_temp_schema",
})  # fmt: skip

# Another value in every query, in every session, or at another number of threads: `stability` in
# duckdb_functions() and, from `age` on, which counts from today where it has one argument, what
# DuckDB 2.0.0 leaves out there. The `approx_` ones and those after them are sketches.
VARYING_FUNCTIONS = frozenset({
    "current_connection_id", "current_query", "current_query_id", "current_transaction_id",
    "current_date", "gen_random_uuid", "get_current_time", "get_current_timestamp", "now",
    "random", "stats", "today", "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7",
    "vector_type",
    "age", "ago", "current_localtime", "current_localtimestamp", "pg_conf_load_time",
    "pg_postmaster_start_time", "pg_timezone_names",
    "approx_quantile", "approx_top_k", "lttb", "reservoir_quantile",
})  # fmt: skip
# The same without parentheses; `current_date.year()` is parsed as a function of a schema.
VARYING_WORDS = frozenset({
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp",
})  # fmt: skip

# What the parser, and not a search in the text, finds named in a SELECT.
_NAMES = """\
SELECT
    tree ->> '$.error_message',
    json_extract_string(tree, '$..function.function_name'),
    json_extract_string(tree, '$..function_name'),
    json_extract_string(tree, '$..table_name'),
    json_extract_string(tree, '$..schema_name'),
    json_extract(tree, '$..column_names[0]')::VARCHAR[],
    list_contains(json_extract_string(tree, '$..sample.repeatable'), 'false'),
    json_extract_string(tree, '$..show_type'),
    json_extract_string(tree, '$..schema'),
    json_extract_string(tree, '$..cte_map.map[*].key')
FROM (SELECT json_serialize_sql(?::VARCHAR) AS tree)
"""


def check(
    connection: duckdb.DuckDBPyConnection, sql: str, *, repeatable: bool = False
) -> list[str]:
    """Check the names in one SELECT; those it has for parts of itself, with WITH.

    Raises DeniedError naming what is refused.

    `repeatable`: it may not ask for chance or the time either.
    """
    if "\0" in sql:  # the parser would stop there
        raise UsageError("a NUL character cannot be part of SQL")
    row = connection.execute(_NAMES, [sql]).fetchone()
    assert row is not None
    problem, table_functions, functions, tables, schemas, columns, sampled, shows, owners, own = row
    if problem:
        raise DeniedError(f"this SQL cannot be checked, and so not run: {problem}")
    views = {"views"} if "information_schema" in map(str.lower, schemas) else set()
    refused = sorted(
        {f"{name}()" for name in map(str.lower, table_functions) if name not in TABLE_FUNCTIONS}
        | {f"{name}()" for name in map(str.lower, functions) if name in REFUSED_FUNCTIONS}
        | {name for name in map(str.lower, tables) if name in REFUSED_TABLES | views}
        | (_settings(connection, tables) if "SHOW" in shows else set())
    )
    if refused:
        raise DeniedError(
            f"{', '.join(refused)} may not be used here: SQL reads the catalog's tables and views; "
            "for SQL of your own, pass --trusted"
        )
    if repeatable:
        _check_repeatable([*functions, *table_functions], [*columns, *owners], sampled, shows)
    return list(map(str, own))


def _settings(connection: duckdb.DuckDBPyConnection, names: list[str]) -> set[str]:
    """What SHOW gives the values of settings for, and not the columns of a table."""
    sql = "SELECT unnest(list_append(aliases, name)) FROM duckdb_settings()"
    known = {name.lower() for (name,) in connection.execute(sql).fetchall()}
    return {f"SHOW {name}" for name in map(str.lower, names) if name in known}


def _check_repeatable(
    functions: list[str], words: list[str], sampled: bool, shows: list[str]
) -> None:
    varying = {f"{name}()" for name in map(str.lower, functions) if name in VARYING_FUNCTIONS}
    varying |= VARYING_WORDS & {word.strip('"').lower() for word in words}
    varying |= {"a sample without REPEATABLE (seed)"} if sampled else set()
    varying |= {"SHOW" if s.startswith("SHOW") else "SUMMARIZE" for s in shows if s != "DESCRIBE"}
    if varying:
        raise DeniedError(
            f"{', '.join(sorted(varying))} may not be used in a view: a build gives the same rows "
            "each time; ORDER BY seeded(seed, response_id) orders rows at random"
        )
