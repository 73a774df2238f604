"""What the input shapes produce and the ingest stage stores: questions, responses, token scores.

A shape turns one row of a file into any number of these. Text is kept as the source gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dasd_data.parameters import DOMAINS

__all__ = [
    "DOMAINS",
    "MAX_LOGPROB",
    "Logprobs",
    "Question",
    "Record",
    "Response",
    "Scorer",
    "TokenScores",
]

MAX_LOGPROB = 1e-4  # rounding may leave a log-prob this far above 0; it counts as 0


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scoring context: everything that a log-probability depends on besides the tokens.

    `temperature` is that of the distribution whose log-probs are kept: 1.0 under
    `raw_logprobs` whatever the sampling temperature was, the sampling temperature under
    `processed_logprobs`, None where `logprobs_mode` is `unknown`.
    `chat_template` is a hash of the template, `context` names how the prompt was built
    (`sampled_prompt`, `training_render`).
    `sections` names what its tokens cover of one response (`thinking+answer`, `thinking` or
    `answer`); it is kept with the tokens and is no part of the scorer's identity.
    """

    model: str
    revision: str | None = None
    tokenizer: str | None = None
    dtype: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    logprobs_mode: str = "unknown"  # raw_logprobs, processed_logprobs or unknown
    temperature: float | None = None
    context: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    reasoning_effort: str | None = None
    date: str | None = None
    sections: str = "thinking+answer"


@dataclass(slots=True, eq=False)
class TokenScores:
    """One completion's tokens under one scorer.

    `token_bytes[i]` is the number of bytes of `thinking || answer` (UTF-8) that token i covers;
    0 for delimiters, headers, tool calls and other structure, which is never scored. Their sum
    is the length of the text. `token_ids` is None where the source gives byte-exact tokens only;
    `logprobs` is None where the source gives ids only.
    """

    name: str  # the scorer's alias in the catalog: teacher, student, ...
    scorer: Scorer
    token_ids: NDArray[np.int32] | None
    token_bytes: NDArray[np.int32]
    logprobs: NDArray[np.float32] | None
    prompt_ids: NDArray[np.int32] | None = None  # the ids they were sampled after, if known

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenScores):
            return NotImplemented
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]


@dataclass(slots=True)
class Question:
    """A question and where it comes from. `domain` is one of DOMAINS, or None if not given."""

    text: str
    domain: str | None = None
    reference_answer: str | None = None
    source: str | None = None
    row: str | None = None  # the source's own key of the row, else its line number
    license: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Response:
    """A sampled response. `key` is the source's own key (a uuid), if it has one."""

    question: Question
    answer: str
    thinking: str | None = None  # None: the source has no thinking section; "": an empty one
    key: str | None = None
    policy: str = "teacher"  # teacher, student or mixed
    model: str | None = None
    revision: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    sample_index: int = 0
    finish_reason: str | None = None
    tokens: list[TokenScores] = field(default_factory=list)


@dataclass(slots=True)
class Logprobs:
    """Token log-probs that arrive apart from their response, joined on the source's `key`.

    `token_bytes` of `tokens` are then the tokens' own lengths (0 for special tokens); they are
    fitted to the text when both are there.
    """

    key: str
    tokens: TokenScores


Record = Question | Response | Logprobs
