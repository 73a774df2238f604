from __future__ import annotations

import hashlib

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import filter_repo_objects
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from builders.score.choose import EngineOptions, load
from builders.score.identity import hash_files, model_folder, tokenizer_folder, tokenizer_name
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


@pytest.mark.parametrize(
    ("weights", "wanted"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin", "modeling.py"], ["pytorch_model.bin"]),
    ],
)
def test_a_repository_gives_one_copy_of_its_weights(tmp_path, monkeypatch, weights, wanted):
    """A model with `original/` weights or two formats would be downloaded twice over."""
    commit = tmp_path / "c0ffee"
    stored = [*weights, "config.json", "original/model.safetensors", "onnx/config.json"]
    asked = []

    def download(repository, *, revision, allow_patterns, ignore_patterns):
        asked.append((repository, revision))
        for name in filter_repo_objects(
            stored, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        ):
            (commit / name).parent.mkdir(parents=True, exist_ok=True)
            (commit / name).write_bytes(b"x")
        return str(commit)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert model_folder("owner/name", "main") == (commit, "owner/name", "c0ffee")
    found = sorted(p.relative_to(commit).as_posix() for p in commit.rglob("*") if p.is_file())
    assert found == ["config.json", *wanted]
    assert asked in ([("owner/name", "main")], [("owner/name", "main"), ("owner/name", "c0ffee")])


def test_no_such_model_names_both_ways_to_give_one(tmp_path):
    """A mistyped folder would look like a problem of the network."""
    with pytest.raises(UsageError, match=r"give a folder with config\.json, or owner/name"):
        model_folder(tmp_path / "nowhere")


def test_a_revision_without_a_tokenizer_is_named(monkeypatch):
    """A label of one's own, given for a server's model, would be taken for a wrong model name."""

    def download(repository, *, revision, **more):
        raise HFValidationError

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(UsageError, match=r"'owner/name' of revision 'new': .* with --tokenizer"):
        tokenizer_folder("owner/name", "new")
    with pytest.raises(UsageError, match=r"'owner/name': neither"):
        tokenizer_folder("owner/name")


def test_a_tokenizer_is_that_of_the_revision(tmp_path, monkeypatch):
    """A served revision would be asked with the template and the ids of `main`."""
    pytest.importorskip("openai")
    asked = []

    def download(repository, **more):
        asked.append((repository, more["revision"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    tokenizer_folder("owner/name", "v2")
    for tokenizer in (None, "owner/other"):
        options = EngineOptions(
            model="owner/name", engine="openai", revision="v2", tokenizer=tokenizer
        )
        load(options, {"openai": "builtins:print"}, None)
    assert asked == [("owner/name", "v2"), ("owner/name", "v2"), ("owner/other", None)]
