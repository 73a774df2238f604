import json

import pytest

from builders.filters import FILTERS, make
from builders.filters.cjk import Cjk
from dasd_data.errors import ConfigError, UnknownNameError


def rule(name, made):
    [verdict] = make(name).check([made])
    assert verdict.passed == (verdict.evidence is None)
    return None if verdict.passed else json.loads(verdict.evidence)["rule"]


def test_cjk_fails_from_five_percent(candidate):
    """A model that slips into Chinese is dropped, one quoted character is not."""
    four = candidate(thinking=None, answer="x" * 96 + " 答案答案")
    five = candidate(thinking=None, answer="x" * 95 + " 答案答案答")
    low, high = Cjk().check([four, five])
    assert (low.passed, low.value) == (True, 0.04)
    assert (high.passed, high.value) == (False, 0.05)
    assert json.loads(high.evidence) == {
        "rule": "cjk_share",
        "start": 96,
        "end": 111,
        "excerpt": "答案答案答",
    }
    assert rule("any_cjk", four) == "any_cjk"
    assert rule("any_cjk", candidate()) is None


def test_ideographic_space_is_no_cjk_text(candidate):
    """One page of wide spaces would end the run, or weigh more than all its characters."""
    blank, mixed = candidate(thinking=None, answer="\u3000"), "\u3000" * 9 + "答x"
    assert [(v.passed, v.value) for v in Cjk().check([blank])] == [(True, 0.0)]
    assert [v.value for v in Cjk().check([candidate(thinking=None, answer=mixed)])] == [0.5]


def test_cjk_is_welcome_where_the_question_has_it(candidate):
    """Chinese questions deserve Chinese answers."""
    assert rule("cjk", candidate(question="2 加 2?", answer="答案是四")) is None


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("compressible", {"thinking": "abcdefgh " * 500}, "compressible"),
        ("compressible", {"thinking": "", "answer": ""}, None),
        ("unbalanced", {"answer": "It is $x$ or $y."}, "odd_dollars"),
        ("unbalanced", {"answer": "It is $x$, \\$5 or `$y`."}, None),
        ("unbalanced", {"answer": "So\n```\nx"}, "open_fence"),
        ("refusal", {"answer": "I’m sorry, but I can’t help with that."}, "refusal"),
        ("refusal", {"answer": "I cannot assist."}, "refusal"),
        ("refusal", {"thinking": "I can't help but see 4.", "answer": "4"}, None),
        ("identity", {"answer": "As an AI, I add."}, "identity"),
        ("identity", {"answer": "I am an airline pilot, as an aim."}, None),
        ("secrets", {"answer": "Key: AKIAABCDEFGHIJKLMNOP."}, "secret"),
        ("secrets", {"answer": "Mail jane.doe@corp.org now."}, "email"),
        ("secrets", {"answer": "Mail jane@example.com or a@b."}, None),
        ("several_boxed", {"answer": "\\boxed{\\frac{1}{2}} or \\boxed{3}"}, "several_boxed"),
        ("several_boxed", {"answer": "\\boxed{x = 1}, so \\boxed{x=1}"}, None),
        ("several_boxed", {"answer": "\\boxed{\\{1\\}} \\boxed{2"}, None),
        ("several_boxed", {"answer": "\\boxed {\\{1} or {\\boxed{2}}"}, "several_boxed"),
        ("several_boxed", {"answer": "{a} \\frac{1}{2} is \\boxed{0.5}"}, None),
        ("several_boxed", {"thinking": "\\boxed{1}", "answer": "\\boxed{2}"}, None),
    ],
)
def test_reports(candidate, name, fields, expected):
    """Each report names what it saw and is silent on the near miss."""
    assert rule(name, candidate(**fields)) == expected


def test_frequent_ngram_counts_to_twenty(candidate):
    """Boilerplate that returns 20 times is reported with its count, 19 times is not."""
    phrase = " ".join(f"w{i}" for i in range(20))
    for n, expected in ((19, None), (20, "frequent_ngram")):
        made = candidate(thinking=" ".join(f"{phrase} turn{i}" for i in range(n)))
        assert rule("frequent_ngram", made) == expected
        assert make("frequent_ngram").check([made])[0].value == n


def test_a_loop_that_counts_up_is_reported_only(candidate):
    """`Case 17 fails. Case 18 fails.` may be honest enumeration, so it is never dropped."""
    text = "".join(f"Case {n} fails, go on. " for n in range(10, 60))
    assert rule("masked_run", candidate(thinking=text)) == "masked_run"
    assert rule("repetition", candidate(thinking=text)) is None


def test_the_registry(tmp_path):
    """Default splits ask for exactly the required filters, so the list is part of the contract."""
    assert [name for name, cls in FILTERS.items() if cls.required] == [
        "length",
        "structure",
        "completeness",
        "repetition",
        "cjk",
    ]
    assert all(cls.name == name and cls.__doc__ for name, cls in FILTERS.items())
    made = make("repetition", {"min_bytes": 300, "min_copies": 4})
    assert (made.config.min_bytes, made.config.min_copies) == (300, 4.0)


def test_a_wrong_setting_is_refused_with_the_closest_name():
    """A typing error must not silently leave a threshold at its default."""
    with pytest.raises(UnknownNameError, match="did you mean 'repetition'"):
        make("repetiton")
    with pytest.raises(ConfigError, match="no setting named 'min_byte'; did you mean 'min_bytes'"):
        make("repetition", {"min_byte": 1})
    with pytest.raises(ConfigError, match="min_bytes = '200' must be of type int"):
        make("repetition", {"min_bytes": "200"})
    with pytest.raises(ConfigError, match="boxed = 1 must be of type bool"):
        make("completeness", {"boxed": 1})
    with pytest.raises(ConfigError, match="no setting named 'x'"):
        make("secrets", {"x": 1})
