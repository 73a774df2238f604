"""nvidia/OpenCodeReasoning (CC BY 4.0): competitive programming with DeepSeek-R1's answers.

    {"id": "8c1f...", "input": "You are given two strings s and t consisting of ...",
     "output": "<think>\\nOkay, let's see. ...", "source": "codeforces", "license": "cc-by-4.0",
     "dataset": "code_contests", "split": "train", "difficulty": "11",
     "solution": "n = int(input()) ..."}
    {"id": "d4a0...", "input": "-", "index": "1204", "dataset": "taco", "split": "train", ...}

735,255 answers to 28,319 questions; all answers to a question share its `id`. The licence is the
row's. In the configuration `split_1` the question is not there: `input` is "-", and `dataset`,
`split` and `index` say where it is. Such rows are left out, and counted by that place.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.collect.source import Found, Kind, LeftOut, ask, require
from builders.shapes import Context, Row
from builders.shapes.fields import filled_text, label, optional_text

_ELSEWHERE = "-"


def _parse(row: Row, context: Context, rownum: int) -> Iterator[Found]:
    require(row, *KIND.columns)
    text = filled_text(row, "input")
    if text.strip() == _ELSEWHERE:
        place = f"{label(row, 'dataset') or '?'} ({label(row, 'split') or '?'})"
        raise LeftOut(f'input is "-": the question itself is in the data set {place}')
    asked = ask(
        row, context, rownum, text, domain="code", key="id", license=optional_text(row, "license"),
        meta=("source", "dataset", "split", "difficulty"),
    )  # fmt: skip
    yield Found(asked, label(row, "source"), optional_text(row, "output"))


KIND = Kind(
    "opencodereasoning",
    _parse,
    columns=("id", "input", "source", "license", "dataset", "split", "difficulty"),
    answer="output",
    hub="nvidia/OpenCodeReasoning",
    configs=("split_0", "split_1"),
    license="cc-by-4.0",
)
