"""Shell completion: `dasd-data completion`, and what stands for what in an option.

A shell asks by running the command with `_DASD_DATA_COMPLETE`. Nothing here may print, and nothing
heavy is imported unless names must be read from a catalog.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

SHELLS = ("bash", "zsh", "fish")
_INSTALL = """\b
  bash  eval "$(dasd-data completion bash)"        in ~/.bashrc
  zsh   eval "$(dasd-data completion zsh)"         in ~/.zshrc, after compinit
  fish  dasd-data completion fish | source         in ~/.config/fish/config.fish"""

# Bash breaks words at `=` and `:`: the line is cut here instead, and replies lose what bash keeps.
_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case "$type" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                if [[ "$value" == *= ]]; then compopt -o nospace; fi ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """The script runs in any bash from 4.4 on; an older one says so itself."""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        while words and "=" in words[0]:  # variables set for the command
            del words[0]
        incomplete = words.pop() if len(words) > 1 and not line[-1:].isspace() else ""
        self._kept = _kept_by_bash(incomplete, os.environ.get("COMP_WORDBREAKS", "=:"))
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        value = str(item.value)
        return f"{item.type},{value.removeprefix(self._kept)}"


class _Zsh(ZshComplete):
    # No space after `name=`, and no help in the way of it.
    source_template = ZshComplete.source_template.replace(
        "compadd -U -V unsorted -a completions",
        "compadd -U -V unsorted -q -S ' ' -- ${completions:#*=}; "
        "compadd -U -V unsorted -S '' -- ${(M)completions:#*=}",
    )

    def format_completion(self, item: CompletionItem[str]) -> str:
        if item.value.endswith("="):
            item = CompletionItem(item.value, item.type)
        return super().format_completion(item)


def _kept_by_bash(incomplete: str, breaks: str) -> str:
    """What of the word stands before bash's last word break: replies must not repeat it."""
    if incomplete.startswith("--"):
        incomplete = incomplete.partition("=")[2]  # click answers with the value alone
    return incomplete[: max(incomplete.rfind(c) for c in "=:" if c in breaks or c == "=") + 1]


def register() -> None:
    """Answer bash and zsh by the classes above."""
    add_completion_class(_Bash)
    add_completion_class(_Zsh)


@click.command(epilog=_INSTALL)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for bash, zsh or fish.

    It completes commands, options, views, parameters with their values, scorers and files. Make
    your shell run it at start:
    """
    from dasd_data.cli import COMPLETE, NAME, cli

    register()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, NAME, COMPLETE).source())


def views(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Views that define splits, shipped ones and the catalog's own; else files."""
    from dasd_data import sqlfiles

    if "/" in incomplete or incomplete.endswith(".sql"):
        return files(ctx, option, incomplete)
    return _start(
        incomplete,
        ((view.name, view.description) for view in sqlfiles.split_views(_catalog(ctx)).values()),
    )


def relations(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Tables, base views and views that define splits."""
    from dasd_data import sqlfiles
    from dasd_data.schema import SNAPSHOTS, TABLES

    views = (*sqlfiles.base_views(), *sqlfiles.split_views(_catalog(ctx)).values())
    found = [(v.name, v.description) for v in views]
    found += [(t.name, t.comment) for t in (*TABLES.values(), SNAPSHOTS)]
    return _start(incomplete, sorted(found))


def settings(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`name=` of every parameter, then its values."""
    from dasd_data import sqlfiles
    from dasd_data.parameters import BUDGETS

    catalog = _catalog(ctx)
    declared = {n: p for view in sqlfiles.base_views() for n, p in view.parameters.items()}
    if view := ctx.params.get("view"):
        declared.update(sqlfiles.find_view(view, catalog).parameters)
    name, equals, _ = incomplete.partition("=")
    if not equals:
        names = [
            (f"{n}.{domain}=" if domain else f"{n}=", p.help)
            for n, p in sorted(declared.items())
            for domain in (BUDGETS if p.type == "budget" else ("",))
        ]
        return _start(incomplete, names)
    if name not in declared:
        return []
    parameter = declared[name]
    values: Iterable[str] = parameter.choices
    if parameter.type == "boolean":
        values = ("true", "false")
    elif parameter.type == "scorer":
        values = _scorers(catalog)
    elif parameter.default is not None and not values and not isinstance(parameter.default, dict):
        default = parameter.default
        values = [",".join(default) if isinstance(default, list) else str(default)]
    return _start(incomplete, [(f"{name}={value}", "") for value in values])


def snapshots(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Numbers of the catalog's snapshots, the newest first."""
    from dasd_data.store import Store

    newest = Store.open(_catalog(ctx)).snapshot().snapshot_id
    return _start(incomplete, [(str(n), "") for n in range(newest, max(newest - 50, 0), -1)])


def files(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, as the shell completes them."""
    return [CompletionItem(incomplete, "file")]


def folders(ctx: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders, as the shell completes them."""
    return [CompletionItem(incomplete, "dir")]


def _start(incomplete: str, found: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [CompletionItem(n, help=about or None) for n, about in found if n.startswith(incomplete)]


def _catalog(ctx: click.Context) -> Path:
    from dasd_data import config

    return config.load(ctx.params.get("catalog")).catalog


def _scorers(catalog: Path) -> list[str]:
    """Names that a scorer parameter takes: aliases of dasd.toml, names and models."""
    import pyarrow.parquet as pq

    from dasd_data import config
    from dasd_data.store import Store

    store = Store.open(catalog)
    paths = store.files("scorers", store.snapshot().tables["scorers"])
    columns = [pq.read_table(path, columns=["name", "model"]) for path in paths]
    known = {name for table in columns for name in table["name"].to_pylist()}
    models = {name for table in columns for name in table["model"].to_pylist() if name}
    return [*sorted(known | set(config.load(catalog).scorers)), *sorted(models - known)]
