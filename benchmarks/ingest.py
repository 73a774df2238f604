"""Speed and memory of ingesting JSONL with log-probs, beside plain reading and writing of the same.

    python benchmarks/ingest.py [--megabytes 8] [--form samples --form chat ...]
        [--texts FILE.parquet --tokenizer FOLDER]

Each measurement is a process of its own that first ingests a small file (which compiles, or loads
what is compiled), then the file into a new catalog, sentences and sums included, and once more.
Rates are MB of uncompressed JSONL per CPU second of all the process's threads. The reference reads
the same file with msgspec into typed structs and writes texts, ids and log-probs with pyarrow:
less than any tool can do, since nothing is checked, keyed, fitted, cut into sentences or summed.
Memory is what the process grew by beyond the small file, at the size given and at four times it.

Forms are those of `traces.FORMS`. Without `--texts` the responses are made up: seeded, of lognormal
length with a mean of 8,000 tokens.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import resource
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from process import peak_mb, run
from traces import FORMS, MadeUp, Real, write

WARM_BYTES = 300_000
SCHEMA = pa.schema(
    [("text", pa.string()), ("ids", pa.list_(pa.int32())), ("logprobs", pa.list_(pa.float32()))]
)


class Entry(msgspec.Struct):
    """A token of a chat completion."""

    token: str
    logprob: float


class Scores(msgspec.Struct):
    """The log-probs of a chat completion or of a completion."""

    content: list[Entry] | None = None
    token_logprobs: list[float] | None = None


class Message(msgspec.Struct):
    """A turn."""

    content: str
    reasoning: str | None = None


class Choice(msgspec.Struct):
    """A response."""

    text: str | None = None
    message: Message | None = None
    token_ids: list[int] | None = None
    logprobs: list[float] | Scores | None = None


class Row(msgspec.Struct):
    """A row of any form: its own fields are those of the published release."""

    choices: list[Choice] = []
    output: str | None = None
    token_ids: list[int] | None = None
    logprobs: list[float] | None = None


def columns(row: Row) -> tuple[list[str | None], list[Any], list[Any]]:
    """Texts, ids and log-probs of a row's responses."""
    texts, ids, values = [row.output], [row.token_ids], [row.logprobs]
    for choice in row.choices:
        message, scores = choice.message, choice.logprobs
        if isinstance(scores, Scores):
            scores = scores.token_logprobs or [e.logprob for e in scores.content or ()]
        texts.append((message.reasoning or "") + message.content if message else choice.text)
        ids.append(choice.token_ids)
        values.append(scores)
    return texts, ids, values


def plain_copy(folder: Path, out: Path) -> None:
    """Typed decoding, and a plain Parquet file of what was decoded."""
    decode = msgspec.json.Decoder(Row).decode
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for path in sorted(folder.iterdir()):
            with path.open("rb") as lines:
                while rows := [columns(decode(line)) for line in itertools.islice(lines, 64)]:
                    batch = [
                        list(itertools.chain.from_iterable(c)) for c in zip(*rows, strict=True)
                    ]
                    writer.write_table(pa.table(batch, schema=SCHEMA))


def measure(what: str, folder: Path, size: str, tokenizer: str) -> list[float]:
    """CPU seconds of an ingest and of a second one, growth and peak of memory in MB.

    Of the reference its CPU seconds only.
    """
    if what == "reference":
        plain_copy(folder / "warm", folder / "warm.parquet")
        start = cpu_seconds()
        plain_copy(folder / size, folder / "plain.parquet")
        return [cpu_seconds() - start]
    import dasd_data
    from builders.ingest.stage import ingest
    from builders.segment import segment
    from builders.shapes import Context

    given, seconds = Context(file="", tokenizer=tokenizer), []
    segment("Wait... No.", "")  # loads nltk, which only few responses need
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        ingest(dasd_data.create(Path(scratch, "warm")), [str(folder / "warm")], given)
        base, catalog = peak_mb(), dasd_data.create(Path(scratch, "catalog"))
        for again in (False, True):
            start = cpu_seconds()
            counts = ingest(catalog, [str(folder / size)], given)
            seconds.append(cpu_seconds() - start)
            assert counts["refused"] == counts["unaligned"] == 0, counts
            assert counts["sentence_scores"] == (0 if again else counts["tokens"]), counts
    return [*seconds, peak_mb() - base, peak_mb()]


def cpu_seconds() -> float:
    """CPU time of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(form: str, source: MadeUp | Real, options: argparse.Namespace) -> None:
    """Write the files of a form, measure, and print."""
    size = int(options.megabytes * 1e6)
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        folder = Path(name)
        write(folder / "warm", form, WARM_BYTES, source, options.seed)
        one = write(folder / "one", form, size, source, options.seed)
        four = write(folder / "four", form, 4 * size, source, options.seed)
        for path in (folder / "one").iterdir():
            (folder / "gzip").mkdir(exist_ok=True)
            with (
                path.open("rb") as plain,
                gzip.open(folder / "gzip" / f"{path.name}.gz", "wb") as z,
            ):
                shutil.copyfileobj(plain, z)
        tokenizer = source.save(folder)
        tasks = [("reference", "one"), *(("ingest", size) for size in ("one", "four", "gzip"))]
        (reference,), small, large, packed = (
            run(__file__, "--measure", what, folder, size, tokenizer) for what, size in tasks
        )
    rates = [one / small[0], four / large[0], one / packed[0], four / large[1], one / reference]
    print(
        f"{form:12}"
        + "".join(f"{value / 1e6:10.1f}" for value in [one, *rates])
        + f"{small[0] / reference:10.2f}"
        + "".join(f"{value:10.0f}" for value in (small[2], large[2], large[3]))
    )


def main() -> None:
    """Print one line a form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=float, default=8.0, help="JSONL in a file")
    parser.add_argument("--form", action="append", choices=FORMS, help="default: all")
    parser.add_argument("--texts", type=Path, help="Parquet file with real responses")
    parser.add_argument("--tokenizer", type=Path, help="folder of their tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, folder, size, tokenizer = options.measure
        print(json.dumps(measure(what, Path(folder), size, tokenizer)))
        return
    print("MB of JSONL per CPU second, and growth of memory in MB")
    heads = ["MB", "ingest", "4x", "gzip", "again", "reference", "ratio", "grew", "4x", "peak"]
    print(f"{'form':12}" + "".join(f"{head:>10}" for head in heads))
    for form in options.form or FORMS:
        source = Real(options.texts, options.tokenizer) if options.texts else MadeUp(options.seed)
        report(form, source, options)


if __name__ == "__main__":
    main()
