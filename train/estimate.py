"""Arithmetic of a run without running it: model FLOPs, memory and time.

FLOPs forward and backward: 6 x active parameters x tokens (the embedding is looked up, not
multiplied) + 6 x layers x heads x head size x sum of squared lengths (causal attention, counted
once). Recomputed activations do not count: MFU = FLOPs / (seconds x devices x peak FLOP/s).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from train.config import Config

if TYPE_CHECKING:
    from train.plan import Plan

PEAK = {"B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bf16 FLOP/s
DEVICE, MEMORY, MFU = "H100", 79 * 2**30, 0.35  # assumed in an estimate


class Shape(NamedTuple):
    """What the arithmetic needs to know about a model."""

    parameters: int
    active: float  # multiplied per token: not the embedding, and only the experts in use
    attention: int  # layers x heads x head size

    def flops(self, tokens: float, squares: float) -> float:
        """Of training steps on `tokens`, with `squares` the sum of squared lengths."""
        return 6 * self.active * tokens + 6 * self.attention * squares


def shape_of(model: Any) -> Shape:
    """The shape of a `transformers` causal language model; its weights may be on `meta`."""
    c = model.config
    experts = getattr(c, "num_experts", None) or getattr(c, "num_local_experts", None) or 1
    used = getattr(c, "num_experts_per_tok", 0) / experts
    active = sum((used if ".experts." in n else 1) * p.numel() for n, p in model.named_parameters())
    active -= 0 if c.tie_word_embeddings else model.get_input_embeddings().weight.numel()
    size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    attention = c.num_hidden_layers * c.num_attention_heads * size
    return Shape(sum(p.numel() for p in model.parameters()), active, attention)


def report(config: Config, plan: "Plan", devices: int) -> str:
    """Memory of a device and time of the run, both estimates."""
    from transformers import AutoConfig, AutoModelForCausalLM

    about = AutoConfig.from_pretrained(config.init_from, revision=config.revision)
    with torch.device("meta"):
        shape = shape_of(AutoModelForCausalLM.from_config(about))
    width = 2 if config.dtype == "bfloat16" else 4
    kept = 1 if config.activation_checkpointing else 16
    row = config.cutoff / config.sequence_parallel * about.hidden_size * width
    hosted = 16 if config.offload else 0  # of a parameter: fp32 gradient, weight, two moments
    name = "weights" if hosted else "weights, gradients, optimizer"
    parts = {
        name: shape.parameters * (width + 16 - hosted) / devices,
        "activations": row * (24 + about.num_hidden_layers * kept),
        "loss": about.vocab_size * about.hidden_size * (4 + width) + 2**30,
        "gathered weights": min(shape.parameters, 1e9) * width,
    }
    passes = len(plan.stream) / len(plan.packs)
    flops = shape.flops(float(plan.tokens.sum()), float(plan.squares.sum())) * passes
    hours, total = flops / (devices * PEAK[DEVICE] * MFU) / 3600, sum(parts.values())
    gib = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in parts.items())
    host = f" and {shape.parameters * hosted / 2**30:,.0f} GiB of host memory" if hosted else ""
    over = f", MORE THAN ITS {MEMORY / 2**30:.0f}" if total > MEMORY else ""
    return (f"estimate on {devices} {DEVICE}: {total / 2**30:.0f} GiB each{over} ({gib}){host}; "
            f"{flops:.2e} FLOPs, {hours:,.1f} hours at {MFU:.0%} MFU")  # fmt: skip


def peak_flops() -> float | None:
    """Of this machine's device; None where it is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((peak for key, peak in PEAK.items() if key in name), None)
