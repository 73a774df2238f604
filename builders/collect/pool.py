"""The pool: all questions that were found, on disk where they are many; merged and ranked there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from builders.collect.normal import normal_key
from builders.collect.recipe import Recipe
from dasd_data.catalog import Catalog
from dasd_data.keys import question_id
from dasd_data.session import Session

NO_LIMIT = 2**63 - 1
SLICE = 20_000  # questions that are written in one commit
_KNOWN_ROWS = 10_000

_STRING, _BIGINT = pa.string(), pa.int64()
# A row for each place of a question. `text` and `normal` are there once for each question_id;
# `keyed` says whether `row` is the source's own key, `answer_chars` measures the example answer,
# where its length counts.
FOUND = pa.schema(
    [
        ("question_id", _STRING), ("source", _STRING), ("row", _STRING), ("domain", _STRING),
        ("reference_answer", _STRING), ("license", _STRING), ("meta", _STRING), ("text", _STRING),
        ("normal", _STRING), ("keyed", pa.bool_()), ("answer_chars", _BIGINT), ("file", _STRING),
        ("line", _BIGINT),
    ]
)  # fmt: skip
_KNOWN = pa.schema([("question_id", _STRING), ("normal", _STRING)])
_DOMAINS = pa.schema(
    [
        ("n", _BIGINT), ("name", _STRING), ("budget", _BIGINT), ("most", _BIGINT),
        ("seed", _BIGINT), ("longer_answers", pa.bool_()),
    ]
)  # fmt: skip


class Pool:
    """What one run found. Use as a context: it may hold much disk until it is closed."""

    def __init__(self, catalog: Catalog, recipe: Recipe) -> None:
        self.session: Session = catalog.session()
        self.recipe = recipe

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def fill(self, found: Iterable[pa.RecordBatch]) -> None:
        """Take in batches of the schema FOUND."""
        self.session.load("_found", FOUND, found)

    def choose(self) -> None:
        """Merge what is the same question, and choose by the recipe's budgets."""
        self.session.load("_known", _KNOWN, self._known())
        limit = NO_LIMIT if self.recipe.limit is None else self.recipe.limit
        rows = [
            {
                "n": n,
                "name": name,
                "budget": domain.budget,
                "most": limit if domain.budget is None else min(limit, domain.budget),
                "seed": domain.seed,
                "longer_answers": domain.order == "longer_answers",
            }
            for n, (name, domain) in enumerate(self.recipe.domains.items())
        ]
        table = pa.RecordBatch.from_pylist(rows, _DOMAINS)
        self.session.load("_domains", _DOMAINS, [table])
        self.session.execute(_sql("merge"))

    def _known(self) -> Iterator[pa.RecordBatch]:
        """The catalog's questions with their normalized forms.

        Not those with a system prompt: it is part of what they are, and not of their text.
        """
        (last,) = self.session.rows("SELECT count(*) AS n FROM questions")
        self.session.execute(
            "CREATE TEMP TABLE _stored AS SELECT question_id, text, row_number() OVER () AS n"
            " FROM questions"
        )
        for start in range(0, last["n"], _KNOWN_ROWS):
            rows = self.session.rows(
                "SELECT question_id, text FROM _stored"
                f" WHERE n BETWEEN {start + 1} AND {start + _KNOWN_ROWS}"
            )
            known = [
                {"question_id": row["question_id"], "normal": normal_key(row["text"])}
                for row in rows
                if row["question_id"] == question_id(row["text"])
            ]
            yield pa.RecordBatch.from_pylist(known, _KNOWN)

    def slices(self) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """What is to be written, slice by slice: rows of `questions`, rows of `question_sources`.

        The latter have `file` and `line` besides.
        """
        (total,) = self.session.rows("SELECT count(*) AS n FROM _wanted")
        for first in range(1, total["n"] + 1, SLICE):
            self.session.execute(f"SET VARIABLE first = {first}")
            self.session.execute(f"SET VARIABLE last = {first + SLICE - 1}")
            questions = self.session.rows(_sql("questions"))
            yield questions, [_place(row) for row in self.session.rows(_sql("places"))]

    def report(self, name: str) -> list[dict[str, Any]]:
        """Rows of the report `sources`, `domains` or `duplicates`, for what was chosen."""
        return self.session.rows(_sql(f"report_{name}"))


def _place(row: dict[str, Any]) -> dict[str, Any]:
    """A place as it is stored; that of another spelling names the id of its own text."""
    own = row.pop("own_id")
    if own != row["question_id"]:
        meta = json.loads(row["meta"]) | {"variant": own}
        row["meta"] = json.dumps(meta, sort_keys=True, ensure_ascii=False)
    return row


def _sql(name: str) -> str:
    return (Path(__file__).parent / f"{name}.sql").read_text()
