"""Responses of OpenAI's API and of vLLM's server."""

from __future__ import annotations

from typing import Any

import pytest

from builders.records import Question, Response, Scorer, TokenScores
from dasd_data.errors import UsageError

MESSAGES = [{"role": "user", "content": "2 + 2?"}]
UNKNOWN = Scorer("m", context="sampled_prompt")


def entry(token: str, logprob: float | None, data: bytes | None = None) -> dict[str, Any]:
    spelled = list(token.encode() if data is None else data)
    return {"token": token, "logprob": logprob, "bytes": spelled, "top_logprobs": []}


def chat(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": i, "finish_reason": "stop", "stop_reason": None} | c
            for i, c in enumerate(choices)
        ],
        "usage": {"total_tokens": 9},
    }  # fmt: skip
    return {
        "request": {"model": "m", "messages": MESSAGES, "temperature": 0.6},
        "response": body,
    } | more


def says(content: str | None, entries: list[Any] | None = None, **message: Any) -> dict[str, Any]:
    logprobs = {"content": entries} if entries is not None else None
    return {"message": {"role": "assistant", "content": content} | message, "logprobs": logprobs}


def test_chat_with_logprobs(parse: Any) -> None:
    """A response of OpenAI's API would lose its settings or its log-probs."""
    choice = says("It is 4é.", [entry("It is", -0.5), entry(" 4", 5e-5), entry("é.", -2.0)])
    assert parse(chat(choice), "openai") == [
        Response(
            Question("2 + 2?", source="set", row="chatcmpl-1"), "It is 4é.", key="chatcmpl-1",
            model="m", temperature=0.6, finish_reason="stop",
            tokens=[TokenScores("teacher", UNKNOWN, None, [5, 2, 3], [-0.5, 0.0, -2.0])],
        )
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["reasoning_content", "reasoning"])
def test_reasoning_beside_the_content(parse: Any, column: str) -> None:
    """vLLM's tokens run through reasoning, delimiters and answer: they would shift by a tag."""
    raw = ["<think>", "\n", "two ", "twos", "\n</think>\n\n", "4", "<|im_end|>"]
    entries = [entry(t, -0.25) for t in raw]
    (found,) = parse(chat(says("4", entries, **{column: "two twos"})), "openai")
    assert (found.thinking, found.answer) == ("two twos", "4")
    (tokens,) = found.tokens
    assert list(tokens.token_bytes) == [0, 0, 4, 4, 0, 1, 0]
    assert tokens.scorer.sections == "thinking+answer"


def test_reasoning_that_has_no_tokens(parse: Any) -> None:
    """A server that gives log-probs of the content only would be taken to have scored all."""
    (found,) = parse(chat(says("4", [entry("4", -0.25)], reasoning="two twos")), "openai")
    assert found.tokens[0].token_bytes == [1]
    assert found.tokens[0].scorer.sections == "answer"


def test_a_character_in_two_tokens(parse: Any) -> None:
    """The two halves of an emoji would be refused, though their bytes are exact."""
    smile = "🙂".encode()
    entries = [entry("\\xf0\\x9f", -1.0, smile[:2]), entry("\\x99\\x82", -0.5, smile[2:])]
    (found,) = parse(chat(says("🙂", entries)), "openai")
    assert list(found.tokens[0].token_bytes) == [2, 2]


def test_bytes_that_do_not_tile_keep_the_response(refuse: Any) -> None:
    """Replacement characters would be stored as exact bytes, or the response be lost with them."""
    choice = says("🙂", [entry("\ufffd", -1.0), entry("\ufffd", -0.5)])
    (kept,), reason = refuse(chat(choice))
    assert (kept.answer, kept.tokens) == ("🙂", [])
    assert reason.startswith("response 0: kept, its tokens refused: bytes do not tile the text")
    _, reason = refuse(chat(choice | {"token_ids": [1, 2]}))
    assert reason.endswith("give --tokenizer")


def test_ids_of_vllm_come_before_bytes(parse: Any, byte_tokenizer: str) -> None:
    """Ids that vLLM returns would be ignored, and its half characters refused."""
    smile = list("🙂".encode())
    choice = says("🙂", [entry("\ufffd", -1.0)] * 4 + [entry("<|im_end|>", -0.5)])
    row = chat(choice | {"token_ids": [*smile, 256]})
    (found,) = parse(row, "openai", tokenizer=byte_tokenizer)
    (tokens,) = found.tokens
    assert list(tokens.token_ids) == [*smile, 256]
    assert list(tokens.token_bytes) == [1, 1, 1, 1, 0]
    assert tokens.scorer.tokenizer is not None
    spelled = [entry(f"token_id:{i}", -1.0) for i in smile]
    (same,) = parse(chat(says("🙂", spelled)), "openai", tokenizer=byte_tokenizer)
    assert list(same.tokens[0].token_ids) == smile


def test_ids_alone_need_the_tokenizer(parse: Any, byte_tokenizer: str) -> None:
    """Ids would be dropped without a word where nobody named their tokenizer."""
    row = chat(says("4") | {"token_ids": [ord("4"), 256]})
    with pytest.raises(UsageError, match="--tokenizer"):
        parse(row, "openai")
    (found,) = parse(row, "openai", tokenizer=byte_tokenizer)
    assert list(found.tokens[0].token_bytes) == [1, 0]
    assert found.tokens[0].logprobs is None


