"""A few dozen points of random damage; `corruption.py` as a script tries as many as asked."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

POINTS, SEED = 60, 20261121


@pytest.mark.slow
def test_no_damage_reads_wrong_rows_in_silence(tmp_path):
    """A split would be built from rows that are not what was sampled."""
    place = Path(__file__).with_name("corruption.py")
    spec = importlib.util.spec_from_file_location("corruption", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    outcomes = module.run(POINTS, SEED, tmp_path)
    assert sum(outcomes.values()) == POINTS
    silent = {key: n for key, n in outcomes.items() if key[1].startswith("SILENT")}
    assert silent == {}
    # The harness looks: damage of every kind was met, and most of what it did was noticed.
    assert {kind.split()[0] for kind, _ in outcomes} == set(module.KINDS)
    assert sum(n for (_, outcome), n in outcomes.items() if outcome != "read right") > POINTS // 3
