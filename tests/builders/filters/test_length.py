import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from builders.filters.length import Length, LengthConfig
from builders.tokens.think import join_think
from dasd_data.errors import ConfigError


@pytest.fixture
def tokenizer(tmp_path):
    """One token per word or punctuation mark; truncating and padding, as some files do."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.enable_truncation(8)
    made.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_the_value_is_the_whole_render(tokenizer, candidate):
    """Question, think tags, thinking, answer and template overhead all take context."""
    made = Length(LengthConfig(str(tokenizer), overhead=7))
    question, text = "a b c", "d e f g"
    [verdict] = made.check([candidate(question=question, thinking=text, answer="h i")])
    assert verdict.value == 3 + (1 + 4 + 1) + 2 + 7  # <think> d e f g </think>
    assert verdict.passed


def test_the_limit_is_inclusive(tokenizer, candidate):
    """A response that just fits is kept, one token more is dropped, with the limit named."""
    made = Length(LengthConfig(str(tokenizer), max_tokens=10, overhead=0))
    fits = candidate(question="q", thinking=None, answer=" ".join("x" * 9))
    over = candidate(question="q", thinking=None, answer=" ".join("x" * 10))
    verdicts = made.check([fits, over])
    assert [v.passed for v in verdicts] == [True, False]
    assert verdicts[1].value == 11.0
    assert json.loads(verdicts[1].evidence) == {"rule": "over_length", "max_tokens": 10}


def test_many_batches_keep_their_order(tokenizer, candidate, monkeypatch):
    """Counts of one response must not land on another when the batch is split."""
    monkeypatch.setattr("builders.filters.length.BATCH_BYTES", 30)
    made = Length(LengthConfig(str(tokenizer), overhead=0))
    many = [candidate(question="q", thinking=None, answer="x " * n) for n in range(25)]
    assert [v.value for v in made.check(many)] == [1.0 + n for n in range(25)]
    assert made.check([]) == []


def test_the_version_follows_the_tokenizers_content(tokenizer, tmp_path):
    """A moved file is the same version; another tokenizer or limit is a new one."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    first = Length(LengthConfig(str(tokenizer))).version
    assert Length(LengthConfig(str(folder))).version == first
    assert Length(LengthConfig(str(tokenizer), max_tokens=5)).version != first
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes() + b"\n")
    assert Length(LengthConfig(str(folder))).version != first


def test_a_missing_tokenizer_says_what_to_set(tmp_path):
    """Without a tokenizer there is no length, and the user must learn which setting it is."""
    with pytest.raises(ConfigError, match="no tokenizer is configured; set `tokenizer`"):
        Length()
    with pytest.raises(ConfigError, match="there is no file"):
        Length(LengthConfig(str(tmp_path / "none.json")))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no tokenizer"):
        Length(LengthConfig(str(tmp_path / "bad.json")))


def test_the_render_is_the_trainers(candidate):
    """The count must be of the same text that is trained on."""
    assert join_think("T", "A") == "<think>\nT\n</think>\n\nA"
    assert join_think(None, "A") == "A"


def test_the_count_under_the_real_student_tokenizer(shared_data, candidate):
    """Overhead and parts add up to the tokens of the rendered conversation."""
    path = shared_data("tokenizers/qwen3")
    made = Length(LengthConfig(str(path)))
    c = candidate(question="What is 2+2?", thinking="It is 4.", answer="\\boxed{4}")
    chat = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{c.question}<|im_end|>\n<|im_start|>assistant\n"
        f"{join_think(c.thinking, c.answer)}<|im_end|>\n"
    )
    whole = Tokenizer.from_file(str(path / "tokenizer.json")).encode(chat, add_special_tokens=False)
    [verdict] = made.check([c])
    assert verdict.value == len(whole)
