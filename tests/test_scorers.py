from __future__ import annotations

import pytest

from dasd_data.errors import ConfigError
from dasd_data.scorers import resolve


def scorer(name, context, number):
    known = dict.fromkeys(("logprobs_mode", "engine", "dtype", "revision"), "x")
    return {
        "scorer_id": f"{number:064}", "name": name, "model": "m", "context": context, "used": True,
        "temperature": 1.0, **known,
    }  # fmt: skip


def test_a_student_that_was_sampled_is_the_one_of_the_training_render():
    """A student's own answers, sampled under its name, would make every view ambiguous."""
    rows = [scorer("student", "sampled_prompt", 1), scorer("student", "training_render", 2)]
    assert resolve("student", {}, rows) == f"{2:064}"
    named = [{**row, "name": "tiny"} for row in rows]
    assert resolve("student", {"student": "tiny"}, named) == f"{2:064}"
    with pytest.raises(ConfigError, match="2 scorers are meant by 'tiny'"):
        resolve("tiny", {}, named)
    with pytest.raises(ConfigError, match="2 scorers are meant by 'teacher'"):
        resolve("teacher", {"teacher": "tiny"}, named)
    with pytest.raises(ConfigError, match="2 scorers are meant by 'student'"):
        resolve("student", {}, [*rows, scorer("student", "training_render", 3)])
