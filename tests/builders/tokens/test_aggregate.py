import math
import re
from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.tokens.aggregate import SentenceSums, aggregate
from builders.tokens.fit import fit_render
from builders.tokens.table import TokenTable
from builders.tokens.think import join_think, think_offsets
from dasd_data.errors import UsageError

INTS, FLOATS = pa.list_(pa.int32()), pa.list_(pa.float32())
NAN = float("nan")


def run(rows: list[dict], **options) -> SentenceSums:
    """Aggregate rows of thinking, answer, token_bytes, logprobs and byte_end."""
    table = {key: [row[key] for row in rows] for key in rows[0]}
    return aggregate(
        pa.array(table["thinking"], pa.string()),
        pa.array(table["answer"], pa.string()),
        pa.array(table["token_bytes"], INTS),
        pa.array(table["logprobs"], FLOATS),
        pa.array(table["byte_end"], INTS),
        **options,
    )


def row(text: str, token_bytes: list, logprobs: list, byte_end: list, thinking=None) -> dict:
    return {
        "thinking": thinking,
        "answer": text,
        "token_bytes": token_bytes,
        "logprobs": logprobs,
        "byte_end": byte_end,
    }


def reference(text: bytes, token_bytes, logprobs, byte_end) -> tuple[list[int], list[float]]:
    """The rule as it is written, one token at a time."""
    members: list[list[float]] = [[] for _ in byte_end]
    at = 0
    for size, logprob in zip(token_bytes, logprobs, strict=True):
        own = text[at : at + size]
        visible = own.lstrip(b" \t\n\r\v\f")
        first = at + (size - len(visible) if visible else 0)
        if size:
            members[bisect_right(byte_end, first)].append(min(logprob, 0.0))
        at += size
    assert at == len(text)
    return [len(own) for own in members], [math.fsum(own) for own in members]


def test_the_rule_by_hand():
    """A leading-space token belongs to the sentence it opens, lone white space to where it is."""
    # tokens: "Ab", ".", " C", ".\n", "\n", "D"; sentences: "Ab. ", "C.\n", "\n", "D"
    logprobs = [-1, -2, -4, -8, -16, -32]
    found = run([row("Ab. C.\n\nD", [2, 1, 2, 2, 1, 1], logprobs, [4, 7, 8, 9])])
    assert found.errors == {}
    assert found.n_tokens.to_pylist() == [[2, 2, 1, 1]]
    assert found.logprob_sum.to_pylist() == [[-3.0, -12.0, -16.0, -32.0]]


def test_thinking_and_answer_are_one_text():
    """Offsets run over thinking and answer together, and tokens of no bytes count nowhere."""
    found = run([row("o.", [0, 3, 0, 1, 1, 0], [NAN, -1, -9999, -2, -4, 7], [3, 5], "Hm\n")])
    assert found.errors == {}
    assert found.n_tokens.to_pylist() == [[1, 2]]
    assert found.logprob_sum.to_pylist() == [[-1.0, -6.0]]


@pytest.mark.parametrize("space", [" ", "\t", "\n", "\r", "\v", "\f"])
def test_every_ascii_space_leads_to_the_next_sentence(space):
    """Each of the six white-space bytes must be skipped, or tokens stay behind a boundary."""
    found = run([row(f"A.{space}B", [2, 2], [-1, -2], [3, 4])])
    assert found.n_tokens.to_pylist() == [[1, 1]]


@pytest.mark.parametrize("char", ["\u00a0", "\u3000", "\x1f", "\x0e", "\x08"])
def test_other_white_space_is_text(char):
    """The rule is ASCII: other spaces belong where they stand, in every implementation."""
    size = len(char.encode())
    found = run([row(f"A.{char}B", [2, size + 1], [-1, -2], [2 + size, 3 + size])])
    assert found.n_tokens.to_pylist() == [[2, 0]]


