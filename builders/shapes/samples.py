"""A prompt with its sampled completions, ids and log-probs: what a vLLM script writes.

    {"question": "What is 2 + 2?", "domain": "math", "reference_answer": "4", "model": "tiny",
     "temperature": 0.6, "top_p": 1.0, "max_tokens": 512, "seed": 7, "engine": "vllm",
     "engine_version": "0.32.0", "logprobs_mode": "raw_logprobs", "prompt_token_ids": [1, 4],
     "choices": [{"index": 0, "text": "<think>\\n2 + 2 = 4\\n</think>\\n\\n4",
                  "token_ids": [5, 17, 9], "logprobs": [-0.1, -0.02, -0.3],
                  "finish_reason": "stop"}]}

`prompt_text` may stand for `question`, `tokenizer` name the tokenizer of the ids. Each choice is a
response with its index as sample_index.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.build import common_fields, question, responses
from builders.shapes.fields import label, optional_text, whole
from dasd_data.errors import RowError

_SHARED = ("dtype", "chat_template", "system_prompt", "reasoning_effort")


def _matches(row: Row, _context: Context) -> bool:
    choices = row.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], dict)):
        return False
    first = choices[0]
    is_openai = "object" in row or "message" in first or isinstance(first.get("logprobs"), dict)
    return "text" in first and not is_openai and ("question" in row or "prompt_text" in row)


def _records(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    shared = common_fields(row) | {k: row[k] for k in _SHARED if row.get(k) is not None}
    shared["question"] = optional_text(row, "question") or optional_text(row, "prompt_text")
    asked = question(shared, context, rownum)
    choices = row.get("choices")
    if not (isinstance(choices, list) and choices and all(isinstance(c, dict) for c in choices)):
        raise RowError("`choices` is not a list of completions")
    fields = []
    for i, choice in enumerate(choices):
        index = whole(choice, "index")
        own = {"completion": choice.get("text"), "sample_index": i if index is None else index}
        own |= {k: choice.get(k) for k in ("token_ids", "logprobs", "finish_reason")}
        own |= {"key": key} if (key := label(choice, "key", "id")) else {}
        fields.append(shared | own)
    yield from responses(asked, fields, context)


SHAPE = Shape("samples", ("question", "choices"), _matches, _records)
