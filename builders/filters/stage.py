"""The filter stage: verdicts that are missing, at the filters' present versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from builders.filters import FILTERS, Candidate, Filter, make
from builders.run import Run, to_table
from builders.segment.stage import segment_missing
from dasd_data.catalog import Catalog
from dasd_data.errors import UnknownNameError, UsageError
from dasd_data.parameters import quote
from dasd_data.session import Session

ROWS = 1_000  # texts of up to 64K tokens, read at a time
HARMONY_START = 200_006  # <|start|>: every harmony prompt begins with it

Progress = Callable[[int, int], None]


def configured(
    catalog: Catalog, only: Sequence[str] = (), tokenizer: str | None = None
) -> list[Filter]:
    """The filters to run, with the settings of `dasd.toml`.

    `length` counts with the tokenizer of its settings, else with `tokenizer`, else with that of
    the scorer named student. Raises UsageError where there is none, UnknownNameError for an
    unknown filter.
    """
    settings = catalog.config.filters
    made = []
    for name in (*settings, *only):
        if name not in FILTERS:
            raise UnknownNameError("filter", name, FILTERS)
    for name in only or FILTERS:
        config = dict(settings.get(name, {}))
        if name == "length" and "tokenizer" not in config:
            config["tokenizer"] = tokenizer or students_tokenizer(catalog)
            if config["tokenizer"] is None:
                raise UsageError(
                    "the length filter counts with the student's tokenizer, and none is known: "
                    'pass --tokenizer PATH_OR_ID, set [filters] length = { tokenizer = "…" } in '
                    "dasd.toml, or run `dasd-data score --model … --name student`, which filters "
                    "first"
                )
        made.append(make(name, config))
    return made


def students_tokenizer(catalog: Catalog) -> str | None:
    """Where the tokenizer of the scorer named student is, if there is one."""
    target = catalog.config.scorers.get("student", "student")
    for row in catalog.scorers():
        if row["tokenizer_path"] and target in {row["name"], row["model"], row["scorer_id"]}:
            return str(row["tokenizer_path"])
    return None


def filter_missing(
    catalog: Catalog,
    filters: Iterable[Filter],
    progress: Progress = lambda done, total: None,
) -> Counter[str]:
    """Judge every response that has no verdict of a filter at its version.

    Returns counts: `passed: NAME` and `failed: NAME`.
    """
    segment_missing(catalog)
    counts: Counter[str] = Counter()
    chosen = {f.name: f for f in filters}
    if not chosen:
        return counts
    session = catalog.session()
    session.execute(_missing_sql(chosen))
    total = session.rows("SELECT count(*) AS n FROM _wanted")[0]["n"]
    if total or any(catalog.filter_versions().get(n) != f.version for n, f in chosen.items()):
        versions = {name: f.version for name, f in chosen.items()}
        with Run(catalog.store, "filter", {"filters": versions}) as run:
            for start in range(0, total, ROWS):
                rows = _read(session, start)
                run.append({"flags": to_table("flags", _flags(rows, chosen, run))})
                progress(min(start + ROWS, total), total)
        counts = run.counts
    session.close()
    catalog.refresh()
    return counts


def _missing_sql(filters: Mapping[str, Filter]) -> str:
    wanted = ", ".join(f"({quote(n)}, {quote(f.version)})" for n, f in filters.items())
    return f"""
    CREATE OR REPLACE TEMP TABLE _wanted AS
    WITH missing AS (
        SELECT r.response_id, f.name
        FROM responses AS r
        CROSS JOIN (VALUES {wanted}) AS f (name, version)
        ANTI JOIN flags AS g
            ON r.response_id = g.response_id AND f.name = g.filter AND f.version = g.version
    )
    SELECT response_id, list(name) AS filters, row_number() OVER (ORDER BY response_id) AS n
    FROM missing
    GROUP BY response_id
    """


def _read(session: Session, start: int) -> list[dict[str, Any]]:
    """Candidates with, for whole harmony completions, their token ids."""
    return session.rows(
        f"""
        SELECT
            r.response_id, w.filters, q.text AS question, r.thinking, r.answer, r.finish_reason,
            n.byte_end, n.kind, n.section, t.token_ids
        FROM _wanted AS w
        INNER JOIN responses AS r USING (response_id)
        INNER JOIN questions AS q USING (question_id)
        LEFT JOIN sentences AS n
            ON r.response_id = n.response_id AND n.segmenter = getvariable('segmenter')
        LEFT JOIN (
            SELECT t.response_id, t.token_ids
            FROM tokens AS t
            WHERE t.prompt_ids[1] = {HARMONY_START}
            QUALIFY row_number() OVER (PARTITION BY t.response_id ORDER BY t.scorer_id) = 1
        ) AS t ON r.response_id = t.response_id
        WHERE w.n BETWEEN {start + 1} AND {start + ROWS}
        ORDER BY w.n
        """
    )


def _flags(
    rows: Sequence[Mapping[str, Any]], filters: Mapping[str, Filter], run: Run
) -> list[dict[str, Any]]:
    flags = []
    for name, judge in filters.items():
        mine = [row for row in rows if name in row["filters"]]
        verdicts = judge.check([_candidate(row) for row in mine])
        for row, verdict in zip(mine, verdicts, strict=True):
            run.counts[f"{'passed' if verdict.passed else 'failed'}: {name}"] += 1
            flags.append(
                {
                    "response_id": row["response_id"],
                    "filter": name,
                    "version": judge.version,
                    "passed": verdict.passed,
                    "value": verdict.value,
                    "evidence": verdict.evidence,
                    "run_id": run.run_id,
                }
            )
    return flags


def _candidate(row: Mapping[str, Any]) -> Candidate:
    spans = None
    if row["byte_end"] is not None:
        spans = tuple(np.asarray(row[name], np.int32) for name in ("byte_end", "kind", "section"))
    return Candidate(
        row["response_id"],
        row["question"],
        row["thinking"],
        row["answer"],
        row["finish_reason"],
        row["token_ids"],
        spans,  # type: ignore[arg-type]
    )
