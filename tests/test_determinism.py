"""Builds are the same bytes: at any thread count, again, and however the rows came in."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import dasd_data
from builders.ingest.stage import ingest
from builders.run import to_table
from builders.shapes import Context
from dasd_data import pool
from dasd_data.build import build
from dasd_data.compact import compact
from dasd_data.keys import question_id
from dasd_data.writer import Writer

TINY = Path(__file__).parents[1] / "examples" / "tiny"
QUESTIONS, CANDIDATES, SENTENCES = 2_600, 4, 13  # 135,200 sentences: several row groups
DOMAINS = ("math", "code", "science", "instruction_following", "")
RANKS = (
    "teacher_count", "teacher_count_resid", "teacher_share", "mean_difference", "length",
    "student_probability", "random",
)  # fmt: skip
# A mean over many rows, as a user writes one: with a plain sum() it changes from run to run.
CENTRED = """/*
description = "Difference from the domain's mean"
*/
WITH means AS (
    SELECT domain, exact_mean(difference) AS mean
    FROM sentence_pairs INNER JOIN candidates USING (response_id) GROUP BY domain
)
SELECT s.response_id, s.mean_difference - m.mean AS centred
FROM split AS s INNER JOIN means AS m ON s.domain IS NOT DISTINCT FROM m.domain"""
BUDGET = {"math": 301, "code": 203, "science": 1_000, "instruction_following": 57, "other": 11}


@pytest.fixture(scope="module")
def tables():
    """Rows of all tables: 10,400 responses with two models' scores, many of them tied."""
    random = np.random.default_rng(7)
    n = QUESTIONS * CANDIDATES
    texts = [f"Question {i}?" for i in range(QUESTIONS)]
    domain = [DOMAINS[i % 5] for i in range(QUESTIONS)]
    keys = [question_id(text) for text in texts]
    ids = [question_id(f"response {i}") for i in range(n)]
    tokens = random.integers(0, 9, (2, n, SENTENCES), np.int32)
    # p of 20 values, so that counts, shares and means of candidates tie
    p = random.integers(1, 21, (2, n, SENTENCES)) / 20
    sums = (tokens * np.log(p)).astype(np.float32)
    ends = np.cumsum(random.integers(2, 9, (n, SENTENCES), np.int32), axis=1).tolist()
    run = {"run_id": "run", "stage": "test", "started_at": datetime(2026, 1, 1, tzinfo=UTC)}
    settings = {"segmenter": "seg-1", "filters": {"length": "1"}}
    scorers = [
        {"scorer_id": f"id-of-{name}", "name": name, "model": name, "logprobs_mode": "raw_logprobs"}
        for name in ("teacher", "student")
    ]
    scores = [
        {
            "response_id": ids[i],
            "scorer_id": f"id-of-{name}",
            "segmentation_id": "seg-1:made",
            "n_tokens": tokens[m, i].tolist(),
            "logprob_sum": sums[m, i].tolist(),
        }
        for m, name in enumerate(("teacher", "student"))
        for i in range(n)
    ]
    rows = {
        "runs": [{**run, "configuration": json.dumps(settings)}],
        "questions": [{"question_id": k, "text": t} for k, t in zip(keys, texts, strict=True)],
        "question_sources": [
            {"question_id": keys[i], "source": f"set-{s}", "row": str(i), "domain": domain[i]}
            for i in range(QUESTIONS)
            for s in range(2)
        ],
        "scorers": scorers,
        "sentences": [
            {
                "response_id": ids[i],
                "segmenter": "seg-1",
                "segmentation_id": "seg-1:made",
                "byte_end": ends[i],
                "kind": [0] * SENTENCES,
                "section": [0] * SENTENCES,
            }
            for i in range(n)
        ],
        "sentence_scores": scores,
        "flags": [
            {"response_id": ids[i], "filter": "length", "version": "1", "passed": i % 17 > 0}
            for i in range(n)
        ],
        "responses": [
            {
                "response_id": ids[i],
                "question_id": keys[i // CANDIDATES],
                "policy": "teacher",
                "model": "big",
                "temperature": 0.6 if i % 3 else 1.0,
                "thinking": f"Hm {i}. " * (i % 7),
                "answer": "x" * (ends[i][-1] % 50),
            }
            for i in range(n)
        ],
    }
    return {name: to_table(name, found) for name, found in rows.items()}


def fill(path, tables, pieces, seed=None):
    """A catalog of these rows, permuted where a seed is given, appended piece by piece."""
    catalog = dasd_data.create(path, settings=False)
    random = np.random.default_rng(seed)
    writer = Writer(catalog.store, "test")
    if seed is not None:
        tables = {name: t.take(pa.array(random.permutation(len(t)))) for name, t in tables.items()}
    for piece in range(pieces):
        bounds = {
            n: (piece * len(t) // pieces, (piece + 1) * len(t) // pieces) for n, t in tables.items()
        }
        writer.append({n: t.slice(a, b - a) for n, t in tables.items() for a, b in [bounds[n]]})
    (catalog.path / "views" / "centred.sql").write_text(CENTRED)
    return catalog.refresh()


@pytest.fixture(scope="module")
def catalog(tables, tmp_path_factory):
    """The rows, appended in three pieces."""
    return fill(tmp_path_factory.mktemp("one") / "a.catalog", tables, 3)


def at(catalog, threads):
    """The same catalog, opened anew for a number of threads."""
    catalog.config = replace(catalog.config, threads=threads)
    return catalog.refresh()


def contents(folder):
    """Every file of a build, the card and the manifest without what says when."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found["README.md"] = re.sub(rb"--at \d+", b"--at N", found["README.md"])
    manifest = json.loads(found.pop("manifest.json"))
    volatile = {"built_at", "snapshot_id", "card", "sha256"}  # the card names the snapshot
    return {**found, "manifest": {k: v for k, v in manifest.items() if k not in volatile}}


def shards(made):
    """Hashes of a build's shards."""
    return [s["sha256"] for s in made.manifest["shards"]]


@pytest.mark.slow
@pytest.mark.parametrize("view", ["low_t_das", "centred"])
def test_a_build_is_the_same_bytes_at_any_thread_count_and_again(catalog, tmp_path, view):
    """A colleague with another machine, or a second run, would train on another split."""
    settings = {"required_filters": "length", "budget": BUDGET, "scope": "pool"}
    builds = [
        build(at(catalog, threads), view, settings, out=tmp_path / f"{n}")
        for n, threads in enumerate((1, 2, 4, 4))
    ]
    first, *others = [contents(made.path) for made in builds]
    assert first["README.md"]
    for other in others:
        assert other == first


@pytest.mark.slow
def test_a_split_is_the_same_after_its_rows_came_in_another_order(catalog, tables, tmp_path):
    """Whoever rebuilds a catalog from the same files would train on another split."""
    again = fill(tmp_path / "b.catalog", tables, 5, seed=3)
    settings = {"required_filters": "length", "budget": BUDGET}
    for view, more in (
        ("low_t_das", {}),
        ("centred", {"scope": "pool", "rank_by": "mean_difference"}),
    ):
        one = build(at(catalog, 4), view, {**settings, **more}, out=tmp_path / f"1-{view}")
        two = build(at(again, 3), view, {**settings, **more}, out=tmp_path / f"2-{view}")
        assert shards(one) == shards(two)
        assert one.funnel == two.funnel
        cards = [
            contents(b.path)["README.md"].replace(b.build_id.encode(), b"ID") for b in (one, two)
        ]
        assert cards[0] == cards[1]


@pytest.mark.slow
def test_a_split_is_the_same_after_compact(tables, tmp_path):
    """Upkeep would change what is trained on."""
    made = fill(tmp_path / "c.catalog", tables, 6, seed=5)
    settings = {"required_filters": "length", "budget": BUDGET}
    one = build(at(made, 2), "low_t_das", settings, out=tmp_path / "1")
    names = made.files["responses"]
    assert {done.table for done in compact(made.store)} >= {"responses", "sentences", "flags"}
    two = build(at(made, 3), "low_t_das", settings, out=tmp_path / "2")
    assert made.files["responses"] != names
    assert one.build_id != two.build_id
    assert shards(one) == shards(two)
    assert one.funnel == two.funnel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "more"),
    [("low_t_das", {}), ("high_t_rs", {"require_scores": "no"}), ("select", {"budget": BUDGET})],
)
def test_a_build_is_the_same_bytes_where_labels_are_counted_in_parts(
    catalog, tmp_path, monkeypatch, view, more
):
    """Where memory is too small for all at once, other rows would be chosen."""
    settings = {"required_filters": "length", **more}
    one = build(at(catalog, 2), view, settings, out=tmp_path / "1", robustness="full")
    monkeypatch.setattr(pool, "PARTS", (7,))
    two = build(at(catalog, 2), view, settings, out=tmp_path / "2", robustness="full")
    assert one.rows > 1_000
    assert contents(one.path) == contents(two.path)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["within_question", "pool"])
