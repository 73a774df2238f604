"""Token log-probs to sentence rows, Parquet read included, beside the same in DuckDB.

    python benchmarks/aggregate.py --tokens 10000000

Writes its own seeded data (lognormal response lengths, a mean of 8,000 tokens of 4 bytes, 25 tokens
a sentence) to a temporary folder and reports million tokens per CPU second, on one thread. DuckDB
gets the easier task: it puts a token where its first byte is and never looks at the text. Its other
two queries stop earlier: tokens with their places and no sentences, and the bare lists unnested.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from builders.tokens.aggregate import aggregate

MEAN_TOKENS = 8_000
ROWS_PER_BATCH = 256
COLUMNS = ["thinking", "answer", "token_bytes", "logprobs", "byte_end"]

# Bytes run on over all responses, in the order of the file, so that every window is a running one.
POSITIONS = """
with responses as (
    select byte_end, token_bytes, logprobs,
           sum(byte_end[-1]) over (rows unbounded preceding) - byte_end[-1] as base
    from read_parquet('{path}')
), tokens as (
    select unnest(token_bytes) as size, unnest(logprobs) as logprob from responses
), placed as (
    select logprob::double as logprob,
           sum(size) over (rows unbounded preceding) - size as position
    from tokens
)
"""
# The fastest of six ways tried: windows by response, ordered or not, take 4 times as long; one sort
# of tokens and ends together, or running totals looked up at the ends, take a little longer.
SENTENCES = f"""{POSITIONS}, ends as (
    select base + unnest(byte_end) as byte_end from responses
), sentences as (
    select byte_end, count(*) as n_tokens, sum(logprob) as logprob_sum
    from placed asof join ends on placed.position < ends.byte_end
    group by byte_end
)
select sum(n_tokens), sum(logprob_sum) from sentences
"""
UNNEST = """
select count(size), sum(logprob::double) from (
    select unnest(token_bytes) as size, unnest(logprobs) as logprob from read_parquet('{path}')
)
"""
DUCKDB = {
    "DuckDB, sentences": SENTENCES,
    "DuckDB, unnest and places": f"{POSITIONS} select count(position), sum(logprob) from placed",
    "DuckDB, unnest alone": UNNEST,
}


def write_data(path: Path, n_tokens: int, seed: int = 0) -> int:
    """Write one Parquet file with all columns; returns the number of tokens in it."""
    rng = np.random.default_rng(seed)
    spread = 0.8
    mean = np.log(MEAN_TOKENS) - spread**2 / 2
    writer = None
    written = row = 0
    while written < n_tokens:
        sizes = np.maximum(rng.lognormal(mean, spread, ROWS_PER_BATCH).astype(np.int64), 32)
        batch = _batch(rng, sizes, row)
        if writer is None:
            writer = pq.ParquetWriter(
                path, batch.schema, compression="zstd", use_dictionary=False,
                column_encoding={"logprobs.list.element": "BYTE_STREAM_SPLIT"},
            )  # fmt: skip
        writer.write_table(batch)
        written += int(sizes.sum())
        row += ROWS_PER_BATCH
    assert writer is not None
    writer.close()
    return written


def _batch(rng: np.random.Generator, sizes: NDArray[np.int64], row: int) -> pa.Table:
    """Responses of the given token counts; half of the tokens begin with a space."""
    total = int(sizes.sum())
    lengths = rng.integers(1, 8, total, dtype=np.int32)
    starts = np.cumsum(lengths) - lengths
    text = rng.integers(97, 123, int(lengths.sum()), dtype=np.uint8)
    text[starts[rng.random(total) < 0.5]] = 32
    token_at = np.concatenate(([0], np.cumsum(sizes)))
    byte_at = np.concatenate((starts, [len(text)]))[token_at]
    seams = byte_at[:-1] + np.diff(byte_at) * 9 // 10
    marks = [
        np.union1d(np.sort(rng.integers(lo + 1, hi, (hi - lo) // 100)), [seam, hi]) - lo
        for lo, hi, seam in zip(byte_at[:-1], byte_at[1:], seams, strict=True)
    ]
    data = text.tobytes()
    return pa.table(
        {
            "r": np.arange(row, row + len(sizes)),
            "thinking": [data[a:b] for a, b in zip(byte_at[:-1], seams, strict=True)],
            "answer": [data[a:b] for a, b in zip(seams, byte_at[1:], strict=True)],
            "token_bytes": pa.ListArray.from_arrays(pa.array(token_at, pa.int32()), lengths),
            "logprobs": pa.ListArray.from_arrays(
                pa.array(token_at, pa.int32()), -rng.exponential(0.3, total).astype(np.float32)
            ),
            "byte_end": pa.array(marks, pa.list_(pa.int32())),
        }
    )


def with_numba(path: Path) -> tuple[int, float]:
    """(tokens, sum of log-probs) over all sentences, through `aggregate`."""
    count, total = 0, 0.0
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(ROWS_PER_BATCH, columns=COLUMNS, use_threads=False)
        for batch in batches:
            sums = aggregate(*(batch[name] for name in COLUMNS))
            assert not sums.errors, sums.errors
            count += int(sums.n_tokens.values.to_numpy().sum(dtype=np.int64))
            total += float(sums.logprob_sum.values.to_numpy().sum(dtype=np.float64))
    return count, total


def with_duckdb(query: str, path: Path) -> tuple[int, float]:
    """The same by one of the queries above."""
    with duckdb.connect(config={"threads": 1}) as db:
        count, total = db.execute(query.format(path=path)).fetchall()[0]
    return int(count), float(total)


def cpu_seconds(call: Callable[[Path], tuple[int, float]], path: Path) -> tuple[float, int, float]:
    """Median CPU seconds of three calls, and the result."""
    times = []
    for _ in range(3):
        start = time.process_time()
        count, total = call(path)
        times.append(time.process_time() - start)
    return statistics.median(times), count, total


def main() -> None:
    """Generate, measure, check that all agree, print the rates and how often faster ours is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=10_000_000, help="size of the data")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    calls: dict[str, Callable[[Path], tuple[int, float]]] = {"aggregate": with_numba}
    calls |= {name: partial(with_duckdb, query) for name, query in DUCKDB.items()}
    with tempfile.TemporaryDirectory() as folder:
        warm, path = Path(folder, "warm.parquet"), Path(folder, "tokens.parquet")
        write_data(warm, 1, options.seed)
        with_numba(warm)  # compiles, or loads the compiled kernel
        n_tokens = write_data(path, options.tokens, options.seed)
        found = {name: cpu_seconds(call, path) for name, call in calls.items()}
    ours, _, total = found["aggregate"]
    print(f"{n_tokens:,} tokens, one thread, Parquet read included")
    for name, (seconds, count, other) in found.items():
        assert count == n_tokens, (name, count)
        assert abs(other - total) < 1e-6 * abs(total), (name, other, total)
        rate = n_tokens / seconds / 1e6
        print(f"{name:25} {rate:7.1f} Mtok/CPU-s   {seconds / ours:6.1f} x the CPU of aggregate")


if __name__ == "__main__":
    main()
