"""A chat template, rendered as trainers render it: only to see whether it keeps what it is given.

The environment is that of transformers (`utils/chat_template_utils.py`), without its dependencies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MARK = "dasd response mark 51c2"


def template_text(scorer: Mapping[str, Any]) -> str | None:
    """The student's template, from the tokenizer it was scored with; None: not there any more."""
    folder = Path(scorer["tokenizer_path"] or "")
    if folder.is_file():
        folder = folder.parent
    for text in (_file(folder / "chat_template.jinja"), _configured(folder)):
        digest = hashlib.sha256(text.encode()).hexdigest() if text else ""
        if text and digest.startswith(scorer["chat_template"] or "-"):
            return text
    return None


def _file(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _configured(folder: Path) -> str | None:
    try:
        found = json.loads(_file(folder / "tokenizer_config.json") or "{}").get("chat_template")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


class Template:
    """A compiled template and the system prompt.

    Raises ImportError without jinja2, ValueError for a template that fails on a plain question.
    """

    def __init__(self, text: str, system: str | None) -> None:
        from jinja2.exceptions import TemplateError

        self._fails = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
        self._system = system
        try:
            self._compiled = _environment().from_string(text)
            self._suffix = self._render("question", _MARK).partition(_MARK)[2]
        except self._fails as error:
            raise ValueError(f"it fails on a plain question: {error}") from None

    def problem(self, question: str, completion: str) -> str | None:
        """What the template does to a completion; None: the render ends with it verbatim."""
        try:
            text = self._render(question, completion)
            head = len(text) - len(completion) - len(self._suffix)
            if head < 0 or not text.endswith(self._suffix) or not text.startswith(completion, head):
                return "the template alters it"
            if not self._render(question, None).startswith(text[:head]):
                return "the template puts text before it"
        except self._fails as error:
            return f"the template fails: {error}"
        return None

    def _render(self, question: str, completion: str | None) -> str:
        messages = [{"role": "user", "content": question}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        if completion is not None:
            messages.append({"role": "assistant", "content": completion})
        return str(self._compiled.render(
            messages=messages, tools=None, documents=None, add_generation_prompt=completion is None
        ))  # fmt: skip


def _environment() -> Any:
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the assistant's text for a loss mask: here it is its body."""

        tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def fail(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, indent: int | None = None, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent, **options)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = fail
    return made
