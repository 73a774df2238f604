from __future__ import annotations

from collections import Counter

import pytest

from builders.sample.meter import Meter, cost
from dasd_data.config import Prices


def test_figures_of_a_run(monkeypatch):
    """A user would plan days by a wrong rate, or not see that half of it is cut off."""
    monkeypatch.setattr("time.monotonic", lambda: 150.0)
    meter = Meter(Prices(million_prompt_tokens=2.0, hour=36.0), start=100.0)
    counts = Counter(
        {"wanted": 100, "done": 20, "failed": 5, "prompt_tokens": 10_000,
         "sampled_tokens": 40_000, "finished: length": 5, "finished: stop": 15}
    )  # fmt: skip
    reading = meter.read(counts)
    assert reading.prompt_tokens_per_s == 200
    assert reading.sampled_tokens_per_s == 800
    assert reading.truncated == 0.25
    assert reading.left_s == 150  # 75 are left, at 25 in 50 s
    assert reading.cost == pytest.approx(0.02 + 0.5)
    assert reading.line() == (
        "prompts 200 tokens/s, sampled 800 tokens/s, 25.0% cut off, 5 failed, cost 0.52"
    )
    assert meter.read(Counter()).left_s is None


def test_no_price_is_no_cost():
    """A run would be said to be free."""
    assert cost(Prices(), 1_000_000, 1_000_000, 3600) is None
    assert cost(Prices(million_sampled_tokens=3), 1_000_000, 2_000_000, 3600) == 6
