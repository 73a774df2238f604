"""The jobs that the fault tests interrupt: every stage on a small part of the bundled samples.

A job's `prepare` makes the state before it; its `run` is what is interrupted, and run again goes
on. Batches are small, so that a job of a second has tens of commits.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import builders.filters.stage as filter_stage
import builders.ingest.stage as ingest_stage
import builders.sample.stage as sample_stage
import builders.score.stage as score_stage
import builders.segment.stage as segment_stage
import builders.select as select_stage
import dasd_data
from builders.executor import pending
from builders.filters import FILTERS
from builders.sample.engine import Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.plan import SampleRun
from builders.sample.prompt import load_prompt
from builders.score.encode import Encoded
from builders.score.engine import ScoreRequest
from builders.score.fake import FakeScorer
from builders.shapes import Context
from dasd_data import build as builds
from dasd_data import catalog as catalogs
from dasd_data import materialize, shards, texts

TINY = Path(__file__).parents[2] / "examples" / "tiny"
VIEW = "high_t_das"
Step = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A stage's work in a folder. `children`: tables whose rows a new response brings with it.

    `noise`: columns whose values depend on how responses are batched.
    """

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path, Step], None]
    children: tuple[str, ...] = ()
    noise: tuple[str, ...] = ()


def catalog_of(folder: Path) -> catalogs.Catalog:
    """The job's catalog; two threads, as a test machine may have many cores."""
    found = dasd_data.open(folder / "dasd.catalog")
    found.config = replace(found.config, threads=2)
    return found


def inputs(folder: Path, rows: int) -> None:
    """Write the input files: the first rows of the bundled samples, and one that is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("samples", "gsm8k_candidates"):
        with gzip.open(TINY / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            lines = list(islice(file, rows))
        lines.insert(len(lines) // 2, '{"torn": \n')
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def small_batches() -> None:
    """Make the stages of this process commit often."""
    ingest_stage.BATCH_BYTES = 25_000
    segment_stage.TEXT_ROWS, segment_stage.SCORE_ROWS = 8, 8
    pending.COMMIT_BYTES = 20_000
    sample_stage.READ_QUESTIONS, score_stage.READ_ROWS = 4, 4
    filter_stage.ROWS = 9
    materialize.BATCH_ROWS = 4
    texts.RUN_BYTES, texts.PIECE_BYTES = 4_000, 1_000
    shards.GROUP_ROWS = 3
    shards.write.__defaults__ = (shards.write.__defaults__[0], 6_000)


def ingest(folder: Path, step: Step = lambda name: None) -> None:
    """Ingest samples with log-probs."""
    context = Context(file="", tokenizer=str(TINY / "teacher"))
    source = folder.parent / "inputs" / "samples.jsonl"
    ingest_stage.ingest(catalog_of(folder), [str(source)], context)


def segment(folder: Path, step: Step = lambda name: None) -> None:
    """Cut and sum what is missing."""
    segment_stage.segment_missing(catalog_of(folder), lambda done, total: step("segment: progress"))


def sample(folder: Path, step: Step = lambda name: None) -> None:
    """Sample what the questions lack with an engine without a model."""
    progress = lambda counts: step("sample: progress")  # noqa: E731
    sample_stage.sample(catalog_of(folder), fake_sample(), progress)


def fake_sample() -> SampleRun:
    """A sample run without a model, with the tiny teacher's prompt."""
    prompt = load_prompt(TINY / "teacher")
    engine = FakeGenerator(prompt.tokenizer.encode, max_context=600)
    sampling = Sampling(0.6, max_tokens=400, stop_ids=prompt.stop_ids)
    return SampleRun(engine, prompt, prompt.describe(engine.describe()), "sampled", sampling)


def score(folder: Path, step: Step = lambda name: None) -> None:
    """Score everything with an engine without a model."""
    run = fake_run("student")
    score_stage.score(catalog_of(folder), run, lambda counts: step("score: progress"))


