"""Builds: what is written, that it is the same again, and that bad input writes nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_data import shards
from dasd_data.build import build
from dasd_data.config import BuildConfig
from dasd_data.errors import (
    ContractError,
    DamagedFileError,
    DeniedError,
    UnknownNameError,
    UsageError,
)
from dasd_data.explain import explain
from dasd_data.materialize import materialize
from dasd_data.session import Session

WRITE = shards.write
SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


@pytest.fixture
def catalog(made, response):
    """Three questions, one with two candidates."""
    less = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5), (6, 0.9)]}
    return made(
        response("a", question="What is 1+1?", thinking="Hm.", answer="2", scores=SCORES),
        response("b", question="What is 1+1?", thinking="Hmm.", answer="3", scores=less),
        response("c", question="Plain?", thinking=None, answer="Yes 😀", scores=SCORES),
        response("d", question="Code?", domain="code", answer="`x`", scores=SCORES),
    )


def rows(made):
    """All rows of a build, in order."""
    shards = sorted((made.path / "data").glob("*.parquet"))
    return [row for shard in shards for row in pq.read_table(shard).to_pylist()]


def test_rows_are_chats_with_their_ids_and_scores(catalog):
    """A trainer would read another text than was scored."""
    first, second, third = rows(build(catalog, "low_t_das"))
    assert first["messages"] == [
        {"role": "user", "content": "What is 1+1?"},
        {"role": "assistant", "content": "<think>\nHm.\n</think>\n\n2"},
    ]
    assert first["prompt"] == first["messages"][:1]
    assert first["completion"] == first["messages"][1:]
    assert second["completion"][0]["content"] == "Yes 😀"
    assert [r["response_id"] for r in (first, second, third)] == ["a", "c", "d"]
    assert first["teacher_count"] == 2
    assert third["domain"] == "code"


def test_a_views_own_columns_stand_beside_the_chat_whatever_their_names(catalog, tmp_path):
    """A column of a view would be lost, or trained on as the text."""
    view = tmp_path / "mine.sql"
    view.write_text("SELECT response_id, 7 AS _row, 'x' AS _completion, 'y' AS answer FROM split")
    first = rows(build(catalog, str(view)))[0]
    assert [first[name] for name in ("_row", "_completion", "answer")] == [7, "x", "y"]
    assert first["completion"][0]["content"] == "<think>\nHm.\n</think>\n\n2"


def test_rows_are_in_the_order_of_the_views_key(catalog, tmp_path):
    """The shards of a view would depend on the order in which files are read."""
    view = tmp_path / "mine.sql"
    view.write_text(
        '/*\ndescription = "Twice, the last first"\nkey = ["place", "response_id"]\n*/\n'
        "SELECT s.response_id, copy - unicode(s.response_id) AS place"
        " FROM split AS s CROSS JOIN (SELECT unnest([1, 0]) AS copy)"
    )
    found = rows(build(catalog, str(view)))
    assert [r["response_id"] for r in found] == ["d", "c", "d", "c", "a", "a"]
    answers = {"a": "<think>\nHm.\n</think>\n\n2", "c": "Yes 😀"}
    for row in found:
        expected = answers.get(row["response_id"])
        assert expected is None or row["completion"][0]["content"] == expected


def test_a_system_prompt_is_the_first_turn_of_every_row(catalog):
    """The recipe of the release, which uses one, could not be followed."""
    catalog.config = replace(catalog.config, build=BuildConfig("Be kind."))
    row = rows(build(catalog, "low_t_das"))[0]
    assert row["messages"][0] == {"role": "system", "content": "Be kind."}
    assert [m["role"] for m in row["prompt"]] == ["system", "user"]


def test_an_unchanged_build_is_left_alone_and_new_data_makes_another(catalog, response, add):
    """Every run would rewrite the split, or none would."""
    first = build(catalog, "low_t_das")
    stamp = (first.path / "manifest.json").stat().st_mtime_ns
    again = build(catalog.refresh(), "low_t_das")
    assert again.unchanged
    assert again.path == first.path
    assert (first.path / "manifest.json").stat().st_mtime_ns == stamp
    add(catalog, response("e", question="New?", scores=SCORES))
    assert build(catalog.refresh(), "low_t_das").rows == 4
    assert build(catalog, "low_t_das", {"beta": 0.2}).build_id != first.build_id


def test_a_damaged_shard_is_built_again(catalog):
    """A half-copied split would be taken for a finished one."""
    first = build(catalog, "low_t_das")
    (shard,) = (first.path / "data").glob("*.parquet")
    good = shard.read_bytes()
    shard.write_bytes(good[:-5])
    assert not build(catalog, "low_t_das").unchanged
    assert next((first.path / "data").glob("*.parquet")).read_bytes() == good


def test_shards_are_the_same_bytes_however_the_catalog_came_to_be(made, response, add):
    """A split could not be reproduced to the byte."""
    responses = [
        response(f"r{i:02}", question=f"q{i}", answer=f"answer {i} " * 50, scores=SCORES)
        for i in range(40)
    ]
    one = made(*responses, name="one")
    two = made(*reversed(responses[20:]), name="two")
    for r in responses[:20]:
        add(two, r, run_id="other")
    two.config = replace(two.config, threads=1)
    hashes = [
        [s["sha256"] for s in build(c.refresh(), "low_t_das").manifest["shards"]]
        for c in (one, two)
    ]
    assert hashes[0] == hashes[1]


def test_a_dry_run_chooses_rows_and_writes_nothing(catalog):
    """`--dry-run` would leave a split behind."""
    made = build(catalog, "low_t_das", dry_run=True)
    assert (made.rows, made.path) == (3, None)
    assert not (catalog.path / "builds").exists()
    assert made.funnel[-1]["responses"] == 3


def test_the_manifest_names_inputs_parameters_and_shards(catalog):
    """A split could not be explained afterwards."""
    made = build(catalog, "low_t_das", {"budget": {"math": "1"}})
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert manifest["parameters"]["budget"]["math"] == 1
    assert manifest["parameters"]["teacher"] == "id-of-teacher"
    assert manifest["scorers"]["student"]["model"] == "student-model"
    assert {"responses", "questions", "flags", "sentence_scores"} <= manifest["files"].keys()
    assert manifest["filters"] == dict.fromkeys(
        ["length", "structure", "completeness", "repetition", "cjk"], "1"
    )
    assert [s["rows"] for s in manifest["shards"]] == [2]


def test_the_card_tells_composition_length_ratio_and_overlaps(catalog):
    """The length bias of a selection would go unseen."""
    card = (build(catalog, "low_t_das").path / "README.md").read_text()
    assert "| code | 0.6 | 1 | 1 |" in card
    # chosen: 4 + 8 + 9 bytes over 3 responses; pool: with b's 5, over 4
    lengths = {
        "a": len("Hm.2"),
        "b": len("Hmm.3"),
        "c": len("Yes 😀".encode()),
        "d": len("Think.`x`"),
    }
    ratio = (sum(lengths.values()) - lengths["b"]) / 3 / (sum(lengths.values()) / 4)
    assert f"over that of the pool: {ratio:.3f}" in card
    assert "Overlap with choosing the longest: 66.7%" in card
    assert "path: data/train-*.parquet" in card
    assert "\n---\n\n# low_t_das\n" in card


def test_a_response_whose_question_is_gone_is_an_error(catalog, append, tmp_path):
    """A chat would have no question, or that of another."""
    row = {"response_id": "x", "question_id": "gone", "run_id": "run", "answer": "X"}
    append(catalog, "responses", [{**row, "policy": "teacher"}])
    view = tmp_path / "mine.sql"
    view.write_text("SELECT response_id FROM responses")
    with pytest.raises(ContractError, match=r"chose 1 responses whose question .* is missing"):
        build(catalog.refresh(), str(view), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_question_of_two_texts_is_an_error(catalog, tmp_path):
    """A chat would have either, or a build end with an error of Arrow's."""
    (path,) = catalog.files["questions"]
    again = pq.read_table(path).slice(0, 1)
    text = again.schema.get_field_index("text")
    again = again.set_column(text, again.schema.field(text), pa.array(["Other?"]))
    files = [path, tmp_path / "again.parquet"]
    pq.write_table(again, files[1])
    view = catalog.find_view("select")
    session = Session({**catalog.files, "questions": files})
    session.execute("CREATE TEMP TABLE _chosen AS SELECT response_id FROM responses")
    rows = session.rows("SELECT count(*) AS n FROM _chosen")[0]["n"]
    with pytest.raises(ContractError, match=r"chose responses of which \d questions .* again"):
        materialize(session, view, None, rows, tmp_path / "out", print)
    session.close()


