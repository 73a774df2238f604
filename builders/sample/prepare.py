"""From the options of a command to a sample run: engine, prompt and scoring context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builders.records import Scorer
from builders.sample.engine import Generator, Sampling
from builders.sample.plan import SampleRun, check_where
from builders.sample.probe import check_raw
from builders.sample.prompt import load_prompt
from dasd_data.catalog import Catalog
from dasd_data.errors import UsageError


@dataclass(frozen=True)
class Options:
    """Options of `dasd-data sample`."""

    model: str
    temperature: float
    name: str = "teacher"
    engine: str = "transformers"
    revision: str | None = None
    n: int = 1
    top_p: float = 1.0
    max_tokens: int = 65_536
    seed: int = 0
    system: str | None = None
    effort: str | None = None
    date: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    where: str | None = None
    limit: int | None = None
    retry: str | None = None
    base_url: str = "http://127.0.0.1:8000/v1"
    tokenizer: str | None = None
    concurrency: int = 256
    timeout: float = 3_600.0
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)


def prepare(catalog: Catalog, options: Options) -> SampleRun:
    """Load the model and its prompt.

    A template that writes a date gets the one given, else that of an earlier run with this model,
    so that a run that goes on tomorrow keeps its keys, else today's.
    Raises MissingExtraError, UsageError (no such model, no chat template, no end token),
    DataError (the engine's log-probs are not the model's own).
    """
    sampling = Sampling(options.temperature, options.top_p, options.max_tokens)
    check_where(catalog, options.where)  # before minutes of loading
    generator, folder = _generator(catalog, options)
    settings = {"system": options.system, "reasoning_effort": options.effort}
    described = generator.describe()
    date = options.date or _earlier_date(catalog, described) or f"{datetime.now(UTC):%Y-%m-%d}"
    prompt = load_prompt(folder, **settings, date=date)
    sampling = replace(sampling, stop_ids=prompt.stop_ids)
    check_raw(generator, prompt, sampling)
    return SampleRun(
        generator,
        prompt,
        prompt.describe(described),
        options.name,
        sampling,
        n=options.n,
        seed=options.seed,
        tokenizer_path=str(folder.absolute()),
        where=options.where,
        limit=options.limit,
        retry=options.retry,
    )


def _generator(catalog: Catalog, options: Options) -> tuple[Generator, Path]:
    """The engine, and the folder of the model's tokenizer and template."""
    engine, folder = _ENGINES[options.engine](catalog, options)
    if engine.max_context is not None and options.max_tokens >= engine.max_context:
        raise UsageError(
            f"--max-tokens {options.max_tokens}: the context of {engine.describe().model} holds "
            f"{engine.max_context} tokens, prompt included"
        )
    return engine, folder


def _embedded(catalog: Catalog, options: Options) -> tuple[Generator, Path]:
    from builders.sample.transformers_engine import TransformersGenerator
    from builders.score.prepare import default_dtype
    from builders.score.transformers_engine import set_threads

    set_threads(catalog.config.threads)
    engine = TransformersGenerator(
        options.model,
        revision=options.revision,
        dtype=default_dtype(options.dtype, options.device),
        device=options.device,
    )
    return engine, engine.folder


def _of_server(catalog: Catalog, options: Options) -> tuple[Generator, Path]:
    from builders.sample.openai_engine import OpenAIGenerator
    from builders.score.identity import tokenizer_folder
    from builders.score.server import Server

    server = Server(
        options.base_url,
        options.model,
        concurrency=options.concurrency,
        timeout=options.timeout,
    )
    folder = tokenizer_folder(options.tokenizer or options.model)
    return OpenAIGenerator(server, folder, options.revision), folder


def _of_vllm(catalog: Catalog, options: Options) -> tuple[Generator, Path]:
    from builders.sample.vllm_engine import VLLMGenerator

    engine = VLLMGenerator(
        options.model,
        revision=options.revision,
        dtype=options.dtype,
        arguments=options.engine_arguments,
    )
    return engine, engine.folder


_ENGINES: dict[str, Callable[[Catalog, Options], tuple[Generator, Path]]] = {
    "transformers": _embedded,
    "vllm": _of_vllm,
    "openai": _of_server,
}


def _earlier_date(catalog: Catalog, scorer: Scorer) -> str | None:
    """The date in the prompts of this model's earlier samples."""
    dates = {
        row["date"]
        for row in catalog.scorers()
        if row["date"] and (row["model"], row["revision"]) == (scorer.model, scorer.revision)
    }
    return max(dates, default=None)