def test_every_ranking_chooses_the_same_at_any_thread_count_and_order(
    catalog, tables, tmp_path, scope
):
    """One of the rankings would break its ties by the order in which threads finish."""
    again = fill(tmp_path / "b.catalog", tables, 2, seed=11)
    for rank in RANKS:
        settings = {
            "required_filters": "length", "rank_by": rank, "scope": scope, "keep": 2,
            "temperature": 0.6, "budget": BUDGET, "min_tokens": 2, "filter_after": rank == "length",
        }  # fmt: skip
        chosen = [
            at(c, threads).session(settings=settings).table("FROM split ORDER BY response_id")
            for c, threads in ((catalog, 1), (catalog, 4), (again, 2))
        ]
        assert len(chosen[0]) > 1_000
        assert chosen[0].equals(chosen[1])
        assert chosen[0].equals(chosen[2])


@pytest.mark.slow
def test_files_read_in_another_order_and_in_other_batches_give_the_same_split(
    tmp_path, monkeypatch
):
    """A catalog could not be made again from its files: the split would be another."""
    with gzip.open(TINY / "samples.jsonl.gz", "rt") as file:
        teacher = [json.loads(line) for line in file][::8]
    student = json.loads(json.dumps(teacher))
    for n, row in enumerate(student):
        row["dtype"] = "float16"  # another scoring context
        for m, choice in enumerate(row["choices"]):
            choice["logprobs"] = [(1 + (n + m) % 5) * v for v in choice["logprobs"]]
    random = np.random.default_rng(5)
    splits = []
    for again in (False, True):
        made = dasd_data.create(tmp_path / f"{again}.catalog", settings=False)
        parts = [("teacher", teacher), ("student", student)]
        for name, rows in reversed(parts) if again else parts:
            folder = tmp_path / f"{again}-{name}"
            folder.mkdir()
            order = random.permutation(len(rows)) if again else range(len(rows))
            for piece in range(4 if again else 1):
                lines = [json.dumps(rows[i]) for i in order[piece :: 4 if again else 1]]
                (folder / f"{piece}.jsonl").write_text("\n".join(lines))
            monkeypatch.setattr("builders.ingest.stage.BATCH_BYTES", 30_000 if again else 64 << 20)
            context = Context(file="", tokenizer=str(TINY / "teacher"), name=name)
            counts = ingest(made.refresh(), [str(folder)], context)
            assert not counts["refused"]
        splits.append(
            build(made.refresh(), "select", {"required_filters": "", "rank_by": "mean_difference"})
        )
    assert splits[0].rows > 30
    assert splits[0].build_id != splits[1].build_id
    assert shards(splits[0]) == shards(splits[1])
