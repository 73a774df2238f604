"""What the tests of the shapes share: parsing a row, a tokenizer of single bytes, real data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from builders.records import Record
from builders.shapes import Context, detect
from builders.tokens.vocab import byte_level_alphabet
from dasd_data.errors import RowError

ROOT = Path(__file__).parents[3]

Parse = Callable[..., list[Record]]


@pytest.fixture
def parse() -> Parse:
    """Records of a row under the shape it is detected to have; `shape` says which that must be."""

    def run(row: dict[str, Any], shape: str, **context: Any) -> list[Record]:
        where = Context(context.pop("file", "data/set.jsonl"), **context)
        found = detect(row, where)
        assert found.name == shape
        return list(found.parse(row, where, 3))

    return run


@pytest.fixture
def refuse() -> Callable[..., tuple[list[Record], str]]:
    """The records that come before a row is refused, and the reason."""

    def run(row: dict[str, Any], **context: Any) -> tuple[list[Record], str]:
        where = Context("data/set.jsonl", **context)
        records = []
        with pytest.raises(RowError) as refused:
            for record in detect(row, where).parse(row, where, 3):
                records.append(record)  # noqa: PERF402
        return records, str(refused.value)

    return run


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tokenizer with id = byte, 256 `<|im_end|>` (special), 257 `<think>`, 258 `</think>`."""
    vocabulary = byte_level_alphabet()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_end|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    folder = tmp_path_factory.mktemp("bytes")
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A file of the shared real data; skips the test where it is not there."""

    def find(name: str) -> Path:
        path = Path(os.environ.get("DASD_SHARED", ROOT.parent / "shared")) / "data" / name
        if not path.exists():
            pytest.skip(f"needs the shared data: {path} is not there (DASD_SHARED)")
        return path

    return find
