"""The command line: help, errors, exit codes, and what goes to stdout."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dasd_data import __version__
from dasd_data.cli import cli

COMMANDS = (
    "init", "build", "push", "export", "index", "test", "plan", "diff", "reproduce", "docs", "why", "sql", "views", "show", "status", "doctor", "completion",
    "snapshots", "verify", "compact", "gc",
    "collect", "filter", "ingest", "sample", "score", "segment", "select",
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
    assert done.stdout.splitlines() == ['"response_id","l","t"', '"a","[1,2]","a,b"']


def test_every_type_has_a_form_in_csv_json_and_a_table(catalog):
    """A column of a rarer type would end as a defect of ours."""
    types = {
        "union_value(a := 1)": ('"1"', 1),
        "union_value(a := 'x')": ('"""x"""', "x"),
        "{'u': union_value(a := 1)}": ('"{""u"":1}"', {"u": 1}),
        "map {'k': [1, NULL]}": ('"{""k"":[1,null]}"', {"k": [1, None]}),
        "INTERVAL 1 DAY": ('"1 day"', "1 day"),
        "'101'::BIT": ('"101"', "101"),
        "'12'::BIGNUM": ('"12"', "12"),
        "1.50::DECIMAL(9, 2)": ("1.50", 1.5),
    }
    query = "SELECT " + ", ".join(types)
    csv = run("sql", f"SELECT * FROM ({query}) AS t({', '.join('abcdefgh')})", "--csv").stdout
    header = ",".join(f'"{name}"' for name in "abcdefgh")
    assert csv.splitlines() == [header, ",".join(form for form, _ in types.values())]
    (row,) = json.loads(run("sql", query, "--json").stdout)
    assert list(row.values()) == [value for _, value in types.values()]
    assert run("sql", query).returncode == 0
    none = run("sql", "SELECT union_value(a := 1) AS u WHERE false", "--csv")
    assert (none.returncode, none.stdout) == (0, '"u"\n')
    endless = run("sql", "SELECT 'infinity'::DATE AS d", "--json")
    assert (endless.returncode, "cast it to VARCHAR" in endless.stderr) == (2, True)


def test_model_output_cannot_steer_the_terminal(catalog):
    """A response with escape codes or markup would repaint the screen, or vanish."""
    done = run("sql", "SELECT text FROM questions")
    assert "What is [b]1+1[/b]?\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout


HIDDEN = ["\x1b[31m", "\x9b1m", "\x07", "\u202e", "\u2066", "\u200b", "\ufeff", "\r", "\x7f"]


def test_control_characters_are_spelled_out_everywhere(catalog):
    """A name, an error or JSON could repaint the screen, or show text in another order."""
    from dasd_data.cli.tables import printable, visible_json

    text = "a\tb\n😀" + "".join(HIDDEN)
    shown = printable(text)
    assert shown.startswith("a\tb\n😀\\x1b[31m\\x9b1m\\x07\\u202e\\u2066\\u200b\\ufeff\\r\\x7f")
    escaped = visible_json(json.dumps({"a": text, "b": "\U000e0001"}, ensure_ascii=False))
    assert escaped.isprintable()
    assert json.loads(escaped) == {"a": text, "b": "\U000e0001"}
    for arguments in (
        ["build", "--view", "x\x1b[31m[red]"],
        ["build", "--bad\x1b[31m"],
        ["build", "--view", "low_t_das", "--set", "be\x1b[31mta=1"],
        ["sql", "SELECT error(chr(27) || '[31m[red]')"],
        ["x\x1b[31m"],
        ["status", "--catalog", "no\x1b[31m"],
    ):
        done = run(*arguments)
        assert done.returncode == 2
        assert "\x1b" not in done.stderr + done.stdout
        assert "\\x1b[31m" in done.stderr


def test_columns_of_one_name_are_all_there(catalog):
    """The second column would take the place of the first."""
    query = 'SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS "A"'
    names = ["a", "a_2_", "a_2", "A"]
    table = run("sql", query).stdout.splitlines()
    assert table[0].replace(" ", "").split("┃") == names
    assert table[2].replace(" ", "").split("│") == ["1", "2", "3", "4"]
    (row,) = json.loads(run("sql", query, "--json").stdout)
    assert row == dict(zip(names, [1, 2, 3, 4], strict=True))
    assert run("sql", query, "--csv").stdout.splitlines() == ['"a","a_2_","a_2","A"', "1,2,3,4"]


def test_a_long_result_comes_whole_or_says_that_it_does_not(catalog):
    """Rows would be missing in silence, or the whole result be held in memory."""
    query = "SELECT range AS n FROM range(5000)"
    done = run("sql", query)
    assert "only the first 1,000 rows" in done.stderr
    assert [r["n"] for r in json.loads(run("sql", query, "--json").stdout)] == [*range(5000)]
    assert run("sql", query, "--csv").stdout.split() == ['"n"', *map(str, range(5000))]
    assert run("sql", "SELECT 1 AS n WHERE false", "--json").stdout == "[]\n"
    long = "SELECT repeat('x', 200_000) AS a, [repeat('y', 200_000)] AS b, 1 AS c"
    done = run("sql", long)
    assert "2 values cut at 100,000 letters" in done.stderr
    assert (done.stdout.count("x"), done.stdout.count("y")) == (100_000, 100_000 - 1)
    (row,) = json.loads(run("sql", long, "--json").stdout)
    assert (len(row["a"]), len(row["b"][0])) == (200_000, 200_000)


def test_csv_comes_as_the_rows_do(catalog):
    """A pipe would wait for the last row, and all rows be held in memory."""
    code = "from dasd_data.cli import main; main()"
    query = "SELECT range AS n, md5(range::VARCHAR) AS x FROM range(100000000000)"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "sql", query, "--csv"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "DASD_TIME_LIMIT": "30"},
    )  # fmt: skip
    with child, child.stdout:
        assert [child.stdout.readline()[:3] for _ in range(3)] == ['"n"', '0,"', '1,"']


def test_a_limit_and_own_sql_have_their_exit_codes(catalog, tmp_path):
    """A script could not tell a limit from a mistake."""
    endless = run("sql", "FROM range(1000000000000) AS t(i) WHERE i < 0",
                  env={**os.environ, "DASD_TIME_LIMIT": "1"})  # fmt: skip
    assert (endless.returncode, "raise time_limit" in endless.stderr) == (6, True)
    (tmp_path / "own.csv").write_text("a\n1\n")
    assert run("sql", f"FROM '{tmp_path}/own.csv'").returncode == 6
    own = run("sql", f"FROM '{tmp_path}/own.csv'", "--trusted", "--json")
    assert (own.returncode, json.loads(own.stdout)) == (0, [{"a": 1}])
    assert "--trusted" in own.stderr


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
        (["sql", "FROM df"], 6, "SQL here reads nothing else; there is announced, "),
        (["sql", "--trusted", "FROM df"], 2, "no table or view named 'df'"),
        (["sql", "DROP TABLE responses"], 6, "only SELECT"),
        (["sql", "SELECT 1; SELECT 2"], 6, "one statement"),
        (["sql", "SELECT 1", "--csv", "--json"], 2, "choose one"),
        (["sql", "SELECT * FROM read_text('/etc/hostname')"], 6, "read_text() may not be used"),
        (["sql", "COPY responses TO 'stolen.csv'"], 6, "only SELECT"),
        (["show", "respnses"], 2, "did you mean 'responses'"),
        (["biuld"], 2, "did you mean 'build'"),
        (["build", "--veiw", "low_t_das"], 2, "Did you mean '--view'"),
        (["build", "--view", "low_t_das", "--set"], 2, "requires an argument"),
        (["build", "--view", "low_t_das", "--set", "teacher=techer"], 2, "did you mean 'teacher'"),
        (["filter", "--only", "lenght"], 2, "did you mean 'length'"),
        (["sql", "SELECT 1", "--threads", "0"], 2, "--threads"),
        (["status", "--catalog", "dasd.toml"], 2, "is a file: a catalog is a folder"),
        (["score", "--model", "a/b/c", "--name", "x"], 2, "no model at 'a/b/c'"),
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


def test_a_view_cannot_take_the_name_of_a_table(catalog):
    """`show responses` would show another thing than `sql` reads."""
    for name in ("responses", "Ranked", "folder"):
        (catalog.path / "views" / f"{name}.sql").write_text("SELECT response_id FROM responses")
    (catalog.path / "views" / "gone.sql").symlink_to("nowhere")
    assert "sampling temperature" in run("show", "responses").stdout
    for name in ("responses", "Ranked"):
        done = run("build", "--view", name)
        assert (done.returncode, f"{name} is a table or view" in done.stderr) == (2, True)
    done = run("views", "--json")
    about = {row["name"]: row["about"] for row in json.loads(done.stdout) if row["kind"] == "split"}
    told = {name for name, text in about.items() if text.startswith("cannot be used")}
    assert (told, "folder" in about) == ({"responses", "Ranked", "gone"}, True)
    doctor = json.loads(run("doctor", "--json").stdout)["checks"]
    assert sum(row["check"] == "views" for row in doctor) == 3


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


COMPETITOR = """
from dasd_data import store, tables
tables.ATTEMPTS, busy, made = 2, [], store.Store.__init__
def competing(self, path, *rest):
    def other(step):
        if step == "snapshots: written" and not busy:
            busy.append(1)
            store.Store(path).record("another writer")
            busy.clear()
    made(self, path, other)
