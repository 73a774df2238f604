"""`doctor`: it works whatever is broken, says what to do, and never shows a secret."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

SCORES = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}


@pytest.fixture
def checks(command):
    """checks(*arguments, **env): (exit code, {check: [(state, what, do)]})."""

    def examine(*arguments, **env):
        done = command("doctor", "--json", *arguments, env={**os.environ, **env})
        assert "Traceback" not in done.stderr, done.stderr
        found = {}
        for row in json.loads(done.stdout)["checks"]:
            found.setdefault(row["check"], []).append((row["state"], row["what"], row["do"]))
        return done.returncode, found

    return examine


def test_without_a_catalog_it_tells_how_to_make_one(checks):
    """A newcomer's first question would end in an error."""
    code, found = checks()
    assert found["catalog"][0][0] == "warning"
    assert "dasd-data init" in found["catalog"][0][2]
    assert {"python", "libraries", "extra score", "duckdb", "numba cache", "hub"} <= found.keys()
    assert code == (3 if any(s == "problem" for rows in found.values() for s, _, _ in rows) else 0)


def test_a_sound_catalog_has_no_problem(checks, made, response, tmp_path):
    """Warnings that are always there would teach people not to read them."""
    made(response("a", scores=SCORES))
    _, found = checks(TMPDIR=str(tmp_path))  # without what others left on this machine
    assert found["catalog"][0][0] == "ok"
    assert found["access"] == [("ok", "can be read and written", "")]
    assert found["leftovers"][0][0] == "ok"


@pytest.mark.parametrize("damage", ["file", "log", "settings"])
def test_a_damaged_catalog_is_a_problem_and_the_rest_is_still_told(checks, made, response, damage):
    """The command for broken things would break on them."""
    catalog = made(response("a", scores=SCORES))
    if damage == "file":
        catalog.files["responses"][0].unlink()
    elif damage == "log":
        for entry in (catalog.path / "tables" / "runs" / "_delta_log").glob("*.json"):
            entry.write_text("{")
    else:
        Path("dasd.toml").write_text("catalog = 1")
    code, found = checks()
    assert code == 3
    assert found["settings" if damage == "settings" else "catalog"][0][0] == "problem"
    assert found["python"][0][0] == "ok"
    if damage != "settings":  # a backup is the last resort
        assert "dasd-data verify" in found["catalog"][0][2]


def test_leftovers_and_killed_runs_are_named(checks, made, response, append):
    """Disks would fill up with files that nothing reads."""
    catalog = made(response("a", scores=SCORES))
    stale = catalog.path / "tables" / "tokens" / "x.tmp"
    stale.write_bytes(b"0" * 1_000)
    os.utime(stale, (0, 0))
    run = {"run_id": "r", "stage": "score", "started_at": datetime(2026, 2, 1, tzinfo=UTC)}
    append(catalog, "runs", [run])
    _, found = checks()
    state, what, do = found["leftovers"][0]
    assert (state, str(stale) in what, bool(do)) == ("warning", True, True)
    state, what, _ = found["runs"][0]
    assert state == "warning"
    assert "score of 2026-02-01" in what


def test_a_tokenizer_that_is_gone_is_named(checks, made, response, append):
    """Scoring would fail a week later, and no one would know why."""
    catalog = made(response("a", scores=SCORES))
    row = {"scorer_id": "s", "name": "s", "tokenizer_path": "/nowhere/tokenizer.json"}
    append(catalog, "scorers", [row])
    _, found = checks()
    assert any(s == "warning" and "/nowhere" in what for s, what, _ in found["tokenizer"])


def test_the_token_is_never_shown(command):
    """A pasted report would give away the account."""
    env = {**os.environ, "HF_TOKEN": "hf_secret", "HF_ENDPOINT": "https://me:hidden@hub.local:8"}
    done = command("doctor", env=env)
    assert "https://hub.local:8, with a token" in done.stdout
    assert not {"hf_secret", "hidden"} & set(
        done.stdout.replace(":", " ").replace("@", " ").split()
    )


def test_a_missing_extra_comes_with_its_install_line(command):
    """The line would have to be looked up."""
    before = (
        "from dasd_data.doctor import installation\n"
        "found = installation.installed\n"
        "installation.installed = lambda name: None if name == 'transformers' else found(name)"
    )
    done = command("doctor", before=before)
    assert "transformers not installed (`score`, `sample` and `select` need it)" in done.stdout
    assert "pip install 'dasd-data[score]'" in done.stdout


def test_the_file_system_of_a_path_is_that_of_its_mount():
    """A catalog on NFS would pass for one on a local disk."""
    from dasd_data.doctor.machine import file_system

    assert file_system(Path("/proc/self")) == "proc"
