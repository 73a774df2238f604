"""Work goes on while what it made is in use, one item ahead, and no error of it is lost."""

from __future__ import annotations

import contextlib
import faulthandler
import random
import signal
import threading
import time

import pytest

from dasd_data.ahead import ahead


def test_one_item_is_made_ahead_and_no_more():
    """Row groups would pile up in memory, or wait for each other."""
    made, third = [], threading.Event()

    def items():
        for number in range(5):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    came = ahead(items())
    assert [next(came), next(came)] == [0, 1]
    assert third.wait(10)  # nobody asked for it
    assert made == [0, 1, 2]
    assert list(came) == [2, 3, 4]


def test_an_error_comes_after_the_items_before_it():
    """A split would end early, and seem whole."""

    def items():
        yield from range(2)
        raise OSError("disk full")

    came = ahead(items())
    assert [next(came), next(came)] == [0, 1]
    with pytest.raises(OSError, match="disk full"):
        next(came)


def test_an_error_before_the_first_item_comes():
    """A build would wait for ever."""

    class Items:
        def __iter__(self):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ahead(Items()))


def test_no_thread_is_left_where_the_items_are_not_wanted_any_more():
    """A build that was stopped would go on reading."""
    before = threading.active_count()
    came = ahead(iter(range(1_000_000)))
    assert next(came) == 0
    came.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("pause", [0, 0.0002])
def test_an_interruption_ends_it_wherever_it_comes(pause):
    """A build that was stopped would wait for ever, its files half written."""

    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    def items():
        for _ in range(400):  # an interruption within a destructor is lost: it has an end besides
            time.sleep(pause)
            yield 1

    random.seed(0)
    before, interrupted = threading.active_count(), 0
    faulthandler.dump_traceback_later(60, exit=True)  # a deadlock ends no other way
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.005))
                with contextlib.closing(ahead(items())) as made:
                    for _ in made:
                        pass
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
        faulthandler.cancel_dump_traceback_later()
    assert threading.active_count() == before
    assert interrupted > 100


def test_nothing_is_fine():
    """A split without rows has no groups."""
    assert list(ahead(())) == []
