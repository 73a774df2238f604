"""The loss: sum of weight x cross-entropy over tokens, without the logits of a whole pack.

[64K x 152K] logits in fp32 are 37 GiB. Liger's fused kernel on CUDA and PyTorch's chunked one
elsewhere compute head and loss together, a chunk of tokens at a time, and accumulate the head's
gradient in fp32.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import linear_cross_entropy, one_hot

IGNORE = -100
EACH: Any = {"ignore_index": IGNORE, "reduction": "none"}  # cross-entropy token by token


class LossHead(nn.Linear):
    """A model's output layer whose forward gives the loss: in it, ZeRO-3 has the whole weight."""

    def forward(self, hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Hidden states [tokens, hidden], targets int64 and weights fp32 [tokens], to a scalar."""
        targets = targets.masked_fill(weights == 0, IGNORE)
        fused = liger if hidden.is_cuda else chunked
        return (fused(hidden, self.weight, targets).float() * weights).sum()


def liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token, by Liger's Triton kernels."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    options = {"accum_dtype": torch.float32, **EACH}
    return liger_fused_linear_cross_entropy(hidden, weight, targets, **options)


def chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The same, by PyTorch."""
    options = nn.LinearCrossEntropyOptions(acc_dtype=torch.float32)
    return linear_cross_entropy(hidden, weight, targets, options=options, **EACH)


def balance(router_logits: Sequence[Tensor], top_k: int, real: int, group: Any) -> Tensor:
    """The load-balancing loss of a pack's experts (Switch Transformer, equations 4 to 6).

    Router logits [local tokens, experts] of every layer, of which the first `real` tokens count.
    With sequence parallelism, in a process group, it is this process's part: they sum to the loss.
    """
    logits = torch.stack(list(router_logits))[:, :real].flatten(0, 1).float()
    probabilities = logits.softmax(-1)
    chosen = one_hot(probabilities.topk(top_k).indices, logits.shape[-1]).sum((0, 1)).float()
    sums = torch.cat([chosen, chosen.new_tensor([len(logits)])])
    if group:
        dist.all_reduce(sums, group=group)
    tokens = sums[-1].clamp(min=1)
    return logits.shape[-1] * (sums[:-1] * probabilities.sum(0)).sum() / tokens**2
