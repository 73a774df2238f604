"""Which scorer a name means: an alias of `dasd.toml`, a scorer's name, its model or its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dasd_data.errors import ConfigError, UnknownNameError

SHORTEST_ID = 6
_SCORED_AS = "training_render"  # the context that roles of students are compared in
STUDENTS = ("student", "distilled")


def resolve(wanted: str, aliases: Mapping[str, str], scorers: Sequence[Mapping[str, Any]]) -> str:
    """The scorer_id that `wanted` means among rows of `scorers`.

    A student that was also sampled has two contexts under its name: the role of a student means
    the training render. Raises UnknownNameError if there is none, ConfigError listing the
    candidates if several.
    """
    target = aliases.get(wanted, wanted)
    # Token ids that came without log-probs name a scorer too, one that cannot be meant.
    scorers = [s for s in scorers if s["used"]] or scorers
    for found in (
        [s for s in scorers if s["name"] == target],
        [s for s in scorers if s["model"] == target],
        [s for s in scorers if len(target) >= SHORTEST_ID and s["scorer_id"].startswith(target)],
    ):
        rendered = [s for s in found if s["context"] == _SCORED_AS]
        matches = rendered if rendered and wanted in STUDENTS else found
        ids = sorted({s["scorer_id"] for s in matches})
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise ConfigError(
                f"{len(ids)} scorers are meant by {wanted!r}: "
                + "; ".join(describe(next(s for s in matches if s["scorer_id"] == i)) for i in ids)
                + f'. Choose one: --set {wanted}=ID, or [scorers] {wanted} = "ID" in dasd.toml'
            )
    raise UnknownNameError(
        "scorer",
        target,
        {s["name"] for s in scorers},
        "; ingest responses with log-probs, or run `dasd-data score --model MODEL --name "
        f"{wanted}`",
    )


def describe(scorer: Mapping[str, Any]) -> str:
    """One line on a scorer: id, model and what tells it from others."""
    details = [
        f"T={scorer['temperature']:g}" if scorer["temperature"] is not None else None,
        *(scorer[c] for c in ("logprobs_mode", "engine", "dtype", "revision", "context")),
    ]
    known = ", ".join(d for d in details if d)
    return f"{scorer['scorer_id'][:12]} {scorer['model']} ({known})"
