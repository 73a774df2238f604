"""Questions, responses and log-probs from named fields: what all the general shapes share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.records import Logprobs, Question, Response, Scorer, TokenScores
from builders.shapes.base import Context
from builders.shapes.fields import (
    domain_of,
    filled_text,
    integers,
    label,
    logprobs,
    number,
    optional_text,
    whole,
)
from builders.shapes.fitting import fit_ids, fit_pieces
from builders.tokens.table import Pieces
from builders.tokens.think import split_think
from dasd_data.errors import RowError

Fields = Mapping[str, Any]

# Columns that rows of every general shape may have beside their text, by field.
COMMON = {
    "domain": ("domain",),
    "reference_answer": ("reference_answer", "ground_truth", "expected_answer"),
    "key": ("uuid", "response_id"),  # names the response; the others label its question's row
    "row": ("id", "key", "custom_id"),
    "license": ("license",),
    "thinking": ("thinking", "reasoning", "reasoning_content"),
    "finish_reason": ("finish_reason",),
    "sample_index": ("sample_index",),
    "model": ("model",),
    "revision": ("revision",),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "max_tokens": ("max_tokens",),
    "seed": ("seed",),
    "token_ids": ("token_ids",),
    "prompt_ids": ("prompt_token_ids",),
    "logprobs": ("logprobs",),
    "tokenizer": ("tokenizer",),
    "engine": ("engine",),
    "engine_version": ("engine_version",),
    "logprobs_mode": ("logprobs_mode",),
}


def common_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a row has under their usual names."""
    found = {}
    for name, columns in COMMON.items():
        column = next((c for c in columns if row.get(c) is not None), None)
        if column is not None:
            found[name] = row[column]
    return found


def question(
    fields: Fields, context: Context, rownum: int, meta: dict[str, Any] | None = None
) -> Question:
    """The question of a row. Raises RowError where it has no text or an unknown domain."""
    return Question(
        text=filled_text(fields, "question"),
        domain=domain_of(fields.get("domain"), context),
        reference_answer=label(fields, "reference_answer"),
        source=context.source,
        row=label(fields, "key") or label(fields, "row") or str(rownum),
        license=context.license or optional_text(fields, "license"),
        meta=meta or {},
    )


def response(of: Question, fields: Fields, context: Context) -> Response:
    """A response without tokens. Text with think tags is split unless `thinking` is given."""
    thinking = optional_text(fields, "thinking")
    answer = optional_text(fields, "answer")
    if answer is None:
        answer = optional_text(fields, "completion")
    if answer is None and thinking is None:
        raise RowError("the row has no response: its text is null")
    if thinking is None:
        thinking, answer = split_think(answer or "")
    if not (thinking or answer):
        raise RowError("the response is empty")
    sample_index = whole(fields, "sample_index")
    temperature, top_p = number(fields, "temperature"), number(fields, "top_p")
    max_tokens = whole(fields, "max_tokens")
    return Response(
        question=of,
        answer=answer or "",
        thinking=thinking,
        key=_response_key(fields),
        policy=context.policy,
        model=optional_text(fields, "model") or context.model,
        revision=optional_text(fields, "revision") or context.revision,
        temperature=context.temperature if temperature is None else temperature,
        top_p=context.top_p if top_p is None else top_p,
        max_tokens=context.max_tokens if max_tokens is None else max_tokens,
        seed=whole(fields, "seed"),
        sample_index=sample_index or 0,
        finish_reason=optional_text(fields, "finish_reason"),
    )


def _response_key(fields: Fields) -> str | None:
    """The row's key; where rows count the samples of a question, the key is the question's."""
    key, index = label(fields, "key"), whole(fields, "sample_index")
    return key if key is None or index is None else f"{key}#{index}"


def responses(
    of: Question, rows: Iterable[Fields | RowError], context: Context
) -> Iterator[Response]:
    """The responses to a question, each with its tokens if it has any; an error for a bad one.

    One whose tokens are refused comes without them, one that is refused itself not at all; after
    the last, a RowError gives the reasons, so that nothing is lost unnoticed.
    """
    refused: dict[str, list[str]] = {}
    for i, fields in enumerate(rows):
        try:
            if isinstance(fields, RowError):
                raise fields
            found = response(of, fields, context)
        except RowError as error:
            refused.setdefault(str(error), []).append(str(i))
            continue
        try:
            found.tokens = tokens_of(found, fields, context)
        except RowError as error:
            refused.setdefault(f"kept, its tokens refused: {error}", []).append(str(i))
        yield found
    if refused:
        raise RowError(
            "; ".join(f"response {', '.join(which)}: {why}" for why, which in refused.items())
        )


