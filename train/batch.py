"""Packs as tensors, built ahead by a thread while the device works on the last one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch


class Batch(NamedTuple):
    """A pack, or with sequence parallelism a slice of it; `starts` is of the whole."""

    ids: torch.Tensor  # int64 [tokens]
    positions: torch.Tensor  # int64 [tokens], from 0 in every row
    targets: torch.Tensor  # int64 [tokens], the next id
    weights: torch.Tensor  # fp32 [tokens], of the target
    starts: torch.Tensor  # int32 [rows + 1], cumulative lengths
    longest: int
    real: int  # tokens of this slice; then those that only fill it


def build(pack: Iterable[int], rows: Any, scale: np.ndarray, part: int, parts: int) -> Batch:
    """The slice `part` of `parts` of a pack, filled with a row of no weight to a multiple.

    `rows[i]` are ids and weights. An empty pack is a filling row alone: in ZeRO-3 every process
    has to take part.
    """
    pairs = [(*rows[row], scale[row]) for row in pack]
    lengths = [len(ids) for ids, _, _ in pairs]
    length = sum(lengths)
    fill = -length % parts or (0 if length else parts)
    starts = np.cumsum([0, *lengths, *([fill] if fill else [])])
    ids = np.concatenate([*(ids for ids, _, _ in pairs), np.zeros(fill, np.int64)])
    weights = np.concatenate([*(each * factor for _, each, factor in pairs), np.zeros(fill)])
    weights[starts[:-1]] = 0  # nothing foretells the first token of a row
    local = (length + fill) // parts
    mine = slice(part * local, part * local + local)
    positions = np.arange(length + fill) - np.repeat(starts[:-1], np.diff(starts))
    columns = (ids, positions, np.roll(ids, -1), np.roll(weights, -1))
    ids_, at, targets, weighed = (torch.from_numpy(column[mine]) for column in columns)
    return Batch(ids_.long(), at, targets.long(), weighed.float(), torch.from_numpy(starts).int(),
                 int(np.diff(starts).max()), min(max(length - part * local, 0), local))  # fmt: skip


def stream(packs: Iterable[Iterable[int]], *how: Any) -> Iterator[Batch]:
    """The packs on the device, given what `build` takes besides; the next is always under way."""
    with ThreadPoolExecutor(1) as pool:
        jobs = (pool.submit(build, pack, *how) for pack in packs)
        ahead = next(jobs, None)
        while now := ahead:
            ahead = next(jobs, None)
            yield _to_device(now.result())


def _to_device(batch: Batch) -> Batch:
    if not torch.cuda.is_available():
        return batch
    moved = {k: x.pin_memory().cuda(non_blocking=True) for k, x in batch._asdict().items()
             if torch.is_tensor(x)}  # fmt: skip
    return batch._replace(**moved)