store.Store.__init__ = competing
"""


def test_a_conflict_that_cannot_be_won_is_exit_code_4(catalog, command):
    """A script could not tell that trying again would help."""
    done = command("build", "--view", "low_t_das", before=COMPETITOR)
    assert (done.returncode, "try again" in done.stderr) == (4, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["filter", "--tokenizer", "some/model"], ["score", "--model", "some/model", "--name", "x"]],
)
def test_a_hub_that_is_not_reached_is_exit_code_5(catalog, command, arguments):
    """A network failure would pass for a wrong name."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(Path.cwd())}
    done = command(*arguments, env=env)
    assert done.returncode == 5
    assert "the Hub did not give it" in done.stderr


@pytest.mark.slow
def test_a_closed_port_is_exit_code_5(catalog, command):
    """The client's own exceptions would end in a stack trace."""
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(Path.cwd())}
    done = command("filter", "--tokenizer", "some/model", env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)


def test_an_interruption_is_exit_code_130(catalog):
    """A pipeline would go on after Ctrl-C."""
    code = (
        "import sys, types\nfrom dasd_data.cli import main\nread = sys.stdin.read\n"
        "sys.stdin = types.SimpleNamespace(read=lambda: print('up', flush=True) or read())\n"
        "main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "sql", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "up\n"  # it waits for the query, which never comes
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, "Traceback" in told) == (130, False)
    assert "interrupted" in told


