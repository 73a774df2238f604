"""`reproduce`: the same bytes from a manifest, or exactly what is missing."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from functools import partial

import pytest
from click.testing import CliRunner

import dasd_data
from dasd_data import published
from dasd_data.build import build as _build
from dasd_data.cli import cli
from dasd_data.compact import compact
from dasd_data.config import BuildConfig
from dasd_data.errors import DataError, DeniedError, UsageError
from dasd_data.gc import collect
from dasd_data.reproduce import reproduce

build = partial(_build, robustness="off")

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


@pytest.fixture
def catalog(made, response):
    """Twelve questions in two domains."""
    return made(
        *(
            response(f"r{i:02}", question=f"Q{i}", domain=("math", "code")[i % 2], scores=SCORES)
            for i in range(12)
        )
    )


def test_a_build_is_the_same_after_the_catalog_moved_on(catalog, response, add):
    """A published split could not be made again once data came, files merged and garbage went."""
    settings = {"budget": {"math": 4, "code": 3}, "seed": 7, "keep": 2}
    made = build(catalog, "low_t_das", settings)
    add(catalog, *(response(f"s{i}", question=f"Q{i}", scores=SCORES) for i in range(6)))
    add(catalog, response("x", question="X", scores=SCORES), run_id="z", filter_version="2")
    compact(catalog.store)
    newest = dasd_data.open(catalog.path)
    for path in catalog.path.rglob("*"):
        then = time.time() - 9_000
        os.utime(path, (then, then))
    gone = collect(newest.store, expire_before=newest.snapshot)
    assert gone.paths
    found = reproduce(dasd_data.open(catalog.path), made.manifest)
    assert found.reproduced
    assert found.missing == []
    (shard,) = made.manifest["shards"]
    assert found.shards == [
        {"path": shard["path"], "expected": shard["sha256"], "found": shard["sha256"]}
    ]
    assert not list(catalog.path.glob("builds/*/.*"))


def test_what_is_configured_now_does_not_matter(catalog, tmp_path):
    """A build would depend on today's dasd.toml, defaults and views."""
    catalog.config = replace(catalog.config, build=BuildConfig("Be kind."))
    view = tmp_path / "mine.sql"
    view.write_text(
        '/*\ndescription = "Mine"\n[parameters]\nless = { type = "integer", default = 1 }\n*/\n'
        "SELECT response_id, getvariable('less') AS less FROM split"
    )
    made = build(catalog, str(view), {"less": 5})
    view.unlink()
    catalog.config = replace(catalog.config, build=BuildConfig(None), threads=1)
    assert reproduce(catalog, made.manifest).reproduced


def test_a_shard_that_differs_is_named_with_both_hashes(catalog):
    """A build of other rows would be called the same."""
    made = build(catalog, "low_t_das")
    manifest = json.loads((made.path / "manifest.json").read_text())
    manifest["parameters"]["budget"]["math"] = 1
    found = reproduce(catalog, manifest)
    assert (found.reproduced, found.missing) == (False, [])
    (shard,) = found.shards
    assert shard["expected"] == made.manifest["shards"][0]["sha256"] != shard["found"]


def test_what_is_missing_is_said_and_nothing_runs(catalog, made, response):
    """One would search for hours why a build cannot be made again."""
    manifest = build(catalog, "low_t_das").manifest
    other = made(response("a", scores=SCORES), name="other")
    found = reproduce(other, manifest)
    assert not found.shards
    assert any(line.startswith("table responses: 1 of 1 files (") for line in found.missing)
    later = {**manifest, "snapshot_id": 99}
    (line,) = reproduce(catalog, later).missing
    assert line.startswith("snapshot 99: ")
    parameters = {**manifest["parameters"], "teacher": "0123", "gamma": 3}
    assert reproduce(catalog, {**manifest, "parameters": parameters}).missing == [
        "parameter gamma: this version has none",
        "scorer 0123 (teacher): the catalog has none",
    ]


def test_all_files_that_are_gone_are_named_at_once(catalog, command):
    """One would restore a file from a backup, run again, and hear of the next one."""
    build(catalog, "low_t_das")
    for table in ("responses", "questions", "quarantine", "runs"):
        for path in catalog.store.folder(table).glob("*.parquet"):
            path.unlink()
    done = command("reproduce", "low_t_das", "--json", "--catalog", catalog.path)
    assert done.returncode == 3, done.stderr
    (document,) = json.loads(done.stdout)
    assert [line.partition(" (")[0] for line in document["missing"]] == [
        f"table {table}: 1 of 1 files" for table in ("questions", "responses", "runs")
    ]


def test_versions_that_differ_are_told(catalog):
    """One would look for the difference in the data."""
    manifest = build(catalog, "low_t_das").manifest
    older = {**manifest, "code": "0" * 16, "libraries": {**manifest["libraries"], "duckdb": "1.0"}}
    found = reproduce(catalog, older)
    assert found.reproduced
    assert found.versions["code"] == ["0" * 16, manifest["code"]]
    assert found.versions["duckdb"][0] == "1.0"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH x AS (COPY (SELECT 1) TO 'f') SELECT * FROM x",
        "SELECT content AS response_id FROM read_text('/etc/passwd')",
    ],
)
def test_the_sql_of_a_manifest_is_that_of_others(catalog, sql):
    """A downloaded manifest would read and write files of whoever reproduces it."""
    manifest = {**build(catalog, "low_t_das").manifest, "sql": sql}
    with pytest.raises((DeniedError, UsageError)):
        reproduce(catalog, manifest)
    with pytest.raises(UsageError):
        reproduce(catalog, {**manifest, "view": "../../x"})


def test_a_trusted_build_runs_only_when_trusted(catalog, tmp_path):
    """SQL that may write files would run unasked."""
    view = tmp_path / "mine.sql"
    view.write_text("SELECT response_id FROM split")
    manifest = build(catalog, str(view), trusted=True).manifest
    with pytest.raises(UsageError, match="pass --trusted if it is your own"):
        reproduce(catalog, manifest)
    assert reproduce(catalog, manifest, trusted=True).reproduced


def test_the_command_exits_0_or_3(catalog, made, response, tmp_path):
    """A script could not tell whether a split was reproduced."""
    first = build(catalog, "low_t_das")
    copy = tmp_path / "copy"
    shutil.copytree(first.path, copy)
    arguments = ["reproduce", "--catalog", str(catalog.path)]
    done = CliRunner().invoke(cli, [*arguments, str(copy)])
    assert done.exit_code == 0, done.output
    assert f"reproduced: low_t_das {first.build_id}, 1 shard" in done.stdout
    other = made(response("a", scores=SCORES), name="other")
    done = CliRunner().invoke(cli, ["reproduce", str(copy), "--json", "--catalog", str(other.path)])
    assert isinstance(done.exception, DataError)
    assert done.exception.exit_code == 3
    (document,) = json.loads(done.stdout)
    assert document["reproduced"] is False
    assert document["missing"]


@pytest.mark.parametrize(
    ("text", "named"),
    [("org/name", True), ("org/name@v1.0", True), ("low_t_das", False), ("a/b/c", False),
     ("/abs/path", False), ("org/name@", False)],
)  # fmt: skip
def test_names_of_the_hub_are_told_from_ids_and_folders(text, named, tmp_path):
    """A folder would be asked of the Hub, or the other way round."""
    assert published.is_name(text) is named
    (tmp_path / "here" / "folder").mkdir(parents=True)
    assert not published.is_name("here/folder")
