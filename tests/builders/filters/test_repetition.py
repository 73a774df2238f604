import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.filters.base import CODE, PROSE, TABLE, Candidate
from builders.filters.repetition import Repetition, RepetitionConfig

LOOP = "Wait, is the sum of the digits odd? "  # 36 bytes, 10 words
PROSE_TEXT = " ".join(f"Step {i} leads to {i * i + 7} by rule {i % 7}." for i in range(200))


def judge(candidate, config=None):
    [verdict] = Repetition(config or RepetitionConfig()).check([candidate])
    return verdict, None if verdict.evidence is None else json.loads(verdict.evidence)


def test_a_planted_loop_is_found_with_its_place_and_unit(candidate):
    """The evidence must point at the loop and show one copy of it."""
    thinking = "Lösung: " + LOOP * 7 + "Enough."
    verdict, evidence = judge(candidate(thinking=thinking))
    assert not verdict.passed
    assert evidence == {
        "rule": "periodic",
        "copies": 7.0,
        "start": 9,
        "end": 9 + 7 * 36 - 1,
        "excerpt": LOOP.strip(),
    }
    assert verdict.value == pytest.approx(7 * 36 / len((thinking + "It is 4.").encode()))


def test_offsets_of_the_answer_continue_those_of_the_thinking(candidate):
    """Evidence in the answer must be cut out at the right bytes of thinking || answer."""
    verdict, evidence = judge(candidate(thinking="é" * 10 + ".", answer="So: " + LOOP * 6))
    assert not verdict.passed
    assert evidence["start"] == 21 + 4


def test_five_copies_below_200_bytes_pass_in_a_long_text(candidate):
    """Good reasoning says a thing a few times: the threshold is 200 bytes."""
    assert judge(candidate(thinking=PROSE_TEXT + "\n" + LOOP * 2 + "\n"))[0].passed
    below = "a b c d, " * 22  # 22 copies of 9 bytes: 198
    assert judge(candidate(thinking=PROSE_TEXT + "\n" + below + "\n" + PROSE_TEXT[:99]))[0].passed
    _, evidence = judge(candidate(thinking=PROSE_TEXT + "\n" + below + "a b c d, \n" + "End."))
    assert evidence["rule"] == "periodic"
    assert evidence["copies"] == 23.0


def test_two_long_copies_pass(candidate):
    """A derivation written out twice is no loop."""
    assert judge(candidate(thinking=PROSE_TEXT + "\n" + PROSE_TEXT))[0].passed


def test_indentation_does_not_count(candidate):
    """White space, which code and layout repeat, is not text."""
    spaced = "\n".join(" " * 40 + word for word in ("one", "two", "three", "four", "five"))
    assert judge(candidate(thinking=spaced + " " * 5000 + "\u2003" * 500))[0].passed
    indented = PROSE_TEXT + ("\na b c d," + " " * 30) * 10 + "\n" + PROSE_TEXT[:99]
    no_stutter = RepetitionConfig(min_sentences=99)
    assert judge(candidate(thinking=indented), no_stutter)[0].passed
    once = "a" + " " * 400 + "a" + " " * 400 + "a" + PROSE_TEXT
    assert judge(candidate(thinking=once))[0].passed


def test_a_short_loop_that_fills_a_short_text_fails(candidate):
    """A 60-byte loop is most of a 100-byte answer, though it is below 200 bytes."""
    verdict, evidence = judge(candidate(thinking=None, answer="x y z, " * 9 + "and so we get 12."))
    assert not verdict.passed
    assert evidence["rule"] == "periodic_share"
    assert verdict.value > 0.5


@pytest.mark.parametrize(("n", "passed"), [(99, True), (100, False)])
@pytest.mark.parametrize("character", ["=", "é", "哈", "7"])
def test_one_character_100_times(candidate, character, n, passed):
    """A stuck key must fail at 100 whatever the character's bytes are."""
    text = PROSE_TEXT + " " + character * n + " " + PROSE_TEXT[:50]
    verdict, evidence = judge(candidate(thinking=text), RepetitionConfig(min_bytes=10_000))
    assert verdict.passed == passed
    if not passed:
        assert evidence == {
            "rule": "character",
            "copies": 100.0,
            "start": len(PROSE_TEXT) + 1,
            "end": len(PROSE_TEXT) + 1 + 100 * len(character.encode()),
            "excerpt": character * 1,
        }


