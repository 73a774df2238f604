"""The segment stage: sentences and sentence scores that are missing, for the present segmenter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from builders.run import Run, to_table
from builders.segment import SEGMENTER, others
from builders.segment.derive import TableOf, score_rows, sentence_rows
from builders.tokens.table import TokenTable
from dasd_data.catalog import Catalog
from dasd_data.errors import DasdError
from dasd_data.parameters import quote
from dasd_data.session import Session

TEXT_ROWS, SCORE_ROWS = 2_000, 500  # rows at a time: texts, and token lists of up to 64K entries

Progress = Callable[[int, int], None]

_MISSING_SENTENCES = """
CREATE OR REPLACE TEMP TABLE _wanted AS
SELECT response_id, row_number() OVER () AS n
FROM responses
ANTI JOIN (SELECT response_id FROM sentences WHERE segmenter = {segmenter}) USING (response_id)
WHERE {condition}
"""
# The questions that a robustness card looks at first.
_FIRST_QUESTIONS = """question_id IN (
    SELECT question_id FROM questions
    ORDER BY seeded('robustness', question_id), question_id LIMIT {questions}
)"""
_MISSING_SCORES = """
CREATE OR REPLACE TEMP TABLE _wanted AS
SELECT t.response_id, t.scorer_id, coalesce(a.tries, 0) AS tries, row_number() OVER () AS n
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
"""


def segment_missing(
    catalog: Catalog,
    progress: Progress = lambda done, total: None,
    *,
    name: str | None = None,
    questions: int | None = None,
    retry: bool = False,
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
    segmenter, cut = others.other(name) if name else (SEGMENTER, None)
    key = "other_segmenter" if name else "segmenter"  # the newest `segmenter` is the current one
    condition = "true" if questions is None else _FIRST_QUESTIONS.format(questions=int(questions))
    session = None
    for find, work in ((_MISSING_SENTENCES, _sentences), (_MISSING_SCORES, _scores)):
        session = session or catalog.refresh().checked_session()
        session.execute(find.format(segmenter=quote(segmenter), condition=condition, retry=retry))
        total = session.rows("SELECT count(*) AS n FROM _wanted")[0]["n"]
        if total:
            with Run(catalog.store, "segment", {key: segmenter}) as run:
                done = 0
                for size in work(catalog, session, run, total, segmenter, cut):
                    done += size
                    progress(done, total)
            counts += run.counts
            session.close()
            session = None  # the next one sees what was added
    if session:
        session.close()
    catalog.refresh()
    return counts


def _sentences(
    catalog: Catalog, session: Session, run: Run, total: int, segmenter: str, cut: Any
) -> Iterator[int]:
    for start in range(0, total, TEXT_ROWS):
        texts = session.rows(
            "SELECT response_id, thinking, answer FROM responses INNER JOIN _wanted"
            f" USING (response_id) WHERE n BETWEEN {start + 1} AND {start + TEXT_ROWS}"
        )
        run.append({"sentences": sentence_rows(texts, run.run_id, segmenter, cut)})
        yield len(texts)


def _scores(
    catalog: Catalog, session: Session, run: Run, total: int, segmenter: str, cut: Any
) -> Iterator[int]:
    table_of = token_tables(catalog)
    for start in range(0, total, SCORE_ROWS):
        chunk = f"n BETWEEN {start + 1} AND {start + SCORE_ROWS}"
        texts = session.table(
            "SELECT response_id, thinking, answer, segmentation_id, byte_end"
            " FROM responses INNER JOIN sentences USING (response_id)"
            f" WHERE segmenter = {quote(segmenter)}"
            f" AND response_id IN (SELECT response_id FROM _wanted WHERE {chunk})"
        )
        tokens = session.table(
            "SELECT t.response_id, t.scorer_id, sections, token_ids, token_bytes, logprobs"
            " FROM tokens AS t INNER JOIN _wanted AS w USING (response_id, scorer_id)"
            f" WHERE {chunk}"
        )
        scored = score_rows(texts, tokens, table_of, run.run_id)
        again = session.rows(f"SELECT * FROM _wanted WHERE tries > 0 AND {chunk}")
        tries = {(row["response_id"], row["scorer_id"]): row["tries"] for row in again}
        failed = failures(scored.failed, run, tries)
        run.append({"sentence_scores": scored.rows, "attempts": failed})
        yield len(tokens)


def failures(
    failed: dict[tuple[str, str], str], run: Run, tries: Mapping[tuple[str, str], int] | None = None
) -> pa.Table:
    """Rows of `attempts` for token rows that have no sums, counted in the run.

    `tries` has how often it was tried before, where it was.
    """
    run.counts["unaligned"] += len(failed)
    return to_table(
        "attempts",
        [
            {
                "response_id": response,
                "stage": "segment",
                "scorer_id": scorer,
                "attempt": (tries or {}).get((response, scorer), 0),
                "reason": " ".join(why.split())[:500],
                "run_id": run.run_id,
            }
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
