"""A row of a split as tokens with weights: exactly what the student sees, and what it learns.

    <|im_start|>user\\n{prompt}<|im_end|>\\n<|im_start|>assistant\\n      weight 0
    <think>\\n{thinking}\\n</think>\\n\\n{answer}<|im_end|>               weight 1
    \\n                                                                weight 0

Optional columns scale the loss of a step, which is a mean by weight: the sum of weight x
cross-entropy by the sum of the weights. Offsets are UTF-8 bytes of the last message:

    weight            float, of the whole row
    masked            list of [start, end): no loss there (the student's part of mixed policy)
    sentence_ends     list of int, ascending, with sentence_weights, a list of float
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from train.config import Config, ConfigError, read

MARK = "the end of a response 51c2"


class RowError(ValueError):
    """A row cannot be trained on; the message is the reason that is counted."""


class Rendered(NamedTuple):
    """A conversation as text; the response is [start, stop) in characters."""

    text: str
    start: int
    stop: int


class Template:
    """A tokenizer with its chat template, which is checked on every row."""

    def __init__(self, tokenizer: Any, system: str | None) -> None:
        if not isinstance(tokenizer.chat_template, str) or not tokenizer.is_fast:
            raise ConfigError(f"{tokenizer.name_or_path} lacks a chat template or tokenizer.json")
        self.tokenizer, self.fast, self.system = tokenizer, tokenizer.backend_tokenizer, system
        special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
        self.control = re.compile("|".join(map(re.escape, special)) or r"(?!)")
        # As a build's manifest names the template that its student was scored under.
        self.hash = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()[:12]

    @cached_property
    def suffix(self) -> tuple[str, int]:
        """What stands after a response, and how long its first token is, which ends the turn."""
        chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": MARK}]
        text = self._apply(chat).partition(MARK)[2]
        encoding = self.fast.encode(text, add_special_tokens=False)
        return text, encoding.token_to_chars(0)[1] if encoding.ids else 0

    def render(self, messages: Sequence[Mapping[str, str]] | None) -> Rendered:
        """The chat as text. RowError if the template cannot take the response or alters it."""
        chat = [dict(message or {}) for message in messages or ()]
        if any(message.get(key) is None for message in chat for key in ("role", "content")):
            raise RowError("a message lacks its role or its content")
        if len(chat) < 2 or chat[-1]["role"] != "assistant":
            raise RowError("the last message is not an assistant's answer")
        if any(self.control.search(message["content"]) for message in chat):
            raise RowError("it spells out a special token, which would end the turn")
        if self.system is not None and chat[0]["role"] != "system":
            chat.insert(0, {"role": "system", "content": self.system})
        response, text = chat[-1]["content"], self._apply(chat)
        start = len(text) - len(response + self.suffix[0])
        if start < 0 or text[start:] != response + self.suffix[0]:
            raise RowError("the chat template changes the response")
        if not self._apply(chat[:-1], add_generation_prompt=True).startswith(text[:start]):
            raise RowError("the chat template puts text before the response")
        return Rendered(text, start, start + len(response))

    def _apply(self, chat: list[dict[str, str]], **options: Any) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return self.tokenizer.apply_chat_template(chat, tokenize=False, **options)
        except TemplateError as error:
            raise RowError(f"the chat template fails: {error}") from error


def load_template(config: Config) -> Template:
    """The chat template of the configured student. ConfigError if there is no such student."""
    from transformers import AutoConfig, AutoTokenizer

    hint = ". Until the stage before has written it, plan with init_from=<the base model>"
    for part in (AutoConfig, AutoTokenizer):
        how = partial(part.from_pretrained, revision=config.revision)
        tokenizer = read(config.init_from, how, hint=hint)
    return Template(tokenizer, config.system)


def token_weights(row: Mapping[str, Any], text: Rendered, encoding: Any, end: int) -> np.ndarray:
    """The loss weight of every token, float32 [tokens]; `end` characters end the response.

    A token belongs to the span that holds its first character that is no space.
    """
    response = np.frombuffer(text.text[text.start : text.stop].encode(), np.uint8)
    characters = np.append(0, np.cumsum((response & 0xC0) != 0x80))  # before each byte
    pieces = [text.text[first:last] for first, last in encoding.offsets]
    spaces = [(len(piece) - len(piece.lstrip())) % max(1, len(piece)) for piece in pieces]
    firsts = np.maximum.accumulate(np.array(encoding.offsets, int).reshape(-1, 2)[:, 0] + spaces)

    def tokens(name: str, ends: Sequence[int], count: int) -> np.ndarray:
        """The tokens at which bytes of the response begin."""
        if len(ends) != count or None in ends or (np.diff([0, *ends, len(response)]) < 0).any():
            raise RowError(f"{name} is not {count} ascending places in {len(response)} bytes")
        return np.searchsorted(firsts, text.start + characters[list(ends)])

    weights = np.zeros(len(pieces), np.float32)
    whole = slice(*np.searchsorted(firsts, [text.start, text.stop + end]))
    weights[whole] = 1.0 if row.get("weight") is None else row["weight"]
    each = np.array(row.get("sentence_weights") or [], float)
    edges = tokens("sentence_ends", [0, *(row.get("sentence_ends") or [])], len(each) + 1)
    weights[edges[0] : edges[-1]] *= np.repeat(each, np.diff(edges))
    for span in row.get("masked") or []:
        weights[slice(*tokens("masked", span or (), 2))] = 0
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise RowError("a weight is negative or not finite")
    return weights
