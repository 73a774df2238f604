"""The collect stage: questions of a recipe's sources, merged, chosen and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from builders.collect.load import Opened, open_all
from builders.collect.pool import Pool
from builders.collect.reading import Reading, Reasons
from builders.collect.recipe import Recipe
from builders.ingest.batch import Batch
from builders.ingest.stage import OTHER_CONTENT
from builders.run import Run, to_table
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError
from dasd_data.interrupts import held


@dataclass
class Report:
    """What a run found and did.

    The tables are those of `report_*.sql`; `left_out` and `refused` count rows by source and
    reason; `revisions` has the commits of sources on the Hub.
    """

    dry_run: bool
    revisions: dict[str, str]
    sources: list[dict[str, Any]]
    domains: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]
    left_out: Reasons
    refused: Reasons
    counts: Counter[str]


def collect(
    catalog: Catalog,
    recipe: Recipe,
    opened: Sequence[Opened] | None = None,
    *,
    dry_run: bool = False,
    rows: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Report:
    """Collect the questions of a recipe; what is there already is not added again.

    All sources are opened before any is read (`opened`: they are), all are read before any
    question is chosen, and what is chosen is written in slices: a run that is interrupted wrote
    nothing, or some slices, and the next one adds the others. `rows` bounds the rows read of each
    source. `progress` is told how many more bytes of local files, and rows of the Hub, were read.

    Raises UsageError for sources that are not there or have another schema, RemoteError where the
    Hub cannot be reached, DataError where no row could be taken.
    """
    opened = opened or open_all(recipe)
    revisions = {o.source.name: o.revision for o in opened if o.revision}
    with ExitStack() as stack:
        run = None
        if not dry_run:
            settings = configuration(recipe) | {"revisions": revisions, "rows": rows}
            run = stack.enter_context(Run(catalog.store, "collect", settings))
        pool = stack.enter_context(Pool(catalog, recipe))
        reading = Reading(recipe, run, progress)
        pool.fill(reading.batches(opened, rows))
        if reading.counts["rows"] and not reading.counts["taken"]:
            raise DataError(f"{recipe.file}: no row could be taken: {_reasons(reading)}")
        pool.choose()
        report = Report(
            dry_run,
            revisions,
            pool.report("sources"),
            pool.report("domains"),
            pool.report("duplicates"),
            reading.left_out,
            reading.refused,
            reading.counts,
        )
        if run:
            for questions, places in pool.slices():
                _write(run, report, questions, places)
            run.counts.update(reading.counts)
            report.counts = run.counts
    catalog.refresh()
    return report


def configuration(recipe: Recipe) -> dict[str, Any]:
    """A recipe as it is kept in `runs`."""
    return {
        "recipe": recipe.file,
        "limit": recipe.limit,
        "domains": {name: asdict(domain) for name, domain in recipe.domains.items()},
        "sources": {s.name: s.settings() for s in recipe.sources},
    }


def _reasons(reading: Reading) -> str:
    reasons = (reading.refused + reading.left_out).most_common(3)
    return "; ".join(f"{number:,} of {source}: {why}" for (source, why), number in reasons)


def _write(
    run: Run, report: Report, questions: list[dict[str, Any]], places: list[dict[str, Any]]
) -> None:
    """Commit a slice; a place whose key is there with other content goes to quarantine."""
    sources = run.writer.hashed("question_sources", to_table("question_sources", places))
    conflict = run.writer.conflicts("question_sources", sources)
    tables = {
        "questions": to_table("questions", questions),
        "question_sources": sources,  # `append` leaves conflicts out
    }
    refused = Batch(run.run_id)
    for i in conflict.nonzero()[0].tolist():
        row = places[i]
        report.counts["refused"] += 1
        report.refused[row["source"], OTHER_CONTENT] += 1
        refused.refuse((row["file"], row["line"]), f"question_sources: {OTHER_CONTENT}")
    with held():
        run.append(tables | refused.tables())
