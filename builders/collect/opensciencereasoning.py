"""nvidia/OpenScienceReasoning-2 (CC BY 4.0): synthetic questions of the sciences, also of law,
economics and the humanities, with DeepSeek-R1-0528's answers.

    {"expected_answer": "C",
     "input": "Solve the following multiple choice question. ... A) ... B) ... C) ... D) ...",
     "output": "<think>\\nWe are asked which of the ...\\n</think>\\n\\n... \\\\boxed{C}"}

`expected_answer` is the reference. DASD (arXiv 2601.09088) prefers the questions with longer
example answers: `output`, reasoning included, is measured in characters.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.collect.source import Found, Kind, ask, require
from builders.shapes import Context, Row
from builders.shapes.fields import filled_text, optional_text


def _parse(row: Row, context: Context, rownum: int) -> Iterator[Found]:
    require(row, *KIND.columns)
    text = filled_text(row, "input")
    asked = ask(row, context, rownum, text, domain="science", reference="expected_answer")
    yield Found(asked, None, optional_text(row, "output"))


KIND = Kind(
    "opensciencereasoning",
    _parse,
    columns=("expected_answer", "input"),
    answer="output",
    hub="nvidia/OpenScienceReasoning-2",
    license="cc-by-4.0",
)
