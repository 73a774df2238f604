"""Causal attention over sequences that lie end to end in one row, each blind to the others.

Registered with `transformers` under IMPLEMENTATION. The usual routes for packed rows either need
flash attention on a GPU or build an [N, N] mask; here every sequence is a call of its own over
its slice, so nothing can leak and nothing of size N x N exists.
https://huggingface.co/docs/transformers/attention_interface
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

IMPLEMENTATION = "dasd_segments"
BLOCK_ELEMENTS = 2**25  # scores held at a time where the fused kernel does not serve: 128 MiB


@dataclass
class Segments:
    """Lengths of the sequences in the row, and what one forward pass asked of the attention."""

    lengths: Sequence[int]
    calls: int = 0
    masks_local: set[int] = field(default_factory=set)  # windows that the model's masks ask for
    calls_local: set[int] = field(default_factory=set)  # windows that reached the attention


_current: ContextVar[Segments] = ContextVar("segments")


@contextmanager
def segments(lengths: Sequence[int]) -> Iterator[Segments]:
    """Says how the row of the forward pass inside is cut."""
    token = _current.set(seen := Segments(lengths))
    try:
        yield seen
    finally:
        _current.reset(token)


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """[1, H, N, D] queries and [1, K, N, D] keys and values to [1, N, H, D].

    `sliding_window` counts keys up to and including the query's own, `softcap` bounds scores by
    c * tanh(s / c) (Gemma 2), `s_aux` [H] are attention sinks (gpt-oss). Raises
    NotImplementedError for what it would have to ignore.
    """
    seen = _current.get()
    if attention_mask is not None or position_bias is not None or query.shape[0] != 1:
        raise NotImplementedError("segment attention takes one row without mask or bias")
    if not getattr(module, "is_causal", True):
        raise NotImplementedError("segment attention is causal")
    seen.calls += 1
    if sliding_window is not None:
        seen.calls_local.add(sliding_window)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = query.new_empty(*query.shape[:3], value.shape[-1])
    at = 0
    for length in seen.lengths:
        q, k, v = (x[:, :, at : at + length] for x in (query, key, value))
        local = sliding_window if sliding_window is not None and sliding_window < length else None
        if local is None and softcap is None and s_aux is None and q.shape[-1] == v.shape[-1]:
            part = scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
            )
        else:
            part = _blocked(
                q[0], k[0], v[0], scaling=scaling, window=local, softcap=softcap, sinks=s_aux
            )
        out[:, :, at : at + length] = part
        at += length
    return out.transpose(1, 2).contiguous(), None


def _blocked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scaling: float,
    window: int | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Causal attention of one sequence by blocks of queries: [H, L, D] to [1, H, L, Dv]."""
    heads, length, _ = query.shape
    groups = heads // key.shape[0]
    reach = length if window is None else window
    size = max(16, BLOCK_ELEMENTS // (heads * min(length, 2 * reach)))
    out = query.new_empty(1, heads, length, value.shape[-1])
    for first in range(0, length, size):
        last = min(first + size, length)
        low = max(0, first - reach + 1)
        q = query[:, first:last].unflatten(0, (-1, groups))
        k, v = key[:, None, low:last], value[:, None, low:last]
        scores = (q @ k.transpose(-1, -2)).float() * scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        back = (
            torch.arange(first, last, device=query.device)[:, None]
            - torch.arange(low, last, device=query.device)[None]
        )
        scores.masked_fill_((back < 0) | (back >= reach), float("-inf"))
        total = scores.logsumexp(-1, keepdim=True)
        if sinks is not None:
            total = torch.logaddexp(total, sinks.float().view(-1, groups, 1, 1))
        weights = (scores - total).exp_().to(value.dtype)
        out[0, :, first:last] = (weights @ v).flatten(0, 1)
    return out


def _no_mask(*_: Any, local_size: int | None = None, **__: Any) -> None:
    """Builds no mask, and notes the window that this one would have enforced."""
    if local_size is not None:
        _current.get().masks_local.add(local_size)


AttentionInterface.register(IMPLEMENTATION, segment_attention)
AttentionMaskInterface.register(IMPLEMENTATION, _no_mask)