def scorer_of(of: Response, fields: Fields, context: Context, tokenizer: str | None) -> Scorer:
    """The scoring context of log-probs that came with a response.

    Under `raw_logprobs` they are those of temperature 1, under `processed_logprobs` those of
    the sampling temperature; else the mode and the temperature are not known.
    """
    mode = optional_text(fields, "logprobs_mode") or "unknown"
    temperature = {"raw_logprobs": 1.0, "processed_logprobs": of.temperature}.get(mode)
    return Scorer(
        model=of.model or context.name,
        revision=of.revision,
        tokenizer=tokenizer,
        dtype=optional_text(fields, "dtype"),
        engine=optional_text(fields, "engine"),
        engine_version=optional_text(fields, "engine_version"),
        logprobs_mode=mode,
        temperature=temperature,
        context="sampled_prompt",
        chat_template=optional_text(fields, "chat_template"),
        system_prompt=optional_text(fields, "system_prompt"),
        reasoning_effort=optional_text(fields, "reasoning_effort"),
    )


def tokens_of(of: Response, fields: Fields, context: Context) -> list[TokenScores]:
    """The tokens of a response whose row has `token_ids` or exact bytes (`pieces`), else none.

    Raises RowError where they do not fit the text, or log-probs come without either.
    """
    if fields.get("tokens_refused"):
        raise RowError(fields["tokens_refused"])
    values = None if fields.get("logprobs") is None else logprobs(fields["logprobs"])
    pieces = fields.get("pieces")
    if fields.get("token_ids") is None and pieces is None:
        if values is not None:
            raise RowError("log-probs without token ids or bytes: which tokens are they of?")
        return []
    ids = None if fields.get("token_ids") is None else integers(fields["token_ids"], "token_ids")
    _equal_length(ids, None if pieces is None else pieces.lengths, values)
    if pieces is not None:
        fitted, tokenizer = _fit_bytes(of, pieces, ids), None
    else:
        assert ids is not None
        table = context.table(optional_text(fields, "tokenizer"))
        fitted, tokenizer = fit_ids(of.thinking, of.answer, ids, table), table.name
    token_bytes, sections = fitted
    scorer = replace(scorer_of(of, fields, context, tokenizer), sections=sections)
    prompt = fields.get("prompt_ids")
    prompt_ids = None if prompt is None else integers(prompt, "prompt_token_ids")
    return [TokenScores(context.name, scorer, ids, token_bytes, values, prompt_ids)]


def _fit_bytes(
    of: Response, pieces: Pieces, ids: NDArray[np.int32] | None
) -> tuple[NDArray[np.int32], str]:
    try:
        return fit_pieces(of.thinking, of.answer, pieces)
    except RowError as error:
        hint = "; the row has ids as well: give --tokenizer" if ids is not None else ""
        raise RowError(f"{error}{hint}") from None


def _equal_length(*lists: Sized | None) -> None:
    names = ("token ids", "token texts", "log-probs")
    sizes = {n: len(s) for n, s in zip(names, lists, strict=False) if s is not None}
    if len(set(sizes.values())) > 1:
        raise RowError(
            "lists of unequal length: " + ", ".join(f"{v} {k}" for k, v in sizes.items())
        )


def bare_logprobs(fields: Fields, context: Context, default_model: str | None = None) -> Logprobs:
    """Log-probs that are joined to their response by `key`."""
    key = label(fields, "key")
    if key is None:
        raise RowError("log-probs without a key: nothing joins them to a response")
    ids, values = integers(fields.get("token_ids"), "token_ids"), logprobs(fields.get("logprobs"))
    _equal_length(ids, None, values)
    table = context.table(optional_text(fields, "tokenizer"))
    lengths = table.lengths[table.known(ids)]
    model = optional_text(fields, "model") or context.model or default_model or context.name
    mode = optional_text(fields, "logprobs_mode") or "unknown"
    scorer = Scorer(
        model=model,
        revision=context.revision,
        tokenizer=table.name,
        logprobs_mode=mode,
        temperature=1.0 if mode == "raw_logprobs" else None,
        context="sampled_prompt",
    )
    return Logprobs(key, TokenScores(context.name, scorer, ids, lengths, values))
