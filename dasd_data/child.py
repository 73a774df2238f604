"""The process that runs SQL of others: one SELECT over pinned files, its rows as an Arrow stream.

    stdin    the request, as JSON: files, variables, SQL, threads and limits
    stdout   the rows, as an Arrow IPC stream
    stderr   what went wrong, as one line of JSON; exit code 1

It is started by `sandbox`, with nothing of the caller's environment, in an empty folder. It knows
neither the catalog nor Delta: only the names of files.
"""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dasd_data import pool, sqlfiles, walls
from dasd_data.config import SqlConfig
from dasd_data.errors import DasdError, LimitError, UnknownNameError
from dasd_data.parameters import Variables
from dasd_data.session import Session

_GROWTH = 2 << 30, 128 << 20  # address space beyond the memory limit: fixed, and for each thread
_MESSAGE = 8_192  # a pipe takes more than this without a reader
# Python reads some of its library late.
_OURS = [
    Path(sysconfig.get_path("stdlib")),
    *(Path(str(module.__file__)).parent for module in (duckdb, pa, sqlfiles)),
]
# DuckDB 2.0.0 aborts where it cannot read them: it looks for the limits of a container.
_ABOUT_THE_MACHINE = [
    path
    for name in (
        "/proc/self/cgroup", "/proc/meminfo", "/proc/stat", "/sys/fs/cgroup",
        "/sys/devices/system/cpu",
    )
    if (path := Path(name)).exists()
]  # fmt: skip
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def main(parent: int) -> None:
    """Answer the request on standard input."""
    walls.die_with(parent)
    request = json.load(sys.stdin)
    limits = SqlConfig(**request["limits"])
    try:
        _answer(request, limits)
    except MemoryError:
        _fail(LimitError("memory_limit", str(limits.memory_limit)))
    except (DasdError, pa.ArrowException, OSError) as error:
        _fail(error)


def _answer(request: dict[str, Any], limits: SqlConfig) -> None:
    files = {name: [Path(p) for p in paths] for name, paths in request["files"].items()}
    here = Path.cwd()
    readable = [sqlfiles.sql_folder(), *_OURS, *_ABOUT_THE_MACHINE]
    readable += [path for paths in files.values() for path in paths]
    # Before DuckDB starts its threads: they inherit what this thread is left.
    walls.only_files(readable, here)
    walls.no_network()
    session = Session(files, threads=request["threads"], limits=limits, spill=here / "spill")
    memory, spill, threads = _limits(session)
    assert limits.time_limit is not None
    walls.cap(limits.time_limit * threads, spill)
    walls.cap_memory(memory + _GROWTH[0] + _GROWTH[1] * threads)
    session.use(Variables(literals=request["variables"]))
    session.create_base_views()
    with session.translated():
        schema, batches = pool.stream(session, request["sql"], repeatable=request["repeatable"])
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
            for batch in batches:
                stream.write_batch(batch)
        sys.stdout.buffer.flush()


def _limits(session: Session) -> tuple[int, int, int]:
    """Limits of memory and spilling in bytes, and the number of threads, as DuckDB took them."""
    memory, spill, threads = session.rows(
        "SELECT current_setting('memory_limit') AS memory, "
        "current_setting('max_temp_directory_size') AS spill, current_setting('threads') AS threads"
    )[0].values()
    return _bytes(memory), _bytes(spill), int(threads)


def _bytes(size: str) -> int:
    """Bytes of a size as DuckDB prints it: `11.7 GiB`."""
    match = re.fullmatch(r"([0-9.]+) (\w+)", size)
    assert match, size
    return int(float(match[1]) * _UNITS[match[2]])


def _fail(error: Exception) -> None:
    report: dict[str, Any] = {"error": type(error).__name__, "message": str(error)[:_MESSAGE]}
    if isinstance(error, UnknownNameError):
        known = [name[:200] for name in error.known[:40]]
        report["about"] = [error.kind, error.name[:200], known, "", error.line]
    if isinstance(error, LimitError):
        report["about"] = [error.limit, error.value]
    sys.stderr.write(json.dumps(report))
    sys.stderr.flush()
    os._exit(1)  # at once: no destructor may still fail
