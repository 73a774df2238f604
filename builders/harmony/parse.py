"""A gpt-oss completion's token ids as thinking and answer, every token accounted for.

`parse(ids, table)` gives the two texts and, for each id, how many of their bytes it holds.
Structure is kept as defects: a row with any is for the structure filter to judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builders.harmony.messages import ENDS, SPEAKERS, START, Ids, Message, walk
from builders.tokens.table import TokenTable, decode

DEFECTS = (
    "tool_call",  # an assistant message addressed to a tool
    "tool_output",  # a tool's message in the completion
    "commentary",  # an assistant message in the commentary channel
    "recipient",  # an assistant message addressed to somebody who is no tool
    "extra_turn",  # a user, system or developer message, or anything after <|return|>
    "no_analysis",  # no thinking, or only white space
    "no_final",  # no final message
    "empty_final",  # a final message of white space only
    "several_finals",  # more than one; the last is the answer
    "analysis_after_final",  # thinking after the answer; not in `thinking`
    "no_terminal_return",  # the last token is not <|return|>
    "unknown_channel",
    "malformed_header",
    "missing_end",  # a message that runs into the next one
    "text_outside_message",
    "special_token",  # a special token inside thinking or answer; it has no text
    "invalid_utf8",  # bytes that are no UTF-8, kept as U+FFFD
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """One completion. `token_bytes` has one entry per id and sums to the bytes of both texts.

    `thinking` joins the analysis messages before the answer directly; `answer` is the last
    final message, None without one. Delimiters, headers, tool calls and outputs, commentary and
    further turns hold 0 bytes. `defects` are of DEFECTS, each once. `finish` is the last token:
    return, call, end, or None where text was cut off.
    """

    thinking: str
    answer: str | None
    token_bytes: NDArray[np.int32]
    defects: list[str]
    n_tool_calls: int
    finish: str | None


@dataclass(frozen=True, slots=True)
class PromptContext:
    """What a harmony prompt says: the question (last user message) and the teacher's settings.

    `system` and `developer` are those messages as they stand, `reasoning_effort` and `date` are
    read from the system message ("Reasoning: high", "Current date: 2025-06-28"). None: absent.
    """

    question: str | None
    system: str | None
    developer: str | None
    reasoning_effort: str | None
    date: str | None


def parse(ids: Ids, table: TokenTable) -> Parsed:
    """Parse the ids of one completion. Raises RowError when an id is not the tokenizer's."""
    messages, defects = walk(ids, table)
    thinking, answer = sections(messages)
    token_bytes = np.zeros(len(ids), np.int32)
    texts: list[str] = []
    for message in [*thinking, answer] if answer else thinking:
        body = ids[message.start : message.stop]
        pieces = table.text_pieces(body)
        text, counts = decode(pieces)
        token_bytes[message.start : message.stop] = counts
        texts.append(text)
        if table.is_special(body).any():
            defects.append("special_token")
        if "\ufffd" in text and text.encode() != pieces.data:
            defects.append("invalid_utf8")
    final = texts.pop() if answer else None
    thought = "".join(texts)
    finish = ENDS.get(int(ids[-1])) if len(ids) else None
    defects += _structure_defects(messages, thinking, answer)
    defects += ["no_analysis"] * (not thought.strip())
    defects += ["empty_final"] * (final is not None and not final.strip())
    defects += ["no_terminal_return"] * (finish != "return")
    calls = sum(_is_call(message) for message in messages)
    return Parsed(thought, final, token_bytes, list(dict.fromkeys(defects)), calls, finish)


def sections(messages: Sequence[Message]) -> tuple[list[Message], Message | None]:
    """The analysis messages that make up the thinking, and the message that is the answer.

    The answer is the last final message; thinking is what precedes it, so that their tokens
    are in the order of their text.
    """
    finals = [i for i, m in enumerate(messages) if _says(m, "final")]
    last = finals[-1] if finals else len(messages)
    thinking = [m for m in messages[:last] if _says(m, "analysis")]
    return thinking, messages[last] if finals else None


def _says(message: Message, channel: str) -> bool:
    return message.role == "assistant" and message.channel == channel and message.recipient is None


def _is_call(message: Message) -> bool:
    return (
        message.role == "assistant"
        and message.recipient is not None
        and message.recipient not in SPEAKERS
    )


def _structure_defects(
    messages: Sequence[Message], thinking: Sequence[Message], answer: Message | None
) -> list[str]:
    found: list[str] = []
    for i, message in enumerate(messages):
        if message.role not in SPEAKERS:
            found.append("tool_output")
        elif message.role != "assistant" or (i and messages[i - 1].end == "return"):
            found.append("extra_turn")
        if _is_call(message):
            found.append("tool_call")
        elif message.role == "assistant" and message.recipient:
            found.append("recipient")
        if message.role == "assistant" and message.channel == "commentary":
            found.append("commentary")
    if answer is None:
        found.append("no_final")
    if sum(_says(m, "final") for m in messages) > 1:
        found.append("several_finals")
    if sum(_says(m, "analysis") for m in messages) > len(thinking):
        found.append("analysis_after_final")
    return found


def parse_prompt(ids: Ids, table: TokenTable) -> list[dict[str, str]]:
    """A prompt's messages: role and content, and channel and recipient where they have one.

    The open `<|start|>assistant` at the end is no message; a message that is cut off is one.
    Raises RowError when an id is not the tokenizer's.
    """
    messages, _ = walk(ids, table)
    found = []
    for message in messages:
        text, _ = decode(table.text_pieces(ids[message.start : message.stop]))
        entry = {"role": message.role, "content": text}
        entry |= {"channel": message.channel} if message.channel else {}
        entry |= {"recipient": message.recipient} if message.recipient else {}
        found.append(entry)
    return found


def prompt_context(messages: Sequence[dict[str, str]]) -> PromptContext:
    """The question, system text, effort and date of `parse_prompt`'s messages."""
    last = {message["role"]: message["content"] for message in messages}
    system = last.get("system")
    return PromptContext(
        question=last.get("user"),
        system=system,
        developer=last.get("developer"),
        reasoning_effort=_line(r"^Reasoning:\s*(\S+)", system),
        date=_line(r"^Current date:\s*(\S.*?)\s*$", system),
    )


def _line(pattern: str, text: str | None) -> str | None:
    found = re.search(pattern, text or "", re.MULTILINE)
    return found[1] if found else None


def completion_start(ids: Ids, table: TokenTable) -> int:
    """Where the completion begins in prompt + completion: after the `<|start|>assistant` that
    begins the first assistant message, or 0 where there is none.

    For sources that cut a trace anywhere and call all before the cut the prompt.
    Raises RowError when an id is not the tokenizer's.
    """
    known, assistant = table.known(ids), table.id_of("assistant")
    marks = np.flatnonzero((known[:-1] == START) & (known[1:] == assistant))
    return int(marks[0]) + 2 if len(marks) else 0
