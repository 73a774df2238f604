"""`diff`: what two builds share, and how their scores differ."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest
from click.testing import CliRunner

from dasd_data import builds
from dasd_data.build import build as _build
from dasd_data.cli import cli
from dasd_data.diff import diff
from dasd_data.errors import DamagedFileError, DataError, UnknownNameError, UsageError

build = partial(_build, robustness="off")


def scores(teacher_sentences):
    """Four sentences, of which some are the teacher's."""
    student = [(6, 0.5)] * teacher_sentences + [(6, 0.9)] * (4 - teacher_sentences)
    return {"teacher": [(6, 0.9)] * 4, "student": student}


@pytest.fixture
def catalog(made, response):
    """Two questions of mathematics with two candidates each, and one of code with one."""
    return made(
        response("a1", question="A", scores=scores(1)),
        response("a3", question="A", scores=scores(3)),
        response("b1", question="B", scores=scores(1)),
        response("b4", question="B", scores=scores(4)),
        response("c2", question="C", domain="code", scores=scores(2)),
    )


@pytest.fixture
def two(catalog):
    """The most Teacher sentences of each question, and the fewest, of mathematics alone."""
    path = catalog.path / "views" / "fewest.sql"
    path.write_text(
        "SELECT response_id, question_id, domain, teacher_count, teacher_share * 2 AS teacher_share"
        " FROM ranked WHERE response_id IN ('a1', 'b4')"
    )
    return build(catalog, "low_t_das"), build(catalog, "fewest")


def test_churn_and_shift_are_those_of_the_rows(catalog, two):
    """A researcher would take two splits for more alike, or less, than they are."""
    one, other = (builds.find(catalog.refresh(), made.build_id) for made in two)
    found = diff(one, other)
    columns = ("domain", "a", "b", "both", "only_a", "only_b", "jaccard",
               "questions_both", "questions_only_a", "questions_only_b")  # fmt: skip
    assert [tuple(row[c] for c in columns) for row in found.churn] == [
        (None, 3, 2, 1, 2, 1, 0.25, 2, 1, 0),
        ("code", 1, 0, 0, 1, 0, 0.0, 0, 1, 0),
        ("math", 2, 2, 1, 1, 1, 0.3333, 2, 0, 0),
    ]
    by_score = {row["score"]: row for row in found.scores}
    assert set(by_score) == {"teacher_count", "teacher_share"}
    count = by_score["teacher_count"]
    assert (count["mean_a"], count["mean_b"], count["shift"]) == (3.0, 2.5, -0.5)
    assert (count["median_a"], count["changed"], count["mean_change"]) == (3.0, 0, 0.0)
    share = by_score["teacher_share"]  # b4 is in both: 4/4, and twice that
    assert (share["changed"], share["mean_change"]) == (1, 1.0)
    assert "sql" in found.settings
    assert found.parameters["temperature"] == [0.6, None]


def test_a_build_is_the_same_as_itself(catalog, two):
    """Any difference would be an artefact of the comparison."""
    known = builds.find(catalog.refresh(), "low_t_das")
    found = diff(known, known)
    assert (found.settings, found.parameters) == ([], {})
    assert found.churn[0]["jaccard"] == 1.0
    assert {row["changed"] for row in found.scores} == {0}


def test_builds_are_named_by_id_view_or_folder(catalog, two, tmp_path):
    """One would have to look up folders to compare builds."""
    catalog.refresh()
    first, _ = two
    copy = tmp_path / "copy"
    shutil.copytree(first.path, copy)
    for name in (first.build_id, first.build_id[:6], "low_t_das", str(copy)):
        assert builds.find(catalog, name).build_id == first.build_id
    with pytest.raises(UnknownNameError, match="did you mean 'low_t_das'"):
        builds.find(catalog, "low_t_dsa")
    with pytest.raises(UnknownNameError):
        builds.find(catalog, "")
    ids = sorted(made.build_id for made in two)
    if ids[0][0] == ids[1][0]:
        with pytest.raises(UsageError, match="several builds"):
            builds.find(catalog, ids[0][0])
    shutil.rmtree(first.path)
    with pytest.raises(DataError, match=r"not at .* any more: `dasd-data build --view low_t_das"):
        builds.find(catalog, first.build_id)


def test_a_damaged_build_is_named(catalog, two):
    """Rows would be missing from the comparison in silence."""
    first, _ = two
    (shard,) = (first.path / "data").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-9])
    known = builds.find(catalog.refresh(), "low_t_das")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        diff(known, known)


def test_views_without_scores_or_domains_are_compared_by_response(catalog):
    """Views of one's own could not be compared."""
    for name, ids in (("one", "('a1', 'b1')"), ("two", "('b1', 'c2')")):
        path = catalog.path / "views" / f"{name}.sql"
        path.write_text(f"SELECT response_id FROM responses WHERE response_id IN {ids}")
        build(catalog, name)
    catalog.refresh()
    found = diff(builds.find(catalog, "one"), builds.find(catalog, "two"))
    assert [(r["domain"], r["both"], r["questions_both"]) for r in found.churn] == [
        (None, 1, 0), ("other", 1, None)
    ]  # fmt: skip
    assert found.scores == []


def test_the_command_needs_no_catalog_for_two_folders(catalog, two, tmp_path):
    """Two downloaded data sets could not be compared."""
    first, second = two
    done = CliRunner().invoke(cli, ["diff", str(first.path), str(second.path), "--catalog", "none"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"a: low_t_das {first.build_id}, 3 rows")
    named = ["diff", "low_t_das", "fewest", "--json", "--catalog", str(catalog.path)]
    document = json.loads(CliRunner().invoke(cli, named).stdout)
    assert document["churn"][0]["both"] == 1
