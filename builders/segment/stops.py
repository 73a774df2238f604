"""Ambiguous full stops: nltk's Punkt decides, on two words at a time, with our own word lists.

Punkt needs no trained model here: the abbreviations and the words that may open a sentence are
those of `words.py`. It only ever sees the word before the stop and the word after it (nltk puts a
wall-clock limit on its regular expressions, and a response is long), and answers are cached.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from builders.segment.words import ABBREVIATIONS, STARTERS

_ACRONYM = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")


class _Abbreviations(set[str]):
    """The listed abbreviations and every dotted acronym (u.s.a, q.e.d)."""

    def __contains__(self, word: object) -> bool:
        return super().__contains__(word) or bool(_ACRONYM.fullmatch(str(word)))


@cache
def _punkt() -> Any:
    from nltk.tokenize.punkt import _ORTHO_MAP, PunktParameters, PunktSentenceTokenizer

    parameters = PunktParameters()
    parameters.abbrev_types = _Abbreviations(ABBREVIATIONS)
    parameters.sent_starters = set(STARTERS)
    for word in STARTERS:
        parameters.ortho_context[word] = _ORTHO_MAP["internal", "lower"]
    return PunktSentenceTokenizer(parameters)  # in place of a text to train on


@lru_cache(maxsize=1 << 16)
def ends_sentence(before: bytes, after: bytes) -> bool:
    """Whether a sentence ends between `before` (a word with its full stop) and the word `after`.

    Both are UTF-8 of at most a few dozen bytes; a character cut in half is dropped.
    """
    pair = f"{before.decode(errors='ignore')} {after.decode(errors='ignore')}"
    return bool(_punkt().text_contains_sentbreak(pair))
