"""Input files in the shapes that servers write, and a scoring run without a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.score.encode import Encoded
from builders.score.engine import ScoreRequest, ScoreResult
from builders.score.fake import FakeScorer
from builders.score.stage import ScoreRun
from builders.shapes import Context
from tests.builders.architectures import ARCHITECTURES, VOCAB


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """jsonl(rows, name): a JSONL file; a row that is text is written as it is."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """chat(question, text, logprobs): a chat completion of single-byte tokens."""

    def make(
        question: str, text: str, values: list[float] | None = None, **more: Any
    ) -> dict[str, Any]:
        values = values if values is not None else [-0.5] * len(text.encode())
        content = [
            {"token": chr(b), "bytes": [b], "logprob": v}
            for b, v in zip(text.encode(), values, strict=False)
        ]
        return {
            "object": "chat.completion",
            "model": "big",
            "messages": [{"role": "user", "content": question}],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                    "logprobs": {"content": content},
                }
            ],
            **more,
        }

    return make


@pytest.fixture
def byte_tokenizer(tmp_path: Path) -> str:
    """Path of a tokenizer whose tokens are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    path = tmp_path / "byte_tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


@pytest.fixture
def context() -> Callable[..., Context]:
    """context(**settings): what the user says about the files of an ingest."""
    return lambda **settings: Context(file="", **settings)


@pytest.fixture
def fake_run() -> Callable[..., ScoreRun]:
    """fake_run(name): a scoring run whose tokens are the bytes of question and response."""

    def encode(rows: Iterable[Mapping[str, Any]]) -> Iterator[Encoded | ScoreResult]:
        for row in rows:
            prompt = row["question"].encode() + b"\n"
            text = ((row["thinking"] or "") + row["answer"]).encode()
            ids = np.frombuffer(prompt + text, np.uint8).astype(np.int32)
            request = ScoreRequest(row["response_id"], ids, len(prompt))
            yield Encoded(request, [1] * len(text))

    def make(name: str = "student", *, max_context: int | None = None, **more: Any) -> ScoreRun:
        engine = FakeScorer(f"fake-{name}", max_context=max_context)
        return ScoreRun(engine, encode, engine.describe(), name, **more)

    return make


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a random model, made once; its weights are large enough to matter."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)  # tiny models: threads cost more than they bring
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            kind, arguments, _ = ARCHITECTURES[name]
            torch.manual_seed(0)
            config = getattr(transformers, kind)(**arguments)
            model = transformers.AutoModelForCausalLM.from_config(config)
            scale = {"mamba": 2, "bloom_faint": 1}.get(name, 8)
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.dim() > 1:
                        weight.mul_(scale)
            made[name] = tmp_path_factory.mktemp("models") / name
            model.save_pretrained(made[name])
        return made[name]

    return make


@pytest.fixture
def random_requests() -> Callable[..., list[ScoreRequest]]:
    """Requests of the given (length, start) with random ids."""

    def make(*shapes: tuple[int, int], vocab: int = VOCAB, seed: int = 1) -> list[ScoreRequest]:
        random = np.random.default_rng(seed)
        return [
            ScoreRequest(f"r{i}", random.integers(0, vocab, n).astype(np.int32), start)
            for i, (n, start) in enumerate(shapes)
        ]

    return make
