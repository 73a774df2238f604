"""The command line: `dasd-data`. Commands load when they are called, stages by entry point."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
import traceback
from importlib.metadata import entry_points

import click

from dasd_data import __version__
from dasd_data.errors import DasdError, UnknownNameError

_COMMANDS = {
    "init": "dasd_data.cli.catalog:init",
    "build": "dasd_data.cli.build:build",
    "sql": "dasd_data.cli.query:sql",
    "views": "dasd_data.cli.query:views",
    "show": "dasd_data.cli.query:show",
    "status": "dasd_data.cli.catalog:status",
    "doctor": "dasd_data.cli.doctor:doctor",
    "completion": "dasd_data.cli.complete:completion",
}
_GROUP = "dasd_data.builders"
NAME, COMPLETE = "dasd-data", "_DASD_DATA_COMPLETE"
_SECTIONS = {
    "The shortest way": ("select",),
    "Fill a catalog": ("init", "ingest", "segment", "filter", "score"),
    "Ask it and build from it": ("build", "why", "sql", "views", "show", "status"),
    "Look after it": ("verify", "snapshots", "compact", "gc"),
    "This installation": ("doctor", "completion"),
}


class _Commands(click.Group):
    """Own commands first, then those of the entry-point group."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(e.name for e in entry_points(group=_GROUP))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, _, name = _COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        for entry in entry_points(group=_GROUP, name=cmd_name):
            loaded: click.Command = entry.load()
            return loaded
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownNameError("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by what they are for; those of third parties last."""
        names = self.list_commands(ctx)
        placed = {name for section in _SECTIONS.values() for name in section}
        more = tuple(name for name in names if name not in placed)
        for title, section in {**_SECTIONS, "More": more}.items():
            rows = [
                (name, command.get_short_help_str(limit=300))
                for name in section
                if name in names and (command := self.get_command(ctx, name))
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=12)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dasd-data")
def cli() -> None:
    """Build training data for distilling reasoning models from a catalog of sampled responses.

    The shortest way in: `dasd-data select candidates.jsonl --student MODEL --out train.jsonl`.
    Otherwise: init, ingest, score, filter, build.
    """


def main() -> None:
    """Run the command line, and exit.

    Exit codes: 0, 1 a defect of ours, 2 usage, 3 data, 4 conflict, 5 remote, 6 denied,
    130 interrupted. `DASD_DEBUG=1` adds the stack trace to an error.
    """
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    if COMPLETE in os.environ:
        _complete()
    try:
        code = cli.main(prog_name=NAME, complete_var=COMPLETE, standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
        sys.exit(code or 0)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(_say("interrupted: what was committed stays; run the same command to go on", 130))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DasdError as error:
        sys.exit(_say(f"error: {error}", error.exit_code))
    except BrokenPipeError:  # `dasd-data sql ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a folder that cannot be written, a full disk
        place = f"{error.filename}: " if error.filename else ""
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "; make room and run the same command again" if full else ""
        sys.exit(_say(f"error: {place}{error.strerror or error}{hint}", 3 if full else 2))
    except Exception as error:
        sys.exit(_say(_defect(error), 1))


def _complete() -> None:
    """Answer a shell's question for completions: in silence, whatever is wrong, and exit."""
    from dasd_data.cli import complete

    complete.register()
    with contextlib.suppress(BaseException), contextlib.redirect_stderr(io.StringIO()):
        cli.main(prog_name=NAME, complete_var=COMPLETE)
    sys.stdout.flush()
    os._exit(0)


def _defect(error: Exception) -> str:
    """One line on an error that nobody expected: what to report."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(str(error).split())[:300]
    return (
        f"a defect of dasd-data {__version__}: {type(error).__name__}: {what} "
        f"({place.filename}:{place.lineno}); run it again with DASD_DEBUG=1 and report the trace"
    )


def _say(text: str, code: int) -> int:
    from dasd_data.cli.tables import printable

    if os.environ.get("DASD_DEBUG", "") not in {"", "0"}:
        traceback.print_exc()
    click.echo(printable(text), err=True)
    return code
