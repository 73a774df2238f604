"""Seeded JSONL of responses with log-probs, in the forms that servers and releases write them."""

from __future__ import annotations

import base64
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

MEAN_TOKENS = 8_000
VOCABULARY = 150_000  # ids are drawn from so many, so that they have as many digits as real ones
SENTENCES = (
    "We need the number of {w} with {w} + {w} = {n}. ",
    "Let's compute: {n}^2 = {m}, so the {w} is {w} {w} than {n}. ",
    "Actually, check whether {w} {w} {w} the {w}: is it 3.5 or {n}? ",
    "So \\(x_{n} = {m}/2\\) holds for the {w} {w}, e.g. for Dr. Smith's {w}. ",
    "But the {w} of {w} must {w} {w} and {w}, which {w} {w}; hence {w} {w} by {w}. ",
    "Thus {n} {w}.\n\n",
    "\\[\nx = {n}.\n\\]\n\n",
    "- Step {n}: {w} in b = {m}, see Fig. 3.\n",
)
_PIECE = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}| ?[^\w\s]{1,2}|\s|_")
_BLANK = re.compile(r"\{([wnm])\}")

Tokens = tuple[list[int], list[bytes]]  # ids, and the tokens' bytes


class MadeUp:
    """Texts without end, and a tokenizer for them: an id for every piece its pattern finds."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgk"
        self.words = [
            "".join(self.random.choices(letters, k=self.random.randint(2, 9))) for _ in range(5_000)
        ]
        self.weights = np.cumsum(1 / np.arange(1, len(self.words) + 1)).tolist()  # Zipf's
        self.free = self.random.sample(range(VOCABULARY), VOCABULARY)
        self.ids: dict[str, int] = {}

    def encode(self, text: str) -> Tokens:
        """The tokens of a text."""
        pieces = _PIECE.findall(text)
        for piece in pieces:
            if piece not in self.ids:
                self.ids[piece] = self.free.pop()
        return [self.ids[p] for p in pieces], [p.encode() for p in pieces]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Pairs of thinking and answer, of lognormal length."""
        spread = 0.8
        mean = float(np.log(MEAN_TOKENS)) - spread**2 / 2
        while True:
            size = self.random.lognormvariate(mean, spread)
            drawn = self.random.choices(SENTENCES, k=max(2, int(size / 27)))
            filled = [_BLANK.sub(self._word, sentence) for sentence in drawn]
            cut = len(filled) * 9 // 10
            yield "".join(filled[:cut]).strip(), "".join(filled[cut:]).strip()

    def _word(self, blank: re.Match[str]) -> str:
        if blank[1] == "w":
            return self.random.choices(self.words, cum_weights=self.weights)[0]
        return str(self.random.randrange(9_999))

    def save(self, folder: Path) -> Path:
        """Write the vocabulary where `--tokenizer` finds it."""
        path = folder / "made_up.tiktoken"
        pairs = [b"%s %d" % (base64.b64encode(p.encode()), i) for p, i in self.ids.items()]
        path.write_bytes(b"\n".join(pairs))
        return path


