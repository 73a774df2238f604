"""Samples with any causal language model of `transformers`, on CPU or CUDA, in bounded memory.

A batch of prompts is padded on the left and goes on, one token at a time with its KV cache, until
all are done; completions that are done leave it. Every completion draws from a generator of its
own, so what it is batched with matters up to rounding only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from builders.sample.engine import SampleRequest, SampleResult, Sampling, refusal
from builders.score.engine import ScoreRequest, ScoreResult, checked
from builders.score.transformers_engine import TransformersScorer
from dasd_data.errors import UsageError

CPU_CACHE_BYTES = 2 << 30
CUDA_CACHE_SHARE = 0.6  # of the memory that is free when sampling begins
MAX_ROWS = 256
DRAWS = 256  # uniforms drawn at a time for each row
TELL_SECONDS = 5.0  # between two signs of life while nothing ends
COMPACT = 0.8  # finished rows leave when fewer than this share is still under way


class TransformersGenerator(TransformersScorer):
    """A `Generator` over one model; see TransformersScorer for its arguments.

    `cache_bytes` bounds the KV cache of a batch: 2 GiB on a CPU, 60% of the free memory on CUDA.
    A batch is as large as it would hold if all completions were of `max_tokens`; one that alone
    would take more is sampled alone, and fails where the memory does end.
    """

    cache_bytes: int | None = None

    def score(self, requests: Iterable[ScoreRequest]) -> Iterator[ScoreResult | None]:
        """One result per request, batch by batch; see TransformersScorer."""
        self._use_attention(packed=self.packed)
        yield from super().score(requests)

    def generate(
        self, requests: Iterable[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """One result per request, as completions end; 16 batches are sorted at a time."""
        self._use_attention(packed=False)
        incoming = iter(requests)
        most = self._rows(1, sampling)
        while window := list(islice(incoming, 16 * most)):
            good = []
            for request in window:
                if error := refusal(request, sampling, self.max_context):
                    yield SampleResult(request.key, error=error)
                else:
                    good.append(request)
            good.sort(key=lambda r: (-len(r.prompt_ids), r.key))
            while good:
                size = self._rows(len(good[0].prompt_ids), sampling)
                yield from self._batch(good[:size], sampling)
                good = good[size:]

    def _use_attention(self, *, packed: bool) -> None:
        from builders.score.attention import IMPLEMENTATION

        wanted = IMPLEMENTATION if packed else self._own_attention
        if self.model.config._attn_implementation != wanted:
            self.model.set_attn_implementation(wanted)

    def _rows(self, prompt_tokens: int, sampling: Sampling) -> int:
        """How many completions of this length the KV cache may hold at once."""
        config = self.model.config.get_text_config()
        queries = getattr(config, "num_attention_heads", None)
        if not queries:
            raise UsageError(
                f"{self.name} has no attention and no key-value cache: use another engine"
            )
        head = getattr(config, "head_dim", None) or config.hidden_size // queries
        heads = getattr(config, "num_key_value_heads", None) or queries
        token_bytes = 2 * config.num_hidden_layers * heads * head * self.model.dtype.itemsize
        room = self.cache_bytes or CPU_CACHE_BYTES
        if self.cache_bytes is None and self.device.type == "cuda":
            room = int(CUDA_CACHE_SHARE * torch.cuda.mem_get_info(self.device)[0])
        return min(MAX_ROWS, max(1, room // (token_bytes * (prompt_tokens + sampling.max_tokens))))

    def _batch(
        self, batch: Sequence[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """The batch at once, or in halves where the device's memory does not hold it."""
        left = {request.key: request for request in batch}
        try:
            for result in self._sample(batch, sampling):
                if result is not None:
                    del left[result.key]
                yield result
        except torch.OutOfMemoryError:
            pass  # leave the handler first: its traceback holds the tensors
        if left and self.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(left) == 1 == len(batch):
            error = f"out of memory: {sampling.max_tokens} tokens on {self.device}"
            yield SampleResult(batch[0].key, error=error)
        elif left:
            again = list(left.values())
            half = (len(again) + 1) // 2
            yield from self._batch(again[:half], sampling)
            if again[half:]:
                yield from self._batch(again[half:], sampling)

    @torch.inference_mode()
    def _sample(
        self, batch: Sequence[SampleRequest], sampling: Sampling
    ) -> Iterator[SampleResult | None]:
        """Completions as they end, and None every few seconds."""
        rows = _Rows(batch, sampling)
        ids, mask = (self._tensor(x) for x in _left_padded(batch))
        positions, cache = (mask.cumsum(1) - 1).clamp(min=0), None
        told = time.monotonic()
        while True:
            places = {"position_ids": positions} if self._takes_positions else {}
            out = self.model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True,
                logits_to_keep=1, **places,
            )  # fmt: skip
            cache, logits = out.past_key_values, out.logits[:, -1].float()
            uniforms = torch.from_numpy(rows.draw()).to(logits.device)
            drawn = draw(logits, sampling, uniforms)
            values = logits.log_softmax(-1).gather(1, drawn)[:, 0]
            left = rows.take(drawn[:, 0].cpu().numpy(), values.cpu().numpy())
            yield from rows.ended()
            if not left.any():
                return
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                yield None
            ids, mask = drawn, torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            positions = positions[:, -1:] + 1
            if left.mean() < COMPACT:
                stay = self._tensor(np.flatnonzero(left))
                cache.batch_select_indices(stay)
                ids, mask, positions = ids[stay], mask[stay], positions[stay]
                rows.keep(left)