def test_several_choices(parse: Any) -> None:
    """Only the first of n samples would be taken."""
    first, second = parse(chat(says("4"), says("5") | {"finish_reason": "length"}), "openai")
    assert [(r.answer, r.sample_index, r.key, r.finish_reason) for r in (first, second)] == [
        ("4", 0, "chatcmpl-1#0", "stop"), ("5", 1, "chatcmpl-1#1", "length"),
    ]  # fmt: skip


def test_one_bad_choice_keeps_the_others(refuse: Any) -> None:
    """A choice that is a tool call would lose its neighbours."""
    calls = says(None, tool_calls=[{"id": "1"}])
    kept, reason = refuse(chat(says("4"), calls, says("6")))
    assert [(r.answer, r.sample_index) for r in kept] == [("4", 0), ("6", 2)]
    assert reason == "response 1: a tool call, no response"


def test_batch_output(parse: Any, refuse: Any) -> None:
    """A row of the batch API would lose its custom_id, or a failed one pass as a response."""
    body = chat(says("4"))["response"]
    row = {
        "id": "batch_req_1", "custom_id": "q-17", "error": None,
        "response": {"status_code": 200, "request_id": "r", "body": body},
    }  # fmt: skip
    asked = {"request": {"custom_id": "q-17", "url": "/v1", "body": {"messages": MESSAGES}}}
    (found,) = parse(row | asked, "openai")
    assert (found.key, found.question.text, found.answer) == ("chatcmpl-1", "2 + 2?", "4")
    assert "write the request beside it" in refuse(row)[1]
    failed = {"custom_id": "q-17", "response": {"status_code": 429, "body": {}}, "error": None}
    assert refuse(failed)[1].startswith("the request failed (429)")
    assert "too long" in refuse({**failed, "response": None, "error": {"message": "too long"}})[1]


def test_a_bare_response_with_its_question_inside(parse: Any) -> None:
    """A saved response with the question written into it would not be recognised."""
    row = chat(says("4"))["response"] | {
        "question": "2 + 2?",
        "domain": "math",
        "messages": MESSAGES,
    }
    (found,) = parse(row, "openai")
    assert (found.question.text, found.question.domain) == ("2 + 2?", "math")


def completion(choice: dict[str, Any], **request: Any) -> dict[str, Any]:
    body = {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice]}
    return {"request": {"prompt": "2 + 2 =", **request}, "response": body}


def test_text_completion(parse: Any) -> None:
    """The completions route would lose its log-probs, or OpenAI's `bytes:` tokens be refused."""
    scores = {
        "tokens": [" 4", "bytes:\\xc3", "bytes:\\xa9"], "token_logprobs": [-0.5, -0.25, -1.0],
        "text_offset": [0, 2, 3], "top_logprobs": None,
    }  # fmt: skip
    choice = {"index": 0, "text": " 4é", "logprobs": scores, "finish_reason": "stop"}
    (found,) = parse(completion(choice), "openai")
    assert (found.question.text, found.answer) == ("2 + 2 =", " 4é")
    assert found.tokens == [TokenScores("teacher", UNKNOWN, None, [2, 1, 1], [-0.5, -0.25, -1.0])]


def test_echoed_prompts_are_cut_off(parse: Any, refuse: Any) -> None:
    """With `echo`, the prompt would be stored and scored as part of the response."""
    scores = {"tokens": ["2 +", " 2 =", " 4"], "token_logprobs": [None, -3.0, -0.5]}
    choice = {"index": 0, "text": "2 + 2 = 4", "logprobs": scores}
    (found,) = parse(completion(choice), "openai")
    assert [found] == parse(completion(choice, echo=True), "openai")
    assert found.answer == " 4"
    assert (found.tokens[0].token_bytes, found.tokens[0].logprobs) == ([2], [-0.5])
    scores["tokens"] = ["2 +", " 2", " = 4"]
    (kept,), reason = refuse(completion(choice, echo=True))
    assert (kept.answer, kept.tokens) == (" 4", []) and "no token begins" in reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-9999.0, "`logprobs`[1] is not a log-probability: -9999 (vLLM's floor)"),
        (float("nan"), "`logprobs`[1] is not a log-probability: nan"),
        (float("-inf"), "`logprobs`[1] is not a log-probability: -inf"),
        (None, "`logprobs`[1] is not a log-probability: null"),
        (-1e39, "`logprobs`[1] is not a log-probability: -1e+39"),
        (0.01, "`logprobs`[1] is above 0, so no log-probability: 0.01"),
        ("high", "`logprobs` is not a list of numbers"),
    ],
)
def test_values_that_are_no_logprobs(refuse: Any, value: Any, reason: str) -> None:
    """A floor, NaN, null or positive value would be summed into a sentence's log-prob."""
    choice = says("It is", [entry("It", -0.5), entry(" is", value)])
    (kept,), said = refuse(chat(choice))
    assert kept.tokens == [] and reason in said