class Real:
    """The texts of a Parquet file's columns `reasoning` and `content`, over and over again."""

    def __init__(self, path: Path, tokenizer: Path) -> None:
        from tokenizers import Tokenizer

        from builders.tokens.table import TokenTable

        self.tokenizer, self.table = tokenizer, TokenTable.load(tokenizer)
        self.encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        rows = pq.read_table(path, columns=["reasoning", "content"]).to_pylist()
        self.pairs = [(r["reasoning"], r["content"]) for r in rows if all(r.values())]

    def encode(self, text: str) -> Tokens:
        """The tokens of a text."""
        ids = self.encoder.encode(text, add_special_tokens=False).ids
        return ids, self.table.pieces(ids)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Pairs of thinking and answer."""
        while True:
            yield from self.pairs

    def save(self, _folder: Path) -> Path:
        """Where the tokenizer is."""
        return self.tokenizer


def logprobs(random: np.random.Generator, n: int) -> list[float]:
    """32-bit values as servers write them; one in seven is 0, the others span many decades."""
    values = -np.exp(random.normal(-3.0, 3.0, n).clip(-16, 2)).astype(np.float32)
    values[random.random(n) < 0.15] = 0.0
    found: list[float] = values.tolist()
    return found


def _samples(number: int, thinking: str, answer: str, encode: Any, rng: Any) -> dict[str, Any]:
    """A prompt with a completion, ids and log-probs: what a script around vLLM writes."""
    text = f"<think>\n{thinking}\n</think>\n\n{answer}"
    ids, _ = encode(text)
    choice = {"index": 0, "text": text, "token_ids": ids, "logprobs": logprobs(rng, len(ids)),
              "finish_reason": "stop"}  # fmt: skip
    return {"samples": {
        "question": f"In how many ways is {number} a sum?", "domain": "math", "model": "big",
        "reference_answer": str(number), "temperature": 0.6, "top_p": 1.0, "engine": "vllm",
        "logprobs_mode": "raw_logprobs", "choices": [choice],
    }}  # fmt: skip


def _chat(number: int, thinking: str, answer: str, encode: Any, rng: Any) -> dict[str, Any]:
    """A chat completion of an OpenAI-compatible server, with `logprobs.content`."""
    _, pieces = encode(f"{thinking}\n</think>\n\n{answer}")
    content = [
        {"token": p.decode(errors="replace"), "logprob": v, "bytes": list(p), "top_logprobs": []}
        for p, v in zip(pieces, logprobs(rng, len(pieces)), strict=True)
    ]
    message = {"role": "assistant", "reasoning": thinking, "content": answer}
    choice = {"index": 0, "finish_reason": "stop", "message": message,
              "logprobs": {"content": content}}  # fmt: skip
    return {"chat": {
        "messages": [{"role": "user", "content": f"In how many ways is {number} a sum?"}],
        "temperature": 0.6, "object": "chat.completion", "id": f"chatcmpl-{number}",
        "model": "big", "choices": [choice],
    }}  # fmt: skip


def _completions(number: int, thinking: str, answer: str, encode: Any, rng: Any) -> dict[str, Any]:
    """A completion of vLLM's server, with `return_token_ids`."""
    text = f"<think>\n{thinking}\n</think>\n\n{answer}"
    ids, pieces = encode(text)
    tokens = [p.decode(errors="replace") for p in pieces]
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    scores = {"tokens": tokens, "token_logprobs": logprobs(rng, len(ids)), "text_offset": offsets,
              "top_logprobs": None}  # fmt: skip
    choice = {"index": 0, "text": text, "token_ids": ids, "logprobs": scores,
              "finish_reason": "stop"}  # fmt: skip
    return {"completions": {
        "prompt": f"In how many ways is {number} a sum?", "temperature": 0.6, "model": "big",
        "object": "text_completion", "id": f"cmpl-{number}", "choices": [choice],
    }}  # fmt: skip


def _published(number: int, thinking: str, answer: str, encode: Any, rng: Any) -> dict[str, Any]:
    """The published release: a file of texts, and one of ids and log-probs of the thinking."""
    key = str(uuid.UUID(int=number, version=4))
    ids, _ = encode(thinking)
    text = {"uuid": key, "input": f"In how many ways is {number} a sum?", "domain": "math",
            "output": f"<think>\n{thinking}\n</think>\n\n{answer}", "meta": "{}"}  # fmt: skip
    scored = {"sample_uuid": key, "token_ids": ids, "logprobs": logprobs(rng, len(ids))}
    return {"stage1": text, "stage1-logprob": scored}


FORMS: dict[str, Callable[..., dict[str, Any]]] = {
    "samples": _samples,
    "chat": _chat,
    "completions": _completions,
    "published": _published,
}


def write(folder: Path, form: str, size: int, source: MadeUp | Real, seed: int = 0) -> int:
    """Write the files of a form into `folder` until they hold `size` bytes; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, texts, written, number = np.random.default_rng(seed), source.texts(), 0, 0
    files: dict[str, Any] = {}
    while written < size:
        for name, row in FORMS[form](number, *next(texts), source.encode, rng).items():
            if name not in files:
                files[name] = (folder / f"{name}.jsonl").open("wb")
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            files[name].write(line)
            written += len(line)
        number += 1
    for file in files.values():
        file.close()
    return written
