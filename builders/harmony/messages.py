"""Harmony token ids cut into messages, by token id and never by decoded text.

Format: https://cookbook.openai.com/articles/openai-harmony

    <|start|>{role}[ to={recipient}]<|channel|>{channel}[ to={recipient}][ <|constrain|>{type}]
    <|message|>{body}<|end|>, <|return|> or <|call|>

What does not fit is kept as a defect, and never moves the tokens around it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from builders.tokens.table import TokenTable
from dasd_data.errors import RowError

RETURN, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL = (
    200002,
    200003,
    200005,
    200006,
    200007,
    200008,
    200012,
)
ENDS = {RETURN: "return", END: "end", CALL: "call"}
CHANNELS = frozenset({"analysis", "commentary", "final"})
SPEAKERS = frozenset({"system", "developer", "user", "assistant"})  # any other role is a tool

_RECIPIENT = re.compile(r"\bto=(\S+)")
_BARE_HEADER = re.compile(r" ?to=\S{1,64}[^\n]{0,64}\Z")


Ids = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its header, and `ids[start:stop]` its body. `end` None: it was cut off."""

    role: str
    channel: str | None
    recipient: str | None
    start: int
    stop: int
    end: str | None


@dataclass(slots=True)
class _Walk:
    ids: Ids
    table: TokenTable
    mode: str  # header, body or outside
    since: int  # where the mode began
    head: tuple[str, str | None, str | None] = ("assistant", None, None)
    messages: list[Message] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def text(self, start: int, stop: int) -> str:
        return self.table.pieces(self.ids[start:stop]).data.decode(errors="replace")

    def close(self, at: int, end: str | None) -> None:
        self.messages.append(Message(*self.head, start=self.since, stop=at, end=end))

    def read_header(self, at: int) -> None:
        self.head, defects = _parse_header(self.text(self.since, at))
        self.defects += defects

    def leave(self, at: int, opener: int) -> None:
        """Whatever is open at a token that begins a header there ends, as a defect or rightly."""
        if self.mode == "body":
            self.close(at, None)
            self.defects.append("missing_end")
        if self.mode == "header" or opener == CHANNEL:
            self.defects.append("malformed_header")
        if self.mode == "outside" and at > self.since:
            self.defects.append("text_outside_message")

    def step(self, at: int, token: int) -> None:
        mode = self.mode
        if token == START:
            self.leave(at, token)
            self.mode, self.since = "header", at + 1
        elif token == CHANNEL and mode != "header":
            self.leave(at, token)
            self.mode, self.since = "header", at
        elif token == MESSAGE and mode == "header":
            self.read_header(at)
            self.mode, self.since = "body", at + 1
        elif token in ENDS:
            if mode == "body":
                self.close(at, ENDS[token])
            else:
                self.defects.append(
                    "malformed_header" if mode == "header" else "text_outside_message"
                )
            self.mode, self.since = "outside", at + 1
        elif mode != "header":  # message or constrain out of place: no text, the body goes on
            self.defects.append("malformed_header")


def walk(ids: Ids, table: TokenTable) -> tuple[list[Message], list[str]]:
    """Cut ids into messages; also the defects of form, in order, with repeats.

    `ids` may begin with `<|start|>`, inside the header that follows a prompt's
    `<|start|>assistant`, or inside the content of an analysis message (as published log-prob rows
    and continuations do). Raises RowError when an id or the tokenizer is not harmony's.
    """
    if table.id_of("<|channel|>") != CHANNEL or table.id_of("<|message|>") != MESSAGE:
        raise RowError(f"tokenizer {table.name} has no harmony tokens: check --tokenizer")
    array = np.asarray(ids, dtype=np.int64)
    marks = np.flatnonzero(np.isin(array, [*ENDS, CONSTRAIN, CHANNEL, START, MESSAGE])).tolist()
    state = _Walk(ids, table, _first_mode(ids, table, marks), 0)
    if state.mode == "body":
        state.head = ("assistant", "analysis", None)
    for at in marks:
        state.step(at, int(array[at]))
    if state.mode == "body" and len(array):
        state.close(len(array), None)
    elif state.mode == "header":
        state.defects.append("malformed_header")
    elif state.since < len(array):
        state.defects.append("text_outside_message")
    return state.messages, state.defects


def _first_mode(ids: Ids, table: TokenTable, marks: list[int]) -> str:
    first = marks[0] if marks else len(ids)
    token = int(ids[first]) if marks else None
    if token == START and first == 0:
        return "outside"
    if token in (CHANNEL, MESSAGE, CONSTRAIN):
        if first == 0:
            return "header"
        before = table.pieces(ids[:first]).data.decode(errors="replace")
        if _BARE_HEADER.match(before):
            return "header"
    return "body"


def _parse_header(header: str) -> tuple[tuple[str, str | None, str | None], list[str]]:
    """(role, channel, recipient) of a header's text, special tokens as they are written."""
    before, *channels = header.replace("<|constrain|>", " ").split("<|channel|>")
    after = channels[-1] if channels else ""
    recipient = _RECIPIENT.search(after) or _RECIPIENT.search(before)
    role = (_RECIPIENT.sub(" ", before).split() or ["assistant"])[0]
    words = _RECIPIENT.sub(" ", after).split()
    channel = words[0] if words else None
    defects = ["malformed_header"] if len(channels) > 1 or "<|" in after + before else []
    if channel is None and role == "assistant":
        defects.append("malformed_header")
    elif channel is not None and channel not in CHANNELS:
        defects.append("unknown_channel")
    return (role, channel, recipient[1] if recipient else None), defects
