"""Chats as trainers read them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dasd_data.render import render


@pytest.mark.parametrize("system", [None, "", "Be kind."])
def test_every_row_is_a_chat_and_its_two_parts(system):
    """A turn would be of another row, or of another role."""
    questions, answers = ["q1", "q2 é", ""], ["a1", "", None]
    found = render(pa.array(questions), pa.array(answers, pa.string()), system)
    found.validate(full=True)
    first = [] if system is None else [{"role": "system", "content": system}]
    assert found.to_pylist() == [
        {
            "messages": [*first, user, assistant],
            "prompt": [*first, user],
            "completion": [assistant],
        }
        for user, assistant in (
            ({"role": "user", "content": q}, {"role": "assistant", "content": a})
            for q, a in zip(questions, answers, strict=True)
        )
    ]


def test_parts_of_longer_arrays_are_rendered_as_they_stand():
    """Slices, which Arrow cuts without copying, would give the texts of other rows."""
    questions, answers = pa.array(["no", "q1", "q2"])[1:], pa.array(["no", "no", "a1", "a2"])[2:]
    assert [r["messages"][1]["content"] for r in render(questions, answers, None).to_pylist()] == [
        "a1",
        "a2",
    ]
