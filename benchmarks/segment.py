"""Speed of the segmenter beside untrained nltk Punkt, on the same text in the same run.

    python benchmarks/segment.py [--data responses.parquet] [--megabytes 4]

`--data` is a Parquet file with the text columns `reasoning` and `content`, or `thinking` and
`answer`; without it a text is generated. Times are processor seconds of one core, best of three.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from nltk.tokenize.punkt import PunktSentenceTokenizer

from builders.segment import segment

Response = tuple[str | None, str]
COLUMNS = (("reasoning", "content"), ("thinking", "answer"))
SENTENCES = (
    "We need the number of pairs (a, b) with a + b = {n}. ",
    "Let's compute: {n}^2 = {m}. ",
    "Actually, check n = {n}: is it 3.5 or {n}? ",
    "So \\(x_{{{n}}} = \\frac{{{m}}}{{2}}\\) holds, e.g. for Dr. Smith's case. ",
    "Thus {n} works.\n\n",
    "\\[\nx = {n}.\n\\]\n\n",
    "- Step {n}: plug in b = {m}, see Fig. 3.\n",
    "```python\nx = {n}\nprint(x)\n```\n",
)


def generated(size: int) -> list[Response]:
    """Responses of mixed sentences, about `size` bytes in all."""
    rng = random.Random(0)
    responses: list[Response] = []
    while size > 0:
        parts = [s.format(n=rng.randrange(999), m=rng.randrange(99_999)) for s in
                 rng.choices(SENTENCES, k=400)]  # fmt: skip
        responses.append(("".join(parts), "The answer is 5. Done."))
        size -= sum(map(len, parts))
    return responses


def read(path: Path) -> list[Response]:
    """The responses of a Parquet file."""
    names = pq.read_schema(path).names
    thinking, answer = next(pair for pair in COLUMNS if set(pair) <= set(names))
    rows = pq.read_table(path, columns=[thinking, answer]).to_pylist()
    return [(row[thinking], row[answer] or "") for row in rows]


def best_of_three(run: Callable[[], int]) -> tuple[float, int]:
    """Processor seconds of the fastest of three runs, and what the run counted."""
    best, count = float("inf"), 0
    for _ in range(3):
        start = time.process_time()
        count = run()
        best = min(best, time.process_time() - start)
    return best, count


def main() -> None:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--megabytes", type=float, default=4.0, help="size of a generated text")
    arguments = parser.parse_args()
    responses = (
        read(arguments.data) if arguments.data else generated(int(arguments.megabytes * 1e6))
    )
    size = sum(len(((t or "") + a).encode()) for t, a in responses)
    segment("Compile. Then measure.", "Dr. Who?")
    punkt = PunktSentenceTokenizer()
    print(f"{len(responses)} responses, {size / 1e6:.2f} MB")
    ours, n = best_of_three(lambda: sum(len(segment(t, a).byte_end) for t, a in responses))
    print(f"segmenter       {size / 1e6 / ours:7.2f} MB/s  {n} sentences")
    theirs, n = best_of_three(
        lambda: sum(len(list(punkt.span_tokenize(s))) for r in responses for s in r if s)
    )
    print(f"untrained Punkt {size / 1e6 / theirs:7.2f} MB/s  {n} sentences")
    print(f"ratio           {theirs / ours:7.1f}")


if __name__ == "__main__":
    main()
