"""From a stored response to the token sequence that is scored, in one of two contexts.

training_render   the text of the training render, encoded whole as the trainer will
sampled_prompt    the very ids that were sampled, after the very prompt ids
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from builders.score.render import TrainingContext
from builders.tokens.fit import fit_render
from builders.tokens.table import TokenTable
from dasd_data.errors import RowError

CONTEXTS = ("training_render", "sampled_prompt")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A sequence to score: `ids[start:]`, of which each covers `token_bytes` of the response.

    `control` counts special tokens that question or response spell out as text.
    """

    ids: npt.NDArray[np.int32]
    start: int
    token_bytes: Sequence[int]
    control: int = 0


class Encoder(Protocol):
    """Encodes rows of question, thinking, answer and, for sampled ids, prompt_ids and so on."""

    columns: str  # what it needs of the tokens that were sampled, as SQL columns

    def encode(self, row: Mapping[str, Any]) -> Encoded:
        """The sequence of one response. Raises RowError with the reason where there is none."""
        ...


class RenderEncoder:
    """Encodes the training render of a response with the model's own tokenizer and template."""

    columns = ""

    def __init__(self, context: TrainingContext, table: TokenTable) -> None:
        self.context, self.table = context, table

    def encode(self, row: Mapping[str, Any]) -> Encoded:
        """See Encoder. Scored from the first token that covers a byte of the response."""
        render = self.context.render(row["question"], row["thinking"], row["answer"])
        ids = self.context.tokenizer(render.text, add_special_tokens=False)["input_ids"]
        covered = fit_render(
            render.text.encode(), self.table.pieces(ids), render.thinking_span, render.answer_span
        )
        first = next(compress(range(len(ids)), covered), len(ids))
        return Encoded(np.array(ids, np.int32), first, covered[first:], len(render.control))


class SampledEncoder:
    """The sampled ids after their prompt ids; nothing is encoded again."""

    columns = "t.prompt_ids, t.token_ids, t.token_bytes"

    def encode(self, row: Mapping[str, Any]) -> Encoded:
        """See Encoder."""
        if row["token_ids"] is None or row["prompt_ids"] is None:
            raise RowError("no sampled ids: the response came without the ids of its own prompt")
        prompt = np.array(row["prompt_ids"], np.int32)
        ids = np.concatenate([prompt, np.array(row["token_ids"], np.int32)])
        return Encoded(ids, len(prompt), row["token_bytes"])
