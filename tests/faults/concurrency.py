"""Many processes on one catalog: writers of the same rows, readers, builds, scores, filters.

    python -m tests.faults.concurrency [--small]

Prints a line per scenario with its figures; exit 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dasd_data
from builders.filters.stage import configured, filter_missing
from builders.ingest.stage import ingest
from builders.run import to_table
from builders.score.stage import score
from builders.shapes import Context
from dasd_data import build as builds
from dasd_data import catalog as catalogs
from dasd_data.schema import TABLES, Table
from dasd_data.store import Store
from dasd_data.writer import Writer
from tests.faults import jobs, kills, processes, state


def together(works: list[Callable[[], Any]], folder: Path) -> tuple[list[Any], list[str]]:
    """Do all at once, each in a process; their results, and the complaints of those that failed."""
    logs = [folder / f"{n}.log" for n in range(len(works))]
    pids = [processes.start(work, log) for work, log in zip(works, logs, strict=True)]
    ended = processes.finish_all(pids, logs, 3_000)
    failed = [log.read_text()[-2_000:] for (code, _), log in zip(ended, logs, strict=True) if code]
    return [result for code, result in ended if code == 0], failed


def ingests(folder: Path, writers: int, rows: int) -> tuple[str, list[str]]:
    """Ingest overlapping files with many writers; every row is there once, as with one writer."""
    (folder / "work").mkdir()
    lines = (folder / "inputs" / "samples.jsonl").read_text().splitlines()
    lines = [line for line in lines if not line.startswith('{"torn"')][:rows]
    files = [folder / f"part{n}.jsonl" for n in range(writers)]
    for n, file in enumerate(files):  # each line is in half of the files
        file.write_text(
            "\n".join(x for i, x in enumerate(lines) if (i + n) % writers < writers / 2)
        )
    context = Context(file="", tokenizer=str(jobs.TINY / "teacher"))
    for name in ("many", "one"):
        processes.result(partial(_create, folder / "work" / name), folder / "create.log")
    work = [partial(_ingest, folder / "work" / "many", [str(f)], context) for f in files]
    began = time.monotonic()
    counts, failed = together(work, folder)
    seconds = time.monotonic() - began
    one = partial(_ingest, folder / "work" / "one", [str(f) for f in files], context)
    processes.result(one, folder / "one.log")
    wrong = failed + processes.result(partial(_same_rows, folder / "work"), folder / "same.log")
    new = sum(count["responses"] for count in counts)
    again = sum(count["same responses"] for count in counts)
    if new != rows * 4 or new + again != rows * 4 * writers / 2:
        wrong.append(f"{new} new and {again} known responses of {rows * 4}")
    return f"{writers} writers, {new} new responses, {again} known ones, {seconds:.0f} s", wrong


def _create(path: Path) -> None:
    catalogs.create(path, settings=False)


def _ingest(path: Path, files: list[str], context: Context) -> Counter[str]:
    return ingest(dasd_data.open(path), files, context)


def _same_rows(folder: Path) -> list[str]:
    """How the catalogs `many` and `one` differ in keys and content; where from is not content."""
    stores = [Store.open(folder / name) for name in ("many", "one")]
    many, one = (state.read(store, store.snapshot(), folder) for store in stores)
    wrong = many.repeated + state.acknowledged_whole(many, ("tokens", "sentences"), one)
    for spec in TABLES.values():
        if spec.name not in state.OF_RUNS | {"question_sources"}:
            first, second = (_hashes(store, spec) for store in stores)
            wrong += [f"{spec.name}: {key}" for key in first ^ second]
    return wrong


def _hashes(store: Store, spec: Table) -> set[str]:
    rows = state.table(store, store.snapshot(), spec.name)
    return {str(row) for row in rows.select([*spec.key, "content_hash"]).to_pylist()}


def readers(folder: Path, number: int, commits: int) -> tuple[str, list[str]]:
    """Read a pinned snapshot again and again while a writer commits; then move on.

    Every reader must have looked at a snapshot before and after a commit.
    """
    path = folder / "work" / "read"
    processes.result(partial(_create, path), folder / "create.log")
    ready = folder / "ready"
    ready.mkdir()
    works: list[Callable[[], Any]] = [partial(_write, path, commits, ready, number)]
    works += [partial(_read, path, ready / str(n)) for n in range(number)]
    results, failed = together(works, folder)
    looks = [result for result in results if result is not None]
    wrong = failed + [problem for *_, problems in looks for problem in problems]
    wrong += ["a reader saw no commit while it was pinned" for _, moved, _, _ in looks if not moved]
    pinned, moved, taken = (sum(look[n] for look in looks) for n in range(3))
    return (
        f"{number} readers through {commits} commits: {pinned} snapshots pinned, {moved} of them "
        f"while there were commits, {taken} looks"
    ), wrong


def _write(path: Path, commits: int, ready: Path, readers: int) -> None:
    end = time.monotonic() + 300
    while len(list(ready.iterdir())) < readers:
        if time.monotonic() > end:
            raise TimeoutError("not every reader came to look")
        time.sleep(0.01)
    writer = Writer(Store.open(path), "test")
    try:
        for n in range(commits):
            key = f"r{n:06d}"
            response = {"response_id": key, "question_id": f"q{n}", "answer": "x" * (n % 50)}
            tokens = {"response_id": key, "scorer_id": "s", "n_tokens": n, "token_bytes": [1]}
            question = {"question_id": f"q{n}", "text": f"question {n}"}
            writer.append(
                {
                    "questions": to_table("questions", [question]),
                    "tokens": to_table("tokens", [tokens]),
                    "responses": to_table("responses", [response]),
                }
            )
    finally:
        shutil.rmtree(ready)  # a reader whose mark is gone looks once more, and ends


_LOOK = """
SELECT count(*), sum(length(answer)), hash(list(response_id ORDER BY response_id)),
       (SELECT sum(n_tokens) FROM tokens SEMI JOIN responses USING (response_id)),
       count(*) FILTER (response_id NOT IN (SELECT response_id FROM tokens)),
       count(*) FILTER (question_id NOT IN (SELECT question_id FROM questions))
