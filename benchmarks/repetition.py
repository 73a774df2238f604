"""Speed of the repetition finder: `python benchmarks/repetition.py [FILE.parquet:COLUMN ...]`.

Prints MB of text per CPU second on one core for the run finder, for the whole filter, and for a
plain Python counter of 4-, 8- and 20-grams of words on the same texts; generated texts without
arguments, and always the texts that make naive finders quadratic.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable

import pyarrow.parquet as pq

from builders.filters import runs
from builders.filters.base import Candidate
from builders.filters.repetition import Repetition

HARD = {
    "spaces": " " * 200_000,
    "abab": "ab" * 100_000,
    "dots": "." * 200_000,
    "one line 4,000 times": "So the sum of the digits is odd.\n" * 4_000,
}


def generated(n: int, seed: int = 0) -> list[str]:
    """`n` texts of some 30 KB of Zipf-distributed words in sentences."""
    rng = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 10))) for _ in range(5_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    texts = []
    for _ in range(n):
        drawn = rng.choices(words, weights, k=5_500)
        drawn[::15] = [word + "." for word in drawn[::15]]
        texts.append(" ".join(drawn))
    return texts


def read(argument: str) -> list[str]:
    """The texts of `FILE.parquet:COLUMN`."""
    path, column = argument.rsplit(":", 1)
    return [text for text in pq.read_table(path, columns=[column])[column].to_pylist() if text]


def find_runs(texts: Iterable[bytes]) -> None:
    """The run finder alone."""
    for data in texts:
        runs.find(runs.words(data)[0])


def count_ngrams(texts: Iterable[bytes]) -> None:
    """What most pipelines do: dictionaries of n-grams of the words between white space."""
    for data in texts:
        words = data.split()
        for n in runs.SIZES:
            Counter(zip(*(words[k:] for k in range(n)), strict=False)).most_common(1)


def check(texts: Iterable[bytes]) -> None:
    """The whole filter, from str to verdict, on unsegmented text."""
    Repetition().check([Candidate("", "", None, data.decode()) for data in texts])


def speed(work: Callable[[list[bytes]], None], texts: list[bytes], repeats: int) -> float:
    """Best MB per CPU second of `repeats`."""
    best = 0.0
    for _ in range(repeats):
        start = time.process_time()
        work(texts)
        best = max(best, sum(map(len, texts)) / 1e6 / (time.process_time() - start))
    return best


def main(arguments: list[str]) -> None:
    """Print one line for each source of texts."""
    sources = {argument: read(argument) for argument in arguments} or {"generated": generated(100)}
    sources |= {name: [text] * 5 for name, text in HARD.items()}
    check([b"compile first"])
    print(f"{'MB per CPU second':>24} {'runs':>8} {'filter':>8} {'dict':>8}")
    for name, texts in sources.items():
        data = [text.encode() for text in texts]
        row = [speed(find_runs, data, 5), speed(check, data, 5), speed(count_ngrams, data, 1)]
        print(f"{name[-24:]:>24} " + " ".join(f"{value:8.1f}" for value in row))


if __name__ == "__main__":
    main(sys.argv[1:])
