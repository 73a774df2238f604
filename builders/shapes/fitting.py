"""Tokens of a completion laid over its thinking and its answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from builders.harmony.messages import CHANNEL
from builders.tokens.fit import Span, fit_harmony, fit_render, mismatch
from builders.tokens.table import Pieces, TokenTable, decode

# What may stand around thinking and answer in a raw completion: white space and structure.
_GAP = re.compile(
    rb"(?:\s|</?think>|</s>|<\|channel\|>(?:analysis|final)|<\|start\|>assistant|assistantfinal"
    rb"|<\|[^|<>\s]{1,40}\|>)*+"
)


def locate(render: bytes, thinking: str | None, answer: str) -> tuple[Span | None, Span, str]:
    """Byte spans of both sections in a raw completion, and the `sections` it covers.

    Around them only white space, think tags, harmony's delimiters and other special tokens may
    stand. Servers may leave the thinking out of the tokens: then only the answer is covered.
    Raises RowError where the text is not what the tokens spell.
    """
    body = answer.encode()
    if thinking is None:
        if span := _inside(render, body, 0):
            return None, span, "thinking+answer"
        raise mismatch("text", body, Pieces.of([render]))
    thought = thinking.encode()
    for start in _after_gap(render, thought):
        stop = start + len(thought)
        if span := _inside(render, body, stop):
            return (start, stop), span, "thinking+answer"
    if body and (span := _inside(render, body, 0)):
        return None, span, "answer"
    if span := _inside(render, thought, 0):
        return span, (span[1], span[1]), "thinking"
    raise mismatch("text", thought + body, Pieces.of([render]))


def _after_gap(render: bytes, thought: bytes) -> Iterator[int]:
    """Where `thought` stands with nothing but gaps before it: never within a tag."""
    gap = _GAP.match(render)
    start = render.find(thought)
    while gap and 0 <= start <= gap.end():
        if _GAP.fullmatch(render, 0, start):
            yield start
        start = render.find(thought, start + 1)


def _inside(render: bytes, body: bytes, after: int) -> Span | None:
    """Where `body` stands as all of `render[after:]` but gaps."""
    start = render.rfind(body, after)
    stop = start + len(body)
    gaps = start >= 0 and _GAP.fullmatch(render, after, start) and _GAP.fullmatch(render, stop)
    return (start, stop) if gaps else None


def fit_pieces(thinking: str | None, answer: str, pieces: Pieces) -> tuple[NDArray[np.int32], str]:
    """token_bytes of the exact bytes of a completion's tokens, and the sections covered."""
    render = decode(pieces)[0].encode()
    thought, span, sections = locate(render, thinking, answer)
    return fit_render(render, pieces, thought, span), sections


def fit_ids(
    thinking: str | None, answer: str, ids: NDArray[np.int32], table: TokenTable
) -> tuple[NDArray[np.int32], str]:
    """token_bytes of a completion's ids, and the sections covered."""
    if CHANNEL in ids and table.id_of("<|channel|>") == CHANNEL:
        fitted = fit_harmony(thinking, answer, ids, table)
        return fitted.token_bytes, fitted.sections
    return fit_pieces(thinking, answer, table.text_pieces(ids))
