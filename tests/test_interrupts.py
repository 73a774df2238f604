"""Ctrl-C and SIGTERM: when they take effect, and how a command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from dasd_data.interrupts import held

LISTENING = "from dasd_data import interrupts; interrupts.listen()\n"
LONG_CALL = """
import hashlib
with interrupts.held():
    print("go", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""


@pytest.fixture(autouse=True)
def _interruptible():
    """Ctrl-C as it is at a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_waits_for_the_end_of_what_belongs_together():
    """A response would be committed without its tokens."""
    done = []
    with pytest.raises(KeyboardInterrupt), held():
        with held():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored():
    """A job under nohup would be stopped when its terminal closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_second_signal_stops_the_process_within_a_call_that_never_returns():
    """A user would have to look for the process and kill it."""
    command = [sys.executable, "-c", LISTENING + LONG_CALL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"go\n"
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == (b"", b"")
        assert process.returncode == 130


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        ("os.kill(os.getpid(), 15)", 130, "run the same command to go on"),
        ("interrupts._requested.set(); raise RuntimeError('Query interrupted')", 130, "go on"),
        ("raise OSError(28, 'No space left on device', 'x')", 3, "make room and run the same"),
        ("raise Exception('write failed: No space left on device (os error 28)')", 3, "make room"),
        ("raise Exception('other')", 1, "a defect of dasd-data"),
    ],
)
def test_how_a_command_ends_is_one_line_and_an_exit_code(failure, code, message):
    """A stopped job or a full disk would end in a stack trace."""
    stage = f"import os\ndef fail(*given, **more):\n    {failure}\n"
    call = "from dasd_data import cli, main\ncli.cli.make_context = fail\nmain.main()"
    done = subprocess.run(
        [sys.executable, "-c", LISTENING + stage + call],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert message in done.stderr
