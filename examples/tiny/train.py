"""Train the tiny teacher and the tiny student: two Qwen3 models with different tokenizers.

    python train.py teacher --gsm8k gsm8k_train.jsonl --out teacher
    python train.py student --gsm8k gsm8k_train.jsonl --out student

`--gsm8k` is the training file of openai/grade-school-math (rows of question and answer).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import torch
from lm import load
from styles import STYLES, response
from tasks import DOMAINS, problems
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

HERE = Path(__file__).parent
CONTEXT = 8192
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class Recipe:
    """A model's size, its tokenizer and its diet. `styles` are weights in the order of STYLES."""

    vocab: int
    split: str  # pre-tokenization: the two models cut numbers and spaces differently
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    steps: int
    gsm8k: float  # share of documents in the second half; none before
    styles: tuple[float, ...]
    seed: int


RECIPES = {
    "teacher": Recipe(
        vocab=800,
        split=r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+",
        hidden=128,
        intermediate=384,
        layers=4,
        heads=4,
        kv_heads=2,
        steps=3600,
        gsm8k=0.25,
        styles=(1.0, 1.0, 1.0, 1.0, 1.0, 1.3, 1.3),
        seed=1,
    ),
    "student": Recipe(
        vocab=1024,
        split=r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+",
        hidden=96,
        intermediate=256,
        layers=3,
        heads=3,
        kv_heads=1,
        steps=1500,
        gsm8k=0.25,
        styles=(1.0, 1.0, 1.5, 1.5, 0.6, 0.25, 0.25),
        seed=2,
    ),
}


DOMAIN_WEIGHTS = (1.0, 1.0, 2.0, 1.5)  # in the order of DOMAINS: the harder ones more often
WARM_STYLES = (6.0, 2.0, 0.2, 0.2, 0.2, 0.2, 0.2)  # short ones first: more answers a token


def documents(
    recipe: Recipe, gsm8k: list[dict[str, str]], *, warm: bool
) -> Iterator[tuple[str, str]]:
    """Endless (question, completion) pairs: the recipe's mix, or that of the first half."""
    rng = random.Random(recipe.seed + 1000 * warm)
    sources = {d: problems(recipe.seed + 1000 * warm, d, held=False) for d in DOMAINS}
    weights = WARM_STYLES if warm else recipe.styles
    while True:
        if not warm and rng.random() < recipe.gsm8k:
            row = rng.choice(gsm8k)
            solution, final = row["answer"].split("\n#### ")
            # Two forms: as the published model solutions are written, and as a reasoning trace.
            plain = f"{solution}\nA: {final}"
            traced = f"<think>\n{solution}\n</think>\n\nThe answer is \\boxed{{{final}}}."
            yield row["question"], plain if rng.random() < 0.7 else traced
        else:
            problem = next(sources[rng.choices(DOMAINS, DOMAIN_WEIGHTS)[0]])
            style = rng.choices(list(STYLES), weights)[0]
            yield problem.question, response(problem, style, rng)


def train_tokenizer(recipe: Recipe, pairs: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer on the recipe's own text, with Qwen's markers."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(recipe.split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    tags = [AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab - len(tags),
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator((re.sub("</?think>", "", a + "\n" + b) for a, b in pairs), trainer)
    raw.add_tokens(tags)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=(HERE / "chat_template.jinja").read_text(),
    )


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A fresh Qwen3 model with tied embeddings."""
    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def encode(
    tokenizer: PreTrainedTokenizerFast, pairs: list[tuple[str, str]]
) -> list[tuple[list[int], int]]:
    """Token ids of whole documents, and how many of them are the prompt's."""
    prompts = [f"{START}user\n{q}{END}\n{START}assistant\n" for q, _ in pairs]
    both = tokenizer([p + a + END for p, (_, a) in zip(prompts, pairs, strict=True)])["input_ids"]
    sizes = [len(ids) for ids in tokenizer(prompts)["input_ids"]]
    return list(zip(both, sizes, strict=True))


BATCH = 4096  # tokens
PROMPT_WEIGHT = 0.2  # questions are to be read, not to be written


