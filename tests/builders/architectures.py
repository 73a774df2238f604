"""Tiny random models of several architectures: their configurations."""

from __future__ import annotations

from typing import Any

VOCAB = 97
SIZE = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
BODY = {**SIZE, "intermediate_size": 48, "max_position_embeddings": 256, "pad_token_id": 0}
GQA = {**BODY, "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
LOCAL = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0}
LONGROPE |= {"original_max_position_embeddings": 64}
LONGROPE |= {"short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 3.0, 4.0]}

# name: (configuration class, its arguments, whether sequences may share a row)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "qwen3": ("Qwen3Config", GQA, True),
    "llama": ("LlamaConfig", GQA, True),
    "mistral": ("MistralConfig", {**GQA, "sliding_window": 8}, True),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
        | {"bos_token_id": 1, "eos_token_id": 2},
        True,
    ),
    "gpt_neox": ("GPTNeoXConfig", BODY | {"bos_token_id": 1, "eos_token_id": 2}, True),
    "gemma2": (
        "Gemma2Config",
        {**GQA, **LOCAL, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
        True,
    ),
    "gemma3": ("Gemma3TextConfig", {**GQA, **LOCAL}, True),
    "cohere": ("CohereConfig", {**BODY, "num_key_value_heads": 2, "logit_scale": 0.25}, True),
    "granite": ("GraniteConfig", {**BODY, "num_key_value_heads": 2, "logits_scaling": 4.0}, True),
    "qwen3_moe": ("Qwen3MoeConfig", {**GQA, **MOE, "num_experts": 4}, True),
    "gpt_oss": (
        "GptOssConfig",
        {**GQA, **LOCAL, "num_local_experts": 4, "num_experts_per_tok": 2}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        True,
    ),
    "llama4": (
        "Llama4TextConfig",
        {**GQA, "intermediate_size_mlp": 48, "attention_chunk_size": 64, "num_local_experts": 2},
        False,
    ),
    "bloom": (
        "BloomConfig",
        {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        False,
    ),
    "bloom_faint": (
        "BloomConfig",
        {"vocab_size": VOCAB, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        False,
    ),
    "phi3_longrope": (
        "Phi3Config",
        {**GQA, "original_max_position_embeddings": 64, "rope_parameters": LONGROPE},
        False,
    ),
    "qwen3_dynamic": (
        "Qwen3Config",
        {**GQA, "max_position_embeddings": 64}
        | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}},
        False,
    ),
    "mamba": (
        "MambaConfig",
        {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2},
        False,
    ),
}
