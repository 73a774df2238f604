"""Requests to an engine, in the two contexts that a stored log-prob can have.

sampled prompt: the ids that were sampled after the ids they were sampled from; nothing is encoded.
training render: the stored text in its chat template, encoded whole as the trainer encodes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from builders.score.engine import ScoreRequest, ScoreResult
from builders.score.render import Render, TrainingContext
from builders.tokens.fit import fit_render
from builders.tokens.table import TokenTable
from dasd_data.errors import RowError

BATCH = 64  # renders handed to the tokenizer at a time, which spreads them over the cores


class Stored(NamedTuple):
    """What is read from the catalog for one response."""

    key: str
    question: str
    thinking: str | None
    answer: str


class Encoded(NamedTuple):
    """A request, the bytes of `thinking || answer` in each of its scored tokens, and `control`.

    `token_bytes` has one entry per token of `ids[start:]`, 0 for the template's own, and sums to
    the text; `control` is that of the `Render`, `sections` what the tokens cover.
    """

    request: ScoreRequest
    token_bytes: Sequence[int] | NDArray[np.int32]
    control: tuple[str, ...] = ()
    sections: str = "thinking+answer"


def sampled_requests(rows: Iterable[Mapping[str, Any]]) -> Iterator[Encoded | ScoreResult]:
    """One item per row of response_id, prompt_ids, token_ids and token_bytes, in order.

    A row without ids comes back as a result that says so.
    """
    for row in rows:
        key = row["response_id"]
        if row["prompt_ids"] is None or row["token_ids"] is None:
            why = "no sampled ids: they, or those of their prompt, are not in the catalog"
            yield ScoreResult(key, None, f"{why} for this tokenizer")
            continue
        request = sampled_request(key, row["prompt_ids"], row["token_ids"])
        yield Encoded(request, row["token_bytes"], sections=row["sections"])


def sampled_request(key: str, prompt: Sequence[int], sampled: Sequence[int]) -> ScoreRequest:
    """All of the sampled ids, after exactly the prompt ids that they were sampled from."""
    ids = np.concatenate([np.asarray(prompt, np.int32), np.asarray(sampled, np.int32)])
    return ScoreRequest(key, ids, len(prompt))


def training_requests(
    context: TrainingContext, table: TokenTable, rows: Iterable[Stored]
) -> Iterator[Encoded | ScoreResult]:
    """One item per row, in order: its request, or a result that says why there is none.

    The reasons are those of `TrainingContext.render` and `fit_render`, and `nothing to score`
    for an empty response. Raises UsageError where the template cannot serve at all.
    """
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        renders = [_render(context, row) for row in batch]
        texts = [render.text for render in renders if isinstance(render, Render)]
        encoded = iter(_encode(context, texts))
        for row, render in zip(batch, renders, strict=True):
            if isinstance(render, ScoreResult):
                yield render
                continue
            try:
                yield training_request(row.key, render, next(encoded), table)
            except RowError as error:
                yield ScoreResult(row.key, None, str(error))


def training_request(key: str, render: Render, ids: Sequence[int], table: TokenTable) -> Encoded:
    """The request for the response in a render that was encoded as `ids`.

    It begins with the first token that holds a byte of the response and ends with the last one.
    Raises RowError if the tokens' bytes do not tile the render or the response is empty.
    """
    held = fit_render(
        render.text.encode(), table.pieces(ids), render.thinking_span, render.answer_span
    )
    scored = np.flatnonzero(held)
    if not len(scored):
        raise RowError("nothing to score: the response is empty")
    start, stop = int(scored[0]), int(scored[-1]) + 1
    request = ScoreRequest(key, np.asarray(ids[:stop], np.int32), start)
    return Encoded(request, held[start:stop], render.control)


def _render(context: TrainingContext, row: Stored) -> Render | ScoreResult:
    try:
        return context.render(row.question, row.thinking, row.answer)
    except RowError as error:
        return ScoreResult(row.key, None, str(error))


def _encode(context: TrainingContext, texts: list[str]) -> list[list[int]]:
    """No special tokens are added: the template has written its own."""
    if not texts:
        return []
    return context.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)[
        "input_ids"
    ]
