from __future__ import annotations

import hashlib

import pytest

from builders.score.identity import hash_files, model_folder, tokenizer_hash
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


def test_a_tokenizer_is_known_by_its_vocabulary_files(tmp_path):
    """Scores under an edited vocabulary would pass for those of the old one."""
    assert tokenizer_hash(tmp_path) is None
    (tmp_path / "spiece.model").write_bytes(b"pieces")
    slow = tokenizer_hash(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    fast = tokenizer_hash(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"{ }")
    assert len({slow, fast, tokenizer_hash(tmp_path)}) == 3


def test_no_such_model_names_both_ways_to_give_one(tmp_path):
    """A mistyped folder would look like a problem of the network."""
    with pytest.raises(UsageError, match=r"give a folder with config\.json, or owner/name"):
        model_folder(tmp_path / "nowhere")
