from __future__ import annotations

from itertools import pairwise

import pytest

from builders.score.engine import ScoreRequest
from builders.score.estimate import SAMPLE, estimate, measure_rate
from builders.score.fake import FakeScorer


class Timed(FakeScorer):
    """Takes one second per 100 tokens of a clock of its own."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.now, self.runs = 0.0, []

    def score(self, requests):
        """The same values, and the time they take."""
        requests = list(requests)
        self.runs.append([request.key for request in requests])
        self.now += sum(len(request.ids) for request in requests) / 100
        return super().score(requests)

    def clock(self):
        """Seconds by its own clock."""
        return self.now


def test_counts_and_hours(random_requests):
    """A dry run would announce the wrong cost."""
    scorer = Timed(max_context=50)
    requests = random_requests((40, 10), (50, 1), (51, 1), (3, 3))
    got = estimate(scorer, requests, clock=scorer.clock)
    assert (got.sequences, got.tokens, got.scored) == (2, 90, 79)
    assert got.refused == {"over context": 1, "nothing to score": 1}
    assert got.tokens_per_second == pytest.approx(100)
    assert got.hours == pytest.approx(90 / 100 / 3600)


def test_nothing_to_measure_has_no_hours():
    """An empty selection would divide by zero."""
    got = estimate(FakeScorer(), [])
    assert (got.tokens, got.tokens_per_second, got.hours) == (0, None, None)


def test_the_sample_is_spread_over_all_requests(random_requests):
    """The rate would be that of the first, perhaps short, responses only."""
    scorer = Timed()
    requests = random_requests(*[(2, 1)] * 1000)
    estimate(scorer, iter(requests), seconds=1e9, clock=scorer.clock)
    largest = [int(key[1:]) for key in scorer.runs[-1]]
    assert SAMPLE // 2 <= len(largest) <= SAMPLE
    gaps = {after - before for before, after in pairwise(largest)}
    assert gaps == {16}
    assert largest[-1] > 950


def test_measuring_stops_when_its_time_is_over(random_requests):
    """A dry run on a slow machine would take as long as the scoring itself."""
    scorer = Timed()
    sample: list[ScoreRequest] = random_requests(*[(100, 1)] * 64)
    measure_rate(scorer, sample, seconds=5, clock=scorer.clock)
    assert [len(run) for run in scorer.runs] == [1, 2, 4]
