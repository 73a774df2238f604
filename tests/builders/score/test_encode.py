from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("transformers")

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, trainers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from builders.records import Scorer
from builders.score.encode import (
    Encoded,
    Stored,
    sampled_request,
    training_request,
    training_requests,
)
from builders.score.engine import ScoreResult
from builders.score.render import Render, TrainingContext, load_context
from builders.tokens.table import TokenTable
from dasd_data.errors import RowError

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = ["First we add 2 and 3.\n\nThat is 5.\n</think>\n\n\nThe answer is\n\n\n\n5."] * 20
ROWS = [
    Stored("plain", "2+3?", "First we add 2 and 3.", "The answer is 5."),
    Stored("newlines", "2+3?", "\n\nThat is 5.\n", "\n\nThe answer\n"),
    Stored("quoted", "q", "a </think> b\n</think>\n\nc <think>", "<think> in </think> the answer"),
    Stored("bare", "q", None, "The answer is 5."),
    Stored("unicode", "¿汉?", "汉字 👩‍👩‍👧 naïve", "𝔸 ∑ \\frac{1}{2}"),
    Stored("decomposed", "q", "cafe\u0301 \u2126", "e\u0301"),
    Stored("control", "q", "says <|im_end|> here", "5"),
    Stored("one", "q", "", "5"),
]


