"""Work in threads, which Ctrl-C may interrupt anywhere.

`concurrent.futures` waits by locks of Python code: an interruption within leaves them locked, and
the process never ends. A SimpleQueue is of C.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from dasd_data.interrupts import held

T = TypeVar("T")
_END: Any = object()


class Work(Generic[T]):
    """A call in a thread, once it is started; no process waits for it to exit."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._done.put((call(), None))
        except BaseException as error:
            self._done.put((None, error))

    def start(self) -> None:
        """Start the thread."""
        with held():
            self._thread.start()

    def result(self) -> T:
        """What the call returned. Raises what it raised. Asked for once."""
        value, error = self._done.get()
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame
        return value

    def wait(self) -> None:
        """Wait for its end, if it was started."""
        if self._thread.ident is not None:
            self._thread.join()


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The items, the next one made in a thread meanwhile. Raises what making one raises.

    The thread has ended when this is closed.
    """
    wanted: SimpleQueue[bool] = SimpleQueue()
    made: SimpleQueue[T] = SimpleQueue()

    def make() -> None:
        try:
            for item in items:
                made.put(item)
                if not wanted.get():
                    break
        finally:
            made.put(_END)

    making = Work(make)
    try:
        making.start()
        while (item := made.get()) is not _END:
            wanted.put(True)
            yield item
        making.result()
    finally:
        with held():  # else the thread goes on with what its caller closes next
            wanted.put(False)
            making.wait()
