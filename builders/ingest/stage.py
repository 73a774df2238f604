"""The ingest stage: files in, rows of the catalog out, refused rows into quarantine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from builders import read, shapes
from builders.ingest.batch import Batch
from builders.run import Run
from dasd_data.store import Store

BATCH_BYTES, BATCH_SECONDS = 64 << 20, 60.0  # work at risk when the process dies


def ingest(
    store: Store,
    paths: Iterable[str],
    context: shapes.Context,
    *,
    strict: bool = False,
    progress: Callable[[int], None] = lambda n_bytes: None,
) -> Counter[str]:
    """Ingest files, folders, globs and saved data sets. What is there already is not added again.

    A row that cannot be taken goes to `quarantine` with file, line and reason; with `strict` it
    raises DataError instead. `progress` is told the number of bytes read. Returns counts by name.
    """
    inputs = read.expand(paths)
    configuration = {"paths": [str(p) for p in inputs], **_settings(context)}
    with Run(store, "ingest", configuration) as run:
        batch, started = Batch(run.run_id, context.tokenizer), time.monotonic()
        for path in inputs:
            for _ in _rows(path, context, batch, run, strict, progress):
                if batch.size >= BATCH_BYTES or time.monotonic() - started >= BATCH_SECONDS:
                    commit(run, batch)
                    batch, started = Batch(run.run_id, context.tokenizer), time.monotonic()
        commit(run, batch)
    return run.counts


def _settings(context: shapes.Context) -> dict[str, Any]:
    named = ("domain", "mapping", "tokenizer", "as_kind", "name", "model", "temperature")
    return {name: getattr(context, name) for name in named}


def _rows(
    path: Path,
    context: shapes.Context,
    batch: Batch,
    run: Run,
    strict: bool,
    progress: Callable[[int], None],
) -> Iterable[None]:
    raise NotImplementedError