def test_no_rows_is_an_error_with_the_funnel(catalog):
    """An empty split would be found out in training."""
    with pytest.raises(ContractError, match="chose no rows\n.*4 responses responses"):
        build(catalog, "high_t_das")


def test_filters_that_never_ran_are_named(made, response):
    """ "Passed every filter: 0" would not say why."""
    catalog = made(response("a", passed={}, scores=SCORES))
    with pytest.raises(ContractError, match="never run: filter length, structure"):
        build(catalog, "low_t_das")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT response_id FROM responses UNION ALL SELECT response_id FROM responses", "unique"),
        ("SELECT NULL::VARCHAR AS response_id", "NULL"),
        ("SELECT 'x' AS response_id", "no response of the catalog"),
        ("SELECT 1 AS n", "no column response_id"),
    ],
)
def test_a_view_that_breaks_its_contract_writes_nothing(catalog, tmp_path, sql, problem):
    """Repeated or made-up rows would be trained on."""
    view = tmp_path / "mine.sql"
    view.write_text(sql)
    with pytest.raises(ContractError, match=problem):
        build(catalog, str(view))
    assert not list(catalog.path.glob("builds/*/*"))


def test_a_users_own_view_is_built_by_name(catalog):
    """Researchers could not define splits of their own."""
    select = "SELECT response_id, 7 AS n FROM responses WHERE answer = '2'"
    sql = f'/*\ndescription = "Mine"\n*/\n{select}'
    (catalog.path / "views" / "mine.sql").write_text(sql)
    (row,) = rows(build(catalog, "mine"))
    assert (row["response_id"], row["n"]) == ("a", 7)


