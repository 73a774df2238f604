"""Checkpoints: whole or not there, resumed at any number of processes.

On CPUs, a run that was killed goes on to the last digit at the same number of processes; CUDA's
kernels may add in another order.

    out/checkpoints/step-000100/   DeepSpeed's shards, and train.json: step, plan, configuration
    out/model/                     the student, as `from_pretrained` and the Hub have it

Nothing else has to be kept: learning rate, order of the packs and random numbers are functions
of the step. The folder is on a disk that all processes see.
"""

import json
import os
import shutil
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from train.config import Config, TrainError, read_json
from train.rows import Template


def save(engine: Any, config: Config, plan_hash: str, step: int) -> Path:
    """Write a checkpoint after `step` steps; it appears under its name when it is on disk."""
    final = Path(config.out) / "checkpoints" / f"step-{step:06}"
    part = final.with_name(f"{final.name}.part")
    if dist.get_rank() == 0:
        shutil.rmtree(part, ignore_errors=True)
    dist.barrier()
    engine.save_checkpoint(str(final.parent), tag=part.name, save_latest=False)
    dist.barrier()
    if dist.get_rank() == 0:
        _publish(part, final, {"step": step, "plan": plan_hash, "processes": dist.get_world_size(),
                               "configuration": config.identity})  # fmt: skip
        for old in _whole(final.parent)[: -config.keep]:
            shutil.rmtree(old)
    dist.barrier()
    return final


def find(config: Config, plan_hash: str) -> tuple[Path | None, dict[str, Any]]:
    """The newest checkpoint of this run and its train.json; None and step 0 if there is none.

    TrainError if it is of another plan or configuration.
    """
    if not (whole := _whole(Path(config.out) / "checkpoints")):
        return None, {"step": 0}
    about = read_json(whole[-1] / "train.json", TrainError, ". Remove this checkpoint")
    then, now = about["configuration"], config.identity | {"plan": plan_hash}
    then |= {"plan": about["plan"]}
    if then["plan"] == plan_hash:  # the same rows, if under another path or name
        then["data"] = now["data"]
    if changed := [f"{k} {then.get(k)!r}, now {v!r}" for k, v in now.items() if then.get(k) != v]:
        raise TrainError(f"{whole[-1]} is of another run: {'; '.join(changed)}. Set another `out`, "
                         "go back to what that run had, or remove its checkpoints")  # fmt: skip
    return whole[-1], about


def restore(engine: Any, path: Path, processes: int) -> None:
    """Load a checkpoint; one of another number of processes through the universal format."""
    if processes == dist.get_world_size():
        engine.load_checkpoint(str(path.parent), tag=path.name)
        return
    part = path.with_name(f"universal-{path.name}.part")
    if dist.get_rank() == 0:
        from deepspeed.checkpoint.ds_to_universal import main as convert

        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        convert(Namespace(
            input_folder=str(path), output_folder=str(part), num_extract_workers=1,
            num_merge_workers=1, keep_temp_folder=False, strict=True, inject_missing_state=True,
        ))  # fmt: skip
    dist.barrier()
    engine.load_checkpoint(str(part.parent), tag=part.name)
    for state in engine.optimizer.optimizer.state.values():
        if torch.is_tensor(state["step"]):  # all share one counter, which each of them would raise
            state["step"] = state["step"].clone()
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(part)


def export(engine: Any, template: Template, folder: Path, about: Mapping[str, Any]) -> None:
    """Write the student for `from_pretrained`; experts are in the Hub's layout."""
    weights = engine._consolidated_16bit_state_dict()  # of process 0
    if dist.get_rank() == 0:
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        named = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
        engine.module.model.save_pretrained(part, state_dict=named)
        template.tokenizer.save_pretrained(part)
        _publish(part, folder, about)
    dist.barrier()


def _whole(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("step-??????/train.json"))


def _publish(part: Path, final: Path, about: Mapping[str, Any]) -> None:
    """Bring a folder to disk, then to its name."""
    (part / "train.json").write_text(json.dumps(about, indent=1))
    for path in (*part.rglob("*"), part):
        _sync(path)
    before = final.with_name(f"{final.name}.old")
    if final.exists():
        shutil.rmtree(before, ignore_errors=True)
        final.rename(before)
    part.rename(final)
    _sync(final.parent)
    shutil.rmtree(before, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
