"""What sampling, measuring and the tests share: loading a model of the pair and its token bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast


def load(folder: Path) -> tuple[torch.nn.Module, PreTrainedTokenizerFast]:
    """A model in float32 (its weights are stored in bfloat16) and its tokenizer, offline."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def prompt_ids(tokenizer: PreTrainedTokenizerFast, question: str) -> list[int]:
    """The ids of a one-turn prompt, up to where the assistant begins."""
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tokenizer(text)["input_ids"]


def byte_table(tokenizer: PreTrainedTokenizerFast) -> list[bytes]:
    """The bytes of every token; none for special tokens (Byte-level BPE, the GPT-2 alphabet)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(other)}
    added = tokenizer.added_tokens_decoder
    table = []
    for i, token in enumerate(tokenizer.convert_ids_to_tokens(range(len(tokenizer)))):
        if i in added:
            table.append(b"" if added[i].special else token.encode())
        else:
            table.append(bytes(byte_of[c] for c in token))
    return table


@torch.inference_mode()
def logprobs(model: torch.nn.Module, prompt: list[int], completion: list[int]) -> list[float]:
    """The log-probability of every completion token after the prompt, at temperature 1."""
    ids = torch.tensor([prompt + completion])
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    picked = torch.log_softmax(logits.float(), dim=-1)
    return picked.gather(1, ids[0, len(prompt) :, None])[:, 0].tolist()
