import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders.tokens.think import join_think, split_think, think_offsets

PARTS = st.lists(
    st.sampled_from(["<think>", "</think>", "\n", " ", "`", "a", "é", "😀", "\r", "$x$."]),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>\nwhy\n</think>\n\nSo.", "why", "So."),
        (" \n<think>\nwhy\n</think>\n\nSo.\n", "why", "So.\n"),
        ("<think>\n\nwhy \n\n</think>\n\n\n So.", "\nwhy \n", "\n So."),
        ("<think>why</think>So.", "why", "So."),
        ("<think>\nwhy\n</think>\nSo.", "why", "So."),
        ("<think>\nThe tag `</think>` ends it.\n</think>\n\nSo.", "The tag `</think>` ends it.", "So."),
        ("<think>\na </think>\n</think>\n\nSo `</think>`.", "a </think>", "So `</think>`."),
        ("<think>\na\n</think> So.", "a", " So."),
        ("<think>\na\n</think>\n\n</think>\n", "a", "</think>\n"),
        ("<think>\n\n</think>\n\nSo.", "", "So."),
        ("<think>\n</think>\n\nSo.", "", "So."),
        ("<think>\ncut of", "cut of", ""),
        ("<think>\na\n</think>", "a", ""),
        ("why\n</think>\n\nSo.", "why", "So."),
        ("No thinking, `</think>` quoted.", None, "No thinking, `</think>` quoted."),
        ("See <think>\na\n", None, "See <think>\na\n"),
        ("", None, ""),
    ],
)  # fmt: skip
def test_split_by_hand(text, thinking, answer):
    """Only the wrapper may go; a quoted tag, and every space of the content, must stay."""
    assert split_think(text) == (thinking, answer)


@given(PARTS, PARTS)
def test_join_then_split_gives_both_back(thinking, answer):
    """Training renders joined text; a response that changed on the way would be trained wrongly."""
    assume("</think>" not in thinking.split("\n"))
    assert split_think(join_think(thinking, answer)) == (thinking, answer)


@given(st.none() | PARTS, PARTS)
def test_offsets_point_at_both_texts(thinking, answer):
    """Token spans are cut with these offsets: one byte off gives a boundary token to the wrapper."""
    render = join_think(thinking, answer).encode()
    inner, outer = think_offsets(thinking, answer)
    assert render[slice(*outer)].decode() == answer
    assert (None if inner is None else render[slice(*inner)].decode()) == thinking
