"""The robustness card: how the chosen set moves when what should not matter is changed.

Every row is the selection itself under another setting, over the same questions: what
`dasd-data build --set …` would choose. `fast` measures on a seeded sample of the questions, with
budgets in proportion; `full` on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_data import sqlfiles
from dasd_data.bench import Bench, Row, open_bench, where_covered
from dasd_data.catalog import Catalog
from dasd_data.pool import materialize
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile
from dasd_data.worth import NO_SCORES

SAMPLE = 2_000  # questions of `fast`: a share of them is known to 1.1% (one standard error)
BETAS, MIN_TOKENS = (0.05, 0.1, 0.2), (1, 4, 8)
_DIGITS = "0123456789abcdef"
TIES = 2  # other seeds of the order among equals


def inputs(catalog: Catalog) -> dict[str, list[str]]:
    """SHA-256 of the files that a report depends on and a build's rows do not, by table."""
    return {t: sorted(p.stem for p in catalog.files[t]) for t in ("repeat_scores", "scorers")}


def holds(report: Mapping[str, Any] | None, catalog: Catalog, mode: str) -> bool:
    """Whether `measure` would give the report of a build anew; None is that of `off`."""
    if report is None or mode == "off":
        return report is None and mode == "off"
    return (report["mode"], report["files"]) == (mode, inputs(catalog))


def measure(
    catalog: Catalog, view: SqlFile, settings: Mapping[str, Any] | None, mode: str
) -> dict[str, Any]:
    """Measure how the selection behind a view moves. Needs a view that uses `selection`.

    Returns `mode`, `files` (`inputs`), `questions` (measured) `of` (all), `rows` and `noise`. A row
    has `varied` and `to`, and either counts (`base` chosen by the build, `chosen` under the
    variation, `common`, `kept` = common / base, `jaccard`, `domains` with the same) or
    `not_measured` and `command`.
    """
    session = catalog.session(view, settings)
    try:
        limit = SAMPLE if mode == "fast" else None
        bench = open_bench(session, catalog.declared(view), limit)
        noise: list[Row] = []
        _orders(bench)
        if bench.values["rank_by"] not in NO_SCORES and bench.values["student"]:
            _thresholds(bench)
            noise = _noise(bench)
            _segmenters(bench)
            _students(bench)
        return {
            "mode": mode,
            "files": inputs(catalog),
            "questions": bench.sampled,
            "of": bench.total,
            "rows": bench.rows,
            "noise": noise,
        }
    finally:
        session.close()


def _orders(bench: Bench) -> None:
    """Other orders of the same pool, which is kept meanwhile."""
    bench.set({})
    materialize(bench.session)
    bench.rebase()
    for n in range(1, TIES + 1):
        seed = bench.values["seed"] + n
        bench.measure("ties", f"tie_seed={seed}", {"tie_seed": seed})
    for ranking in NO_SCORES:
        if bench.values["rank_by"] != ranking:
            bench.measure("rank_by", ranking, {"rank_by": ranking})
    pool = next(view.sql for view in sqlfiles.base_views() if view.name == "pool")
    bench.session.execute(f"CREATE OR REPLACE VIEW pool AS {pool}")


def _thresholds(bench: Bench) -> None:
    """Other thresholds and another p: nothing but the query changes."""
    for name, others in (("beta", BETAS), ("min_tokens", MIN_TOKENS)):
        for value in others:
            if value != bench.values[name]:
                bench.measure(name, f"{value:g}", {name: value})
    if bench.values["normalization"] == "byte":
        bench.measure("normalization", "token", {"normalization": "token"})
        return
    bench.set({})
    (length,) = bench.session.rows(
        "SELECT sum(byte_end - byte_start)::DOUBLE / sum(n_teacher) AS unit FROM sentence_pairs"
        " WHERE least(n_teacher, n_student) >= getvariable('min_tokens')"
    )
    if length["unit"]:
        unit = round(length["unit"], 2)
        settings = {"normalization": "byte", "bytes_per_token": unit}
        bench.measure("normalization", f"byte, bytes_per_token={unit:g}", settings)


