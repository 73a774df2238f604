"""Log-probs of known next tokens from hidden states, the vocabulary a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Logits = Callable[[torch.Tensor], torch.Tensor]


def head_of(model: Any) -> Logits:
    """The function from hidden states [n, hidden] to float32 logits [n, vocabulary] of a model.

    Knows what stands between the linear layer and the logits in `transformers`: a factor
    (`logit_scale` of Cohere, `lm_head_multiplier` of Falcon-H1), a divisor (`logits_scaling` of
    Granite) and a soft cap c * tanh(x / c) (`final_logit_softcapping` of Gemma). Whoever uses it
    compares it with the model's own logits once, since the next architecture may add another.
    """
    layer, config = model.get_output_embeddings(), model.config.get_text_config()
    factor = _number(config, "logit_scale", 1.0) * _number(config, "lm_head_multiplier", 1.0)
    factor /= _number(config, "logits_scaling", 1.0)
    cap = _number(config, "final_logit_softcapping", 0.0)

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        out = layer(hidden).float()
        if factor != 1.0:
            out *= factor
        if cap:
            out = torch.tanh_(out.div_(cap)).mul_(cap)
        return out

    return logits


def head_logprobs(
    logits: Logits, hidden: torch.Tensor, targets: torch.Tensor, rows: int
) -> torch.Tensor:
    """Natural log-probs (float32, [n]) of `targets` [n] given `hidden` [n, hidden].

    Holds [rows, vocabulary] logits at a time, whatever n is.
    """
    out = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
    for at in range(0, len(targets), rows):
        part = logits(hidden[at : at + rows])
        picked = part.gather(1, targets[at : at + rows, None]).squeeze(1)
        out[at : at + rows] = picked - part.logsumexp(1)
    return out


def _number(config: Any, name: str, default: float) -> float:
    value = getattr(config, name, None)
    return default if value is None else float(value)
