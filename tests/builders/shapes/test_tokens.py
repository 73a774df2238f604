"""Shapes that bring token ids: samples, the published release, harmony, --map."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.records import Logprobs, Question, Response, Scorer, TokenScores
from builders.shapes import Context, detect
from builders.shapes.fitting import locate
from builders.tokens.table import TokenTable
from dasd_data.errors import RowError, UsageError

TEXT = "<think>\né\n</think>\n\n4"
IDS = [257, 10, 0xC3, 0xA9, 10, 258, 10, 10, ord("4"), 256]
BYTES = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0]


def sample(**choice: Any) -> dict[str, Any]:
    values = [-0.5] * len(IDS)
    first = {
        "index": 0,
        "text": TEXT,
        "token_ids": IDS,
        "logprobs": values,
        "finish_reason": "stop",
    }
    return {
        "question": "2 + 2?", "domain": "math", "reference_answer": "4", "model": "tiny",
        "temperature": 0.6, "top_p": 1.0, "max_tokens": 512, "seed": 7, "engine": "vllm",
        "engine_version": "0.32.0", "logprobs_mode": "raw_logprobs", "prompt_token_ids": [1],
        "choices": [first | choice],
    }  # fmt: skip


def test_samples(parse: Any, byte_tokenizer: str) -> None:
    """Our sampler's rows would lose a setting, or their tokens shift by the think tags."""
    scorer = Scorer(
        "tiny", tokenizer=TokenTable.load(byte_tokenizer).name, engine="vllm",
        engine_version="0.32.0", logprobs_mode="raw_logprobs", temperature=1.0,
        context="sampled_prompt",
    )  # fmt: skip
    assert parse(sample(), "samples", tokenizer=byte_tokenizer) == [
        Response(
            Question("2 + 2?", "math", "4", "set", "3"), "4", "é", model="tiny", temperature=0.6,
            top_p=1.0, max_tokens=512, seed=7, finish_reason="stop",
            tokens=[TokenScores("teacher", scorer, IDS, BYTES, [-0.5] * 10, [1])],
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "temperature"),
    [("raw_logprobs", 1.0), ("processed_logprobs", 0.6), ("unknown", None), (None, None)],
)
def test_the_temperature_of_logprobs(
    parse: Any, byte_tokenizer: str, mode: str | None, temperature: float | None
) -> None:
    """Log-probs of different distributions would share a scorer and be compared."""
    row = sample() | {"logprobs_mode": mode, "tokenizer": byte_tokenizer}
    (found,) = parse(row, "samples", name="student")
    (tokens,) = found.tokens
    assert (tokens.name, tokens.scorer.temperature) == ("student", temperature)
    assert tokens.scorer.logprobs_mode == (mode or "unknown")


def test_several_samples_and_a_bad_one(refuse: Any, byte_tokenizer: str) -> None:
    """Ids of another text would be laid over this one, or take good samples with them."""
    row = sample()
    other = {"index": 4, "text": "5", "token_ids": [ord("6")], "logprobs": [-0.5]}
    short = {"index": 5, "text": "7", "token_ids": [ord("7"), 256], "logprobs": [-0.5]}
    row["choices"] += [other, short]
    kept, reason = refuse(row, tokenizer=byte_tokenizer)
    assert [(r.sample_index, r.answer, len(r.tokens)) for r in kept] == [
        (0, "4", 1), (4, "5", 0), (5, "7", 0),
    ]  # fmt: skip
    assert "response 1: kept, its tokens refused: bytes do not tile the text" in reason
    assert (
        "response 2: kept, its tokens refused: lists of unequal length: 2 token ids, 1 log"
        in reason
    )


