"""The robustness card: how the chosen set moves when what should not matter is changed.

Every row is the selection itself under another setting, over the same questions: what
`dasd-data build --set …` would choose. `fast` measures on a seeded sample of the questions, with
budgets in proportion; `full` on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from dasd_data import sqlfiles
from dasd_data.catalog import Catalog
from dasd_data.explain import materialize
from dasd_data.parameters import Parameter, Variables
from dasd_data.session import Session
from dasd_data.sqlfiles import SqlFile
from dasd_data.worth import NO_SCORES

MODES = ("full", "fast")
SAMPLE = 2_000  # questions of `fast`: a share of them is known to 1.1% (one standard error)
BETAS, MIN_TOKENS = (0.05, 0.1, 0.2), (1, 4, 8)
TIES = 2  # other seeds of the order among equals

Row = dict[str, Any]

MEANING = {
    "rank_by": "another ranking, no model asked: what the selection is worth is what it differs by",
    "ties": "another seeded order among candidates of equal rank",
    "beta": "difference of p above which a sentence is the teacher's or the student's",
    "min_tokens": "sentences shorter than this are not counted",
    "normalization": "p per byte in place of per token, so that tokenizers do not matter",
    "segmenter": "sentences cut by other rules",
    "noise": "scores with the noise that scoring a second time in other batches shows",
    "template": "the same student under another chat template or system prompt",
    "engine": "the same student and prompt in another precision or engine",
    "second student": "scored by another model",
}


@dataclass
class _Bench:
    """A session over the sample's rows in memory, where the selection runs again and again."""

    session: Session
    declared: Mapping[str, Parameter]
    values: dict[str, Any]
    total: int  # questions there are
    sampled: int = 0
    rows: list[Row] = field(default_factory=list)

    def set(self, settings: Mapping[str, Any]) -> None:
        """The build's parameters but for `settings`, with the budget in proportion."""
        values = {**self.values, **settings}
        (count,) = self.session.rows("SELECT count(*) AS n FROM _universe")
        if values["budget"] is not None and count["n"] < self.total:
            share = count["n"] / self.total
            values["budget"] = {d: ceil(n * share) for d, n in values["budget"].items()}
        variables = Variables()
        variables.set_values(self.declared, values)
        self.session.use(variables)

    def rebase(self) -> int:
        """Choose as the build does from the present questions; returns their number."""
        self.set({})
        self.session.execute(
            "CREATE OR REPLACE TABLE _base AS SELECT response_id, domain FROM selection"
        )
        return int(self.session.rows("SELECT count(*) AS n FROM _universe")[0]["n"])

    def measure(self, varied: str, to: str, settings: Mapping[str, Any]) -> None:
        """Add the row of one variation over the present questions."""
        self.set(settings)
        moved = self.session.rows(sqlfiles.report("robust_moved"))
        count = self.session.rows("SELECT count(*) AS n FROM _universe")[0]["n"]
        self.rows.append({"varied": varied, "to": to, "questions": count, **_overlap(moved)})

    def unmeasured(self, varied: str, why: str, command: str) -> None:
        """Add a row that says what would make it measurable."""
        self.rows.append({"varied": varied, "to": None, "not_measured": why, "command": command})


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
        bench = _bench(session, catalog.declared(view), limit)
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


