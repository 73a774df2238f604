"""Contracts: what each check finds, that a build stops at it, and what they may not do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest
from click.testing import CliRunner

from dasd_data.build import build as _build
from dasd_data.cli import cli
from dasd_data.config import SqlConfig
from dasd_data.contract.messages import Messages
from dasd_data.contract.run import test as check
from dasd_data.contract.template import Template, template_text
from dasd_data.errors import ConfigError, ContractError, DeniedError, LimitError, UnknownNameError

build = partial(_build, robustness="off")

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}
PASSED = dict.fromkeys(("length", "structure", "completeness", "repetition", "cjk"), True)


@pytest.fixture
def catalog(made, response):
    """Three questions in two domains."""
    return made(
        response("a", question="A", scores=SCORES),
        response("b", question="B", scores=SCORES),
        response("c", question="C", domain="code", scores=SCORES),
    )


@pytest.fixture
def view(catalog):
    """view(sql, contract): the name of a view of the catalog's own with this contract, as TOML."""

    def write(sql, contract):
        path = catalog.path / "views" / "mine.sql"
        path.write_text(f'/*\ndescription = "Mine"\n[contract]\n{contract}\n*/\n{sql}')
        return "mine"

    return write


def failures(outcomes):
    """(check, number, sample) of what failed."""
    return [(o.check, o.failed, o.sample) for o in outcomes if not o.passed]


@pytest.mark.parametrize("name", ["high_t_das", "high_t_rs", "low_t_das", "low_t_rs", "select"])
def test_shipped_views_keep_their_contract(made, response, name):
    """A build of a sound catalog would be refused, or one of a broken view would not."""
    temperature = 1.0 if name.startswith("high") else 0.6
    catalog = made(response("a", temperature=temperature, scores=SCORES))
    found = check(catalog, name)
    assert failures(found) == []
    checks = {o.check for o in found}
    assert {"budget", "candidates", "filters", "sampling", "range", "types", "messages"} <= checks


def test_a_rule_of_a_column_finds_the_rows_that_break_it(catalog, view):
    """Values that are out of bounds would be trained on, or good ones be refused."""
    sql = """
        SELECT 'a' AS response_id, 3 AS above, 3 AS below, 3 AS other, NULL::DOUBLE AS gone,
            'nan'::DOUBLE AS nan_above, 'nan'::DOUBLE AS nan_below, 'x' AS word,
            3 AS within, 'x' AS same, NULL::DOUBLE AS unknown, 3 AS whole, 3 AS alone
    """
    rules = """
        above = { maximum = 2 }
        below = { minimum = 4 }
        other = { values = [1, 2] }
        gone = { not_null = true }
        nan_above = { minimum = 0 }
        nan_below = { maximum = 9 }
        word = { values = ['y'] }
        within = { minimum = 3, maximum = 3, values = [3] }
        same = { values = ['x'] }
        unknown = { minimum = 0, values = [1] }
        whole = { type = 'int' }
        alone = { unique = true }
    """
    found = check(catalog, view(sql, f"[contract.columns]\n{rules}"), trusted=True)
    failed = [(o.check, o.failed, *(k for k in o.sample[0] if k != "response_id"))
              for o in found if not o.passed]  # fmt: skip
    assert sorted(failed) == sorted([
        ("range", 1, "above"), ("range", 1, "below"), ("values", 1, "other"),
        ("not_null", 1, "gone"), ("range", 1, "nan_above"), ("range", 1, "nan_below"),
        ("values", 1, "word"),
    ])  # fmt: skip
    (sample,) = [o.sample for o in found if o.problem == "above is above 2"]
    assert sample == [{"response_id": "a", "above": 3}]


