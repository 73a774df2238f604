from __future__ import annotations

from collections import Counter

import pytest

from builders.meter import Meter, cost
from dasd_data.config import Prices


@pytest.fixture
def at(monkeypatch):
    """at(seconds): set the clock."""
    return lambda seconds: monkeypatch.setattr("time.monotonic", lambda: float(seconds))


@pytest.fixture
def started(at):
    """started(prices, stage, seconds): a meter of a run whose work begins then."""

    def start(prices, stage, seconds):
        at(seconds)
        meter = Meter(prices, stage, start=seconds)
        meter.read(Counter())
        return meter

    return start


def test_figures_of_a_run(at, started):
    """A user would plan days by a wrong rate, or not see that half of it is cut off."""
    meter = started(Prices(million_prompt_tokens=2.0, hour=36.0), "sample", 100)
    at(150)
    counts = Counter(
        {"wanted": 100, "done": 20, "failed": 5, "prompt_tokens": 10_000,
         "sampled_tokens": 40_000, "finished: length": 5, "finished: stop": 15}
    )  # fmt: skip
    reading = meter.read(counts)
    assert reading.prompt_tokens_per_s == 200
    assert reading.sampled_tokens_per_s == 800
    assert reading.truncated == 0.25
    assert reading.failed_share == 0.2
    assert reading.left_s == 150  # 75 are left, at 25 in 50 s
    assert reading.cost == pytest.approx(0.02 + 0.5)
    assert reading.line() == (
        "prompts 200 tokens/s, sampled 800 tokens/s, 25.0% cut off, 5 failed (20.0%), cost 0.52"
    )
    assert meter.read(Counter()).left_s is None


def test_figures_of_a_score_run(at, started):
    """A user would not see what scoring costs, and how fast it goes."""
    meter = started(Prices(million_prompt_tokens=2.0), "score", 0)
    assert "scored 0 tokens/s" in meter.read(Counter()).line()
    at(10)
    counts = Counter(wanted=4, done=2, prompt_tokens=1_000, scored_tokens=9_000)
    reading = meter.read(counts)
    assert reading.line() == (
        "prompts 100 tokens/s, scored 900 tokens/s, 0 failed (0.0%), cost 0.02"
    )
    assert reading.left_s == 10


def test_rates_are_those_of_the_last_minutes_and_of_this_run_s_work(at, started):
    """A run that slowed down, or that read what another had sampled, would promise an early end."""
    meter = started(Prices(), "sample", 0)
    counts = Counter(wanted=10_000, done=1_000, recovered=1_000)
    at(1)
    assert meter.read(counts).left_s is None
    for second in range(2, 1_001):  # ten a second, then one a second
        at(second)
        counts["done"] += 10 if second <= 500 else 1
        counts["sampled_tokens"] += 1_000 if second <= 500 else 100
        reading = meter.read(counts)
    assert reading.sampled_tokens_per_s == 100
    assert reading.left_s == 10_000 - counts["done"]
    assert len(meter._points) <= 302
    assert meter.whole(counts).sampled_tokens_per_s == 549  # the report tells the run's own rate


def test_rates_begin_with_the_work(at):
    """What `score` filters first would make its rate far too low, and the time left too long."""
    meter = Meter(Prices(hour=36.0), "score", start=0.0)
    at(1_000)
    assert meter.read(Counter(wanted=100)).scored_tokens_per_s == 0
    at(1_010)
    reading = meter.read(Counter(wanted=100, done=20, scored_tokens=500))
    assert (reading.scored_tokens_per_s, reading.left_s) == (50, 40)
    assert reading.cost == pytest.approx(10.1)  # the machine is paid for meanwhile


def test_no_price_is_no_cost():
    """A run would be said to be free."""
    assert cost(Prices(), 1_000_000, 1_000_000, 3600) is None
    assert cost(Prices(million_sampled_tokens=3), 1_000_000, 2_000_000, 3600) == 6