def _bench(session: Session, declared: Mapping[str, Parameter], limit: int | None) -> _Bench:
    """Take the sample: its rows in memory, the base views over them."""
    run = session.execute
    run(
        "CREATE TABLE _universe AS SELECT DISTINCT question_id FROM responses WHERE"
        " policy = 'teacher' AND temperature IS NOT DISTINCT FROM"
        " coalesce(getvariable('temperature'), temperature)"
        " AND model IS NOT DISTINCT FROM coalesce(getvariable('model'), model)"
    )
    bench = _Bench(session, declared, dict(session.values), _count(session, "_universe"))
    if limit is not None and bench.total > limit:
        run(
            "CREATE OR REPLACE TABLE _universe AS SELECT question_id FROM _universe"
            f" ORDER BY seeded('robustness', question_id), question_id LIMIT {limit}"
        )
    bench.sampled = _count(session, "_universe")
    run("CREATE TABLE _all AS SELECT * FROM _universe")
    run(
        "CREATE TABLE _responses AS SELECT * EXCLUDE (thinking, answer) FROM responses"
        " WHERE question_id IN (SELECT question_id FROM _all)"
        " AND temperature IS NOT DISTINCT FROM coalesce(getvariable('temperature'), temperature)"
    )
    for table in ("sentences", "sentence_scores", "flags"):
        run(
            f"CREATE TABLE _{table} AS SELECT * FROM {table}"
            " WHERE response_id IN (SELECT response_id FROM _responses)"
        )
        run(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM _{table}")
    run(
        "CREATE OR REPLACE VIEW responses AS SELECT *, NULL::VARCHAR AS thinking,"
        " NULL::VARCHAR AS answer FROM _responses"
        " WHERE question_id IN (SELECT question_id FROM _universe)"
    )
    return bench


def _orders(bench: _Bench) -> None:
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


def _thresholds(bench: _Bench) -> None:
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


def _noise(bench: _Bench) -> list[Row]:
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
    scores = session.table(
        "SELECT * FROM _sentence_scores ORDER BY response_id, scorer_id, segmentation_id"
    )
    rng = np.random.default_rng(bench.values["seed"])
    for scorer, name in names.items():
        if name in seen:
            scores = _jittered(scores, scorer, seen[name], rng)
    session.load("_noisy", scores.schema, scores.to_batches())
    session.execute("CREATE OR REPLACE VIEW sentence_scores AS SELECT * FROM _noisy")
    sizes = ", ".join(f"{name} {sd:.2g}" for name, sd in sorted(seen.items()))
    bench.measure("noise", f"sd per token in nats: {sizes}", {})
    session.execute("CREATE OR REPLACE VIEW sentence_scores AS SELECT * FROM _sentence_scores")
    session.execute("DROP TABLE _noisy")
    return found


def _jittered(scores: pa.Table, scorer: str, sd: float, rng: np.random.Generator) -> pa.Table:
    """One scorer's sums plus sd * sqrt(n_tokens) * N(0, 1): errors of tokens add up."""
    scores = scores.combine_chunks()
    sums, tokens = (scores[c].combine_chunks() for c in ("logprob_sum", "n_tokens"))
    lengths = np.diff(sums.offsets.to_numpy())
    mine = np.repeat(np.asarray(scores["scorer_id"].to_pylist()) == scorer, lengths)
    values = sums.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    n = np.maximum(tokens.flatten().to_numpy(zero_copy_only=False), 0)
    noisy = values + mine * sd * np.sqrt(n) * rng.standard_normal(values.size)
    noisy = pa.array(np.minimum(noisy, 0).astype(np.float32))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    column = pa.ListArray.from_arrays(offsets, noisy)
    at = scores.schema.get_field_index("logprob_sum")
    return scores.set_column(at, "logprob_sum", column)


def _segmenters(bench: _Bench) -> None:
    others = bench.session.rows(
        "SELECT DISTINCT segmenter FROM _sentences"
        " WHERE segmenter <> getvariable('segmenter') ORDER BY segmenter"
    )
    measured = [
        _where_covered(bench, "segmenter", row["segmenter"], {"segmenter": row["segmenter"]})
        for row in others
    ]
    if not any(measured):
        bench.unmeasured(
            "segmenter",
            "the catalog has the sentences of one segmenter",
            "dasd-data segment --segmenter lines",
        )


def _students(bench: _Bench) -> None:
    bench.set({})
    found = {"template": 0, "second student": 0}
    for row in bench.session.rows(sqlfiles.report("robust_scorers")):
        to = {
            "template": f"system prompt {row['system_prompt']!r}, template {row['chat_template']}",
            "engine": f"{row['engine']}, {row['dtype']}",
            "second student": row["model"],
        }[row["varied"]]
        if _where_covered(bench, row["varied"], to, {"student": row["scorer_id"]}):
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


def _where_covered(bench: _Bench, varied: str, to: str, settings: Mapping[str, Any]) -> bool:
    """Measure over the questions whose candidates are scored both ways; false if none is."""
    scored = "SELECT response_id, question_id FROM pool WHERE scored"
    bench.set({})
    bench.session.execute(f"CREATE OR REPLACE TABLE _scored AS {scored}")
    bench.set(settings)
    bench.session.execute(
        "CREATE OR REPLACE TABLE _covered AS SELECT DISTINCT question_id FROM _scored"
        " WHERE question_id NOT IN (SELECT question_id FROM _scored ANTI JOIN"
        f" ({scored}) USING (response_id))"
    )
    covered = _count(bench.session, "_covered") > 0
    if covered:
        _questions(bench, "_covered")
        bench.rebase()
        bench.measure(varied, to, settings)
        _questions(bench, "_all")
        bench.rebase()
    return covered


def _questions(bench: _Bench, table: str) -> None:
    bench.session.execute(f"CREATE OR REPLACE TABLE _universe AS SELECT question_id FROM {table}")


def _overlap(moved: Sequence[Row]) -> Row:
    """Counts of all domains, and of each."""
    domains = {row["domain"]: _shares(row) for row in moved}
    names = ("base", "chosen", "common")
    return {**_shares({n: sum(row[n] for row in moved) for n in names}), "domains": domains}


def _shares(row: Mapping[str, Any]) -> Row:
    base, chosen, common = (int(row[name]) for name in ("base", "chosen", "common"))
    return {
        "base": base,
        "chosen": chosen,
        "common": common,
        "kept": round(common / base, 4) if base else None,
        "jaccard": round(common / (base + chosen - common), 4) if base + chosen else None,
    }


def _model(bench: _Bench) -> str:
    rows = bench.session.rows(
        "SELECT model FROM scorers WHERE scorer_id = getvariable('student') LIMIT 1"
    )
    return str(rows[0]["model"]) if rows else "MODEL"


def _count(session: Session, table: str) -> int:
    return int(session.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def lines(report: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of the card's table."""
    for row in report["rows"]:
        measured = "kept" in row
        domains = row.get("domains", {})
        yield {
            "what varies": row["varied"],
            "to": row["to"] if measured else "not measured",
            "questions": row.get("questions"),
            "chosen": row.get("chosen"),
            "in common": row.get("common"),
            "kept": f"{row['kept']:.1%}" if measured and row["kept"] is not None else None,
            "Jaccard": f"{row['jaccard']:.3f}" if measured and row["jaccard"] is not None else None,
            "kept by domain": ", ".join(
                f"{name} {d['kept']:.0%}" for name, d in domains.items() if d["kept"] is not None
            )
            or row.get("command"),
        }
