"""Options of the `openai` engine, which sample and score share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
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


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a server, as `base_url`, `tokenizer`, `concurrency` and `timeout`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
