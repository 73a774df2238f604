"""Vocabulary files read into id -> bytes: `tokenizer.json` and tiktoken ranks.

Formats: https://huggingface.co/docs/tokenizers (tokenizer.json) and one
`base64(bytes) rank` pair a line (tiktoken).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from dasd_data.errors import DataError

O200K_SIZE = 199_998  # ranks of o200k_base; gpt-oss adds harmony's special tokens above them
HARMONY_SPECIALS = {
    199998: "<|startoftext|>",
    199999: "<|endoftext|>",
    200002: "<|return|>",
    200003: "<|constrain|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    200012: "<|call|>",
    200018: "<|endofprompt|>",
}
HARMONY_END = 201_088  # ids between, unnamed above, are <|reserved_N|>
MAX_IDS = 1 << 24  # no vocabulary comes near; a table is as long as its highest id
MAX_BYTES = 1 << 30

_Id = Annotated[int, msgspec.Meta(ge=0, lt=MAX_IDS)]

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


@dataclass(frozen=True, slots=True)
class Vocab:
    """`pieces[id]` is the token's bytes (None: no such id); `special` are ids that are no text."""

    pieces: list[bytes | None]
    special: frozenset[int]


def read_vocab(path: Path) -> Vocab:
    """Read one vocabulary file. Raises DataError for a format whose bytes cannot be known."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise DataError(f"{path} is no vocabulary: it is {size:,} bytes long")
    if path.suffix == ".json":
        return _from_tokenizer_json(path)
    return _from_tiktoken(path)


class _Added(msgspec.Struct):
    id: _Id
    content: str
    special: bool = False


class _Step(msgspec.Struct):
    """A pre-tokenizer or decoder; a sequence holds others."""

    type: str
    decoders: list[_Step] | None = None
    pretokenizers: list[_Step] | None = None
    replacement: str = "▁"
    pattern: dict[str, str] = {}


class _Model(msgspec.Struct):
    vocab: dict[str, _Id] | list[tuple[str, float]]
    type: str | None = None
    byte_fallback: bool | None = None


class _Tokenizer(msgspec.Struct):
    """What of a `tokenizer.json` tells a token's bytes."""

    model: _Model
    decoder: _Step | None = None
    pre_tokenizer: _Step | None = None
    added_tokens: list[_Added] | None = None


def _table(pairs: dict[int, bytes], special: frozenset[int]) -> Vocab:
    pieces: list[bytes | None] = [None] * (max(pairs, default=-1) + 1)
    for token_id, piece in pairs.items():
        pieces[token_id] = piece
    return Vocab(pieces, special)


def _from_tiktoken(path: Path) -> Vocab:
    pairs: dict[int, bytes] = {}
    try:
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                if not 0 <= int(rank) < MAX_IDS:
                    raise ValueError(f"rank {int(rank)}")
                pairs[int(rank)] = base64.b64decode(token, validate=True)
    except ValueError as error:
        reason = str(error)[:80]
        raise DataError(f"{path} is no tiktoken file ({reason}): give a tokenizer.json") from error
    special: frozenset[int] = frozenset()
    if len(pairs) == O200K_SIZE:
        special = frozenset(range(O200K_SIZE, HARMONY_END))
        for token_id in special:
            name = HARMONY_SPECIALS.get(token_id, f"<|reserved_{token_id}|>")
            pairs[token_id] = name.encode()
    return _table(pairs, special)


def _from_tokenizer_json(path: Path) -> Vocab:
    try:
        spec = msgspec.json.decode(path.read_bytes(), type=_Tokenizer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no tokenizer.json: {str(error)[:200]}") from error
    to_bytes = _byte_rule(spec, path)
    vocab = spec.model.vocab
    ids = vocab.items() if isinstance(vocab, dict) else _unigram_ids(vocab)
    pairs = {token_id: to_bytes(token) for token, token_id in ids}
    added = spec.added_tokens or []
    pairs.update((token.id, token.content.encode()) for token in added)
    return _table(pairs, frozenset(token.id for token in added if token.special))


def _unigram_ids(vocab: list[tuple[str, float]]) -> Iterator[tuple[str, int]]:
    return ((token, i) for i, (token, _) in enumerate(vocab))


def _parts(node: _Step | None) -> list[_Step]:
    """A pre-tokenizer's or decoder's steps, a sequence opened up."""
    if not node:
        return []
    inner = node.decoders or node.pretokenizers
    return [part for child in inner for part in _parts(child)] if inner else [node]


def _byte_rule(spec: _Tokenizer, path: Path) -> Callable[[str], bytes]:
    """How this tokenizer turns a vocabulary string into bytes."""
    steps = _parts(spec.decoder)
    kinds = {step.type for step in steps}
    if "ByteLevel" in kinds | {part.type for part in _parts(spec.pre_tokenizer)}:
        byte_of = byte_level_alphabet()
        return lambda token: _byte_level(token, byte_of)
    known = {"Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"}
    if not kinds & {"ByteFallback", "Metaspace"} or kinds - known:
        model, decoder = str(spec.model.type)[:40], ", ".join(sorted(kinds))[:80] or "none"
        raise DataError(
            f"{path}: the bytes of a token cannot be known from a {model} vocabulary with "
            f"decoder {decoder}: byte-level BPE, SentencePiece and tiktoken are supported"
        )
    spaces = [step.replacement for step in steps if step.type == "Metaspace"]
    spaces += [step.pattern.get("String", "▁") for step in steps if step.type == "Replace"]
    space = (spaces or ["▁"])[0]
    fallback = "ByteFallback" in kinds or bool(spec.model.byte_fallback)
    return lambda token: _sentencepiece(token, space, fallback)


def byte_level_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's byte-level BPE: printable Latin-1 bytes stand for themselves,
    the other 68, in order, for the code points from 256 on.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    rest = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


def _byte_level(token: str, byte_of: dict[str, int]) -> bytes:
    try:
        return bytes([byte_of[char] for char in token])
    except KeyError:  # not written in the alphabet: such a token is decoded as it stands
        return token.encode()


def _sentencepiece(token: str, space: str, fallback: bool) -> bytes:
    if fallback and (byte := BYTE_TOKEN.match(token)):
        return bytes([int(byte[1], 16)])
    return token.replace(space, " ").encode()
