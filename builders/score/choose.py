"""From options to an engine: what `sample` and `score` share."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What runs a model, and how. Options of other engines than the chosen one are not looked at.

    `base_url`, `tokenizer`, `concurrency` and `timeout` (seconds) are those of `openai`,
    `engine_arguments` of `vllm`, `device` and `batch_tokens` of `transformers`.
    """

    model: str
    engine: str = "transformers"
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    batch_tokens: int | None = None
    base_url: str = "http://127.0.0.1:8000/v1"
    tokenizer: str | None = None
    concurrency: int = 256
    timeout: float = 3_600.0
    engine_arguments: Mapping[str, Any] = field(default_factory=dict)


def load(
    options: EngineOptions, classes: Mapping[str, str], threads: int | None
) -> tuple[Any, Path]:
    """The engine, and the folder of the model's tokenizer and template.

    `classes` names the class of each engine as `module:class`; only the chosen one is imported.
    Raises MissingExtraError, UsageError (no such model, no tokenizer), RemoteError (a server that
    is not there) and DataError (one without log-probs).
    """
    kind = pkgutil.resolve_name(classes[options.engine])
    if options.engine == "openai":
        from builders.score.identity import tokenizer_folder
        from builders.score.server import Server

        server = Server(
            options.base_url,
            options.model,
            concurrency=options.concurrency,
            timeout=options.timeout,
        )
        own = options.tokenizer is None
        folder = tokenizer_folder(
            options.tokenizer or options.model, options.revision if own else None
        )
        return kind(server, folder, options.revision), folder
    if options.engine == "vllm":
        engine = kind(
            options.model,
            revision=options.revision,
            dtype=options.dtype,
            arguments=options.engine_arguments,
        )
        return engine, engine.folder
    from builders.score.transformers_engine import set_threads

    set_threads(threads)
    engine = kind(
        options.model,
        revision=options.revision,
        dtype=_dtype(options),
        device=options.device,
        max_tokens=options.batch_tokens,
    )
    return engine, engine.folder


def _dtype(options: EngineOptions) -> str:
    """The precision asked for; `auto` is bfloat16 on CUDA, float32 on a CPU."""
    if options.dtype != "auto":
        return options.dtype
    import torch

    cuda = options.device.startswith("cuda") or (
        options.device == "auto" and torch.cuda.is_available()
    )
    return "bfloat16" if cuda else "float32"
