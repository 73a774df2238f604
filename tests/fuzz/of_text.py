"""Fuzz targets for text and tokens: think tags, sentences, harmony ids, tokens laid over text."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.harmony.parse import DEFECTS, completion_start, parse, parse_prompt, prompt_context
from builders.segment import KINDS, segment
from builders.shapes.fitting import fit_ids, fit_pieces
from builders.tokens.fit import fit, fit_harmony
from builders.tokens.table import Pieces, TokenTable
from builders.tokens.think import join_think, split_think
from builders.tokens.vocab import HARMONY_END, HARMONY_SPECIALS, Vocab, byte_level_alphabet
from dasd_data.errors import DasdError, RowError
from tests.fuzz.choices import Choices, changed
from tests.fuzz.of_files import stored
from tests.fuzz.target import Target

TEXTS = [b"analysis", b"final", b"commentary", b"assistant", b"user", b"system", b" to=x.y",
         b" to=", b" json", b"\n\n", b"<think>", b"</think>", b"\xc3\xa9", b"\xf0\x9f", b"\x99\x82",
         b"Reasoning: high", b" ", b"assistantfinal", b"<|channel|>", b"e\xcc\x81"]  # fmt: skip
SPECIAL = sorted(HARMONY_SPECIALS)
NAMED = [SPECIAL[n % len(SPECIAL)] for n in range(100)]
NAMED += [256 + n % len(TEXTS) for n in range(80)]  # ids by the byte that stands for them


@cache
def harmony_table() -> TokenTable:
    """Ids below 256 are bytes, then come TEXTS; harmony's special tokens are where they are."""
    pieces: list[bytes | None] = [bytes([b]) for b in range(256)] + list(TEXTS)
    pieces += [None] * (HARMONY_END - len(pieces))
    for token_id, name in HARMONY_SPECIALS.items():
        pieces[token_id] = name.encode()
    return TokenTable(Vocab(pieces, frozenset(HARMONY_SPECIALS)))


def token_ids(choices: Choices) -> NDArray[np.int32]:
    """Ids of the table: half of them structure and names, now and then one that is not in it."""
    ids, data = [], iter(choices.rest())
    for kind in data:
        if kind < len(NAMED):
            ids.append(NAMED[kind])
        else:
            ids.append(next(data, 0) if kind < 255 else 199_000)
    return np.array(ids, np.int32)


def harmony(data: bytes) -> None:
    """Harmony ids: every list is parsed, and every byte of both texts is some token's."""
    table, ids = harmony_table(), token_ids(Choices(data))
    if 199_000 in ids:
        for call in (parse, parse_prompt):
            try:
                call(ids, table)
            except RowError as error:
                assert "is not in tokenizer" in str(error)
        ids = ids[ids != 199_000]
    parsed = parse(ids, table)
    text = parsed.thinking + (parsed.answer or "")
    assert len(parsed.token_bytes) == len(ids)
    assert (parsed.token_bytes >= 0).all()
    assert sum(parsed.token_bytes) == len(text.encode())
    assert all(
        not n
        for i, n in zip(ids.tolist(), parsed.token_bytes, strict=True)
        if i in HARMONY_SPECIALS
    )
    pieces = table.text_pieces(ids)
    held = b"".join(p for p, n in zip(pieces, parsed.token_bytes, strict=True) if n)
    if "\ufffd" not in text:
        assert held == text.encode()
    assert set(parsed.defects) <= set(DEFECTS) and len(set(parsed.defects)) == len(parsed.defects)
    assert (parsed.answer is None) == ("no_final" in parsed.defects)
    prompt_context(parse_prompt(ids, table))
    assert 0 <= completion_start(ids, table) <= len(ids)
    if (
        "\ufffd" not in text
        and parsed.answer is not None
        and "several_finals" not in parsed.defects
    ):
        fitted = fit_harmony(parsed.thinking, parsed.answer, ids, table)
        assert fitted.token_bytes.tolist() == parsed.token_bytes.tolist()


def think(data: bytes) -> None:
    """Think tags: only one opening and one closing tag, with their line ends, are left out."""
    text = data.decode("utf-8", "replace").replace("\x01", "<think>").replace("\x02", "</think>")
    thinking, answer = split_think(text)
    if thinking is None:
        assert answer == text
        return
    wrapper = rf"(?:\s*<think>\n?)?{re.escape(thinking)}(?:\n?</think>\n{{0,2}})?"
    assert text.endswith(answer)
    assert re.fullmatch(wrapper, text[: len(text) - len(answer)])
    if "</think>" not in text:
        assert split_think(join_think(text, text)) == (text, text)


def sentences(data: bytes) -> None:
    """Sentences of any text: they tile it, and none crosses the seam."""
    choices = Choices(data)
    errors = choices.pick(("replace", "replace", "replace", "surrogateescape"))
    thinking = choices.take().decode("utf-8", errors) if choices.below(3) == 0 else None
    answer = choices.rest().decode("utf-8", "replace")
    try:
        ends, kinds, sections = segment(thinking, answer)
    except RowError as error:
        assert errors == "surrogateescape" and "not valid Unicode" in str(error)
        return
    seam, size = len((thinking or "").encode()), len(((thinking or "") + answer).encode())
    assert (len(ends) == 0) == (size == 0)
    assert len(ends) == len(kinds) == len(sections)
    assert size == 0 or ends[-1] == size
    assert (np.diff(ends, prepend=0) > 0).all()
    assert ((kinds >= 0) & (kinds < len(KINDS))).all()
    assert seam == 0 or seam in ends
    assert (sections == (ends > seam)).all()
    raw = ((thinking or "") + answer).encode()
    for start, stop in pairwise([0, *ends.tolist()]):
        raw[start:stop].decode()


