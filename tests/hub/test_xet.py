"""`dasd-data push` as a command, by Xet: the client's own chunks, over the real routes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.hub.endpoint import TOKEN, Fault

REPO = "somebody/traces"
PUSH = ("push", "--view", "low_t_das", "--view", "high_t_das", "--repo", REPO, "--tag", "v1")
XORBS = "PUT /xorb-uploads/"

# What a stranger does: the rows of each configuration, and the features that the card promises.
LOAD = """
import json, sys
import datasets, pyarrow as pa
datasets.disable_progress_bars()
out = {}
for config in datasets.get_dataset_config_names(sys.argv[1]):
    rows = datasets.load_dataset(sys.argv[1], config, split="train", revision="v1")
    out[config] = [rows.to_list(), str(rows.features)]
print(json.dumps(out))
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A store of chunks, and caches, that no other test has filled."""
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


def load(repo):
    """What `datasets` finds in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, repo], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_what_is_pushed_is_what_datasets_loads(hub, catalog, command):
    """A stranger would train on other rows than were chosen, or on none."""
    import datasets
    import duckdb
    import polars
    from pyarrow import parquet

    done = command(*PUSH, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert hub.repositories[REPO].tags == {"v1": said["revision"]}
    assert hub.sent(XORBS) and not hub.sent("PUT /lfs-objects/")
    assert any("/xet-write-token/main" in line for line, _ in hub.requests)
    assert not [line for line in hub.unanswered if re.match(r"\w+ /v\d/", line)]
    loaded = load(REPO)
    assert loaded.keys() == {"low_t_das", "high_t_das"} == said["builds"].keys()
    for config, (rows, features) in loaded.items():
        folder = catalog.path / "builds" / config / said["builds"][config] / "data"
        built = polars.read_parquet(folder / "*.parquet")
        assert rows == built.to_dicts()
        schema = parquet.read_schema(next(folder.iterdir()))
        assert features == str(datasets.Features.from_arrow_schema(schema))
        found = duckdb.sql(f"FROM '{folder}/*.parquet'")
        assert [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()] == rows


# Where a push dies, one run after another, and whether its commit is there then.
STEPS = {
    "/api/validate-yaml": False,
    "/api/repos/create": False,
    "/xet-write-token/": False,
    XORBS: False,
    "/v1/xorb-commits/": False,
    "/v2/shards": False,
    "/commit/main": True,
    "/tag/": True,
}


# Each file is a batch of its own; no time for pictures.
BEFORE = """
from dasd_data.card import histogram
from dasd_data.hub import remote
histogram.available, remote.BATCH_BYTES = lambda: False, 1
"""


@pytest.mark.slow
def test_a_push_that_is_killed_at_each_step_goes_on(hub, catalog, command):
    """The machine's restart would leave half a data set, or send all of it again."""
    code = f"{BEFORE}\nfrom dasd_data.cli import main; main()"
    for step, committed in STEPS.items():
        pid = []
        hub.faults[:] = [Fault(step, hook=lambda pid=pid: os.kill(pid[0], signal.SIGKILL))]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([sys.executable, "-c", code, *PUSH], **silent) as killed:
            pid.append(killed.pid)
        assert killed.returncode == -signal.SIGKILL, step
        # The request had been heard.
        repository = hub.repositories.get(REPO)
        assert len(repository.commits if repository else "-") == 1 + committed, step
        if step == XORBS:
            hub.requests.clear()  # what was put and not committed has to be put again
    done = command(*PUSH, before=BEFORE)
    assert done.returncode == 0, done.stderr
    assert (len(repository.commits), repository.tags) == (2, {"v1": repository.head})
    put = [line for line, _ in hub.requests if line.startswith(XORBS)]
    assert len(put) == len(set(put)) == 2


@pytest.mark.slow
def test_exit_codes_and_a_token_that_is_never_shown(hub, catalog, command, monkeypatch):
    """A script could not tell a wrong token from a Hub that is down; a log would hold the token."""
    monkeypatch.setenv("DASD_DEBUG", "1")
    cases = {
        6: Fault("/xet-write-token/", 403, times=99),
        5: Fault("/v2/shards", 400, times=99),
        4: Fault("/commit/", 412, times=99),
    }
    for code, fault in cases.items():
        hub.faults[:] = [fault]
        done = command("push", "--view", "low_t_das", "--repo", REPO)
        assert done.returncode == code, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        assert "could not" in done.stderr.splitlines()[-1]
