"""From the options of a command to a score run: engine, encoder and scoring context."""

from __future__ import annotations

from dataclasses import dataclass, replace

from builders.filters import FILTERS
from builders.filters.stage import configured, filter_missing
from builders.score.encode import Encoder, RenderEncoder, SampledEncoder
from builders.score.render import load_context
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
    batch_tokens: int = 16_384
    where: str | None = None
    everything: bool = False


def prepare(catalog: Catalog, options: Options) -> ScoreRun:
    """Load the model; run the required filters first where verdicts are missing.

    Raises MissingExtraError, UsageError (no such model, no chat template).
    """
    from builders.score.transformers_engine import TransformersScorer

    engine = TransformersScorer(
        options.model,
        revision=options.revision,
        dtype=_dtype(options),
        device=options.device,
        max_tokens=options.batch_tokens,
    )
    folder = str(engine.folder.absolute())
    if not options.everything:
        required = [name for name, cls in FILTERS.items() if cls.required]
        filter_missing(catalog, configured(catalog, required, folder))
    table = TokenTable.load(folder)
    scorer = replace(engine.describe(), tokenizer=table.name, context=options.context)
    encoder: Encoder
    if options.context == "sampled_prompt":
        encoder = SampledEncoder()
    else:
        system = options.system if options.system is not None else catalog.config.build.system
        context = load_context(folder, system)
        scorer = replace(scorer, chat_template=context.template_hash, system_prompt=system)
        encoder = RenderEncoder(context, table)
    return ScoreRun(
        engine,
        encoder,
        scorer,
        options.name,
        tokenizer_path=folder,
        where=options.where,
        only_eligible=not options.everything,
    )


def _dtype(options: Options) -> str:
    if options.dtype != "auto":
        return options.dtype
    import torch

    cuda = options.device.startswith("cuda") or (
        options.device == "auto" and torch.cuda.is_available()
    )
    return "bfloat16" if cuda else "float32"
