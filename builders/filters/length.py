"""Length: the tokens that the training render takes under the student's tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tokenizers import Tokenizer

from builders import hub
from builders.filters.base import Candidate, Verdict, failed, version
from builders.tokens.think import join_think
from dasd_data.errors import ConfigError

BATCH_BYTES = 4_000_000


@dataclass(frozen=True)
class LengthConfig:
    """`tokenizer`: a `tokenizer.json`, a folder with one, or a model's id on the Hub.

    `overhead` is what the chat template adds around question and completion: 21 tokens in
    Qwen's, with the system prompt "You are a helpful assistant."
    """

    tokenizer: str | None = None
    max_tokens: int = 65_536
    overhead: int = 21


class Length:
    """Fails what does not fit the context; the value is the number of tokens.

    Raises ConfigError without a tokenizer, or if it cannot be loaded.
    """

    name: ClassVar[str] = "length"
    required: ClassVar[bool] = True
    Config = LengthConfig

    def __init__(self, config: LengthConfig = LengthConfig()) -> None:
        self.config = config
        path = _tokenizer_file(config.tokenizer)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.version = version(1, [digest, config.max_tokens, config.overhead])
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ConfigError(f"filter length: {path} is no tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def check(self, candidates: Sequence[Candidate]) -> list[Verdict]:
        """One verdict per candidate."""
        verdicts: list[Verdict] = []
        for batch in _batches(candidates):
            counts = self._count(
                [c.question for c in batch], [join_think(c.thinking, c.answer) for c in batch]
            )
            verdicts += [self._verdict(n) for n in counts]
        return verdicts

    def _count(self, *columns: list[str]) -> list[int]:
        texts = [text for column in columns for text in column]
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        n = len(columns[0])
        lengths = [len(e) for e in encoded]
        return [sum(lengths[i::n]) + self.config.overhead for i in range(n)]

    def _verdict(self, n_tokens: int) -> Verdict:
        limit = self.config.max_tokens
        if n_tokens <= limit:
            return Verdict(True, float(n_tokens))
        return failed("over_length", float(n_tokens), max_tokens=limit)


def _batches(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Batches of about 4 MB of text: encodings are much larger than their text."""
    batches: list[list[Candidate]] = []
    size = BATCH_BYTES
    for candidate in candidates:
        if size >= BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(candidate)
        size += len(candidate.data) + len(candidate.question)
    return batches


def _tokenizer_file(name: str | None) -> Path:
    if name is None:
        raise ConfigError(
            "filter length: no tokenizer is configured; set `tokenizer` to the student's "
            "tokenizer.json, its folder or its id on the Hub"
        )
    path = Path(name).expanduser()
    if path.is_dir():
        path /= "tokenizer.json"
    if path.is_file():
        return path
    if path.exists() or path.is_absolute() or name.count("/") != 1 or path.suffix == ".json":
        raise ConfigError(f"filter length: tokenizer = {name!r}: there is no file {path}")
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    missing = ConfigError(
        f"filter length: tokenizer = {name!r} is no local file, and the Hub has no tokenizer.json "
        "of that name"
    )
    with hub.translated(f"filter length: tokenizer {name!r}", missing):
        return Path(hf_hub_download(name, "tokenizer.json"))
