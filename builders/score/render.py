"""The student's scoring context: a response exactly as the trainer will render it.

    <|im_start|>user\\n{question}<|im_end|>\\n
    <|im_start|>assistant\\n<think>\\n{thinking}\\n</think>\\n\\n{answer}<|im_end|>\\n

Chat templates rewrite what they are given: some delete the text around a quoted `</think>`, add
an empty think block or trim newlines. The model would then be scored, and trained, on another
response than the stored one, so such a response is refused with the reason.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from builders.records import Scorer
from builders.tokens.think import join_think, think_offsets
from dasd_data.errors import MissingExtraError, RowError, UsageError

MARK = "dasd response mark 7f3a"

Span = tuple[int, int]


class Render(NamedTuple):
    """A rendered conversation. Spans are [start, end) in bytes of the UTF-8 text.

    `control` holds the tokenizer's special tokens that the question or the response spell out as
    text (`<|im_end|>` in a trace about templates): encoding the render turns them into control
    tokens, in scoring as in training. Such a row can be scored, and ought to be counted.
    """

    text: str
    thinking_span: Span | None
    answer_span: Span
    control: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingContext:
    """A tokenizer of `transformers` with its chat template, and the system prompt if any.

    UsageError, at the first render, where the template cannot serve: none at all, one that
    refuses the system prompt, or one whose text depends on today's date.
    """

    tokenizer: Any
    system: str | None = None

    @property
    def template_hash(self) -> str:
        """The hash of the chat template, 12 hex digits."""
        return hashlib.sha256(_template_of(self.tokenizer).encode()).hexdigest()[:12]

    def describe(self, scorer: Scorer) -> Scorer:
        """An engine's scoring context, completed by what this one says about the prompt."""
        return replace(
            scorer,
            context="training_render",
            chat_template=self.template_hash,
            system_prompt=self.system,
        )

    @cached_property
    def suffix(self) -> str:
        """What the template puts after a response: its end token, mostly with a newline."""
        template = _template_of(self.tokenizer)
        if "strftime_now" in template:
            raise UsageError(
                "the chat template writes today's date into the prompt, so that scores of two "
                "days differ; use a copy of the tokenizer with a fixed date in its template"
            )
        try:
            return self._apply("question", MARK).partition(MARK)[2]
        except RowError as error:
            given = "" if self.system is None else " with a system prompt"
            raise UsageError(
                f"the chat template fails on a plain question{given}: {error}"
            ) from error

    @cached_property
    def control_tokens(self) -> re.Pattern[str]:
        """Matches any special token of the tokenizer."""
        special = {
            token.content
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special and token.content
        }
        return re.compile(
            "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)"
        )

    def render(self, question: str, thinking: str | None, answer: str) -> Render:
        """The conversation as text, and where the response stands in it.

        RowError if the template alters the response: the render must be what stands before any
        response, the response verbatim, and the suffix.
        """
        response, suffix = join_think(thinking, answer), self.suffix
        text = self._apply(question, response)
        head = len(text) - len(response) - len(suffix)
        if head < 0 or not text.endswith(suffix) or not text.startswith(response, head):
            raise RowError("template alters the response: the render does not end with it verbatim")
        if not self._apply(question, None).startswith(text[:head]):
            raise RowError("template alters the response: it inserts text before it")
        try:
            start = len(text[:head].encode())
            in_thinking, in_answer = think_offsets(thinking, answer)
        except UnicodeEncodeError as error:
            raise RowError("text is not valid Unicode: it has a lone surrogate") from error
        thinking_span = in_thinking and (start + in_thinking[0], start + in_thinking[1])
        answer_span = (start + in_answer[0], start + in_answer[1])
        quoted = (self.control_tokens.findall(part) for part in (question, thinking or "", answer))
        control = tuple(sorted({token for tokens in quoted for token in tokens}))
        return Render(text, thinking_span, answer_span, control)

    def _apply(self, question: str, response: str | None) -> str:
        """The template over one exchange; without a response, up to where one would begin."""
        from jinja2.exceptions import TemplateError

        messages = [{"role": "user", "content": question}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        if response is not None:
            messages.append({"role": "assistant", "content": response})
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=response is None
            )
        except TemplateError as error:
            raise RowError(f"template fails: {error}") from error


def _template_of(tokenizer: Any) -> str:
    if not isinstance(tokenizer.chat_template, str):
        raise UsageError(
            f"the tokenizer {tokenizer.name_or_path} has no chat template: "
            "add chat_template.jinja to its folder, as the trainer will use it"
        )
    return tokenizer.chat_template


def load_context(folder: Any, system: str | None = None) -> TrainingContext:
    """The training context of a model's or tokenizer's folder.

    Raises MissingExtraError without transformers, UsageError if the folder holds no tokenizer or
    one without a chat template.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError("transformers", "score") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a tokenizer from {folder}: {error}") from error
    _template_of(tokenizer)
    return TrainingContext(tokenizer, system)


def training_render(
    tokenizer: Any, question: str, thinking: str | None, answer: str, system: str | None = None
) -> Render:
    """One response in its training render; `TrainingContext` serves many."""
    return TrainingContext(tokenizer, system).render(question, thinking, answer)
