"""Scoring speed and peak memory: packed rows and a chunked head against full logits.

    python benchmarks/score.py [--model FOLDER] [--sequences 48] [--longest 2000] [--device cpu]
    python benchmarks/score.py --sequences 2 --longest 8192 --equal
    python benchmarks/score.py --shape 4b --device cuda --dtype bfloat16 --longest 65536 --equal

Both variants score the same random sequences in processes of their own, one after the other, so
that each has its own peak. `full logits` is the definition: one sequence at a time, all of its
[tokens, vocabulary] logits in fp32. Without --model: a random Qwen3 of 2 layers, hidden size 64
and Qwen3's 151,936 tokens, in which the head is nearly all of the work; `--shape 4b` is that of
Qwen3-4B, for a GPU. `--equal` makes all sequences as long as the longest. Hours are those of this
machine per billion tokens of responses; on a GPU of a known peak, the share of it that the matrix
products reach stands beside (2 operations a weight and token, and attention's).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from builders.score.engine import ScoreRequest
from builders.score.transformers_engine import TransformersScorer

VARIANTS = ("full logits", "packed")
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}  # dense bf16, FLOP/s
SHAPES = {
    "head": {
        "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    },
    "4b": {
        "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "max_position_embeddings": 262_144,
    },
}  # fmt: skip


def requests_of(vocab: int, args: argparse.Namespace) -> list[ScoreRequest]:
    """Random ids; lengths fall off like those of responses, with a prompt of a tenth."""
    random, longest = np.random.default_rng(0), args.longest
    lengths = np.full(args.sequences, longest)
    if not args.equal:
        drawn = random.lognormal(np.log(longest / 4), 0.8, args.sequences)
        lengths = np.clip(drawn, 8, longest).astype(int)
    return [
        ScoreRequest(str(i), random.integers(0, vocab, n).astype(np.int32), max(1, n // 10))
        for i, n in enumerate(lengths.tolist())
    ]


def full_logits(scorer: TransformersScorer, requests: list[ScoreRequest]) -> dict[str, np.ndarray]:
    """All logits of one sequence at a time."""
    scorer.model.set_attn_implementation("sdpa")
    values = {}
    for request in requests:
        ids = torch.from_numpy(request.ids.astype(np.int64)).to(scorer.device)
        with torch.inference_mode():
            table = scorer.model(input_ids=ids[None], use_cache=False).logits[0].float()
            picked = table.log_softmax(-1)[:-1].gather(1, ids[1:, None])[request.start - 1 :, 0]
        values[request.key] = picked.cpu().numpy()
    return values


def packed(scorer: TransformersScorer, requests: list[ScoreRequest]) -> dict[str, np.ndarray]:
    """The engine as users run it."""
    return {r.key: r.logprobs for r in scorer.score(requests) if r.logprobs is not None}


def measure(variant: str, args: argparse.Namespace) -> None:
    """Prints one variant's numbers as JSON and leaves its values beside the model."""
    scorer = TransformersScorer(args.model, device=args.device, dtype=args.dtype)
    requests = requests_of(scorer.vocab_size, args)
    run = full_logits if variant == "full logits" else packed
    run(scorer, [ScoreRequest("warm", requests[0].ids[:64], 1)])
    before = peak_bytes(scorer)
    started, busy = time.perf_counter(), time.process_time()
    values = run(scorer, requests)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    peak = peak_bytes(scorer) - before
    np.savez(Path(args.results) / f"{variant}.npz", **values)
    tokens = sum(len(request.ids) for request in requests)
    found = {"tokens": tokens, "seconds": seconds, "cpu": cpu, "peak": peak}
    found["scored"] = sum(len(request.ids) - request.start for request in requests)
    found["of_peak"] = operations(scorer, requests) / seconds / peak_operations(scorer)
    print(json.dumps(found))


def operations(scorer: TransformersScorer, requests: list[ScoreRequest]) -> float:
    """Floating-point operations of the matrix products: 2 a weight and token, causal attention."""
    config = scorer.model.config.get_text_config()
    weights = sum(w.numel() for n, w in scorer.model.named_parameters() if "embed" not in n)
    head = config.vocab_size * config.hidden_size
    width = 2 * config.num_hidden_layers * config.num_attention_heads * config.head_dim
    return float(
        sum(
            2.0 * weights * len(r.ids) + 2.0 * head * (len(r.ids) - r.start)
            + width * float(len(r.ids)) ** 2
            for r in requests
        )
    )  # fmt: skip


def peak_operations(scorer: TransformersScorer) -> float:
    """What the device can do a second in bf16; infinite where it is not known."""
    name = torch.cuda.get_device_name() if scorer.device.type == "cuda" else ""
    return next((peak for kind, peak in PEAKS.items() if kind in name), float("inf"))


def peak_bytes(scorer: TransformersScorer) -> int:
    """The most memory held so far: of the device, or of this process."""
    if scorer.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def random_model(folder: Path, shape: str) -> Path:
    """A random Qwen3 of a shape, with its vocabulary; in `head` the head dominates."""
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=151_936, tie_word_embeddings=True, dtype="bfloat16", **SHAPES[shape]
    )
    kind = torch.float32 if shape == "head" else torch.bfloat16
    transformers.AutoModelForCausalLM.from_config(config).to(kind).save_pretrained(folder)
    return folder


def main() -> None:
    """Runs both variants and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--shape", choices=SHAPES, default="head", help="of a random model")
    parser.add_argument("--equal", action="store_true", help="all as long as the longest")
    parser.add_argument("--sequences", type=int, default=48)
    parser.add_argument("--longest", type=int, default=2000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--results", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        measure(args.variant, args)
        return
    with tempfile.TemporaryDirectory() as results:
        model = args.model or random_model(Path(results) / "model", args.shape)
        command = [sys.executable, __file__, "--results", results, "--model", str(model)]
        for name in ("sequences", "longest", "device", "dtype"):
            command += [f"--{name}", str(getattr(args, name))]
        command += ["--equal"] if args.equal else []
        rows = {}
        for variant in VARIANTS:
            done = subprocess.run([*command, "--variant", variant], stdout=-1, check=True)
            rows[variant] = json.loads(done.stdout.splitlines()[-1])
        values = [np.load(Path(results) / f"{variant}.npz") for variant in VARIANTS]
        apart = max(float(np.abs(values[0][key] - values[1][key]).max()) for key in values[0])
    for variant, row in rows.items():
        rate = row["tokens"] / row["seconds"]
        print(
            f"{variant:12} {rate:8,.0f} tokens/s {row['tokens'] / row['cpu']:8,.0f} per CPU second "
            f"+{row['peak'] / 2**20:6,.0f} MiB peak, "
            f"{row['seconds'] / 3600 / row['scored'] * 1e9:8,.1f} hours per billion tokens"
            + (f", {row['of_peak']:.1%} of the peak" if row["of_peak"] else "")
        )
    ratio, by_cpu = (rows["full logits"][n] / rows["packed"][n] for n in ("seconds", "cpu"))
    print(f"packed is {ratio:.2f}x as fast, {by_cpu:.2f}x by CPU; largest difference {apart:.1e}")


if __name__ == "__main__":
    main()
