"""Candidates in, the best of each question out: ingest, filter, score and build in one go."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from builders.ingest.stage import ingest
from builders.score.prepare import Options, prepare
from builders.score.stage import score
from builders.shapes import Context
from dasd_data.build import Build, build
from dasd_data.catalog import Catalog
from dasd_data.contract.scorers import check_scorers
from dasd_data.errors import DataError, UsageError
from dasd_data.scorers import resolve

VIEW = "select"


@dataclass(frozen=True)
class Selected:
    """What `select` did: counts of the ingest, the build behind the file, rows written."""

    ingested: Counter[str]
    build: Build
    rows: int


def select(
    catalog: Catalog,
    paths: Iterable[str],
    context: Context,
    scorers: Mapping[str, Options | None],
    settings: Mapping[str, Any],
    out: Path,
    progress: Callable[[str], Callable[[int, int], None]],
    *,
    mix: bool = False,
) -> Selected:
    """Write the best candidates of each question to `out` (JSONL), leaving them in the catalog.

    `scorers` has `student` and, unless the files hold the teacher's log-probs, `teacher`;
    `settings` are parameters of the view. `progress(label)` gives a stage's progress function.
    Without `mix`, a catalog that holds candidates of other inputs is refused.
    A response need not have a thinking section, unless `dasd.toml` asks for one.

    Raises DataError where no row could be taken, UsageError where teacher log-probs are missing.
    """
    values = catalog.parameters(catalog.find_view(VIEW), settings)  # before hours of scoring
    out.parent.mkdir(parents=True, exist_ok=True)
    filters = {"structure": {"thinking": "optional"}, **catalog.config.filters}
    catalog.config = replace(catalog.config, filters=filters)
    seen: set[str] = set()
    counts = ingest(catalog, paths, context, seen=seen)
    catalog.refresh()
    if not mix and catalog.sql("SELECT 1 FROM responses").shape[0] > len(seen):
        raise UsageError(
            f"{catalog.path} holds candidates of other inputs too: choose another --out, remove "
            "that folder, or name it with --catalog to choose among all of them"
        )
    if not seen:
        raise DataError(
            f"no candidates were found: {counts['rows']:,} rows read, {counts['refused']:,} "
            "refused; candidates are rows of one prompt with one completion or several"
        )
    if scorers.get("teacher") is None:
        _check_teacher(catalog, assume_raw=values["assume_raw"])
    settings = dict(settings)
    for name, options in scorers.items():
        if options is not None:
            run = prepare(catalog, options)
            score(catalog, run, _counted(progress(f"score {name}")))
            settings[name] = run.scorer_id  # not another of that name, of the files or a past run
    made = build(catalog, VIEW, settings, progress=progress("build"))
    assert made.path is not None
    return Selected(counts, made, write_jsonl(made.path, out))


def _counted(progress: Callable[[int, int], None]) -> Callable[[Counter[str]], None]:
    """The progress of a run's counts as that of rows out of all."""
    return lambda counts: progress(counts["done"] + counts["failed"], counts["wanted"])


def _check_teacher(catalog: Catalog, assume_raw: bool) -> None:
    """Log-probs of a teacher are there, and can be compared with those of our own engine."""
    rows = [row for row in catalog.scorers() if row["used"]]
    if not rows:
        raise UsageError(
            "the files hold no log-probs of a teacher: pass --teacher MODEL, or candidates with "
            "token log-probs"
        )
    wanted = resolve("teacher", catalog.config.scorers, rows)
    teacher = next(row for row in rows if row["scorer_id"] == wanted)
    ours = {"logprobs_mode": "raw_logprobs", "temperature": 1.0, "context": None}
    student = {**teacher, **ours, "scorer_id": "", "model": "the student"}
    parameters = {"assume_raw": assume_raw}
    check_scorers({"teacher": teacher, "student": student}, parameters, None)


def write_jsonl(folder: Path, out: Path) -> int:
    """A build's rows as JSON lines, in their order; `out` is replaced when all are there."""
    handle, temporary = tempfile.mkstemp(".tmp", f".{out.name}.", out.parent)
    rows = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for shard in sorted((folder / "data").glob("*.parquet")):
                for batch in pq.ParquetFile(shard).iter_batches(1_000):
                    for row in batch.to_pylist():
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
                        rows += 1
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return rows
