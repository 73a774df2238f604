"""Which texts are the same question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.collect.normal import normal_key, normalized


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is  2 + 2?\r\n", "what is 2+2?"),
        (r"Let $x \in \mathbb{R}$.", r"Let \( x\in\mathbb{R} \)."),
        (r"\[ a\,b \quad c \]", r"$$a b c$$"),
        (r"f(x)\!=\;1", "f(x) = 1"),
        ("ﬁnd Ａ", "find a"),
        ("x² + y³", "x^2 + y^3"),
        ("a\u00a0b", "a b"),
        ("Straße", "STRASSE"),
    ],
)
def test_spellings_of_one_question_are_equal(one, other):
    """The same question would be sampled twice, and be in a split twice."""
    assert normalized(one) == normalized(other)
    assert normal_key(one) == normal_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("add 1 2", "add 12"),
        ("Compute 3²", "Compute 32"),
        ("x - 1", "x + 1"),
        (r"a \\ b", r"a \ b"),
        (r"\quadratic", " ratic"),
        ("a b", "ab"),
        ("½ cup", "12 cup"),
    ],
)
def test_other_questions_stay_others(one, other):
    """A question would vanish into another one."""
    assert normalized(one) != normalized(other)


def test_a_system_prompt_is_part_of_the_question():
    """A question under other instructions would be merged with the plain one."""
    assert normal_key("Q?", "Be brief.") != normal_key("Q?")
    assert normal_key("Q?", "Be  brief.") == normal_key("q?", "be brief.")


@given(st.text(st.characters(blacklist_characters="\\"), max_size=200))
def test_more_white_space_is_the_same_text(text):
    """A copy with other line breaks would be another question."""
    once = normalized(text)
    assert normalized(" " + text.replace(" ", " \n ") + "\n") == once
    assert "  " not in once


def test_long_white_space_takes_no_longer_than_it_is_long():
    """One row of a million spaces would hold up a run for hours."""
    assert normalized("a" + " " * 1_000_000 + "b" + r"\ " * 300_000 + "c") == "a b c"
