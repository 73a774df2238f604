"""a-m-team/AM-DeepSeek-R1-Distilled-1.4M (CC BY-NC 4.0): prompts of 20-odd data sets with
DeepSeek-R1's answers; DASD (arXiv 2601.09088) takes its instructions.

    {"messages": [
      {"role": "user", "content": "Write a short poem about autumn in which every line ...",
       "info": {"source": "InfinityInstruct", "reference_answer": null, "test_case": null,
                "think_content": null, "answer_content": null}},
      {"role": "assistant", "content": "<think>Okay, ...</think><answer>Leaves ...</answer>",
       "info": {"source": null, "reference_answer": null, "test_case": null,
                "think_content": "Okay, ...", "answer_content": "Leaves ..."}}]}

The user's `info.source` names the data set a prompt is from, and so its domain: those of math,
code and science that are named here, anything else is an instruction. The recipe's `only` chooses
among them. `info.reference_answer` is the reference, `test_case` is kept in `meta`. Files:
`am_0.5M.jsonl.zst`, `am_0.9M.jsonl.zst`, `am_0.9M_sample_1k.jsonl`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders.collect.source import Found, Kind, require
from builders.shapes import Context, Row
from builders.shapes.build import question as build_question
from builders.shapes.conversation import exchange
from builders.shapes.fields import label, optional_text
from dasd_data.errors import RowError

_DOMAINS = {
    "math": ("openR1Math_default", "openR1Math_extended", "NuminaMath_1.5", "MetaMathQA"),
    "code": ("KodCode", "codeio", "OpenCoder", "OpenCoderStage2"),
    "science": ("natural_reasoning",),
}
_DOMAIN_OF = {name: domain for domain, names in _DOMAINS.items() for name in names}
_INFO = ("source", "reference_answer", "test_case", "think_content", "answer_content")
_TURN = {"role": "string", "content": "string", "info": dict.fromkeys(_INFO, "string")}


def _parse(row: Row, context: Context, rownum: int) -> Iterator[Found]:
    require(row, *KIND.columns)
    asked = exchange(row["messages"])
    info = _info(row["messages"])
    upstream = label(info, "source")
    if upstream is None:
        raise RowError("no turn of the user has `info.source`")
    fields = {
        "question": asked.question,
        "domain": context.domain or _DOMAIN_OF.get(upstream, "instruction_following"),
        "reference_answer": label(info, "reference_answer"),
    }
    tests = optional_text(info, "test_case")
    meta = asked.meta | {"source": upstream} | ({"test_case": tests} if tests else {})
    answer = None if asked.answer is None else (asked.thinking or "") + asked.answer
    yield Found(build_question(fields, context, rownum, meta), upstream, answer)


def _info(turns: list[Any]) -> dict[str, Any]:
    """The `info` of the first turn by the user that has one."""
    for turn in turns:
        info = turn.get("info")
        if turn.get("role") == "user" and isinstance(info, dict):
            return info
    return {}


KIND = Kind(
    "am_distilled",
    _parse,
    columns=("messages",),
    hub="a-m-team/AM-DeepSeek-R1-Distilled-1.4M",
    configs=("am_0.5M", "am_0.9M"),
    license="cc-by-nc-4.0",
    features={"messages": [_TURN]},
)
