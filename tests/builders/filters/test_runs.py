import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.filters import runs


def naive(words: list[str]) -> set[tuple[int, int, int]]:
    """All (first, end, d) that are periodic with d, maximal on both sides, with 3+ copies."""
    found = set()
    for d in range(1, len(words) // 3 + 1):
        first = 0
        while first + d < len(words):
            end = first + d
            while end < len(words) and words[end] == words[end - d]:
                end += 1
            if end - first >= 3 * d:
                found.add((first, end, d))
            first = max(end - d + 1, first + 1)
    return found


def smallest_period(words: list[str]) -> int:
    return next(d for d in range(1, len(words) + 1) if words[d:] == words[: len(words) - d])


def found_in(words: list[str]) -> set[tuple[int, int, int]]:
    return {tuple(map(int, row)) for row in runs.find(runs.words(" ".join(words).encode())[0])}


words_of = st.lists(st.sampled_from(["a", "b", "c"]), max_size=120)


@given(words_of)
@settings(max_examples=400, deadline=None)
def test_a_reported_run_is_periodic_and_cannot_grow_to_the_right(words):
    """A false run would drop good reasoning, a run cut short would hide a loop."""
    for first, end, d in found_in(words):
        assert end - first >= 3 * d
        assert words[first + d : end] == words[first : end - d]
        assert end == len(words) or words[end] != words[end - d]


@given(words_of, st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20), st.integers(3, 6))
@settings(max_examples=400, deadline=None)
def test_every_run_of_the_quadratic_finder_is_found(noise, unit, copies):
    """A loop of the model would pass if any maximal run with 3 copies and 7 words got lost."""
    words = noise + unit * copies + noise[::-1]
    found = found_in(words)
    for first, end, d in naive(words):
        exact = any(n / 2 <= d <= n and end - first >= d + n for n in runs.SIZES)
        if exact and smallest_period(words[first:end]) == d:
            assert (first, end, d) in found


def test_a_short_unit_is_found_though_its_words_came_in_another_order_before():
    """A run that was already being followed at a longer distance must not hide a shorter one."""
    assert (9, 15, 2) in found_in(list("bbababbcaabababcc"))


@given(st.integers(21, 400), st.integers(3, 5), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_a_long_unit_that_repeats_parts_of_itself_is_found_whole(length, copies, seed):
    """Loops of whole paragraphs, in which an equation comes twice, must not be cut in pieces."""
    rng = random.Random(seed)
    unit = [f"w{rng.randrange(10**6)}" for _ in range(length)]
    unit[length // 2 :] = [*unit[: length - length // 2 - 1], "turn"]
    words = ["before", *unit * copies, "after"]
    assert (1, 1 + length * copies, length) in found_in(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The end.", ["The", "end", "."]),
        ("x  =\n\t 3,5", ["x", "=", "3", ",", "5"]),
        ("naïve café", ["naïve", "café"]),
        ("答案是4。", ["答", "案", "是", "4", "。"]),
        ("a\u00a0b\u2003c\u3000d", ["a", "b", "c", "d"]),
        ("5°C ≤ x²", ["5", "°", "C", "≤", "x", "²"]),
        ("y" * 32, ["y" * 32]),
        ("y" * 33, ["y"] * 33),
        ("", []),
    ],
)
def test_words(text, expected):
    """Wrong words would make indentation a loop, or leave Chinese without any."""
    data = text.encode()
    _, starts, ends = runs.words(data)
    assert [data[s:e].decode() for s, e in zip(starts, ends, strict=True)] == expected


def test_equal_words_have_equal_hashes_and_masked_digits_are_one():
    """Loops that count up are reported only if their digits are taken as equal."""
    plain, _, _ = runs.words(b"x1 x2 x1")
    masked, _, _ = runs.words(b"x1 x2 x1", mask_digits=True)
    assert plain[0] == plain[2] != plain[1]
    assert masked[0] == masked[1] == masked[2]


@pytest.mark.parametrize(
    ("data", "words", "d"),
    [
        (b" " * 200_000, 0, None),
        (b"\n        " * 20_000, 0, None),
        (b"ab" * 100_000, 200_000, 2),
        (b"." * 200_000, 200_000, 1),
    ],
)
def test_degenerate_texts_make_one_run(data, words, d):
    """A degenerate response must cost milliseconds and give one clear run, not hang a build."""
    hashes, _, _ = runs.words(data)
    assert len(hashes) == words
    rows = {tuple(row) for row in runs.find(hashes).tolist()}
    assert rows == (set() if d is None else {(0, words, d)})


def test_random_words_make_no_long_run():
    """Ordinary varied text must not be a loop."""
    rng = random.Random(0)
    text = " ".join("".join(rng.choices("abcdefgh", k=5)) for _ in range(30_000))
    assert len(runs.find(runs.words(text.encode())[0])) == 0


@given(st.lists(st.sampled_from("ab"), max_size=60), st.integers(1, 6))
@settings(deadline=None)
def test_most_frequent_counts_as_a_dictionary_does(words, n):
    """The count of the report must be the true one."""
    counts: dict[tuple[str, ...], int] = {}
    for i in range(len(words) - n + 1):
        gram = tuple(words[i : i + n])
        counts[gram] = counts.get(gram, 0) + 1
    at, count = runs.most_frequent(runs.words(" ".join(words).encode())[0], n)
    assert count == max(counts.values(), default=0)
    if counts:
        assert counts[tuple(words[at : at + n])] == count


def test_sentence_hashes_ignore_white_space_and_mark_empty_ones():
    """The same sentence on another indentation is the same; a blank line is none."""
    data = b"So it is. \n\n   So  it is. No."
    hashes, starts, _ = runs.words(data)
    keys = runs.sentence_hashes(hashes, starts, np.array([10, 12, 26, len(data)]))
    assert keys[0] == keys[2] != keys[3]
    assert keys[1] == 0


def test_simple_sentence_ends():
    """Without segmentation, sentences end at line ends and at full stops before a space."""
    data = b"One. Two 3.5!\nThree?"
    ends = runs.simple_sentence_ends(data)
    assert [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)] == [
        b"One.",
        b" Two 3.5!\n",
        b"Three?",
    ]