def test_modes_that_cannot_be_compared_are_refused_until_assumed(made, response, append):
    """Log-probs after temperature would be compared with those before it."""
    catalog = made(response("a", scores={"student": [(6, 0.5)]}))
    unknown = {"scorer_id": "t", "name": "teacher", "model": "big", "logprobs_mode": "unknown"}
    append(catalog, "scorers", [unknown])
    scores = {
        "response_id": "a",
        "scorer_id": "t",
        "segmentation_id": "seg-1:[13]",
        "n_tokens": [6],
        "logprob_sum": [-0.1],
    }
    append(catalog, "sentence_scores", [scores])
    catalog.refresh()
    with pytest.raises(ContractError, match="different modes cannot be compared.*assume_raw"):
        build(catalog, "low_t_das")
    assert build(catalog, "low_t_das", {"assume_raw": True}).rows == 1


def test_scoring_and_training_contexts_must_agree(made, response, append):
    """The student would be trained under another prompt than it was scored under."""
    catalog = made(response("a", scores={"teacher": [(6, 0.9)], "small": [(6, 0.5)]}))
    student = {
        "scorer_id": "id-of-small",
        "name": "student",
        "model": "small",
        "logprobs_mode": "raw_logprobs",
        "context": "training_render",
        "system_prompt": "Be kind.",
    }
    append(catalog, "scorers", [student])
    with pytest.raises(ContractError, match="scored with the system prompt 'Be kind.'"):
        build(catalog.refresh(), "low_t_das")


