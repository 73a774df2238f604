"""Two scorers of the same responses, against numpy over the rows of the catalog."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dasd_data
from builders.ingest.stage import ingest
from builders.score.compare import compare
from builders.score.stage import score
from dasd_data.errors import DataError, UnknownNameError


@pytest.fixture
def catalog(tmp_path, jsonl, context, fake_run):
    """Responses under a teacher and two students, one of which lacks some."""
    text = "<think>\nLet me see how many {} are.\nYes, that is it.\n</think>\n\nIt is {}."
    rows = [
        {"prompt": f"Question {i}?", "completion": text.format(i, i), "temperature": i / 10}
        for i in range(6)
    ]
    catalog = dasd_data.create(tmp_path / "dasd.catalog")
    ingest(catalog, [str(jsonl(rows))], context())
    for name, where in (("teacher", None), ("student", None), ("other", "temperature < 0.35")):
        score(catalog, fake_run(name, only_eligible=False, repeat=0, where=where))
    return catalog.refresh()


def values(catalog, name, where="responses.temperature < 0.35"):
    """p of every sentence, and all log-probs, of the responses that all have scored."""
    join = "JOIN scorers USING (scorer_id) JOIN responses USING (response_id)"
    condition = f"WHERE name = '{name}' AND {where} ORDER BY response_id"
    lists = catalog.sql(f"SELECT n_tokens, logprob_sum FROM sentence_scores {join} {condition}")
    p = [
        np.exp(s / n) for counts, sums in lists.fetchall() for n, s in zip(counts, sums, strict=True)
        if n >= 4
    ]  # fmt: skip
    tokens = catalog.sql(f"SELECT logprobs FROM tokens {join} {condition}").fetchall()
    return np.array(p), np.concatenate([row for (row,) in tokens])


def labels(p_teacher, p_student):
    """1 teacher, -1 student, 0 shared, at a beta of 0.1."""
    return np.sign(np.trunc((p_teacher - p_student) * 10)) * (np.abs(p_teacher - p_student) > 0.1)


def test_gaps_and_flips_are_those_of_the_rows(catalog):
    """A lab would take a backend for exact that turns its labels."""
    found = compare(catalog, "student", "other")
    (p_teacher, _), (p, first), (q, second) = (
        values(catalog, name) for name in ("teacher", "student", "other")
    )
    assert (found["responses"], found["sentences"]) == (4, len(p))
    assert found["differ"] == {"model": ["fake-student", "fake-other"]}
    assert found["tokens"] == len(first)
    gaps = np.abs(first.astype(np.float64) - second)
    assert found["mean_gap"] == pytest.approx(gaps.mean(), rel=1e-6)
    assert found["gap_99"] == pytest.approx(np.quantile(gaps, 0.99), rel=1e-6)
    assert found["max_gap"] == pytest.approx(gaps.max(), rel=1e-6)
    assert found["mean_gap_p"] == pytest.approx(np.abs(p - q).mean(), rel=1e-4)
    assert found["max_gap_p"] == pytest.approx(np.abs(p - q).max(), rel=1e-4)
    assert found["shift_p"] == pytest.approx((q - p).mean(), rel=1e-3, abs=1e-8)
    flipped = labels(p_teacher, p) != labels(p_teacher, q)
    assert (found["other"], found["labelled"], found["flips"]) == ("teacher", len(p), flipped.sum())


def test_two_teachers_are_labelled_beside_the_student(catalog):
    """Teacher sentences would be counted as the student's."""
    found = compare(catalog, "teacher", "other")
    (p, _), (q, _), (p_student, _) = (
        values(catalog, name) for name in ("teacher", "other", "student")
    )
    one, two = labels(p, p_student), labels(q, p_student)
    assert found["other"] == "student"
    assert found["flips"] == (one != two).sum()
    assert found["lost_teacher"] == ((one == 1) & (two != 1)).sum()
    assert found["new_teacher"] == ((one != 1) & (two == 1)).sum()


def test_what_cannot_be_compared_is_told(catalog, fake_run):
    """A comparison of nothing would look like agreement."""
    with pytest.raises(UnknownNameError, match="did you mean 'student'"):
        compare(catalog, "studnt", "other")
    score(catalog, fake_run("late", only_eligible=False, repeat=0, where="temperature > 0.35"))
    with pytest.raises(DataError, match="no response is scored by both other and late"):
        compare(catalog.refresh(), "other", "late")


@pytest.mark.slow
def test_the_command_prints_it(catalog, command):
    """A user could not read the gap between two backends."""
    done = command("score", "--compare", "student", "other")
    assert done.returncode == 0, done.stderr
    assert "model: fake-student and fake-other" in done.stderr
    assert "labels beside teacher: " in done.stderr
    found = json.loads(command("score", "--compare", "student", "other", "--json").stdout)
    assert found["responses"] == 4
    missing = command("score", "--name", "x")
    assert (missing.returncode, "missing option --model" in missing.stderr) == (2, True)
