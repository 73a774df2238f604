"""The shapes of input rows: what a file's rows look like, and which records they are.

One module each, opening with an example row; `detect` finds the shape by a file's first good row.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice

from builders.shapes import (
    chat,
    code_problems,
    gsm8k,
    gsm8k_solutions,
    harmony_tokens,
    instructions,
    mapped,
    math_attempts,
    math_problems,
    mmlu,
    openai,
    pairs,
    questions,
    samples,
    superior,
    superior_logprob,
    two_model,
)
from builders.shapes.base import Context, Row, Shape
from dasd_data.errors import UsageError

__all__ = ["SHAPES", "Context", "Row", "Shape", "detect"]

# The more specific first: the first that matches is taken.
SHAPES: tuple[Shape, ...] = (
    mapped.SHAPE,
    superior.SHAPE,
    superior_logprob.SHAPE,
    two_model.SHAPE,
    harmony_tokens.SHAPE,
    math_attempts.SHAPE,
    gsm8k_solutions.SHAPE,
    gsm8k.SHAPE,
    math_problems.MATH500,
    math_problems.AIME,
    mmlu.SHAPE,
    code_problems.HUMANEVAL,
    code_problems.MBPP,
    code_problems.LIVECODEBENCH,
    instructions.IFEVAL,
    instructions.SELFINSTRUCT,
    samples.SHAPE,
    openai.SHAPE,
    chat.SHAPE,
    pairs.SHAPE,
    questions.SHAPE,
)


def detect(row: Row, context: Context) -> Shape:
    """The shape of a file, by its first good row.

    Raises UsageError where none matches, with the columns, the nearest shapes and the `--map`
    line to try.
    """
    for shape in SHAPES:
        if shape.matches(row, context):
            return shape
    raise UsageError(_unknown(row, context))


def _unknown(row: Row, context: Context) -> str:
    row = {str(k)[:60]: v for k, v in islice(row.items(), 40)}  # a message, however wide the row
    columns = ", ".join(row) or "none"
    if {"question", "answer"} <= row.keys() or {"problem", "answer"} <= row.keys():
        return (
            f"{context.file}: `answer` may be the reference or a model's response: "
            "say --as questions or --as responses"
        )
    near = sorted(SHAPES[1:], key=lambda s: -_likeness(row, s))[:3]
    shapes = "; ".join(f"{s.name} ({', '.join(s.columns)})" for s in near)
    return (
        f"{context.file}: no shape has the columns {columns}. Nearest: {shapes}. "
        f"Name the columns yourself: {_map_line(row)}"
    )


def _likeness(row: Row, shape: Shape) -> float:
    """The share of a shape's columns that the row has, or nearly has."""
    near = [c for c in shape.columns if get_close_matches(c, [str(k) for k in row], 1, 0.7)]
    return len(near) / max(len(shape.columns), 1)


def _map_line(row: Row) -> str:
    """The `--map` flags that fit best: by the columns' names, else the longest text answers."""
    texts = {k: v for k, v in row.items() if isinstance(v, str)}
    if not texts:
        return "--map question=COLUMN --map completion=COLUMN"

    def named(wanted: tuple[str, ...]) -> str | None:
        names = [c for w in wanted for c in texts if w in c.lower()]
        close = [c for w in wanted for c in get_close_matches(w, texts, 1, 0.7)]
        return next(iter(names + close), None)

    asked = named(("question", "prompt", "problem", "instruction", "query", "task", "user"))
    said = named(("completion", "response", "output", "generation", "reply", "answer", "assistant"))
    rest = sorted(texts.keys() - {asked, said}, key=lambda c: -len(texts[c]))
    said = said or (rest.pop(0) if rest else None)
    asked = asked or (rest.pop(0) if rest else "COLUMN")
    return f"--map question={asked}" + (f" --map completion={said}" if said else "")
