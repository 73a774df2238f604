"""The `<think>` form of a response: `<think>\\n{thinking}\\n</think>\\n\\n{answer}`.

Structure is by position: the wrapper is one opening tag at the very start and one closing tag,
on a line of its own if there is one. Any other tag is text that the model wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OPEN, CLOSE = "<think>\n", "\n</think>\n\n"

_OPENER = re.compile(r"\s*<think>\n?")
_TAG = "</think>"

Span = tuple[int, int]


def split_think(text: str) -> tuple[str | None, str]:
    r"""Split a completion into (thinking, answer); exactly the wrapper is removed.

    Thinking is None when the text does not open with `<think>` (after whitespace) and has no
    line `</think>` either; without the opening tag such a line still ends the thinking, since
    some templates put `<think>\n` in the prompt. A closer on its own line is preferred over an
    earlier one inside a line, which is a quotation. Unclosed: everything is thinking, answer "".
    """
    opener = _OPENER.match(text)
    body = text[opener.end() :] if opener else text
    closer = next((tag for tag in _tags(body) if _on_its_own_line(body, tag)), -1)
    if closer < 0 and opener:
        closer = body.find(_TAG)
    if closer < 0:
        return (body, "") if opener else (None, text)
    stop = closer + len(_TAG)
    stop += 2 if body.startswith("\n\n", stop) else body.startswith("\n", stop)
    return body[:closer].removesuffix("\n"), body[stop:]


def _tags(body: str) -> Iterator[int]:
    """Where the closing tags begin; by `find`, since bodies run to 100s of KB."""
    at = body.find(_TAG)
    while at >= 0:
        yield at
        at = body.find(_TAG, at + len(_TAG))


def _on_its_own_line(body: str, at: int) -> bool:
    stop = at + len(_TAG)
    return (at == 0 or body[at - 1] == "\n") and (stop == len(body) or body[stop] == "\n")


def join_think(thinking: str | None, answer: str) -> str:
    r"""The inverse: `<think>\n{thinking}\n</think>\n\n{answer}`, or the answer alone for None."""
    return answer if thinking is None else f"{OPEN}{thinking}{CLOSE}{answer}"


def think_offsets(thinking: str | None, answer: str) -> tuple[Span | None, Span]:
    """Byte spans [start, stop) of thinking and answer in `join_think(thinking, answer)`."""
    size = len(answer.encode())
    if thinking is None:
        return None, (0, size)
    stop = len(OPEN) + len(thinking.encode())
    start = stop + len(CLOSE)
    return (len(OPEN), stop), (start, start + size)
