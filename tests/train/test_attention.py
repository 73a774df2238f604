"""Packed rows: the same as each alone, in logits, loss and gradients; heads of the loss agree."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3MoeConfig

from train import attention, loss
from train.batch import Batch
from train.config import ConfigError
from train.model import Student, check

SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 60, "max_position_embeddings": 128,
}  # fmt: skip
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "router_aux_loss_coef": 0.1,
}


def model_of(config: Any) -> Any:
    attention.register()
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention.NAME).float()


def packed(rows: Sequence[np.ndarray]) -> Batch:
    lengths = [len(row) for row in rows]
    return Batch(
        ids=torch.from_numpy(np.concatenate(rows)),
        positions=torch.cat([torch.arange(n) for n in lengths]),
        targets=torch.from_numpy(np.concatenate([np.append(row[1:], 0) for row in rows])),
        weights=torch.cat([torch.cat([torch.ones(n - 1), torch.zeros(1)]) for n in lengths]),
        starts=torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32),
        longest=max(lengths),
        real=sum(lengths),
    )


@pytest.fixture(params=["dense", "experts"])
def config(request: pytest.FixtureRequest) -> Any:
    return Qwen3Config(**SMALL) if request.param == "dense" else Qwen3MoeConfig(**SMALL, **EXPERTS)


ROWS = [np.random.default_rng(n).integers(0, 60, n) for n in (9, 1, 17, 5)]


def test_packed_rows_are_the_same_as_alone(config: Any) -> None:
    """A row that sees its neighbour in the pack learns from text it will never have."""
    student = Student(model_of(config))
    student.balance = 0
    student(packed(ROWS))[0].backward()
    together = {name: p.grad.clone() for name, p in student.named_parameters()}

    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    plain.load_state_dict(student.model.state_dict())
    total, states = 0.0, []
    for row in ROWS:
        out = plain(torch.from_numpy(row)[None], output_hidden_states=True)
        states.append(out.hidden_states[-1][0])
        if len(row) > 1:
            total += cross_entropy(out.logits[0, :-1], torch.from_numpy(row)[1:], reduction="sum")
    total.backward()
    batch = packed(ROWS)
    ours = student.model.base_model(
        input_ids=batch.ids[None], position_ids=batch.positions[None], use_cache=False,
        cu_seq_lens_q=batch.starts, max_length_q=batch.longest,
    )  # fmt: skip
    torch.testing.assert_close(ours.last_hidden_state[0], torch.cat(states), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(student(packed(ROWS))[0], total.detach(), rtol=1e-6, atol=1e-5)
    for name, p in plain.named_parameters():
        torch.testing.assert_close(together[f"model.{name}"], p.grad, rtol=1e-4, atol=1e-6)


def test_activation_checkpointing_changes_nothing(config: Any) -> None:
    """Recomputed layers have to see the same rows, and the experts' balance the same routers."""
    grads = []
    for checkpointing in (False, True):
        student = Student(model_of(config).train())
        if checkpointing:
            student.model.activation_checkpointing_enable()
        student(packed(ROWS)).sum().backward()
        grads.append({name: p.grad for name, p in student.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-5, atol=1e-7)


def test_the_balance_loss_is_that_of_transformers() -> None:
    """Another formula would balance the experts more or less than the model was trained for."""
    student = Student(model_of(Qwen3MoeConfig(**SMALL, **EXPERTS)))
    row = ROWS[2]
    out = student.model.base_model(
        torch.from_numpy(row)[None], output_router_logits=True, use_cache=False,
        cu_seq_lens_q=torch.tensor([0, len(row)], dtype=torch.int32), max_length_q=len(row),
    )  # fmt: skip
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    expected = load_balancing_loss_func(out.router_logits, 4, 2)
    torch.testing.assert_close(loss.balance(out.router_logits, 2, len(row), None), expected)
    torch.testing.assert_close(student(packed([row]))[1], 0.1 * expected)


HYBRID = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
OTHERS = {key: value for key, value in SMALL.items() if key != "head_dim"}


@pytest.mark.parametrize(
    "kind",
    [
        Qwen3Config(**SMALL), Qwen3MoeConfig(**SMALL, **EXPERTS), transformers.Qwen2Config(**OTHERS),
        transformers.LlamaConfig(**OTHERS), transformers.Olmo2Config(**OTHERS),
        transformers.MixtralConfig(**OTHERS, num_local_experts=4, num_experts_per_tok=2),
    ],
    ids=lambda kind: kind.model_type,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_families_that_can_be_packed_are_taken(kind: Any, dtype: torch.dtype) -> None:
    """Refused for nothing, a family could not be trained."""
    model = model_of(kind).to(dtype)
    check(model)
    assert model.config._attn_implementation == attention.NAME


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (transformers.GraniteConfig(**OTHERS, logits_scaling=8.0), "changes logits"),
        (transformers.CohereConfig(**OTHERS, logit_scale=0.0625), "changes logits"),
        (transformers.BambaConfig(**OTHERS, **HYBRID, attn_layer_indices=[1]), "mixes the rows"),
        (transformers.FalconH1Config(**OTHERS, **{**HYBRID, "mamba_n_heads": 4}, mamba_d_ssm=32), "mixes the rows"),
        (transformers.Lfm2Config(**OTHERS, block_dim=32, layer_types=["conv", "full_attention"]), "mixes the rows"),
        (transformers.Gemma2Config(**SMALL), "sliding_window, softcap"),
        (transformers.Gemma3TextConfig(**SMALL), "sliding_window"),
        (transformers.GptOssConfig(**SMALL, num_local_experts=4, num_experts_per_tok=2), "s_aux"),
        (Qwen3Config(**SMALL, use_sliding_window=True, sliding_window=4, max_window_layers=0), "sliding_window"),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_families_that_cannot_be_packed_are_refused(kind: Any, reason: str) -> None:
    """Rows that see each other, a window or a scale that is ignored: another model is trained."""
    with pytest.raises(ConfigError, match=reason):
        check(model_of(kind))


def test_logits_that_are_changed_a_little_are_seen_in_bfloat16() -> None:
    """Half precision is the default: a scale or a cap of a few percent would train another loss."""
    kind = transformers.GraniteConfig(**OTHERS, logits_scaling=1.05)
    with pytest.raises(ConfigError, match="changes logits"):
        check(model_of(kind).to(torch.bfloat16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_scale_the_loss(dtype: torch.dtype) -> None:
    """Weight 0 is masked, 1 is plain, 2 counts twice: in the loss and in every gradient."""
    torch.manual_seed(0)
    head = loss.LossHead(16, 50, bias=False, dtype=dtype)
    hidden = torch.randn(30, 16, dtype=dtype, requires_grad=True)
    targets, weights = torch.randint(0, 50, (30,)), torch.tensor([0.0, 1.0, 2.0] * 10)
    head(hidden, targets, weights).backward()
    ours = hidden.grad.clone(), head.weight.grad.clone()
    hidden.grad = head.weight.grad = None
    logits = hidden.float() @ head.weight.float().T
    (cross_entropy(logits, targets, reduction="none") * weights).sum().backward()
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(ours, (hidden.grad, head.weight.grad), **close)
    assert (ours[0][::3] == 0).all()


LIGER = """
import torch
from train import loss
torch.manual_seed(0)
hidden = torch.randn(12, 16, requires_grad=True)
weight = torch.randn(50, 16, requires_grad=True)
targets, weights = torch.randint(0, 50, (12,)), torch.tensor([0.0, 1.0, 0.5] * 4)
targets[weights == 0] = loss.IGNORE
grads = []
for fused in (loss.liger, loss.chunked):
    each = fused(hidden, weight, targets)
    (each * weights).sum().backward()
    grads.append((each.detach(), hidden.grad.clone(), weight.grad.clone()))
    hidden.grad = weight.grad = None
torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
def test_liger_is_the_same_as_chunked() -> None:
    """The GPU's kernels, under Triton's interpreter: another loss there would go unseen here."""
    pytest.importorskip("liger_kernel")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LIGER], capture_output=True, text=True,
                          env={**os.environ, "TRITON_INTERPRET": "1"}, timeout=300, check=False)  # fmt: skip
    assert done.stdout == "equal\n", done.stderr
