"""From what the user names to the list of inputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from builders.read import expand, read, stored_bytes
from dasd_data.errors import UsageError


def save(folder: Path, shards: list[list[int]]) -> None:
    """What `datasets.Dataset.save_to_disk` writes (checked against datasets 5.2 below)."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{len(shards):05}.arrow" for i in range(len(shards))]
    for name, values in zip(names, shards, strict=True):
        part = pa.table({"a": values})
        with pa.ipc.new_stream(folder / name, part.schema) as sink:
            sink.write_table(part)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names]})
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Inputs at two depths, hidden and foreign files, and a saved data set."""
    for name in (
        "b.jsonl",
        "a.csv",
        "sub/c.json.gz",
        ".hidden.jsonl",
        ".cache/d.jsonl",
        "README.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    save(tmp_path / "saved", [[1, 2], [3]])
    return tmp_path


def names(root: Path, inputs: list[Path]) -> list[str]:
    return [os.path.relpath(i, root) for i in inputs]


def test_a_folder_gives_its_inputs_in_order(tree: Path) -> None:
    """A folder would be read in another order on another machine, or with hidden files."""
    assert names(tree, expand([tree])) == ["a.csv", "b.jsonl", "saved", "sub/c.json.gz"]


def test_what_is_named_keeps_its_order_and_comes_once(tree: Path) -> None:
    """A file named twice would be ingested twice, or a named file of odd ending not at all."""
    found = expand([tree / "b.jsonl", tree / "README.md", str(tree), tree / "sub" / ".." / "a.csv"])
    assert names(tree, found) == ["b.jsonl", "README.md", "a.csv", "saved", "sub/c.json.gz"]


def test_globs(tree: Path) -> None:
    """A pattern in quotes, as a configuration file holds it, would not be understood."""
    assert names(tree, expand([f"{tree}/*.jsonl"])) == ["b.jsonl"]
    assert names(tree, expand([f"{tree}/**/*.gz"])) == ["sub/c.json.gz"]


def test_a_name_with_brackets_is_a_file_first(tree: Path) -> None:
    """A file called `run[1].jsonl` would be taken for a pattern and not be found."""
    (tree / "run[1].jsonl").write_text("")
    assert names(tree, expand([tree / "run[1].jsonl"])) == ["run[1].jsonl"]


def test_a_missing_path_is_named(tree: Path) -> None:
    """A mistyped path would be skipped without a word."""
    with pytest.raises(UsageError, match=r"b\.jsonk: no such file.*mean 'b\.jsonl'"):
        expand([tree / "a.csv", tree / "b.jsonk"])
    with pytest.raises(UsageError, match=r"\*\.parquet: no file matches"):
        expand([f"{tree}/*.parquet"])


def test_a_folder_without_inputs_is_an_error(tmp_path: Path) -> None:
    """The wrong folder would ingest nothing and report success."""
    with pytest.raises(UsageError, match=r"no file in this folder ends in \.jsonl"):
        expand([tmp_path])


def test_a_saved_data_set_is_one_input_of_all_its_shards(tree: Path) -> None:
    """A saved data set would lose shards, or restart its row numbers in each."""
    rows = list(read(tree / "saved"))
    assert [(r.line, r.value) for r in rows] == [(1, {"a": 1}), (2, {"a": 2}), (3, {"a": 3})]
    assert stored_bytes([tree / "saved"]) > 0


def test_what_datasets_itself_saves(tmp_path: Path) -> None:
    """A Dataset or DatasetDict of the real library would not be recognised."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    one = datasets.Dataset.from_dict({"a": [1, 2, 3]})
    one.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(train=one, test=one.select([0])).save_to_disk(tmp_path / "two")
    assert names(tmp_path, expand([tmp_path])) == ["one", "two"]
    assert [r.value for r in read(tmp_path / "one")] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [r.line for r in read(tmp_path / "two")] == [1, 2, 3, 4]
