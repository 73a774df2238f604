"""Token ids to exact bytes, for one tokenizer, and bytes back to text.

Decoded strings lose what a token covers (an emoji is several tokens), so everything here is
bytes: `TokenTable.load("folder").pieces(ids)`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builders import hub
from builders.tokens.vocab import Vocab, read_vocab
from dasd_data.errors import RowError, UsageError

REPLACEMENT = "\ufffd".encode()


class TokenTable:
    """id -> exact bytes of each token of one tokenizer.

    `lengths[id]` is the token's number of bytes in text: 0 for a special token and for an id
    that does not exist. `special_ids` are the tokens that the vocabulary flags as special;
    Qwen's `<think>` is an added token without that flag, so it is text like any other.
    `name` depends on the content only: the same vocabulary has it at every path.
    """

    def __init__(self, vocab: Vocab) -> None:
        self._pieces = vocab.pieces
        self.special_ids = vocab.special
        lengths = [0 if piece is None else len(piece) for piece in vocab.pieces]
        self.lengths: NDArray[np.int32] = np.array(lengths, dtype=np.int32)
        self.lengths[sorted(vocab.special)] = 0
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
        return len(self._pieces)

    def __repr__(self) -> str:
        return f"TokenTable({self.name!r}, {len(self)} ids)"

    def piece(self, token_id: int) -> bytes:
        """The token's bytes, a special token's too. Raises RowError for an unknown id."""
        piece = self._pieces[token_id] if 0 <= token_id < len(self._pieces) else None
        if piece is None:
            raise RowError(
                f"token id {token_id} is not in tokenizer {self.name} ({len(self)} ids): "
                "these ids are likely another tokenizer's, check --tokenizer"
            )
        return piece

    def pieces(self, ids: Iterable[int]) -> list[bytes]:
        """The bytes of each token, special ones included. Raises RowError for an unknown id."""
        return [self.piece(token_id) for token_id in _plain(ids)]

    def text_pieces(self, ids: Iterable[int]) -> list[bytes]:
        """The bytes of each token in text: empty for special ones. Raises RowError as `piece`."""
        special = self.special_ids
        return [b"" if i in special else self.piece(i) for i in _plain(ids)]

    def is_special(self, token_id: int) -> bool:
        """Whether the vocabulary flags the token as special (no text)."""
        return token_id in self.special_ids

    def id_of(self, token: str) -> int | None:
        """The id of the token with exactly this text, None if there is none."""
        return self._ids.get(token.encode())

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        ids = {piece: i for i, piece in enumerate(self._pieces) if piece is not None}
        # a special token wins over a plain one of the same bytes
        ids.update((self.piece(i), i) for i in self.special_ids)
        return ids


def _plain(ids: Iterable[int]) -> Iterable[int]:
    return ids.tolist() if isinstance(ids, np.ndarray) else ids


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


def decode(pieces: Sequence[bytes]) -> tuple[str, list[int]]:
    """The text of the tokens, and how many bytes of its UTF-8 each token holds.

    An invalid sequence becomes U+FFFD (a maximal subpart at a time, as Unicode recommends and
    tokenizers do); its three bytes go to the token that holds the first offending byte. The
    counts always sum to `len(text.encode())`.
    """
    data = b"".join(pieces)
    lengths = [len(piece) for piece in pieces]
    try:
        return data.decode(), lengths
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
    return text, split_weights(weight, lengths)


def split_weights(weight: NDArray[np.int64], lengths: Sequence[int]) -> list[int]:
    """Sum per-byte weights over consecutive tokens of the given lengths."""
    running = np.concatenate(([0], np.cumsum(weight)))
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64)) if lengths else np.zeros(0, np.int64)
    return np.diff(running[ends], prepend=0).tolist() if len(ends) else []


def _invalid_length(window: bytes) -> int:
    try:
        window.decode()
    except UnicodeDecodeError as error:
        return error.end - error.start
    raise AssertionError("called on valid UTF-8")