def _noise(bench: Bench) -> list[Row]:
    """What scoring twice showed, and the selection from scores with noise of that size."""
    bench.set({})
    names = {bench.values["teacher"]: "teacher", bench.values["student"]: "student"}
    found = bench.session.rows(sqlfiles.report("robust_noise"))
    for row in found:
        row["scorer"] = names[row.pop("scorer_id")]
    seen = {row["scorer"]: row["sd_logprob"] for row in found}
    if "student" not in seen:
        bench.unmeasured(
            "noise",
            "no response was scored twice by the student",
            f"dasd-data score --model {_model(bench)} --name student",
        )
        return found
    session = bench.session
    noise = {scorer: seen[name] for scorer, name in names.items() if name in seen}
    rng = np.random.default_rng(bench.values["seed"])
    schema = session.table("SELECT * FROM _sentence_scores LIMIT 0").schema
    parts = (_jittered(_part(session, n), noise, rng) for n in range(len(_DIGITS) + 1))
    session.load("_noisy", schema, (batch for part in parts for batch in part.to_batches()))
    session.execute("CREATE OR REPLACE VIEW sentence_scores AS SELECT * FROM _noisy")
    sizes = ", ".join(f"{name} {sd:.2g}" for name, sd in sorted(seen.items()))
    bench.measure("noise", f"sd per token in nats: {sizes}", {})
    session.execute("CREATE OR REPLACE VIEW sentence_scores AS SELECT * FROM _sentence_scores")
    session.execute("DROP TABLE _noisy")
    return found


def _part(session: Session, number: int) -> pa.Table:
    """The scores of a 16th of the responses, by the last digit of their ids: all are too many."""
    return session.table(
        f"SELECT * FROM _sentence_scores WHERE instr('{_DIGITS}', right(response_id, 1)) = {number}"
        " ORDER BY response_id, scorer_id, segmentation_id"
    )


def _jittered(scores: pa.Table, noise: dict[str, float], rng: np.random.Generator) -> pa.Table:
    """Sums plus the scorer's noise * sqrt(n_tokens) * N(0, 1): errors of tokens add up."""
    if not len(scores):
        return scores
    scores = scores.combine_chunks()
    sums, tokens = (scores[c].combine_chunks() for c in ("logprob_sum", "n_tokens"))
    lengths = np.diff(sums.offsets.to_numpy())
    sd = np.array([noise.get(scorer, 0.0) for scorer in scores["scorer_id"].to_pylist()])
    values = sums.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    n = np.maximum(tokens.flatten().to_numpy(zero_copy_only=False), 0)
    noisy = values + np.repeat(sd, lengths) * np.sqrt(n) * rng.standard_normal(values.size)
    noisy = pa.array(np.minimum(noisy, 0).astype(np.float32))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    column = pa.ListArray.from_arrays(offsets, noisy)
    at = scores.schema.get_field_index("logprob_sum")
    return scores.set_column(at, "logprob_sum", column)


def _segmenters(bench: Bench) -> None:
    others = bench.session.rows(
        "SELECT DISTINCT segmenter FROM _sentences"
        " WHERE segmenter <> getvariable('segmenter') ORDER BY segmenter"
    )
    measured = [
        where_covered(bench, "segmenter", row["segmenter"], {"segmenter": row["segmenter"]})
        for row in others
    ]
    if not any(measured):
        bench.unmeasured(
            "segmenter",
            "the catalog has the sentences of one segmenter",
            "dasd-data segment --segmenter lines",
        )


def _students(bench: Bench) -> None:
    bench.set({})
    found = {"template": 0, "second student": 0}
    for row in bench.session.rows(sqlfiles.report("robust_scorers")):
        to = {
            "template": f"system prompt {row['system_prompt']!r}, template {row['chat_template']}",
            "engine": f"{row['engine']}, {row['dtype']}",
            "second student": row["model"],
        }[row["varied"]]
        if where_covered(bench, row["varied"], to, {"student": row["scorer_id"]}):
            found[row["varied"]] = found.get(row["varied"], 0) + 1
    if not found["template"]:
        bench.unmeasured(
            "template",
            "the student was scored under one prompt",
            f"dasd-data score --model {_model(bench)} --name student-system"
            ' --system "You are a helpful assistant."',
        )
    if not found["second student"]:
        bench.unmeasured(
            "second student",
            "one student was scored",
            "dasd-data score --model OTHER --name student-2",
        )


def _model(bench: Bench) -> str:
    rows = bench.session.rows(
        "SELECT model FROM scorers WHERE scorer_id = getvariable('student') LIMIT 1"
    )
    return str(rows[0]["model"]) if rows else "MODEL"