def test_a_damaged_input_file_stops_the_build(catalog):
    """Flipped bits would go into the split."""
    path = catalog.files["responses"][0]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="is damaged"):
        build(catalog, "low_t_das")


def test_out_replaces_a_build_and_nothing_else(catalog, tmp_path):
    """`--out ~` would delete a home folder."""
    out = tmp_path / "split"
    assert build(catalog, "low_t_das", out=out).rows == 3
    assert build(catalog, "low_t_das", {"budget": {"code": 0}}, out=out).rows == 2
    assert len(list(out.rglob("*.parquet"))) == 1
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds something else than a build"):
        build(catalog, "low_t_das", out=tmp_path / "home")


def test_an_unknown_view_names_the_closest_one(catalog):
    """A typing error would end in a stack trace."""
    with pytest.raises(
        UnknownNameError, match="no view named 'low_t_dsa'; did you mean 'low_t_das'"
    ):
        build(catalog, "low_t_dsa")


def test_builds_are_recorded_in_the_catalog(catalog):
    """`builds` could not say which split came from which snapshot."""
    made = build(catalog, "low_t_das")
    found = catalog.refresh().sql("SELECT build_id, view, rows, snapshot_id FROM builds").fetchall()
    assert found == [(made.build_id, "low_t_das", 3, made.manifest["snapshot_id"])]


def test_datasets_reads_a_build_as_it_is(catalog):
    """A split could not be loaded without code of ours."""
    import datasets

    made = build(catalog, "low_t_das")
    loaded = datasets.load_dataset(str(made.path), split="train", cache_dir=str(made.path.parent))
    assert loaded.num_rows == 3
    assert loaded[0]["messages"][1]["content"] == "<think>\nHm.\n</think>\n\n2"


def test_out_never_replaces_a_folder_that_holds_more_than_a_build(catalog, tmp_path):
    """A project with a manifest.json of its own, or notes beside a build, would be deleted."""
    other = tmp_path / "dbt"
    other.mkdir()
    (other / "manifest.json").write_text('{"metadata": {"dbt": 1}}')
    with pytest.raises(UsageError, match=r"something else than a build \(manifest.json\)"):
        build(catalog, "low_t_das", out=other)
    out = tmp_path / "split"
    build(catalog, "low_t_das", out=out)
    (out / "notes.txt").write_text("precious")
    with pytest.raises(UsageError, match="notes.txt"):
        build(catalog, "low_t_das", {"beta": 0.3}, out=out)
    assert (out / "notes.txt").read_text() == "precious"


def test_out_never_replaces_shards_of_another_hand(catalog, tmp_path):
    """A data set of the same file names would be deleted, beside a build or where one was."""
    out = tmp_path / "split"
    made = build(catalog, "low_t_das", out=out)
    own = out / made.manifest["shards"][0]["path"]
    other = own.with_name("train-00007-of-00009.parquet")
    other.write_bytes(b"precious")
    for damage in (lambda: None, lambda: (out / "manifest.json").write_bytes(b"{}")):
        damage()
        with pytest.raises(UsageError, match=other.name):
            build(catalog, "low_t_das", {"beta": 0.3}, out=out)
    other.rename(own)
    with pytest.raises(UsageError, match=own.name):
        build(catalog, "low_t_das", out=out)
    own.unlink()
    with pytest.raises(UsageError, match=r"\(README.md\).* or remove this one"):
        build(catalog, "low_t_das", out=out)


def test_an_interruption_while_a_build_is_replaced_keeps_the_old_one(
    catalog, tmp_path, monkeypatch
):
    """Ctrl-C at the wrong moment would leave neither the old split nor the new."""
    import os

    out = tmp_path / "split"
    first = build(catalog, "low_t_das", out=out)
    rename, calls = os.rename, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(catalog, "low_t_das", {"budget": {"code": 0}}, out=out)
    monkeypatch.undo()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["build_id"] == first.build_id
    assert list(out.parent.glob(".split*")) == []