FROM responses
"""


def _read(path: Path, mark: Path) -> tuple[int, int, int, list[str]]:
    """Snapshots pinned, those that a commit moved on from meanwhile, looks, and what was wrong."""
    os.nice(10)  # as many readers as cores, or more, would leave the writer no time to commit
    catalog = dasd_data.open(path)
    pinned, moved, looks, wrong, last = 0, 0, 0, [], False
    while not last:
        before = catalog.snapshot.snapshot_id
        first = catalog.sql(_LOOK).fetchall()
        newest = catalog.store.snapshot().snapshot_id
        if not pinned:
            mark.touch()
        last = not mark.exists()
        for _ in range(2):
            time.sleep(0.1)
            again = catalog.sql(_LOOK).fetchall()
            looks += 1
            if again != first:
                wrong.append(f"snapshot {before} changed from {first} to {again}")
        if first[0][-2:] != (0, 0):
            wrong.append(f"snapshot {before}: {first[0][-2:]} responses without children")
        pinned += 1
        moved += catalog.store.snapshot().snapshot_id > newest
        if catalog.refresh().snapshot.snapshot_id < before:
            wrong.append(f"refresh moved back from snapshot {before}")
    return pinned, moved, looks, wrong


def same_builds(folder: Path, number: int) -> tuple[str, list[str]]:
    """Build one view in several processes while another ingests: one result, one folder."""
    base = folder / f"build{number}"
    base.mkdir()
    processes.result(partial(jobs.JOBS["build"].prepare, base), folder / "base.log")
    processes.result(partial(_forget_verified, base), folder / "base.log")
    snapshot = processes.result(partial(_newest, base), folder / "base.log")
    context = Context(file="", tokenizer=str(jobs.TINY / "teacher"))
    more = str(folder / "inputs" / "gsm8k_candidates.jsonl")
    works: list[Callable[[], Any]] = [partial(_build, base, snapshot) for _ in range(number)]
    works.append(partial(_ingest, base / "dasd.catalog", [more], context))
    results, wrong = together(works, folder)
    ids = {result for result in results if isinstance(result, str)}
    folders = list((base / "dasd.catalog" / "builds" / jobs.VIEW).iterdir())
    rows = processes.result(partial(_rows_of_builds, base), folder / "rows.log")
    if len(ids) != 1 or [path.name for path in folders] != [*ids] or rows != 1:
        wrong.append(f"builds {ids}, folders {folders}, {rows} rows in the table of builds")
    return f"{number} builds of a view at once, beside an ingest: {len(folders)} folder", wrong


def _newest(folder: Path) -> int:
    return jobs.catalog_of(folder).snapshot.snapshot_id


def _forget_verified(folder: Path) -> None:
    (folder / "dasd.catalog" / "verified.json").unlink(missing_ok=True)


def _build(folder: Path, snapshot: int) -> str:
    catalog = catalogs.Catalog(jobs.catalog_of(folder).config, snapshot)
    return builds.build(catalog, jobs.VIEW).build_id


def _rows_of_builds(folder: Path) -> int:
    return int(jobs.catalog_of(folder).sql("FROM builds").shape[0])


def same_stages(folder: Path, number: int) -> tuple[str, list[str]]:
    """Score by one scorer whose values differ from run to run, and filter, several times at once."""
    base = folder / "stages"
    base.mkdir()
    processes.result(partial(jobs.JOBS["score"].prepare, base), folder / "base.log")
    works = [partial(_score, base, n) for n in range(number)]
    works += [partial(_filter, base) for _ in range(number)]
    _, wrong = together(works, folder)
    count, problems = processes.result(partial(_sums, base), folder / "sums.log")
    return f"{number} scores and {number} filters at once: {count} scored", wrong + problems


def _score(folder: Path, n: int) -> None:
    run = jobs.fake_run("student")
    run.engine.model = f"run {n}"  # as another batch size would: same scorer, other values
    score(jobs.catalog_of(folder), run)


def _filter(folder: Path) -> None:
    catalog = jobs.catalog_of(folder)
    filter_missing(catalog, configured(catalog, tokenizer=str(jobs.TINY / "student")))


def _sums(folder: Path) -> tuple[int, list[str]]:
    """Responses that were scored, and whether their sums are those of the log-probs kept."""
    catalog = jobs.catalog_of(folder)
    found = state.read(catalog.store, catalog.snapshot, folder)
    wrong = list(found.repeated)
    rows = catalog.sql(
        "SELECT response_id, abs(list_sum(logprobs) - list_sum(logprob_sum)) FROM tokens"
        " INNER JOIN sentence_scores USING (response_id, scorer_id)"
        " WHERE scorer_id IN (SELECT scorer_id FROM scorers WHERE name = 'student')"
    ).fetchall()
    responses = catalog.sql("FROM responses").shape[0]
    given_up = catalog.sql("FROM attempts WHERE stage = 'score'").shape[0]
    if len(rows) + given_up != responses:
        wrong.append(f"{len(rows)} scored and {given_up} given up of {responses}")
    wrong += [f"sums of {key} are {off} off" for key, off in rows if off > 0.01]
    flags = catalog.sql("SELECT count(*) FROM flags GROUP BY filter, version").fetchall()
    wrong += [f"{n} flags of {responses}" for (n,) in flags if n != responses]
    return len(rows), wrong


def inits(folder: Path, number: int) -> tuple[str, list[str]]:
    """Create one catalog in several processes."""
    path = folder / "work" / "new"
    _, wrong = together([partial(_create, path) for _ in range(number)], folder)
    newest = processes.result(partial(_snapshots, path), folder / "snapshots.log")
    return f"{number} inits at once: {newest} snapshots", wrong


def _snapshots(path: Path) -> int:
    return len(Store.open(path).snapshots())


def main() -> None:
    """Run all scenarios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a few of everything, as in CI")
    small = parser.parse_args().small
    bad = 0
    with kills.scratch_folder() as folder:
        jobs.inputs(folder / "inputs", 8 if small else 150)
        jobs.small_batches()
        processes.warm()
        for scenario in (
            partial(ingests, folder, 4 if small else 8, 8 if small else 120),
            partial(readers, folder, 3 if small else 8, 40 if small else 1_000),
            partial(same_builds, folder, 2),
            partial(same_builds, folder, 4),
            partial(same_stages, folder, 2),
            partial(inits, folder, 2 if small else 8),
        ):
            text, wrong = scenario()
            print(f"{text}; {len(wrong)} wrong", flush=True)
            for problem in wrong[:20]:
                print(problem, file=sys.stderr)
            bad += bool(wrong)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
