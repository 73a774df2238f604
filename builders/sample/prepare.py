"""From the options of a command to a sample run: engine, prompt and scoring context."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from builders.ingest.batch import scorer_id
from builders.records import Scorer
from builders.sample.engine import Generator, Sampling
from builders.sample.plan import SampleRun, check_where
from builders.sample.probe import check_raw
from builders.sample.prompt import load_prompt
from builders.score.choose import EngineOptions, load
from builders.score.swapped import check_same
from dasd_data.catalog import Catalog
from dasd_data.errors import UsageError
from dasd_data.scorers import SHORTEST_ID, STUDENTS

ENGINES = {
    "transformers": "builders.sample.transformers_engine:TransformersGenerator",
    "vllm": "builders.sample.vllm_engine:VLLMGenerator",
    "openai": "builders.sample.openai_engine:OpenAIGenerator",
}


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions):
    """Options of `dasd-data sample`."""

    temperature: float
    name: str = "teacher"
    policy: str | None = None
    n: int = 1
    top_p: float = 1.0
    max_tokens: int = 65_536
    seed: int = 0
    system: str | None = None
    effort: str | None = None
    date: str | None = None
    where: str | None = None
    limit: int | None = None
    retry: str | None = None


def prepare(catalog: Catalog, options: Options) -> SampleRun:
    """Load the model and its prompt.

    A template that writes a date gets the one given, else that of an earlier run with this model,
    so that a run that goes on tomorrow keeps its keys, else today's.
    Raises what `choose.load` does, UsageError (no chat template, no end token, settings out of
    range) and DataError (the engine's log-probs are not the model's own, or not those that this
    server gave before).
    """
    sampling = Sampling(options.temperature, options.top_p, options.max_tokens)
    check_where(catalog, options.where)  # before minutes of loading
    if options.n > 1 and not options.temperature:
        raise UsageError(f"--n {options.n} at --temperature 0: the samples would be all the same")
    generator, folder = _generator(catalog, options)
    settings = {"system": options.system, "reasoning_effort": options.effort}
    described = generator.describe()
    date = options.date or _earlier_date(catalog, described) or f"{datetime.now(UTC):%Y-%m-%d}"
    prompt = load_prompt(folder, **settings, date=date)
    sampling = replace(sampling, stop_ids=prompt.stop_ids)
    check_raw(generator, prompt, sampling)
    scorer, echo = prompt.describe(described), getattr(generator, "echo", ())
    check_same(catalog, scorer_id(scorer), echo)
    return SampleRun(
        generator,
        prompt,
        scorer,
        options.name,
        sampling,
        n=options.n,
        seed=options.seed,
        policy=options.policy or _policy(catalog, options.name, scorer),
        tokenizer_path=str(folder.absolute()),
        echo=echo,
        where=options.where,
        limit=options.limit,
        retry=options.retry,
    )


def _generator(catalog: Catalog, options: Options) -> tuple[Generator, Path]:
    engine, folder = load(options, ENGINES, catalog.config.threads)
    if engine.max_context is not None and options.max_tokens >= engine.max_context:
        raise UsageError(
            f"--max-tokens {options.max_tokens}: the context of {engine.describe().model} holds "
            f"{engine.max_context} tokens, prompt included: give fewer"
        )
    return engine, folder


def _policy(catalog: Catalog, name: str, scorer: Scorer) -> str:
    """Whose the samples are: the student's where name, model or id is that of one, else teacher's.

    An id may be that of another context of the same model, such as its training render.
    """
    aliases = catalog.config.scorers
    words = {*STUDENTS, *(aliases[role] for role in STUDENTS if role in aliases)}
    this = (scorer.model, scorer.revision)
    same = [r["scorer_id"] for r in catalog.scorers() if (r["model"], r["revision"]) == this]
    ids = [word for word in words if len(word) >= SHORTEST_ID]
    named = words & {name, scorer.model} or any(
        known.startswith(word) for known in (scorer_id(scorer), *same) for word in ids
    )
    return "student" if named else "teacher"


def _earlier_date(catalog: Catalog, scorer: Scorer) -> str | None:
    """The date in the prompts of this model's earlier samples."""
    dates = {
        row["date"]
        for row in catalog.scorers()
        if row["date"] and (row["model"], row["revision"]) == (scorer.model, scorer.revision)
    }
    return max(dates, default=None)