def test_ids_without_a_tokenizer_stop_the_file(parse: Any) -> None:
    """Every row would be refused for what one flag mends."""
    with pytest.raises(UsageError, match="--tokenizer FOLDER"):
        parse(sample(), "samples")


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "x" * 5000, "a\0b"])
def test_a_row_cannot_have_a_tokenizer_downloaded(
    refuse: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whoever wrote the file would decide what this machine asks of the network."""

    def connect(*_: Any) -> None:
        pytest.fail("asked the network")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    (kept,), reason = refuse(sample() | {"tokenizer": name})
    assert kept.tokens == []
    assert "is no file or folder here: give --tokenizer" in reason


def test_a_row_that_names_a_folder_without_a_tokenizer(refuse: Any, tmp_path: Path) -> None:
    """One bad cell would end the run."""
    (kept,), reason = refuse(sample() | {"tokenizer": str(tmp_path)})
    assert kept.tokens == []
    assert "the row's tokenizer: " in reason


def test_ids_of_the_wrong_tokenizer(refuse: Any, byte_tokenizer: str) -> None:
    """Ids beyond the vocabulary would crash the run."""
    (kept,), reason = refuse(sample(token_ids=[9999] * 10), tokenizer=byte_tokenizer)
    assert kept.tokens == [] and "token id 9999 is not in tokenizer" in reason


@pytest.mark.parametrize("token_id", [2**31, 2**63, 2**64])
def test_ids_that_no_tokenizer_has(refuse: Any, byte_tokenizer: str, token_id: int) -> None:
    """Prompt ids, which no tokenizer checks, would overflow when they are stored."""
    row = sample() | {"prompt_token_ids": [1, token_id]}
    (kept,), reason = refuse(row, tokenizer=byte_tokenizer)
    assert kept.tokens == []
    assert "its tokens refused: `prompt_token_ids`" in reason


def test_logprobs_without_tokens_are_refused(refuse: Any) -> None:
    """Bare numbers would be dropped without a word."""
    (kept,), reason = refuse({"prompt": "Q", "completion": "A", "logprobs": [-0.5]})
    assert kept.answer == "A" and "which tokens are they of?" in reason


def test_mapped_ids(parse: Any, byte_tokenizer: str) -> None:
    """--map could not bring tokens, or not log-probs that come apart from their response."""
    mapping = {"question": "q", "completion": "c", "token_ids": "t", "logprobs": "l"}
    row = {"q": "2 + 2?", "c": TEXT, "t": IDS, "l": [-0.5] * 10, "sid": "u1"}
    (found,) = parse(row, "mapped", mapping=mapping, tokenizer=byte_tokenizer)
    assert list(found.tokens[0].token_bytes) == BYTES
    apart = {"key": "sid", "token_ids": "t", "logprobs": "l"}
    (lone,) = parse(row, "mapped", mapping=apart, tokenizer=byte_tokenizer, as_kind="logprobs")
    assert (lone.key, lone.tokens.scorer.model) == ("u1", "teacher")
    assert list(lone.tokens.token_ids) == IDS


PUBLISHED = {
    "uuid": "8f1c", "input": "2 + 2?", "output": "<think>\nTwo twos.\n</think>\n\nIt is 4.",
    "domain": "instruction_following", "meta": '{"source": "x"}',
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "flag", "temperature"),
    [
        ("hub/stage1/train.jsonl", None, 0.6), ("Superior-stage2-train.jsonl.gz", None, 1.0),
        ("train.jsonl", None, None), ("stage1/train.jsonl", 0.7, 0.7),
    ],
)  # fmt: skip
def test_the_published_release(
    parse: Any, file: str, flag: float | None, temperature: float | None
) -> None:
    """The published data would come without its uuid, its licence or its stage's temperature."""
    (found,) = parse(PUBLISHED, "superior", file=file, temperature=flag)
    source = Context(file).source
    asked = Question(
        "2 + 2?", "instruction_following", None, source, "8f1c", "cc-by-4.0",
        {"meta": '{"source": "x"}'},
    )  # fmt: skip
    assert found == Response(
        asked, "It is 4.", "Two twos.", "8f1c", model="gpt-oss-120b", temperature=temperature
    )


def test_published_logprobs(parse: Any, byte_tokenizer: str) -> None:
    """The published log-probs would not be joined to their response, or claim a known mode."""
    row = {"sample_uuid": "8f1c", "token_ids": [84, 256], "logprobs": [-0.5, 0.00001]}
    table = TokenTable.load(byte_tokenizer)
    scorer = Scorer(
        "gpt-oss-120b", tokenizer=table.name, context="sampled_prompt", sections="thinking"
    )
    assert parse(row, "superior_logprob", tokenizer=byte_tokenizer) == [
        Logprobs("8f1c", TokenScores("teacher", scorer, [84, 256], [1, 0], [-0.5, 0.0]))
    ]


def test_published_logprobs_of_another_tokenizer(refuse: Any, byte_tokenizer: str) -> None:
    """Ids that the tokenizer does not have would crash the run."""
    row = {"sample_uuid": "8f1c", "token_ids": [84, 9999], "logprobs": [-0.5, -0.5]}
    _, reason = refuse(row, tokenizer=byte_tokenizer)
    assert "token id 9999 is not in tokenizer" in reason


def test_published_logprobs_of_unequal_length(refuse: Any, byte_tokenizer: str) -> None:
    """A torn row would shift every log-prob after the tear."""
    row = {"sample_uuid": "8f1c", "token_ids": [84, 256], "logprobs": [-0.5]}
    _, reason = refuse(row, tokenizer=byte_tokenizer)
    assert reason == "lists of unequal length: 2 token ids, 1 log-probs"


@pytest.mark.parametrize(
    ("render", "thinking", "answer", "expected"),
    [
        (b"ab", None, "ab", (None, (0, 2), "thinking+answer")),
        (b"<think>\nab\n</think>\n\ncd", "ab", "cd", ((8, 10), (21, 23), "thinking+answer")),
        (b"ab\n</think>\n\nab", "ab", "ab", ((0, 2), (13, 15), "thinking+answer")),
        (b"<think>\n\n</think>\n\ncd", "", "cd", ((0, 0), (19, 21), "thinking+answer")),
        (b"<think>\nab", "ab", "", ((8, 10), (10, 10), "thinking+answer")),
        (b"\n\ncd<|im_end|>\n", "ab", "cd", (None, (2, 4), "answer")),
        (b"<think>\nab", "ab", "cd", ((8, 10), (10, 10), "thinking")),
        (b"<|channel|>analysis<|message|>ab<|end|><|start|>assistant<|channel|>final<|message|>cd",
         "ab", "cd", ((30, 32), (84, 86), "thinking+answer")),
        (b"ab<|end|><|start|>assistant<|channel|>final<|message|>final",
         "ab", "final", ((0, 2), (54, 59), "thinking+answer")),
        (b"<think>\nt\n</think>\n\nh", "t", "h", ((8, 9), (20, 21), "thinking+answer")),
        (b"<|channel|>analysis<|message|>analysis<|end|>c", "analysis", "c",
         ((30, 38), (45, 46), "thinking+answer")),
    ],
)  # fmt: skip
def test_sections_are_found_between_the_wrapper(
    render: bytes, thinking: str | None, answer: str, expected: Any
) -> None:
    """Tokens of tags would be scored as text, or an answer quoted in the thinking be mistaken."""
    assert locate(render, thinking, answer) == expected


@pytest.mark.parametrize(
    "render",
    [b"xab", b"xab</think>cd", b"ab x cd", b"ab</think>x cd", b"ab</think>cd and more", b""],
)
def test_text_between_the_sections_is_not_forgiven(render: bytes) -> None:
    """Tokens of another text would pass because both sections occur in it somewhere."""
    with pytest.raises(RowError, match="do not tile"):
        locate(render, "ab", "cd")


@pytest.fixture(scope="module")
def harmony(shared_data: Callable[[str], Path]) -> tuple[str, Callable[[str], list[int]]]:
    """gpt-oss's tokenizer: its folder, and text to ids with special tokens read."""
    from tokenizers import Tokenizer

    folder = shared_data("tokenizers/gpt-oss")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return str(folder), lambda text: tokenizer.encode(text, add_special_tokens=False).ids


PROMPT = (
    "<|start|>system<|message|>You are ChatGPT.\nCurrent date: 2025-06-28\n\nReasoning: high<|end|>"
    "<|start|>developer<|message|># Instructions\n\nBe brief.<|end|>"
    "<|start|>user<|message|>2 + 2?<|end|><|start|>assistant"
)
SAID = (
    "<|channel|>analysis<|message|>Two twos.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>It is 4.<|return|>"
)


def test_harmony_tokens(parse: Any, harmony: Any) -> None:
    """Raw harmony ids would not give question, thinking and answer, or lose the prompt's date."""
    folder, encode = harmony
    ids = encode(SAID)
    row = {
        "problem_id": "p1", "state_hash": "s", "action_hash": "a", "model": "gpt-oss-120b",
        "prompt_tokens": encode(PROMPT), "tokens": ids,
    }  # fmt: skip
    (found,) = parse(row, "harmony", tokenizer=folder)
    (tokens,) = found.tokens
    assert found == Response(
        Question("2 + 2?", "math", None, "set", "p1", meta=found.question.meta), "It is 4.",
        "Two twos.", "s/a", model="gpt-oss-120b", temperature=1.0, finish_reason="stop",
        tokens=found.tokens,
    )  # fmt: skip
    assert found.question.meta == {"developer": "# Instructions\n\nBe brief."}
    assert list(tokens.token_ids) == ids
    assert (tokens.logprobs, sum(tokens.token_bytes)) == (None, 17)
    assert list(tokens.prompt_ids) == encode(PROMPT)
    assert not any(tokens.token_bytes[:3]) and tokens.token_bytes[-1] == 0
    assert (tokens.scorer.reasoning_effort, tokens.scorer.date) == ("high", "2025-06-28")
    assert tokens.scorer.system_prompt == (
        "You are ChatGPT.\nCurrent date: 2025-06-28\n\nReasoning: high"
    )


@pytest.mark.parametrize(
    ("said", "finish", "answer"),
    [
        (SAID, "stop", "It is 4."),
        (SAID.removesuffix("<|return|>"), None, "It is 4."),
        ("<|channel|>analysis<|message|>Two tw", None, ""),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
         "to=python<|message|>2+2<|call|>", "tool_calls", ""),
    ],
)  # fmt: skip
def test_harmony_finish_reasons(
    parse: Any, harmony: Any, said: str, finish: str | None, answer: str
) -> None:
    """A completion that waits for a tool would count as finished, or a reason be made up."""
    folder, encode = harmony
    row = {"prompt_tokens": encode(PROMPT), "tokens": encode(said)}
    (found,) = parse(row, "harmony", tokenizer=folder)
    assert (found.finish_reason, found.answer) == (finish, answer)


