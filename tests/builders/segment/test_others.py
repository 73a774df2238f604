"""Other segmenters: they tile the text, and stand beside the usual one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dasd_data
from builders.ingest.stage import ingest
from builders.segment.others import SEGMENTERS, other
from builders.segment.segmenter import SEGMENTER
from builders.segment.stage import segment_missing


def cut(name, thinking, answer=""):
    """Sentences as text."""
    _, segment = other(name)
    raw, start, found = ((thinking or "") + answer).encode(), 0, []
    for end in segment(thinking, answer).byte_end.tolist():
        found.append(raw[start:end].decode())
        start = end
    return found


def test_lines_end_at_newlines_only():
    """The comparison would be with some other rule than the one it names."""
    text = "One. Two é.\n\n  \nx = 1\r\nEnd"
    assert cut("lines", text) == ["One. Two é.\n\n  \n", "x = 1\r\n", "End"]
    assert cut("lines", "\n \nA\n") == ["\n \nA\n"]
    assert cut("lines", "A\nB", "C\nD") == ["A\n", "B", "C\n", "D"]
    assert cut("lines", "A\u2028B\x85C\x0cD\rE\nF") == ["A\u2028B\x85C\x0cD\rE\n", "F"]


def test_punkt_cuts_lines_into_sentences():
    """Untrained Punkt is the reference that others know."""
    assert cut("punkt", "One is odd. Two is even.\nSo x = 3.5 holds.") == [
        "One is odd. ",
        "Two is even.\n",
        "So x = 3.5 holds.",
    ]
    assert cut("punkt", "a\u2028b\x0cc\nd") == ["a\u2028b\x0cc\n", "d"]
    assert cut("punkt", "." * 200_000) == ["." * 200_000]


@pytest.mark.parametrize("name", SEGMENTERS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("aB1 .?!\n\r\té😀\u2028\x0b"), max_size=60))
def test_spans_tile_the_text(name, text):
    """Tokens of a gap would be in no sentence."""
    found = cut(name, text)
    assert "".join(found) == text
    assert all(found)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_another_segmenter_is_not_the_current_one(tmp_path, jsonl, context, chat, name):
    """A comparison would change every split."""
    catalog = dasd_data.create(tmp_path / "dasd.catalog")
    ingest(catalog, [str(jsonl([chat("A?", "One.\nTwo."), chat("B?", "Three.")]))], context())
    counts = segment_missing(catalog, name=name, questions=1)
    assert (counts["sentences"], counts["sentence_scores"]) == (1, 1)
    counts = segment_missing(catalog, name=name)
    assert (counts["sentences"], counts["sentence_scores"]) == (1, 1)
    assert segment_missing(catalog, name=name) == {}
    assert catalog.segmenter() == SEGMENTER
    version, _ = SEGMENTERS[name]
    query = "SELECT list(n_tokens ORDER BY byte_end) FROM sentences_flat GROUP BY response_id ORDER BY ALL"
    usual, others = (catalog.sql(query, **s).fetchall() for s in ({}, {"segmenter": version}))
    assert usual == others
