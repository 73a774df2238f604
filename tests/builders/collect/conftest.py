"""Rows in the schemas of the published data sets, recipes over local files, catalogs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import dasd_data
from builders.collect import recipe as recipes
from dasd_data.catalog import Catalog


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty catalog at ./dasd.catalog."""
    return dasd_data.create(tmp_path / "dasd.catalog")


@pytest.fixture
def values() -> Callable[[Catalog, str], list[tuple]]:
    """values(catalog, query): rows of a query at the newest snapshot."""
    return lambda catalog, query: catalog.refresh().sql(query).fetchall()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Iterable[Any]], Path]:
    """write(name, rows): a JSONL or Parquet file, by its name; text rows are written as they are."""

    def make(name: str, rows: Iterable[Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(list(rows)), path)
        else:
            lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
            path.write_text("".join(line + "\n" for line in lines))
        return path

    return make


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., recipes.Recipe]:
    """recipe(text): the recipe that a TOML text spells, written to ./recipe.toml."""

    def make(text: str) -> recipes.Recipe:
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return recipes.load(str(path))

    return make


@pytest.fixture
def simple(write, recipe) -> Callable[..., recipes.Recipe]:
    """simple(files, domains=""): a recipe over files of questions, by source name."""

    def make(files: Mapping[str, Iterable[Any]], domains: str = "") -> recipes.Recipe:
        tables = []
        for name, rows in files.items():
            asked = [row if isinstance(row, dict | str) else {"question": row[0]} for row in rows]
            write(f"{name}.jsonl", asked)
            tables.append(f'[sources.{name}]\nkind = "files"\npath = "{name}.jsonl"\n')
            tables.append('domain = "math"\n')
        return recipe(domains + "".join(tables))

    return make


@pytest.fixture
def ace() -> Callable[..., dict[str, Any]]:
    """A row of nvidia/AceReason-1.1-SFT."""

    def row(text: str, category: str = "math", **more: Any) -> dict[str, Any]:
        output = "<think>\nSo.\n</think>\n\n\\boxed{4}"
        return {
            "category": category,
            "source": "NuminaMath-CoT",
            "input": text,
            "output": output,
        } | more

    return row


@pytest.fixture
def code() -> Callable[..., dict[str, Any]]:
    """A row of nvidia/OpenCodeReasoning."""

    def row(key: str, text: str, **more: Any) -> dict[str, Any]:
        return {
            "id": key, "input": text, "output": "<think>\nSo.\n</think>\n\n```python\nprint(1)\n```",
            "source": "codeforces", "license": "cc-by-4.0", "dataset": "code_contests",
            "split": "train", "difficulty": "11", "solution": "print(1)",
        } | more  # fmt: skip

    return row


@pytest.fixture
def science() -> Callable[..., dict[str, Any]]:
    """A row of nvidia/OpenScienceReasoning-2."""

    def row(
        text: str, output: str = "<think>\nSo.\n</think>\n\nC", answer: Any = "C"
    ) -> dict[str, Any]:
        return {"expected_answer": answer, "input": text, "output": output}

    return row


@pytest.fixture
def am() -> Callable[..., dict[str, Any]]:
    """A row of a-m-team/AM-DeepSeek-R1-Distilled-1.4M."""

    def row(text: str, source: str | None = "InfinityInstruct", **info: Any) -> dict[str, Any]:
        empty = dict.fromkeys(
            ("source", "reference_answer", "test_case", "think_content", "answer_content")
        )
        asked = {"role": "user", "content": text, "info": empty | {"source": source} | info}
        said = {
            "role": "assistant",
            "content": "<think>Hm.</think><answer>Yes.</answer>",
            "info": empty | {"think_content": "Hm.", "answer_content": "Yes."},
        }
        return {"messages": [asked, said]}

    return row
