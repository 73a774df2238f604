"""`test`: a view's contract on the rows that a build would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dasd_data import explain, pool, rows
from dasd_data.catalog import Catalog
from dasd_data.contract import messages, scorers
from dasd_data.contract.check import check_rows
from dasd_data.contract.outcome import SAMPLE, Outcome
from dasd_data.errors import DataError, UsageError
from dasd_data.inputs import scorers_of, tables_of


def test(
    catalog: Catalog,
    view_name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    trusted: bool = False,
    sample: int | None = SAMPLE,
) -> list[Outcome]:
    """Every check of a view's contract on the catalog's snapshot; nothing is written.

    `sample` is the number of offending rows that are kept of a check; None keeps all.

    A view whose SQL does not run has the one check `runs`, which fails. Raises UnknownNameError for
    no such view, DamagedFileError, DeniedError.
    """
    view = catalog.find_view(view_name)
    catalog.verify_files([*tables_of(view), "runs", "scorers", "sentence_scores"])
    try:
        session = catalog.session(view, settings)
    except UsageError as error:
        return [Outcome("runs", 1, str(error))]
    system = catalog.config.build.system
    try:
        compared = scorers_of(catalog, view, session)
        if explain.uses_selection(view):
            pool.materialize(session)
        rows.choose(catalog, view, session, trusted=trusted)
        count, checked = check_rows(catalog, view, session, trusted=trusted, sample=sample)
        found = [*scorers.outcomes(compared, session.values, system), *checked]
        if not (count and next(o for o in checked if o.check == "columns").passed):
            return found
        looked = messages.Messages(compared.get("student"), system, sample)
        messages.read(session, looked)
        return [*found, *looked.outcomes()]
    except (UsageError, DataError) as error:
        return [Outcome("runs", 1, str(error))]
    finally:
        session.close()
