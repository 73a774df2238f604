from __future__ import annotations

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from builders.score.engine import ScoreRequest
from builders.score.packing import WINDOW_BATCHES, batches, first_fit, similar_lengths


def requests_of(lengths):
    return [ScoreRequest(str(i), np.zeros(n, np.int32), 1) for i, n in enumerate(lengths)]


def keys(packs):
    return [[request.key for request in pack] for pack in packs]


def test_first_fit_fills_the_first_pack_with_room():
    """Packs would be half empty, and scoring slower."""
    packs = first_fit(requests_of([3, 7, 5, 2, 3]), 10)
    assert keys(packs) == [["1", "0"], ["2", "4", "3"]]  # 7+3, 5+3+2


def test_padding_counts_against_the_budget():
    """A padded batch would need more memory than was allowed."""
    packs = similar_lengths(requests_of([3, 7, 5, 2, 3]), 10)
    assert keys(packs) == [["1"], ["2", "0"], ["4", "3"]]  # 7, 2x5, 2x3


@given(st.lists(st.integers(1, 30), max_size=300), st.integers(1, 40))
def test_every_request_is_in_exactly_one_batch_within_the_budget(lengths, budget):
    """A response would be lost, scored twice, or blow the memory."""
    for packing in (first_fit, similar_lengths):
        packs = list(batches(requests_of(lengths), budget, packing))
        assert sorted(chain(*keys(packs)), key=int) == [str(i) for i in range(len(lengths))]
        for pack in packs:
            sizes = [len(request.ids) for request in pack]
            cost = sum(sizes) if packing is first_fit else max(sizes) * len(sizes)
            assert cost <= budget or len(pack) == 1
        assert keys(packs) == keys(batches(requests_of(lengths), budget, packing))


def test_a_stream_without_end_is_read_in_bounded_windows():
    """Millions of requests would be read into memory before the first batch."""
    taken = 0

    def stream():
        nonlocal taken
        while True:
            taken += 1
            yield ScoreRequest(str(taken), np.zeros(10, np.int32), 1)

    next(batches(stream(), 100, first_fit))
    assert taken == WINDOW_BATCHES * 10
