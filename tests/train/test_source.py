"""Splits: which shards are read, and what of them cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.train.conftest import TINY, chat_row, write_split
from train import data, plan, source
from train.config import Config, Source, TrainError
from train.rows import Template, load_template

Make = Callable[..., Config]


def over(base: Config, folder: Path, /, **keys: Any) -> Config:
    entry = Source(path=str(folder), **keys)
    return msgspec.structs.replace(base, data=[entry])


def load(config: Config) -> data.Rows:
    return data.load(config, load_template(config))


def pushed(folder: Path, template: Template, *views: str) -> Path:
    """A data set of the Hub, as `dasd-data push` lays it out."""
    for view in views:
        (folder / view).mkdir(parents=True)
        (folder / "manifests").mkdir(exist_ok=True)
        file = folder / view / "train-00000-of-00001.parquet"
        pq.write_table(
            pa.Table.from_pylist([chat_row(f"{view}{i}", "one") for i in range(2)]), file
        )
        scored = {"context": "training_render", "system_prompt": None if view == "low" else "Else.",
                  "chat_template": template.hash}  # fmt: skip
        shard = {
            "path": f"data/{file.name}",
            "bytes": file.stat().st_size,
            "sha256": f"{view}-hash",
        }
        about = {"scorers": {"student": scored}, "shards": [shard]}
        (folder / "manifests" / f"{view}.json").write_text(json.dumps(about))
    return folder


def test_one_view_of_a_pushed_data_set_is_read(config: Make, tmp_path: Path) -> None:
    """Stage 1 would train on every view of the repository, mixed."""
    base = config([chat_row("x", "y")])
    template = load_template(base)
    folder = pushed(tmp_path / "hub", template, "low", "high")
    rows = load(over(base, folder, config="low"))
    assert rows.column("id").tolist() == ["low0", "low1"]
    ((_, digest),) = source.find(Source(path=str(folder), config="low"), template)
    assert digest == "low-hash", "the manifest's, by which it is not read again"
    for entry in ({}, {"config": "mid"}):
        with pytest.raises(TrainError, match=r"`config` to one of \['high', 'low'\]"):
            load(over(base, folder, **entry))
    with pytest.raises(TrainError, match="system_prompt"):
        load(over(base, folder, config="high"))
    only = pushed(tmp_path / "only", template, "low")
    assert load(over(base, only)).column("id").tolist() == ["low0", "low1"]
    with pytest.raises(TrainError, match="`config`"):
        load(over(base, Path(base.data[0].path), config="low"))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "assistant"),
        ([], "assistant"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": None}], "content"),
        ([{"role": None, "content": "a"}, {"role": "assistant", "content": "b"}], "role"),
        ([None, {"role": "assistant", "content": "b"}], "role"),
    ],
)
def test_a_chat_with_gaps_drops_the_row(config: Make, messages: Any, reason: str) -> None:
    """One row of 300,000 would end the run in a traceback."""
    rows = [chat_row("good", "one two"), {**chat_row("bad", "x"), "messages": messages}]
    base = config(rows)
    made = plan.make(base, load(base))
    ((why, names),) = made.dropped.items()
    assert names == ["bad"] and reason in why


@pytest.mark.parametrize("masked", [[[0]], [[0, 1, 2]], [[0, None]], [None], [[]]])
def test_a_span_without_two_ends_drops_the_row(config: Make, masked: Any) -> None:
    """Text that was not to be learned would be, or a traceback ends the run."""
    base = config([chat_row("good", "one", masked=[[0, 1]]), chat_row("bad", "one", masked=masked)])
    assert list(plan.make(base, load(base)).dropped.values()) == [["bad"]]


@pytest.mark.parametrize(
    "messages",
    [json.dumps(chat_row("a", "b")["messages"]), [{"from": "human", "value": "a"}], ["a", "b"],
     [{"role": 1, "content": "a"}]],
)  # fmt: skip
def test_messages_of_another_shape_are_refused(config: Make, messages: Any) -> None:
    """ShareGPT's keys, or JSON in a string, end in a traceback."""
    with pytest.raises(TrainError, match="not a list of role and content"):
        load(config([{"messages": messages}]))


@pytest.mark.parametrize("broken", ["shard", "page", "word", "manifest"])
def test_a_broken_file_is_named(config: Make, tmp_path: Path, broken: str) -> None:
    """Of 400 shards, one has to be loaded again: which?"""
    base = config([chat_row("x", "y")])
    folder = write_split(tmp_path / "broken", [chat_row(f"r{i}", "one " * 99) for i in range(99)])
    (file,) = (folder / "data").iterdir()
    if broken == "manifest":
        file = folder / "manifest.json"
        file.write_text("{")
    else:
        table = pq.read_table(file)
        pq.write_table(table, file, compression="none", write_page_checksum=True)
        whole = file.read_bytes()
        bad = {"shard": b"PAR1garbage", "page": b"\xff" * 999 + whole[999:],
               "word": whole.replace(b"one one", b"one two", 1)}  # fmt: skip
        assert bad[broken] != whole
        file.write_bytes(bad[broken])
    with pytest.raises(TrainError, match=file.name):
        load(over(base, folder))


def test_a_student_without_a_model_is_refused(config: Make, tmp_path: Path) -> None:
    """A tokenizer alone would be noticed when everything is loaded; and stage 2 needs stage 1."""
    for file in TINY.iterdir():
        if file.name != "config.json":
            (tmp_path / file.name).symlink_to(file)
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(TrainError, match="plan with init_from=<the base model>"):
            load(config([chat_row("x", "y")], init_from=str(folder)))
