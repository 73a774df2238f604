"""Hand-made cases, and the golden rules of pySBD as the outside yardstick."""

import itertools
import tomllib
from pathlib import Path

import pytest

from builders.segment import segment_text

HERE = Path(__file__).parent
GOLDEN = tomllib.loads((HERE / "golden_rules.toml").read_text(encoding="utf-8"))
CASES = [
    pytest.param(case, id=f"{topic}-{number}")
    for topic, cases in tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8")).items()
    for number, case in enumerate(cases, 1)
]


def sentences(text: str) -> list[str]:
    ends, _ = segment_text(text)
    raw, starts = text.encode(), [0, *ends.tolist()]
    return [raw[a:b].decode() for a, b in itertools.pairwise(starts)]


@pytest.mark.parametrize("case", CASES)
def test_cuts_where_a_reader_would(case: str) -> None:
    """A sentence of a trace would be cut in two, or two would be taken for one."""
    assert sentences(case.replace("‖", "")) == case.split("‖")


@pytest.mark.parametrize("case", GOLDEN["pass"])
def test_passes_the_golden_rules(case: str) -> None:
    """Plain English would be cut worse than the yardstick of the field asks."""
    assert [s.strip() for s in sentences(case.replace("‖", ""))] == case.replace(" ‖", "‖").split(
        "‖"
    )


@pytest.mark.parametrize("case", [k["text"] for k in GOLDEN["known"]])
def test_lists_the_golden_rules_that_fail(case: str) -> None:
    """The list of known failures would claim more than is true."""
    assert [s.strip() for s in sentences(case.replace("‖", ""))] != case.replace(" ‖", "‖").split(
        "‖"
    )


def test_enough_cases_and_rules() -> None:
    """The yardstick would shrink unseen."""
    assert len(CASES) >= 150
    assert len(GOLDEN["pass"]) + len(GOLDEN["known"]) == 48
    assert len(GOLDEN["pass"]) >= 40
