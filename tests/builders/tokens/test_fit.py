import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.tokens.fit import fit, fit_harmony, fit_render
from builders.tokens.normal import respan
from builders.tokens.table import Pieces
from builders.tokens.think import join_think, think_offsets
from dasd_data.errors import RowError

TO_FINAL = [200007, 200006, 173781, 200005, 17196, 200008]  # <|end|><|start|>assistant … final …
RETURN = 200002


def listed(counts):
    """Counts as a list, to compare them with one; None stays."""
    return None if counts is None else counts.tolist()


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(p, len(data)) for p in points), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("text", "pieces", "counts"),
    [
        ("ab c", [b"ab", b"", b" c"], [2, 0, 2]),
        ("ab c", [b"\n\n", b" ab", b" c\n", b"\n"], [0, 2, 2, 0]),  # stripped by the publisher
        ("\n ab c \n", [b"ab", b" c"], [4, 4]),  # added by the publisher
        ("\u3000ab", [b"\xe3\x80", b"\x80ab"], [2, 3]),
        ("ab", [b"\xe3\x80", b"\x80ab\xe3", b"\x80\x80"], [0, 2, 0]),
        ("  ab", [b"\nab"], [4]),
        ("ab\n", [b"", b"ab", b""], [0, 3, 0]),
        ("a\ufffdb", [b"a\xf0\x9f", b"b"], [4, 1]),
        ("", [b"\n", b" "], [0, 0]),
        ("", [], []),
        ("\n", [b" \n", b"\n"], [1, 0]),
        ("ab", [b"a", b"c"], None),
        ("ab", [b"a"], None),
        ("a b", [b"a", b"b"], None),
        ("x", [], None),
    ],
)
def test_fit_by_hand(text, pieces, counts):
    """White space at the ends is forgiven and nothing else, or scores move between sentences."""
    assert listed(fit(text.encode(), Pieces.of(pieces))) == counts


@given(st.text(max_size=30), st.lists(st.integers(0, 90), max_size=8))
def test_any_cut_of_the_text_fits_exactly(text, points):
    """Tokens may end inside characters; their own lengths are then the answer."""
    pieces = cut(text.encode(), points)
    assert listed(fit(text.encode(), Pieces.of(pieces))) == [len(piece) for piece in pieces]


# Each group composes, decomposes or is reordered among itself and with the other groups' marks.
LATIN = "aeo<Åé\u01fa\u0301\u0323\u0308\u0338\u0344\u0345\u212b"
JAMO = "한각\uac00\u1100\u1161\u1175\u1176\u11a7\u11a8\u11c2"
INDIC = "\u09c7\u09be\u0915\u0958\u093c\u09a1\u09dc\u0bc6\u0bbe\u0dd9\u0dcf\u0dca\u1025\u102e"
TIBETAN = "\u0f40\u0f71\u0f72\u0f73\u0f74\u0f75\u0f80\u0f81\u0fb2\u0f76"
ASTRAL = "\U0001d157\U0001d165\U0001d15e\U000110a5\U000110ba\U000110ab\U0002f800"
SINGLE = "\u2126\u03a9\u2000\u2adc\u0374\uf900"
COMPOSING = st.text(
    st.sampled_from(f"{LATIN}{JAMO}{INDIC}{TIBETAN}{ASTRAL}{SINGLE} \n語😀"), max_size=20
)
# Compose with nothing before them, though normalization changes the last ones.
INITIALS = (
    "x語😀\né한\u1100\u09c7\u0f40\u0f76\u2126\u212b\u0958\u09dc\u2adc\u2000\U0001d15e\U0002f800"
)


@settings(deadline=None)  # the first call builds tables
@given(COMPOSING | st.text(max_size=20), st.lists(st.integers(0, 60), max_size=8))
@example("x\u212b\u0f73\u0301\u2126", [1])  # the accent composes across two Tibetan marks
@example("e\u0f73\u0301", [])
@example("\u0f74\u0f81\u0f71", [3, 6])
def test_tokens_of_normalized_text_tile_the_text_itself(text, points):
    """Qwen encodes NFC: physics text with an ohm sign must not be refused or shifted."""
    normal = unicodedata.normalize("NFC", text)
    pieces = cut(normal.encode(), points)
    counts = listed(respan(text, Pieces.of(pieces).lengths))
    assert len(counts) == len(pieces)
    assert sum(counts) == len(text.encode())
    assert min(counts) >= 0


