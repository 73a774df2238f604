"""The robustness card: how the chosen set moves, on catalogs whose numbers can be worked by hand."""

from __future__ import annotations

import json
import math

import pytest

from dasd_data import robustness
from dasd_data.build import build
from dasd_data.errors import DamagedFileError
from dasd_data.robustness import measure

# Question A: two sentences that differ by .4 against three that differ by .15. Question B: one.
WIDE = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.5), (6, 0.9)]}
NARROW = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.75)] * 3}


@pytest.fixture
def catalog(made, response):
    """Two questions in two domains; the first has two candidates, the wide one the longer."""
    return made(
        response("wide", question="A", answer="A longer answer.", scores=WIDE),
        response("narrow", question="A", scores=NARROW),
        response("alone", question="B", domain="code", scores=WIDE),
    )


def wavering(i):
    """Scores of four sentences on either side of the default beta."""
    ps = [0.81 if (i + j) % 2 else 0.79 for j in range(4)]
    return {"teacher": [(6, 0.9)] * 4, "student": [(6, p) for p in ps]}


def rows(catalog, view="low_t_das", mode="full", **settings):
    """Rows of the card by what varies and to what."""
    report = measure(catalog, catalog.find_view(view), settings, mode)
    return {(row["varied"], row["to"]): row for row in report["rows"]}


def test_a_row_compares_the_choice_with_that_of_the_build(catalog):
    """Overlaps would be of other sets than the split."""
    found = rows(catalog)
    wide = found["beta", "0.2"]  # narrow has no Teacher sentence left
    assert (wide["questions"], wide["base"], wide["chosen"], wide["common"]) == (2, 2, 2, 1)
    assert (wide["kept"], wide["jaccard"]) == (0.5, 0.3333)
    assert wide["domains"]["math"]["kept"] == 0.0
    assert wide["domains"]["code"]["kept"] == 1.0
    assert found["beta", "0.05"]["kept"] == 1.0
    assert ("beta", "0.1") not in found  # that is the build
    assert found["rank_by", "length"]["kept"] == 0.5
    assert found["min_tokens", "8"]["chosen"] == 0
    assert found["min_tokens", "8"]["jaccard"] == 0.0


def test_a_row_is_what_a_build_with_that_setting_chooses(catalog):
    """The card could not be checked with the command itself."""
    base = {
        r["response_id"]
        for r in catalog.sql("FROM selection", temperature=0.6, min_tokens=1)
        .to_arrow_table()
        .to_pylist()
    }
    found = rows(catalog)
    for setting in ({"beta": 0.2}, {"beta": 0.05}, {"rank_by": "random"}, {"tie_seed": 44}):
        query = catalog.sql("FROM selection", **{"temperature": 0.6, "min_tokens": 1, **setting})
        chosen = {r["response_id"] for r in query.to_arrow_table().to_pylist()}
        ((name, value),) = setting.items()
        key = ("ties", "tie_seed=44") if name == "tie_seed" else (name, f"{value}")
        assert found[key]["common"] == len(base & chosen)


def test_ties_are_told_from_preferences(made, response):
    """An order among equals would be taken for a choice."""
    scores = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}
    tied = [response(f"{q}{i}", question=f"Q{q}", scores=scores) for q in range(40) for i in (0, 1)]
    found = rows(made(*tied))
    for seed in (43, 44):
        assert 0.2 < found["ties", f"tie_seed={seed}"]["kept"] < 0.8
    assert found["beta", "0.2"]["kept"] == 1.0


def test_what_cannot_be_measured_says_what_to_run(catalog):
    """A missing row would read as a row without movement."""
    found = rows(catalog)
    commands = {varied: row["command"] for (varied, to), row in found.items() if to is None}
    assert set(commands) == {"noise", "segmenter", "template", "second student"}
    assert commands["segmenter"] == "dasd-data segment --segmenter lines"
    assert commands["noise"].startswith("dasd-data score --model student-model --name student")


