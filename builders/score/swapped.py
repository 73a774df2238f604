"""Whether a server still has the model that it had in earlier runs under the same name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dasd_data.catalog import Catalog
from dasd_data.errors import DataError

MOVED = 0.1  # mean difference in nats of the same text; rounding on another GPU moves it far less


def check_same(catalog: Catalog, scorer_id: str, echo: Sequence[float]) -> None:
    """Raise DataError where the log-probs of a fixed text are others than in the last run.

    `echo` is kept in the configuration of a run. Keys hold the name that a server gives its model
    and the revision that the user declares: nothing else tells another model of that name.
    """
    for stage in ("sample", "score"):
        for then in catalog.configurations(stage):
            before = then.get("echo")
            if then.get("scorer_id") != scorer_id or not before or len(before) != len(echo):
                continue
            moved = math.fsum(abs(a - b) for a, b in zip(before, echo, strict=True)) / len(echo)
            if moved > MOVED:
                raise DataError(
                    f"the server answers with another model than in the last {stage} run: its "
                    f"log-probs of a fixed text moved by {moved:.2f} nats on average; name the new "
                    "one by a --revision of its own, with --tokenizer owner/name, so that its "
                    "samples and scores get their own keys"
                )
            break
