"""Every error this project raises on purpose.

    DasdError
    ├── UsageError (ValueError)            exit 2   the call is wrong
    │   ├── ConfigError                             dasd.toml, DASD_* or --set
    │   ├── UnknownNameError (LookupError)          a view, parameter, column or scorer
    │   └── MissingExtraError (ImportError)         an optional dependency is absent
    ├── DataError (ValueError)             exit 3   the data is wrong
    │   ├── RowError                                one input row cannot be taken
    │   ├── ContractError                           a view's rows break its contract
    │   └── DamagedFileError                        a file of the catalog is not what was written
    ├── ConflictError (RuntimeError)       exit 4   another writer won, repeatedly
    ├── RemoteError (OSError)              exit 5   a server failed
    └── DeniedError (PermissionError)      exit 6   the SQL sandbox refused, or a server the token
        └── LimitError                              SQL was stopped at a limit

A message says what is wrong, where (file:line, row or key) and what to do next.
The command line prints it in one line and exits with the code above.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class DasdError(Exception):
    """Base of all errors of this project."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """What it takes to make it anew in another process, whatever `__init__` takes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[DasdError], args: tuple[Any, ...], more: dict[str, Any]) -> DasdError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(more)
    return error


class UsageError(DasdError, ValueError):
    """The call is wrong: a flag, an argument, a combination of them."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting in `dasd.toml`, a `DASD_*` variable or `--set` is wrong."""


class UnknownNameError(UsageError, LookupError):
    """A name that is not there; the message offers the closest one that is.

    `line` is where it stands in the SQL, if it is known.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = "", line: int | None = None
    ) -> None:
        self.kind, self.name, self.known, self.line = kind, name, sorted(known), line
        super().__init__(f"no {kind} named {name!r}{closest(name, self.known)}{hint}")


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed: run `pip install 'dasd-data[{extra}]'`")


class DataError(DasdError, ValueError):
    """The data is wrong."""

    exit_code = 3


class RowError(DataError):
    """One input row cannot be taken; its message is the reason kept in `quarantine`."""


class ContractError(DataError):
    """The rows of a view break its contract."""


class DamagedFileError(DataError):
    """A file of the catalog is missing or is not what was written; `file` where it is one."""

    def __init__(self, message: str, file: Path | None = None) -> None:
        self.file = file
        super().__init__(message)


class ConflictError(DasdError, RuntimeError):
    """Other writers won every attempt to commit."""

    exit_code = 4


class RemoteError(DasdError, OSError):
    """A server or the network failed."""

    exit_code = 5


class DeniedError(DasdError, PermissionError):
    """The SQL sandbox refused a statement, or ended with it; a server refused who asked."""

    exit_code = 6


class LimitError(DeniedError):
    """SQL was stopped at a limit of memory, time or disk; the message says how to raise it."""

    def __init__(self, limit: str, value: str) -> None:
        self.limit, self.value = limit, value
        super().__init__(
            f"stopped at the {limit.replace('_', ' ')} of {value}: raise {limit} of [sql] in "
            f"dasd.toml, or DASD_{limit.upper()}"
        )


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known name is close, else the list of known names."""
    known = list(known)
    if found := near(name, known):
        return f"; did you mean {found!r}?"
    return f"; there is {', '.join(known)}" if known else ""


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to one, where any is close."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
