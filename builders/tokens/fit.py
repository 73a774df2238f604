"""How many bytes of a stored text each token holds: exact, or a reason why not.

Published text may have lost or gained white space at its ends and may not be in the normal form
that a tokenizer reads; nothing else is forgiven.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from builders.harmony.messages import Ids, Message, walk
from builders.harmony.parse import sections
from builders.tokens.normal import nfc, respan
from builders.tokens.table import Pieces, TokenTable, decode
from dasd_data.errors import RowError

Span = tuple[int, int]

# What stands between thinking and answer in ids that carry both and no delimiter tokens.
_BRIDGE = re.compile(r"\s*(?:</think>|assistantfinal)?\s*")
_EXCERPT = 24  # bytes shown on either side of the first difference


@dataclass(frozen=True, slots=True)
class Fit:
    """`token_bytes`, one per id, over the bytes of the covered sections; their `Scorer` name."""

    token_bytes: NDArray[np.int32]
    sections: str  # thinking+answer, thinking or answer


def fit(text: bytes, pieces: Pieces) -> NDArray[np.int32] | None:
    """The number of bytes of one section's text that each token holds, summing to `len(text)`.

    Where only white space at the ends differs, the tokens' surplus holds 0 bytes and the text's
    surplus goes to the first or the last token. Tokens of NFC text are carried back to the text.
    None when text and tokens differ otherwise.
    """
    if pieces.data == text:
        return pieces.lengths
    try:
        wanted = text.decode()
    except UnicodeDecodeError:
        return None
    joined, counts = decode(pieces)
    fitted = _fit_core(wanted, joined, counts)
    if fitted is None and (normal := nfc(wanted)) != wanted:
        fitted = _fit_core(normal, joined, counts)
        return None if fitted is None else respan(wanted, fitted)
    return fitted


def _fit_core(text: str, joined: str, counts: NDArray[np.int32]) -> NDArray[np.int32] | None:
    if text.strip() != joined.strip():
        return None
    filled = np.flatnonzero(counts)
    if not len(filled):
        return None if text else counts
    fitted = counts.copy()
    if core := text.strip():
        _resize(fitted, filled, text[: text.index(core)], joined[: joined.index(core)])
        _resize(fitted, filled[::-1], text[len(text.rstrip()) :], joined[len(joined.rstrip()) :])
    else:
        _resize(fitted, filled[::-1], text, joined)
    return fitted


def _resize(counts: NDArray[np.int32], order: NDArray[np.int64], text: str, joined: str) -> None:
    """Make the white space at one end (`joined`) hold that of `text`; `order` from that end."""
    surplus = len(text.encode()) - len(joined.encode())
    if surplus > 0:
        counts[order[0]] += surplus
    for i in order:
        if surplus >= 0:
            return
        cut = min(int(counts[i]), -surplus)
        counts[i] -= cut
        surplus += cut


def fit_harmony(thinking: str | None, answer: str, ids: Ids, table: TokenTable) -> Fit:
    """Fit published harmony ids, which begin with the first analysis *content* token.

    The final message's tokens may be missing: then only the thinking is covered. Delimiters,
    headers and everything outside the two sections hold 0 bytes.
    Raises RowError when the bytes do not tile the text, saying where they first differ.
    """
    messages, _ = walk(ids, table)
    analysis, final = sections(messages)
    thought = (thinking or "").encode()
    bare = not messages or (len(messages) == 1 and messages[0].start == 0)  # no header before it
    if final is None and bare:
        return _fit_bare(thinking, answer, table.text_pieces(ids))
    known = table.known(ids)
    token_bytes = np.zeros(len(known), np.int32)

    def fit_section(name: str, text: bytes, messages: Sequence[Message]) -> None:
        where = np.concatenate([np.arange(m.start, m.stop) for m in messages] or [known[:0]])
        own = table.text_pieces(known[where])
        counts = fit(text, own)
        if counts is None:
            raise mismatch(name, text, own)
        token_bytes[where] = counts

    fit_section("thinking", thought, analysis)
    if final is None:
        return Fit(token_bytes, "thinking")
    fit_section("answer", answer.encode(), [final])
    return Fit(token_bytes, "thinking+answer")


def _fit_bare(thinking: str | None, answer: str, pieces: Pieces) -> Fit:
    """Fit tokens without structure: the thinking, the answer, or one after the other."""
    thought = (thinking or "").encode()
    if thinking is not None and (counts := fit(thought, pieces)) is not None:
        return Fit(counts, "thinking")
    if answer and (counts := fit(answer.encode(), pieces)) is not None:
        return Fit(counts, "answer")
    joined, _ = decode(pieces)
    between = joined[len(thinking or "") : len(joined) - len(answer)]
    if (thinking or "") + between + answer == joined and _BRIDGE.fullmatch(between):
        render = joined.encode()
        seam = len(render) - len(answer.encode())
        spans = (0, len(thought)), (seam, len(render))
        return Fit(fit_render(render, pieces, *spans), "thinking+answer")
    raise mismatch("thinking" if thinking else "answer", thought or answer.encode(), pieces)


def fit_render(
    render: bytes, pieces: Pieces, thinking: Span | None, answer: Span
) -> NDArray[np.int32]:
    """Bytes of thinking and answer in each token of a whole rendered conversation.

    `pieces` are all tokens of `render`, special ones with their literal bytes; `thinking` and
    `answer` are byte spans [start, stop) in it. A token that straddles wrapper and content counts
    with the content's bytes. Sums to the bytes of both spans. Raises RowError when the tokens do
    not tile the render.
    """
    counts = fit(render, pieces)
    if counts is None:
        raise mismatch("render", render, pieces)
    edges = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=edges[1:])
    spans = [answer] if thinking is None else [thinking, answer]
    if not all(0 <= start <= stop <= len(render) for start, stop in spans):
        raise RowError(f"sections {spans} reach outside the render of {len(render)} bytes")
    held = np.zeros(len(counts), np.int32)
    for span in spans:
        held += np.diff(edges.clip(*span)).astype(np.int32)
    return held


def mismatch(name: str, text: bytes, pieces: Pieces) -> RowError:
    """The error for tokens that do not tile a text, showing both at the first difference."""
    joined = pieces.data
    size = min(len(text), len(joined))
    differs = np.flatnonzero(
        np.frombuffer(text, np.uint8, size) != np.frombuffer(joined, np.uint8, size)
    )
    at = int(differs[0]) if len(differs) else size
    window = slice(max(0, at - _EXCERPT), at + _EXCERPT)
    return RowError(
        f"bytes do not tile the {name} ({len(text)} bytes, tokens {len(joined)}): first difference "
        f"at byte {at}: text {text[window].decode(errors='replace')!r}, "
        f"tokens {joined[window].decode(errors='replace')!r}; ids of another text or tokenizer?"
    )
