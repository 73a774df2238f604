"""The segment stage: sentences and sentence scores that are missing, for the present segmenter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import cache, partial
from typing import Any

import pyarrow as pa

from builders.executor import (
    Batch,
    Batches,
    Executor,
    Item,
    Items,
    Local,
    Work,
    chunks,
    commit_all,
    quoted,
)
from builders.run import Notes, Run, to_table
from builders.segment import SEGMENTER, others
from builders.segment.derive import TableOf, score_rows, sentence_rows
from builders.tokens.table import TokenTable
from dasd_data.catalog import Catalog
from dasd_data.errors import DasdError
from dasd_data.parameters import quote

TEXT_ROWS, SCORE_ROWS = 2_000, 500  # rows at a time: texts, and token lists of up to 64K entries

Progress = Callable[[int, int], None]

_MISSING_SENTENCES = """
SELECT response_id
FROM responses
ANTI JOIN (SELECT response_id FROM sentences WHERE segmenter = {segmenter}) USING (response_id)
WHERE {condition}
ORDER BY response_id
"""
# The questions that a robustness card looks at first.
_FIRST_QUESTIONS = """question_id IN (
    SELECT question_id FROM questions
    ORDER BY seeded('robustness', question_id), question_id LIMIT {questions}
)"""
_MISSING_SCORES = """
SELECT t.response_id, t.scorer_id, coalesce(a.tries, 0) AS tries
FROM tokens AS t
INNER JOIN responses AS r USING (response_id)
INNER JOIN sentences AS n ON t.response_id = n.response_id AND n.segmenter = {segmenter}
ANTI JOIN sentence_scores AS s
    ON t.response_id = s.response_id
    AND t.scorer_id = s.scorer_id
    AND n.segmentation_id = s.segmentation_id
LEFT JOIN (
    SELECT response_id, scorer_id, count(*) AS tries
    FROM attempts WHERE stage = 'segment' GROUP BY ALL
) AS a ON t.response_id = a.response_id AND t.scorer_id = a.scorer_id
WHERE t.has_logprobs AND (a.tries IS NULL OR {retry})
ORDER BY t.response_id, t.scorer_id
"""


def segment_missing(
    catalog: Catalog,
    progress: Progress = lambda done, total: None,
    *,
    name: str | None = None,
    questions: int | None = None,
    retry: bool = False,
    executor: Executor | None = None,
) -> Counter[str]:
    """Segment responses without sentences, then sum log-probs where sums are missing.

    `name` is that of another segmenter (`others.SEGMENTERS`), whose sentences stand beside those
    of the usual one and are not used unless asked for; `questions` takes the first of a seeded
    order only. Log-probs that could not be aligned, as `attempts` has it, are left alone unless
    `retry` says otherwise. All files are checked, for the stages that begin with this one, too.
    Returns counts by name; nothing missing records no run.
    Raises DamagedFileError.
    """
    counts: Counter[str] = Counter()
    segmenter = others.other(name)[0] if name else SEGMENTER
    key = "other_segmenter" if name else "segmenter"  # the newest `segmenter` is the current one
    condition = "true" if questions is None else _FIRST_QUESTIONS.format(questions=int(questions))
    session = None
    for find, work, rows in (
        (_MISSING_SENTENCES, partial(_sentences, name), TEXT_ROWS),
        (_MISSING_SCORES, partial(_scores, segmenter), SCORE_ROWS),
    ):
        session = session or catalog.refresh().checked_session()
        wanted = find.format(segmenter=quote(segmenter), condition=condition, retry=retry)
        items = Items(session.table(wanted))
        if not len(items):
            continue
        session.close()
        session = None  # the next one sees what was added
        with Run(catalog.store, "segment", {key: segmenter}) as run:
            counts += _run(catalog, work, items, run, rows, executor or Local(), progress)
    if session:
        session.close()
    catalog.refresh()
    return counts


def _run(
    catalog: Catalog,
    work: Work,
    items: Items,
    run: Run,
    rows: int,
    executor: Executor,
    progress: Progress,
) -> Counter[str]:
    done = 0

    def commit(batch: Batch) -> None:
        nonlocal done
        run.append(batch.tables)
        done += len(batch.items)
        progress(done, len(items))

    commit_all(executor.run(work, catalog, items, run, rows), commit, lambda: None)
    return run.counts


def _sentences(
    name: str | None, what: Any, catalog: Catalog, items: Iterable[Item], notes: Notes
) -> Batches:
    """The work: sentences of responses (response_id,), by another segmenter where named."""
    other = others.other(name) if name else (None, None)
    with closing(catalog.session(settings={"require_scores": False})) as session:
        for some in chunks(items, TEXT_ROWS):
            texts = session.rows(
                "SELECT response_id, thinking, answer FROM responses"
                f" WHERE response_id IN ({quoted(some)})"
            )
            yield Batch({"sentences": sentence_rows(texts, notes.run_id, *other)}, some)


def _scores(
    segmenter: str, what: Any, catalog: Catalog, items: Iterable[Item], notes: Notes
) -> Batches:
    """The work: sums of log-probs of (response_id, scorer_id, earlier tries)."""
    table_of = token_tables(catalog)
    with closing(catalog.session(settings={"require_scores": False})) as session:
        for some in chunks(items, SCORE_ROWS):
            ids = quoted(some)
            texts = session.table(
                "SELECT response_id, thinking, answer, segmentation_id, byte_end"
                " FROM responses INNER JOIN sentences USING (response_id)"
                f" WHERE segmenter = {quote(segmenter)} AND response_id IN ({ids})"
            )
            pairs = ", ".join(f"({quote(r)}, {quote(s)})" for r, s, _ in some)
            tokens = session.table(
                "SELECT response_id, scorer_id, sections, token_ids, token_bytes, logprobs"
                f" FROM tokens WHERE response_id IN ({ids})"
                f" AND (response_id, scorer_id) IN ({pairs})"
            )
            scored = score_rows(texts, tokens, table_of, notes.run_id)
            failed = failures(scored.failed, notes, {(r, s): n for r, s, n in some})
            yield Batch({"sentence_scores": scored.rows, "attempts": failed}, some)


def failures(
    failed: dict[tuple[str, str], str],
    notes: Notes,
    tries: Mapping[tuple[str, str], int] | None = None,
) -> pa.Table:
    """Rows of `attempts` for token rows that have no sums, counted in the run.

    `tries` has how often it was tried before, where it was.
    """
    notes.counts["unaligned"] += len(failed)
    return to_table(
        "attempts",
        [
            notes.attempt(
                response, scorer, why, (tries or {}).get((response, scorer), 0), "segment"
            )
            for (response, scorer), why in failed.items()
        ],
    )


def token_tables(catalog: Catalog) -> TableOf:
    """A function from scorer_id to its token table, None where its tokenizer is not at hand."""
    paths = {
        row["scorer_id"]: row["tokenizer_path"]
        for row in catalog.scorers()
        if row["tokenizer_path"]
    }

    @cache
    def table_of(scorer: str) -> TokenTable | None:
        if scorer not in paths:
            return None
        try:
            return TokenTable.load(paths[scorer])
        except DasdError:
            return None

    return table_of
