"""Ctrl-C and SIGTERM: KeyboardInterrupt where a command can stop, held back where it cannot."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

CODE = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_requested = threading.Event()


def listen() -> None:
    """Let SIGTERM stop this process as Ctrl-C does, and a second signal stop it at once.

    At once: also within a long call of a library, where no Python code can run.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and `&` in scripts ask for
            signal.signal(number, _stop)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_exit_at_second, args=(reader,), daemon=True).start()


def requested() -> bool:
    """Whether this process was asked to stop: an error that comes after is of that making.

    Libraries turn KeyboardInterrupt into errors of their own: DuckDB within a query, C extensions
    within an import.
    """
    return _requested.is_set()


@contextmanager
def held() -> Iterator[None]:
    """Hold an interruption back until the block ends: what is within happens whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers: dict[int, Any] = {n: handler for n, handler in before.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, lambda *call: came.append(call))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            handlers[number](number, frame)


def _stop(number: int, frame: FrameType | None) -> None:
    _requested.set()
    raise KeyboardInterrupt


def _exit_at_second(reader: int) -> None:
    """Wait for two signals, which the interpreter writes as bytes, then end the process."""
    seen = 0
    while seen < 2:
        seen += sum(byte in _SIGNALS for byte in os.read(reader, 16))
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
    os._exit(CODE)
