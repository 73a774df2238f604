"""The plan of a run: which rows train together at which step, at any number of processes.

    python -m train.plan --config train/stage1_low_t.toml [--devices 8]

Rows are packed once, best fit, longest first. Every epoch takes the packs in an order drawn from
(seed, epoch); a step is the next `packs_per_step` of that stream.
"""

import hashlib
import sys
from bisect import bisect_left, insort
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from train import data, estimate
from train.choose import choose, listed
from train.config import Config, TrainError, arguments, load
from train.data import Rows
from train.rows import load_template

EMPTY = -1  # the pack of a process that has none left at a step


class Plan(NamedTuple):
    """Packs of row numbers; `stream` is the order of packs over all epochs."""

    packs: list[list[int]]
    tokens: np.ndarray  # [packs]
    squares: np.ndarray  # [packs] sum of squared lengths: the cost of attention
    total: np.ndarray  # [packs] sum of loss weights
    scale: np.ndarray  # [rows] factor of a row's loss weights
    stream: np.ndarray
    per_step: int
    held_out: dict[str, list[list[int]]]  # "source/domain": packs
    dropped: dict[str, list[str]]  # reason: ids
    hash: str

    @property
    def steps(self) -> int:
        """Optimizer steps of the run; the last may have fewer packs."""
        return -(-len(self.stream) // self.per_step)

    def step(self, number: int) -> np.ndarray:
        """The packs of a step, counted from 0."""
        return self.stream[number * self.per_step : (number + 1) * self.per_step]

    def deal(self, number: int, processes: int) -> np.ndarray:
        """[micro-batches, processes] of a step's packs, EMPTY where there is none left.

        Processes wait for each other at every micro-batch: those of one have like costs.
        """
        packs = self.step(number)
        packs = packs[np.lexsort((packs, -self.squares[packs]))]
        dealt = np.full((-(-self.per_step // processes), processes), EMPTY)
        dealt.flat[: len(packs)] = packs
        dealt[1::2] = dealt[1::2, ::-1]
        return dealt

    def rows(self, packs: np.ndarray) -> list[list[int]]:
        """The rows of each of some packs; of EMPTY, none."""
        return [self.packs[p] if p != EMPTY else [] for p in packs]

    def summary(self, capacity: int) -> str:
        """What the plan holds, and what it drops and why."""
        rows, tokens = sum(map(len, self.packs)), int(self.tokens.sum())
        held = sum(len(pack) for packs in self.held_out.values() for pack in packs)
        lines = [f"plan {self.hash}: {rows:,} rows, {tokens:,} tokens in {len(self.packs):,} packs "
                 f"({tokens / len(self.packs) / capacity:.1%} full), {self.steps:,} steps; "
                 f"{held:,} rows held out"]  # fmt: skip
        return "\n".join(lines + listed(self.dropped))


def pack(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Best fit, longest first: the numbers of the rows of each pack."""
    packs = defaultdict[int, list[int]](list)
    rooms: list[tuple[int, int]] = []  # (free tokens, pack), ascending
    shortest = int(lengths.min(initial=capacity))
    for row in np.argsort(-lengths, kind="stable").tolist():
        at = bisect_left(rooms, (int(lengths[row]), -1))
        room, number = rooms.pop(at) if at < len(rooms) else (capacity, len(packs))
        packs[number].append(row)
        if (room := room - int(lengths[row])) >= shortest:
            insort(rooms, (room, number))
    return list(packs.values())


def make(config: Config, rows: Rows) -> Plan:
    """The plan of a configuration. TrainError if no row is left to train on."""
    trained, groups, dropped, scale = choose(config, rows)
    lengths, total = rows.column("tokens"), rows.column("total") * scale

    def packed(mine: np.ndarray) -> list[list[int]]:
        return [mine[one].tolist() for one in pack(lengths[mine], config.cutoff)]

    packs, held_out = packed(trained), {name: packed(mine) for name, mine in groups.items()}
    orders = (np.random.default_rng([config.seed, e]) for e in range(config.epochs))
    stream = np.concatenate([order.permutation(len(packs)) for order in orders])
    digest = hashlib.sha256(repr((rows.hash, packs, config.packs_per_step)).encode())
    digest.update(stream.tobytes() + scale.tobytes())
    columns = (lengths, lengths.astype(np.int64) ** 2, total)
    tokens, squares, sums = (np.array([c[one].sum() for one in packs]) for c in columns)
    return Plan(packs, tokens, squares, sums, scale, stream, config.packs_per_step,
                held_out, dropped, digest.hexdigest()[:16])  # fmt: skip


def main() -> None:
    """Print the plan, with an estimate of memory and time; no GPU is needed."""
    parser = arguments("What a run will do.")
    parser.add_argument("--devices", type=int, default=8, help="GPUs to estimate for (8)")
    given = parser.parse_args()
    try:
        config = load(given.config, given.overrides)
        plan = make(config, data.load(config, load_template(config)))
        print(plan.summary(config.cutoff), estimate.report(config, plan, given.devices), sep="\n")
    except TrainError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
