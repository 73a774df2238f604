"""Growth: N small commits; what opening and committing cost at the start and at the end.

    python benchmarks/growth.py [--commits 2000]

The reference is a plain `DeltaTable` open of the same tables in the same run. CPU seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

import dasd_data
from builders.run import to_table
from dasd_data import gc
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.store import Store
from dasd_data.writer import Writer

EDGE = 100  # commits at either end, four turns of Delta's checkpoints


def rows(number: int) -> dict[str, Any]:
    """One small batch of an ingest: a question, a response, its tokens and sentences."""
    key = f"{number:032x}"
    return {
        "questions": to_table("questions", [{"question_id": key, "text": f"question {number}"}]),
        "tokens": to_table(
            "tokens",
            [{"response_id": key, "scorer_id": "s", "token_bytes": [1], "logprobs": [-0.5]}],
        ),
        "sentences": to_table(
            "sentences",
            [{"response_id": key, "segmenter": "s", "segmentation_id": "s", "byte_end": [1]}],
        ),
        "responses": to_table(
            "responses", [{"response_id": key, "question_id": key, "answer": "x"}]
        ),
    }


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Make the commits and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commits", type=int, default=2_000)
    commits = parser.parse_args().commits
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "growth.catalog"
        writer = Writer(Store.create(path), "growth")
        seconds = [cpu(lambda n=n: writer.append(rows(n))) for n in range(commits)]
        edge = min(EDGE, commits // 2)
        first, last = sum(seconds[1 : edge + 1]) / edge, sum(seconds[-edge:]) / edge
        names = (*TABLES, SNAPSHOTS.name)
        plain = cpu(lambda: [DeltaTable(path / "tables" / n).file_uris() for n in names])
        start = time.perf_counter()
        opened = cpu(lambda: dasd_data.open(path).files)
        elapsed = time.perf_counter() - start
        query = cpu(lambda: dasd_data.open(path).sql("SELECT count(*) FROM responses").fetchall())
        old = cpu(lambda: dasd_data.open(path, at=commits // 2).files)
        garbage = cpu(lambda: gc.collect(Store.open(path), dry_run=True))
        vacuum = cpu(lambda: [DeltaTable(path / "tables" / n).vacuum(dry_run=True) for n in names])
    print(f"{commits:,} commits of 5 tables and a snapshot each")
    print(f"a commit: {first * 1e3:.0f} ms of CPU at first, {last * 1e3:.0f} ms at the end")
    print(f"ratio: {last / first:.2f}")
    print(
        f"open, with all files: {opened:.2f} CPU s, {elapsed:.2f} s; in the middle {old:.2f} CPU s"
    )
    print(f"open and count responses: {query:.2f} CPU s")
    print(f"reference, opening {len(names)} Delta tables: {plain:.2f} CPU s")
    print(f"ratio of open to the reference: {opened / plain:.2f}")
    print(
        f"gc --dry-run: {garbage:.2f} CPU s; Delta's vacuum, of the newest only: {vacuum:.2f} CPU s"
    )


if __name__ == "__main__":
    main()
