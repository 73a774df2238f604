"""The command line: `dasd-data`. Commands load when they are called, stages by entry point."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

import click

from dasd_data import __version__
from dasd_data.errors import UnknownNameError
from dasd_data.main import COMPLETE, NAME, main

__all__ = ["COMPLETE", "NAME", "cli", "main"]

_COMMANDS = {
    "init": "dasd_data.cli.catalog:init",
    "build": "dasd_data.cli.build:build",
    "test": "dasd_data.cli.test:test",
    "plan": "dasd_data.cli.compare:plan",
    "diff": "dasd_data.cli.compare:diff",
    "reproduce": "dasd_data.cli.reproduce:reproduce",
    "push": "dasd_data.cli.push:push",
    "export": "dasd_data.cli.export:export",
    "why": "dasd_data.cli.why:why",
    "index": "dasd_data.cli.index:index",
    "sql": "dasd_data.cli.query:sql",
    "views": "dasd_data.cli.query:views",
    "show": "dasd_data.cli.query:show",
    "docs": "dasd_data.cli.docs:docs",
    "status": "dasd_data.cli.catalog:status",
    "doctor": "dasd_data.cli.doctor:doctor",
    "completion": "dasd_data.cli.complete:completion",
    "snapshots": "dasd_data.cli.maintain:snapshots",
    "verify": "dasd_data.cli.maintain:verify",
    "compact": "dasd_data.cli.maintain:compact",
    "gc": "dasd_data.cli.maintain:gc",
}
_GROUP = "dasd_data.builders"
_SECTIONS = {
    "The shortest way": ("select",),
    "Fill a catalog": ("init", "collect", "ingest", "sample", "segment", "filter", "score"),
    "Ask it": ("sql", "views", "show", "docs", "status", "why", "index"),
    "Build from it": ("build", "test", "plan", "diff", "reproduce"),
    "Give it to others": ("push", "export"),
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
