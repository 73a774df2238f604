"""Token ids to exact bytes, for one tokenizer, and bytes back to text.

Decoded strings lose what a token covers (an emoji is several tokens), so everything here is
bytes: `TokenTable.load("folder").pieces(ids)`. Responses run to 64K tokens, so tokens are arrays:
nothing is one Python object a token.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from builders import hub
from builders.jit import njit
from builders.tokens.vocab import Vocab, read_vocab
from dasd_data.errors import RowError, UsageError

REPLACEMENT = "\ufffd".encode()


@dataclass(frozen=True, slots=True)
class Pieces:
    """The bytes of consecutive tokens: all of them joined, and the length of each, int32[n]."""

    data: bytes
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, pieces: Collection[bytes]) -> Pieces:
        """The pieces of a list."""
        return cls(b"".join(pieces), np.fromiter(map(len, pieces), np.int32, len(pieces)))

    def __iter__(self) -> Iterator[bytes]:
        at = 0
        for length in self.lengths.tolist():
            yield self.data[at : at + length]
            at += length


class TokenTable:
    """id -> exact bytes of each token of one tokenizer.

    `lengths[id]` is the token's number of bytes in text: 0 for a special token and for an id
    that does not exist. `special_ids` are the tokens that the vocabulary flags as special;
    Qwen's `<think>` is an added token without that flag, so it is text like any other.
    `name` depends on the content only: the same vocabulary has it at every path.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.special_ids = vocab.special
        filled = Pieces.of([piece or b"" for piece in vocab.pieces])
        self._data = np.frombuffer(filled.data, np.uint8)
        self._starts = np.cumsum(filled.lengths, dtype=np.int64) - filled.lengths
        self._lengths = filled.lengths  # of special ones too
        self._exists = np.array([piece is not None for piece in vocab.pieces], np.bool_)
        self._special = np.zeros(len(self._exists), np.bool_)
        self._special[sorted(vocab.special)] = True
        self.lengths: NDArray[np.int32] = np.where(self._special, np.int32(0), filled.lengths)
        self.lengths.flags.writeable = False
        self.name = _content_name(vocab)

    @classmethod
    def load(cls, path_or_id: str | Path) -> TokenTable:
        """Load a folder with `tokenizer.json`, that file, a `*.tiktoken` file or a Hub id.

        A local path wins, then the Hub's local cache, then the Hub. Cached until the file changes.
        Raises UsageError when there is no such tokenizer, DataError when its format cannot give
        exact bytes, RemoteError when the Hub fails.
        """
        path = _find(str(path_or_id))
        stat = path.stat()
        return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)

    def __len__(self) -> int:
        return len(self._exists)

    def __repr__(self) -> str:
        return f"TokenTable({self.name!r}, {len(self)} ids)"

    def piece(self, token_id: int) -> bytes:
        """The token's bytes, a special token's too. Raises RowError for an unknown id."""
        return self.pieces([token_id]).data

    def pieces(self, ids: ArrayLike) -> Pieces:
        """The bytes of each token, special ones included. Raises RowError for an unknown id."""
        return self._gathered(self.known(ids), self._lengths)

    def text_pieces(self, ids: ArrayLike) -> Pieces:
        """The bytes of each token in text: empty for special ones. Raises RowError as `piece`."""
        return self._gathered(self.known(ids), self.lengths)

    def known(self, ids: ArrayLike) -> NDArray[np.int64]:
        """The ids as an array. Raises RowError for one that the tokenizer does not have."""
        try:
            found = np.asarray(ids, np.int64)
        except OverflowError:
            raise RowError("a token id is above every tokenizer's") from None
        inside = (found >= 0) & (found < len(self))
        if not inside.all() or not self._exists[found].all():
            inside[inside] = self._exists[found[inside]]
            raise RowError(
                f"token id {found[~inside][0]} is not in tokenizer {self.name} ({len(self)} ids): "
                "these ids are likely another tokenizer's, check --tokenizer"
            )
        return found

    def is_special(self, ids: ArrayLike) -> NDArray[np.bool_]:
        """Which of the ids the vocabulary flags as special (no text)."""
        return self._special[self.known(ids)]

    def _gathered(self, ids: NDArray[np.int64], lengths: NDArray[np.int32]) -> Pieces:
        own = lengths[ids]
        out = np.empty(own.sum(dtype=np.int64), np.uint8)
        _gather(self._data, self._starts, ids, own, out)
        return Pieces(out.tobytes(), own)

    def id_of(self, token: str | bytes) -> int | None:
        """The id of the token with exactly this text or these bytes, None if there is none."""
        return self._ids.get(token.encode() if isinstance(token, str) else token)

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        data, starts = self._data.tobytes(), self._starts
        ids = {
            data[starts[i] : starts[i] + self._lengths[i]]: i
            for i in np.flatnonzero(self._exists).tolist()
        }
        # a special token wins over a plain one of the same bytes
        ids.update((self.piece(i), i) for i in self.special_ids)
        return ids


