"""What sampling costs beside the engine: throughput, the catalog's share, and a kill in the middle.

    python benchmarks/sample.py overhead [--engine vllm] [--samples 3000]
    python benchmarks/sample.py catalog [--samples 200] [--tokens 5000]
    python benchmarks/sample.py kill [--samples 2000] [--tokens 1000]

`overhead` samples the same prompts with the bare engine and through the stage, in turns, with the
tiny teacher: the stage's throughput as a share of the engine's. `catalog` takes the engine's work
away (completions of real text are made beforehand): tokens per CPU second that the stage reads,
segments, sums and commits. `kill` ends such a run by SIGKILL at half and runs it again: what is
sampled twice, beside what was under way or not committed yet at the kill. That run commits every
two seconds, of its twenty; a real one every minute.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

import dasd_data
from builders.executor import pending
from builders.run import to_table
from builders.sample import stage
from builders.sample.engine import SampleRequest, SampleResult, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.plan import SampleRun
from builders.sample.prepare import Options, prepare
from builders.sample.prompt import load_prompt
from dasd_data.catalog import Catalog
from dasd_data.keys import question_id
from dasd_data.writer import Writer

TINY = Path(__file__).parents[1] / "examples" / "tiny"
TEACHER = TINY / "teacher"
VLLM = {"enforce_eager": True, "gpu_memory_utilization": 0.2, "max_model_len": 2048}
NEEDED = 50_000  # tokens per second and core that the catalog is to keep up with
COMMIT_SECONDS = 2.0  # of `kill`; a minute otherwise


def catalog_of(folder: Path, questions: int) -> Catalog:
    """A catalog of questions."""
    catalog = dasd_data.create(folder, settings=False)
    texts = [
        f"Tom has {n} apples and buys {n % 7} more. How many has he?" for n in range(questions)
    ]
    ids = [question_id(text) for text in texts]
    rows = [{"question_id": q, "text": t} for q, t in zip(ids, texts, strict=True)]
    sources = [{"question_id": q, "source": "made", "row": q, "domain": "math"} for q in ids]
    tables = {"questions": rows, "question_sources": sources}
    Writer(catalog.store, "made").append({n: to_table(n, r) for n, r in tables.items()})
    return catalog.refresh()


class Replay(FakeGenerator):
    """Completions of about so many tokens of real text, made beforehand; `log` names each given."""

    def __init__(self, tokens: int, log: int | None = None, rate: float | None = None) -> None:
        self.prompt = load_prompt(TEACHER)
        super().__init__(self.prompt.tokenizer.encode, "replay")
        with gzip.open(TINY / "samples.jsonl.gz", "rt") as lines:
            rows = map(json.loads, islice(lines, 500))
            texts = [r["choices"][0]["text"].partition("</think>")[0][8:].strip() for r in rows]
        random, ends = np.random.default_rng(0), self.prompt.stop_ids[:1]
        encoded = [self.encode(f"{text}\n") for text in texts]
        self.made = []
        for start in range(16):
            body: list[int] = []
            for part in cycle(encoded[start * 20 :]):
                if len(body) >= tokens:
                    break
                body += part
            ids = [*self.encode("<think>\n"), *body, *self.encode("\n</think>\n\nIt is 7."), *ends]
            values = np.minimum(-random.exponential(0.2, len(ids)), 0).astype(np.float32)
            self.made.append((np.array(ids, np.int32), values))
        self.log, self.rate = log, rate

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request."""
        for request in requests:
            ids, values = self.made[request.seed % 16]
            if self.rate:
                time.sleep(len(ids) / self.rate)
            if self.log is not None:
                os.write(self.log, f"{request.key} {len(ids)}\n".encode())
            yield SampleResult(request.key, ids, values, "stop")


def replay_run(engine: Replay) -> SampleRun:
    """A sample run of replayed completions."""
    sampling = Sampling(0.6, max_tokens=60_000, stop_ids=engine.prompt.stop_ids)
    scorer = engine.prompt.describe(engine.describe())
    return SampleRun(engine, engine.prompt, scorer, "teacher", sampling)


def overhead(args: argparse.Namespace, folder: Path) -> None:
    """The stage's throughput as a share of the bare engine's, in turns."""
    catalog = catalog_of(folder / "dasd.catalog", args.samples)
    arguments = VLLM if args.engine == "vllm" else {}
    options = Options(
        model=str(TEACHER), temperature=0.6, max_tokens=300, engine=args.engine, dtype="float32",
        engine_arguments=arguments,
    )  # fmt: skip
    what = prepare(catalog, options)
    stage.sample(catalog_of(folder / "warm.catalog", 8), what)  # numba compiles
    found: dict[str, list[tuple[float, float]]] = {"engine": [], "stage": []}
    for turn in range(args.turns):
        run = SampleRun(
            what.generator, what.prompt, what.scorer, "teacher", what.sampling, seed=turn
        )
        with_stage = measured(lambda run=run: stage.sample(catalog, run)["sampled_tokens"])
        asked = requests_of(catalog.refresh())
        bare = measured(lambda asked=asked: drained(what, asked))
        found["engine"].append(bare)
        found["stage"].append(with_stage)
        print(f"turn {turn + 1}: {with_stage[0] / bare[0]:.3f} of the time", flush=True)
    for name, rates in found.items():
        wall, cpu = (np.median([rate[i] for rate in rates]) for i in (0, 1))
        print(f"{name:7} {wall:9,.0f} tokens/s {cpu:9,.0f} per CPU second")
    shares = [
        np.median([s[i] / b[i] for s, b in zip(found["stage"], found["engine"], strict=True)])
        for i in (0, 1)
    ]
    print(f"stage / engine: {shares[0]:.3f} of the time, {shares[1]:.3f} by CPU, {args.engine}")


