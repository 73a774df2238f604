"""Makes a catalog of any size, in the real schema, through the real store.

    python benchmarks/generate.py --responses 500000 --sentences 50000000 dasd.catalog

Lengths and probabilities follow gpt-oss traces on competition problems: sentences per response
lognormal (spread 0.85), bytes per sentence lognormal (mean 44, spread 0.77), 2.6 bytes a token, 23%
of the sentences mathematics, 2% of them the answer. Every question has 8 candidates, 4 at T=0.6 and
4 at T=1.0; domains take turns. Teacher and student scored every response; 98% passed each required
filter. Seeded: the same arguments give the same rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import dasd_data
from dasd_data.catalog import Catalog
from dasd_data.parameters import DOMAINS
from dasd_data.schema import TABLES
from dasd_data.writer import Writer

BATCH_RESPONSES, BATCH_SENTENCES, BATCH_BYTES = 16_384, 2_000_000, 256 << 20  # of one commit
CANDIDATES = 8
FILTERS = ("length", "structure", "completeness", "repetition", "cjk")
SCORERS = {"teacher": "gpt-oss-120b", "student": "Qwen3-4B-Instruct-2507"}
SEGMENTER = "generated-1"
SPREAD_BYTES, SPREAD_SENTENCES, BYTES_PER_TOKEN = 0.77, 0.85, 2.6


@dataclass
class Batch:
    """Responses, and where their sentences begin: those of response i are first[i] : first[i+1]."""

    number: NDArray[np.int64]  # [responses]
    response_id: pa.Array  # [responses]
    segmentation_id: pa.Array  # [responses]
    first: NDArray[np.int64]  # [responses + 1]
    seam: NDArray[np.int64]  # [responses] first sentence of the answer
    start: NDArray[np.int64]  # [sentences + 1] in bytes of all texts of the batch, joined

    def table(self, name: str, columns: Mapping[str, Any]) -> pa.Table:
        """One row per response, of the catalog's schema."""
        return _table(name, {"response_id": self.response_id, "run_id": "run", **columns})

    def lists(self, values: NDArray[Any], kind: type) -> pa.Array:
        """One list per response of values by sentence."""
        return pa.ListArray.from_arrays(pa.array(self.first, pa.int32()), values.astype(kind))


