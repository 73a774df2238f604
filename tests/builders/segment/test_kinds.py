"""Kinds of sentences: what later stages exempt or count apart."""

import pytest

from builders.segment import KINDS, segment_text

FENCED = "Run it:\n```python\nx = 1. \n\nprint('A. B')\n```\nDone."
ROWS = "Table:\n| a | b |\n|---|:-:|\n| x. Y | $z$ |\n\nAfter a | bar."


def kinds(text: str) -> list[str]:
    return [KINDS[k] for k in segment_text(text)[1]]


def test_code_is_what_a_fence_holds() -> None:
    """Code would be judged as repeated or odd prose."""
    assert kinds(FENCED) == ["prose", "code", "code", "code", "code", "prose"]


def test_code_ends_where_an_unclosed_fence_turns_into_prose() -> None:
    """One stray fence would turn the rest of a response into code."""
    text = "```\nx = 1\n\ny = 2\n\nThus the sum is 3. It is odd."
    assert kinds(text) == ["code", "code", "code", "prose", "prose"]


def test_table_is_its_rows() -> None:
    """Rows would be judged as prose, and prose with a bar in it as a row."""
    assert kinds(ROWS) == ["prose", "table", "table", "table", "prose"]
    assert kinds("|x| = 5 or\n|y| = 6") == ["math", "math"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("\\[\nx = 1\n\\]", "math"),
        ("$$x$$", "math"),
        ("\\begin{align}\nx &= \\text{some words in it}\n\\end{align}", "math"),
        ("Thus b = 5, B = 5, a = 2b = 10, A = 2B = 10.", "math"),
        ("=> 3ab -10a -10b = 0", "math"),
        ("X = c + t (b cosθ - c) - (t b N)/(c - t b).", "math"),
        ("gcd(a, b) = gcd(b, r)", "math"),
        ("\\frac{1}{2} \\cdot \\alpha = \\beta", "math"),
        ("∑ aᵢ ≤ 5", "math"),
        ("So $x$ is even.", "prose"),
        ("Since x = 5 the number is prime.", "prose"),
        ("We need to count the values.", "prose"),
        ("12345", "prose"),
        ("Call `x = y + z` now.", "prose"),
        ("设 x = 5，则它是奇数。", "prose"),
        ("---", "prose"),
        (" \n", "prose"),
    ],
)
def test_math_is_mostly_formula(text: str, kind: str) -> None:
    """A formula would count as prose, or prose with a formula in it as a formula."""
    assert kinds(text) == [kind]
