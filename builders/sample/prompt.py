"""Prompts as token ids, and what a model's completion of one says.

A prompt is the model's own chat template over the question, up to where the assistant begins.
A completion is read by its token ids: harmony's messages by their delimiters, else text with a
`<think>` section.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date as day
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from builders.harmony.messages import CALL, CHANNEL, RETURN
from builders.harmony.parse import parse
from builders.records import Scorer
from builders.score.render import load_context
from builders.shapes.fitting import fit_pieces
from builders.tokens.table import TokenTable, decode
from builders.tokens.think import OPEN, split_think
from dasd_data.errors import RowError, UsageError

EFFORTS = ("low", "medium", "high")

_DATE = re.compile(r"""strftime_now\((["'])(.*?)\1\)""")


class Completion(NamedTuple):
    """A completion's texts, and how many bytes of thinking || answer each token holds."""

    thinking: str | None
    answer: str
    token_bytes: npt.NDArray[np.int32]
    sections: str


@dataclass(frozen=True)
class ChatPrompt:
    """Prompts under one tokenizer's chat template.

    `system` is the system prompt (gpt-oss: its developer message), `reasoning_effort` what a
    template asks for by that name, `date` the day that a template writes (gpt-oss), as
    YYYY-MM-DD. `end_ids` end a completion beside the tokenizer's own end token. Raises UsageError
    where the template cannot serve.
    """

    tokenizer: Any
    table: TokenTable
    system: str | None = None
    reasoning_effort: str | None = None
    date: str | None = None
    end_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.reasoning_effort and "reasoning_effort" not in self._template:
            raise UsageError("the chat template knows no reasoning effort: leave --effort out")
        if self.needs_date and not _is_day(self.date):
            raise UsageError(f"--date {self.date}: write a day as YYYY-MM-DD")

    @property
    def needs_date(self) -> bool:
        """Whether the template writes a date into every prompt."""
        return "strftime_now(" in self._template

    @property
    def is_harmony(self) -> bool:
        """Whether the tokenizer is that of gpt-oss, which speaks harmony."""
        return self.table.id_of("<|channel|>") == CHANNEL

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a completion. Harmony's `<|end|>` ends a message only."""
        if self.is_harmony:
            return tuple(dict.fromkeys((RETURN, CALL, *self.end_ids)))
        end = self.tokenizer.eos_token_id
        if end is None and not self.end_ids:
            raise UsageError(f"the tokenizer {self.tokenizer.name_or_path} has no end token")
        first = () if end is None else (int(end),)
        return tuple(dict.fromkeys((*first, *self.end_ids)))

    def describe(self, scorer: Scorer) -> Scorer:
        """An engine's scoring context, completed by what this one says about the prompt."""
        return replace(
            scorer,
            tokenizer=self.table.name,
            context="sampled_prompt",
            chat_template=hashlib.sha256(self._template.encode()).hexdigest()[:12],
            system_prompt=self.system,
            reasoning_effort=self.reasoning_effort,
            date=self.date if self.needs_date else None,
        )

    def ids(self, question: str, system: str | None = None) -> npt.NDArray[np.int32]:
        """The prompt's token ids, [tokens] int32. Raises RowError where the template fails.

        `system` is the question's own system prompt, in place of that of all others. Delimiters
        that a question quotes (`<|im_end|>`) are encoded as text.
        """
        return np.array(self._apply(question, system, tokenize=True), np.int32)

    def read(self, ids: Sequence[int]) -> Completion:
        """A completion's thinking and answer. Raises RowError where its ids are no text.

        Of one that continues a prefix, `ids` begin with the prefix, which may open the thinking.
        """
        if self.is_harmony:
            parsed = parse(ids, self.table)
            answer = parsed.answer or ""
            return Completion(parsed.thinking, answer, parsed.token_bytes, "thinking+answer")
        pieces = self.table.text_pieces(ids)
        text = decode(pieces)[0]
        thinking, answer = split_think(f"{OPEN}{text}" if self._opens_thinking else text)
        token_bytes, sections = fit_pieces(thinking, answer, pieces)
        return Completion(thinking, answer, token_bytes, sections)

    @cached_property
    def _opens_thinking(self) -> bool:
        """Whether the template itself writes the opening tag of the thinking."""
        try:
            text = self._apply("question", None, tokenize=False)
        except RowError as error:
            raise UsageError(f"the chat template fails on a plain question: {error}") from error
        return str(text).endswith((OPEN, OPEN.strip()))

    @property
    def _template(self) -> str:
        return str(self.tokenizer.chat_template)

    @cached_property
    def _dated_template(self) -> str:
        """The template with its day fixed: a prompt must be the same tomorrow."""
        if not self.needs_date:
            return self._template
        fixed = day.fromisoformat(str(self.date))
        found = _DATE.sub(lambda call: json.dumps(fixed.strftime(call[2])), self._template)
        if "strftime_now(" in found:
            raise UsageError("the chat template computes the form of its date: fix it in a copy")
        return found

    def _apply(self, question: str, system: str | None, tokenize: bool) -> Any:
        from jinja2.exceptions import TemplateError

        messages = [{"role": "user", "content": question}]
        system = system or self.system
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        effort = {"reasoning_effort": self.reasoning_effort} if self.reasoning_effort else {}
        try:
            return self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._dated_template,
                add_generation_prompt=True,
                tokenize=tokenize,
                sanitize_control_tokens=tokenize,
                return_dict=False,
                **effort,
            )
        except TemplateError as error:
            raise RowError(f"template fails: {error}") from error


def _is_day(text: str | None) -> bool:
    try:
        return text is not None and day.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def load_prompt(folder: Path, **settings: str | None) -> ChatPrompt:
    """The prompts of a model's or tokenizer's folder.

    Raises MissingExtraError without transformers, UsageError where the folder has no tokenizer, or
    one without a chat template.
    """
    tokenizer, table = load_context(folder).tokenizer, TokenTable.load(folder)
    return ChatPrompt(tokenizer, table, **settings, end_ids=_end_ids(folder))


def _end_ids(folder: Path) -> tuple[int, ...]:
    """The end ids of `generation_config.json`, at which vLLM stops, too."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return ()
    try:
        found = json.loads(path.read_text()).get("eos_token_id")
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path}: not a generation configuration: {error}") from error
    ids = found if isinstance(found, list) else [found]
    return tuple(i for i in ids if isinstance(i, int))
