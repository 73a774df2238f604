"""Child processes by fork: the parent has everything imported and has started no thread."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


def warm() -> None:
    """Load compiled code in this process, so that no child has to: it starts no thread."""
    from builders.filters import FILTERS, Candidate, make
    from builders.segment import segment
    from builders.tokens.aggregate import aggregate
    from builders.tokens.table import TokenTable
    from tests.faults.jobs import TINY

    spans = segment("One. Two.\n", "Three.")
    text = "One. Two.\nThree."
    candidate = Candidate("r", "Q?", "One. Two.\n", "Three.", "stop", None, tuple(spans))
    for name in FILTERS:
        settings = {"tokenizer": str(TINY / "student")} if name == "length" else {}
        make(name, settings).check([candidate])
    lists = pa.list_(pa.field("element", pa.int32()))
    aggregate(
        pa.array(["One. Two.\n"]), pa.array(["Three."]),
        pa.array([[1] * len(text)], lists), pa.array([[-0.5] * len(text)], pa.list_(pa.float32())),
        pa.array([spans.byte_end.astype(np.int32).tolist()], lists), sections="thinking+answer",
    )  # fmt: skip
    for name in ("teacher", "student"):
        TokenTable.load(str(TINY / name))


def start(work: Callable[[], Any], log: Path) -> int:
    """Fork a child that does `work` and pickles what it returns to `log`; returns its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        result = work()
        log.with_suffix(".result").write_bytes(pickle.dumps(result))
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:  # never back into the parent's stack
        os._exit(status)


def finish(pid: int, log: Path, within: float = 300.0) -> tuple[int, Any]:
    """Wait for a child: its exit status (negative: the signal), and what it returned.

    A child that takes longer than `within` seconds is killed, and TimeoutError says so.
    """
    end = time.monotonic() + within
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a child took over {within} s: {log}")
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    result = log.with_suffix(".result")
    return code, pickle.loads(result.read_bytes()) if code == 0 else None


def finish_all(pids: list[int], logs: list[Path], within: float) -> list[tuple[int, Any]]:
    """Wait for children, all within one time, or a minute once one failed; leave none behind."""
    end, left = time.monotonic() + within, dict.fromkeys(pids)
    ended: list[tuple[int, Any]] = []
    try:
        for pid, log in zip(pids, logs, strict=True):
            del left[pid]
            ended.append(finish(pid, log, max(end - time.monotonic(), 0.0)))
            if ended[-1][0]:  # others may wait for it
                end = min(end, time.monotonic() + 60)
        return ended
    finally:
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def result(work: Callable[[], Any], log: Path) -> Any:
    """What `work` returns, done in a child."""
    code, found = finish(start(work, log), log)
    if code:
        raise RuntimeError(f"a child ended with {code}: {log.read_text()}")
    return found
