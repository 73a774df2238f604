"""Splits and configurations of a few rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from train.config import Config

TINY = Path(__file__).parents[2] / "examples" / "tiny" / "student"
ZERO3 = Path(__file__).parents[2] / "train" / "zero3.json"
OFFLOAD = ZERO3.with_name("zero3_offload.json")


def chat_row(name: str, answer: str, **more: Any) -> dict[str, Any]:
    """A row of a split."""
    messages = [
        {"role": "user", "content": f"{name}?"},
        {"role": "assistant", "content": f"<think>\n{answer}\n</think>\n\n{name}"},
    ]
    return {
        "messages": messages,
        "response_id": name,
        "question_id": f"q{name}",
        "domain": "math",
        **more,
    }


def write_split(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A split of one shard."""
    (folder / "data").mkdir(parents=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    filled = [{name: row.get(name) for name in names} for row in rows]
    pq.write_table(pa.Table.from_pylist(filled), folder / "data" / "train-00000.parquet")
    return folder


def write_config(path: Path, **keys: Any) -> Path:
    """A configuration for CPUs in a file."""
    keys = {"init_from": str(TINY), "dtype": "float32", "deepspeed": str(ZERO3), "cutoff": 256,
            "packs_per_step": 4, "epochs": 2, "holdout": 0.0, "lr": 1e-3, "lr_min": 1e-4,
            "cache": str(path.parent / "cache"), "out": str(path.with_suffix("")), **keys}  # fmt: skip
    sources = keys.pop("data")
    texts = {key: json.dumps(value) for key, value in keys.items()}
    toml = {"NaN": "nan", "Infinity": "inf"}
    lines = [f"{key} = {toml.get(text, text)}" for key, text in texts.items()]
    for source in sources:
        lines += ["[[data]]", *(f"{key} = {json.dumps(value)}" for key, value in source.items())]
    path.write_text("\n".join(lines) if sources else "\n".join([*lines, "data = []"]))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """config(rows, **keys): a configuration over a split of these rows."""
    from train.config import load

    def make(rows: list[dict[str, Any]], **keys: Any) -> Config:
        split = tmp_path / f"split{len(list(tmp_path.glob('split*')))}"
        entry = {"path": str(write_split(split, rows)), "name": "made"}
        return load(write_config(tmp_path / "made.toml", **{"data": [entry], **keys}))

    return make
