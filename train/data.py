"""The rows of all splits as tokens: encoded once, cached by content, mapped into memory.

A cache entry is an Arrow file named by the hash of all that decides its tokens: the bytes of the
shards, the tokenizer, its template, the system prompt.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from train.config import Config, Source, TrainError
from train.rows import Rendered, RowError, Template, token_weights
from train.source import find

VERSION = "1"  # of the cache: another one where the same row gives other tokens or weights
BATCH = 128  # rows encoded at a time
COLUMNS = {"messages", "response_id", "question_id", "domain", "teacher_probability",
           "weight", "masked", "sentence_ends", "sentence_weights"}  # fmt: skip
SCHEMA = pa.schema({
    "id": pa.string(), "question": pa.string(), "domain": pa.string(), "dropped": pa.string(),
    "teacher": pa.float64(), "tokens": pa.int32(), "total": pa.float64(),
    "ids": pa.list_(pa.int32()), "edges": pa.list_(pa.int32()), "values": pa.list_(pa.float32()),
})  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """All rows of all sources, numbered through; `source[i]` is the number of row i's."""

    sources: list[Source]
    table: pa.Table  # of SCHEMA: loss weights as runs, values[j] from edges[j] to edges[j + 1]
    source: np.ndarray
    hash: str

    def column(self, name: str) -> np.ndarray:
        """A scalar column of SCHEMA, [rows]."""
        return self.table[name].to_numpy()

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids int32 [tokens] and their loss weights float32 [tokens]."""
        ids, edges, values = (self.table[c][row].values for c in ("ids", "edges", "values"))
        return ids.to_numpy(), np.repeat(values.to_numpy(), np.diff(edges.to_numpy()))


def load(config: Config, template: Template) -> Rows:
    """Encode what is not in the cache yet, and open it all. TrainError for an unusable split."""
    cache = Path(config.cache).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    keys, tables = [], []
    context = VERSION, template.fast.to_str(), template.hash, template.system
    for source in config.data:
        shards = find(source, template)
        digests = [digest for _, digest in shards]
        key = hashlib.sha256(repr((context, digests)).encode()).hexdigest()[:32]
        path, part = cache / f"{key}.arrow", cache / f"{key}.part"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process of a machine encodes, the others wait
            if not path.exists():
                with pa.OSFile(str(part), "w") as out, pa.ipc.new_file(out, SCHEMA) as writer:
                    for batch in chain.from_iterable(_encoded(f, template) for f, _ in shards):
                        writer.write_batch(batch)
                part.rename(path)
        tables.append(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
        keys.append(key)
    numbers = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    return Rows(config.data, pa.concat_tables(tables), numbers, " ".join(keys))


def _encoded(file: Path, template: Template) -> Iterator[pa.RecordBatch]:
    try:
        reader, number = pq.ParquetFile(file, page_checksum_verification=True), count()
        columns = [c for c in reader.schema_arrow.names if c in COLUMNS]
        for batch in reader.iter_batches(BATCH, columns=columns):
            rows = batch.to_pylist()
            for row in rows:
                row["response_id"] = row.get("response_id") or f"{file.stem}:{next(number)}"
            yield pa.RecordBatch.from_pylist(_encode(rows, template), SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise TrainError(f"{file} cannot be read: {error}. Build or load it anew") from error


def _encode(rows: list[dict[str, Any]], template: Template) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    texts: list[Rendered] = []
    for row in rows:
        prompt = json.dumps((row["messages"] or [])[:-1]).encode()
        out.append({"id": row["response_id"], "domain": row.get("domain") or "all",
                    "question": row.get("question_id") or hashlib.sha256(prompt).hexdigest()[:32],
                    "teacher": np.log(p) if (p := row.get("teacher_probability")) else None,
                    "tokens": 0, "total": 0.0})  # fmt: skip
        try:
            texts.append(template.render(row["messages"]))
        except RowError as error:
            texts.append(Rendered("", 0, 0))
            out[-1]["dropped"] = str(error)
    encodings = template.fast.encode_batch([t.text for t in texts], add_special_tokens=False)
    for row, one, text, encoding in zip(rows, out, texts, encodings, strict=True):
        try:
            weights = token_weights(row, text, encoding, template.suffix[1])
        except RowError as error:
            one["dropped"] = one.get("dropped") or str(error)
            continue
        edges = np.flatnonzero(np.diff(weights, prepend=np.nan, append=np.nan))
        one |= {"ids": encoding.ids, "edges": edges, "values": weights[edges[:-1]],
                "tokens": len(weights), "total": float(weights.sum(dtype=np.float64))}  # fmt: skip
        one["dropped"] = one.get("dropped") or (None if weights.any() else "all of it is masked")
    return out