def test_columns_are_there_and_of_their_type(catalog, view):
    """A trainer's own columns would be gone, or of a type that it cannot read."""
    sql = "SELECT 'a' AS response_id, 3 AS n, 3 AS long"
    rules = "n = { values = ['3'] }, response_id = { minimum = 1 }, long = { type = 'BIGINT' }"
    found = check(catalog, view(sql, f"columns = {{ {rules} }}"), trusted=True)
    assert [(o.check, o.problem) for o in found if not o.passed] == [
        ("types", "n is INTEGER, and its values are of another type; response_id is VARCHAR, and "
         "its range is of numbers; long is INTEGER, not BIGINT")
    ]  # fmt: skip
    found = check(catalog, view(sql, "columns = { m = { unique = true } }"), trusted=True)
    assert [(o.check, o.problem) for o in found if not o.passed] == [
        ("columns", "has no column m; it has response_id, n, long")
    ]


def test_uniqueness_and_numbers_of_rows_are_bounds(catalog, view):
    """A question would be asked twice, and a split that shrank by half be published."""
    sql = "SELECT response_id, domain FROM split"
    found = check(catalog, view(sql, "columns = { domain = { unique = true } }"), trusted=True)
    assert failures(found) == [("unique", 1, [{"domain": "math", "rows": 2}])]
    for rows, problem in (
        ("{ minimum = 4 }", "it chose 3 rows, and 4 or more are asked for"),
        ("{ maximum = 2 }", "it chose 3 rows, and at most 2 are allowed"),
    ):
        with pytest.raises(ContractError, match=problem):
            build(catalog, view(sql, f"rows = {rows}"))
    assert build(catalog, view(sql, "rows = { minimum = 3, maximum = 3 }")).rows == 3


def test_a_check_in_sql_gives_the_offending_rows_and_stops_the_build(catalog, view):
    """A rule that only SQL can say could not be kept."""
    sql = "SELECT response_id FROM chosen JOIN responses AS r USING (response_id) WHERE r.temperature < 1"
    name = view("SELECT * FROM split", f'extends = "split"\nchecks = {{ hot = "{sql}" }}')
    assert failures(check(catalog, name)) == [("hot", 3, [{"response_id": i} for i in "abc"])]
    done = CliRunner().invoke(cli, ["build", "--view", name, "--catalog", str(catalog.path)])
    assert isinstance(done.exception, ContractError)
    assert done.exception.exit_code == 3
    assert "hot: its SELECT in the contract of mine gives rows: 3 times" in str(done.exception)
    assert not list(catalog.path.glob("builds/*/*"))


def test_a_check_may_do_no_more_than_its_view(catalog, view):
    """Others' checks would read and write files of whoever tests their view."""
    for sql in (
        "WITH x AS (COPY (SELECT 1) TO 'f') SELECT * FROM x",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT 1); COPY (SELECT 1) TO 'f'; SELECT (1",
    ):
        name = view("SELECT 'a' AS response_id", f"checks = {{ x = {json.dumps(sql)} }}")
        try:
            found = check(catalog, name)
        except DeniedError:
            found = []
        assert [(o.check, o.sample) for o in found] in ([], [("runs", [])])
    assert not list(catalog.path.parent.glob("**/f"))


def test_a_check_is_stopped_at_the_time_limit(catalog, view):
    """A check that never ends would hold the build for ever."""
    endless = "SELECT levenshtein(repeat('a', 900000), repeat('b', 900000))"
    name = view("SELECT response_id FROM split", f'checks = {{ x = "{endless}" }}')
    catalog.config = replace(catalog.config, sql=SqlConfig(time_limit=2))
    with pytest.raises(LimitError, match="time_limit"):
        check(catalog, name)


def test_a_check_that_does_not_run_is_named(catalog, view):
    """One would look for the mistake in the view."""
    name = view("SELECT response_id FROM split", 'checks = { x = "SELECT respons_id FROM chosen" }')
    (failed,) = [o for o in check(catalog, name) if not o.passed]
    assert failed.check == "runs"
    assert failed.problem.startswith("contract check x: no column named 'respons_id'")


