"""Progress without a terminal."""

from __future__ import annotations

import io
import re
import threading

from dasd_data.cli import common
from dasd_data.cli.common import Progress


class Lines(io.StringIO):
    """A stream that says when a text has come, and how often it must."""

    def __init__(self, text, times=1):
        super().__init__()
        self.text, self.times, self.came = text, times, threading.Event()

    def write(self, text):
        """As a stream does."""
        done = super().write(text)
        if self.getvalue().count(self.text) >= self.times:
            self.came.set()
        return done


def test_a_job_that_tells_nothing_is_not_silent(monkeypatch):
    """A build that chooses for an hour would look dead in a log."""
    monkeypatch.setattr(common, "_EVERY_S", 0.001)
    stream = Lines(" s so far\n", times=2)
    with Progress("build x", stream=stream):
        assert stream.came.wait(60)
    assert re.fullmatch(r"(build x: \d+ s so far\n)+", stream.getvalue())


def test_a_line_tells_what_is_done_and_left(monkeypatch):
    """One would not know whether to wait."""
    monkeypatch.setattr(common, "_EVERY_S", 0.001)
    stream = Lines("s left\n")
    with Progress("build x", total=10, stream=stream) as progress:
        progress.update(5, detail="late")
        assert stream.came.wait(60)
    assert "build x: 5 of 10 rows, " in stream.getvalue()
    assert re.search(r"/s, late, \d+ s left\n", stream.getvalue())


def test_a_stream_that_is_closed_ends_neither_the_job_nor_its_lines(monkeypatch):
    """A job of days would end in a trace because its log's disk is full for a moment."""
    monkeypatch.setattr(common, "_EVERY_S", 0.001)
    stream = Lines("s left\n")
    write, failed = stream.write, threading.Event()

    def full(text):
        if not failed.is_set():
            failed.set()
            raise OSError(28, "No space left on device")
        return write(text)

    monkeypatch.setattr(stream, "write", full)
    with Progress("build x", total=10, stream=stream) as progress:
        progress.update(5)
        assert stream.came.wait(60)
    assert failed.is_set()
    assert not progress._thread.is_alive()  # nothing is said after its end


def test_a_short_job_prints_no_line():
    """Every command in a script would add lines to its log."""
    stream = Lines("x")
    with Progress("x", total=10, stream=stream) as progress:
        progress.advance(5)
    assert stream.getvalue() == ""
