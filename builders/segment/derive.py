"""Rows that follow from text and tokens: sentence spans, and log-prob sums per sentence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders.run import to_table
from builders.segment import SEGMENTER, Sentences, segment
from builders.tokens.aggregate import SentenceSums, aggregate
from builders.tokens.fit import fit_harmony
from builders.tokens.table import TokenTable
from dasd_data.errors import DasdError, RowError
from dasd_data.keys import kept

TableOf = Callable[[str], TokenTable | None]  # a scorer's token table, if it can be had


@dataclass
class Scored:
    """Rows of `sentence_scores`, and why others could not be made: (response, scorer) -> reason."""

    rows: pa.Table
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def sentence_rows(
    responses: Iterable[Mapping[str, Any]],
    run_id: str,
    segmenter: str | None = None,
    cut: Callable[[str | None, str], Sentences] | None = None,
) -> pa.Table:
    """Rows of `sentences` for responses with response_id, thinking and answer.

    `segmenter` and `cut` are the version and the function of another segmenter than the usual.
    """
    rows, segmenter, cut = [], segmenter or SEGMENTER, cut or segment
    for response in responses:
        spans = cut(response["thinking"], response["answer"])
        rows.append(
            {
                "response_id": response["response_id"],
                "segmenter": segmenter,
                "segmentation_id": segmentation_id(spans, segmenter),
                "byte_end": spans.byte_end,
                "kind": spans.kind,
                "section": spans.section,
                "run_id": run_id,
            }
        )
    return to_table("sentences", rows)


def segmentation_id(spans: Sentences, segmenter: str | None = None) -> str:
    """Hash of the segmenter's version and of the spans, 32 hexadecimal digits."""
    state = hashlib.blake2b((segmenter or SEGMENTER).encode(), digest_size=16)
    for values in spans:
        state.update(b"\0" + values.tobytes())
    return state.hexdigest()


def score_rows(
    texts: pa.Table,
    tokens: pa.Table,
    table_of: TableOf,
    run_id: str,
) -> Scored:
    """Rows of `sentence_scores` for rows of `tokens` with log-probs.

    `texts` has response_id, thinking, answer, segmentation_id and byte_end of every response that
    `tokens` names. Tokens that do not tile the sections that they cover
    (published log-probs, kept as they came) are fitted to it with the scorer's token table.
    """
    place = {key: i for i, key in enumerate(texts["response_id"].to_pylist())}
    scored = Scored(to_table("sentence_scores", []))
    parts = [scored.rows]
    pairs = zip(tokens["scorer_id"].to_pylist(), tokens["sections"].to_pylist(), strict=True)
    for scorer, sections in sorted(set(pairs)):
        same = pc.and_(
            pc.equal(tokens["scorer_id"], scorer), pc.equal(tokens["sections"], sections)
        )
        mine = kept(tokens, same.to_numpy())
        text = texts.take([place[key] for key in mine["response_id"].to_pylist()])
        made = _attempts(mine, text, sections, partial(table_of, scorer), scored)
        parts += [_rows(*each, run_id) for each in made]
    scored.rows = pa.concat_tables(parts)
    return scored


def _attempts(
    tokens: pa.Table,
    texts: pa.Table,
    sections: str,
    table: Callable[[], TokenTable | None],
    scored: Scored,
) -> Iterable[tuple[pa.Table, pa.Table, SentenceSums]]:
    """Tokens, texts and sums, as they are, then fitted; what cannot be fitted has failed."""
    sums = _sums(tokens, texts, sections)
    yield tokens, texts, sums
    fitted: dict[str, list[tuple[int, NDArray[np.int32]]]] = {}
    for i, error in sums.errors.items():
        try:
            token_bytes, covered = _fit(tokens.slice(i, 1), texts.slice(i, 1), table(), error)
            fitted.setdefault(covered, []).append((i, token_bytes))
        except DasdError as problem:
            key = (tokens["response_id"][i].as_py(), tokens["scorer_id"][i].as_py())
            scored.failed[key] = str(problem)
    column = tokens.schema.get_field_index("token_bytes")
    for covered, rows in fitted.items():
        at = [i for i, _ in rows]
        counts = pa.array([b for _, b in rows], tokens.schema.field(column).type)
        again = tokens.take(at).set_column(column, tokens.schema.field(column), counts)
        sums = _sums(again, texts.take(at), covered)
        for n, error in sums.errors.items():
            key = (again["response_id"][n].as_py(), again["scorer_id"][n].as_py())
            scored.failed[key] = error
        yield again, texts.take(at), sums


def _fit(
    tokens: pa.Table, texts: pa.Table, table: TokenTable | None, error: str
) -> tuple[NDArray[np.int32], str]:
    ids = tokens["token_ids"][0].values
    if not error.startswith(("token_bytes cover", "token ")) or "logprob" in error or ids is None:
        raise RowError(error)
    if table is None:
        raise RowError(f"{error}: to fit the tokens to the text, ingest with --tokenizer PATH")
    thinking, answer = texts["thinking"][0].as_py(), texts["answer"][0].as_py()
    fit = fit_harmony(thinking, answer, ids.to_numpy(), table)
    return fit.token_bytes, fit.sections


def _sums(tokens: pa.Table, texts: pa.Table, sections: str) -> SentenceSums:
    def column(table: pa.Table, name: str) -> pa.Array:
        whole = table[name]  # one chunk is not to be copied
        return whole.chunk(0) if whole.num_chunks == 1 else whole.combine_chunks()

    return aggregate(
        column(texts, "thinking"),
        column(texts, "answer"),
        column(tokens, "token_bytes"),
        column(tokens, "logprobs"),
        column(texts, "byte_end"),
        sections=sections,
    )


def _rows(tokens: pa.Table, texts: pa.Table, sums: SentenceSums, run_id: str) -> pa.Table:
    empty = to_table("sentence_scores", [])
    columns = {
        "response_id": tokens["response_id"],
        "scorer_id": tokens["scorer_id"],
        "segmentation_id": texts["segmentation_id"],
        "n_tokens": sums.n_tokens,
        "logprob_sum": sums.logprob_sum,
        "run_id": pa.array([run_id] * len(tokens)),
    }
    tiled = np.array([row not in sums.errors for row in range(len(tokens))], np.bool_)
    return kept(pa.table(columns).select(empty.schema.names).cast(empty.schema), tiled)