def filters(folder: Path, step: Step = lambda name: None) -> None:
    """Run every filter."""
    catalog = catalog_of(folder)
    chosen = filter_stage.configured(catalog, tokenizer=str(TINY / "student"))
    filter_stage.filter_missing(catalog, chosen, lambda done, total: step("filter: progress"))


def build(folder: Path, step: Step = lambda name: None) -> None:
    """Materialize a view."""
    progress = lambda done, total: step("build: progress")  # noqa: E731
    builds.build(catalog_of(folder), VIEW, progress=progress)


def select(folder: Path, step: Step = lambda name: None) -> None:
    """Candidates in, the best of each question out."""

    def prepare(catalog: catalogs.Catalog, options: Any) -> score_stage.ScoreRun:
        required = [name for name, cls in FILTERS.items() if cls.required]
        chosen = filter_stage.configured(catalog, required, str(TINY / "student"))
        return replace(fake_run(options.name), only_eligible=True, filters=chosen)

    select_stage.prepare = prepare
    catalog = catalogs.create(folder / "dasd.catalog", settings=False)
    catalog.config = replace(catalog.config, threads=2)
    scorers = {n: select_stage.Options(model=n, name=n) for n in ("student", "teacher")}
    source = folder.parent / "inputs" / "gsm8k_candidates.jsonl"
    select_stage.select(
        catalog, [str(source)], Context(file=""), scorers, {"keep": 2}, folder / "train.jsonl",
        lambda label: lambda done, total: step(f"{label}: progress"), mix=True,
    )  # fmt: skip


def fake_run(name: str) -> score_stage.ScoreRun:
    """A scoring run whose tokens are the bytes of question and response."""
    engine = FakeScorer(f"fake-{name}", max_context=2_000)
    return score_stage.ScoreRun(engine, _encode, engine.describe(), name, only_eligible=False)


def _encode(rows: Iterable[Mapping[str, Any]]) -> Iterator[Encoded]:
    for row in rows:
        prompt = row["question"].encode() + b"\n"
        text = ((row["thinking"] or "") + row["answer"]).encode()
        ids = np.frombuffer(prompt + text, np.uint8).astype(np.int32)
        yield Encoded(ScoreRequest(row["response_id"], ids, len(prompt)), [1] * len(text))


def _create(folder: Path) -> None:
    catalogs.create(folder / "dasd.catalog", settings=False)


def _unsegmented(folder: Path) -> None:
    """Responses and tokens without sentences, as a change of the segmenter leaves them."""
    kept = ingest_stage._derived, ingest_stage.segment_missing
    ingest_stage._derived = lambda *arguments: {}
    ingest_stage.segment_missing = lambda catalog: {}
    try:
        after()(folder)
    finally:
        ingest_stage._derived, ingest_stage.segment_missing = kept


def after(*stages: Callable[[Path], None]) -> Callable[[Path], None]:
    """Prepare by creating a catalog, ingesting, and running stages."""

    def prepare(folder: Path) -> None:
        for stage in (_create, ingest, *stages):
            stage(folder)

    return prepare


_OF_RESPONSES = ("questions", "question_sources", "sentences")
JOBS = {
    job.name: job
    for job in (
        Job("ingest", _create, ingest, (*_OF_RESPONSES, "tokens", "sentence_scores")),
        Job("sample", after(), sample, ("tokens", "sentences", "sentence_scores")),
        Job("segment", _unsegmented, segment),
        Job("score", after(), score),
        Job("filter", after(), filters),
        Job("build", after(score, filters), build),
        Job("select", lambda folder: None, select, _OF_RESPONSES),
    )
}


def real_score(folder: Path, step: Step = lambda name: None) -> None:
    """Score with the tiny student itself."""
    from builders.score.prepare import Options, prepare

    catalog = catalog_of(folder)
    options = Options(model=str(TINY / "student"), name="student", device="cpu", everything=True)
    progress = lambda counts: step("score: progress")  # noqa: E731
    score_stage.score(catalog, prepare(catalog, options), progress)


STUDENT = Job("student", after(), real_score, noise=("logprobs", "logprob_sum"))