def test_noise_is_that_of_scoring_twice(catalog, append):
    """A label decided by the engine's rounding would count like any other."""
    sums = [6 * math.log(p) for p in (0.5, 0.5, 0.9)]
    again = [sums[0] + 6 * math.log(1.7), *sums[1:]]  # .5 became .85: within beta of .9
    repeat = {
        "response_id": "wide",
        "scorer_id": "id-of-student",
        "segmentation_id": "seg-1:[1, 2, 22]",
        "n_tokens": [6, 6, 6],
        "logprob_sum": again,
    }
    append(catalog, "repeat_scores", [repeat])
    report = measure(catalog.refresh(), catalog.find_view("low_t_das"), {}, "full")
    (noise,) = report["noise"]
    assert (noise["scorer"], noise["responses"], noise["sentences"]) == ("student", 1, 3)
    assert noise["flips"] == 1
    assert noise["max_p"] == pytest.approx(0.35, abs=1e-5)
    assert noise["sd_p"] == pytest.approx(0.35 / math.sqrt(3), abs=1e-5)
    # (6 ln 1.7)^2 / 6 over three sentences
    assert noise["sd_logprob"] == pytest.approx(math.log(1.7) * math.sqrt(2), rel=1e-4)
    (row,) = [row for row in report["rows"] if row["varied"] == "noise"]
    assert row["base"] == 2
    again = measure(catalog, catalog.find_view("low_t_das"), {}, "full")
    assert again == report  # the noise is seeded


def test_noise_moves_the_choice_where_it_is_large(made, response, append):
    """An engine whose noise decides the selection would look exact."""

    pool = [
        response(f"{q:02}-{i}", question=f"Q{q}", scores=wavering(i * q))
        for q in range(30)
        for i in (0, 1)
    ]
    kept = []
    for shift in (0.0, 1.0):
        repeat = {
            "response_id": "00-0",
            "scorer_id": "id-of-student",
            "segmentation_id": "seg-1:[1, 2, 3, 13]",
            "n_tokens": [6] * 4,
            "logprob_sum": [6 * math.log(0.79) + shift] * 4
            if shift
            else [6 * math.log(p) for _, p in wavering(0)["student"]],
        }
        noisy = made(*pool, name=f"noisy-{shift}.catalog")
        append(noisy, "repeat_scores", [repeat])
        found = rows(noisy.refresh())
        kept.append(next(row["kept"] for (name, _), row in found.items() if name == "noise"))
    assert kept[0] == 1.0
    assert kept[1] < 0.9


def test_noise_is_the_same_however_the_rows_were_written(made, response, add, append):
    """Two sentence cuts of a response come in the order of their files: the card would move."""
    pool = [
        response(f"{q:02}-{i}", question=f"Q{q}", scores=wavering(i * q))
        for q in range(12)
        for i in (0, 1)
    ]
    repeat = {
        "response_id": "00-0",
        "scorer_id": "id-of-student",
        "segmentation_id": "seg-1:[1, 2, 3, 13]",
        "n_tokens": [6] * 4,
        "logprob_sum": [6 * math.log(0.79) + 1.0] * 4,
    }
    reports = []
    for name, parts in (("whole", [pool]), ("parts", [pool[n::6] for n in range(6)])):
        catalog = made(name=f"{name}.catalog")
        for part in parts:
            add(catalog, *part)
            add(catalog, *part, segmenter="lines-1", run_id="other")
        append(catalog, "repeat_scores", [repeat])
        report = measure(catalog.refresh(), catalog.find_view("low_t_das"), {}, "full")
        (row,) = [row for row in report["rows"] if row["varied"] == "noise"]
        reports.append((row, report["noise"]))
    assert reports[0] == reports[1]


