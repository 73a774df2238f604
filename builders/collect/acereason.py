"""nvidia/AceReason-1.1-SFT (CC BY 4.0): prompts of math and code with DeepSeek-R1's answers.

    {"category": "math", "source": "NuminaMath-CoT",
     "input": "Given that $x + y = 7$ and $xy = 10$, find $x^2 + y^2$. ...",
     "output": "<think>\\nOkay, so I need to find ...\\n</think>\\n\\n... \\\\boxed{29}"}

`category` is the domain, `source` (where NVIDIA has the prompt from) is kept in `meta`. A prompt
comes with several answers, a row each, without a key: they are one question.
"""

from __future__ import annotations

from collections.abc import Iterator

from builders.collect.source import Found, Kind, ask, require
from builders.shapes import Context, Row
from builders.shapes.fields import filled_text, label, optional_text, shortened
from dasd_data.errors import RowError

_CATEGORIES = ("math", "code")


def _parse(row: Row, context: Context, rownum: int) -> Iterator[Found]:
    require(row, *KIND.columns)
    category = row["category"]
    if category not in _CATEGORIES:
        raise RowError(f"`category` is {shortened(category)}, not {' or '.join(_CATEGORIES)}")
    text = filled_text(row, "input")
    asked = ask(row, context, rownum, text, domain=category, meta=("source",))
    yield Found(asked, label(row, "source"), optional_text(row, "output"))


KIND = Kind(
    "acereason",
    _parse,
    columns=("category", "source", "input"),
    answer="output",
    hub="nvidia/AceReason-1.1-SFT",
    license="cc-by-4.0",
)
