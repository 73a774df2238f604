"""Coverage-guided fuzzing of every parser: `python -m tests.fuzz [TARGET...] --runs 1000000`.

Prints a line per target: inputs run, inputs a CPU second, new findings. A finding is an exception
outside what the parser declares, a broken property, more than 1 s of CPU for one input, or a
crash; its input is kept in --out. Exit code 1 where there is any.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

NEVER = 10**12


def main() -> int:
    """Run the targets named, or all."""
    arguments = _arguments()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (pip install 'dasd-data[fuzz]')")
        return 0
    from tests.fuzz.engine import fuzz_named, instrumented

    targets = instrumented()
    unknown = [name for name in arguments.targets if name not in targets]
    if unknown:
        sys.exit(f"no target named {', '.join(unknown)}; there is {', '.join(targets)}")
    print(f"{'target':<12} {'inputs':>10} {'per CPU s':>10} {'findings':>9}", flush=True)
    findings: list[str] = []

    names = arguments.targets or list(targets)
    chosen = (arguments.out, arguments.runs, arguments.seconds, arguments.seed)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("fork")) as pool:
        running = [pool.submit(fuzz_named, name, *chosen) for name in names]
        for name, future in zip(names, running, strict=True):
            done = future.result()
            rate = done.inputs / max(done.cpu_s, 1e-9)
            print(
                f"{name:<12} {done.inputs:>10,} {rate:>10,.0f} {len(done.findings):>9}", flush=True
            )
            findings += [f"{name}: {text}" for text in done.findings]
    for finding in findings:
        print(finding)
    if arguments.json:
        arguments.json.write_text(json.dumps(findings))
    return bool(findings)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--runs", type=int, default=NEVER, help="inputs for each target")
    parser.add_argument("--seconds", type=float, default=float(NEVER), help="CPU time for each")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--json", type=Path, help="also write the findings there, as a list")
    found = parser.parse_args()
    if found.runs == NEVER and found.seconds == NEVER:
        found.runs = 1_000_000
    return found


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
