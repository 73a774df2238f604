"""Ambiguous full stops: what nltk is asked, and what it answers with our word lists."""

import pytest

from builders.segment import segment_text, stops
from builders.segment.words import LEXICON, STARTERS


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ("etc.", "They", True),
        ("etc.", "Boston", False),
        ("U.S.", "How", True),
        ("U.S.", "Government", False),
        ("x.y.z.", "Government", False),
        ("I.", "Jones", False),
        ("I.", "Then", True),
        ("...", "Then", True),
        ("...", "N", False),
        ("word.", "Boston", True),
    ],
)
def test_nltk_reads_two_words(before: str, after: str, ends: bool) -> None:
    """An abbreviation would always end a sentence, or never."""
    assert stops.ends_sentence(before.encode(), after.encode()) is ends


def test_drops_characters_cut_in_half() -> None:
    """A long word beyond ASCII would end as a traceback."""
    assert stops.ends_sentence(b"etc.", "Öé".encode()[:-1]) is False


def test_nltk_sees_short_texts_and_few_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its regular expressions stop after 5 s of wall clock: a response would fail under load."""
    seen = []
    punkt = stops._punkt()
    ask = punkt.text_contains_sentbreak
    monkeypatch.setattr(punkt, "text_contains_sentbreak", lambda t: seen.append(t) or ask(t))
    stops.ends_sentence.cache_clear()
    segment_text(f"{'Q' * 5000}... A{'b' * 5000} etc. {'É' * 5000} U.S. Then. " * 20)
    assert 0 < len(seen) <= 3
    assert max(len(text) for text in seen) <= 64


def test_lexicon_is_sorted_and_starters_are_lower_case() -> None:
    """A word would be listed and never be found."""
    assert LEXICON.keys.tolist() == sorted(set(LEXICON.keys.tolist()))
    assert len(LEXICON.keys) == len(LEXICON.readings)
    assert all(word == word.lower() for word in STARTERS)
