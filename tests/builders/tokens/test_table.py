import base64
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.tokens.table import Pieces, TokenTable, decode
from dasd_data.errors import DataError, RemoteError, RowError, UsageError


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3", "gpt-oss"])
def test_every_id_has_the_bytes_that_the_tokenizers_library_decodes(name, shared_data, encoders):
    """A wrong byte in any vocabulary entry would shift every sentence after it."""
    table = TokenTable.load(shared_data(f"tokenizers/{name}"))
    decoded = encoders[name].decode_batch([[i] for i in range(len(table))], False)
    assert len(table) == encoders[name].get_vocab_size(with_added_tokens=True)
    assert [table.piece(i).decode(errors="replace") for i in range(len(table))] == decoded


@pytest.mark.slow
def test_gpt_oss_has_the_bytes_that_tiktoken_has(gpt_oss, shared_data, monkeypatch):
    """tokenizer.json's byte alphabet must give the published ranks, invalid UTF-8 included."""
    tiktoken_load = pytest.importorskip("tiktoken.load")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    ranks = tiktoken_load.load_tiktoken_bpe(str(shared_data("tokenizers/o200k_base.tiktoken")))
    assert {gpt_oss.piece(i): i for i in range(len(ranks))} == ranks


def test_the_same_vocabulary_has_one_name_in_both_formats(gpt_oss, shared_data):
    """Otherwise one scorer would appear as two and its scores would never be compared."""
    other = TokenTable.load(shared_data("tokenizers/o200k_base.tiktoken"))
    assert other.name == gpt_oss.name
    assert other.special_ids == gpt_oss.special_ids


@pytest.mark.parametrize("name", ["qwen3", "gpt-oss"])
def test_pieces_of_an_encoded_text_join_to_the_text(name, shared_data, encoders, hard_text):
    """Token lengths must add up to the text, or no row of this tokenizer could be taken."""
    table = TokenTable.load(shared_data(f"tokenizers/{name}"))
    ids = encoders[name].encode(hard_text, add_special_tokens=False).ids
    assert list(table.pieces(ids)) == [table.piece(i) for i in ids]
    assert table.pieces(ids).data == hard_text.encode()
    assert int(table.lengths[ids].sum()) == len(hard_text.encode())
    text, counts = decode(table.pieces(np.array(ids)))
    assert (text, counts.tolist()) == (hard_text, table.lengths[ids].tolist())


def test_special_tokens_have_no_length_and_think_is_text(qwen, gpt_oss):
    """`<think>` is not flagged special in Qwen's vocabulary; a quoted one must keep its bytes."""
    assert gpt_oss.is_special(200005)
    assert gpt_oss.lengths[200005] == 0
    assert gpt_oss.piece(200005) == b"<|channel|>"
    assert list(gpt_oss.text_pieces([200005, 1])) == [b"", gpt_oss.piece(1)]
    assert gpt_oss.id_of("<|return|>") == 200002
    assert not qwen.is_special(151667)
    assert list(qwen.text_pieces([151667])) == [b"<think>"]
    assert qwen.lengths[151667] == 7
    assert qwen.id_of("<think>") == 151667
    assert qwen.id_of("no such token") is None


@pytest.mark.parametrize("bad", [-1, 151669, 10**9])
def test_an_unknown_id_names_the_tokenizer_and_the_likely_cause(qwen, bad):
    """Ids of another tokenizer must be refused, not read from the wrong end of the table."""
    with pytest.raises(RowError, match=rf"token id {bad} .*{qwen.name}.*check --tokenizer"):
        qwen.pieces([1, bad])


def _save(path: Path, model, decoder, special: tuple[str, ...] = ()) -> Path:
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.save(str(path))
    return path


def test_sentencepiece_with_byte_fallback(tmp_path):
    """Llama- and Gemma-style vocabularies write a newline as <0x0A> and a space as ▁."""
    from tokenizers import decoders, models

    words = ["<s>", "<0x0A>", "<0xF0>", "▁Hello", "▁▁", "<0xZZ>", "é"]
    model = models.BPE({word: i for i, word in enumerate(words)}, [], byte_fallback=True)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    table = TokenTable.load(_save(tmp_path / "t.json", model, decoders.Sequence(steps), ("<s>",)))
    expected = [b"<s>", b"\n", b"\xf0", b" Hello", b"  ", b"<0xZZ>", "é".encode()]
    assert list(table.pieces(range(7))) == expected
    assert table.special_ids == {0}


