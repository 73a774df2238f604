"""The command line: `dasd-data`. Commands load when they are called, stages by entry point."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from importlib.metadata import entry_points

import click

from dasd_data import __version__
from dasd_data.errors import DasdError, UnknownNameError

_COMMANDS = {
    "init": "dasd_data.cli.catalog:init",
    "build": "dasd_data.cli.build:build",
    "why": "dasd_data.cli.why:why",
    "sql": "dasd_data.cli.query:sql",
    "views": "dasd_data.cli.query:views",
    "show": "dasd_data.cli.query:show",
    "status": "dasd_data.cli.catalog:status",
}
_GROUP = "dasd_data.builders"


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


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dasd-data")
def cli() -> None:
    """Build training data for distilling reasoning models from a catalog of sampled responses.

    The shortest way in: `dasd-data select candidates.jsonl --student MODEL --out train.jsonl`.
    Otherwise: init, ingest, score, filter, build.
    """


def main() -> None:
    """Run the command line. Exit codes: 0, 2 usage, 3 data, 4 conflict, 5 remote, 6 denied, 130."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
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


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