@pytest.mark.parametrize("column", ["domain", "finish_reason", "state_hash", "action_hash"])
def test_numbers_where_text_belongs_are_refused(refuse: Any, harmony: Any, column: str) -> None:
    """One row with a list in the wrong column would end the ingest of millions."""
    folder, encode = harmony
    row = {"prompt_tokens": encode(PROMPT), "tokens": encode(SAID), column: np.array([1, 2])}
    _, why = refuse(row, tokenizer=folder)
    assert f"`{column}` is not text" in why


def test_two_models_over_the_same_tokens(parse: Any, refuse: Any, harmony: Any) -> None:
    """Log-probs would be off by one token, or the thinking before the cut be taken for prompt."""
    folder, encode = harmony
    head, said = encode(PROMPT), encode(SAID)
    total = len(head) + len(said)
    row = {
        "run": "1e-4", "problem_id": "p1", "trace_id": "t", "prompt_tokens": head + said[:5],
        "completion_tokens": said[5:], "logprobs_initial": [-i / 64 for i in range(1, total)],
        "logprobs_tuned": [-i / 32 for i in range(1, total)],
    }  # fmt: skip
    (found,) = parse(row, "two_model", tokenizer=folder)
    assert (found.thinking, found.answer, found.key) == ("Two twos.", "It is 4.", None)
    initial, tuned = found.tokens
    assert (initial.name, initial.scorer.model) == ("initial", "gpt-oss-120b")
    assert (tuned.name, tuned.scorer.model) == ("tuned", "gpt-oss-120b-lora-1e-4")
    assert list(initial.token_ids) == list(tuned.token_ids) == said
    assert initial.logprobs is not None and tuned.logprobs is not None
    # the response's first token is number len(head) of the whole, so its value is len(head) - 1
    assert list(initial.logprobs) == [-i / 64 for i in range(len(head), total)]
    assert tuned.logprobs[-1] == -(total - 1) / 32
    _, reason = refuse(row | {"logprobs_tuned": [-0.5] * total}, tokenizer=folder)
    assert reason == f"{total} tokens but {total} logprobs_tuned, not one fewer"


def test_published_harmony_logprobs_with_the_final_channel(parse: Any, harmony: Any) -> None:
    """Published ids that do include the answer would be taken to cover the thinking only."""
    folder, encode = harmony
    ids = encode(SAID)[3:]
    row = {"sample_uuid": "8f1c", "token_ids": ids, "logprobs": [-0.5] * len(ids)}
    (found,) = parse(row, "superior_logprob", tokenizer=folder)
    assert found.tokens.scorer.sections == "thinking+answer"


def test_detection_does_not_need_the_tokenizer() -> None:
    """A dry run would fail for want of a tokenizer it does not use."""
    assert detect(sample(), Context("a.jsonl")).name == "samples"


def test_a_tokenizer_named_by_a_row_that_is_none_is_refused(refuse, tmp_path):
    """A row that names any file of the machine would end the run, or wait for a pipe."""
    (tmp_path / "notes.txt").write_text("no vocabulary")
    os.mkfifo(tmp_path / "pipe")
    for name in ("notes.txt", "pipe"):
        row = {"prompt_tokens": [65], "tokens": [65], "tokenizer": str(tmp_path / name)}
        records, reason = refuse(row)
        assert records == [] and "the row's tokenizer" in reason