def draw(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> torch.Tensor:
    """One token per row: [rows, vocabulary] logits and [rows] uniforms in [0, 1) to [rows, 1] ids.

    Inverts the cumulative distribution at the sampling's temperature, cut to the smallest set of
    most probable tokens that holds `top_p` of it (arXiv 1904.09751).
    """
    if sampling.temperature == 0:
        return logits.argmax(-1, keepdim=True)
    weights = (logits.double() / sampling.temperature).softmax(-1)
    order = None
    if sampling.top_p < 1:
        weights, order = weights.sort(dim=-1, descending=True, stable=True)
        weights = weights * (weights.cumsum(-1) - weights < sampling.top_p)
    running = weights.cumsum(-1)
    at = torch.searchsorted(running, uniforms[:, None] * running[:, -1:], right=True)
    at = torch.minimum(at, (weights > 0).sum(-1, keepdim=True) - 1) if order is not None else at
    at = at.clamp(max=logits.shape[-1] - 1)
    return at if order is None else order.gather(1, at)


class _Rows:
    """The completions of a batch: what each has drawn so far, and which are under way."""

    def __init__(self, batch: Sequence[SampleRequest], sampling: Sampling) -> None:
        self.batch, self.sampling = batch, sampling
        self.random = [np.random.Generator(np.random.Philox(r.seed)) for r in batch]
        self.ids: list[list[int]] = [[] for _ in batch]
        self.logprobs: list[list[float]] = [[] for _ in batch]
        self.under_way = np.arange(len(batch))  # the rows of the tensors, by request
        self.done = np.zeros(len(batch), bool)
        self.finish = ["length"] * len(batch)
        self._ended: list[int] = []
        self._uniforms, self._drawn = np.empty((len(batch), 0)), 0

    def draw(self) -> np.ndarray:
        """A number in [0, 1) for every row of the tensors, [rows] float64."""
        if self._drawn == self._uniforms.shape[1]:
            self._uniforms = np.stack([g.random(DRAWS) for g in self.random])
            self._drawn = 0
        self._drawn += 1
        return self._uniforms[self.under_way, self._drawn - 1]

    def take(self, ids: np.ndarray, logprobs: np.ndarray) -> np.ndarray:
        """Note the tokens drawn, [rows]; returns which rows go on, [rows] bool."""
        for row, token, value in zip(
            self.under_way.tolist(), ids.tolist(), logprobs.tolist(), strict=True
        ):
            if self.done[row]:
                continue
            self.ids[row].append(token)
            self.logprobs[row].append(value)
            if token in self.sampling.stop_ids:
                self.finish[row], self.done[row] = "stop", True
            elif len(self.ids[row]) >= self.sampling.max_tokens:
                self.done[row] = True
            if self.done[row]:
                self._ended.append(row)
        return ~self.done[self.under_way]

    def keep(self, rows: np.ndarray) -> None:
        """Keep some rows of the tensors, [rows] bool."""
        self.under_way = self.under_way[rows]

    def ended(self) -> Iterator[SampleResult]:
        """The completions that ended since the last call."""
        rows, self._ended = self._ended, []
        for row in rows:
            key = self.batch[row].key
            values = checked(key, np.array(self.logprobs[row], np.float32))
            if values.logprobs is None:
                yield SampleResult(key, error=values.error)
                continue
            ids = np.array(self.ids[row], np.int32)
            self.ids[row], self.logprobs[row] = [], []
            yield SampleResult(key, ids, values.logprobs, self.finish[row])


def _left_padded(batch: Sequence[SampleRequest]) -> tuple[np.ndarray, np.ndarray]:
    """Prompt ids and mask, both [rows, longest prompt] int64."""
    width = max(len(request.prompt_ids) for request in batch)
    ids = np.zeros((len(batch), width), np.int64)
    mask = np.zeros((len(batch), width), np.int64)
    for row, request in enumerate(batch):
        ids[row, width - len(request.prompt_ids) :] = request.prompt_ids
        mask[row, width - len(request.prompt_ids) :] = 1
    return ids, mask