def test_unigram_with_metaspace(tmp_path):
    """A unigram vocabulary is a list of scores, whose index is the id."""
    from tokenizers import decoders, models

    model = models.Unigram([("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0)], 0)
    table = TokenTable.load(_save(tmp_path / "t.json", model, decoders.Metaspace()))
    assert list(table.pieces([1, 2])) == [b" a", b"b"]


def test_a_vocabulary_without_exact_bytes_is_refused(tmp_path):
    """WordPiece drops the spaces between words; guessing them would move every boundary."""
    from tokenizers import decoders, models

    path = _save(tmp_path / "t.json", models.WordPiece({"[UNK]": 0}), decoders.WordPiece())
    with pytest.raises(DataError, match="WordPiece"):
        TokenTable.load(path)


def test_a_changed_file_is_read_again(tmp_path):
    """A cached table of a replaced vocabulary would give wrong bytes without a word."""
    path = tmp_path / "v.tiktoken"
    path.write_bytes(base64.b64encode(b"ab") + b" 0\n")
    first = TokenTable.load(path)
    assert TokenTable.load(path) is first
    path.write_bytes(base64.b64encode(b"xyz") + b" 0\n")
    os.utime(path, ns=(1, 1))
    assert TokenTable.load(path).piece(0) == b"xyz"
    assert TokenTable.load(tmp_path).piece(0) == b"xyz"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.tiktoken", b"not base64 at all\n", "no tiktoken file"),
        ("tokenizer.json", b"{}", "no tokenizer.json"),
        ("tokenizer.json", b"{", "no tokenizer.json"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, name, content, message):
    """The message must name the file, or the user hunts for it."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        TokenTable.load(tmp_path / name)
    assert name in str(error.value)


def test_a_folder_without_one_vocabulary_is_refused(tmp_path):
    """Choosing one of several vocabularies silently could choose the wrong one."""
    with pytest.raises(UsageError, match="has no vocabulary file"):
        TokenTable.load(tmp_path)
    for name in ("a.tiktoken", "b.tiktoken"):
        (tmp_path / name).write_bytes(b"YQ== 0\n")
    with pytest.raises(UsageError, match="has 2 vocabulary files"):
        TokenTable.load(tmp_path)


def test_what_is_neither_path_nor_hub_id_is_a_usage_error():
    """A mistyped path must not end in a network traceback."""
    with pytest.raises(UsageError, match="no folder or file here"):
        TokenTable.load("./no/such/folder/")


def test_a_hub_id_is_read_from_the_local_cache_without_network(tmp_path, monkeypatch):
    """Scoring nodes are offline: what the cache holds must be enough."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--some--model"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    spec = {
        "model": {"type": "BPE", "vocab": {"Ġa": 0}},
        "decoder": {"type": "ByteLevel"},
        "added_tokens": None,
    }
    (snapshot / "tokenizer.json").write_text(json.dumps(spec))
    assert TokenTable.load("some/model").piece(0) == b" a"
    with pytest.raises(RemoteError, match="give a folder"):
        TokenTable.load("some/other")


@pytest.mark.parametrize(
    ("pieces", "text", "counts"),
    [
        ([b"a", b"\xf0\x9f", b"\x98\x80", b"b"], "a😀b", [1, 2, 2, 1]),
        ([b"a\xf0\x9f", b"\x98", b"b"], "a\ufffdb", [4, 0, 1]),
        ([b"\x80", b"\x81\xffz"], "\ufffd\ufffd\ufffdz", [3, 7]),
        ([b"\xef\xbf", b"\xbd\xf0"], "\ufffd\ufffd", [2, 4]),
        ([b"", b"\xe2\x82"], "\ufffd", [0, 3]),
        ([b"\xc3", b"\xc3", b"\xa9"], "\ufffdé", [3, 1, 1]),
        ([], "", []),
    ],
)
def test_decode_by_hand(pieces, text, counts):
    """A cut emoji becomes one U+FFFD whose bytes belong to the token that began it."""
    found, held = decode(Pieces.of(pieces))
    assert (found, held.tolist()) == (text, counts)


@given(st.lists(st.binary(max_size=5) | st.text(max_size=3).map(str.encode), max_size=12))
def test_decode_counts_tile_the_text(pieces):
    """Whatever bytes a model emits, the counts must add up to the stored text."""
    text, counts = decode(Pieces.of(pieces))
    assert text == b"".join(pieces).decode(errors="replace")
    assert sum(counts) == len(text.encode())
    assert len(counts) == len(pieces)
