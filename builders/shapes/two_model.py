"""The same harmony tokens scored by two models: gpt-oss before and after a LoRA run.

    {"run": "1e-4", "problem_id": "aimo3-21818", "trace_id": "0o1pdb",
     "prompt_tokens": [200006, 17360, ...], "completion_tokens": [162661, 11, 12951, ...],
     "logprobs_initial": [-11.6, -13.4, ...], "logprobs_tuned": [-11.6, -13.7, ...]}

Log-prob i is that of token i+1 of prompt followed by completion, so both lists are one shorter.
The cut between prompt and completion lies inside the thinking: the response is everything after
the first `<|start|>assistant`. It has no key of its own, so that the same trace of several runs is
one response with one `initial` score and a `tuned` one per run.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from builders.harmony.parse import completion_start, parse_prompt, prompt_context
from builders.records import Record, TokenScores
from builders.shapes.base import Context, Row, Shape
from builders.shapes.fields import integers, label, logprobs, optional_text
from builders.shapes.harmony_tokens import answered_by, asked_by, scorer
from dasd_data.errors import RowError

_COLUMNS = ("prompt_tokens", "completion_tokens", "logprobs_initial", "logprobs_tuned")
_MODEL = "gpt-oss-120b"


def _matches(row: Row, _context: Context) -> bool:
    return all(column in row for column in _COLUMNS)


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    table = context.table(optional_text(row, "tokenizer"))
    columns = ("prompt_tokens", "completion_tokens")
    ids = np.concatenate([integers(row.get(column), column) for column in columns])
    start = completion_start(ids, table)
    if not start:
        raise RowError("the prompt's tokens hold no <|start|>assistant")
    values = {}
    for column in ("logprobs_initial", "logprobs_tuned"):
        values[column] = logprobs(row.get(column), column)
        if len(values[column]) != len(ids) - 1:
            raise RowError(f"{len(ids)} tokens but {len(values[column])} {column}, not one fewer")
    prompt = prompt_context(parse_prompt(ids[:start], table))
    model = context.model or _MODEL
    asked = asked_by(row, prompt, context, rownum, "math")
    found, token_bytes = answered_by(asked, ids[start:], table, {"model": model}, context)
    tuned = f"{model}-lora-{label(row, 'run') or 'unnamed'}"
    found.tokens = [
        TokenScores(
            name,
            scorer(of, table, prompt),
            ids[start:],
            token_bytes,
            values[column][start - 1 :],
            ids[:start],
        )
        for name, of, column in (
            ("initial", model, "logprobs_initial"),
            ("tuned", tuned, "logprobs_tuned"),
        )
    ]
    yield found


SHAPE = Shape("two_model", _COLUMNS, _matches, _records)
