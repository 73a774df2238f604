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


def uniforms(rows: list[dict[str, Any]], n: int) -> torch.Tensor:
    """What every row draws from its own seed, (rows * n, max_tokens)."""
    drawn = []
    for row in rows:
        generator = torch.Generator().manual_seed(row["seed"])
        drawn.append(torch.rand(n, row["max_tokens"], generator=generator, dtype=torch.float64))
    return torch.cat(drawn)


@torch.inference_mode()
def generate(
    model: torch.nn.Module, rows: list[dict[str, Any]], n: int, pad: int, end: int
) -> list[list[tuple[int, float]]]:
    """For each of n candidates a row: sampled ids and raw log-probs, by inverting the CDF.

    The end token is the last one kept. Finished candidates leave the batch now and then.
    """
    ids, mask = left_padded(rows, n, pad)
    draws = uniforms(rows, n)
    temperature = torch.tensor([r["temperature"] for r in rows]).repeat_interleave(n)[:, None]
    positions, cache = (mask.cumsum(1) - 1).clamp(min=0), None
    made: list[list[tuple[int, float]]] = [[] for _ in range(len(ids))]
    alive, done = torch.arange(len(ids)), torch.zeros(len(ids), dtype=torch.bool)
    for step in range(draws.shape[1]):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, logits = out.past_key_values, out.logits[:, -1].float()
        cumulative = torch.softmax(logits.double() / temperature[alive], dim=-1).cumsum(1)
        drawn = torch.searchsorted(cumulative, draws[alive, step, None] * cumulative[:, -1:])
        drawn = drawn.clamp(max=logits.shape[1] - 1)
        values = torch.log_softmax(logits, dim=-1).gather(1, drawn)[:, 0].tolist()
        new = drawn[:, 0].tolist()
        for i, token, value in zip(alive.tolist(), new, values, strict=True):
            if not done[i]:
                made[i].append((token, value))
                done[i] = token == end
        ids, positions = drawn, positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        left = (~done[alive]).nonzero()[:, 0]
        if len(left) == 0:
            break
        if len(left) < 0.8 * len(alive):
            cache.batch_select_indices(left)
            ids, positions, mask, alive = ids[left], positions[left], mask[left], alive[left]
    return made


def choices(
    tokenizer: PreTrainedTokenizerFast, made: list[list[tuple[int, float]]]
) -> list[dict[str, Any]]:
    """One choice per candidate of a row, in the shape of a completion server's."""
    return [
        {
            "index": index,
            "text": tokenizer.decode([i for i, _ in tokens], skip_special_tokens=True),
            "token_ids": [i for i, _ in tokens],
            "logprobs": [round(v, 6) for _, v in tokens],
            "finish_reason": "stop" if tokens[-1][0] == tokenizer.eos_token_id else "length",
        }
        for index, tokens in enumerate(made)
    ]


def main() -> None:
    """Answer every request and write the rows, gzipped, byte-identically for the same ids."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=50, help="a domain")
    parser.add_argument("--n", type=int, default=4, help="candidates per question and temperature")
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--batch", type=int, default=40, help="rows at a time")
    args = parser.parse_args()
    args.pool = 4 * args.questions
    torch.set_num_threads(2)
    model, tokenizer = load(args.model)
    rows = requests(tokenizer, args)
    for start in range(0, len(rows), args.batch):
        some = rows[start : start + args.batch]
        made = generate(model, some, args.n, tokenizer.pad_token_id, tokenizer.eos_token_id)
        for i, row in enumerate(some):
            row["choices"] = choices(tokenizer, made[i * args.n : (i + 1) * args.n])
        print(f"{start + len(some)}/{len(rows)}", flush=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    args.out.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
