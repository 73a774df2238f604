"""Measures in processes of their own, so that each has its own peak of memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(script: str, *arguments: object) -> list[Any]:
    """What a script prints as JSON, run by itself."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return list(json.loads(done.stdout))


def peak_mb() -> float:
    """Peak resident memory of this process.

    Linux's own count where there is one: getrusage's begins with what the parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
