"""What a kind of source is: where its rows are, and how one becomes a question."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from builders.records import Question
from builders.shapes import Context, Row
from builders.shapes.build import question as build_question
from dasd_data.errors import RowError, UsageError


class LeftOut(Exception):  # noqa: N818 - no error: the row is sound, and not wanted
    """A row that is left out on purpose; its message is the reason under which it is counted."""


@dataclass(slots=True)
class Found:
    """A question in a row of a source.

    `upstream` names where the source has it from, `answer` is the row's example answer, both None
    where the row has none.
    """

    question: Question
    upstream: str | None = None
    answer: str | None = None


Parse = Callable[[Row, Context, int], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: a published data set with its schema, or `files` of any known shape.

    `columns` are those that `parse` needs, `answer` the one of the example answer besides, which
    is read only where an order asks for it. `parse` raises RowError for a row that cannot be
    taken, LeftOut for one that is not to be; where it is None, `detect` gives it by a file's first
    row. `features` is the schema to read the Hub's files with, nested, of Arrow type names, where
    `datasets` cannot infer it.
    """

    name: str
    parse: Parse | None = None
    columns: tuple[str, ...] = ()
    answer: str | None = None
    hub: str | None = None
    configs: tuple[str, ...] = ()
    license: str | None = None
    features: Any = None
    detect: Callable[[Row, Context], Parse] | None = None

    def begin(self, row: Row, context: Context) -> Parse:
        """How the rows of a file are parsed, by the first of them.

        Raises UsageError where they are of another schema, or of no known shape.
        """
        if self.parse is None:
            assert self.detect
            return self.detect(row, context)
        if missing := [c for c in self.columns if c not in row]:
            there = ", ".join(str(c)[:60] for c in islice(row, 40)) or "none"
            raise UsageError(
                f"{context.file} has no column {', '.join(missing)}: it has {there}; another kind "
                "of source is set with `kind`, and `files` reads any shape that `ingest` knows"
            )
        return self.parse


def ask(
    row: Row,
    context: Context,
    rownum: int,
    text: str,
    *,
    domain: str,
    key: str | None = None,
    reference: str | None = None,
    license: str | None = None,
    meta: tuple[str, ...] = (),
) -> Question:
    """The question `text` of a row; `key`, `reference` and `meta` name columns.

    The recipe's domain and licence win over `domain` and `license`.
    """
    fields = {
        "question": text,
        "domain": context.domain or domain,
        "license": license,
        "reference_answer": reference and row.get(reference),
        "row": key and row.get(key),
    }
    kept = {c: row[c] for c in meta if row.get(c) is not None}
    return build_question(fields, context, rownum, kept)


def require(row: Row, *columns: str) -> None:
    """Raise RowError naming the first of these columns that a row does not have."""
    for column in columns:
        if column not in row:
            raise RowError(f"no column `{column}`")
