"""What a check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dasd_data.errors import ContractError

SAMPLE = 5  # offending rows that are shown of a check
_SHOWN = 200  # characters of a text of such a row


@dataclass(frozen=True)
class Outcome:
    """One check: `failed` offending rows (or 1 for what is no row), the first or all as `sample`.

    `problem` says what is wrong with them, `note` what could not be looked at.
    """

    check: str
    failed: int = 0
    problem: str = ""
    sample: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing offends."""
        return not self.failed

    def json(self) -> dict[str, Any]:
        """As a JSON document, with the first rows."""
        return {**asdict(self), "sample": self._shown(), "passed": self.passed}

    def words(self) -> str:
        """The failure, with its first rows."""
        shown = ", ".join(map(str, self._shown()))
        return self.problem + (f": {self.failed:,} times, first {shown}" if shown else "")

    def _shown(self) -> list[dict[str, Any]]:
        return [{k: _short(v) for k, v in row.items()} for row in self.sample[:SAMPLE]]


def _short(value: Any) -> Any:
    return f"{value[:_SHOWN]}…" if isinstance(value, str) and len(value) > _SHOWN else value


def enforce(view: str, outcomes: Sequence[Outcome]) -> None:
    """Raise ContractError naming the checks that failed, with their first offending rows."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if not failed:
        return
    lines = [f"{outcome.check}: {outcome.words()}" for outcome in failed]
    if len(lines) == 1:
        raise ContractError(f"view {view} breaks its contract: {lines[0]}")
    raise ContractError("\n- ".join([f"view {view} breaks its contract in {len(lines)}:", *lines]))
