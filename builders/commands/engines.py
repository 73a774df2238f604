"""Options of the engines, which sample and score share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

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
        "--base-url",
        default="http://127.0.0.1:8000/v1",
        show_default=True,
        help="openai: the server; its key is read from OPENAI_API_KEY.",
    ),
    click.option(
        "--tokenizer", metavar="PATH_OR_ID", help="openai: the tokenizer, if not --model's."
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        default=256,
        show_default=True,
        help="openai: requests at once, at most; fewer while the server is overloaded.",
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
