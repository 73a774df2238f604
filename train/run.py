"""One run: the plan's steps in turn, evaluations, checkpoints and the export."""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
import torch.distributed as dist

from train import batch, checkpoint, data, estimate, model, rows
from train import plan as planning
from train.batch import Batch
from train.config import Config, ConfigError, TrainError
from train.watch import Watch


def learning_rate(config: Config, step: int, steps: int) -> float:
    """Of a step, counted from 0: linear warm-up to lr, then half a cosine down to lr_min."""
    warm = math.ceil(config.warmup * steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    done = (step - warm) / max(1, steps - 1 - warm)
    return config.lr_min + (config.lr - config.lr_min) * (1 + math.cos(math.pi * done)) / 2


class Run:
    """This process's share of a run."""

    def __init__(self, config: Config) -> None:
        self.config, self.parts, processes = config, config.sequence_parallel, dist.get_world_size()
        if processes % self.parts:
            raise ConfigError(f"sequence_parallel does not divide {processes} processes")
        self.columns = processes // self.parts  # packs at a time
        self.column, self.part = divmod(dist.get_rank(), self.parts)
        group = dist.new_subgroups(self.parts)[0] if self.parts > 1 else None
        self.template = rows.load_template(config)
        self.rows = data.load(config, self.template)
        self.plan = planning.make(config, self.rows)
        path, about = checkpoint.find(config, self.plan.hash)
        seen = [("", 0)] * processes
        dist.all_gather_object(seen, (self.plan.hash, about["step"]))
        if len(set(seen)) > 1:
            raise TrainError(f"processes see other rows or checkpoints (plan, step): {set(seen)}")
        student = model.load(config, group)
        self.shape = estimate.shape_of(student.model)
        self.first = about["step"]
        moved = path is not None and about["processes"] != processes
        micro_batches = len(self.plan.deal(0, self.columns))
        self.engine = model.engine(config, student, micro_batches, universal=moved)
        if path:
            checkpoint.restore(self.engine, path, about["processes"])

    def batches(self, packs: Iterator[list[list[int]]]) -> Iterator[Batch]:
        """This process's of the packs, given [columns] at a time."""
        mine = (at_once[self.column] for at_once in packs)
        return batch.stream(mine, self.rows, self.plan.scale, self.part, self.parts)

    def train(self) -> None:
        """Take the steps that are left, and export."""
        config, plan = self.config, self.plan
        watch = Watch(config, plan, self.shape, self.first)
        watch.say(plan.summary(config.cutoff))
        left = (plan.deal(step, self.columns) for step in range(self.first, plan.steps))
        batches = self.batches(map(plan.rows, chain.from_iterable(left)))
        if not self.first:
            watch.evaluation(0, self.evaluate())
        for done in range(self.first + 1, plan.steps + 1):
            self.step(done - 1, batches, watch)
            if done % config.eval_every == 0 or done == plan.steps:
                watch.evaluation(done, self.evaluate())
            if done % config.save_every == 0 or done == plan.steps:
                watch.say(f"saved {checkpoint.save(self.engine, config, plan.hash, done)}")
        folder = Path(config.out) / "model"
        checkpoint.export(self.engine, self.template, folder, config.identity | {"plan": plan.hash})
        watch.close(f"the student is in {folder}")

    def step(self, step: int, batches: Iterator[Batch], watch: Watch) -> None:
        """One optimizer step, or TrainError and the state before it if the loss is no number."""
        plan, world = self.plan, dist.get_world_size()
        packs, lr = plan.step(step), learning_rate(self.config, step, plan.steps)
        decays = (self.config.weight_decay, 0.0)  # set again, as DeepSpeed resumes with one for all
        for group, decay in zip(self.engine.optimizer.param_groups, decays, strict=True):
            group |= {"lr": lr, "weight_decay": decay}
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 65_536 + dist.get_rank())
        mine, losses = plan.deal(step, self.columns)[:, self.column], []
        for number in range(len(mine)):
            self.engine.set_gradient_accumulation_boundary(number == len(mine) - 1)
            parts = self.engine(next(batches))
            parts = parts / parts.new_tensor([plan.total[packs].sum(), len(packs)])
            self.engine.backward(parts.sum() * world, scale_wrt_gas=False)  # it takes the mean
            losses.append(parts.detach())
        total = torch.stack(losses).sum(0)
        dist.all_reduce(total)
        if not total.isfinite().all():
            finite = torch.stack(losses).isfinite().all(1).tolist()
            self.stop(step, [p for p, fine in zip(mine, finite, strict=True) if not fine])
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not math.isfinite(norm):
            raise TrainError(f"the gradient of step {step + 1} is no number: try a lower lr")
        watch.step(step + 1, lr, norm, *total.tolist())

    def stop(self, step: int, bad: list[int]) -> None:
        """Save what was before a step whose loss is no number, and name the rows of its packs."""
        path = checkpoint.save(self.engine, self.config, self.plan.hash, step)
        everywhere: list[list[int]] = [[]] * dist.get_world_size()
        dist.all_gather_object(everywhere, bad)
        ids = list(chain(*(self.plan.packs[p] for p in sorted(set(chain(*everywhere))))))
        names = ", ".join(self.rows.table["id"].take(ids[:100]).to_pylist())
        raise TrainError(f"the loss of step {step + 1} is no number, in the pack of {len(ids):,} "
                         f"rows {names}; the state before it is in {path}")  # fmt: skip

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean loss per target token of the held-out rows, by source and domain."""
        self.engine.eval()
        losses, weight = {}, self.rows.column("total")
        for name, packs in self.plan.held_out.items():
            full = packs + [[]] * (-len(packs) % self.columns)
            grid = (full[i : i + self.columns] for i in range(0, len(full), self.columns))
            total = torch.stack([self.engine(one)[0] for one in self.batches(grid)]).sum()
            dist.all_reduce(total)
            losses[name] = float(total) / weight[list(chain(*packs))].sum()
        self.engine.train()
        return losses