def test_a_sentence_without_a_token_has_count_zero():
    """One token over two sentences: the second has no probability, and must say so."""
    found = run([row("A.B.", [4], [-1.5], [2, 4]), row("", [0], [None], [])])
    assert found.n_tokens.to_pylist() == [[1, 0], []]
    assert found.logprob_sum.to_pylist() == [[-1.5, 0.0], []]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"logprobs": [-1, NAN]}, "token 1 has a logprob that is null, not finite"),
        ({"logprobs": [-1, None]}, "token 1 has a logprob that is null, not finite"),
        ({"logprobs": [-math.inf, -1]}, "token 0 has a logprob that is null, not finite"),
        ({"logprobs": [math.inf, -1]}, "token 0 has a logprob that is null, not finite"),
        ({"logprobs": [-9999.0, -1]}, "token 0 has .*floor"),
        ({"logprobs": [-1, 2e-4]}, "token 1 has a logprob above 0"),
        ({"logprobs": [-1]}, "2 token_bytes but 1 logprobs"),
        ({"token_bytes": [2, 1]}, "cover 3 of 4 bytes"),
        ({"token_bytes": [2, 3]}, "token 1 reaches beyond the 4 bytes"),
        ({"token_bytes": [5, -1]}, "token 0 reaches beyond the 4 bytes"),
        ({"token_bytes": [2, -1]}, "token 1 has null or negative token_bytes"),
        ({"token_bytes": [2, None]}, "token 1 has null or negative token_bytes"),
        ({"byte_end": [2, 5]}, "byte_end does not rise .*entry 1"),
        ({"byte_end": [2, 3]}, "byte_end does not rise .*entry 2"),
        ({"byte_end": [2, 2, 4]}, "byte_end does not rise .*entry 1"),
        ({"byte_end": [0, 4]}, "byte_end does not rise .*entry 0"),
        ({"byte_end": [None, 4]}, "byte_end does not rise .*entry 0"),
        ({"byte_end": []}, "byte_end does not rise .*entry 0"),
        ({"byte_end": None}, "is null"),
        ({"logprobs": None}, "is null"),
        ({"token_bytes": None}, "is null"),
        ({"answer": None}, "is null"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_are_kept(change, reason):
    """One NaN must neither poison a sum silently nor cost the batch."""
    good = row("A.B.", [2, 2], [-1, -2], [2, 4])
    found = run([good, good | change, good])
    assert list(found.errors) == [1]
    assert re.search(reason, found.errors[1])
    assert found.n_tokens.to_pylist() == [[1, 1], None, [1, 1]]
    assert found.logprob_sum.to_pylist() == [[-1.0, -2.0], None, [-1.0, -2.0]]


def test_tiny_positive_logprobs_count_as_zero():
    """Rounding above 0 must not make a sentence likelier than certain."""
    found = run([row("A.", [1, 1], [1e-4, -1], [2])])
    assert found.logprob_sum.to_pylist() == [[-1.0]]


def test_sums_are_made_in_64_bits():
    """A float32 running sum of 100,000 tokens would lose the small ones."""
    logprobs = np.float32([-1000.0] + [-1e-5] * 100_000)
    found = run([row("x" * 100_001, [1] * 100_001, logprobs.tolist(), [100_001])])
    expected = np.float32(math.fsum(logprobs.tolist()))
    assert found.logprob_sum.to_pylist() == [[expected]]
    assert expected == pytest.approx(-1001.0)


@pytest.mark.parametrize(
    ("sections", "token_bytes", "n_tokens"),
    [
        ("thinking+answer", [3, 2, 2], [1, 1, 1]),
        ("thinking", [1, 2], [2, 0, 0]),
        ("answer", [2, 1, 1], [0, 1, 2]),
    ],
)
def test_an_uncovered_section_gets_no_tokens(sections, token_bytes, n_tokens):
    """Scores of the thinking alone keep lists aligned with all sentences."""
    case = row("A.B.", token_bytes, [-1.0] * len(token_bytes), [3, 5, 7], "Hm\n")
    found = run([case], sections=sections)
    assert found.errors == {}
    assert found.n_tokens.to_pylist() == [n_tokens]


def test_slices_large_types_and_empty_batches():
    """Arrow batches come sliced, with 64-bit offsets and sometimes without rows."""
    rows = [
        row("zz", [2], [-9], [2], "skipped"),
        row("ün.", [2, 2], [-1, -2], [4], None),
        row("B", [1, 1], [-4, -8], [1, 2], "A"),
        row("yy", [2], [-9], [2], None),
    ]
    small = [
        pa.array([r["thinking"] for r in rows], pa.string()),
        pa.array([r["answer"] for r in rows], pa.string()),
        pa.array([r["token_bytes"] for r in rows], INTS),
        pa.array([r["logprobs"] for r in rows], FLOATS),
        pa.array([r["byte_end"] for r in rows], INTS),
    ]
    wide = [pa.large_list(kind) for kind in (pa.int64(), pa.float64(), pa.int32())]
    large = [pa.large_string(), pa.binary(), *wide]
    views = [pa.string_view(), pa.binary_view(), INTS, FLOATS, INTS]
    for types in ([array.type for array in small], large, views):
        batch = [a.cast(t) if a.type != t else a for a, t in zip(small, types, strict=True)]
        found = aggregate(*(array.slice(1, 2) for array in batch))
        assert found.errors == {}
        assert found.n_tokens.to_pylist() == [[2], [1, 1]]
        assert found.logprob_sum.to_pylist() == [[-3.0], [-4.0, -8.0]]
        empty = aggregate(*(array.slice(1, 0) for array in batch))
        assert (empty.n_tokens.to_pylist(), empty.errors) == ([], {})


def test_bytes_under_a_null_are_not_text():
    """Arrow may keep stale bytes below a null thinking; they would shift every offset."""
    stale = pa.array(["stale", "Hm"])
    buffers = [pa.py_buffer(b"\x02"), *stale.buffers()[1:]]
    thinking = pa.StringArray.from_buffers(2, buffers[1], buffers[2], buffers[0])
    lists = pa.array([[2], [4]], INTS)
    values = pa.array([[-1], [-2]], FLOATS)
    assert thinking.to_pylist() == [None, "Hm"]
    found = aggregate(thinking, pa.array(["A.", "B."]), lists, values, lists)
    assert (found.errors, found.n_tokens.to_pylist()) == ({}, [[1], [1]])
    nothing = aggregate(pa.nulls(1), pa.array(["A."]), lists[:1], values[:1], lists[:1])
    assert (nothing.errors, nothing.n_tokens.to_pylist()) == ({}, [[1]])


def test_arrays_that_do_not_belong_together_are_refused():
    """The kernel reads memory by row: a shorter array must not be read beyond its end."""
    case = row("A.", [2], [-1], [2])
    with pytest.raises(UsageError, match=r"one length, got \[1, 1, 2, 1, 1\]"):
        aggregate(
            pa.nulls(1),
            pa.array(["A."]),
            pa.array([[2], [2]], INTS),
            pa.array([[-1.0]], FLOATS),
            pa.array([[2]], INTS),
        )
    with pytest.raises(UsageError, match="did you mean 'thinking'"):
        run([case], sections="thinkin")


def test_result_types_are_those_of_the_catalog():
    """sentence_scores stores INT[] and FLOAT[]: other types would fail on appending."""
    found = run([row("A.", [2], [-1], [2])])
    assert found.n_tokens.type == INTS
    assert found.logprob_sum.type == FLOATS


@st.composite
def responses(draw) -> dict:
    text = draw(st.text(st.sampled_from("ab.é語😀 \n\t\u00a0"), min_size=1, max_size=40))
    seam = draw(st.integers(0, len(text)))
    size, head = len(text.encode()), len(text[:seam].encode())
    cuts = draw(st.lists(st.integers(0, size), max_size=20))
    edges = [0, *sorted(cuts), size]
    token_bytes = [b - a for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007
    ends = sorted({*draw(st.lists(st.integers(1, size), max_size=6)), head, size} - {0})
    values = st.floats(-50, 0, width=32)
    logprobs = [draw(values) for _ in token_bytes]
    return row(text[seam:], token_bytes, logprobs, ends, text[:seam])


@settings(deadline=None, max_examples=200)
@given(st.lists(responses(), min_size=1, max_size=4))
def test_agrees_with_the_rule_one_token_at_a_time(rows):
    """Any tokens, any sentences, any number of responses: the kernel is the written rule."""
    found = run(rows)
    assert found.errors == {}
    for r, counts, sums in zip(
        rows, found.n_tokens.to_pylist(), found.logprob_sum.to_pylist(), strict=True
    ):
        text = (r["thinking"] + r["answer"]).encode()
        expected = reference(text, r["token_bytes"], r["logprobs"], r["byte_end"])
        assert counts == expected[0]
        assert sums == pytest.approx(expected[1], rel=1e-6)
        assert sum(counts) == sum(n > 0 for n in r["token_bytes"])


def sentence_ends(text: bytes) -> list[int]:
    return sorted({m.end() for m in re.finditer(rb"[.!?] ?|\n+", text)} | {len(text)})


@pytest.mark.parametrize("name", ["qwen3", "gpt-oss"])
def test_real_tokens_of_real_text(name, shared_data, encoders, hard_text):
    """Emoji, CJK and LaTeX under both vocabularies, sentence by sentence as the rule says."""
    table = TokenTable.load(shared_data(f"tokenizers/{name}"))
    answer = "So $x = \\boxed{42}$. 答案是 42。\n"
    rng = np.random.default_rng(7)
    rows = []
    for repeats in (1, 3):
        thinking = hard_text * repeats
        render = join_think(thinking, answer)
        pieces = table.pieces(encoders[name].encode(render).ids)
        held = fit_render(render.encode(), pieces, *think_offsets(thinking, answer))
        logprobs = (-rng.exponential(0.4, len(held))).astype(np.float32).tolist()
        head = thinking.encode()
        ends = sentence_ends(head) + [len(head) + e for e in sentence_ends(answer.encode())]
        rows.append(row(answer, held, logprobs, ends, thinking))
    found = run(rows)
    assert found.errors == {}
    for i, r in enumerate(rows):
        text = (r["thinking"] + r["answer"]).encode()
        counts, sums = reference(text, r["token_bytes"], r["logprobs"], r["byte_end"])
        assert found.n_tokens[i].as_py() == counts
        assert found.logprob_sum[i].as_py() == pytest.approx(sums, rel=1e-6)
        assert len(counts) >= 10
