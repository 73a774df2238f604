"""The filter stage: verdicts that are missing, at the filters' present versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from builders.executor import (
    Batch,
    Batches,
    Executor,
    Item,
    Items,
    Local,
    chunks,
    commit_all,
    quoted,
)
from builders.filters import FILTERS, Candidate, Filter, make
from builders.run import Notes, Run, to_table
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
    executor: Executor | None = None,
) -> Counter[str]:
    """Judge every response that has no verdict of a filter at its version.

    Returns counts: `passed: NAME` and `failed: NAME`.
    """
    segment_missing(catalog, executor=executor)
    chosen = {f.name: f for f in filters}
    if not chosen:
        return Counter()
    with closing(catalog.session()) as session:
        items = Items(session.table(_missing_sql(chosen)))
    versions = {name: f.version for name, f in chosen.items()}
    if not len(items) and versions.items() <= catalog.filter_versions().items():
        return Counter()
    done = 0

    def commit(batch: Batch) -> None:
        nonlocal done
        run.append(batch.tables)
        done += len(batch.items)
        progress(done, len(items))

    with Run(catalog.store, "filter", {"filters": versions}) as run:
        work = partial(_verdicts, chosen)
        commit_all((executor or Local()).run(work, catalog, items, run, ROWS), commit, lambda: None)
    catalog.refresh()
    return run.counts


def _missing_sql(filters: Mapping[str, Filter]) -> str:
    wanted = ", ".join(f"({quote(n)}, {quote(f.version)})" for n, f in filters.items())
    return f"""
    WITH missing AS (
        SELECT r.response_id, f.name
        FROM responses AS r
        CROSS JOIN (VALUES {wanted}) AS f (name, version)
        ANTI JOIN flags AS g
            ON r.response_id = g.response_id AND f.name = g.filter AND f.version = g.version
    )
    SELECT response_id, string_agg(name, ',' ORDER BY name) AS filters
    FROM missing
    GROUP BY response_id
    ORDER BY response_id
    """


def _verdicts(
    filters: Mapping[str, Filter],
    what: Any,
    catalog: Catalog,
    items: Iterable[Item],
    notes: Notes,
) -> Batches:
    """The work: verdicts on (response_id, names of filters)."""
    with closing(catalog.session()) as session:
        for some in chunks(items, ROWS):
            flags = _flags(_read(session, dict(some)), filters, notes)
            yield Batch({"flags": to_table("flags", flags)}, some)


def _read(session: Session, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """Candidates with, for whole harmony completions, their token ids; and the filters wanted."""
    ids = quoted(wanted.items())
    rows = session.rows(
        f"""
        SELECT
            r.response_id, q.text AS question, r.thinking, r.answer, r.finish_reason,
            n.byte_end, n.kind, n.section, t.token_ids
        FROM responses AS r
        INNER JOIN questions AS q USING (question_id)
        LEFT JOIN sentences AS n
            ON r.response_id = n.response_id AND n.segmenter = getvariable('segmenter')
        LEFT JOIN (
            SELECT t.response_id, t.token_ids
            FROM tokens AS t
            WHERE t.prompt_ids[1] = {HARMONY_START} AND t.response_id IN ({ids})
            QUALIFY row_number() OVER (PARTITION BY t.response_id ORDER BY t.scorer_id) = 1
        ) AS t ON r.response_id = t.response_id
        WHERE r.response_id IN ({ids})
        ORDER BY r.response_id
        """
    )
    return [{**row, "filters": wanted[row["response_id"]].split(",")} for row in rows]


def _flags(
    rows: Sequence[Mapping[str, Any]], filters: Mapping[str, Filter], notes: Notes
) -> list[dict[str, Any]]:
    flags = []
    for name, judge in filters.items():
        mine = [row for row in rows if name in row["filters"]]
        verdicts = judge.check([_candidate(row) for row in mine])
        for row, verdict in zip(mine, verdicts, strict=True):
            notes.counts[f"{'passed' if verdict.passed else 'failed'}: {name}"] += 1
            flags.append(
                {
                    "response_id": row["response_id"],
                    "filter": name,
                    "version": judge.version,
                    "passed": verdict.passed,
                    "value": verdict.value,
                    "evidence": verdict.evidence,
                    "run_id": notes.run_id,
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
