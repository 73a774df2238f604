"""Raw harmony token ids of gpt-oss: a prompt and what was generated after it.

    {"problem_id": "aimo3-21818", "state_hash": "1683zr", "action_hash": "0bta03",
     "model": "gpt-oss-120b", "prompt_tokens": [200006, 17360, 200008, ...],
     "tokens": [200005, 35644, 200008, 2167, 1309, ...]}

Texts are read from the ids. The question is the prompt's last user message, the temperature 1.0
unless the row or the user says otherwise. A completion that ends in `<|return|>` is finished
(`stop`), in `<|call|>` it waits for a tool (`tool_calls`); another end says nothing of the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from builders.harmony.parse import PromptContext, parse, parse_prompt, prompt_context
from builders.records import Question, Record, Response, Scorer, TokenScores
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import common_fields, question, response
from builders.shapes.fields import integers, label, optional_text
from builders.tokens.table import TokenTable
from dasd_data.errors import RowError

_COLUMNS = ("prompt_tokens", "tokens")
_FINISH = {"return": "stop", "call": "tool_calls"}


def _matches(row: Row, _context: Context) -> bool:
    return all(column in row for column in _COLUMNS)


def asked_by(
    row: Row, prompt: PromptContext, context: Context, rownum: int, domain: str | None = None
) -> Question:
    """The question of a harmony prompt; the row's own domain wins over the shape's."""
    if prompt.question is None:
        raise RowError("the prompt's tokens hold no user message")
    fields = {"question": prompt.question, "key": label(row, "problem_id", "id")}
    fields["domain"] = optional_text(row, "domain") or (None if context.domain else domain)
    meta = {"developer": prompt.developer} if prompt.developer else {}
    return question(fields, context, rownum, meta)


def answered_by(
    of: Question,
    ids: NDArray[np.int32],
    table: TokenTable,
    fields: dict[str, object],
    context: Context,
) -> tuple[Response, NDArray[np.int32]]:
    """The response that harmony ids spell, and its `token_bytes`."""
    parsed = parse(ids, table)
    fields = fields | {
        "thinking": parsed.thinking,
        "answer": parsed.answer or "",
        "finish_reason": optional_text(fields, "finish_reason") or _FINISH.get(parsed.finish or ""),
    }
    return response(of, fields, context), parsed.token_bytes


def scorer(model: str, table: TokenTable, prompt: PromptContext) -> Scorer:
    """The scoring context that a harmony prompt spells out."""
    return Scorer(
        model=model,
        tokenizer=table.name,
        context="sampled_prompt",
        system_prompt=prompt.system,
        reasoning_effort=prompt.reasoning_effort,
        date=prompt.date,
    )


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    table = context.table(optional_text(row, "tokenizer"))
    prompt_ids = integers(row.get("prompt_tokens"), "prompt_tokens")
    prompt = prompt_context(parse_prompt(prompt_ids, table))
    ids = integers(row.get("tokens"), "tokens")
    fields: dict[str, object] = {
        "temperature": 1.0 if context.temperature is None else context.temperature
    }
    fields |= common_fields(row)
    state, action = label(row, "state_hash"), label(row, "action_hash")
    if state and action:
        fields["key"] = f"{state}/{action}"
    asked = asked_by(row, prompt, context, rownum, "math" if "problem_id" in row else None)
    found, token_bytes = answered_by(asked, ids, table, fields, context)
    of_model = scorer(found.model or context.name, table, prompt)
    found.tokens = [TokenScores(context.name, of_model, ids, token_bytes, None, prompt_ids)]
    yield found


SHAPE = Shape("harmony", _COLUMNS, _matches, _records)
