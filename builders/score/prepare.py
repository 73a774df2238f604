"""From the options of a command to a score run: engine, encoder and scoring context."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from builders.filters import FILTERS
from builders.filters.stage import configured, students_tokenizer
from builders.ingest.batch import scorer_id
from builders.score.choose import EngineOptions, load
from builders.score.encode import Encoded, Stored, sampled_requests, training_requests
from builders.score.engine import ScoreResult
from builders.score.render import TrainingContext, load_context
from builders.score.stage import ScoreRun
from builders.score.swapped import check_same
from builders.tokens.table import TokenTable
from dasd_data.catalog import Catalog

ENGINES = {
    "transformers": "builders.score.transformers_engine:TransformersScorer",
    "vllm": "builders.score.vllm_engine:VLLMScorer",
    "openai": "builders.score.openai_engine:OpenAIScorer",
}


@dataclass(frozen=True, kw_only=True)
class Options(EngineOptions):
    """Options of `dasd-data score`."""

    name: str
    context: str = "training_render"
    system: str | None = None
    where: str | None = None
    everything: bool = False
    repeat: float = 0.01
    retry: str | None = None


def prepare(catalog: Catalog, options: Options) -> ScoreRun:
    """Load the model; the required filters are to run first where verdicts are missing.

    `length` counts with this model's tokenizer where it is the student, or where none is known.

    Raises what `choose.load` does, UsageError for a model without a chat template, and DataError
    for a server whose model is not the one that it had before.
    """
    engine, path = load(options, ENGINES, catalog.config.threads)
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
    echo = getattr(engine, "echo", ())
    check_same(catalog, scorer_id(scorer), echo)
    return ScoreRun(
        engine,
        sampled_requests if sampled else partial(_training_requests, context, table),
        scorer,
        options.name,
        tokenizer_path=folder,
        echo=echo,
        where=options.where,
        only_eligible=not options.everything,
        filters=filters,
        sampled=sampled,
        repeat=options.repeat,
        retry=options.retry,
    )


def _training_requests(
    context: TrainingContext, table: TokenTable, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Encoded | ScoreResult]:
    names = ("response_id", "question", "thinking", "answer")
    return training_requests(context, table, (Stored(*(row[n] for n in names)) for row in rows))