def fitting(data: bytes) -> None:
    """Tokens laid over text: their counts sum to the bytes they cover, or there is a reason."""
    choices = Choices(data)
    table = harmony_table()
    thinking = choices.take().decode("utf-8", "replace") if choices.below(2) else None
    answer = choices.take().decode("utf-8", "replace")
    wrapped = join_think(thinking, answer)
    body = choices.pick((wrapped, answer, (thinking or "") + answer, f" {wrapped}\n")).encode()
    pieces = []
    while body:
        size = choices.below(6) + 1
        pieces.append(body[:size])
        body = body[size:]
    if choices.below(4) == 0:
        pieces.append(choices.take())
    whole = {"thinking+answer": (thinking or "") + answer, "thinking": thinking, "answer": answer}
    try:
        counts, covered = fit_pieces(thinking, answer, Pieces.of(pieces))
    except RowError as error:
        assert len(str(error)) < 2000
    else:
        assert len(counts) == len(pieces) and (counts >= 0).all()
        assert sum(counts) == len((whole[covered] or "").encode()), covered
    if (counts_ := fit(wrapped.encode(), Pieces.of(pieces))) is not None:
        assert sum(counts_) == len(wrapped.encode()) and (counts_ >= 0).all()
    ids = token_ids(choices)
    for call in (fit_ids, lambda *a: _pair(fit_harmony(*a))):
        try:
            counts, covered = call(thinking, answer, ids, table)
        except RowError as error:
            assert len(str(error)) < 2000
            continue
        assert len(counts) == len(ids)
        assert sum(counts) == len((whole[covered] or "").encode())


def _pair(fitted: Any) -> tuple[list[int], str]:
    return fitted.token_bytes, fitted.sections


TOKENIZERS: list[dict[str, Any]] = [
    {"model": {"type": "BPE", "vocab": dict(list(byte_level_alphabet().items())[:9])},
     "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}]},
     "decoder": {"type": "ByteLevel"},
     "added_tokens": [{"id": 300, "content": "<|im_end|>", "special": True},
                      {"id": 301, "content": "<think>"}]},
    {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["\u2581a", -1.5], ["<0x41>", -2.0]],
               "byte_fallback": True},
     "decoder": {"type": "Sequence", "decoders": [
         {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
         {"type": "ByteFallback"}, {"type": "Fuse"}]}, "added_tokens": None},
    {"model": {"type": "Unigram", "vocab": [["\u2581a", -1.5]]},
     "decoder": {"type": "Metaspace", "replacement": "\u2581"}},
]  # fmt: skip
ODD: list[Any] = [None, "", 0, -1, 2**31, 10**14, 1.5, True, [], {}, [[]], [{}], "ByteLevel",
                  "\ud800", {"type": "ByteLevel"}, {"a": -5}, {"a": 10**14}, [["a"]]]  # fmt: skip


def tokenizer(data: bytes) -> None:
    """A vocabulary file, whatever is in it: a table or one of our errors."""
    choices = Choices(data)
    kind = choices.below(4)
    if kind == 0:
        text, name = choices.rest(), "tokenizer.json"
    elif kind == 1:
        text, name = choices.rest(), "a.tiktoken"
    else:
        spec = changed(choices.pick(TOKENIZERS), choices, ODD)
        text, name = json.dumps(spec).encode(), "tokenizer.json"
    try:
        table = TokenTable.load(stored(text, name))
    except DasdError as error:
        assert len(str(error)) < 2000
        return
    ids = [i for i in range(len(table)) if i in table.special_ids or table.lengths[i]]
    assert [len(p) for p in table.text_pieces(ids)] == table.lengths[ids].tolist()
    for token_id in (-1, len(table)):
        try:
            table.piece(token_id)
        except RowError:
            continue
        raise AssertionError("a piece outside of the table")


SENTENCES = [b"\1\0One. Two? \"Three.\" e.g. this $x. y$ and\n```py\nx = 1.\n```\n| a | b |\n",
             b"\0\5Hm. A\xf0\x9f\x99\x82. B. \\begin{align} x. \\end{align} 1. Two\n2. Three U.S. A",
             b"\1\0" + "。中文。 “Q.” R… S".encode()]  # fmt: skip
PUNCTUATION = [b". ", b"$$", b"\\[", b"\\]", b"```", b"~~~", b"\n\n", b"\\begin{", b"\\end{", b"e.g.",
               b"...", b"1. ", b"|", b"`", b"\xe2\x80\xa6", b"\xe3\x80\x82", b"Dr."]  # fmt: skip
_RUN = bytes([5, 100, 7, 200, 65, 6, 5, 3, 101, 7, 200, 66, 1])

TEXT = (
    Target("sentences", sentences, SENTENCES, PUNCTUATION, 8192),
    Target("think", think, [b"\x01\nT\n\x02\n\nA", b"T\n\x02\nA", b"A \x02 \x01", b" \x01T"],
           [b"<think>", b"</think>", b"\n", b"\x01", b"\x02"], 4096),
    Target("harmony", harmony, [_RUN, bytes(range(256))], max_len=256),
    Target("fitting", fitting, [b"\1\5T\n a.\7answer.\0\1\2\3", b"\0\3abc\2\1\1\1\1\0" + _RUN]),
    Target("tokenizer", tokenizer, [b"\0" + json.dumps(t).encode() for t in TOKENIZERS]
           + [b"\1IQ== 0\nIg== 1\n", b"\2\0\2\5\6", b"\2\1\1\3\1"], [b'"id":', b'"type":'], 4096),
)  # fmt: skip
