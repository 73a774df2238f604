"""`make demo-train`: the tiny student learns the demo's two builds, stage after stage, on a CPU.

The commands are those of a real run, with `train/tiny.toml` for `train/stage1_low_t.toml`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sysconfig.get_path("scripts")
CATALOG, SPLITS, RUNS = Path("demo/dasd.catalog"), Path("demo/splits"), Path("demo/runs")


def run(*words: str | Path) -> None:
    """Show a command, then run it; end the demo if it fails."""
    shown = [str(word) for word in words]
    print(f"\n$ {shlex.join(shown)}", flush=True)
    path = os.pathsep.join([SCRIPTS, os.environ["PATH"]])  # DeepSpeed looks for ninja there
    done = subprocess.run(
        [sys.executable if shown[0] == "python" else f"{SCRIPTS}/{shown[0]}", *shown[1:]],
        cwd=ROOT, env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    query = "SELECT view, path FROM builds ORDER BY view"
    listed = subprocess.run(
        [Path(SCRIPTS) / "dasd-data", "sql", query, "--json", "--catalog", CATALOG],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    shutil.rmtree(ROOT / SPLITS, ignore_errors=True)
    shutil.rmtree(ROOT / RUNS, ignore_errors=True)
    (ROOT / SPLITS).mkdir()
    for build in json.loads(listed.stdout):
        (ROOT / SPLITS / build["view"]).symlink_to(ROOT / CATALOG / build["path"])

    config = ("--config", "train/tiny.toml")
    low, high = (f"data={SPLITS / view}" for view in ("low_t_das", "high_t_das"))
    print("1. What the first stage will do.")
    run("python", "-m", "train.plan", *config, low)
    print("\n2. Stage 1: the teacher at T=0.6.")
    train = ("torchrun", "--standalone", "--nproc-per-node", "1", "-m", "train.sft", *config)
    run(*train, low, f"out={RUNS / 'low_t'}")
    print("\n3. Stage 2: on from stage 1's weights, the teacher at T=1.0.")
    run(*train, high, f"init_from={RUNS / 'low_t' / 'model'}", f"out={RUNS / 'high_t'}")
    curves = ("python", "examples/loss_curves.py", RUNS / "low_t", RUNS / "high_t")
    run(*curves, "--out", RUNS / "loss.html")
    seconds, student = time.monotonic() - started, RUNS / "high_t" / "model"
    print(f"\nDone in {seconds:.0f} s: the student is in {student}, the curves beside it.")


if __name__ == "__main__":
    main()