@settings(deadline=None)  # the first call builds tables
@given(st.lists(st.tuples(st.sampled_from(INITIALS), COMPOSING).map("".join), max_size=6))
@example(["x", "\u212b\u0f73\u0301", "\u2126", "x"])
@example(["xe\u0f73\u0301", "\u2126\u0f81", "x\u0958"])
@example(["\u1100\u1161\u11a8", "\u1100\u1161\u11a7", "한\u11a8", "\uac00\u1176\u11a8"])
def test_tokens_at_characters_that_never_compose_keep_their_own_text(chunks):
    """What is normalized in one token must not move bytes of the next one."""
    pieces = [unicodedata.normalize("NFC", chunk).encode() for chunk in chunks]
    expected = [len(chunk.encode()) for chunk in chunks]
    assert listed(respan("".join(chunks), Pieces.of(pieces).lengths)) == expected


@pytest.mark.parametrize(
    ("text", "pieces", "counts"),
    [
        ("5 \u2126.", [b"5", b" \xce", b"\xa9", b"."], [1, 4, 0, 1]),  # 3 bytes become 2
        ("e\u0301x", ["é".encode(), b"x"], [3, 1]),  # 3 bytes become 2
        ("1e\u03012", [b"1", b"\xc3", b"\xa92"], [1, 3, 1]),
        (" \u212b ", ["Å".encode()], [5]),  # and stripped
        ("\u2126\u2126", [b"\xce\xa9", b"\xce\xa9"], [3, 3]),
        ("\u0958k", ["\u0915".encode(), "\u093ck".encode()], [3, 1]),  # 3 bytes become 6
        ("\u1112\u1161\u11ab\u1112", ["한".encode(), "\u1112".encode()], [9, 3]),
        ("x\u0f74\u0f73\u2126", [b"x", "\u0f71\u0f72\u0f74".encode(), b"\xce\xa9"], [7, 0, 3]),
    ],
)
def test_fit_of_normalized_tokens_by_hand(text, pieces, counts):
    """The bytes of a recomposed character go to the token that begins it."""
    assert listed(fit(text.encode(), Pieces.of(pieces))) == counts


def test_real_qwen_tokens_of_text_in_another_normal_form(qwen, encoders):
    """The student scores the trainer's own tokens, whatever form the teacher wrote."""
    text = "R = 5 \u2126, cafe\u0301 \u212b. 한국어" + unicodedata.normalize("NFD", "한국어")
    ids = encoders["qwen3"].encode(text).ids
    counts = fit(text.encode(), qwen.pieces(ids))
    assert qwen.pieces(ids).data != text.encode()
    assert counts is not None
    assert sum(counts) == len(text.encode())


def test_harmony_with_both_sections(gpt_oss, encoders, hard_text):
    """Delimiters hold nothing, and each section is aligned on its own."""
    encode = lambda text: encoders["gpt-oss"].encode(text).ids  # noqa: E731
    think, answer = encode(hard_text), encode("So 42 😀.\n")
    fitted = fit_harmony(hard_text, "So 42 😀.", [*think, *TO_FINAL, *answer, RETURN], gpt_oss)
    assert fitted.sections == "thinking+answer"
    own = [len(gpt_oss.piece(i)) for i in think]
    assert fitted.token_bytes[: len(think)].tolist() == own
    assert fitted.token_bytes[len(think) : len(think) + 6].tolist() == [0] * 6
    assert sum(fitted.token_bytes) == len((hard_text + "So 42 😀.").encode())
    assert fitted.token_bytes[-1] == 0