def test_a_defect_is_one_line_and_debug_gives_the_trace(catalog, command):
    """Users would face a stack trace, or none when one is asked for."""
    before = "import dasd_data; dasd_data.open = lambda *a, **k: 1 / 0"
    done = command("status", before=before)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "ZeroDivisionError" in done.stderr
    assert "DASD_DEBUG=1" in done.stderr
    traced = command("status", before=before, env={**os.environ, "DASD_DEBUG": "1"})
    assert "Traceback" in traced.stderr


def test_a_forked_process_is_told_to_be_spawned(catalog):
    """A data loader's worker would say that the catalog is damaged, to be restored."""
    code = (
        "import dasd_data, os\nfound = dasd_data.open()\nfound.files\n"
        "if not os.fork():\n"
        "    try:\n        found.refresh().files\n"
        "    except dasd_data.DasdError as error:\n        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert "get_context('spawn')" in done.stdout
    assert "backup" not in done.stdout


def test_a_reader_that_leaves_and_a_full_disk_end_in_order(catalog, command):
    """`| head` would end a pipeline as failed; a result cut short would pass for whole."""
    for arguments in (
        ["views"],
        ["status", "--json"],
        ["show", "ranked"],  # its SQL is not a table
        ["sql", "FROM range(100000)", "--csv"],
        ["sql", "FROM range(100000)", "--json"],
        ["build", "--view", "low_t_das", "--explain"],
        ["--help"],
    ):
        read, write = os.pipe()
        os.close(read)
        gone = command(*arguments, capture_output=False, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        assert (gone.returncode, "rror" in gone.stderr) == (0, False), arguments
    with Path("/dev/full").open("w") as full:
        done = command("views", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, "No space left" in done.stderr) == (3, True)


def test_a_catalog_that_may_not_be_written_says_so(catalog):
    """A missing permission would be a stack trace of a library."""
    as_other = []
    if os.getuid() == 0:  # root may write everywhere, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root without setpriv")
        as_other = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    code = "from dasd_data.cli import main; main()"
    arguments = [*as_other, sys.executable, "-c", code, "build", "--view", "low_t_das"]
    catalog.path.chmod(0o555)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    catalog.path.chmod(0o755)
    assert done.returncode == 2
    assert "ermission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_has_numbers_times_and_no_nan(catalog, command):
    """`jq` would stop at NaN, and sums would be texts."""
    query = (
        "SELECT 'nan'::DOUBLE AS n, 12345678901234567890::HUGEINT AS h, 1.50::DECIMAL(9, 2) AS d,"
        " TIMESTAMPTZ '2026-01-02 03:04:05+00' AS t, '\\x00a'::BLOB AS b, MAP {'x': 1} AS m,"
        " INTERVAL 3 DAY AS i, 1 AS twice, 2 AS twice"
    )
    done = command("sql", query, "--json")
    (row,) = json.loads(done.stdout, parse_constant=pytest.fail)
    assert row == {
        "n": None, "h": 12345678901234567890, "d": 1.5, "t": "2026-01-02T03:04:05Z", "b": "AGE=",
        "m": {"x": 1}, "i": "3 days", "twice": 1, "twice_9": 2,
    }  # fmt: skip
    assert command("sql", query, "--csv").returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_imports_nothing_heavy(command, name):
    """Looking an option up would take seconds."""
    before = (
        "import atexit, os, sys\nheavy = {'torch', 'duckdb', 'numba', 'transformers', 'polars'}\n"
        "atexit.register(lambda: heavy & set(sys.modules) and os._exit(9))"
    )
    assert command(name, "--help", before=before).returncode == 0


def test_threads_are_those_of_the_flag_then_the_variable_then_the_file(catalog, command):
    """A shared machine would be taken whole in spite of a setting."""
    Path("dasd.toml").write_text('catalog = "dasd.catalog"\nthreads = 3\n')
    query = ("sql", "SELECT current_setting('threads') AS n", "--json", "--trusted")
    env = {**os.environ, "DASD_THREADS": "2"}
    found = [
        json.loads(command(*query, *more, env=e).stdout)[0]["n"]
        for more, e in ((["--threads", "1"], env), ([], env), ([], os.environ))
    ]
    assert found == [1, 2, 3]
    Path("dasd.toml").write_text("threads = 0\n")
    assert "threads must be a positive number" in command(*query).stderr


def test_at_opens_an_older_state_on_every_reading_command(catalog, add, response):
    """A state could be named in one command and not in the next."""
    add(catalog, response("b", question="later", scores=SCORES))
    count = "SELECT count(*) FROM responses"
    assert json.loads(run("sql", count, "--json").stdout) == [{"count_star()": 2}]
    assert json.loads(run("sql", count, "--json", "--at", "2").stdout) == [{"count_star()": 1}]
    assert json.loads(run("sql", count, "--json", "--at", "-1", "--verify").stdout) == [
        {"count_star()": 1}
    ]
    assert json.loads(run("status", "--json", "--at", "2").stdout)["snapshot"] == 2
    for command in (["views"], ["show", "responses"]):
        assert run(*command, "--json", "--at", "1").returncode == 0
    made = run("build", "--view", "low_t_rs", "--dry-run", "--json", "--at", "2")
    assert json.loads(made.stdout)["rows"] == 1
    assert json.loads(made.stdout)["snapshot_id"] == 2
    failed = run("status", "--at", "9")
    assert failed.returncode == 2
    assert "there is no snapshot 9: there are 1 to 3" in failed.stderr
    listed = json.loads(run("snapshots", "--json").stdout)
    assert [row["snapshot"] for row in listed] == [1, 2, 3]
    assert listed[2]["added"]["responses"] == 1


def test_sql_verify_refuses_a_flipped_bit(catalog):
    """Wrong rows would be printed as if they were right."""
    (path,) = catalog.files["responses"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    failed = run("sql", "SELECT count(*) FROM responses", "--verify")
    assert failed.returncode == 3
    assert path.name in failed.stderr


def test_status_suggests_compact_where_files_are_many(catalog, monkeypatch):
    """Scans would get slower and slower, and nobody would know why."""
    from click.testing import CliRunner

    monkeypatch.setattr("dasd_data.compact.MANY_FILES", 0)
    done = CliRunner().invoke(cli, ["status"])
    assert "dasd-data compact" in done.stderr
    monkeypatch.setattr("dasd_data.compact.MANY_FILES", 1)
    assert "dasd-data compact" not in CliRunner().invoke(cli, ["status"]).stderr


def test_compact_and_gc_say_what_they_did(catalog, add, response):
    """A user would not know whether anything happened."""
    add(catalog, response("b", question="later", scores=SCORES))
    done = run("compact", "responses", "--json")
    assert [(r["table"], r["before"], r["files"]) for r in json.loads(done.stdout)] == [
        ("responses", 2, 1)
    ]
    assert "nothing to compact" in run("compact", "responses").stderr
    assert "did you mean 'responses'" in run("compact", "response").stderr
    gone = run("gc", "--dry-run", "--expire-before", "3")
    assert "2 snapshots would be expired: there would be 3 to 4" in gone.stderr
    assert "nothing was changed" in gone.stderr
    assert run("sql", "FROM responses", "--at", "1").returncode == 0
    assert "2 snapshots expired: there are 3 to 5" in run("gc", "--expire-before", "3").stderr
    assert "expired by gc on" in run("sql", "FROM responses", "--at", "1").stderr


def test_the_package_runs_as_a_module():
    """Where its script is not on the path there would be no command."""
    asked = [sys.executable, "-m", "dasd_data", "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == f"dasd-data, version {__version__}\n"
