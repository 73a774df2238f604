"""The structure of a harmony completion, read from token ids alone: no tokenizer needed.

Harmony (github.com/openai/harmony, docs/format.md) writes each message as
`<|start|>role<|channel|>channel<|message|>content<|end|>`, closes the last with `<|return|>` and
a tool call with `<|call|>`; a recipient (`to=python`) stands in the header after the role or
after the channel. The names are ordinary tokens of the o200k vocabulary, the constants below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

RETURN, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL = (
    200002,
    200003,
    200005,
    200006,
    200007,
    200008,
    200012,
)
STRUCTURE = frozenset({RETURN, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL})
CLOSING = frozenset({RETURN, END, CALL})
ASSISTANT = 173781
TO = frozenset({316, 935})  # " to" and "to", as in "assistant to=python"
CHANNELS = {35644: "analysis", 17196: "final", 49159: "commentary", 12606: "commentary"}
# 12606 is "comment", the first piece of "commentary"; 49159 is " commentary"


@dataclass(slots=True)
class Message:
    """One message of the completion: whose, on which channel, to a tool or not, how closed."""

    assistant: bool
    channel: str | None
    to_tool: bool
    n_content: int = 0
    closed_by: int | None = None


@dataclass(slots=True)
class Structure:
    """The messages of a completion.

    `partial`: the ids start inside a message's content (a continued prefix, or a source that
    keeps content ids only), so that what is absent says nothing.
    """

    messages: list[Message] = field(default_factory=list)
    partial: bool = False

    @property
    def n_tool_calls(self) -> int:
        """Messages of the assistant that are addressed to a tool or closed by `<|call|>`."""
        return sum(m.assistant and (m.to_tool or m.closed_by == CALL) for m in self.messages)

    @property
    def has_final(self) -> bool:
        """Whether the assistant wrote a message on the final channel."""
        return self.count("final") > 0

    def count(self, channel: str) -> int:
        """The assistant's messages on a channel."""
        return sum(m.assistant and m.channel == channel for m in self.messages)

    @property
    def defects(self) -> list[str]:
        """What makes the completion unfit as one thinking section and one answer."""
        last = self.messages[-1] if self.messages else None
        present = {
            "tool_call": self.n_tool_calls > 0,
            "commentary": self.count("commentary") > 0,
            "foreign_turn": any(not m.assistant for m in self.messages),
            "unknown_channel": any(m.assistant and m.channel is None for m in self.messages),
            "several_finals": self.count("final") > 1,
            "analysis_after_final": self._analysis_after_final(),
        }
        absent = {
            "no_analysis": self.count("analysis") == 0,
            "no_final": not self.has_final,
            "no_return": last is None or last.closed_by != RETURN,
        }
        rules = present if self.partial else present | absent
        return [name for name, broken in rules.items() if broken]

    def _analysis_after_final(self) -> bool:
        channels = [m.channel for m in self.messages if m.assistant]
        return "final" in channels and "analysis" in channels[channels.index("final") :]


def read(ids: Sequence[int]) -> Structure:
    """The messages of a completion that follows the prompt's `<|start|>assistant`.

    A completion that brings its own `<|start|>`, or that starts inside a content, is read too.
    """
    first = next((i for i in ids if i in STRUCTURE), None)
    partial = first is None or (first in CLOSING and ids[0] != START)
    structure = Structure(partial=partial)
    message = Message(True, "analysis", False) if partial else None
    header: list[int] = [ASSISTANT]
    for i in ids:
        if message is None:
            message = _opened(structure, header, i)
        elif i in CLOSING or i == START:
            message.closed_by = i
            structure.messages.append(message)
            message, header = None, []
        else:
            message.n_content += 1
    if message is not None:
        structure.messages.append(message)
    return structure


def _opened(structure: Structure, header: list[int], i: int) -> Message | None:
    """Add an id to a header; the message that it opens, if it does."""
    if i == START:
        header.clear()
    elif i == MESSAGE:
        return _message(header)
    elif i in CLOSING and CHANNEL in header:  # closed before it had content
        message = _message(header)
        message.closed_by = i
        structure.messages.append(message)
        header.clear()
    else:
        header.append(i)
    return None


def _message(header: Sequence[int]) -> Message:
    at = header.index(CHANNEL) + 1 if CHANNEL in header else len(header)
    channel = CHANNELS.get(header[at]) if at < len(header) else None
    return Message(header[:1] == [ASSISTANT], channel, any(i in TO for i in header[1:]))
