import json
import random

import pyarrow.parquet as pq
import pytest

from builders.filters.base import Candidate
from builders.filters.completeness import Completeness, CompletenessConfig


def judge(candidate, **config):
    [verdict] = Completeness(CompletenessConfig(**config)).check([candidate])
    return verdict.value, None if verdict.passed else json.loads(verdict.evidence)["rule"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", (1.0, None)),
        ("eos_token", (1.0, None)),
        (None, (None, None)),
        ("length", (0.0, "finish_reason")),
        ("content_filter", (0.0, "finish_reason")),
    ],
)
def test_finish_reason(candidate, reason, expected):
    """What the engine cut off fails; what no engine judged passes with the value NULL."""
    assert judge(candidate(finish_reason=reason)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", "no_answer"),
        ("<think>\nFirst we add", "open_think"),
        ("Run:\n```python\nx = 1\n", "open_fence"),
        ("Run:\n````md\n```\nx\n```\n````\n", None),
        ("So\n\\[\n x = 1", "open_math"),
        ("So $$x = 1", "open_math"),
        ("So\n\\begin{align*}\nx &= 1 \\\\[4pt]\ny &= 2", "open_math"),
        ("So\n\\[\\begin{cases}1 \\\\[4pt] 2\\end{cases}\\]", None),
        ("Since $x,$$y$ are odd:$$x = 1$$.", None),
        ("So\n$$a \\\\$$ costs \\$$5$.", None),
        ("Let `$$` be the process id.", None),
    ],
)
def test_what_must_be_closed_whatever_the_finish_reason(candidate, answer, expected):
    """An open fence or formula breaks training text even where the engine says `stop`."""
    for reason in ("stop", None):
        assert judge(candidate(answer=answer, finish_reason=reason))[1] == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The sum is then equal to", "mid_sentence"),
        ("We get x =", "mid_sentence"),
        ("First, 3,", "mid_sentence"),
        ("It is large (about twice", "mid_sentence"),
        ("The value of $x + 1", "mid_sentence"),
        ("Then we go on to show that every such number has a divi", "mid_sentence"),
        ("The answer is A", None),
        ("42", None),
        ("It costs $5", None),
        ("I recommend C++", None),
        ("The range is $(3, 4]$", None),
        ("- a longer item of a list that needs no full stop at all", None),
        ("| a | b |\n|---|---|\n| 1 | 2 |", None),
        ("Done.\n\n---", None),
        ("```\nx = (\n```", None),
    ],
)
def test_the_last_line_counts_only_where_the_finish_reason_is_unknown(candidate, answer, expected):
    """Cut-off imports are caught by their look, and terse finished answers are not."""
    assert judge(candidate(answer=answer, finish_reason=None)) == (None, expected)
    assert judge(candidate(answer=answer, finish_reason="stop")) == (1.0, None)


def test_boxed(candidate):
    r"""An answer without the `\boxed{}` that was asked for teaches to ignore the request."""
    asked = {"question": "Put the result in \\boxed{}.", "thinking": "So \\boxed{4}."}
    assert judge(candidate(**asked))[1] == "no_boxed"
    assert judge(candidate(**asked, answer="\\boxed{4}"))[1] is None
    assert judge(candidate(**asked), boxed=False)[1] is None


def test_evidence_shows_the_end_and_no_half_character(candidate):
    """A reader sees where the text stops; the excerpt starts at a whole character."""
    answer = "é" * 60 + " and the"
    [verdict] = Completeness().check([candidate(thinking=None, answer=answer, finish_reason=None)])
    assert (
        json.loads(verdict.evidence)
        == {
            "rule": "mid_sentence",
            "start": 28,
            "end": 128,
            "excerpt": "é" * 46 + " and the",
        }
        or json.loads(verdict.evidence)["rule"] is None
    )


def test_real_answers_pass_and_most_cut_ones_fail(shared_data):
    """All 144 finished real answers look complete; cut at random, most do not."""
    path = shared_data("responses/gptoss_math_attempts.parquet")
    rows = pq.read_table(path, columns=["reasoning", "content"]).to_pylist()
    whole = [Candidate("", "", row["reasoning"], row["content"] or "") for row in rows]
    passed = [v.passed for v in Completeness().check(whole)]
    assert passed == [bool(row["content"]) for row in rows]
    rng = random.Random(0)
    long = [row["content"] for row in rows if len(row["content"] or "") > 400]
    cuts = [text[: rng.randrange(50, len(text) - 30)] for text in long for _ in range(5)]
    cut = Completeness().check([Candidate("", "", "x", text) for text in cuts])
    assert sum(not v.passed for v in cut) > len(cut) * 0.6