def batches(
    tokenizer: PreTrainedTokenizerFast, pairs: Iterator[tuple[str, str]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Right-padded (ids, weights) batches of documents of like length, BATCH tokens each."""
    rng = random.Random(0)
    while True:
        pool = sorted(
            encode(tokenizer, [next(pairs) for _ in range(1024)]), key=lambda d: len(d[0])
        )
        groups: list[list[tuple[list[int], int]]] = []
        group: list[tuple[list[int], int]] = []
        for doc in pool:
            if group and (len(group) + 1) * len(doc[0]) > BATCH:
                groups.append(group)
                group = []
            group.append(doc)
        rng.shuffle(groups)
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            batch = torch.full((len(group), width), tokenizer.pad_token_id)
            weights = torch.zeros(len(group), width)
            for i, (ids, prompt) in enumerate(group):
                batch[i, : len(ids)] = torch.tensor(ids)
                weights[i, : len(ids)] = 1.0
                weights[i, :prompt] = PROMPT_WEIGHT
            yield batch, weights


def packs(
    tokenizer: PreTrainedTokenizerFast, pairs: Iterator[tuple[str, str]]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Long rows, many documents one after the other, every third the whole context."""
    for length in cycle((CONTEXT // 2, CONTEXT // 2, CONTEXT)):
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) < length:
            for doc, prompt in encode(tokenizer, [next(pairs) for _ in range(8)]):
                ids += doc
                weights += [PROMPT_WEIGHT] * prompt + [1.0] * (len(doc) - prompt)
        yield torch.tensor([ids[:length]]), torch.tensor([weights[:length]])


def loss_of(model: Qwen3ForCausalLM, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean next-token loss. No mask: causal attention never reaches right padding."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    each = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (each * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()


def optimizers(model: Qwen3ForCausalLM) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon for the matrices, AdamW for the embedding and the norms, with their peak rates."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        (torch.optim.Muon(matrices, weight_decay=0.01), 0.02),
        (torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0), 4e-3),
    ]


def rate(step: int, steps: int) -> float:
    """Share of the peak rate: a short warm-up, flat, then linearly down over the last half."""
    return min(1.0, (step + 1) / 20, max(0.02, 2 * (1 - step / steps)))


def train(
    recipe: Recipe,
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    warm: Iterator[tuple[str, str]],
    mixed: Iterator[tuple[str, str]],
) -> None:
    """Train in place, on short documents first; in between, every 30th step is a long row."""
    first, second = batches(tokenizer, warm), batches(tokenizer, mixed)
    long = packs(tokenizer, mixed)
    opts, start, mean = optimizers(model), time.time(), math.nan
    for step in range(recipe.steps):
        far = step > 0.4 * recipe.steps and step % 30 == 0
        ids, weights = next(long if far else first if step < 0.45 * recipe.steps else second)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, peak in opts:
            opt.param_groups[0]["lr"] = peak * rate(step, recipe.steps)
            opt.step()
            opt.zero_grad()
        mean = loss.item() if math.isnan(mean) else 0.95 * mean + 0.05 * loss.item()
        if far or step % 50 == 49 or step == recipe.steps - 1:
            print(
                f"step {step + 1}/{recipe.steps} loss {loss.item():.3f} mean {mean:.3f} "
                f"{f'row of {ids.shape[1]} ' if far else ''}{time.time() - start:.0f} s",
                flush=True,
            )


def main() -> None:
    """Train the model that is named and write it in the Hugging Face layout, in bf16."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=RECIPES)
    parser.add_argument("--gsm8k", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="other than the recipe's, for a trial")
    parser.add_argument("--start", type=Path, help="a folder to continue from, not from scratch")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recipe = RECIPES[args.which]
    if args.steps:
        recipe = replace(recipe, steps=args.steps)
    gsm8k = [json.loads(line) for line in args.gsm8k.read_text().splitlines()]
    warm, mixed = (documents(recipe, gsm8k, warm=w) for w in (True, False))
    if args.start:
        model, tokenizer = load(args.start)
        model.train()
    else:
        tokenizer = train_tokenizer(recipe, [next(mixed) for _ in range(6000)])
        model = build_model(recipe, tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    train(recipe, model, tokenizer, warm, mixed)
    model.to(torch.bfloat16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
