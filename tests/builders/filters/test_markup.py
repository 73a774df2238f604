import numpy as np
import pytest

from builders.filters import markup
from builders.filters.base import CODE, PROSE, TABLE


@pytest.mark.parametrize(
    ("text", "blocks", "opened"),
    [
        ("```\nx\n```", ["```\nx\n```"], None),
        ("a\n  ```py\nx\n  ```\nb", ["  ```py\nx\n  ```"], None),
        ("````\n```\nx\n```\n````\nb", ["````\n```\nx\n```\n````"], None),
        ("~~~\n```\n~~~\nb", ["~~~\n```\n~~~"], None),
        ("```\nx\n```py\ny\n```\nb", ["```\nx\n```py\ny\n```"], None),
        ("a\n```\nx\n", [], 2),
        ("say ``` here", [], None),
    ],
)
def test_fences(text, blocks, opened):
    """A fence that closes too early makes code of prose and prose of code."""
    data = text.encode()
    spans, left_open = markup.fences(data)
    assert [data[a:b].decode() for a, b in spans] == blocks
    assert left_open == opened


def test_code_spans_are_fenced_blocks_and_inline_code():
    """A tag in backticks is quoted, one between two spans is not."""
    data = b"`a` b ``c`d`` e\n```\n`f`\n```\n`g"
    found = [data[a:b] for a, b in markup.code_spans(data)]
    assert found == [b"`a`", b"``c`d``", b"```\n`f`\n```"]


def test_code_and_tables_of_a_segmented_text(segmented):
    """The segmenter's word counts, not the simple rule's."""
    made = segmented([("é ", PROSE), ("x\n", CODE), ("y ", PROSE), ("| z |", TABLE)])
    assert markup.code_and_tables(made).tolist() == [[3, 5], [7, 12]]


def test_code_and_tables_by_the_simple_rule(candidate):
    """Offsets of the answer continue those of the thinking; a row inside code counts once."""
    made = candidate(thinking="| a |\nb", answer="```\n| c |\n```\n  | d | e |  \nf | g")
    spans = markup.code_and_tables(made)
    assert [made.data[a:b] for a, b in spans] == [b"| a |", b"```\n| c |\n```", b"  | d | e |  "]


def test_inside():
    """The end of a span is not part of it."""
    spans = np.array([[2, 4], [7, 8]])
    assert markup.inside(spans, np.arange(9)).tolist() == [i in (2, 3, 7) for i in range(9)]
    assert not markup.inside(spans[:0], np.arange(3)).any()
