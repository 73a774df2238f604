"""The command's entry: signals, and errors as one line and an exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
import traceback
from typing import NoReturn

from dasd_data import __version__, interrupts
from dasd_data.errors import DasdError

NAME, COMPLETE = "dasd-data", "_DASD_DATA_COMPLETE"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXT = re.compile("|".join(re.escape(os.strerror(number)) for number in _FULL))
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # in the messages of delta-rs


def main() -> NoReturn:
    """Run the command line, and exit.

    Exit codes: 0, 1 a defect of ours, 2 usage, 3 data, 4 conflict, 5 remote, 6 denied,
    130 interrupted. A reader of the output that leaves early, such as `head`, is no failure: 0.
    `DASD_DEBUG=1` adds the stack trace to an error.
    """
    interrupts.listen()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    try:
        from dasd_data.cli import cli  # within: an interruption may come while it loads

        if COMPLETE in os.environ:
            _complete()
        # Not `cli.main`: it ends a command whose reader has left with exit code 1.
        with cli.make_context(NAME, sys.argv[1:]) as context:
            cli.invoke(context)
        code = 0
        if sys.stdout:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:
        code = _code(error)
    sys.exit(code)


def _complete() -> NoReturn:
    """Answer a shell's question for completions: in silence, whatever is wrong, and exit."""
    from dasd_data.cli import cli, complete

    complete.register()
    with contextlib.suppress(BaseException), contextlib.redirect_stderr(io.StringIO()):
        cli.main(prog_name=NAME, complete_var=COMPLETE)
    sys.stdout.flush()
    os._exit(0)


def _code(error: BaseException) -> int:
    """Say in one line what is wrong; the exit code for it."""
    if interrupts.requested() or isinstance(error, KeyboardInterrupt):
        again = "what was committed stays; run the same command to go on"
        return _say(f"interrupted: {again}", interrupts.CODE)
    import click

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        return _say(shown.getvalue().rstrip("\n"), error.exit_code)
    if isinstance(error, BrokenPipeError):  # `dasd-data sql ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    text = " ".join(_COLOUR.sub("", str(error)).split())
    if _disk_full(error):
        again = "make room and run the same command again; what was committed stays"
        return _say(f"error: the disk is full: {again} ({text})", 3)
    if isinstance(error, DasdError):
        return _say(f"error: {error}", error.exit_code)
    if isinstance(error, OSError):  # a folder that cannot be written
        place = f"{error.filename}: " if error.filename else ""
        return _say(f"error: {place}{error.strerror or text}", 2)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    defect = f"a defect of dasd-data {__version__}: {type(error).__name__}: {text[:300]}"
    again = "run it again with DASD_DEBUG=1 and report the trace"
    return _say(f"{defect} ({frame.filename}:{frame.lineno}); {again}", 1)


def _disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of room; Delta and DuckDB say so in words only."""
    return getattr(error, "errno", None) in _FULL or bool(_FULL_TEXT.search(str(error)))


def _say(text: str, code: int) -> int:
    from dasd_data.cli.tables import printable

    if os.environ.get("DASD_DEBUG", "") not in {"", "0"}:
        traceback.print_exc()
    print(printable(text), file=sys.stderr)
    return code
