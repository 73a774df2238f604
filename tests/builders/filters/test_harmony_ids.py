import pyarrow.parquet as pq
import pytest

from builders.filters import harmony_ids as h

ANALYSIS, FINAL, COMMENTARY, SPACE_TO, EQUALS, PYTHON, USER = (
    35644, 17196, [12606, 815], 316, 28, 29010, 1428,
)  # fmt: skip
HEAD = [h.CHANNEL, ANALYSIS, h.MESSAGE]
NEXT = [h.START, h.ASSISTANT]
ANSWER = [*NEXT, h.CHANNEL, FINAL, h.MESSAGE, 11, 12]
GOOD = [*HEAD, 1, 2, 3, h.END, *ANSWER, h.RETURN]
CALL = [
    *NEXT,
    h.CHANNEL,
    *COMMENTARY,
    SPACE_TO,
    EQUALS,
    PYTHON,
    h.CONSTRAIN,
    5,
    h.MESSAGE,
    7,
    h.CALL,
]


def test_a_good_completion_has_no_defect():
    """What every later check relies on: analysis, final, return."""
    made = h.read(GOOD)
    assert made.defects == []
    assert [(m.channel, m.n_content, m.closed_by) for m in made.messages] == [
        ("analysis", 3, h.END),
        ("final", 2, h.RETURN),
    ]


@pytest.mark.parametrize(
    ("ids", "defects"),
    [
        (GOOD[:-1], ["no_return"]),
        ([*HEAD, 1, 2], ["no_final", "no_return"]),
        ([h.CHANNEL, FINAL, h.MESSAGE, 1, h.RETURN], ["no_analysis"]),
        ([*HEAD, 1, h.END, *CALL], ["tool_call", "commentary", "no_final", "no_return"]),
        (
            [*HEAD, 1, h.END, *NEXT, SPACE_TO, EQUALS, PYTHON, *HEAD, 7, h.END, *ANSWER, h.RETURN],
            ["tool_call"],
        ),
        ([*HEAD, 1, h.END, *ANSWER[:-1], h.CALL], ["tool_call", "no_return"]),
        ([*HEAD, 1, h.END, *ANSWER, h.END, *ANSWER, h.RETURN], ["several_finals"]),
        ([*HEAD, 1, h.END, *ANSWER, h.END, *NEXT, *HEAD, 2, h.RETURN], ["analysis_after_final"]),
        (
            [*HEAD, 1, h.END, h.START, USER, h.MESSAGE, 4, h.END, *ANSWER, h.RETURN],
            ["foreign_turn"],
        ),
        (
            [*HEAD, 1, h.END, *NEXT, h.CHANNEL, 99, h.MESSAGE, *ANSWER, h.RETURN],
            ["unknown_channel"],
        ),
        ([*NEXT, *GOOD], []),
    ],
)
def test_defects(ids, defects):
    """Each break of the format is named, none is invented."""
    assert h.read(ids).defects == defects


def test_a_tool_message_to_the_assistant_is_no_call():
    """The tool's own reply carries `to=assistant` and must not count as a second call."""
    reply = [
        h.START,
        PYTHON,
        SPACE_TO,
        EQUALS,
        h.ASSISTANT,
        h.CHANNEL,
        ANALYSIS,
        h.MESSAGE,
        1,
        h.END,
    ]
    made = h.read([*HEAD, 1, h.END, *CALL, *reply])
    assert made.n_tool_calls == 1
    assert [m.assistant for m in made.messages] == [True, True, False]


def test_ids_that_start_inside_a_content_are_not_blamed_for_what_is_absent():
    """Releases that keep content ids only, and continued prefixes, have no header to show."""
    assert h.read([1, 2, 3]).defects == []
    assert h.read([1, 2, h.END, *ANSWER, h.RETURN]).defects == []
    assert h.read([1, 2, h.END, *CALL]).defects == ["tool_call", "commentary"]
    assert h.read([]).defects == []


def test_tool_calls_and_finals_of_177_real_traces(shared_data):
    """The counts that the traces' own harness recorded."""
    path = shared_data("responses/gptoss120b_harmony_traces.parquet")
    rows = pq.read_table(path, columns=["tokens", "n_tool_calls", "has_final"]).to_pylist()
    made = [h.read(row["tokens"]) for row in rows]
    assert [m.n_tool_calls for m in made] == [row["n_tool_calls"] for row in rows]
    assert [m.has_final for m in made] == [row["has_final"] for row in rows]
    assert len(rows) == 177
