"""Scoring speed and peak memory: packed rows and a chunked head against full logits.

    python benchmarks/score.py [--model FOLDER] [--sequences 48] [--longest 2000] [--device cpu]

Both variants score the same random sequences in processes of their own, one after the other, so
that each has its own peak. `full logits` is the definition: one sequence at a time, all of its
[tokens, vocabulary] logits in fp32. Without --model: a random Qwen3 of 2 layers, hidden size 64
and Qwen3's 151,936 tokens, in which the head is nearly all of the work.
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


def requests_of(vocab: int, sequences: int, longest: int) -> list[ScoreRequest]:
    """Random ids; lengths fall off like those of responses, with a prompt of a tenth."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(np.log(longest / 4), 0.8, sequences), 8, longest).astype(int)
    return [
        ScoreRequest(str(i), random.integers(0, vocab, n).astype(np.int32), max(1, n // 10))
        for i, n in enumerate(lengths)
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
    requests = requests_of(scorer.vocab_size, args.sequences, args.longest)
    run = full_logits if variant == "full logits" else packed
    run(scorer, requests[:1])  # warm up on one sequence
    before = peak_bytes(scorer)
    started, busy = time.perf_counter(), time.process_time()
    values = run(scorer, requests)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    peak = peak_bytes(scorer) - before
    np.savez(Path(args.results) / f"{variant}.npz", **values)
    tokens = sum(len(request.ids) for request in requests)
    print(json.dumps({"tokens": tokens, "seconds": seconds, "cpu": cpu, "peak": peak}))


def peak_bytes(scorer: TransformersScorer) -> int:
    """The most memory held so far: of the device, or of this process."""
    if scorer.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def large_vocabulary(folder: Path) -> Path:
    """A random model in which the head dominates."""
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=151_936, hidden_size=64, intermediate_size=192, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def main() -> None:
    """Runs both variants and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
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
        model = args.model or large_vocabulary(Path(results) / "model")
        command = [sys.executable, __file__, "--results", results, "--model", str(model)]
        for name in ("sequences", "longest", "device", "dtype"):
            command += [f"--{name}", str(getattr(args, name))]
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
            f"+{row['peak'] / 2**20:6,.0f} MiB peak"
        )
    ratio = rows["full logits"]["seconds"] / rows["packed"]["seconds"]
    print(f"packed is {ratio:.2f}x as fast; largest difference {apart:.1e}")


if __name__ == "__main__":
    main()
