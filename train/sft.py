"""The trainer's command.

    deepspeed --module train.sft --config train/stage1_low_t.toml [key=value ...]
    torchrun --nproc-per-node 8 -m train.sft --config train/stage1_low_t.toml

One process per GPU, or gloo on CPUs. The same command goes on where a killed run stopped.
"""

import os
import shutil
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.distributed as dist

from train.config import Config, ConfigError, TrainError, arguments, load


def check(config: Config) -> None:
    """ConfigError where a tracker is missing, or DeepSpeed cannot compile what this run needs."""
    if missing := [name for name in config.report if find_spec(name) is None]:
        raise ConfigError(f"report needs {missing[0]}: run `pip install {missing[0]}`")
    if torch.cuda.is_available() and not config.offload:
        return
    if not (shutil.which("ninja") and shutil.which("g++")):
        raise ConfigError("DeepSpeed compiles a part of itself for CPUs: put g++ and ninja on PATH")
    from torch.utils.cpp_extension import get_default_build_root

    for lock in Path(os.getenv("TORCH_EXTENSIONS_DIR") or get_default_build_root()).rglob("lock"):
        if time.time() - lock.stat().st_mtime > 1200:
            raise ConfigError(f"DeepSpeed waits for ever for {lock} of a killed compile: remove it")


def main() -> None:
    """Run under `deepspeed` or `torchrun`; alone, it is one process."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    parser = arguments("Train a student.")
    parser.add_argument("--local_rank", help="given by the deepspeed launcher")
    given = parser.parse_args()
    try:
        check(config := load(given.config, given.overrides))
        import deepspeed

        from train.run import Run

        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
        os.environ |= {"MASTER_PORT": "29500"} | alone | os.environ
        if cuda := torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        deepspeed.init_distributed("nccl" if cuda else "gloo")
        Run(config).train()
        dist.destroy_process_group()
    except TrainError as error:
        if os.getenv("LOCAL_RANK", "0") == "0" or not isinstance(error, ConfigError):  # all have it
            sys.stderr.write(f"error on {os.uname().nodename}:{os.getenv('RANK', '')}: {error}\n")
        if dist.is_initialized():  # left alone where anything else fails: others may wait in it
            dist.destroy_process_group()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