def test_another_student_is_compared_on_the_questions_that_it_scored(
    catalog, add, response, append
):
    """A trial on some questions would look like a student that chooses nothing else."""
    scored = {
        "scorer_id": "id-of-other",
        "name": "other",
        "model": "other-model",
        "logprobs_mode": "raw_logprobs",
        "temperature": 1.0,
    }
    append(catalog, "scorers", [scored])
    other = [
        {
            "response_id": name,
            "scorer_id": "id-of-other",
            "segmentation_id": f"seg-1:[1, 2, {end}]",
            "n_tokens": [6, 6, 6],
            "logprob_sum": [6 * math.log(p)] * 3,
        }
        for name, end, p in (("wide", 22, 0.5), ("narrow", 13, 0.9))
    ]
    append(catalog, "sentence_scores", other)
    row = rows(catalog.refresh())["second student", "other-model"]
    assert (row["questions"], row["base"], row["common"]) == (1, 1, 0)
    assert rows(catalog)["beta", "0.05"]["questions"] == 2


def test_another_template_is_the_same_student(catalog, append):
    """A prompt's effect would be taken for another model's."""
    prompted = {
        "scorer_id": "id-of-prompted",
        "name": "prompted",
        "model": "student-model",
        "logprobs_mode": "raw_logprobs",
        "temperature": 1.0,
        "system_prompt": "Be kind.",
    }
    append(catalog, "scorers", [prompted])
    alone = {
        "response_id": "alone",
        "scorer_id": "id-of-prompted",
        "segmentation_id": "seg-1:[1, 2, 13]",
        "n_tokens": [6, 6, 6],
        "logprob_sum": [-1.0] * 3,
    }
    append(catalog, "sentence_scores", [alone])
    row = rows(catalog.refresh())["template", "system prompt 'Be kind.', template None"]
    assert (row["questions"], row["kept"]) == (1, 1.0)


def test_another_segmenters_sentences_are_compared(catalog, append):
    """How far the choice depends on the cutting of sentences would stay unknown."""
    whole = [
        {
            "response_id": name,
            "segmenter": "lines-1",
            "segmentation_id": f"lines-{name}",
            "byte_end": [end],
            "kind": [0],
            "section": [0],
        }
        for name, end in (("wide", 22), ("narrow", 13))
    ]
    append(catalog, "sentences", whole)
    sums = [
        {
            "response_id": name,
            "scorer_id": f"id-of-{scorer}",
            "segmentation_id": f"lines-{name}",
            "n_tokens": [18],
            "logprob_sum": [18 * math.log(p)],
        }
        for name, scorer, p in (
            ("wide", "teacher", 0.9),
            ("wide", "student", 0.5),
            ("narrow", "teacher", 0.9),
            ("narrow", "student", 0.85),
        )
    ]
    append(catalog, "sentence_scores", sums)
    row = rows(catalog.refresh())["segmenter", "lines-1"]
    assert (row["questions"], row["base"], row["common"]) == (1, 1, 0)


def test_fast_takes_a_seeded_sample_with_budgets_in_proportion(made, response, monkeypatch):
    """A card over millions of questions would cost more than the build."""
    monkeypatch.setattr(robustness, "SAMPLE", 10)
    scores = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}
    catalog = made(*(response(f"r{i}", question=f"Q{i}", scores=scores) for i in range(40)))
    view = catalog.find_view("low_t_das")
    report = measure(catalog, view, {"budget": {"math": 20}}, "fast")
    assert (report["questions"], report["of"]) == (10, 40)
    assert {row["base"] for row in report["rows"] if "base" in row} == {5}
    assert measure(catalog, view, {"budget": {"math": 20}}, "full")["rows"][0]["base"] == 20


def test_a_random_split_has_no_thresholds_to_vary(catalog):
    """Rows that say nothing would fill the card."""
    varied = {name for name, _ in rows(catalog, "low_t_rs")}
    assert varied == {"ties", "rank_by"}


