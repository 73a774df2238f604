"""The training loop's cost beyond forward, backward and step; on CUDA, tokens/s, MFU and memory.

    python benchmarks/train.py [--steps 12]       # a small model on one CPU thread
    python benchmarks/train.py --length 65536     # on a GPU: a random Qwen3 of 4B's shape

On a CPU the reference is the same engine called in a bare loop over batches that lie ready, in the
same process: what remains is the plan, the batches, the checks and the log. Both alternate, and the
median ratio counts. On a GPU it is the plain `transformers` model with sdpa and AdamW on one pack's
rows, one at a time, after all of our steps: one figure each.
MFU = model FLOPs / (seconds x peak FLOP/s), see `train/estimate.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

QWEN3_4B = {
    "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 151_936,
    "tie_word_embeddings": True, "max_position_embeddings": 262_144,
}  # fmt: skip
SMALL = {
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "head_dim": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
    "tie_word_embeddings": True, "max_position_embeddings": 65_536,
}  # fmt: skip


def write_inputs(folder: Path, shape: dict[str, Any], rows: int, words: int) -> None:
    """A random model with the tiny tokenizer, and a split of `rows` answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "examples" / "tiny" / "student")
    model = AutoModelForCausalLM.from_config(Qwen3Config(**shape), dtype=torch.bfloat16)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    chats = []
    for number in range(rows):
        answer = f"<think>\n{'one and two is three. ' * words}\n</think>\n\n{number}"
        chats.append([{"role": "user", "content": f"{number}?"},
                      {"role": "assistant", "content": answer}])  # fmt: skip
    pq.write_table(pa.table({"messages": chats}), folder / "rows.parquet")


def clock() -> float:
    """CPU seconds of this process, or seconds after all that the GPU was given."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def bare(run: Any, batches: list[Any]) -> None:
    """What any loop has to do."""
    for number, batch in enumerate(batches):
        run.engine.set_gradient_accumulation_boundary(number == len(batches) - 1)
        run.engine.backward(run.engine(batch)[0] / 1e4, scale_wrt_gas=False)
    run.engine.step()


def overhead(run: Any, steps: int) -> None:
    """Alternate steps of the loop and of the bare one over the same packs."""
    from train import batch
    from train.watch import Watch

    watch = Watch(run.config, run.plan, run.shape, 0)
    watch.say = lambda text: None  # type: ignore[method-assign]
    ratios = []
    for step in range(steps):
        packs = [run.plan.packs[p] for p in run.plan.deal(step, 1)[:, 0]]
        ready = [batch.build(pack, run.rows, run.plan.scale, 0, 1) for pack in packs]
        started = clock()
        bare(run, ready)
        middle = clock()
        run.step(step, run.batches([pack] for pack in packs), watch)
        ratios.append((clock() - middle) / (middle - started))
    print(f"loop / bare loop: {statistics.median(ratios[2:]):.3f} x the CPU time")
    print("no GPU here: tokens/s and MFU are those of `python -m train.plan`, an estimate")


def speed(run: Any, steps: int, folder: Path) -> None:
    """Tokens/s, MFU and memory of the loop, then of the plain loop."""
    from transformers import AutoModelForCausalLM

    from train.estimate import peak_flops
    from train.watch import Watch

    peak, watch = peak_flops() or float("nan"), Watch(run.config, run.plan, run.shape, 0)
    dealt = (run.plan.deal(step, 1)[:, 0] for step in range(steps))
    batches = run.batches([run.plan.packs[p]] for packs in dealt for p in packs)
    run.step(0, batches, watch)
    started = clock()
    for step in range(1, steps):
        run.step(step, batches, watch)
    seconds = clock() - started
    packs = [p for step in range(1, steps) for p in run.plan.step(step)]
    tokens, squares = (float(of[packs].sum()) for of in (run.plan.tokens, run.plan.squares))
    mfu = run.shape.flops(tokens, squares) / seconds / peak
    print(f"ours: {tokens / seconds:,.0f} tokens/s, MFU {mfu:.1%}, {peak_memory()}")
    run.engine.destroy()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    plain = AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=torch.bfloat16, attn_implementation="sdpa"
    ).cuda()
    plain.activation_checkpointing_enable()
    optimizer, done = torch.optim.AdamW(plain.parameters(), lr=1e-6), 0
    started = clock()
    for row in run.plan.packs[packs[0]]:
        ids = torch.from_numpy(run.rows[row][0].copy()).long().cuda()[None]
        plain(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        done += ids.numel()
    optimizer.step()
    seconds = clock() - started
    print(f"plain: {done / seconds:,.0f} tokens/s, {peak_memory()}")


def peak_memory() -> str:
    """Of this process on the GPU."""
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"


def main() -> None:
    """Measure."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--length", type=int, default=1024, help="tokens of a pack")
    arguments = parser.parse_args()
    cuda = torch.cuda.is_available()
    torch.set_num_threads(1 if not cuda else torch.get_num_threads())
    import deepspeed

    from train.config import Config, Source
    from train.run import Run

    alone = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29511",
    }
    os.environ.update(alone)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    deepspeed.init_distributed("nccl" if cuda else "gloo")
    with tempfile.TemporaryDirectory() as name:
        folder, shape = Path(name), QWEN3_4B if cuda else SMALL
        write_inputs(folder, shape, 64, arguments.length // 32)
        config = Config(
            init_from=f"{folder}/model", out=f"{folder}/out", data=[Source(path=str(folder))],
            cutoff=arguments.length, packs_per_step=4, epochs=arguments.steps, holdout=0.0,
            dtype="bfloat16" if cuda else "float32", activation_checkpointing=cuda,
            deepspeed=str(ROOT / "train" / "zero3.json"), cache=str(folder / "cache"),
        )  # fmt: skip
        run = Run(config)
        steps = min(arguments.steps, run.plan.steps)
        speed(run, steps, folder) if cuda else overhead(run, steps)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