@pytest.mark.parametrize("again", ["same", "other", "fails"])
def test_what_a_kill_left_aside_is_put_back_by_the_next_build(catalog, tmp_path, again):
    """A split that was being replaced would be gone, under a name that no one looks for."""
    out, neighbour = tmp_path / "split", tmp_path / ".split.two.12345678.old"
    first = build(catalog, "low_t_das", out=out)
    neighbour.mkdir()
    out.rename(tmp_path / ".split.0123abcd.old")  # as between the two renames of `_replace`
    if again == "fails":
        with pytest.raises(ContractError):
            build(catalog, "low_t_das", {"budget": {"code": 0, "math": 0}}, out=out)
        made = first
    else:
        made = build(catalog, "low_t_das", {} if again == "same" else {"beta": 0.3}, out=out)
        assert made.unchanged == (again == "same")
    assert json.loads((out / "manifest.json").read_text())["build_id"] == made.build_id
    assert list(out.parent.glob(".split*")) == [neighbour]
    out.rename(tmp_path / ".split.0123abcd.old")
    build(catalog, "low_t_das", {"beta": 0.4}, out=tmp_path / "another")
    assert not out.exists()  # only the folder that is built


@pytest.mark.parametrize(("ours", "theirs"), [("off", "fast"), ("fast", "off")])
def test_of_two_builds_at_once_the_last_has_its_card(catalog, ours, theirs):
    """The card would be that of either, or a manifest would stand beside another's card."""
    import dasd_data

    def other(*_):
        if not inner:
            inner.append(None)
            inner[0] = build(dasd_data.open(catalog.path), "low_t_das", robustness=theirs)

    inner = []
    made = build(catalog, "low_t_das", robustness=ours, progress=other)
    assert made.build_id == inner[0].build_id
    manifest = json.loads((made.path / "manifest.json").read_text())
    card = (made.path / "README.md").read_text()
    assert ("## Robustness" in card) == (manifest["robustness"] is not None) == (ours == "fast")
    assert build(dasd_data.open(catalog.path), "low_t_das", robustness=ours).unchanged


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT response_id, 1 AS Completion FROM responses", "leave it out"),
        ("SELECT response_id, 1 AS messages FROM responses", "leave it out"),
        ("SELECT response_id, answer::INT AS n FROM responses", "Could not convert"),
        ("SELECT response_id, [union_value(a := 1)] AS u FROM responses", "column u is a UNION"),
    ],
)
def test_a_view_that_fails_says_why(catalog, tmp_path, sql, problem):
    """A view's error would be a stack trace, or its own column be trained on as the answer."""
    from dasd_data.errors import DasdError

    view = tmp_path / "mine.sql"
    view.write_text(sql)
    with pytest.raises(DasdError, match=problem):
        build(catalog, str(view))


def test_what_the_card_says_is_part_of_the_build(catalog, tmp_path):
    """A renamed Hub configuration would keep the old card."""
    view = tmp_path / "mine.sql"
    builds = []
    for name in ("one", "two"):
        view.write_text(f'/*\nconfig = "{name}"\n*/\nSELECT response_id FROM responses')
        builds.append(build(catalog, str(view)))
    assert builds[0].build_id != builds[1].build_id
    assert "config_name: two" in (builds[1].path / "README.md").read_text()


def test_front_matter_that_nothing_reads_is_an_error(catalog, tmp_path):
    """A misspelt key would be ignored in silence."""
    view = tmp_path / "mine.sql"
    view.write_text("/*\nkeys = ['x']\n*/\nSELECT response_id FROM responses")
    with pytest.raises(UnknownNameError, match="no front-matter key named 'keys'; did you mean 'k"):
        build(catalog, str(view))


