from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from builders.score import attention  # noqa: E402


class Module(torch.nn.Module):
    """Stands for the layer that calls the attention."""

    is_causal = True


def by_hand(query, key, value, lengths, *, scaling, window=None, softcap=None, sinks=None):
    """Attention of one head pair at a time with a written-out mask, in float64."""
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    out = torch.zeros(1, query.shape[2], heads, value.shape[-1], dtype=torch.float64)
    start = 0
    for length in lengths:
        for head in range(heads):
            for i in range(start, start + length):
                first = start if window is None else max(start, i - window + 1)
                keys = key[0, head // groups, first : i + 1].double()
                scores = keys @ query[0, head, i].double() * scaling
                if softcap is not None:
                    scores = softcap * torch.tanh(scores / softcap)
                weights = scores.exp()
                total = weights.sum() + (0 if sinks is None else math.exp(sinks[head]))
                values = value[0, head // groups, first : i + 1].double()
                out[0, i, head] = (weights / total) @ values
        start += length
    return out


@pytest.mark.parametrize(
    "extra",
    [{}, {"sliding_window": 4}, {"softcap": 1.5}, {"s_aux": 0}, {"sliding_window": 5, "s_aux": 0}],
)
@pytest.mark.parametrize("block", [2**25, 1])
def test_equals_attention_written_out(extra, block, monkeypatch):
    """Sequences would leak into each other, or a window, cap or sink would be ignored."""
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", block)  # 1: blocks of 16 queries
    torch.manual_seed(0)
    lengths, heads, groups = [3, 41, 1, 20], 4, 2
    query = torch.randn(1, heads, sum(lengths), 8)
    key, value = (torch.randn(1, heads // groups, sum(lengths), n) for n in (8, 8))
    sinks = torch.randn(heads)
    extra = {k: sinks if k == "s_aux" else v for k, v in extra.items()}
    with attention.segments(lengths) as seen:
        got, _ = attention.segment_attention(
            Module(), query, key, value, None, scaling=0.3, **extra
        )
    expected = by_hand(
        query, key, value, lengths, scaling=0.3,
        window=extra.get("sliding_window"),
        softcap=extra.get("softcap"),
        sinks=sinks.tolist() if "s_aux" in extra else None,
    )  # fmt: skip
    assert (got - expected).abs().max() < 1e-5
    assert (seen.calls, seen.calls_local) == (1, {*filter(None, [extra.get("sliding_window")])})


def test_values_may_be_of_another_size_than_keys():
    """Models with latent attention (DeepSeek) would fail or need an L x L matrix."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 30, n) for n in (8, 8, 5))
    with attention.segments([18, 12]):
        got, _ = attention.segment_attention(Module(), query, key, value, None)
    assert (got - by_hand(query, key, value, [18, 12], scaling=8**-0.5)).abs().max() < 1e-5


def test_what_it_would_have_to_ignore_is_refused():
    """A learned bias or a bidirectional model would be scored as if it were plain."""
    row = torch.randn(1, 2, 4, 8)
    both_ways = Module()
    both_ways.is_causal = False
    with attention.segments([4]):
        with pytest.raises(NotImplementedError):
            attention.segment_attention(Module(), row, row, row, None, position_bias=row)
        with pytest.raises(NotImplementedError):
            attention.segment_attention(Module(), row, row, row, torch.ones(4, 4))
        with pytest.raises(NotImplementedError):
            attention.segment_attention(both_ways, row, row, row, None)
