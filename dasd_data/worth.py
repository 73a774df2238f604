"""Whether a selection is worth its cost: what it was chosen from, and what no model would choose.

The limits are ours; no paper states any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dasd_data import sqlfiles
from dasd_data.session import Session

NO_SCORES = ("random", "length")  # rankings that read no probability
FEW_TEACHER, ALIGNED, LIKE_LONGEST = 0.05, 0.9, 0.9


def weigh(session: Session, values: Mapping[str, Any]) -> dict[str, Any]:
    """Facts on the rows of `_chosen` and the pool behind them, with `warnings` in words.

    `median_candidates` per question, `length_ratio` of the chosen to the pool, `teacher_share`
    and `shared_share` of the pool's sentences, and `overlap` with two rankings that need no model.
    """
    facts: dict[str, Any] = session.rows(sqlfiles.report("worth"))[0]
    facts["overlap"] = {ranking: _overlap(session, ranking) for ranking in NO_SCORES}
    session.set_text("rank_by", values["rank_by"])
    facts["warnings"] = list(_warnings(facts, values))
    return facts


def _overlap(session: Session, rank_by: str) -> float:
    """Share of the split that another ranking would choose, all else being the same."""
    session.set_text("rank_by", rank_by)
    return float(session.rows(sqlfiles.report("overlap"))[0]["overlap"])


def _warnings(facts: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    if values["rank_by"] in NO_SCORES:
        return
    if facts["median_candidates"] == 1 and values["scope"] == "within_question":
        yield (
            "the median question has one candidate: within questions, ranking changes nothing "
            "there; sample more of each question, or rank across questions (scope=pool)"
        )
    teacher, shared = facts["teacher_share"], facts["shared_share"]
    if teacher is not None and teacher < FEW_TEACHER:
        yield (
            f"only {teacher:.1%} of the pool's sentences are Teacher sentences: their counts are "
            "small and ties many, so that ranking by them is close to chance"
        )
    if shared is not None and shared > ALIGNED:
        yield (
            f"{shared:.1%} of the pool's sentences are shared: the student already writes like "
            "the teacher, and there is little to select by"
        )
    if facts["overlap"]["length"] > LIKE_LONGEST and facts["overlap"]["random"] < LIKE_LONGEST:
        yield (
            f"choosing the longest gives {facts['overlap']['length']:.1%} of the same rows, "
            "without scoring any"
        )
