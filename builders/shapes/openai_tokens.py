"""Token ids, exact bytes and log-probs in a choice of OpenAI's API or of vLLM's server.

    chat:  {"content": [{"token": " 4", "bytes": [32, 52], "logprob": -0.01}]}
    text:  {"tokens": ["2", " +"], "token_logprobs": [null, -0.5], "text_offset": [0, 1]}

Best are ids (vLLM's `return_token_ids`, or tokens spelled `token_id:52`) under a known tokenizer;
else the bytes. A token that holds part of a character has no text of its own: vLLM then writes
U+FFFD, whose bytes do not tile the text, and the tokens are refused.
Formats: https://platform.openai.com/docs/api-reference/chat/object,
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.shapes.base import Context
from builders.tokens.table import Pieces
from dasd_data.errors import RowError

_TOKEN_ID = re.compile(r"token_id:([0-9]{1,10})")
_BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2})+)")

Choice = Mapping[str, Any]


def chat_tokens(choice: Choice, context: Context) -> dict[str, Any]:
    """`logprobs` and `token_ids` or `pieces` of a chat choice, as far as it has them."""
    entries = _logprobs(choice).get("content")
    if not isinstance(entries, list) or not entries:
        return _ids_only(choice)
    tokens: list[Any] = [e.get("token") if type(e) is dict else None for e in entries]
    if set(map(type, tokens)) != {str}:
        raise RowError("`logprobs.content` is not a list of tokens")
    found: dict[str, Any] = {"logprobs": [e.get("logprob") for e in entries]}
    ids = _ids(choice, tokens)
    if ids is not None and context.tokenizer:
        return found | {"token_ids": ids}
    pieces = _entry_pieces(entries)
    return found | {"pieces": pieces} | ({"token_ids": ids} if ids is not None else {})


def echoed(choice: Choice, request: Mapping[str, Any]) -> str:
    """The prompt that the choice's text begins with because the request said `echo`, else ""."""
    prompt, text = request.get("prompt"), choice.get("text")
    if not isinstance(prompt, str) or not isinstance(text, str) or not text.startswith(prompt):
        return ""
    scores = choice.get("logprobs")
    values = scores.get("token_logprobs") if isinstance(scores, dict) else None
    # Only the first token of a prompt has no log-prob.
    no_first = isinstance(values, list) and bool(values) and values[0] is None
    return prompt if request.get("echo") is True or no_first else ""


def text_tokens(choice: Choice, prompt: str, context: Context) -> dict[str, Any]:
    """The same of a text choice; the tokens of the echoed `prompt` are left out."""
    scores = _logprobs(choice)
    tokens, values = scores.get("tokens"), scores.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list | np.ndarray) or not tokens:
        return _ids_only(choice)
    if len(tokens) != len(values) or set(map(type, tokens)) != {str}:
        raise RowError(f"{len(tokens)} tokens but {len(values)} token_logprobs")
    skip = _prompt_tokens(choice, tokens, prompt) if prompt else 0
    ids = _ids(choice, tokens[skip:])
    found: dict[str, Any] = {"logprobs": values[skip:]}
    if ids is not None and context.tokenizer:
        return found | {"token_ids": ids}
    pieces = Pieces.of([string_bytes(t) for t in tokens[skip:]])
    return found | {"pieces": pieces} | ({"token_ids": ids} if ids is not None else {})


def _logprobs(choice: Choice) -> Mapping[str, Any]:
    found = choice.get("logprobs")
    if found is not None and not isinstance(found, dict):
        raise RowError("a choice's `logprobs` is not an object")
    return found or {}


def _ids_only(choice: Choice) -> dict[str, Any]:
    ids = choice.get("token_ids")
    return {"token_ids": ids} if isinstance(ids, list | np.ndarray) and len(ids) else {}


def _ids(choice: Choice, tokens: Sequence[str]) -> Sequence[int] | NDArray[Any] | None:
    """The ids of exactly these tokens, from the choice or from the tokens' own spelling."""
    ids = choice.get("token_ids")
    if isinstance(ids, list | np.ndarray) and len(ids) == len(tokens):
        return ids
    found = []
    for token in tokens:
        spelled = _TOKEN_ID.fullmatch(token)
        if not spelled:
            return None
        found.append(int(spelled[1]))
    return found


def _entry_pieces(entries: Sequence[Mapping[str, Any]]) -> Pieces:
    """The tokens' `bytes`, where they have none those of their text."""
    values = [string_bytes(e["token"]) if (own := e.get("bytes")) is None else own for e in entries]
    try:
        if not {bytes, list} >= set(map(type, values)):
            raise TypeError
        lengths = np.fromiter(map(len, values), np.int32, len(values))
        return Pieces(bytes(chain.from_iterable(values)), lengths)
    except (TypeError, ValueError):
        raise RowError("a token's `bytes` are not bytes") from None


def string_bytes(token: str) -> bytes:
    """A token's bytes from its text; OpenAI spells what is no text as `bytes:\\xe2\\x80`."""
    if not token.startswith(("bytes:", "token_id:")):
        return token.encode()
    if spelled := _BYTES.fullmatch(token):
        return bytes.fromhex(spelled[1].replace("\\x", ""))
    if _TOKEN_ID.fullmatch(token):
        raise RowError(f"tokens are spelled by id ({token}): give --tokenizer")
    return token.encode()


def _prompt_tokens(choice: Choice, tokens: Sequence[str], prompt: str) -> int:
    """How many of the tokens of an echo are the prompt's."""
    if isinstance(ids := choice.get("prompt_token_ids"), list | np.ndarray):
        return len(ids)
    ends = list(accumulate(map(len, tokens)))
    if len(prompt) not in ends:
        raise RowError("no token begins where the echoed prompt ends")
    return ends.index(len(prompt)) + 1