def test_the_card_changes_neither_rows_nor_id(catalog, tmp_path):
    """A build could not be compared with one of another card."""
    built = {
        mode: build(catalog, "low_t_das", out=tmp_path / mode, robustness=mode)
        for mode in ("full", "fast", "off")
    }
    assert len({made.build_id for made in built.values()}) == 1
    assert len({made.manifest["shards"][0]["sha256"] for made in built.values()}) == 1
    assert built["off"].manifest["robustness"] is None
    assert "## Robustness" not in (built["off"].path / "README.md").read_text()
    card = (built["fast"].path / "README.md").read_text()
    assert "| beta | 0.2 | 2 | 2 | 1 | 50.0% | 0.333 | code 100%, math 0% |" in card
    assert "- **beta**: " in card


def test_a_build_gets_the_card_that_is_asked_for_later(catalog, append):
    """What the card says to run would never come to stand in it."""
    first = build(catalog, "low_t_das", robustness="off")
    (shard,) = (first.path / "data").iterdir()
    written = shard.stat().st_mtime_ns

    def card(mode):
        made = build(catalog.refresh(), "low_t_das", robustness=mode)
        assert made.build_id == first.build_id
        assert made.path == first.path
        assert shard.stat().st_mtime_ns == written
        manifest = json.loads((made.path / "manifest.json").read_text())
        assert manifest == made.manifest
        assert sorted(p.name for p in made.path.iterdir()) == ["README.md", "data", "manifest.json"]
        return made.unchanged, (made.path / "README.md").read_text()

    assert card("off")[0]
    unchanged, text = card("full")
    assert not unchanged
    assert "## Robustness" in text
    assert "scored 3 responses twice" not in text
    assert card("full") == (True, text)
    columns = "response_id, scorer_id, segmentation_id, n_tokens, logprob_sum, run_id"
    scored = catalog.sql(f"SELECT {columns} FROM sentence_scores WHERE scorer_id LIKE '%student'")
    append(catalog, "repeat_scores", scored.to_arrow_table().to_pylist())
    unchanged, text = card("full")
    assert not unchanged
    assert "scored 3 responses twice" in text
    assert "## Robustness" not in card("off")[1]
    assert catalog.refresh().sql("FROM builds").to_arrow_table().num_rows == 1


def test_damaged_repeats_stop_the_card(catalog, append):
    """The noise would be that of a failing disk."""
    repeat = {"response_id": "wide", "scorer_id": "id-of-student", "n_tokens": [6] * 3}
    repeat |= {"segmentation_id": "seg-1:[1, 2, 22]", "logprob_sum": [-1.0] * 3}
    append(catalog, "repeat_scores", [repeat])
    (path,) = catalog.refresh().files["repeat_scores"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=path.name):
        build(catalog, "low_t_das")


@pytest.mark.parametrize(
    ("teacher", "student", "candidates", "warning"),
    [
        (0.9, 0.5, 1, "the median question has one candidate"),
        (0.5, 0.9, 2, "only 0.0% of the pool's sentences are Teacher sentences"),
        (0.9, 0.85, 2, "100.0% of the pool's sentences are shared"),
    ],
)
def test_a_selection_that_is_not_worth_its_cost_is_warned_of(
    made, response, teacher, student, candidates, warning
):
    """Hours of scoring would go into a choice that is no choice."""
    scores = {"teacher": [(6, teacher)], "student": [(6, student)]}
    catalog = made(
        *(
            response(f"{q}-{i}", question=f"Q{q}", scores=scores)
            for q in range(3)
            for i in range(candidates)
        )
    )
    assert any(warning in w for w in build(catalog, "low_t_das", dry_run=True).warnings)
    assert build(catalog, "low_t_rs", dry_run=True).warnings == []


def test_choosing_the_longest_is_warned_of_where_it_gives_the_same(made, response):
    """A cheaper way to the same rows would go unseen."""
    catalog = made(
        *(
            response(
                f"{q}-{i}",
                question=f"Q{q}",
                answer="x" * (10 + i),
                scores={"teacher": [(6, 0.9)] * (i + 1), "student": [(6, 0.5)] * (i + 1)},
            )
            for q in range(20)
            for i in range(3)
        )
    )
    (warning,) = build(catalog, "low_t_das", dry_run=True).warnings
    assert warning.startswith("choosing the longest gives 100.0% of the same rows")
