"""The score stage: token log-probs of responses under one model, and their sums per sentence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builders.filters import Filter
from builders.filters.stage import filter_missing
from builders.ingest.batch import scorer_fields, scorer_id
from builders.records import Scorer
from builders.run import Run, to_table
from builders.score.encode import Encoded
from builders.score.engine import Engine, ScoreRequest, ScoreResult
from builders.score.estimate import Estimate, estimate
from builders.segment import SEGMENTER
from builders.segment.derive import Scored, score_rows
from builders.segment.stage import failures, segment_missing
from dasd_data.catalog import Catalog
from dasd_data.parameters import quote
from dasd_data.session import Session

COMMIT_ROWS, COMMIT_SECONDS = 1_000, 60.0  # work at risk when the process dies
READ_ROWS = 200

Progress = Callable[[int, int], None]

# Responses that this scorer has neither scored nor given up on.
_MISSING = """
CREATE OR REPLACE TEMP TABLE _wanted AS
SELECT response_id, row_number() OVER (ORDER BY response_id) AS n
FROM candidates
ANTI JOIN (SELECT response_id FROM tokens WHERE scorer_id = {scorer} AND has_logprobs)
    USING (response_id)
ANTI JOIN (SELECT response_id FROM attempts WHERE stage = 'score' AND scorer_id = {scorer})
    USING (response_id)
