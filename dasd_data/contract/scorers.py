"""Whether the scorers of a split can be compared, and scored what will be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dasd_data.contract.outcome import Outcome
from dasd_data.errors import ContractError
from dasd_data.scorers import describe

Scorers = Mapping[str, Mapping[str, Any]]  # parameter (teacher, student, ...) -> row of `scorers`


def check_scorers(scorers: Scorers, values: Mapping[str, Any], system: str | None) -> None:
    """Raise ContractError for what `outcomes` finds."""
    for outcome in outcomes(scorers, values, system):
        if not outcome.passed:
            raise ContractError(outcome.problem)


def outcomes(scorers: Scorers, values: Mapping[str, Any], system: str | None) -> list[Outcome]:
    """Whether there is one mode of log-probs, and the student's context is that of training."""
    if not scorers:
        return []
    return [_mode(scorers, values.get("assume_raw")), _context(scorers.get("student"), system)]


def _mode(scorers: Scorers, assume_raw: bool | None) -> Outcome:
    modes = {_mode_of(row, assume_raw) for row in scorers.values()}
    if len(modes) < 2:
        return Outcome("logprobs_mode")
    return Outcome(
        "logprobs_mode",
        failed=1,
        problem="log-probs of different modes cannot be compared: "
        + "; ".join(f"{name} is {describe(row)}" for name, row in scorers.items())
        + ". Score both models the same way, or, if an unknown mode is known to be raw, "
        "pass --set assume_raw=true",
    )


def _mode_of(scorer: Mapping[str, Any], assume_raw: bool | None) -> tuple[str, float | None]:
    mode = scorer["logprobs_mode"]
    if mode == "raw_logprobs" or (mode == "unknown" and assume_raw):
        return "raw_logprobs", 1.0
    return mode, scorer["temperature"]


def _context(student: Mapping[str, Any] | None, system: str | None) -> Outcome:
    if not student or student["context"] != "training_render":
        return Outcome("training_context", note="the student was not scored in a training render")
    if student["system_prompt"] == system:
        return Outcome("training_context")
    return Outcome(
        "training_context",
        failed=1,
        problem=f"the student was scored with the system prompt {student['system_prompt']!r}, and "
        f"this build renders {system!r}: score again with --system, or set [build] system",
    )
