"""The command line: help, errors, exit codes, and what goes to stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dasd_data.cli import cli

COMMANDS = (
    "init", "build", "sql", "why", "views", "show", "status",
    "filter", "ingest", "score", "segment", "select",
)  # fmt: skip
ROOT = Path(__file__).parents[1]
SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


def run(*arguments, **more):
    """Run the command in a process of its own."""
    code = "from dasd_data.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, **more,
    )  # fmt: skip


@pytest.fixture
def catalog(made, response):
    """A catalog at ./dasd.catalog with one question."""
    return made(response("a", question="What is [b]1+1[/b]?\x1b[31m", scores=SCORES))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(name):
    """A command could not be found, or not understood."""
    import click

    command = cli.get_command(click.Context(cli), name)
    assert command.help
    assert all(o.help for o in command.params if isinstance(o, click.Option))
    assert f"dasd-data {name}" in (ROOT / "README.md").read_text()


def test_the_list_of_commands_is_complete():
    """A stage that is installed would not be offered."""
    import click

    assert sorted(cli.list_commands(click.Context(cli))) == sorted(COMMANDS)


def test_help_imports_nothing_heavy():
    """`--help` would take seconds."""
    code = (
        "import sys; from dasd_data.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'duckdb', 'numba', 'pyarrow', 'polars', 'numpy', 'transformers'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_public_names_are_these():
    """A notebook would break on an upgrade."""
    import dasd_data

    names = ["Catalog", "DasdError", "__version__", "create", "open"]
    assert dasd_data.__all__ == names
    assert all(getattr(dasd_data, name) for name in names)


def test_the_error_tree_is_the_one_that_is_drawn():
    """The documented exit codes would not be those of the program."""
    import re

    from dasd_data import errors

    drawn = re.findall(r"(\w+Error)\b(?: \((\w+)\))?(?: +exit (\d))?", errors.__doc__)
    for name, standard, code in drawn:
        if name in {"ValueError", "LookupError", "ImportError", "RuntimeError", "OSError"}:
            continue
        cls = getattr(errors, name)
        assert issubclass(cls, errors.DasdError)
        if standard:
            assert standard in {base.__name__ for base in cls.__mro__}
        if code:
            assert cls.exit_code == int(code)


def test_json_is_alone_on_stdout(catalog):
    """`--json | jq` would fail on a stray line."""
    done = run("build", "--view", "low_t_das", "--json")
    manifest = json.loads(done.stdout)
    assert (done.returncode, manifest["rows"]) == (0, 1)
    assert json.loads(run("status", "--json").stdout)["snapshot"] == 3
    assert json.loads(run("views", "--json").stdout)[0]["kind"] == "split"
    rows = json.loads(run("sql", "SELECT response_id FROM responses", "--json").stdout)
    assert rows == [{"response_id": "a"}]


def test_csv_is_csv(catalog):
    """A spreadsheet could not read the result."""
    done = run("sql", "SELECT response_id, [1, 2] AS l, 'a,b' AS t FROM responses", "--csv")
    assert done.stdout.splitlines() == ['"response_id","l","t"', '"a","[1, 2]","a,b"']


def test_model_output_cannot_steer_the_terminal(catalog):
    """A response with escape codes or markup would repaint the screen, or vanish."""
    done = run("sql", "SELECT text FROM questions")
    assert "What is [b]1+1[/b]?\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout


def test_settings_of_a_view_reach_the_query(catalog):
    """`--set` would have no effect on ad-hoc SQL."""
    query = "SELECT label FROM sentence_pairs LIMIT 1"
    assert "teacher" in run("sql", query).stdout
    assert "shared" in run("sql", query, "--set", "beta=0.5").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sql", "SELECT 1", "--catalog", "nowhere"], 2, "run `dasd-data init nowhere`"),
        (["build", "--view", "low_t_dsa"], 2, "did you mean 'low_t_das'"),
        (["build", "--view", "low_t_das", "--set", "bta=1"], 2, "did you mean 'beta'"),
        (["build", "--view", "low_t_das", "--set", "beta"], 2, "is not NAME=VALUE"),
        (["build", "--view", "high_t_das"], 3, "chose no rows"),
        (["sql", "SELECT answr FROM responses"], 2, "did you mean 'answer'"),
        (["sql", "SELECT * FROM response"], 2, "did you mean 'responses'"),
        (["sql", "DROP TABLE responses"], 6, "only SELECT"),
        (["sql", "SELECT 1; SELECT 2"], 6, "one statement"),
        (["sql", "SELECT * FROM read_text('/etc/hostname')"], 6, "disabled by configuration"),
        (["sql", "COPY responses TO 'stolen.csv'"], 6, "only SELECT"),
        (["show", "respnses"], 2, "did you mean 'responses'"),
        (["biuld"], 2, "did you mean 'build'"),
        (["ingest", "nothing.jsonl"], 2, "nothing.jsonl"),
        (["filter"], 2, "pass --tokenizer"),
        (["init", "dasd.toml"], 2, "is a file"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(catalog, arguments, code, message):
    """A mistake would end in a stack trace, or with exit code 0."""
    done = run(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_is_an_error_that_names_the_file(catalog):
    """A misspelt setting would be ignored."""
    Path("dasd.toml").write_text('catalgo = "x"\n')
    done = run("status")
    assert done.returncode == 2
    assert "no setting named 'catalgo'; did you mean 'catalog'" in done.stderr
    assert "dasd.toml" in done.stderr


def test_an_unknown_variable_is_an_error(catalog):
    """DASD_CATALOGUE would be ignored, and another catalog used."""
    done = run("status", env={**os.environ, "DASD_CATALOGUE": "x"})
    assert done.returncode == 2
    assert "did you mean 'DASD_CATALOG'" in done.stderr


def test_the_catalog_is_found_by_flag_variable_and_nearest_file(catalog, tmp_path):
    """Commands in a subfolder would make a second catalog."""
    inner = tmp_path / "notebooks" / "deep"
    inner.mkdir(parents=True)
    assert run("status", "--json", cwd=inner).returncode == 0
    other = {**os.environ, "DASD_CATALOG": str(tmp_path / "other.catalog")}
    assert run("status", env=other, cwd=inner).returncode == 2
    assert run("status", "--catalog", catalog.path, env=other, cwd=inner).returncode == 0


def test_aliases_of_dasd_toml_name_the_scorers(catalog):
    """Roles could not be given to models without another scoring run."""
    text = Path("dasd.toml").read_text()
    Path("dasd.toml").write_text(text.replace("[scorers]", '[scorers]\nteacher = "student-model"'))
    done = run("sql", "SELECT DISTINCT label FROM sentence_pairs", "--json")
    assert json.loads(done.stdout) == [{"label": "shared"}]


def test_show_prints_columns_with_comments_and_views_with_parameters(catalog):
    """A column's meaning could not be looked up."""
    table = run("show", "responses").stdout
    assert "sampling temperature" in table
    split = run("show", "low_t_das").stdout
    assert "rank_by" in split
    assert "FROM split" in split
    assert "min_tokens" in run("show", "responses_scored").stdout


def test_the_query_may_come_from_standard_input(catalog):
    """A long query could not be piped in."""
    done = run("sql", "-", "--json", input="SELECT count(*) AS n FROM responses")
    assert json.loads(done.stdout) == [{"n": 1}]


def test_a_reader_keeps_its_snapshot_while_another_process_writes(catalog, response, add):
    """A notebook would see numbers change between two cells, or wait for a lock."""
    reader = catalog
    count = "SELECT count(*) FROM responses"
    relation = reader.sql(count)
    add(catalog, response("b", question="Other?", scores=SCORES))
    assert reader.sql(count).fetchall() == [(1,)]
    assert reader.refresh().sql(count).fetchall() == [(2,)]
    assert relation.fetchall() == [(1,)]


def test_results_come_as_polars_pandas_and_arrow(catalog):
    """A notebook could not go on with the result."""
    result = catalog.sql("SELECT response_id, temperature FROM responses")
    assert result.pl().rows() == [("a", 0.6)]
    assert result.df()["temperature"].tolist() == [0.6]
    assert result.to_arrow_table().to_pylist() == [{"response_id": "a", "temperature": 0.6}]
