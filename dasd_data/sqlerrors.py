"""What DuckDB's errors are to a user: this project's own, in a line, with the place in her SQL."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from dasd_data.config import SqlConfig
from dasd_data.errors import (
    DasdError,
    DataError,
    DeniedError,
    LimitError,
    UnknownNameError,
    UsageError,
)

_SPILLED = ("failed to offload", "max_temp_directory_size", os.strerror(errno.EFBIG))
_DENIED = ("configuration has been locked",)
# What DuckDB says of a CTE that writes, within the view that a query is compiled as; the last two
# are said of a MERGE, and of any within a SUMMARIZE.
_WRITING_CTE = (
    "as CTE bodies inside a VIEW",
    "data-modifying statement",
    "A CTE body must be",
    "must be at the top level",
)
_NO_COLUMN = re.compile(r'Referenced column "([^"]*)"')
_CANDIDATES = re.compile(r'Candidate bindings: ("[^"\n]*"(?:, "[^"\n]*")*)$', re.MULTILINE)
# Advice of DuckDB's that cannot be followed: settings are locked.
_ADVISED = (
    "error_on_division_by_zero|lambda_syntax|max_expression_depth|pivot_limit|"
    "scalar_subquery_error_on_multiple_rows|table_function_identifier_conversion"
)
_SET = re.compile(rf', or "?SET ({_ADVISED})\b[^\n.]*|\s*Use "?SET ({_ADVISED})\b[^\n.]*\.')
_EXHAUSTED = ("Memory allocation failure", "bad_alloc", "llocation failed")
LINE = 500  # letters of a line that are shown
_PLACE = re.compile(  # the excerpt at the end of a message, and the blanks in front of its caret
    r"^(?P<label>LINE (?P<line>\d+):)(?P<text>.*)\n(?P<caret> *)(?=\^+\Z)", re.MULTILINE
)
_STREAMED = re.compile(r"[A-Z][A-Za-z ]* Error: ")  # DuckDB's, raised through Arrow


def renumbered(message: str, lines: int) -> tuple[str, int | None]:
    """A message of DuckDB's about SQL that stands some lines further down, and the line there."""
    if not (place := _PLACE.search(message)):
        return message, None
    line = int(place["line"]) + lines
    label = f"LINE {line}:"
    moved = len(place["caret"]) + len(label) - len(place["label"])  # it stays below its word
    shown = f"{label}{place['text']}\n{' ' * moved}"
    return message[: place.start()] + shown + message[place.end() :], line


@contextlib.contextmanager
def translated(limits: SqlConfig | None = None) -> Iterator[None]:
    """Turn DuckDB's errors into this project's."""
    try:
        yield
    except DasdError:  # DeniedError is an OSError too
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if problem := _problem(error, limits or SqlConfig()):
            raise problem from None
        raise
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise


def _problem(error: Exception, limits: SqlConfig) -> Exception | None:
    """What an error of DuckDB, or of a stream of its rows, is to a user; None: not DuckDB's."""
    text = _told(error)
    by_sql = text.startswith("Invalid Input Error")  # what `error()` says, too
    if not by_sql and any(sign in text for sign in _SPILLED):
        if limits.spill_limit:
            return LimitError("spill_limit", limits.spill_limit)
        return DataError(
            f"{os.strerror(errno.ENOSPC)}: DuckDB spills to {tempfile.gettempdir()}; TMPDIR "
            "names another folder"
        )
    internal = isinstance(error, duckdb.InternalException) or text.startswith("INTERNAL Error")
    exhausted = isinstance(error, duckdb.OutOfMemoryException) or text.startswith("Out of Memory")
    if exhausted or (internal and any(sign in text for sign in _EXHAUSTED)):
        return LimitError("memory_limit", str(limits.memory_limit))
    if internal:  # the rest is DuckDB's own stack
        return DeniedError(f"DuckDB failed over this SQL: {first_line(error)}")
    if not isinstance(error, duckdb.Error):
        return UsageError(first_line(error)) if _STREAMED.match(text) else None
    said = re.sub(r"'[^']*'|\"[^\"]*\"", "", text.split("\n", 1)[0])  # without what the query says
    told = isinstance(error, duckdb.BinderException | duckdb.ParserException)
    if told and any(sign in said for sign in _WRITING_CTE):
        return DeniedError(
            "a CTE may not write: INSERT, UPDATE, DELETE, MERGE and COPY may not run here"
        )
    locked = not by_sql and any(sign in text for sign in _DENIED)
    if isinstance(error, duckdb.PermissionException) or locked:
        return DeniedError(first_line(error))
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        return _unknown_column(str(error)) or UsageError(text)
    if isinstance(error, duckdb.IOException):
        return DataError(first_line(error))
    return UsageError(
        first_line(error) if isinstance(error, duckdb.InvalidInputException) else text
    )


def _unknown_column(message: str) -> UnknownNameError | None:
    """DuckDB names its candidates; ours is one line with the closest one."""
    first, _, rest = message.partition("\n")
    if not (column := _NO_COLUMN.search(first)):
        return None
    candidates = _CANDIDATES.search(rest)  # none where a name has quotes, which it does not double
    names = candidates[1][1:-1].split('", "') if candidates else []
    known = {name.split(".")[-1] for name in names} - {""}
    name = shortened(column[1])
    return UnknownNameError("column", name, known, line=renumbered(message, 0)[1])


def first_line(error: Exception) -> str:
    """The first line of an error; what `error()` says in a view is without DuckDB's own words."""
    return _told(error).split("\n", 1)[0].removeprefix("Invalid Input Error: ")


def _told(error: Exception) -> str:
    """What an error says, its lines cut at LINE letters, without advice to change a setting."""
    lines = _SET.sub("", str(error)).split("\n")
    return "\n".join(map(shortened, lines))


def shortened(line: str) -> str:
    """A line, or a name, at a length that one reads."""
    return line if len(line) <= LINE else line[:LINE] + " …"
