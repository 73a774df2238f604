"""Sources on the Hugging Face Hub: streamed from a server on this machine, and not reached."""

from __future__ import annotations

import io
import json
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from dasd_data.errors import RemoteError

from .hub import SHA, hub

QUICK = {"USE_TORCH": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}  # `datasets` would import torch
OFFLINE = QUICK | {"HF_ENDPOINT": "http://127.0.0.1:9"}


def parquet(rows) -> bytes:
    """A Parquet file of two row groups, but for a last row."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=len(rows) // 2 or 1)
    return file.getvalue()


@pytest.fixture
def streamed(tmp_path, command, recipe, catalog):
    """streamed(repository, files, text): the printed report of a recipe over the Hub's files."""

    def run(repository, files, text, *more):
        with hub(repository, files) as server:
            env = os.environ | QUICK
            env |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf")}
            done = command("collect", "--recipe", recipe(text).file, "--json", *more, env=env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), server

    return run


@pytest.mark.slow
def test_only_the_needed_columns_of_a_data_set_are_fetched(streamed, ace, catalog, values):
    """The answers of 4M rows, 100 GB, would be downloaded for their prompts."""
    draw = random.Random(0)
    rows = [ace(f"What is {n % 30}?", output=draw.randbytes(40_000).hex()) for n in range(500)]
    files = {"README.md": b"", "data/train-00000-of-00001.parquet": parquet(rows)}
    report, server = streamed("nvidia/AceReason-1.1-SFT", files, "[sources.acereason]\n")
    assert report["domains"][0] | {"new": 30} == report["domains"][0]
    assert report["revisions"] == {"acereason": SHA}
    stored = len(files["data/train-00000-of-00001.parquet"])
    assert server.sent < 0.6 * stored, f"{server.sent:,} of {stored:,} bytes"
    rows = "SELECT source, license FROM question_sources GROUP BY ALL"
    assert values(catalog, rows) == [("nvidia/AceReason-1.1-SFT", "cc-by-4.0")]
    ((settings,),) = values(catalog, "SELECT configuration FROM runs WHERE stage = 'collect'")
    assert json.loads(settings)["revisions"] == {"acereason": SHA}


@pytest.mark.slow
def test_both_configurations_are_read_and_refused_rows_have_their_place(
    streamed, code, catalog, values
):
    """Half of a data set would be missing, or a bad row of it not be found again."""
    away = [code("a", "-", dataset="taco", index="1")]
    card = (
        "---\nconfigs:\n- config_name: split_0\n  data_files:\n  - split: split_0\n"
        "    path: split_0/train-*\n- config_name: split_1\n  data_files:\n  - split: split_1\n"
        "    path: split_1/train-*\n---\n"
    )
    files = {
        "README.md": card.encode(),
        "split_0/train-00000.parquet": parquet([code("k", "Sort."), code("l", "")]),
        "split_1/train-00000.parquet": parquet(away),
    }
    report, _ = streamed("nvidia/OpenCodeReasoning", files, "[sources.opencodereasoning]\n")
    assert (report["counts"]["rows"], report["counts"]["left out"]) == (3, 1)
    place = f"hf://datasets/nvidia/OpenCodeReasoning@{SHA[:12]}/split_0"
    quarantine = values(catalog, "SELECT file, line, reason FROM quarantine")
    assert quarantine == [(place, 2, "`input` is empty")]


@pytest.mark.slow
def test_compressed_lines_with_nested_columns_are_read(streamed, am, catalog, values):
    """AM-DeepSeek-R1-Distilled-1.4M could not be read: its columns cannot be inferred."""
    rows = [am("Write."), am("Plan.", reference_answer="Go."), am("Code.", "KodCode")]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    card = "---\nconfigs:\n" + "".join(
        f"- config_name: {n}\n  data_files: {n}.jsonl.zst\n" for n in ("am_0.5M", "am_0.9M")
    )
    files = {"README.md": f"{card}---\n".encode()}
    files |= {f"{n}.jsonl.zst": zstandard.compress(text) for n in ("am_0.5M", "am_0.9M")}
    repository = "a-m-team/AM-DeepSeek-R1-Distilled-1.4M"
    report, _ = streamed(repository, files, '[sources.am_distilled]\nonly = ["InfinityInstruct"]\n')
    found = "SELECT text, row, s.reference_answer FROM questions JOIN question_sources AS s USING (question_id) ORDER BY 1"
    assert values(catalog, found) == [("Plan.", "am_0.5M:2", "Go."), ("Write.", "am_0.5M:1", None)]
    assert report["duplicates"] == [
        {"source": repository, "other": repository, "exact": 2, "normalized": 0}
    ]


def test_without_a_network_one_line_says_what_to_do(command, recipe, catalog, write, values):
    """A machine without internet would show a stack trace, or collect another selection."""
    write("q.jsonl", [{"question": "Q?", "domain": "math"}])
    found = recipe('[sources.acereason]\n[sources.q]\nkind = "files"\npath = "q.jsonl"\n')
    done = command("collect", "--recipe", found.file, env=os.environ | OFFLINE)
    assert done.returncode == RemoteError.exit_code == 5
    (line,) = done.stderr.splitlines()
    assert f"{found.file}: [sources.acereason]: nvidia/AceReason-1.1-SFT could not be read" in line
    assert "Nothing was collected" in line
    assert "--source acereason=PATH" in line
    assert "`path = …`" in line
    assert "--without acereason" in line
    assert values(catalog, "SELECT count(*) FROM questions") == [(0,)]
    done = command(
        "collect", "--recipe", found.file, "--without", "acereason", env=os.environ | OFFLINE
    )
    assert done.returncode == 0, done.stderr
    assert values(catalog, "SELECT text FROM questions") == [("Q?",)]


def test_a_data_set_that_is_not_there_is_a_wrong_recipe(command, recipe, catalog):
    """A misspelt id would look like a network that failed."""
    with hub("o/other", {}) as server:
        env = os.environ | {"HF_ENDPOINT": server.url}
        found = recipe('[sources.acereason]\nhub = "o/nosuch"\n')
        done = command("collect", "--recipe", found.file, env=env)
    assert done.returncode == 2
    assert "has no data set 'o/nosuch' at revision 'main'" in done.stderr


@pytest.mark.slow
def test_a_stream_that_breaks_off_ends_the_run_with_nothing_written(
    command, recipe, catalog, ace, values, tmp_path
):
    """Half a data set would be chosen from as if it were the whole."""
    data = parquet([ace(f"What is {n}?" + "x" * 999) for n in range(5000)])
    files = {"README.md": b"", "data/train-00000-of-00001.parquet": data}
    quick = "import datasets\ndatasets.config.STREAMING_READ_MAX_RETRIES = 1\n"
    with hub("nvidia/AceReason-1.1-SFT", files, broken=True) as server:
        env = os.environ | QUICK
        env |= {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "hf")}
        path = recipe("[sources.acereason]\n").file
        done = command("collect", "--recipe", path, before=quick, env=env)
    assert done.returncode == 5, done.stderr
    assert "could not be read from the Hugging Face Hub" in done.stderr.splitlines()[-1]
    assert values(catalog, "SELECT count(*) FROM questions") == [(0,)]
