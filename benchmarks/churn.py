"""How much a selection changes when the sentences are cut otherwise.

    python benchmarks/churn.py [--rows 32] [--two-model FILE.parquet --tokenizer FOLDER]

The samples of the tiny teacher (`examples/tiny`), scored by the tiny student, go into a catalog,
and once more under each of the other segmenters (`builders.segment.others`): the same tokens, the
same sums, the same SQL. With `--two-model`, responses that come with the log-probs of two models,
too, of which the tuned one is taken that differs most. Printed for each segmenter: sentences a
response, tokens a sentence, labels, and which share of the responses that it selects (one of a
question's candidates; a third of those of a single question) is selected under ours, when
candidates are ranked by the count of Teacher sentences, by their share, or by the mean difference
of probabilities. The last lines give the same of the longest responses and of chance.

Differences between segmenters are those of a cut, not of its worth: nothing here says which
selection trains the better student.
"""

from __future__ import annotations

import argparse
import gzip
import random
import tempfile
from pathlib import Path
from typing import Any

import dasd_data
from builders.ingest.stage import ingest
from builders.segment import SEGMENTER, others
from builders.segment.stage import segment_missing
from builders.shapes import Context
from dasd_data.catalog import Catalog

TINY = Path(__file__).parents[1] / "examples" / "tiny"
RANKS = {"count": "teacher_count", "share": "teacher_share", "difference": "mean_difference"}
OTHERS = {name: version for name, (version, _) in others.SEGMENTERS.items()}


def cut_again(catalog: Catalog) -> None:
    """Add the sentences of the other segmenters, and their sums."""
    for name in OTHERS:
        counts = segment_missing(catalog, name=name)
        assert counts["sentences"] and not counts["unaligned"], counts


def selected(catalog: Catalog, rank_by: str, **settings: Any) -> set[str]:
    """The ids of a selection."""
    rows = catalog.sql("SELECT response_id FROM selection", rank_by=rank_by, **settings).fetchall()
    return {response_id for (response_id,) in rows}


def report(title: str, catalog: Catalog, **settings: Any) -> None:
    """Print the table of one pool."""
    ours = {
        rank: selected(catalog, rank, segmenter=SEGMENTER, **settings) for rank in RANKS.values()
    }
    pool = catalog.sql("SELECT response_id, question_id FROM pool", **settings).fetchall()
    n_chosen, n_questions = len(ours["teacher_count"]), len({question for _, question in pool})
    print(f"\n{title}: {n_chosen} of {len(pool)} responses to {n_questions} questions")
    heads = ("sentences", "tokens", "teacher", "student", "shared", *RANKS)
    print(f"{'segmenter':10}" + "".join(f"{head:>12}" for head in heads))
    labels = ", ".join(f"avg((label = '{name}')::INT)" for name in ("teacher", "student", "shared"))
    for name in (SEGMENTER, *OTHERS.values()):
        (found,) = catalog.sql(
            f"SELECT count(*) / count(DISTINCT response_id), avg(n_teacher), {labels}"
            " FROM sentence_pairs INNER JOIN pool USING (response_id) WHERE label IS NOT NULL",
            segmenter=name, **settings,
        ).fetchall()  # fmt: skip
        same = [overlap(catalog, r, ours[r], segmenter=name, **settings) for r in ours]
        print(f"{name:10}" + "".join(f"{value:12.3f}" for value in (*found, *same)))
    longest = selected(catalog, "length", segmenter=SEGMENTER, **settings)
    chance = [len(chosen) / len(pool) for chosen in ours.values()]
    for name, same in (
        ("longest", [len(longest & chosen) / len(chosen) for chosen in ours.values()]),
        ("chance", chance),
    ):
        print(f"{name:10}" + " " * 60 + "".join(f"{value:12.3f}" for value in same))


def overlap(catalog: Catalog, rank_by: str, ours: set[str], **settings: Any) -> float:
    """The share of a selection that is in ours."""
    found = selected(catalog, rank_by, **settings)
    return len(found & ours) / len(found)


def tiny_catalog(folder: Path, rows: int) -> Catalog:
    """The samples of the tiny teacher under the tiny student."""
    from builders.score.prepare import Options, prepare
    from builders.score.stage import score

    path = folder / "samples.jsonl"
    with gzip.open(TINY / "samples.jsonl.gz") as samples:
        lines = samples.readlines()
    path.write_bytes(b"".join(random.Random(0).sample(lines, min(rows, len(lines)))))
    catalog = dasd_data.create(folder / "tiny.catalog")
    ingest(catalog, [str(path)], Context(file="", tokenizer=str(TINY / "teacher")))
    student = Options(model=str(TINY / "student"), name="student", everything=True)
    score(catalog, prepare(catalog, student))
    return catalog


def tiny_pair(folder: Path, rows: int) -> None:
    """The tables of the tiny pair, for both temperatures."""
    catalog = tiny_catalog(folder, rows)
    cut_again(catalog)
    for temperature in (0.6, 1.0):
        settings = {"temperature": temperature, "required_filters": [], "min_tokens": 1}
        report(f"tiny pair, T={temperature}", catalog, **settings)


def two_models(folder: Path, path: Path, tokenizer: str) -> None:
    """Responses with the log-probs of gpt-oss before and after a LoRA run."""
    catalog = dasd_data.create(folder / "two.catalog")
    ingest(catalog, [str(path)], Context(file="", tokenizer=tokenizer))
    cut_again(catalog)
    ((n_responses,),) = catalog.sql("SELECT count(*) FROM responses").fetchall()

    def settings(tuned: dict[str, Any]) -> dict[str, Any]:
        pair = {"teacher": tuned["scorer_id"], "student": "initial", "min_tokens": 1}
        return {**pair, "keep": max(1, n_responses // 3), "required_filters": []}

    def apart(tuned: dict[str, Any]) -> float:
        query = "SELECT avg(abs(difference)) FROM sentence_pairs"
        return float(catalog.sql(query, **settings(tuned)).fetchall()[0][0])

    most = max((row for row in catalog.scorers() if row["name"] != "initial"), key=apart)
    report(f"{most['model']} and its base model", catalog, **settings(most))


def main() -> None:
    """Print a table for each pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=384, help="tiny samples, of 4 responses each")
    parser.add_argument("--two-model", type=Path)
    parser.add_argument("--tokenizer", help="tokenizer of the ids in the file of --two-model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="churn-") as folder:
        tiny_pair(Path(folder), options.rows)
        if options.two_model:
            two_models(Path(folder), options.two_model, options.tokenizer)


if __name__ == "__main__":
    main()
