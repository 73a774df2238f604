"""`packed_varlen`: causal attention over sequences packed into one row, each blind to the others.

Where sequences begin comes as `cu_seq_lens_q` and `max_length_q`, the names that `transformers`
gives flash attention, so no mask exists and none can be forgotten. CUDA: PyTorch's varlen kernel;
elsewhere one SDPA call per sequence. With sequence parallelism (Ulysses, arXiv 2309.14509) a
process holds a slice of the pack; an all-to-all turns slices of the sequence with all heads into
the whole sequence with a slice of the heads, and back.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "packed_varlen"
_group: dist.ProcessGroup | None = None  # the processes that share a pack


def packed_varlen(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    cu_seq_lens_q: Tensor, max_length_q: int, scaling: float | None = None, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Query [1, heads, local tokens, size] to [1, local tokens, heads, size].

    Keys and values may have fewer heads; they are repeated where the processes outnumber them.
    """
    if unknown := [k for k in ("sliding_window", "softcap", "s_aux") if others.get(k) is not None]:
        raise NotImplementedError(f"{NAME} has no {', '.join(unknown)}")
    processes = dist.get_world_size(_group) if _group else 1
    if (repeats := processes // math.gcd(processes, key.shape[1])) > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    # [local tokens, heads, size] to [tokens, local heads, size], and back
    q, k, v = (_exchange(x[0].transpose(0, 1), 1, 0) for x in (query, key, value))
    if q.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        where = cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q
        out = varlen_attn(q, k, v, *where, scale=scaling, window_size=(-1, 0), enable_gqa=True)
    else:
        options: dict[str, Any] = {"is_causal": True, "scale": scaling, "enable_gqa": True}
        lengths = cu_seq_lens_q.diff().tolist()
        rows = zip(*(x.transpose(0, 1)[None].split(lengths, 2) for x in (q, k, v)), strict=True)
        out = torch.cat([scaled_dot_product_attention(*row, **options) for row in rows], 2)
        out = out[0].transpose(0, 1)
    return _exchange(out, 0, 1)[None], None


def _exchange(x: Tensor, split: int, join: int) -> Tensor:
    """Block i of dimension `split` goes to process i; what comes is joined in dimension `join`."""
    if _group is None:
        return x
    blocks = torch.stack(x.chunk(dist.get_world_size(_group), split))
    return torch.cat(all_to_all_single(blocks, None, None, _group).unbind(), join)


def register(group: dist.ProcessGroup | None = None) -> None:
    """Make the implementation known to `transformers`; `group` shares each pack."""
    global _group  # noqa: PLW0603 - transformers calls an attention by its name, without a context
    _group = group
    AttentionInterface.register(NAME, packed_varlen)
    AttentionMaskInterface.register(NAME, lambda *_args, **_kwargs: None)
