"""SQL of others, run in a child process: `child` is the other end.

What is not shipped with this package (a view of the catalog, a file, a query) reads the snapshot's
files and nothing else, with limits of memory, time and disk, and sees no secret of this process.
What comes back is data: rows of an Arrow stream, or one line that says what went wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from dasd_data import errors, scratch
from dasd_data.config import SqlConfig
from dasd_data.errors import DasdError, DeniedError, LimitError
from dasd_data.parameters import Variables

DEFAULTS = SqlConfig(memory_limit="50%", time_limit=600, spill_limit="32GB")
_START = (
    "import os, sys; sys.path[:0] = sys.argv[2:]; "
    "from dasd_data.child import main; main(int(sys.argv[1]))"
)
_KNOWN = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, DasdError)
}


@dataclass(frozen=True)
class Rows:
    """The rows of a query: its schema, which may name a column twice, and its batches."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def limits(configured: SqlConfig) -> SqlConfig:
    """The limits of SQL of others: those configured, else the defaults."""
    given = {name: value for name, value in asdict(configured).items() if value is not None}
    return replace(DEFAULTS, **given)


@contextlib.contextmanager
def rows(
    sql: str,
    files: Mapping[str, Sequence[Path]],
    variables: Variables,
    *,
    limits: SqlConfig = DEFAULTS,
    threads: int | None = None,
    patient: bool = False,
    repeatable: bool = False,
) -> Iterator[Rows]:
    """Run one reading statement in a child process that ends with this context.

    `patient`: the time limit leaves out the time that the caller takes for the rows, as a pager
    does. For `repeatable` see `allowed.check`. Raises LimitError, DeniedError, UnknownNameError,
    UsageError; also while rows are read.
    """
    request = {
        "sql": sql,
        "repeatable": repeatable,
        "files": {name: [str(p.absolute()) for p in paths] for name, paths in files.items()},
        "variables": variables.literals,
        "threads": threads,
        "limits": asdict(limits),
    }
    with scratch.folder() as folder:
        child = _start(folder)
        try:
            yield _Conversation(child, limits, patient).ask(request)
        finally:
            _end(child)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
    }
    if libraries := os.environ.get("LD_LIBRARY_PATH"):  # where Python itself may need it
        environment["LD_LIBRARY_PATH"] = libraries
    path = [str(Path(entry).absolute()) for entry in sys.path if entry]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START, str(os.getpid()), *path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,  # a group of its own; Ctrl-C comes to the parent
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and all that it started."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


class _Conversation(io.RawIOBase):
    """What the child says on its standard output, read against the clock."""

    def __init__(self, child: subprocess.Popen[bytes], limits: SqlConfig, patient: bool) -> None:
        super().__init__()
        assert child.stdout
        assert limits.time_limit
        self._child, self._limits, self._patient = child, limits, patient
        self._output = child.stdout.fileno()
        self._left = float(limits.time_limit)
        self._since = time.monotonic()

    def ask(self, request: Mapping[str, Any]) -> Rows:
        """Send the request; the rows come as they are read."""
        assert self._child.stdin
        with contextlib.suppress(BrokenPipeError):  # its last words say why
            self._child.stdin.write(json.dumps(request).encode())
            self._child.stdin.close()
        with self._explained():
            reader = pa.ipc.open_stream(io.BufferedReader(self, 1 << 20))
        return Rows(reader.schema, self._batches(reader))

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, or wait for it as long as the time limit allows."""
        now = time.monotonic()
        if not self._patient:
            self._left -= now - self._since
        ready, _, _ = select.select([self._output], [], [], max(0.0, self._left))
        self._since = time.monotonic()
        self._left -= self._since - now
        if not ready:
            raise self._limit("time_limit")
        return os.readv(self._output, [buffer])

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            with self._explained():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return self._finish()
                batch.validate(full=True)
            yield batch

    def _finish(self) -> None:
        """The stream has ended as it should: so must the child."""
        if self._child.wait():
            raise self._reason() or DeniedError("the query's process failed after its last row")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """A stream that breaks off has its reason in the child, not in the stream."""
        try:
            yield
        except (pa.ArrowException, OSError, EOFError) as error:
            if isinstance(error, DasdError):
                raise
            raise (
                self._reason() or DeniedError(f"the query's rows cannot be read: {error}")
            ) from None

    def _limit(self, name: str) -> LimitError:
        value = getattr(self._limits, name)
        return LimitError(name, f"{value} s" if name == "time_limit" else str(value))

    def _reason(self) -> DasdError | None:
        """Why the child ended; None where it ended well."""
        try:
            code = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return None
        assert self._child.stderr
        said = self._child.stderr.read(1 << 20)
        try:
            report = json.loads(said)
            kind = _KNOWN.get(report["error"], DeniedError)
            return kind(*report["about"]) if "about" in report else kind(report["message"])
        except (ValueError, KeyError, TypeError):
            pass
        if code == -signal.SIGXCPU:
            return self._limit("time_limit")
        if code in (-signal.SIGKILL, -signal.SIGABRT):  # the kernel's last resort, or C++'s
            return self._limit("memory_limit")
        if code < 0:
            return DeniedError(
                f"the query crashed its own process ({signal.Signals(-code).name}); "
                "nothing else was touched: simplify it"
            )
        last = said.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return DeniedError(f"the query's process failed: {last}") if code else None
