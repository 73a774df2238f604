"""Scores with any causal language model of `transformers`, on CPU or CUDA.

The backbone runs once over a batch, then the head over a few rows at a time, so that the
[tokens, vocabulary] logits (37 GiB for 64K tokens of Qwen3) never exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from builders.records import Scorer
from builders.score.engine import ScoreRequest, ScoreResult, checked, refusal
from builders.score.identity import model_folder, tokenizer_name
from builders.score.packing import Pack, alone, batches, first_fit, similar_lengths
from dasd_data.errors import MissingExtraError, UsageError

try:
    import torch
    import transformers

    from builders.score import attention
    from builders.score.head import head_logprobs, head_of
except ImportError as error:
    raise MissingExtraError("torch and transformers", "score") from error

HEAD_BYTES = 2**26  # float32 logits held at a time: 64 MiB
BATCH_TOKENS = (4_096, 16_384)  # CPU: larger batches leave its caches; CUDA
PROBE_LENGTHS = (24, 40, 9)
EXACT, ROUNDED = 1e-3, 0.1  # how far the probe may be off: float32, half precision (mean)


class TransformersScorer:
    """An `Engine` over one model. float32 is the reference, half precision is rounded.

    `model` is a folder or a Hub repository (`revision`: branch, tag or commit); no code of a
    repository is ever run. `dtype` is float32, bfloat16, float16 or auto (as stored), `device`
    cpu, cuda, cuda:N or auto. `max_tokens` is the size of a batch (4,096 by default, 16,384 on
    CUDA), `head_rows` the number of rows of logits held at a time, `max_context` a limit in place
    of the configuration's own.

    Loading runs a probe: sequences packed into one row must come out as they do alone. Where
    they do not (recurrent layers, learned biases), batches are padded on the right, and where
    that differs too, the model is refused with UsageError. Rotary frequencies that depend on the
    length of the row (`dynamic`, `longrope`) leave one sequence per forward pass.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        max_tokens: int | None = None,
        head_rows: int | None = None,
        max_context: int | None = None,
    ) -> None:
        self.folder, self.name, self.revision = model_folder(model, revision)
        self.device = torch.device(_device(device))
        self.gpus: int | None = int(self.device.type == "cuda")
        self.model = _load(self.folder, dtype).to(self.device).eval()
        self.max_tokens = max_tokens or BATCH_TOKENS[self.device.type == "cuda"]
        self.vocab_size = self.model.get_output_embeddings().weight.shape[0]
        self.head_rows = head_rows or max(1, HEAD_BYTES // (4 * self.vocab_size))
        config = self.model.config.get_text_config()
        self.max_context = max_context or getattr(config, "max_position_embeddings", None)
        self._backbone = _backbone(self.model)
        self._rope_types = _rope_types(config)
        self._takes_positions = "position_ids" in signature(self._backbone.forward).parameters
        self._logits = head_of(self.model)
        self._own_attention = self.model.config._attn_implementation
        self.packed = self._probe()

    def describe(self) -> Scorer:
        """Model, revision (a content hash for a folder), tokenizer, dtype and engine."""
        return Scorer(
            model=self.name,
            revision=self.revision,
            tokenizer=tokenizer_name(self.folder),
            dtype=str(self.model.dtype).removeprefix("torch."),
            engine="transformers",
            engine_version=transformers.__version__,
            logprobs_mode="raw_logprobs",
            temperature=1.0,
        )

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, batch by batch; at most 16 batches are held at a time."""
        refused: list[ScoreResult] = []

        def accepted() -> Iterator[ScoreRequest]:
            for request in requests:
                if error := refusal(request, self.max_context, self.vocab_size):
                    refused.append(ScoreResult(request.key, None, error))
                else:
                    yield request

        packing = first_fit if self.packed else similar_lengths
        if self._length_counts():
            packing = alone
        for pack in batches(accepted(), self.max_tokens, packing):
            yield from refused
            refused.clear()
            yield from self._score_pack(pack)
        yield from refused

    def _score_pack(self, pack: Pack) -> Iterator[ScoreResult]:
        """The batch at once, or in halves where the device's memory does not hold it."""
        try:
            values = self._logprobs(pack)
        except torch.OutOfMemoryError:
            values = None  # leave the handler first: its traceback holds the tensors
        if values is not None:
            for request, logprobs in zip(pack, values, strict=True):
                yield checked(request.key, logprobs)
            return
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(pack) == 1:
            error = f"out of memory: {len(pack[0].ids)} tokens on {self.device}"
            yield ScoreResult(pack[0].key, None, error)
            return
        half = len(pack) // 2
        yield from self._score_pack(pack[:half])
        yield from self._score_pack(pack[half:])

    @torch.inference_mode()
    def _logprobs(self, pack: Pack) -> list[np.ndarray]:
        hidden = self._packed_hidden(pack)[0] if self.packed else self._padded_hidden(pack)
        return self._head(pack, hidden)

    def _head(self, pack: Pack, hidden: torch.Tensor) -> list[np.ndarray]:
        targets = np.concatenate([request.ids[request.start :] for request in pack])
        flat = head_logprobs(self._logits, hidden, self._tensor(targets), self.head_rows)
        sizes = [len(request.ids) - request.start for request in pack]
        return np.split(flat.cpu().numpy(), np.cumsum(sizes)[:-1])

    def _packed_hidden(self, pack: Pack) -> tuple[torch.Tensor, attention.Segments]:
        """Hidden states [scored tokens, hidden] that predict them, from one row of all ids."""
        lengths = [len(request.ids) for request in pack]
        ids = np.concatenate([request.ids for request in pack])
        positions = np.concatenate([np.arange(n) for n in lengths])
        ends = np.cumsum(lengths)
        rows = [
            np.arange(end - n + request.start - 1, end - 1)
            for request, n, end in zip(pack, lengths, ends, strict=True)
        ]
        with attention.segments(lengths) as seen:
            hidden = self._run(ids[None], positions[None])[0]
        return hidden[self._tensor(np.concatenate(rows))], seen

    def _padded_hidden(self, pack: Pack) -> torch.Tensor:
        """The same from one row per sequence. What is causal cannot see padding on the right."""
        longest = max(len(request.ids) for request in pack)
        ids = np.zeros((len(pack), longest), np.int32)
        for row, request in enumerate(pack):
            ids[row, : len(request.ids)] = request.ids
        hidden = self._run(ids, np.broadcast_to(np.arange(longest), ids.shape))
        return torch.cat(
            [
                hidden[row, request.start - 1 : len(request.ids) - 1]
                for row, request in enumerate(pack)
            ]
        )

    def _run(self, ids: np.ndarray, positions: np.ndarray) -> torch.Tensor:
        if any("dynamic" in kind for kind in self._rope_types):
            first = np.zeros((1, 1), np.int64)
            self._forward(first, first)  # else the frequencies of the longest row so far remain
        return self._forward(ids, positions)

    def _forward(self, ids: np.ndarray, positions: np.ndarray) -> torch.Tensor:
        place = {"position_ids": self._tensor(positions)} if self._takes_positions else {}
        out = self._backbone(
            input_ids=self._tensor(ids), attention_mask=None, use_cache=False, **place
        )
        return out.last_hidden_state

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(self.device)

    def _length_counts(self) -> bool:
        """Whether the longest sequence of a batch decides the rotary frequencies of all."""
        return any("dynamic" in kind or kind == "longrope" for kind in self._rope_types)

    @torch.inference_mode()
    def _probe(self) -> bool:
        """Whether packing is exact for this model; False: padding is. UsageError: neither is."""
        pack = _probe_pack(self.vocab_size, self.max_context)
        expected = [self._plain(request.ids) for request in pack]
        single = [self._head([r], self._padded_hidden([r]))[0] for r in pack]
        if not self._close(single, expected):
            raise UsageError(
                f"{self.name}: the head of {self.model.__class__.__name__} is not a linear layer "
                "with a known scale or cap, so its log-probs would be wrong; score this model "
                "with another engine, or teach builders/score/head.py its head"
            )
        if self._length_counts():
            return False
        if self._packs_exactly(pack, expected):
            return True
        self.model.set_attn_implementation(self._own_attention)
        if self._close(self._head(pack, self._padded_hidden(pack)), expected):
            return False
        raise UsageError(
            f"{self.name}: {self.model.__class__.__name__} gives a sequence other log-probs in a "
            "batch than alone, packed as well as padded; score it with another engine"
        )

    def _plain(self, ids: np.ndarray) -> np.ndarray:
        """The definition: full logits of the model's own forward pass over one sequence."""
        logits = self.model(input_ids=self._tensor(ids[None]), use_cache=False).logits[0, :-1]
        picked = logits.float().log_softmax(-1).gather(1, self._tensor(ids[1:, None]))
        return picked[:, 0].cpu().numpy()

    def _packs_exactly(self, pack: Pack, expected: list[np.ndarray]) -> bool:
        self.model.set_attn_implementation(attention.IMPLEMENTATION)
        try:
            hidden, seen = self._packed_hidden(pack)
        except (RuntimeError, TypeError, ValueError):
            return False  # a layer of another kind, which segment attention does not serve
        # Windows are longer than the probe: what the masks ask for must have reached attention.
        layers = self.model.config.get_text_config().num_hidden_layers
        whole = seen.calls == layers and seen.masks_local == seen.calls_local
        return whole and self._close(self._head(pack, hidden), expected)

    def _close(self, values: list[np.ndarray], expected: list[np.ndarray]) -> bool:
        off = np.abs(np.concatenate(values) - np.concatenate(expected))
        if self.model.dtype == torch.float32:
            return bool(off.max() <= EXACT)
        return bool(off.mean() <= ROUNDED)


def _probe_pack(vocab_size: int, max_context: int | None) -> Pack:
    random = np.random.default_rng(0)
    lengths = [min(n, max_context or n) for n in PROBE_LENGTHS]
    return [
        ScoreRequest(str(i), random.integers(0, vocab_size, n).astype(np.int32), 1)
        for i, n in enumerate(lengths)
    ]


def set_threads(threads: int | None) -> None:
    """How many threads torch computes with; None: as it likes."""
    if threads:
        torch.set_num_threads(threads)


def _rope_types(config: Any) -> set[str]:
    """The kinds of rotary embedding that a configuration asks for, in all kinds of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    layers = [found, *(part for part in found.values() if isinstance(part, dict))]
    return {str(part.get("rope_type") or part.get("type") or "default") for part in layers}


def _backbone(model: Any) -> Any:
    decoder = model.get_decoder()
    return model.model if decoder is model else decoder


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device cuda: this torch sees no GPU; use --device cpu or auto")
    return device


def _load(folder: Path, dtype: str) -> Any:
    if dtype not in ("float32", "bfloat16", "float16", "auto"):
        raise UsageError(f"dtype {dtype!r}: use float32, bfloat16, float16 or auto")
    transformers.utils.logging.disable_progress_bar()  # progress is the command's to show
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a causal language model from {folder}: {error}") from error