def test_a_contract_that_means_nothing_is_an_error(catalog, view):
    """A misspelt rule would never be looked at."""
    for contract, error, problem in (
        ('extends = "spilt"', UnknownNameError, "did you mean 'split'"),
        ('use = ["budgets"]', UnknownNameError, "did you mean 'budget'"),
        ("row = {}", UnknownNameError, "did you mean 'rows'"),
        ("rows = { minimum = 0 }", ConfigError, "1 or more"),
        ("rows = { minimum = true }", ConfigError, "wrong type"),
        ("columns = { n = { min = 0 } }", UnknownNameError, "rule of a column named 'min'"),
        ("columns = { n = 3 }", ConfigError, "must be a table"),
        ("columns = { n = { minimum = 2, maximum = 1 } }", ConfigError, "above maximum"),
        ("columns = { n = { values = [1, 'x'] } }", ConfigError, "texts, or numbers"),
        ("checks = { x = 3 }", ConfigError, "a name and a SELECT"),
    ):
        with pytest.raises(error, match=problem):
            check(catalog, view("SELECT response_id FROM split", contract))


def test_an_extended_contract_is_changed_by_column(catalog, view):
    """To loosen one rule, all would have to be written again."""
    sql = "SELECT * REPLACE (teacher_share * 100 AS teacher_share) FROM split"
    strict = check(catalog, view(sql, 'extends = "split"'), trusted=True)
    assert [f[0] for f in failures(strict)] == ["range"]
    wider = 'extends = "split"\ncolumns = { teacher_share = { maximum = 100 } }'
    assert failures(check(catalog, view(sql, wider), trusted=True)) == []


def test_a_contract_that_changed_is_kept_by_a_build_that_is_there(catalog, view):
    """A build that breaks a new rule would still be called unchanged."""
    sql = "SELECT response_id, domain FROM split"
    first = build(catalog, view(sql, 'columns = { domain = { values = ["math", "code"] } }'))
    again = build(catalog, view(sql, 'columns = { domain = { values = ["code", "math"] } }'))
    assert (again.build_id, again.unchanged) == (first.build_id, False)
    assert build(catalog, "mine").unchanged
    with pytest.raises(ContractError, match="domain is none of math"):
        build(catalog, view(sql, 'columns = { domain = { values = ["math"] } }'))
    assert (first.path / "manifest.json").is_file()


def test_contaminated_rows_are_refused_once_the_filter_has_run(made, response):
    """A benchmark's answers would be trained on; or a filter that never ran be taken for passed."""
    catalog = made(response("a", question="A", scores=SCORES))
    (seen,) = [o for o in check(catalog, "low_t_das") if o.check == "contamination"]
    assert (seen.passed, seen.note) == (True, "filter contamination has never run")
    arguments = ["build", "--view", "low_t_das", "--catalog", str(catalog.path)]
    said = CliRunner().invoke(cli, [*arguments, "--robustness", "off"]).stderr
    assert "not checked: contamination: filter contamination has never run" in said
    dirty = made(
        response("a", question="A", scores=SCORES, passed={**PASSED, "contamination": True}),
        response("b", question="B", scores=SCORES, passed={**PASSED, "contamination": False}),
        response("c", question="C", scores=SCORES),
        name="dirty",
    )
    (seen,) = [o for o in check(dirty, "low_t_das") if o.check == "contamination"]
    assert [row["response_id"] for row in seen.sample] == ["b"]
    assert seen.note == "1 rows have no verdict: run `dasd-data filter`"
    with pytest.raises(ContractError, match="failed filter `contamination`"):
        build(dirty, "low_t_das")
    clean = {"required_filters": [*PASSED, "contamination"]}
    assert build(dirty, "low_t_das", clean).rows == 1


