"""Instructions: IFEval (Apache-2.0) and the seed tasks of Self-Instruct (Apache-2.0).

    {"key": 1000, "prompt": "Write a 300+ word summary of the wikipedia page ...",
     "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    {"id": "seed_task_0", "name": "breakfast_suggestion", "is_classification": false,
     "instruction": "Is there anything I can eat for a breakfast that doesn't include eggs, ...",
     "instances": [{"input": "", "output": "Yes, you can have 1 oatmeal banana protein shake ..."}]}

Of a seed task every instance is a question: the instruction and, after a blank line, the input
if it has one. Its output is one way to answer, so it is in `meta` and no reference.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.records import Record
from builders.shapes.base import Context, Row, Shape
from builders.shapes.benchmark import ask, is_exactly
from builders.shapes.fields import optional_text, text
from dasd_data.errors import RowError

_IFEVAL = ("key", "prompt", "instruction_id_list", "kwargs")
_SELFINSTRUCT = ("id", "name", "instruction", "instances", "is_classification")
_DOMAIN = "instruction_following"


def _matches_ifeval(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _IFEVAL)


def _ifeval(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    yield ask(
        row, context, rownum, question=text(row, "prompt"), domain=_DOMAIN,
        license="apache-2.0", key="key", meta=_IFEVAL[2:],
    )  # fmt: skip


def _matches_selfinstruct(row: Row, context: Context) -> bool:
    return is_exactly(row, context, _SELFINSTRUCT)


def _selfinstruct(row: Row, context: Context, rownum: int) -> Iterator[Record]:
    instances = row.get("instances")
    if not isinstance(instances, list) or not all(isinstance(i, dict) for i in instances):
        raise RowError("`instances` is not a list of objects")
    for instance in instances:
        given = optional_text(instance, "input")
        instruction = text(row, "instruction")
        yield ask(
            row, context, rownum, domain=_DOMAIN, license="apache-2.0", key="id",
            question=f"{instruction}\n\n{given}" if given else instruction,
            meta={
                "name": row.get("name"),
                "is_classification": row.get("is_classification"),
                "output": instance.get("output"),
            },
        )  # fmt: skip


IFEVAL = Shape("ifeval", _IFEVAL, _matches_ifeval, _ifeval)
SELFINSTRUCT = Shape("selfinstruct", _SELFINSTRUCT, _matches_selfinstruct, _selfinstruct)
