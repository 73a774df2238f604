"""What holds for any text: spans tile it, sections are apart, work is linear."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.segment import KINDS, SECTIONS, segment, segment_text
from builders.segment.ahead import ENVIRONMENTS
from builders.segment.opaque import mark
from dasd_data.errors import RowError

PIECES = [
    *".?!…。！？$`\\()[]{}|\"'*_#>-+=<:;, \t\n\r\v\x00\u00a0",
    *"\u2028\u3000\u200d\u0301“”（）é😀中Aaz19",
    *("$$", r"\(", r"\)", r"\[", r"\]", "```", "~~~", "\n\n", "|---|\n", "1. ", "- ", "Step 2. "),
    *(r"\begin{align}", r"\end{align}", r"\begin{cases}", r"\end{cases}", "e.g. ", "Dr. ", "J. "),
    *("...", ". . . ", "Then ", "x = 1. ", "U.S. ", "• ", "```py\n", "\\\\", "no. 5 ", "$5 "),
]
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=80).map("".join),
)


def spans(text: str) -> list[bytes]:
    ends, _ = segment_text(text)
    raw = text.encode()
    return [raw[a:b] for a, b in itertools.pairwise([0, *ends.tolist()])]


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
def test_spans_tile_any_text(text: str) -> None:
    """A byte of a response would belong to no sentence or to two, or a character be cut in half."""
    parts = spans(text)
    assert b"".join(parts) == text.encode()
    assert all(parts)
    for part in parts:
        sentence = part.decode()  # raises where a character is cut
        assert sentence.strip() or not text.strip()
    for sentence in (p.decode() for p in parts[1:]):
        assert sentence == sentence.lstrip(), "blanks belong to the sentence before them"


@settings(max_examples=300, deadline=None)
@given(st.none() | TEXTS, TEXTS)
def test_no_sentence_crosses_the_seam(thinking: str | None, answer: str) -> None:
    """Thinking and answer would share a sentence, or be cut otherwise than alone."""
    ends, kinds, sections = segment(thinking, answer)
    assert (ends.dtype, kinds.dtype, sections.dtype) == (np.int32, np.int8, np.int8)
    assert len(ends) == len(kinds) == len(sections)
    seam = len((thinking or "").encode())
    for index, (text, base) in enumerate([(thinking or "", 0), (answer, seam)]):
        alone_ends, alone_kinds = segment_text(text)
        assert (ends[sections == index] - base).tolist() == alone_ends.tolist()
        assert kinds[sections == index].tolist() == alone_kinds.tolist()
    assert set(kinds.tolist()) <= set(range(len(KINDS)))
    assert SECTIONS == ("thinking", "answer")


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_same_text_is_cut_the_same(text: str) -> None:
    """The id of a segmentation would change from run to run."""
    first, second = segment_text(text), segment_text(text)
    assert first[0].tolist() == second[0].tolist()
    assert first[1].tolist() == second[1].tolist()


def test_empty_and_blank_texts() -> None:
    """An answer that is missing, or blank, would break the tiling."""
    assert [len(column) for column in segment(None, "")] == [0, 0, 0]
    assert segment(" \n", "").byte_end.tolist() == [2]
    assert segment("", "A. ").byte_end.tolist() == [3]
    assert segment("A.", "B.").byte_end.tolist() == [2, 4]


def test_refuses_lone_surrogates() -> None:
    """A text that no file can hold would end as a traceback instead of in quarantine."""
    with pytest.raises(RowError, match="not valid Unicode"):
        segment_text("a\ud800b")


def _noise(size: int) -> str:
    return "".join(random.Random(size).choices(PIECES, k=size // 2))


ADVERSARIAL = {
    **{repr(c): (lambda n, c=c: c * (n // len(c))) for c in [
        ".", "$", "`", "\n", "1. ", "((", "\\", "\\[", "\\(", "\\)", "$$", "$5 ", "``` ", "```\n",
        "~~~a\n", "|", "|\n", "|-|\n", "\\begin{align}", "\\end{align}", "\\begin{cases}x\\end{a}",
        " ", ". ", "A. ", "J. R. ", "...", "... A", ". . ", "?!", "e.g. A", "。", "…", "• ", "*",
        ".)", "x$ ", "$x ", "- \n", "1.\n", "\\[\n", "a\u0301", "!\u2028", "\\]\n.\n",
        "$1 = ", "`a ``b ", "\u00a0", "``\\[", "> ", "#", "\\$", "```\n\nThen a ",
    ]},
    "rising runs of backticks": lambda n: " ".join("`" * k for k in range(1, int((2 * n) ** 0.5))),
    "rising fences": lambda n: "\n".join("`" * k for k in range(3, int((2 * n) ** 0.5))),
    "one line": lambda n: "word " * (n // 5),
    "noise": _noise,
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_look_ahead_is_linear(name: str) -> None:
    """One odd response of a million would hold up a build for hours."""
    steps = []
    for size in (20_000, 40_000):
        data = np.frombuffer(ADVERSARIAL[name](size).encode(), np.uint8)
        steps.append(mark(data, ENVIRONMENTS)[1] / len(data))
    assert steps[1] <= 14, "at most one sweep of the text for each kind of look-ahead"


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_takes_long_adversarial_texts(name: str) -> None:
    """A scan that is not linear would never come back from these."""
    text = ADVERSARIAL[name](200_000)
    ends, _ = segment_text(text)
    assert ends[-1] == len(text.encode())
    assert (np.diff(ends, prepend=0) > 0).all()