@pytest.mark.parametrize(
    ("between", "sections"),
    [
        (None, "thinking"),
        ([200007], "thinking"),
        ([], "thinking+answer"),
        (["\n</think>\n\n"], "thinking+answer"),
        (["assistant", "final"], "thinking+answer"),
    ],
)
def test_harmony_ids_of_undocumented_extent(gpt_oss, encoders, between, sections):
    """A release that says not whether answers are included must show it by its bytes."""
    encode = lambda text: encoders["gpt-oss"].encode(text).ids  # noqa: E731
    ids = encode("We add 40 and 2.")
    for part in between or []:
        ids += [part] if isinstance(part, int) else encode(part)
    if sections != "thinking":
        ids += encode("It is 42.")
    fitted = fit_harmony("We add 40 and 2.", "It is 42.", ids, gpt_oss)
    assert fitted.sections == sections
    assert len(fitted.token_bytes) == len(ids)
    assert sum(fitted.token_bytes) == 16 + 9 * (sections != "thinking")


def test_harmony_cut_off_within_its_first_message(gpt_oss, encoders):
    """A response cut off in its thinking would lose its tokens to the word in its header."""
    ids = encoders["gpt-oss"].encode("<|channel|>analysis<|message|>We add. And then we").ids
    fitted = fit_harmony("We add. And then we", "", ids, gpt_oss)
    assert fitted.sections == "thinking"
    assert fitted.token_bytes.tolist() == [0, 0, 0, *(len(gpt_oss.piece(i)) for i in ids[3:])]


def test_harmony_ids_of_the_answer_only(gpt_oss, encoders):
    """Scores of an answer must not be taken for scores of the thinking."""
    ids = encoders["gpt-oss"].encode("It is 42.").ids
    assert fit_harmony("Why?", "It is 42.", ids, gpt_oss).sections == "answer"
    assert fit_harmony(None, "It is 42.", ids, gpt_oss).sections == "answer"


@pytest.mark.parametrize(
    ("thinking", "answer", "message"),
    [
        ("We add 41.", "It is 42.", r"tile the thinking .*at byte 8: text 'We add 41\.', tokens"),
        ("We add 40.", "It is 43.", r"tile the answer .*at byte 7: text 'It is 43\.', tokens"),
    ],
)
def test_harmony_that_does_not_tile_says_where(gpt_oss, encoders, thinking, answer, message):
    """The reason in quarantine must show the first difference."""
    encode = lambda text: encoders["gpt-oss"].encode(text).ids  # noqa: E731
    ids = [*encode("We add 40."), *TO_FINAL, *encode("It is 42."), RETURN]
    with pytest.raises(RowError, match=message):
        fit_harmony(thinking, answer, ids, gpt_oss)
    with pytest.raises(RowError, match="first difference at byte 8"):
        fit_harmony("We add 41.", answer, encode("We add 40."), gpt_oss)


def test_render_by_hand():
    """A token that straddles wrapper and content counts with the content's bytes only."""
    render = b"U<think>\nab.\n</think>\n\nYes.<end>"
    tokens = [b"U", b"<think>", b"\na", b"b", b".\n", b"</think>", b"\n\nYes", b".", b"<end>"]
    pieces = Pieces.of(tokens)
    assert listed(fit_render(render, pieces, (9, 12), (23, 27))) == [0, 0, 1, 1, 1, 0, 3, 1, 0]
    assert listed(fit_render(render, pieces, None, (23, 27))) == [0, 0, 0, 0, 0, 0, 3, 1, 0]
    with pytest.raises(RowError, match="outside the render"):
        fit_render(render, pieces, (9, 12), (23, 99))
    with pytest.raises(RowError, match="tile the render"):
        fit_render(render, Pieces.of(tokens[:-1]), (9, 12), (23, 27))


def test_render_with_the_real_student_tokenizer(qwen, encoders, hard_text):
    """Wrapper and prompt hold nothing; quoted tags in the content hold their bytes."""
    head, tail = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"
    answer = "The tag <think> is quoted."
    offset = len(head.encode())
    spans = [(a + offset, b + offset) for a, b in filter(None, think_offsets(hard_text, answer))]
    render = head + join_think(hard_text, answer) + tail
    ids = encoders["qwen3"].encode(render).ids
    held = fit_render(render.encode(), qwen.pieces(ids), *spans)
    assert sum(held) == len((hard_text + answer).encode())
    thinks = [held[i] for i, token in enumerate(ids) if token in (151667, 151668)]
    assert thinks == [0, 8, 0, 7]  # opener, quoted closer, closer, quoted opener
    start = ids.index(151667)
    assert not any(held[: start + 1])
    assert not any(held[-2:])