def test_a_verdict_of_an_older_filter_is_none(made, response, add):
    """A response that an earlier contamination filter refused by mistake could never be used."""
    one = response("a", scores=SCORES, passed={**PASSED, "contamination": False})
    catalog = made(one)
    newer = response("x", question="X", passed={**PASSED, "contamination": True})
    add(catalog, newer, run_id="second", filter_version="2")
    (seen,) = [o for o in check(catalog.refresh(), "select", {"required_filters": ""})
               if o.check == "contamination"]  # fmt: skip
    assert (seen.passed, seen.note) == (True, "1 rows have no verdict: run `dasd-data filter`")


def test_a_blank_question_or_completion_is_no_chat(made, response):
    """A student would be trained to say nothing."""
    catalog = made(
        response("blank", question="A", thinking=None, answer=" \n", scores=SCORES),
        response("asks", question=" \t", scores=SCORES),
        response("good", question="C", thinking=None, scores=SCORES),
    )
    with pytest.raises(ContractError, match="messages: a chat without a question or an answer"):
        build(catalog, "low_t_das")
    assert not list(catalog.path.glob("builds/*/*"))
    (failed,) = [o for o in check(catalog, "low_t_das") if not o.passed]
    assert sorted(failed.sample, key=str) == [
        {"response_id": "asks", "problem": "the question is blank"},
        {"response_id": "blank", "problem": "the completion is blank"},
    ]


@pytest.mark.parametrize("blank", ["", None, " \n", "\u3000\u2003\x1f"])
def test_nothing_but_white_space_is_blank(blank):
    """A student would be trained to say nothing; or what says something would be left out."""
    messages = Messages(None, None)
    ids, asked = pa.chunked_array([["a", "b", "c"]]), pa.array(["?", "?", "?"])
    messages.look(ids, asked, pa.array([" x ", blank, "\u200b"]))
    assert [o.sample for o in messages.outcomes() if not o.passed] == [
        [{"response_id": "b", "problem": "the completion is blank"}]
    ]


def test_a_template_that_changes_a_completion_is_found(tmp_path, made, response, append):
    """A trainer would drop a part of the reasoning, and nobody would know."""
    trims = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
    trims += "{% if add_generation_prompt %}<assistant>{% endif %}"
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "chat_template.jinja").write_text(trims)
    catalog = made(
        response("a", question="A", thinking=None, answer="kept", scores=SCORES),
        response("b", question="B", thinking=None, answer="lost \n", scores=SCORES),
    )
    row = {
        "scorer_id": "s", "name": "second", "model": "m", "logprobs_mode": "raw_logprobs",
        "temperature": 1.0, "context": "training_render",
        "chat_template": hashlib.sha256(trims.encode()).hexdigest()[:12],
        "tokenizer_path": str(tmp_path / "student"),
    }  # fmt: skip
    append(catalog, "scorers", [row])
    append(catalog, "sentence_scores", [
        {"response_id": i, "scorer_id": "s", "segmentation_id": f"seg-1:{[1, n]}",
         "n_tokens": [6, 6], "logprob_sum": [-3.0, -3.0]}
        for i, n in (("a", 4), ("b", 6))
    ])  # fmt: skip
    catalog.refresh()
    settings = {"student": "second"}
    with pytest.raises(ContractError, match=r"template: .*1 times.*'b'.*alters it"):
        build(catalog, "low_t_das", settings)
    (tmp_path / "student" / "chat_template.jinja").write_text(trims + " ")
    (seen,) = [o for o in check(catalog, "low_t_das", settings) if o.check == "template"]
    assert seen.passed
    assert "is not at" in seen.note


