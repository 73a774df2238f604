"""What a shape is: a way to recognise a file's rows and to turn each into records."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from builders.records import DOMAINS, Logprobs, Question, Record, Response
from builders.tokens.table import TokenTable
from dasd_data.errors import (
    DataError,
    MissingExtraError,
    RowError,
    UnknownNameError,
    UsageError,
    closest,
)

Row = Mapping[str, Any]
Kind = Literal["questions", "responses", "logprobs"]

# What `--map field=column` may name.
FIELDS = (
    "question", "domain", "reference_answer", "key", "license",
    "thinking", "answer", "completion", "finish_reason", "sample_index",
    "model", "revision", "temperature", "top_p", "max_tokens", "seed",
    "token_ids", "logprobs",
)  # fmt: skip

_COMPRESSED = (".gz", ".gzip", ".zst", ".zstd")
_ENDINGS = (*_COMPRESSED, ".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".arrow")


@dataclass(frozen=True, slots=True)
class Context:
    """What the user says about a file; a row's own values win over these, where it has any.

    `mapping` is field -> column of the file (see FIELDS), `tokenizer` what TokenTable.load takes,
    `as_kind` what the rows are to be read as, `name` the catalog's alias for the scorer of
    log-probs found in the file. Raises UsageError for an unknown field or domain.
    """

    file: str
    source: str = ""
    domain: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str | None = None
    as_kind: Kind | None = None
    name: str = "teacher"
    policy: str = "teacher"
    model: str | None = None
    revision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", source_name(self.file))
        if self.domain is not None and self.domain not in DOMAINS:
            raise UsageError(f"--domain {self.domain!r}{closest(self.domain, DOMAINS)}")
        for name in self.mapping:
            if name not in FIELDS:
                raise UnknownNameError("field", name, FIELDS, " (--map field=column)")

    def table(self, named_by_row: str | None = None) -> TokenTable:
        """The tokenizer's bytes: the user's, else a local one that the row names.

        Raises UsageError when neither flag nor row names one, RowError when the row's is no
        tokenizer on this machine: data never decides what is downloaded.
        """
        if self.tokenizer:
            return TokenTable.load(self.tokenizer)
        if not named_by_row:
            raise UsageError(
                f"{self.file} holds token ids: name the tokenizer they belong to, "
                "--tokenizer FOLDER (with its tokenizer.json) or a model on the Hub"
            )
        # os.path, since a Path raises for a long name
        if not (os.path.isfile(named_by_row) or os.path.isdir(named_by_row)):  # noqa: PTH112, PTH113
            raise RowError(
                f"the row's tokenizer {named_by_row[:80]!r} is no file or folder here: "
                "give --tokenizer with a folder or that model on the Hub"
            )
        try:
            return TokenTable.load(named_by_row)
        except MissingExtraError:
            raise
        except (UsageError, DataError, OSError) as error:
            raise RowError(f"the row's tokenizer: {error}; give --tokenizer") from error


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of rows. `columns` are those it is known by, for messages."""

    name: str
    columns: tuple[str, ...]
    matches: Callable[[Row, Context], bool]
    records: Callable[[Row, Context, int], Iterator[Record]]

    def parse(self, row: Row, context: Context, rownum: int) -> Iterator[Record]:
        """The records of one row; `rownum` is its `RawRow.line`.

        Raises RowError with the reason where the row, or the rest of it, cannot be taken. What
        was yielded before stands: responses whose log-probs are refused come first, without
        tokens. With `as_kind`, records of other kinds give way to it or are refused.
        """
        wanted = context.as_kind
        if wanted is None:
            yield from self.records(row, context, rownum)
            return
        last: Question | None = None
        for record in self.records(row, context, rownum):
            if isinstance(record, _KINDS[wanted]):
                yield record
            elif wanted == "questions" and isinstance(record, Response):
                if record.question is not last:
                    yield record.question
                last = record.question
            else:
                kind = type(record).__name__.lower()
                raise RowError(f"the row is a {kind} (shape {self.name}), not {wanted} (--as)")


_KINDS: dict[str, type] = {"questions": Question, "responses": Response, "logprobs": Logprobs}


def source_name(file: str) -> str:
    """The name of the source that a file is: `gsm8k_train` of `data/gsm8k_train.jsonl.gz`."""
    name = Path(file).name
    while (bare := name.removesuffix(Path(name).suffix)) and name.lower().endswith(_ENDINGS):
        name = bare
    return name