WHERE {condition}
"""


# The first of the scored responses in a seeded order, at least a few, at most half: their batches
# then hold other neighbours than before.
_REPEATED = """
CREATE OR REPLACE TEMP TABLE _wanted AS
WITH scored AS (
    SELECT
        response_id,
        row_number() OVER (ORDER BY seeded('repeat', response_id), response_id) AS place,
        count(*) OVER () AS total
    FROM sentence_scores
    INNER JOIN sentences USING (response_id, segmentation_id)
    WHERE scorer_id = {scorer} AND segmenter = {segmenter}
)
SELECT response_id, row_number() OVER (ORDER BY place) AS n
FROM scored
ANTI JOIN (SELECT response_id FROM repeat_scores WHERE scorer_id = {scorer}) USING (response_id)
WHERE place <= least(ceil(total / 2), greatest({least}, ceil(total * {share}::DOUBLE)))
"""
LEAST_REPEATED = 16

Encode = Callable[[Iterable[Mapping[str, Any]]], Iterator[Encoded | ScoreResult]]


@dataclass
class ScoreRun:
    """What is scored, how, and under which name.

    `encode` turns rows of response_id, question, thinking and answer into requests; with
    `sampled` they also have prompt_ids, token_ids and token_bytes as they were sampled.
    `repeat` is the share of the scored responses that is scored a second time, to measure noise.
    """

    engine: Engine
    encode: Encode
    scorer: Scorer
    name: str
    tokenizer_path: str | None = None
    where: str | None = None
    only_eligible: bool = True
    filters: Sequence[Filter] = ()  # run first where only eligible responses are scored
    sampled: bool = False
    repeat: float = 0.01

    @property
    def scorer_id(self) -> str:
        """Id of the scoring context."""
        return scorer_id(self.scorer)


@dataclass
class _Pending:
    """Encoded requests under way, and finished rows that wait for their commit."""

    encoded: dict[str, Encoded] = field(default_factory=dict)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        waiting = len(self.tokens) + len(self.failed)
        return waiting >= COMMIT_ROWS or (
            waiting > 0 and time.monotonic() - self.since >= COMMIT_SECONDS
        )


def score(
    catalog: Catalog, what: ScoreRun, progress: Progress = lambda done, total: None
) -> Counter[str]:
    """Score what is missing; commits every minute, so an interruption loses a minute at most.

    A response that cannot be scored as it is (over the context, altered by the template, not
    finite) is kept in `attempts` with the reason. Returns counts by name.
    """
    segment_missing(catalog)
    if what.only_eligible:
        filter_missing(catalog, what.filters)
    session = _missing(catalog, what)
    total = session.rows("SELECT count(*) AS n FROM _wanted")[0]["n"]
    configuration = {**scorer_fields(what.scorer), "name": what.name, "where": what.where}
    with Run(catalog.store, "score", configuration) as run:
        run.append({"scorers": to_table("scorers", [_scorer_row(what)])})
        run.counts["wanted"] = total
        pending, done = _Pending(), 0
        try:
            for result in what.engine.score(_requests(session, what, pending, total, run)):
                _take(result, what, pending, run)
                if pending.due():
                    done += _commit(catalog, session, what, pending, run)
                    progress(done, total)
        finally:  # also on Ctrl-C: what is done is kept
            _commit(catalog, session, what, pending, run)
        session.close()
        if what.repeat:
            _repeat(catalog.refresh(), what, run)
    catalog.refresh()
    return run.counts


def _repeat(catalog: Catalog, what: ScoreRun, run: Run) -> None:
    """Score a few responses again in other batches, and keep the sums beside the first ones."""
    session = catalog.session(settings={"require_scores": False})
    session.execute(
        _REPEATED.format(
            scorer=quote(what.scorer_id),
            segmenter=quote(SEGMENTER),
            least=LEAST_REPEATED,
            share=what.repeat,
        )
    )
    total = session.rows("SELECT count(*) AS n FROM _wanted")[0]["n"]
    pending, counts = _Pending(), run.counts.copy()

    def commit() -> None:
        if pending.tokens:
            scored = _sentence_sums(session, to_table("tokens", pending.tokens), run)
            run.append({"repeat_scores": scored.rows})
        pending.tokens, pending.since = [], time.monotonic()

    try:
        for result in what.engine.score(_requests(session, what, pending, total, run)):
            _take(result, what, pending, run)
            if pending.due():
                commit()
    finally:
        commit()
    repeated = run.counts["repeat_scores"]
    run.counts.clear()  # what is scored twice counts once
    run.counts.update(counts, repeat_scores=repeated)
    session.close()


def dry_run(catalog: Catalog, what: ScoreRun) -> Estimate:
    """What `score` would do, with the rate measured on a few of the responses; writes nothing."""
    session = _missing(catalog, what, judged=False)
    total = session.rows("SELECT count(*) AS n FROM _wanted")[0]["n"]
    refused = Run(catalog.store, "score", {})
    pending = _Pending()
    found = estimate(what.engine, _requests(session, what, pending, total, refused))
    found.refused.update(row["reason"].partition(":")[0] for row in pending.failed)
    if what.only_eligible:
        (unfiltered,) = session.rows(
            "SELECT count(*) AS n FROM _wanted ANTI JOIN flags USING (response_id)"
        )
        found.unfiltered = unfiltered["n"]
    session.close()
    return found


def _missing(catalog: Catalog, what: ScoreRun, *, judged: bool = True) -> Session:
    """A session with `_wanted`; without `judged`, responses without a verdict count as eligible."""
    session = catalog.session(settings={"require_scores": False})
    conditions = ["eligible"] if what.only_eligible else ["true"]
    if not judged:
        conditions = [f"({conditions[0]} OR response_id NOT IN (SELECT response_id FROM flags))"]
    if what.where:
        session.query(f"SELECT response_id FROM candidates WHERE ({what.where})")  # one condition
        conditions.append(f"({what.where})")
    session.execute(
        _MISSING.format(scorer=quote(what.scorer_id), condition=" AND ".join(conditions))
    )
    return session


def _requests(
    session: Session, what: ScoreRun, pending: _Pending, total: int, run: Run
) -> Iterator[ScoreRequest]:
    """Requests for the wanted responses; what cannot be encoded becomes a failure."""
    for item in what.encode(_rows(session, what, total)):
        if isinstance(item, ScoreResult):
            _fail(item.key, item.error or "failed", what, pending, run)
            continue
        run.counts["control_tokens"] += bool(item.control)
        pending.encoded[item.request.key] = item
        yield item.request


def _rows(session: Session, what: ScoreRun, total: int) -> Iterator[dict[str, Any]]:
    columns, join = "", ""
    if what.sampled:
        columns = ", t.prompt_ids, t.token_ids, t.token_bytes, t.sections"
        join = (
            " LEFT JOIN (SELECT t.* FROM tokens AS t INNER JOIN scorers AS c USING (scorer_id)"
            f" WHERE c.tokenizer = {quote(what.scorer.tokenizer or '')}"
            " AND t.prompt_ids IS NOT NULL QUALIFY row_number() OVER"
            " (PARTITION BY t.response_id ORDER BY t.scorer_id) = 1) AS t"
            " ON r.response_id = t.response_id"
        )
    for start in range(0, total, READ_ROWS):
        yield from session.rows(
            f"SELECT r.response_id, q.text AS question, r.thinking, r.answer{columns}"
            " FROM _wanted AS w INNER JOIN responses AS r USING (response_id)"
            f" INNER JOIN questions AS q USING (question_id){join}"
            f" WHERE w.n BETWEEN {start + 1} AND {start + READ_ROWS} ORDER BY w.n"
        )


def _take(result: ScoreResult, what: ScoreRun, pending: _Pending, run: Run) -> None:
    encoded = pending.encoded.pop(result.key)
    if result.logprobs is None:
        _fail(result.key, result.error or "failed", what, pending, run)
        return
    pending.tokens.append(
        {
            "response_id": result.key,
            "scorer_id": what.scorer_id,
            "token_ids": encoded.request.ids[encoded.request.start :],
            "prompt_ids": None,
            "token_bytes": encoded.token_bytes,
            "logprobs": result.logprobs,
            "sections": encoded.sections,
            "n_tokens": len(result.logprobs),
            "has_logprobs": True,
            "run_id": run.run_id,
        }
    )
    run.counts["done"] += 1
    run.counts["scored_tokens"] += len(result.logprobs)


def _fail(key: str, why: str, what: ScoreRun, pending: _Pending, run: Run) -> None:
    run.counts["failed"] += 1
    run.counts[f"unscored: {why.partition(':')[0]}"] += 1
    pending.failed.append(
        {
            "response_id": key,
            "stage": "score",
            "scorer_id": what.scorer_id,
            "attempt": 0,
            "reason": " ".join(why.split())[:500],
            "run_id": run.run_id,
        }
    )


def _commit(catalog: Catalog, session: Session, what: ScoreRun, pending: _Pending, run: Run) -> int:
    """Commit finished rows with their sentence sums; returns their number."""
    size = len(pending.tokens) + len(pending.failed)
    if not size:
        return 0
    tokens = to_table("tokens", pending.tokens)
    done = run.append({"tokens": tokens, "attempts": to_table("attempts", pending.failed)})
    if "tokens" in done and (others := done["tokens"].conflicts) is not None:
        # Another process scored these first; sums are of the values that are kept.
        theirs = pc.is_in(tokens["response_id"], others["response_id"].combine_chunks())
        tokens = tokens.filter(pc.invert(theirs))
    if len(tokens):
        scored = _sentence_sums(session, tokens, run)
        run.append({"sentence_scores": scored.rows, "attempts": failures(scored.failed, run)})
    run.event("batch")
    pending.tokens, pending.failed, pending.since = [], [], time.monotonic()
    return size


def _sentence_sums(session: Session, tokens: pa.Table, run: Run) -> Scored:
    """Log-prob sums per sentence for rows of `tokens`."""
    ids = ", ".join(map(quote, tokens["response_id"].to_pylist()))
    texts = session.table(
        "SELECT response_id, thinking, answer, segmentation_id, byte_end"
        " FROM responses INNER JOIN sentences USING (response_id)"
        f" WHERE segmenter = {quote(SEGMENTER)} AND response_id IN ({ids})"
    )
    return score_rows(texts, tokens, lambda scorer: None, run.run_id)


def _scorer_row(what: ScoreRun) -> dict[str, Any]:
    return {
        "scorer_id": what.scorer_id,
        "name": what.name,
        "tokenizer_path": what.tokenizer_path,
        **scorer_fields(what.scorer),
    }