def generate(
    path: Path,
    responses: int,
    sentences: int,
    *,
    sentence_bytes: float = 44,
    text: bool = True,
    seed: int = 0,
) -> Catalog:
    """A new catalog at `path`; without `text` the responses are empty and spans run past them."""
    catalog = dasd_data.create(path, settings=False)
    writer = Writer(catalog.store, "generate")
    writer.append(_head())
    rng = np.random.default_rng(seed)
    words = rng.choice(np.frombuffer(b"etaoin shrdlu.", np.uint8), (65_536, 8))
    mean = sentences / responses
    most = min(BATCH_SENTENCES, BATCH_BYTES / sentence_bytes) / mean
    size = max(int(min(BATCH_RESPONSES, most)) // CANDIDATES, 1) * CANDIDATES
    for done in range(0, responses, size):
        batch = _batch(rng, np.arange(done, min(done + size, responses)), mean, sentence_bytes)
        teacher, student = _scores(rng, batch)
        tables = {
            "sentences": _sentences(rng, batch),
            "sentence_scores": teacher,
            "flags": _flags(rng, batch),
            **_questions(batch),
            "responses": _responses(rng, batch, words if text else None),
        }
        writer.append(tables)
        writer.append({"sentence_scores": student})  # by a stage of its own, as in real catalogs
    return catalog.refresh()


def _head() -> dict[str, pa.Table]:
    """The run that decides segmenter and filters, and both scorers."""
    settings = {"segmenter": SEGMENTER, "filters": dict.fromkeys(FILTERS, "1")}
    run = {
        "run_id": pa.array(["run"]),
        "stage": "generate",
        "configuration": json.dumps(settings),
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    scorers = {
        "scorer_id": pa.array([scorer_id(name) for name in SCORERS]),
        "name": pa.array(list(SCORERS)),
        "model": pa.array(list(SCORERS.values())),
        "logprobs_mode": "raw_logprobs",
        "temperature": 1.0,
    }
    return {"runs": _table("runs", run), "scorers": _table("scorers", scorers)}


def _batch(
    rng: np.random.Generator, number: NDArray[np.int64], mean: float, sentence_bytes: float
) -> Batch:
    counts = np.maximum(_lognormal(rng, len(number), mean, SPREAD_SENTENCES), 2)
    first = _starts(counts)
    seam = first[:-1] + np.clip(counts * 98 // 100, 1, counts - 1)
    lengths = _lognormal(rng, int(first[-1]), sentence_bytes, SPREAD_BYTES)
    return Batch(number, _ids(rng, len(number)), _ids(rng, len(number)), first, seam,
                 _starts(lengths))  # fmt: skip


def _sentences(rng: np.random.Generator, batch: Batch) -> pa.Table:
    place = np.arange(len(batch.start) - 1)
    counts = np.diff(batch.first)
    ends = batch.start[1:] - np.repeat(batch.start[batch.first[:-1]], counts)
    columns = {
        "segmenter": SEGMENTER,
        "segmentation_id": batch.segmentation_id,
        "byte_end": batch.lists(ends, np.int32),
        "kind": batch.lists(rng.random(len(place)) < 0.23, np.int8),
        "section": batch.lists(place >= np.repeat(batch.seam, counts), np.int8),
    }
    return batch.table("sentences", columns)


def _scores(rng: np.random.Generator, batch: Batch) -> list[pa.Table]:
    """Both scorers' sums; a quarter of the sentences is much harder for the student."""
    size = len(batch.start) - 1
    white = rng.random(size) < 0.005  # holds no token
    tokens = np.ceil(np.diff(batch.start) / BYTES_PER_TOKEN) * ~white
    loss = rng.gamma(1.2, 0.2, size)  # nats a token
    harder = np.exp(rng.normal(0.1, 0.3, size)) * np.where(rng.random(size) < 0.25, 2.5, 1.0)
    scores = {"teacher": (tokens, loss), "student": (np.ceil(tokens * 1.096), loss * harder)}
    return [
        batch.table(
            "sentence_scores",
            {
                "scorer_id": scorer_id(name),
                "segmentation_id": batch.segmentation_id,
                "n_tokens": batch.lists(count, np.int32),
                "logprob_sum": batch.lists(-count * nats, np.float32),
            },
        )
        for name, (count, nats) in scores.items()
    ]


def _flags(rng: np.random.Generator, batch: Batch) -> pa.Table:
    size = len(batch.number)
    return pa.concat_tables(
        batch.table(
            "flags",
            {
                "filter": name,
                "version": "1",
                "passed": pa.array(rng.random(size) < 0.98),
                "value": pa.array(np.round(rng.random(size), 6)),
            },
        )
        for name in FILTERS
    )


def _questions(batch: Batch) -> dict[str, pa.Table]:
    numbers = np.unique(batch.number // CANDIDATES)
    texts = [f"Question {i}: how many prime numbers are there below {i}?" for i in numbers]
    sources = {
        "question_id": _question_ids(numbers),
        "source": "generated",
        "row": pa.array(numbers).cast(pa.string()),
        "domain": pa.array(DOMAINS).take(pa.array(numbers % len(DOMAINS))),
    }
    return {
        "questions": _table(
            "questions", {"question_id": _question_ids(numbers), "text": pa.array(texts)}
        ),
        "question_sources": _table("question_sources", sources),
    }


def _responses(rng: np.random.Generator, batch: Batch, words: NDArray[np.uint8] | None) -> pa.Table:
    thinking = answer = ""
    if words is not None:
        text = words[rng.integers(0, len(words), int(batch.start[-1]) // 8 + 1)]
        bounds = np.empty(2 * len(batch.number) + 1, np.int32)
        bounds[0::2], bounds[1::2] = batch.start[batch.first], batch.start[batch.seam]
        parts = pa.StringArray.from_buffers(
            len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(text)
        )
        places = np.arange(0, len(parts), 2)
        thinking, answer = parts.take(pa.array(places)), parts.take(pa.array(places + 1))
    columns = {
        "question_id": _question_ids(batch.number // CANDIDATES),
        "source": "generated",
        "policy": "teacher",
        "model": SCORERS["teacher"],
        "temperature": pa.array(np.where(batch.number % 2, 1.0, 0.6)),
        "sample_index": pa.array(batch.number % CANDIDATES, pa.int32()),
        "thinking": thinking,
        "answer": answer,
        "finish_reason": "stop",
    }
    return batch.table("responses", columns)


def _table(name: str, columns: Mapping[str, Any]) -> pa.Table:
    """Rows of a table without `content_hash`; a single value stands for all rows, none is NULL."""
    schema = TABLES[name].schema
    schema = schema.remove(schema.get_field_index("content_hash"))
    size = next(len(c) for c in columns.values() if isinstance(c, pa.Array))
    values = {field.name: columns.get(field.name) for field in schema}
    return pa.table(
        [
            value
            if isinstance(value, pa.Array)
            else pa.repeat(pa.scalar(value, schema.field(name).type), size)
            for name, value in values.items()
        ],
        schema=schema,
    )


def _lognormal(
    rng: np.random.Generator, size: int, mean: float, spread: float
) -> NDArray[np.int64]:
    values = rng.lognormal(np.log(mean) - spread**2 / 2, spread, size)
    return np.maximum(np.rint(values), 1).astype(np.int64)


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(lengths)))


def _ids(rng: np.random.Generator, size: int) -> pa.Array:
    """Random ids of 32 hexadecimal digits."""
    return _hex(rng.integers(0, 256, (size, 16), np.uint8))


def _question_ids(numbers: NDArray[np.int64]) -> pa.Array:
    """Ids that look as random as hashes do: the number times an odd constant."""
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return _hex(np.stack([mixed, ~mixed], axis=1).view(np.uint8).reshape(len(numbers), 16))


def _hex(digests: NDArray[np.uint8]) -> pa.Array:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = digits[np.stack([digests >> 4, digests & 15], axis=2)].ravel()
    offsets = np.arange(0, len(text) + 1, 32, np.int32)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(offsets), pa.py_buffer(text))


def scorer_id(name: str) -> str:
    """Id of a generated scorer."""
    return name.encode().hex().ljust(32, "0")


def main() -> None:
    """Generate a catalog and print its rows and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, help="folder of the new catalog")
    parser.add_argument("--responses", type=int, default=50_000)
    parser.add_argument("--sentences", type=int, default=5_000_000)
    parser.add_argument("--sentence-bytes", type=float, default=44, help="mean length")
    parser.add_argument("--no-text", action="store_true", help="leave the responses empty")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.process_time()
    catalog = generate(
        options.path,
        options.responses,
        options.sentences,
        sentence_bytes=options.sentence_bytes,
        text=not options.no_text,
        seed=options.seed,
    )
    for name, files in catalog.files.items():
        size = sum(file.stat().st_size for file in files)
        print(f"{name:16} {size / 1e6:10.2f} MB in {len(files)} files")
    print(f"{time.process_time() - start:.1f} CPU seconds")


if __name__ == "__main__":
    main()