def test_a_mistake_in_a_view_is_shown_where_it_stands_in_its_file(catalog, tmp_path):
    """The lines of its front matter would be left to whoever counts."""
    path = tmp_path / "mine.sql"
    path.write_text(
        '/*\nkey = ["response_id"]\n*/\n\nSELECT response_id,\n  length(1, 2)\nFROM responses'
    )
    for ask in (build, explain):
        with pytest.raises(UsageError) as mistake:
            ask(catalog, str(path))
        assert str(mistake.value).startswith(f"{path}:6: Binder Error: No function matches")
        assert "\nLINE 6:   length(1, 2)\n          ^^^" in str(mistake.value)
    for sql in ("SELECT response_id,\n  answr\nFROM responses", "SELECT *\n\nFROM response"):
        path.write_text(f'/*\nkey = ["response_id"]\n*/\n{sql}')
        line = 5 if "answr" in sql else 6
        with pytest.raises(UnknownNameError, match=rf"did you mean '\w+'\? \({path}:{line}\)$"):
            build(catalog, str(path))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT response_id, random() AS x FROM responses",
        "SELECT response_id FROM responses WHERE now() > '2020-01-01'",
        'SELECT response_id, "Current_Date" AS d FROM responses',
        "SELECT response_id FROM (FROM responses TABLESAMPLE 50%)",
        "SELECT response_id, ago('1 day') AS d FROM responses",
        "SELECT response_id, age(TIMESTAMP '2000-01-01') AS d FROM responses",
        "SELECT response_id, t.* FROM responses, (SHOW TABLES) t",
        "SELECT response_id, t.* FROM responses, (SUMMARIZE responses) t",
        'SELECT response_id, "Current_Date".year() AS y FROM responses',
        "SELECT response_id FROM responses, range(localtimestamp.year())",
        "SELECT response_id FROM responses, pg_timezone_names()",
        "SELECT response_id, approx_quantile(temperature, 0.5) AS q FROM responses GROUP BY ALL",
    ],
)
def test_a_view_may_not_ask_for_chance_or_the_time(catalog, tmp_path, sql):
    """The same build would hold other rows each time, and `verify` find it damaged for ever."""
    view = tmp_path / "mine.sql"
    view.write_text(sql)
    with pytest.raises(DeniedError, match="may not be used in a view"):
        build(catalog, str(view))
    assert catalog.sql("SELECT random() < 2").fetchall() == [(True,)]


def test_chance_that_has_a_seed_is_repeatable(catalog, tmp_path):
    """A view could not take a sample at all."""
    view = tmp_path / "mine.sql"
    view.write_text(
        "SELECT r.response_id, r.today FROM (SELECT response_id, 1 AS today FROM responses) AS r"
        " TABLESAMPLE reservoir(4 ROWS) REPEATABLE (1) ORDER BY seeded(7, r.response_id)"
    )
    assert build(catalog, str(view)).rows == 4


def test_other_rows_under_the_id_of_a_recorded_build_are_refused(catalog):
    """A view whose order has ties would replace a split by another of the same name."""
    made = build(catalog, "low_t_das")
    shutil.rmtree(made.path)
    assert build(catalog.refresh(), "low_t_das").build_id == made.build_id  # the same: no error
    shutil.rmtree(made.path)
    with patch("dasd_data.shards.write", other_rows), pytest.raises(ContractError, match="ORDER"):
        build(catalog.refresh(), "low_t_das")
    assert not list(made.path.parent.iterdir())


def other_rows(groups, schema, folder, count):
    """The shards of a build, the last row left out, as a view with ties could give them."""
    return WRITE([(table[:-1], size) for table, size in groups], schema, folder, count)


def test_a_build_whose_process_died_before_it_was_recorded_is_recorded_later(catalog):
    """A build that is on disk would be missing in the table of builds for ever."""

    def die(step):
        if step == "builds: before write":
            raise KeyboardInterrupt

    catalog.store.checkpoint = die
    with pytest.raises(KeyboardInterrupt):
        build(catalog, "low_t_das")
    catalog.store.checkpoint = lambda step: None
    made = build(catalog, "low_t_das")
    assert made.unchanged
    assert catalog.refresh().sql("SELECT build_id FROM builds").fetchall() == [(made.build_id,)]
