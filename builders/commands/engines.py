"""Options of the engines and of the executors, which stages share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dasd_data.cli.common import count, note

if TYPE_CHECKING:
    from builders.executor import Executor
    from dasd_data.catalog import Catalog

ENGINES = ("transformers", "vllm", "openai")


def _arguments(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """NAME=VALUE; a value that is JSON is taken as that, any other as text."""
    found: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="What runs the model; openai: any OpenAI-compatible server.",
    ),
    click.option(
        "--engine-argument",
        "engine_arguments",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_arguments,
        help="vllm: an argument of vllm.LLM, such as tensor_parallel_size=8. Repeatable.",
    ),
    click.option(
        "--revision",
        help="Branch, tag or commit of a model on the Hub; openai: of its tokenizer, or beside "
        "--tokenizer a label of your own for what is served.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16", "auto"]),
        default="auto",
        show_default=True,
        help="Precision; auto: bfloat16 on CUDA, float32 on a CPU; of vllm as stored.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="transformers: auto, cpu, cuda or cuda:N.",
    ),
    click.option(
        "--base-url",
        default="http://127.0.0.1:8000/v1",
        show_default=True,
        help="openai: the server; its key is read from OPENAI_API_KEY, with --executor ray from "
        "that of each node.",
    ),
    click.option(
        "--tokenizer", metavar="PATH_OR_ID", help="openai: the tokenizer, if not --model's."
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        default=256,
        show_default=True,
        help="openai: requests at once, at most, of each worker; fewer while the server is "
        "overloaded.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(1),
        default=3600.0,
        show_default=True,
        help="openai: seconds until a request is sent again.",
    ),
)


def engine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that choose an engine, and those of servers and of vLLM."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_EXECUTORS = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where the work is done: here, or by the workers of a Ray cluster.",
    ),
    click.option(
        "--ray-address",
        metavar="HOST:PORT",
        help="ray: the cluster; else RAY_ADDRESS, else one on this machine, else a new one.",
    ),
    click.option(
        "--workers", type=click.IntRange(1), help="ray: how many; as many as the cluster holds."
    ),
)
_GPUS = click.option(
    "--gpus-per-task",
    type=click.FloatRange(0),
    help="ray: GPUs of each worker, or a fraction; 1 where there are any, 0 for openai.",
)


def executor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that choose where a stage's work is done."""
    for option in reversed(_EXECUTORS):
        function = option(function)
    return function


def gpus_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option of stages whose workers load a model."""
    return _GPUS(function)


@contextmanager
def executor_of(
    catalog: Catalog,
    options: dict[str, Any],
    make: Callable[[Catalog], Any] | None = None,
) -> Iterator[tuple[Executor, Any]]:
    """The executor asked for, and what `make` made for it; takes its options out of `options`.

    Raises UsageError for an option of a cluster without one, and what `Cluster` raises.
    """
    names = ("executor", "ray_address", "workers", "gpus_per_task")
    chosen = {name: options.pop(name, None) for name in names}
    if chosen["executor"] == "local":
        from builders.executor import Local

        for name in names[1:]:
            if chosen[name] is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} is for --executor ray")
        what = make(catalog) if make else None
        yield Local(what), what
        return
    from builders.executor.cluster import Cluster

    for name in ("model", "tokenizer"):  # the workers' folder is another than this one
        if options.get(name) and Path(options[name]).exists():
            options[name] = str(Path(options[name]).absolute())
    gpus = chosen["gpus_per_task"]
    if make is None or options.get("engine") == "openai" or options.get("device") == "cpu":
        gpus = gpus or 0.0
    elif gpus is None:
        gpus = _gpus(options.get("engine_arguments", {}))
    with Cluster(
        catalog,
        make,
        same=lambda what: getattr(what, "scorer", None),
        address=chosen["ray_address"],
        workers=chosen["workers"],
        gpus=gpus,
    ) as cluster:
        each = f" of {cluster.gpus:g} GPUs each" if cluster.gpus else ""
        note(f"{count(cluster.workers, 'worker')}{each}")
        yield cluster, cluster.what


def _gpus(arguments: Mapping[str, Any]) -> float | None:
    """GPUs that vLLM takes by its arguments; None where none of them says.

    Raises UsageError for a size that is no whole number, from 1.
    """
    names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    given = {name: arguments[name] for name in names if name in arguments}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            raise click.UsageError(
                f"--engine-argument {name}={json.dumps(value)}: give a whole number, from 1"
            )
    return float(math.prod(given.values())) if given else None


def check_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option of another engine than the chosen one: it would do nothing."""
    chosen = click.get_current_context()
    for name, engine in _OF_ENGINES.items():
        given = chosen.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and options["engine"] not in engine:
            flag = (
                "--engine-argument" if name == "engine_arguments" else f"--{name.replace('_', '-')}"
            )
            raise click.UsageError(f"{flag} is for --engine {' or '.join(engine)}")


_OF_ENGINES = {
    "engine_arguments": ("vllm",),
    "base_url": ("openai",),
    "tokenizer": ("openai",),
    "concurrency": ("openai",),
    "timeout": ("openai",),
    "dtype": ("transformers", "vllm"),
    "device": ("transformers",),
    "batch_tokens": ("transformers",),
}