@njit(allocates=False, nogil=True)
def _gather(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ids: NDArray[np.int64],
    lengths: NDArray[np.int32],
    out: NDArray[np.uint8],
) -> None:
    """Write the first `lengths[i]` bytes of each token to `out`, one token after the other."""
    at = 0
    for i in range(len(ids)):
        start = starts[ids[i]]
        for k in range(lengths[i]):
            out[at + k] = data[start + k]
        at += lengths[i]


def _content_name(vocab: Vocab) -> str:
    digest = hashlib.sha256()
    for i, piece in enumerate(vocab.pieces):
        if piece is not None:
            digest.update(b"%d %d %d " % (i, i in vocab.special, len(piece)) + piece)
    return f"tokens-{digest.hexdigest()[:16]}"


@lru_cache(maxsize=16)
def _load(path: Path, _mtime_ns: int, _size: int) -> TokenTable:
    return TokenTable(read_vocab(path))


def _find(path_or_id: str) -> Path:
    path = Path(path_or_id)
    if path.is_file():
        return path
    if path.is_dir():
        found = [p for p in [path / "tokenizer.json"] if p.exists()]
        found = found or sorted(path.glob("*.tiktoken"))
        if len(found) == 1:
            return found[0]
        raise UsageError(
            f"{path} has {len(found) or 'no'} vocabulary file{'s' * (len(found) != 1)}: "
            "name the tokenizer.json or *.tiktoken file to use"
        )
    return _from_hub(path_or_id)


def _from_hub(repo: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    missing = UsageError(
        f"no tokenizer at {repo!r}: it is no folder or file here, and no model with a "
        "tokenizer.json on the Hub"
    )
    with hub.translated(f"tokenizer {repo!r}", missing):
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(hf_hub_download(repo, "tokenizer.json", local_files_only=True))
        return Path(hf_hub_download(repo, "tokenizer.json"))


def decode(pieces: Pieces) -> tuple[str, NDArray[np.int32]]:
    """The text of the tokens, and how many bytes of its UTF-8 each token holds.

    An invalid sequence becomes U+FFFD (a maximal subpart at a time, as Unicode recommends and
    tokenizers do); its three bytes go to the token that holds the first offending byte. The
    counts always sum to `len(text.encode())`.
    """
    data = pieces.data
    try:
        return data.decode(), pieces.lengths
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
    weight = np.ones(len(data), dtype=np.int64)
    at = 0
    chunks = text.split("\ufffd")
    for chunk in chunks[:-1]:
        at += len(chunk.encode())
        if data.startswith(REPLACEMENT, at):  # the model wrote this one itself
            at += 3
            continue
        stop = at + _invalid_length(data[at : at + 4])
        weight[at:stop] = 0
        weight[at] = 3
        at = stop
    return text, split_weights(weight, pieces.lengths)


def split_weights(weight: NDArray[np.int64], lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum per-byte weights over consecutive tokens of the given lengths."""
    running = np.concatenate(([0], np.cumsum(weight)))
    return np.diff(running[np.cumsum(lengths, dtype=np.int64)], prepend=0).astype(np.int32)


def _invalid_length(window: bytes) -> int:
    try:
        window.decode()
    except UnicodeDecodeError as error:
        return error.end - error.start
    raise AssertionError("called on valid UTF-8")
