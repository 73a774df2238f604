"""Several runs in one launch, since starting DeepSpeed takes most of a small run's time.

    torchrun --nproc-per-node 2 tests/train/worker.py one.toml two.toml

An error of a run is kept beside its configuration, as `one.error`, and the next one starts.
"""

import sys
import warnings
from pathlib import Path

import deepspeed
import torch
import torch.distributed as dist

from train.config import TrainError, load
from train.run import Run


def main() -> None:
    """Take the runs in turn."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    for path in map(Path, sys.argv[1:]):
        try:
            run = Run(load(path))
            run.train()
            run.engine.destroy()
        except TrainError as error:
            if dist.get_rank() == 0:
                path.with_suffix(".error").write_text(str(error))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