def requests_of(catalog: Catalog) -> list[SampleRequest]:
    """The requests of the samples of a run, from the catalog."""
    rows = catalog.sql(
        "SELECT r.response_id, prompt_ids, r.seed FROM tokens AS t"
        " INNER JOIN responses AS r USING (response_id)"
        " WHERE r.run_id = (SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1)"
        " ORDER BY r.question_id"
    ).fetchall()
    return [SampleRequest(key, np.array(ids, np.int32), s) for key, ids, s in rows]


def drained(what: SampleRun, asked: list[SampleRequest]) -> int:
    """The tokens that the bare engine samples."""
    results = what.generator.generate(asked, what.sampling)
    return sum(len(r.token_ids) for r in results if r is not None and r.token_ids is not None)


def measured(work: Any) -> tuple[float, float]:
    """What `work` counts, per second and per CPU second."""
    wall, cpu = time.perf_counter(), time.process_time()
    n = work()
    return n / (time.perf_counter() - wall), n / (time.process_time() - cpu)


def catalog_keeps_up(args: argparse.Namespace, folder: Path) -> None:
    """Tokens per CPU second of everything but the engine."""
    catalog, what = (
        catalog_of(folder / "dasd.catalog", args.samples),
        replay_run(Replay(args.tokens)),
    )
    stage.sample(catalog_of(folder / "warm.catalog", 20), what)  # numba compiles
    plain = [SampleRequest("k", np.zeros(1, np.int32), i) for i in range(args.samples)]
    _, bare = measured(lambda: drained(what, plain))
    _, rate = measured(lambda: stage.sample(catalog, what)["sampled_tokens"])
    print(f"replay alone {bare:12,.0f} tokens per CPU second")
    print(f"through the catalog {rate:,.0f} tokens per CPU second")
    print(f"of the {NEEDED:,} that one core is to keep up with: {rate / NEEDED:.1f} x")


def kill(args: argparse.Namespace, folder: Path) -> None:
    """What is sampled twice after a kill at half."""
    catalog_of(folder / "dasd.catalog", args.samples)
    log = folder / "log"
    child = [sys.executable, __file__, "child", "--folder", folder]
    child += ["--samples", args.samples, "--tokens", args.tokens, "--seconds", args.seconds]
    process = subprocess.Popen(list(map(str, child)))
    while not log.exists() or log.read_bytes().count(b"\n") < args.samples // 2:
        assert process.poll() is None, "it ended before half"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = dict(line.split() for line in log.read_text().splitlines())
    catalog = dasd_data.open(folder / "dasd.catalog")
    there = {key for (key,) in catalog.sql("SELECT response_id FROM responses").fetchall()}
    log.rename(folder / "first")
    subprocess.run(list(map(str, child)), check=True)
    again = Counter(line.split()[0] for line in log.read_text().splitlines())
    twice = sum(int(first[key]) for key in again if key in first)
    uncommitted = sum(int(n) for key, n in first.items() if key not in there)
    total = sum(map(int, first.values()))
    print(
        f"killed after {len(first):,} samples, {total:,} tokens; committed {len(there):,} samples"
    )
    print(f"sampled again {twice:,} tokens, {twice / total:.1%}; not committed {uncommitted:,}")
    assert set(again.values()) == {1}
    print(f"again / not committed {twice / max(uncommitted, 1):.3f} (1 at most)")


def child(args: argparse.Namespace, folder: Path) -> None:
    """A run that says what it samples."""
    pending.COMMIT_SECONDS = COMMIT_SECONDS
    log = os.open(args.folder / "log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    rate = args.samples * args.tokens / args.seconds
    catalog = dasd_data.open(args.folder / "dasd.catalog")
    stage.sample(catalog, replay_run(Replay(args.tokens, log, rate)))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "catalog", "kill", "child"])
    parser.add_argument("--engine", default="transformers", choices=["transformers", "vllm"])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=5_000, help="of a replayed completion")
    parser.add_argument("--seconds", type=float, default=20, help="that the engine of `kill` takes")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    works = {"overhead": overhead, "catalog": catalog_keeps_up, "kill": kill, "child": child}
    with tempfile.TemporaryDirectory() as folder:
        works[args.what](args, Path(folder))


if __name__ == "__main__":
    main()