def make_context(folder, normalizer=None):
    table = Tokenizer(BPE())
    table.pre_tokenizer = ByteLevel(add_prefix_space=False)
    if normalizer:
        table.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    table.train_from_iterator(CORPUS, trainer)
    table.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    table.add_tokens([AddedToken("<think>"), AddedToken("</think>")])
    table.save(str(folder / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=table, chat_template=TEMPLATE)
    return TrainingContext(tokenizer), TokenTable.load(folder)


def shares(encoded, table, text):
    """The slice of the text that each scored token is said to hold."""
    data, at, parts = text.encode(), 0, []
    for size in encoded.token_bytes:
        parts.append(data[at : at + size])
        at += size
    assert at == len(data)
    return parts


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_every_token_holds_its_own_bytes_of_the_response(row, normalizer, tmp_path):
    """A sentence would get the log-probs of its neighbour or of the template."""
    context, table = make_context(tmp_path, normalizer)
    (encoded,) = training_requests(context, table, [row])
    request = encoded.request
    whole = context.tokenizer(
        context.render(row.question, row.thinking, row.answer).text, add_special_tokens=False
    )["input_ids"]
    assert request.ids.tolist() == whole[: len(request.ids)]
    assert len(encoded.token_bytes) == len(request.ids) - request.start
    parts = shares(encoded, table, (row.thinking or "") + row.answer)
    pieces = table.pieces(request.ids[request.start :])
    if not (normalizer and row.key == "decomposed"):
        assert all(part in piece for part, piece in zip(parts, pieces, strict=True))
    assert parts[0]
    assert parts[-1]


def test_wrapper_tokens_hold_nothing(tmp_path):
    """Delimiters would be scored as if the model had thought them."""
    context, table = make_context(tmp_path)
    (encoded,) = training_requests(context, table, ROWS[:1])
    ids = encoded.request.ids[encoded.request.start :].tolist()
    close = ids.index(table.id_of("</think>"))
    assert encoded.token_bytes[close] == 0
    assert table.id_of("<think>") not in ids
    assert sum(encoded.token_bytes[:close]) == len("First we add 2 and 3.")


def test_reasons_come_in_the_place_of_requests(tmp_path):
    """A response that cannot be scored would vanish or shift all the others."""
    context, table = make_context(tmp_path)
    context.tokenizer.chat_template = TEMPLATE.replace("m.content", "m.content | trim")
    rows = [*ROWS[:2], Stored("empty", "q", None, ""), ROWS[3]]
    got = list(training_requests(context, table, rows))
    assert [type(item) for item in got] == [Encoded, ScoreResult, ScoreResult, Encoded]
    assert [item.key for item in got[1:3]] == ["newlines", "empty"]
    assert [item.reason for item in got[1:3]] == [
        "template alters the response",
        "nothing to score",
    ]
    assert got[3].request.key == "bare"


def test_special_tokens_in_the_text_travel_with_the_request(tmp_path):
    """Nobody could count the responses that end, for the model, in their middle."""
    context, table = make_context(tmp_path)
    got = {item.request.key: item.control for item in training_requests(context, table, ROWS)}
    assert got.pop("control") == ("<|im_end|>",)
    assert set(got.values()) == {()}


def test_a_tokenizer_that_rewrites_the_text_is_noticed(tmp_path):
    """Values of lower-cased text would be stored for the original."""
    context, table = make_context(tmp_path, normalizers.Replace(Regex("5"), "6"))
    (got,) = training_requests(context, table, ROWS[:1])
    assert isinstance(got, ScoreResult)
    assert got.error.startswith("bytes do not tile the render")


def test_more_rows_than_one_batch_stay_in_order(tmp_path):
    """Log-probs would be stored for another response."""
    context, table = make_context(tmp_path)
    rows = [Stored(f"r{i}", "q", f"step {i}", f"{i}") for i in range(150)]
    for row, item in zip(rows, training_requests(context, table, iter(rows)), strict=True):
        assert item.request.key == row.key
        parts = shares(item, table, row.thinking + row.answer)
        assert b"".join(table.pieces(item.request.ids)).decode().endswith(row.answer)
        assert b"".join(parts).decode() == row.thinking + row.answer


def test_a_sampled_prompt_is_used_as_it_is():
    """Re-encoded text need not give the sampled tokens, and their probability is another."""
    request = sampled_request("k", [5, 6, 7], [8, 9])
    assert (request.ids.tolist(), request.start, request.ids.dtype) == (
        [5, 6, 7, 8, 9],
        3,
        np.int32,
    )


def test_the_context_is_part_of_the_scorer(tmp_path):
    """Scores under two prompts would be compared with each other."""
    context, _ = make_context(tmp_path)
    base = Scorer("m", engine="transformers")
    got = TrainingContext(context.tokenizer, "Be brief.").describe(base)
    assert (got.context, got.system_prompt) == ("training_render", "Be brief.")
    assert got.chat_template == context.template_hash
    assert got.model == "m"


def test_ids_of_another_tokenizer_are_noticed(tmp_path):
    """A student scored with the wrong tokenizer would give values of other words."""
    context, table = make_context(tmp_path)
    ids = context.tokenizer("a b", add_special_tokens=False)["input_ids"]
    assert training_request("k", Render("a b", None, (2, 3)), ids, table).token_bytes == [1]
    with pytest.raises(RowError, match="do not tile"):
        training_request("k", Render("a b", None, (2, 3)), ids[::-1], table)


def test_real_traces_are_tiled_by_the_real_tokenizer(shared_data):
    """Real long reasoning would come out misaligned under Qwen3's tokenizer."""
    import pyarrow.parquet as pq

    folder = shared_data("tokenizers/qwen3")
    context, table = load_context(folder), TokenTable.load(folder)
    context.tokenizer.chat_template = TEMPLATE
    rows = pq.read_table(shared_data("responses/gptoss_math_attempts.parquet")).to_pylist()
    stored = [
        Stored(str(i), row["problem"], row["reasoning"], row["content"])
        for i, row in enumerate(rows)
        if row["content"] is not None
    ][:40]
    for row, item in zip(stored, training_requests(context, table, stored), strict=True):
        assert isinstance(item, Encoded), (row.key, json.dumps(item.error))
        text = (row.thinking or "") + row.answer
        assert sum(item.token_bytes) == len(text.encode())
        scored = [n > 0 for n in item.token_bytes]
        assert scored.count(False) <= 3
