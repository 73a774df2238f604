import json

import pyarrow.parquet as pq
import pytest

from builders.filters import harmony_ids as h
from builders.filters.base import Candidate
from builders.filters.structure import Structure, StructureConfig
from dasd_data.errors import ConfigError


def rule(candidate, **config):
    [verdict] = Structure(StructureConfig(**config)).check([candidate])
    return None if verdict.passed else json.loads(verdict.evidence)["rule"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"thinking": None}, "no_thinking"),
        ({"thinking": " \n"}, "empty_thinking"),
        ({"answer": ""}, "empty_answer"),
        ({"answer": "Yes.<|end|>"}, "harmony_token"),
        ({"thinking": "analysisWe need 4."}, "harmony_token"),
        ({"thinking": "So it is 4.assistantfinalIt is 4."}, "harmony_token"),
        ({"answer": "Ask the assistant finally. Analysis: We do."}, None),
        ({"answer": "Done.<|im_end|>"}, "chat_token"),
        ({"answer": "In ChatML a turn ends with `<|im_end|>`."}, "chat_token"),
        ({"answer": "Done <｜end▁of▁sentence｜>"}, "chat_token"),
        ({"answer": "<tool_call>\n{}\n</tool_call>"}, "tool_call"),
        ({"thinking": "commentary to=functions.run {}"}, "tool_call"),
        ({"answer": "The norm <|x|> is 3 and a <|b| too."}, None),
        ({"answer": "Now </think> it is 4."}, "stray_tag"),
        ({"thinking": None, "answer": "<think>\nHm.\n</think>\n4"}, "stray_tag"),
        ({"answer": "The tag `</think>` ends it."}, None),
        ({"answer": 'The tag "</think>" ends it, “<think>” starts it.'}, None),
        ({"answer": "So:\n```\n<think>\n```\nDone."}, None),
        ({"answer": "So:\n```\ncode\n```\n<think> Done."}, "stray_tag"),
    ],
)
def test_text_rules(candidate, fields, expected):
    """Each leak is named; quoted tags and ordinary words are no leak."""
    optional = fields.get("thinking", "") is None and expected != "no_thinking"
    thinking = "optional" if optional else "required"
    assert rule(candidate(**fields), thinking=thinking) == expected


def test_evidence_gives_the_place_in_bytes(candidate):
    """A reader cuts the leak out of thinking || answer by these offsets."""
    made = candidate(thinking="é", answer="ab<|end|>c")
    [verdict] = Structure().check([made])
    assert json.loads(verdict.evidence) == {
        "rule": "harmony_token",
        "start": 4,
        "end": 11,
        "excerpt": "<|end|>",
    }
    assert verdict.value == 1
    [verdict] = Structure().check([candidate(thinking="é", answer="ab<think>c")])
    evidence = json.loads(verdict.evidence)
    assert (evidence["rule"], evidence["start"], evidence["end"]) == ("stray_tag", 4, 11)


def test_a_source_without_thinking_passes_where_it_is_optional(candidate):
    """Sources without a thinking section can be kept by configuration only."""
    assert rule(candidate(thinking=None), thinking="optional") is None
    assert rule(candidate(thinking=""), thinking="optional") == "empty_thinking"


def test_an_unknown_value_of_thinking_is_refused():
    """A typing error in dasd.toml must not silently mean `optional`."""
    with pytest.raises(ConfigError, match="'none' is neither of 'required', 'optional'"):
        StructureConfig(thinking="none")


def test_ids_are_judged_beside_the_text(candidate):
    """Tool calls that a server's parser hid in clean text are seen in the ids."""
    head, final = [h.CHANNEL, 35644, h.MESSAGE, 1], [h.CHANNEL, 17196, h.MESSAGE, 2]
    good = [*head, h.END, h.START, h.ASSISTANT, *final, h.RETURN]
    call = [*head, h.END, h.START, h.ASSISTANT, 316, 28, 29010, *head, h.CALL]
    assert rule(candidate(token_ids=good)) is None
    [verdict] = Structure().check([candidate(token_ids=call)])
    assert json.loads(verdict.evidence) == {
        "rule": "tool_call",
        "rules": ["tool_call", "no_final"],
    }
    assert verdict.value == 2


def test_a_dropped_end_token_is_forgiven_where_the_engine_says_stop(candidate):
    """Servers that strip the stop token must not cost the whole data set."""
    ids = [h.CHANNEL, 35644, h.MESSAGE, 1, h.END, h.START, h.ASSISTANT, h.CHANNEL, 17196, h.MESSAGE]
    assert rule(candidate(token_ids=ids)) is None
    assert rule(candidate(token_ids=ids, finish_reason=None)) == "no_return"


def test_real_attempts(shared_data):
    """Of 160 real attempts exactly the 16 without an answer fail."""
    path = shared_data("responses/gptoss_math_attempts.parquet")
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        made = Candidate("", row["problem"], row["reasoning"], row["content"] or "")
        assert rule(made) == (None if row["content"] else "empty_answer")
