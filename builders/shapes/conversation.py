"""Chat messages as a question and a response.

The last assistant turn is the response, what stands before it the question: with one user turn
its text; with several, the whole exchange with each turn headed `User:` or `Assistant:`, since
"and the next one?" is no question without it (`meta.messages` keeps the turns themselves). A
system message is not part of the text: it is in `meta.system`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builders.shapes.fields import label, optional_text
from dasd_data.errors import RowError

_ROLES = {
    "human": "user", "gpt": "assistant", "bing": "assistant", "chatgpt": "assistant",
    "bard": "assistant", "model": "assistant", "developer": "system",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exchange:
    """A conversation taken apart; `answer` None where it ends with the user."""

    question: str
    meta: dict[str, Any]
    answer: str | None
    thinking: str | None


def exchange(turns: Any) -> Exchange:
    """Take apart a list of turns {role, content} or {from, value}. Raises RowError."""
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise RowError("the conversation is not a list of turns")
    messages = [_message(turn) for turn in turns]
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    spoken = [m for m in messages if m["role"] != "system"]
    answer = thinking = None
    if spoken and spoken[-1]["role"] == "assistant":
        last = spoken.pop()
        answer, thinking = last["content"], last.get("thinking")
    if not spoken or spoken[-1]["role"] != "user":
        raise RowError("no user turn before the response")
    meta: dict[str, Any] = {"system": system} if system else {}
    text = spoken[0]["content"]
    if len(spoken) > 1:
        meta["messages"] = [{"role": m["role"], "content": m["content"]} for m in spoken]
        text = "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in spoken)
    return Exchange(text, meta, answer, thinking)


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of turns."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and ({"role", "content"} <= value[0].keys() or {"from", "value"} <= value[0].keys())
    )


def content_text(content: Any) -> str:
    """The text of a message's content: text, or a list of text parts."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(
        isinstance(p, dict) and isinstance(p.get("text"), str) for p in content
    ):
        return "".join(p["text"] for p in content)
    raise RowError("a message's content is neither text nor parts of text")


def reasoning(message: Mapping[str, Any]) -> str | None:
    """A message's reasoning, under the names that servers give it."""
    for column in ("reasoning_content", "reasoning", "thinking"):
        if (found := optional_text(message, column)) is not None:
            return found
    return None


def _message(turn: Any) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise RowError("a turn of the conversation is not an object")
    role = (label(turn, "role", "from") or "").lower()
    role = _ROLES.get(role, role)
    if role not in ("system", "user", "assistant"):
        raise RowError(f"a turn is by {role[:40]!r}, not by system, user or assistant")
    content = turn["content"] if "content" in turn else turn.get("value")
    message = {"role": role, "content": content_text(content)}
    if role == "assistant" and (thinking := reasoning(turn)) is not None:
        message["thinking"] = thinking
    return message
