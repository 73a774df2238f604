"""From the options of a command to a score run: engine, encoder and scoring context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from builders.filters import FILTERS
from builders.filters.stage import configured, students_tokenizer
from builders.score.encode import Encoded, Stored, sampled_requests, training_requests
from builders.score.engine import Engine, ScoreResult
from builders.score.render import TrainingContext, load_context
from builders.score.stage import ScoreRun
from builders.tokens.table import TokenTable
from dasd_data.catalog import Catalog


@dataclass(frozen=True)
class Options:
    """Options of `dasd-data score`."""

    model: str
    name: str
    engine: str = "transformers"
    revision: str | None = None
    context: str = "training_render"
    system: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_tokens: int | None = None
    where: str | None = None
    everything: bool = False
    repeat: float = 0.01
    base_url: str = "http://127.0.0.1:8000/v1"
    tokenizer: str | None = None
    concurrency: int = 256
    timeout: float = 3_600.0
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)


def prepare(catalog: Catalog, options: Options) -> ScoreRun:
    """Load the model; the required filters are to run first where verdicts are missing.

    `length` counts with this model's tokenizer where it is the student, or where none is known.

    Raises MissingExtraError, UsageError (no such model, no chat template), RemoteError (a server
    that is not there) and DataError (one without log-probs).
    """
    engine, path = _ENGINES[options.engine](catalog, options)
    folder = str(path.absolute())
    required = [name for name, cls in FILTERS.items() if cls.required]
    filters = []
    if not options.everything:
        students = students_tokenizer(catalog)
        is_student = options.name == catalog.config.scorers.get("student", "student")
        filters = configured(catalog, required, folder if is_student else students or folder)
    table = TokenTable.load(folder)
    scorer = replace(engine.describe(), tokenizer=table.name, context=options.context)
    sampled = options.context == "sampled_prompt"
    if not sampled:
        system = options.system if options.system is not None else catalog.config.build.system
        context = load_context(folder, system)
        scorer = replace(scorer, chat_template=context.template_hash, system_prompt=system)
    return ScoreRun(
        engine,
        sampled_requests if sampled else partial(_training_requests, context, table),
        scorer,
        options.name,
        tokenizer_path=folder,
        where=options.where,
        only_eligible=not options.everything,
        filters=filters,
        sampled=sampled,
        repeat=options.repeat,
    )


def _training_requests(
    context: TrainingContext, table: TokenTable, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Encoded | ScoreResult]:
    names = ("response_id", "question", "thinking", "answer")
    return training_requests(context, table, (Stored(*(row[n] for n in names)) for row in rows))


def _embedded(catalog: Catalog, options: Options) -> tuple[Engine, Path]:
    from builders.score.transformers_engine import TransformersScorer, set_threads

    set_threads(catalog.config.threads)
    engine = TransformersScorer(
        options.model,
        revision=options.revision,
        dtype=default_dtype(options.dtype, options.device),
        device=options.device,
        max_tokens=options.batch_tokens,
    )
    return engine, engine.folder


def _of_server(catalog: Catalog, options: Options) -> tuple[Engine, Path]:
    from builders.score.identity import tokenizer_folder
    from builders.score.openai_engine import OpenAIScorer
    from builders.score.server import Server

    server = Server(
        options.base_url, options.model, concurrency=options.concurrency, timeout=options.timeout
    )
    folder = tokenizer_folder(options.tokenizer or options.model)
    return OpenAIScorer(server, folder, options.revision), folder


def _of_vllm(catalog: Catalog, options: Options) -> tuple[Engine, Path]:
    from builders.score.vllm_engine import VLLMScorer

    engine = VLLMScorer(
        options.model,
        revision=options.revision,
        dtype=options.dtype,
        arguments=options.engine_arguments,
    )
    return engine, engine.folder


_ENGINES: dict[str, Callable[[Catalog, Options], tuple[Engine, Path]]] = {
    "transformers": _embedded,
    "vllm": _of_vllm,
    "openai": _of_server,
}


def default_dtype(dtype: str, device: str) -> str:
    """The precision asked for; `auto` is bfloat16 on CUDA, float32 on a CPU."""
    if dtype != "auto":
        return dtype
    import torch

    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return "bfloat16" if cuda else "float32"
