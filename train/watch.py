"""What a run says: a progress line, `log.jsonl`, `dropped.jsonl`, and trackers if asked for."""

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from train.config import Config
from train.estimate import Shape, peak_flops
from train.plan import Plan


class Watch:
    """A line of the log per step and per evaluation; silent but in process 0."""

    def __init__(self, config: Config, plan: Plan, shape: Shape, first: int) -> None:
        self.plan, self.shape, self.first, self.peak = plan, shape, first, peak_flops()
        self.began = self.mark = time.perf_counter()
        self.on = dist.get_rank() == 0
        self.trackers = [_tracker(name, config) for name in config.report if self.on]
        if self.on:
            self.log = Path(config.out) / "log.jsonl"
            self.log.parent.mkdir(parents=True, exist_ok=True)
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            steps = (re.fullmatch(r'\{"step": (\d+),.*\}', line) for line in lines)
            kept = (step[0] + "\n" for step in steps if step and int(step[1]) <= first)
            self.log.write_text("".join(kept))  # the rest comes again
            named = ({"id": i, "reason": why} for why, ids in plan.dropped.items() for i in ids)
            self.log.with_name("dropped.jsonl").write_text("\n".join([*map(json.dumps, named), ""]))

    def step(self, number: int, lr: float, norm: float, loss: float, balance: float) -> None:
        """After optimizer step `number`, counted from 1; memory is the peak of this process."""
        now, plan, packs = time.perf_counter(), self.plan, self.plan.step(number - 1)
        seconds = now - self.mark
        tokens, squares = (float(of[packs].sum()) for of in (plan.tokens, plan.squares))
        flops = self.shape.flops(tokens, squares)
        mfu = flops / seconds / dist.get_world_size() / self.peak if self.peak else None
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10
        memory = (torch.cuda.max_memory_allocated() or resident) / 2**30
        left = (now - self.began) / (number - self.first) * (plan.steps - number)
        row = {"step": number, "loss": loss, "balance": balance, "lr": lr, "grad_norm": norm,
               "tokens": tokens, "seconds": seconds, "mfu": mfu, "memory_gib": memory}  # fmt: skip
        self._write(row, f"step {number:,}/{plan.steps:,}  loss {loss:.4f}  lr {lr:.2e}  "
                    f"grad {norm:.3f}  {tokens / seconds:,.0f} tok/s  "
                    f"{f'MFU {mfu:.1%}  ' if mfu else ''}{memory:.1f} GiB  "
                    f"{left // 3600:.0f} h {left % 3600 / 60:.1f} min left")  # fmt: skip

    def evaluation(self, number: int, losses: dict[str, float]) -> None:
        """Loss per target token of the held-out rows, by source and domain."""
        text = "  ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
        row = {"step": number, **{f"eval/{name}": loss for name, loss in losses.items()}}
        self._write(row, f"step {number:,}  held out: {text or 'nothing'}")

    def say(self, text: str) -> None:
        """A line for whoever watches; the seconds of the next step count from here."""
        if self.on:
            print(text, file=sys.stderr, flush=True)
        self.mark = time.perf_counter()

    def close(self, text: str) -> None:
        """At the end of a run: trackers send what they hold."""
        self.say(text)
        for _, finish in self.trackers:
            finish()

    def _write(self, row: dict[str, Any], text: str) -> None:
        self.say(text)
        if self.on:
            with self.log.open("a") as log:
                log.write(json.dumps(row) + "\n")
            for track, _ in self.trackers:
                track({k: v for k, v in row.items() if v is not None}, row["step"])


def _tracker(name: str, config: Config) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """(values, step) and finish() of TensorBoard, or of trackio or W&B, which are used alike."""
    if name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        board = SummaryWriter(str(Path(config.out) / "tensorboard"))
        return lambda row, step: [board.add_scalar(k, v, step) for k, v in row.items()], board.close
    module = import_module(name)
    module.init(project="dasd-train", name=Path(config.out).name, config=config.identity)
    return lambda row, step: module.log(row, step=step), module.finish
