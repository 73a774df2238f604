"""The score stage: token log-probs of responses under one model, and their sums per sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from builders import executor as executors
from builders.executor import (
    Batch,
    Batches,
    Executor,
    Item,
    Items,
    Local,
    Progress,
    chunks,
    commit_all,
    quoted,
)
from builders.executor.pending import Pending
from builders.filters import Filter
from builders.filters.stage import filter_missing
from builders.ingest.batch import scorer_fields, scorer_id, scorer_row
from builders.records import Scorer
from builders.run import Notes, Run, to_table
from builders.score.encode import Encoded
from builders.score.engine import Engine, ScoreRequest, ScoreResult
from builders.score.estimate import Estimate, estimate
from builders.segment import SEGMENTER
from builders.segment.derive import Scored, score_rows
from builders.segment.stage import failures, segment_missing
from dasd_data.catalog import Catalog
from dasd_data.parameters import quote
from dasd_data.session import Session

READ_ROWS = 200

# Responses that this scorer has neither scored nor given up on, unless that is tried again.
_MISSING = """
SELECT response_id
FROM candidates
ANTI JOIN (SELECT response_id FROM tokens WHERE scorer_id = {scorer} AND has_logprobs)
    USING (response_id)
ANTI JOIN (
    SELECT response_id FROM attempts
    WHERE stage = 'score' AND scorer_id = {scorer} AND NOT {retry}
) USING (response_id)
WHERE {condition}
ORDER BY response_id
"""

# The first of the scored responses in a seeded order, at least a few, at most half: their batches
# then hold other neighbours than before.
_REPEATED = """
WITH scored AS (
    SELECT
        response_id,
        row_number() OVER (ORDER BY seeded('repeat', response_id), response_id) AS place,
        count(*) OVER () AS total
    FROM sentence_scores
    INNER JOIN sentences USING (response_id, segmentation_id)
    WHERE scorer_id = {scorer} AND segmenter = {segmenter}
)
SELECT response_id
FROM scored
ANTI JOIN (SELECT response_id FROM repeat_scores WHERE scorer_id = {scorer}) USING (response_id)
WHERE place <= least(ceil(total / 2), greatest({least}, ceil(total * {share}::DOUBLE)))
ORDER BY place
"""
LEAST_REPEATED = 16

Encode = Callable[[Iterable[Mapping[str, Any]]], Iterator[Encoded | ScoreResult]]
_Pending = Pending[Encoded, dict[str, Any]]  # rows: those of `tokens`


@dataclass
class ScoreRun:
    """What is scored, how, and under which name.

    `encode` turns rows of response_id, question, thinking and answer into requests; with
    `sampled` they also have prompt_ids, token_ids and token_bytes as they were sampled.
    `repeat` is the share of the scored responses that is scored a second time, to measure noise;
    `retry`, if it is `failed`, takes up what came to nothing before.
    """

    engine: Engine
    encode: Encode
    scorer: Scorer
    name: str
    tokenizer_path: str | None = None
    echo: tuple[float, ...] = ()
    where: str | None = None
    only_eligible: bool = True
    filters: Sequence[Filter] = ()  # run first where only eligible responses are scored
    sampled: bool = False
    repeat: float = 0.01
    retry: str | None = None

    @property
    def scorer_id(self) -> str:
        """Id of the scoring context."""
        return scorer_id(self.scorer)

    def scorer_row(self) -> dict[str, Any]:
        """Its row of `scorers`."""
        return scorer_row(self.scorer, self.name, self.tokenizer_path)

    def portable(self) -> ScoreRun:
        """The run without its engine, as it can be sent to other processes."""
        return replace(self, engine=None, encode=None)  # type: ignore[arg-type]


def score(
    catalog: Catalog,
    what: ScoreRun,
    progress: Progress = lambda counts: None,
    committed: Progress = lambda counts: None,
    executor: Executor | None = None,
) -> Counter[str]:
    """Score what is missing; commits every minute, so an interruption loses a minute at most.

    A response that cannot be scored as it is (over the context, altered by the template, not
    finite) is kept in `attempts` with the reason, and is tried again only with `retry`. `progress`
    is called when the work begins, for every result and while the engine works, `committed` after
    each commit. Returns counts by name.
    """
    segment_missing(catalog, executor=executor)
    if what.only_eligible:
        filter_missing(catalog, what.filters, executor=executor)
    chosen = executor or Local(what)
    items = _missing(catalog, what)
    asked = {name: getattr(what, name) for name in ("name", "where", "scorer_id", "echo")}
    configuration = {**scorer_fields(what.scorer), **asked, "wanted": len(items)}
    with Run(catalog.store, "score", configuration) as run:
        run.append({"scorers": to_table("scorers", [what.scorer_row()])})
        run.counts["wanted"] = len(items)
        if what.only_eligible:
            every = replace(what, only_eligible=False)
            if left := len(_missing(catalog, every)) - len(items):
                run.counts["not eligible"] = left
        if what.retry is None:
            again = replace(what, retry="failed")
            if left := len(_missing(catalog, again)) - len(items):
                run.counts["failed before"] = left

        def commit(batch: Batch) -> None:
            executors.commit(run, batch, "tokens")
            run.event("batch")
            committed(run.counts)

        def tell() -> None:
            progress(run.counts)

        tell()
        commit_all(chosen.run(_scored, catalog, items, run, READ_ROWS), commit, tell)
        if what.repeat:
            _repeat(catalog.refresh(), what, run, chosen, tell)
    catalog.refresh()
    return run.counts


def changes(catalog: Catalog, what: ScoreRun) -> dict[str, tuple[Any, Any]]:
    """Settings in which a new scorer differs from that of the newest run of its name.

    Each makes another scorer: what was scored before does not count for it.
    """
    if any(row["scorer_id"] == what.scorer_id for row in catalog.scorers()):
        return {}
    now = scorer_fields(what.scorer)
    for then in catalog.configurations("score"):
        if then.get("name") == what.name:
            return {k: (then.get(k), v) for k, v in now.items() if then.get(k) != v}
    return {}


def _repeat(
    catalog: Catalog, what: ScoreRun, run: Run, executor: Executor, tell: Callable[[], None]
) -> None:
    """Score a few responses again in other batches, and keep the sums beside the first ones."""
    with closing(_session(catalog)) as session:
        wanted = _REPEATED.format(
            scorer=quote(what.scorer_id),
            segmenter=quote(SEGMENTER),
            least=LEAST_REPEATED,
            share=what.repeat,
        )
        items = Items(session.table(wanted))

    def commit(batch: Batch) -> None:
        run.append(batch.tables)
        run.event("batch")

    work, notes = partial(_scored, again=True), Notes(run.run_id, run.stage)  # it counts once
    commit_all(executor.run(work, catalog, items, notes, READ_ROWS), commit, tell)


def dry_run(catalog: Catalog, what: ScoreRun) -> Estimate:
    """What `score` would do, with the rate measured on a few of the responses; writes nothing."""
    items = _missing(catalog, what, judged=False)
    notes = Notes("", "score")
    pending: _Pending = Pending()
    with closing(_session(catalog)) as session:
        found = estimate(what.engine, _requests(session, what, items, pending, notes))
        found.refused.update(row["reason"].partition(":")[0] for row in pending.failed)
        if what.only_eligible:
            session.load("_wanted", items.table.schema, items.table.to_batches())
            (unfiltered,) = session.rows(
                "SELECT count(*) AS n FROM _wanted ANTI JOIN flags USING (response_id)"
            )
            found.unfiltered = unfiltered["n"]
    return found


def _session(catalog: Catalog) -> Session:
    return catalog.session(settings={"require_scores": False})


def _missing(catalog: Catalog, what: ScoreRun, *, judged: bool = True) -> Items:
    """The responses to score; without `judged`, those without a verdict count as eligible."""
    conditions = ["eligible"] if what.only_eligible else ["true"]
    if not judged:
        conditions = [f"({conditions[0]} OR response_id NOT IN (SELECT response_id FROM flags))"]
    with closing(_session(catalog)) as session:
        if what.where:
            # one condition, and no more
            session.query(f"SELECT response_id FROM candidates WHERE ({what.where})")
            conditions.append(f"({what.where})")
        condition = " AND ".join(conditions)
        wanted = _MISSING.format(
            scorer=quote(what.scorer_id), condition=condition, retry=what.retry == "failed"
        )
        return Items(session.table(wanted))


def _scored(
    what: ScoreRun,
    catalog: Catalog,
    items: Iterable[Item],
    notes: Notes,
    *,
    again: bool = False,
) -> Batches:
    """The work: log-probs of responses, and their sums; `again`: sums for `repeat_scores` alone."""
    pending: _Pending = Pending()
    with closing(_session(catalog)) as session:
        yield from executors.gathered(
            what.engine.score(_requests(session, what, items, pending, notes)),
            lambda result: _take(result, what, pending, notes),
            pending.due,
            lambda: pending.batch(lambda: _tables(session, pending, notes, again)),
        )


def _requests(
    session: Session, what: ScoreRun, items: Iterable[Item], pending: _Pending, notes: Notes
) -> Iterator[ScoreRequest]:
    """Requests for the wanted responses; what cannot be encoded becomes a failure."""
    for item in what.encode(_rows(session, what, items)):
        if isinstance(item, ScoreResult):
            _fail(item.key, item.error or "failed", what, pending, notes)
            continue
        notes.counts["control_tokens"] += bool(item.control)
        pending.under_way[item.request.key] = item
        yield item.request


def _rows(session: Session, what: ScoreRun, items: Iterable[Item]) -> Iterator[dict[str, Any]]:
    columns = ", t.prompt_ids, t.token_ids, t.token_bytes, t.sections" if what.sampled else ""
    for some in chunks(items, READ_ROWS):
        ids, join = quoted(some), ""
        if what.sampled:
            join = (
                " LEFT JOIN (SELECT t.* FROM tokens AS t INNER JOIN scorers AS c USING (scorer_id)"
                f" WHERE c.tokenizer = {quote(what.scorer.tokenizer or '')}"
                f" AND t.prompt_ids IS NOT NULL AND t.response_id IN ({ids})"
                " QUALIFY row_number() OVER (PARTITION BY t.response_id ORDER BY t.scorer_id) = 1)"
                " AS t ON r.response_id = t.response_id"
            )
        rows = session.rows(
            f"SELECT r.response_id, q.text AS question, r.thinking, r.answer{columns}"
            f" FROM responses AS r INNER JOIN questions AS q USING (question_id){join}"
            f" WHERE r.response_id IN ({ids})"
        )
        place = {item[0]: i for i, item in enumerate(some)}
        yield from sorted(rows, key=lambda row: place[row["response_id"]])


def _take(result: ScoreResult, what: ScoreRun, pending: _Pending, notes: Notes) -> None:
    encoded = pending.under_way.pop(result.key)
    if result.logprobs is None:
        _fail(result.key, result.error or "failed", what, pending, notes)
        return
    tokens = {
        "response_id": result.key,
        "scorer_id": what.scorer_id,
        "token_ids": encoded.request.ids[encoded.request.start :],
        "prompt_ids": None,
        "token_bytes": encoded.token_bytes,
        "logprobs": result.logprobs,
        "sections": encoded.sections,
        "n_tokens": len(result.logprobs),
        "has_logprobs": True,
        "run_id": notes.run_id,
    }
    pending.finish((result.key,), tokens, 16 * len(result.logprobs), notes)
    notes.counts["prompt_tokens"] += encoded.request.start
    notes.counts["scored_tokens"] += len(result.logprobs)


def _fail(key: str, why: str, what: ScoreRun, pending: _Pending, notes: Notes) -> None:
    pending.fail((key,), notes.attempt(key, what.scorer_id, why), notes)


def _numbered(session: Session, failed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The failures with their numbers among the tries of their responses."""
    if not failed:
        return []
    before = session.rows(
        "SELECT response_id, max(attempt) + 1 AS tries FROM attempts WHERE stage = 'score'"
        f" AND scorer_id = {quote(failed[0]['scorer_id'])}"
        f" AND response_id IN ({quoted([(row['response_id'],) for row in failed])}) GROUP BY ALL"
    )
    tries = {row["response_id"]: row["tries"] for row in before}
    return [{**row, "attempt": tries.get(row["response_id"], 0)} for row in failed]


def _tables(session: Session, pending: _Pending, notes: Notes, again: bool) -> dict[str, pa.Table]:
    """Finished rows with their sentence sums, and why others failed."""
    tokens = to_table("tokens", pending.done)
    scored = _sentence_sums(session, tokens, notes)
    if again:
        return {"repeat_scores": scored.rows}
    failed = to_table("attempts", _numbered(session, pending.failed))
    failed = pa.concat_tables([failed, failures(scored.failed, notes)])
    return {"tokens": tokens, "sentence_scores": scored.rows, "attempts": failed}


def _sentence_sums(session: Session, tokens: pa.Table, notes: Notes) -> Scored:
    """Log-prob sums per sentence for rows of `tokens`."""
    ids = ", ".join(map(quote, tokens["response_id"].to_pylist()))
    texts = session.table(
        "SELECT response_id, thinking, answer, segmentation_id, byte_end"
        " FROM responses INNER JOIN sentences USING (response_id)"
        f" WHERE segmenter = {quote(SEGMENTER)} AND response_id IN ({ids})"
    )
    return score_rows(texts, tokens, lambda scorer: None, notes.run_id)
