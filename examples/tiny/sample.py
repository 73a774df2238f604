"""Sample the tiny teacher on held-out questions, with its own token log-probs.

    python sample.py --model teacher --out samples.jsonl.gz

One row per question and temperature. `logprobs` are those of the model before the temperature is
applied. Every row draws from a generator of its own, so the rows do not depend on the batching.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from lm import load, prompt_ids
from tasks import DOMAINS, problems
from transformers import PreTrainedTokenizerFast

TEMPERATURES = (0.6, 1.0)


def requests(tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows to be answered: held-out, distinct questions of every domain at each temperature."""
    rows = []
    for domain in DOMAINS:
        made = {p.question: p for p in islice(problems(args.seed, domain, held=True), args.pool)}
        for i, problem in enumerate(islice(made.values(), args.questions)):
            for temperature in TEMPERATURES:
                name = f"{domain}-{i:03d}"
                rows.append(
                    {
                        "id": f"{name}-t{temperature}",
                        "domain": domain,
                        "question": problem.question,
                        "reference_answer": problem.reference,
                        "model": "tiny-teacher",
                        "temperature": temperature,
                        "top_p": 1.0,
                        "max_tokens": args.max_tokens,
                        "seed": zlib.crc32(f"{args.seed} {name} {temperature}".encode()),
                        "logprobs_mode": "raw_logprobs",
                        "engine": "transformers",
                        "engine_version": transformers.__version__,
                        "prompt_token_ids": prompt_ids(tokenizer, problem.question),
                    }
                )
    return rows


def left_padded(rows: list[dict[str, Any]], n: int, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt ids and mask, both (rows * n, width), every row n times."""
    width = max(len(row["prompt_token_ids"]) for row in rows)
    ids = [[pad] * (width - len(p)) + p for p in (row["prompt_token_ids"] for row in rows)]
    mask = [
        [0] * (width - len(p)) + [1] * len(p) for p in (row["prompt_token_ids"] for row in rows)
    ]
    return torch.tensor(ids).repeat_interleave(n, 0), torch.tensor(mask).repeat_interleave(n, 0)


@torch.inference_mode()
def generate(
    model: torch.nn.Module, rows: list[dict[str, Any]], n: int, pad: int, end: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sampled ids and their raw log-probs, both (rows * n, steps), by inverting the CDF."""
    limit = rows[0]["max_tokens"]
    ids, mask = left_padded(rows, n, pad)
    uniform = torch.cat(
        [
            torch.rand(
                n, limit, generator=torch.Generator().manual_seed(r["seed"]), dtype=torch.float64
            )
            for r in rows
        ]
    )
    temperature = torch.tensor([r["temperature"] for r in rows]).repeat_interleave(n)[:, None]
    positions, cache, done = (
        (mask.cumsum(1) - 1).clamp(min=0),
        None,
        torch.zeros(len(ids), dtype=bool),
    )
    out_ids, out_logprobs = [], []
    for step in range(limit):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].float()
        cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(1)
        drawn = torch.searchsorted(cumulative, uniform[:, step, None] * cumulative[:, -1:])
        drawn = drawn.clamp(max=logits.shape[1] - 1)
        out_ids.append(drawn[:, 0])
        out_logprobs.append(torch.log_softmax(logits, dim=-1).gather(1, drawn)[:, 0])
        done |= drawn[:, 0] == end
        if done.all():
            break
        ids, positions = drawn, positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return torch.stack(out_ids, 1), torch.stack(out_logprobs, 1)


def choices(
    tokenizer: PreTrainedTokenizerFast, ids: torch.Tensor, logprobs: torch.Tensor
) -> Iterator[dict[str, Any]]:
    """One choice per row, cut after the end token, in the shape of a completion server's."""
    for index, (row, values) in enumerate(zip(ids.tolist(), logprobs.tolist(), strict=True)):
        stopped = tokenizer.eos_token_id in row
        size = row.index(tokenizer.eos_token_id) + 1 if stopped else len(row)
        yield {
            "index": index,
            "text": tokenizer.decode(row[:size], skip_special_tokens=True),
            "token_ids": row[:size],
            "logprobs": [round(v, 6) for v in values[:size]],
            "finish_reason": "stop" if stopped else "length",
        }


def main() -> None:
    """Answer every request and write the rows, gzipped, byte-identically for the same ids."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=50, help="a domain")
    parser.add_argument("--n", type=int, default=4, help="candidates per question and temperature")
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--batch", type=int, default=25, help="rows at a time")
    args = parser.parse_args()
    args.pool = 4 * args.questions
    torch.set_num_threads(2)
    model, tokenizer = load(args.model)
    rows = requests(tokenizer, args)
    for start in range(0, len(rows), args.batch):
        some = rows[start : start + args.batch]
        ids, values = generate(model, some, args.n, tokenizer.pad_token_id, tokenizer.eos_token_id)
        for i, row in enumerate(some):
            part = slice(i * args.n, (i + 1) * args.n)
            row["choices"] = list(choices(tokenizer, ids[part], values[part]))
        print(f"{start + len(some)}/{len(rows)}", flush=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    args.out.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
