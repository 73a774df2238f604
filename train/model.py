"""The student: any causal language model of `transformers`, on packed rows, under DeepSpeed."""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from train import attention, loss
from train.batch import Batch, build
from train.config import Config, ConfigError, read


def states(model: Any, batch: Batch, **options: Any) -> Any:
    """What a model's layers make of a pack, without its output layer."""
    return model.base_model(
        input_ids=batch.ids[None], position_ids=batch.positions[None], use_cache=False,
        cu_seq_lens_q=batch.starts, max_length_q=batch.longest, **options,
    )  # fmt: skip


@torch.no_grad()
def check(model: Any) -> None:
    """ConfigError unless packed rows give what `transformers` gives for each alone.

    They do not where a layer looks past the edge of a row (a state, a convolution, a window), nor
    does the output layer alone give the loss where logits are scaled or capped after it.
    """
    rows, name = [(np.arange(at, 15), np.ones(15 - at)) for at in (2, 7)], type(model).__name__
    # In half precision a router may choose otherwise; the output layer sees the same states.
    layers, head = (1e-5, 1e-5) if model.dtype == torch.float32 else (0.2, 1e-2)

    def differs(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> bool:
        return bool((ours - theirs).float().norm() > tolerance * theirs.float().norm())

    try:
        packed = states(model, build(range(2), rows, np.ones(2), 0, 1)).last_hidden_state[0]
        model.set_attn_implementation("sdpa")
        plain = [torch.from_numpy(ids)[None] for ids, _ in rows]
        alone = [model.base_model(ids, use_cache=False).last_hidden_state[0] for ids in plain]
        logits = model(plain[-1], use_cache=False).logits[0]
        model.set_attn_implementation(attention.NAME)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(f"{name} does not run on packed rows: {error}") from error
    if differs(packed, torch.cat(alone), layers):
        raise ConfigError(f"{name} mixes the rows of a pack: it cannot be trained here")
    if differs(model.get_output_embeddings()(alone[-1]), logits, head):
        raise ConfigError(f"{name} changes logits after its output layer: its loss would be wrong")


class Student(nn.Module):
    """A model whose forward takes a packed batch and gives its loss."""

    def __init__(self, model: Any, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.model, self.group, head = model, group, model.get_output_embeddings()
        if type(head) is not nn.Linear or head.bias is not None:
            raise ConfigError(f"the output layer of {type(model).__name__} is no plain Linear")
        head.__class__ = loss.LossHead
        self.top_k = getattr(model.config, "num_experts_per_tok", 0)
        self.balance = self.top_k and getattr(model.config, "router_aux_loss_coef", 0.0)

    def forward(self, batch: Batch) -> torch.Tensor:
        """[2]: the sum of weighted cross-entropies, and the balance loss times its coefficient."""
        routed = {"output_router_logits": True} if self.balance else {}
        out = states(self.model, batch, **routed)
        head = self.model.get_output_embeddings()
        total = head(out.last_hidden_state[0], batch.targets, batch.weights)
        balance = torch.zeros_like(total)
        if self.balance:
            balance = loss.balance(out.router_logits, self.top_k, batch.real, self.group)
        return torch.stack([total, self.balance * balance])


def load(config: Config, group: dist.ProcessGroup | None) -> Student:
    """The student with its weights on process 0; elsewhere memory that nobody touches.

    DeepSpeed broadcasts each parameter from process 0 as it partitions it: one copy of the
    weights in one machine's memory is enough.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    attention.register()
    if config.dtype == "float32" and torch.cuda.is_available():
        raise ConfigError("the attention of CUDA has no float32: set dtype to bfloat16")
    options: dict[str, Any] = {"dtype": config.dtype, "attn_implementation": attention.NAME}
    about = read(config.init_from, partial(AutoConfig.from_pretrained, revision=config.revision))
    if about.num_attention_heads % config.sequence_parallel:
        raise ConfigError(f"sequence_parallel does not divide {about.num_attention_heads} heads")
    if dist.get_rank() == 0:
        weights = partial(AutoModelForCausalLM.from_pretrained, revision=config.revision, **options)
        check(model := read(config.init_from, weights))
    else:
        with no_init_weights():
            model = AutoModelForCausalLM.from_config(about, **options)
    attention.register(group)
    if config.activation_checkpointing:
        model.activation_checkpointing_enable()
    return Student(model.train(), group)


def engine(config: Config, student: Student, micro_batches: int, *, universal: bool = False) -> Any:
    """DeepSpeed's engine: the file that `deepspeed` names, with what the configuration decides.

    Its optimizer has two groups of parameters: matrices, then norms and biases.
    """
    import deepspeed
    from deepspeed.ops.adam import DeepSpeedCPUAdam

    settings = config.settings | {
        "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": micro_batches,
        "gradient_clipping": config.clip, "bf16": {"enabled": config.dtype == "bfloat16"},
        "checkpoint": {"load_universal": universal},
    }  # fmt: skip
    groups = [{"params": [p for p in student.parameters() if (p.ndim > 1) is matrix]}
              for matrix in (True, False)]  # fmt: skip
    adamw = DeepSpeedCPUAdam if config.offload else torch.optim.AdamW
    optimizer = adamw(groups, lr=config.lr, betas=config.betas, eps=config.eps)
    return deepspeed.initialize(model=student, optimizer=optimizer, config=settings)[0]