@pytest.mark.parametrize(
    "name", ["templates/Qwen-Qwen3-0.6B.jinja", "templates/Qwen-QwQ-32B.jinja"]
)
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_templates_are_rendered_as_transformers_renders_them(shared_data, name, system):
    """The check would pass what training alters, or refuse what it keeps."""
    pytest.importorskip("transformers")
    from transformers import PreTrainedTokenizerFast

    from builders.score.render import TrainingContext
    from dasd_data.errors import RowError

    text = shared_data(name).read_text()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(shared_data("tokenizers/qwen3"))
    tokenizer.chat_template = text
    theirs, ours = TrainingContext(tokenizer, system), Template(text, system)
    kept = set()
    for thinking, answer in [
        ("plain", "answer"), ("quotes </think> once", "x"), (None, "no thinking"),
        ("\n\nlines\n\n", "\nanswer\n"), (None, "<think>\nunclosed"), ("", "empty"),
    ]:  # fmt: skip
        completion = answer if thinking is None else f"<think>\n{thinking}\n</think>\n\n{answer}"
        try:
            theirs.render("Why?", thinking, answer)
            verbatim = True
        except RowError:
            verbatim = False
        assert (ours.problem("Why?", completion) is None) is verbatim, completion
        kept.add(verbatim)
    assert kept == {True, False} or "QwQ" in name


def test_a_template_is_known_by_its_hash_alone(tmp_path):
    """The template of another version of the student would be tried."""
    config = {"chat_template": "{{ messages[0].content }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    digest = "60d5d6b4a0d1"
    row = {"tokenizer_path": str(tmp_path), "chat_template": digest}
    assert template_text(row) is None
    row["chat_template"] = hashlib.sha256(config["chat_template"].encode()).hexdigest()[:12]
    assert template_text(row) == config["chat_template"]
    student = {**row, "tokenizer_path": str(tmp_path / "gone")}
    unknown = Messages(student, None)
    unknown.look(pa.chunked_array([["a"]]), pa.array(["Q"]), pa.array(["A"]))
    assert "is not at" in unknown.outcomes()[1].note


def test_the_command_prints_a_line_a_check_and_exits_3(catalog, view):
    """A script could not tell whether a view may be published."""
    view("SELECT response_id FROM responses WHERE false", "rows = { minimum = 1 }")
    arguments = ["test", "--catalog", str(catalog.path)]
    done = CliRunner().invoke(cli, [*arguments, "low_t_das", "--json"])
    assert done.exit_code == 0, done.output
    assert all(row["passed"] and row["view"] == "low_t_das" for row in json.loads(done.stdout))
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, ContractError)
    table = [line.split("│") for line in done.stdout.splitlines() if "│" in line]
    failed = [[cell.strip() for cell in row] for row in table if "FAILED" in row[2]]
    assert [row[:2] for row in failed] == [
        ["high_t_das", "rows"], ["high_t_rs", "rows"], ["mine", "rows"]
    ]  # fmt: skip


def test_all_offending_rows_are_written_to_a_file(catalog, add, response, view, tmp_path):
    """Whoever is to mend a hundred rows would be told of five of them."""
    add(catalog, *(response(str(n), question=f"{n}", answer=" ", thinking=None) for n in range(9)))
    view(
        "SELECT response_id FROM responses WHERE answer = ' '",
        """[contract.checks]\nnone = "SELECT *, repeat('x', 500) AS long FROM chosen\"""",
    )
    out = tmp_path / "offenders.jsonl"
    arguments = ["test", "mine", "--catalog", str(catalog.path), "--offenders", str(out)]
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, ContractError)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for name in ("none", "messages"):
        ids = [row["row"]["response_id"] for row in rows if row["check"] == name]
        assert sorted(ids) == [str(n) for n in range(9)]
    assert {len(row["row"]["long"]) for row in rows if row["check"] == "none"} == {500}
    assert "9 times, first {'response_id': '0', " in done.stderr
    assert "{'response_id': '5', 'long'" not in done.stderr
    assert "x" * 201 not in done.stderr
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert [len(check["sample"]) for check in found if check["failed"]] == [5, 5]
    missing = CliRunner().invoke(cli, [*arguments[:-1], str(tmp_path / "no" / "such")])
    assert missing.exit_code == 2
    assert "No such file" in missing.stderr