def test_three_identical_sentences_in_a_row(candidate):
    """Stuttering sentence by sentence fails at the third, not at the second."""
    twice = PROSE_TEXT + "\nSo n is odd. So n is odd. But n is even."
    assert judge(candidate(thinking=twice))[0].passed
    thrice = PROSE_TEXT + "\nSo n is odd. So n is odd.\n  So  n is odd. But n is even."
    verdict, evidence = judge(candidate(thinking=thrice))
    assert not verdict.passed
    start = len(PROSE_TEXT) + 1
    assert evidence == {
        "rule": "sentences",
        "copies": 3,
        "start": start,
        "end": start + 12 + 1 + 12 + 3 + 13,
        "excerpt": "So n is odd.",
    }


def test_sentences_do_not_add_up_across_the_seam(candidate):
    """An answer that repeats the last words of the thinking is the normal case."""
    assert judge(candidate(thinking="Hm.\nIt is 4. It is 4.", answer="It is 4."))[0].passed


@pytest.mark.parametrize(("kind", "passed"), [(CODE, True), (TABLE, True), (PROSE, False)])
def test_segmented_code_and_tables_are_exempt(segmented, kind, passed):
    """Rows of a table and lines of a program repeat by nature."""
    block = "| 0 | 1 | 0 | 1 |\n" * 20
    made = segmented([("Here it is:\n", PROSE), (block, kind), ("Done.", PROSE)])
    assert judge(made)[0].passed == passed


def test_three_identical_lines_of_code_pass(segmented):
    """`i += 1` three times in a row is a program, not a stutter."""
    lines = [("i += 1\n", CODE)] * 3
    assert judge(segmented([("Run:\n", PROSE), *lines, ("Done.", PROSE)]))[0].passed
    split = [("Yes.\n", PROSE), ("f(x)\n", CODE)] * 3
    assert judge(segmented([(PROSE_TEXT, PROSE), *split]))[0].passed


def test_unsegmented_code_and_tables_are_exempt_by_a_simple_rule(candidate):
    """Filters may run before segmentation and must not drop code then."""
    rows = "x = x + 1\n" * 40
    assert judge(candidate(answer=f"Run:\n```python\n{rows}```\nDone."))[0].passed
    assert judge(candidate(answer="See:\n" + "| a | b |\n" * 40 + "\nDone."))[0].passed
    assert not judge(candidate(answer=f"Run:\n```python\n{rows}"))[0].passed


def test_a_loop_of_paragraphs_with_code_inside_still_fails(segmented):
    """A model that circles through the same paragraph and snippet is caught by the paragraph."""
    loop = [("Let me run the same check once more to be sure of it.\n", PROSE), ("f(x)\n", CODE)]
    verdict, evidence = judge(segmented(loop * 6))
    assert not verdict.passed
    assert evidence["rule"] == "periodic"


@given(st.text(alphabet="ab .\n|`$", max_size=300), st.text(alphabet="ab .\n|`", max_size=100))
def test_any_text_gets_a_verdict(thinking, answer):
    """No response may crash the stage, and the share is a share."""
    verdict, evidence = judge(Candidate("r", "", thinking, answer))
    assert 0.0 <= verdict.value <= 1.0
    assert verdict.passed == (evidence is None)
    if evidence:
        data = (thinking + answer).encode()
        assert 0 <= evidence["start"] < evidence["end"] <= len(data)
        unit = evidence["excerpt"].removesuffix("…").encode()
        assert data[evidence["start"] :].startswith(unit)


def test_a_changed_threshold_is_a_new_version():
    """Old verdicts must not pass for verdicts under another threshold."""
    assert Repetition().version == Repetition(RepetitionConfig()).version
    assert Repetition().version != Repetition(RepetitionConfig(min_bytes=201)).version


def test_good_real_reasoning_passes(shared_data):
    """No correct attempt of gpt-oss is a loop; the one with 74 copies of `63*?` is."""
    path = shared_data("responses/gptoss_math_attempts.parquet")
    rows = pq.read_table(path).to_pylist()
    made = [Candidate("", "", row["reasoning"], row["content"] or "") for row in rows]
    verdicts = Repetition().check(made)
    assert all(v.passed for v, row in zip(verdicts, rows, strict=True) if row["correct"])
    rules = [json.loads(v.evidence) for v in verdicts if not v.passed]
    assert len(rules) <= 8
    assert [(r["copies"], r["excerpt"]) for r in rules if r["rule"] == "periodic"] == [
        (74.0, "63*?")
    ]
