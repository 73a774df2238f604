from __future__ import annotations

import hashlib

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from builders.score.identity import hash_files, model_folder, tokenizer_name
from builders.tokens.table import TokenTable
from dasd_data.errors import UsageError


def test_hash_is_that_of_names_and_contents(tmp_path):
    """The identity of a model would differ between machines or versions of this code."""
    (tmp_path / "b.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "notes.txt").write_bytes(b"other")
    lines = "".join(
        f"{name}\0{hashlib.sha256(content).hexdigest()}\n"
        for name, content in (("b.safetensors", b"weights"), ("config.json", b"{}"))
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()[:12]
    assert hash_files(tmp_path, ("*.safetensors", "config.json")) == expected
    assert model_folder(tmp_path) == (tmp_path, tmp_path.name, expected)


def test_a_tokenizer_is_known_by_the_name_of_its_token_table(tmp_path):
    """Stored token ids would not be recognised as those of the model's own tokenizer."""
    assert tokenizer_name(tmp_path) is None
    byte_level = Tokenizer(BPE({"a": 0, "b": 1}, []))
    byte_level.pre_tokenizer = ByteLevel()
    byte_level.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer_name(tmp_path) == TokenTable.load(tmp_path / "tokenizer.json").name


def test_no_such_model_names_both_ways_to_give_one(tmp_path):
    """A mistyped folder would look like a problem of the network."""
    with pytest.raises(UsageError, match=r"give a folder with config\.json, or owner/name"):
        model_folder(tmp_path / "nowhere")
