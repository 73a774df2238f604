"""When two texts are the same question: a normalized form, compared by its hash.

Two questions are merged where they agree after, in this order:

1. superscripts as powers (`x²` is `x^2`: NFKC alone would make it `x2`), then Unicode NFKC and
   case folding;
2. LaTeX: `\\,` `\\;` `\\:` `\\!` `\\>` `\\ ` `\\quad` and `\\qquad` are spaces; `\\(…\\)` is `$…$`
   and `\\[…\\]` is `$$…$$`;
3. runs of white space are one space, and none beside a character that is no letter, digit or
   underscore: `x + 1` is `x+1`, but `1 2` is not `12`.

Nothing else is taken away: another number, sign or word is another question.
"""

from __future__ import annotations

import re
import unicodedata

from dasd_data.keys import digest

_POWERS = str.maketrans({c: f"^{p}" for c, p in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True)})
_LATEX = re.compile(r"\\(?:\\|[()\[\],;:!> \n]|q?quad(?![a-z]))")
_MARKS = {r"\\": r"\\", r"\(": "$", r"\)": "$", r"\[": "$$", r"\]": "$$"}
_BESIDE_SIGN = re.compile(r" (?=\W)|(?<=\W) ")


def normalized(text: str) -> str:
    """The form in which equal questions are equal. In time linear in the text."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_POWERS))
    text = text.casefold()
    if "\\" in text:
        text = _LATEX.sub(lambda found: _MARKS.get(found[0], " "), text)
    return _BESIDE_SIGN.sub("", " ".join(text.split()))


def normal_key(text: str, system: str | None = None) -> str:
    """Hash of a question's normalized text and of its system prompt, as 32 hexadecimal digits."""
    return digest("normal", normalized(text), normalized(system or ""))
