"""Would scoring only the first tokens of each response select the same ones?

    python benchmarks/prefix.py [--rows 384] [--files SAMPLES.jsonl ... --tokenizer FOLDER]

The samples of the tiny teacher, scored by the tiny student (or files that have the log-probs of
two models), with one response of each question selected by the Teacher sentences, or the mean
difference, of its first k student tokens alone. A sentence counts where it ends within them. For
each k: the share of all tokens that is scored (a forward pass costs at most that, and the prompt);
the share of the selected responses that the whole responses select, too; and the mean rank
correlation (Spearman) within questions. The last line is chance. No figure here says which
selection trains the better student.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from churn import tiny_catalog

import dasd_data
from builders.ingest.stage import ingest
from builders.shapes import Context
from dasd_data.catalog import Catalog

SHARES = (0.125, 0.25, 0.5, 0.75, 1.0)  # k, as a share of the longest response
RANKS = ("count", "difference")


def sentences_of(catalog: Catalog, **settings: object) -> pl.DataFrame:
    """Sentences of candidates: question, response, the student's tokens up to its end, label."""
    return (
        catalog.sql(
            "SELECT question_id, response_id, sentence_index, n_student, r.temperature AS T,"
            " (label = 'teacher')::INT AS teacher, difference,"
            " sum(n_student) OVER (PARTITION BY response_id ORDER BY sentence_index) AS upto"
            " FROM sentence_pairs INNER JOIN responses AS r USING (response_id)"
            " WHERE label IS NOT NULL",
            **settings,
        )
        .pl()
        .sort("response_id", "sentence_index")
    )


def ranked(sentences: pl.DataFrame, most: int) -> pl.DataFrame:
    """Both ranking values of every response, from the sentences that end within `most` tokens."""
    within = pl.col("upto") <= most
    return (
        sentences.group_by("question_id", "response_id")
        .agg(
            (pl.col("teacher") * within).sum().cast(pl.Float64).alias("count"),
            pl.col("difference").filter(within).mean().fill_null(0.0),
        )
        .sort("question_id", "response_id")
    )


def selected(values: pl.DataFrame, rank: str) -> set[str]:
    """The first response of each question; ties by id, as views break them by a seeded hash."""
    best = values.sort(rank, "response_id", descending=[True, False])
    return set(best.group_by("question_id", maintain_order=True).first()["response_id"])


def correlation(part: pl.DataFrame, whole: pl.DataFrame, rank: str) -> float:
    """Mean of Spearman's correlation within questions, where neither side is all ties."""
    both = part.select("question_id", pl.col(rank).alias("a")).with_columns(whole[rank].alias("b"))
    found = both.group_by("question_id").agg(
        pl.corr(pl.col("a").rank(), pl.col("b").rank()).alias("rho")
    )["rho"]
    return float(found.filter(found.is_not_null() & found.is_not_nan()).mean() or np.nan)


def report(title: str, sentences: pl.DataFrame) -> None:
    """Print the table of one pool."""
    longest, total = int(sentences["upto"].max()), int(sentences["n_student"].sum())
    whole = ranked(sentences, longest)
    questions = whole["question_id"].n_unique()
    print(f"\n{title}: {len(whole)} responses to {questions} questions, {total:,} student tokens")
    print(f"{'k':>8}{'scored':>9}" + "".join(f"{f'{r} same':>17}{'rho':>7}" for r in RANKS))
    lengths = sentences.group_by("response_id").agg(pl.col("upto").max())["upto"]
    for share in SHARES:
        most = int(longest * share)
        part = ranked(sentences, most)
        line = f"{most:8,}{lengths.clip(upper_bound=most).sum() / total:9.3f}"
        for rank in RANKS:
            theirs, ours = selected(part, rank), selected(whole, rank)
            same = len(theirs & ours) / len(ours)
            line += f"{same:17.3f}{correlation(part, whole, rank):7.3f}"
        print(line)
    print(f"{'chance':>8}{'':9}" + f"{questions / len(whole):17.3f}{0:7.3f}" * len(RANKS))


def main() -> None:
    """Print a table for each pool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=384, help="tiny samples, of 4 responses each")
    parser.add_argument("--files", nargs="+", default=[], help="responses with two models' values")
    parser.add_argument("--tokenizer", help="tokenizer of the ids in --files")
    parser.add_argument("--scorers", nargs=2, default=["teacher", "student"], help="of --files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prefix-") as folder:
        catalog = tiny_catalog(Path(folder), args.rows)
        for temperature in (0.6, 1.0):
            found = sentences_of(catalog).filter(pl.col("T") == temperature)
            report(f"tiny pair, T={temperature}", found)
        if args.files:
            catalog = dasd_data.create(Path(folder) / "files.catalog")
            ingest(catalog, args.files, Context(file="", tokenizer=args.tokenizer))
            names = dict(zip(("teacher", "student"), args.scorers, strict=True))
            report(", ".join(args.files), sentences_of(catalog.refresh(), **names))


if __name__ == "__main__":
    main()
