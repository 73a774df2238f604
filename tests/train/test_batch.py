"""Packs as tensors: each row beside the next, and slices that make up the whole."""

import numpy as np
import pytest
import torch

from train.batch import build, stream

ROWS = [(np.arange(10, 15), np.array([9, 0, 1, 1, 0.5])), (np.arange(20, 23), np.array([0, 0, 1]))]
SCALE = np.array([1.0, 2.0])


def test_a_target_is_the_next_token_of_the_same_row() -> None:
    """The last token of a row would learn to foretell the first of a stranger."""
    batch = build([0, 1], ROWS, SCALE, 0, 1)
    assert batch.ids.tolist() == [10, 11, 12, 13, 14, 20, 21, 22]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.weights.tolist() == [0, 1, 1, 0.5, 0, 0, 2, 0]
    learned = batch.weights > 0
    assert batch.targets[learned].tolist() == [12, 13, 14, 22]
    assert (batch.starts.tolist(), batch.longest, batch.real) == ([0, 5, 8], 5, 8)
    assert (batch.ids.dtype, batch.weights.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
@pytest.mark.parametrize("pack", [[0, 1], [1], []])
def test_slices_make_up_the_pack(pack: list[int], parts: int) -> None:
    """A token at a seam would be learned twice, or never."""
    whole = build(pack, ROWS, SCALE, 0, 1)
    slices = list(stream([pack] * parts, ROWS, SCALE, 0, parts))
    assert len(slices) == parts and all(part.ids.equal(slices[0].ids) for part in slices)
    slices = [build(pack, ROWS, SCALE, part, parts) for part in range(parts)]
    assert len({len(part.ids) for part in slices}) == 1, "processes exchange equal parts"
    count = sum(len(ROWS[row][0]) for row in pack)
    assert sum(part.real for part in slices) == count
    for name in ("ids", "positions", "weights", "targets"):
        joined = torch.cat([getattr(part, name) for part in slices])[:count]
        expected, learned = getattr(whole, name)[:count], whole.weights[:count] > 0
        if name == "targets":  # of tokens without weight, they are anything
            joined, expected = joined[learned], expected[learned]
        assert joined.tolist() == expected.tolist()
    fill = torch.cat([part.weights for part in slices])[count:]
    assert not fill.any() and slices[0].starts[-1] == count + len(fill)
