"""The shipped SQL: tiny rows in, exact rows out."""

from __future__ import annotations

import itertools
import math

import duckdb
import pytest

from dasd_data import sqlfiles
from dasd_data.errors import ConfigError, UnknownNameError

SURE, LOW = 0.9, 0.5  # the teacher's p and the student's: a Teacher sentence


def scores(teacher, student, tokens=6):
    """One sentence per value of p, of `tokens` tokens each."""
    return {
        "teacher": [(tokens, p) for p in teacher],
        "student": [(tokens, p) for p in student],
    }


def ids(catalog, view, **settings):
    """Ids that a split chooses, in its own order."""
    file = catalog.find_view(view)
    session = catalog.session(file, settings)
    return [row["response_id"] for row in session.rows(file.sql)]


def test_every_column_of_a_base_view_says_what_it_means(made, response):
    """A researcher would guess what `place` or `reached` is."""
    catalog = made(response("a", scores=scores([SURE], [LOW])))
    for view in sqlfiles.base_views():
        about = {name: comment for name, _, comment in catalog.describe(view.name)}
        assert all(about.values()), (view.name, [n for n, comment in about.items() if not comment])
        assert view.columns.keys() <= about.keys(), view.name
    assert {n: c for n, _, c in catalog.describe("sentence_pairs")}[
        "section"
    ] == "thinking or answer"


def test_p_is_the_geometric_mean_and_null_without_tokens(made, response):
    """A researcher would read wrong probabilities off every sentence."""
    catalog = made(response("a", scores={"teacher": [(2, 0.25), (0, 1.0)]}))
    rows = catalog.sql("SELECT n_tokens, logprob_sum, p FROM sentences_flat").fetchall()
    assert rows[0][0] == 2
    assert rows[0][1] == pytest.approx(2 * math.log(0.25))
    assert rows[0][2] == pytest.approx(0.25)
    assert rows[1] == (0, 0.0, None)


def test_flat_rows_are_aligned_with_their_spans_sections_and_kinds(made, response):
    """A sentence's probability would stand beside another sentence's text."""
    made_rows = made(
        response(
            "a",
            thinking="One. Two.",
            answer="Drei.",
            scores={"teacher": [(3, 0.5), (4, 0.25), (5, 0.125)]},
            byte_end=[5, 9, 14],
            section=[0, 0, 1],
        )
    )
    rows = made_rows.sql(
        "SELECT sentence_index, section, byte_start, byte_end, n_tokens, round(p, 6),"
        " sentence_text(thinking, answer, byte_start, byte_end)"
        " FROM sentences_flat JOIN responses USING (response_id) ORDER BY sentence_index"
    ).fetchall()
    assert rows == [
        (0, "thinking", 0, 5, 3, 0.5, "One. "),
        (1, "thinking", 5, 9, 4, 0.25, "Two."),
        (2, "answer", 9, 14, 5, 0.125, "Drei."),
    ]


def test_sentence_text_is_cut_by_bytes_not_characters(made, response):
    """Text after an emoji would be shifted."""
    catalog = made(
        response(
            "a",
            thinking="é😀. ",
            answer="好。",
            scores={"teacher": [(1, 1), (1, 1)]},
            byte_end=[8, 14],
        )
    )
    rows = catalog.sql(
        "SELECT sentence_text(thinking, answer, byte_start, byte_end)"
        " FROM sentences_flat JOIN responses USING (response_id) ORDER BY sentence_index"
    ).fetchall()
    assert rows == [("é😀. ",), ("好。",)]


@pytest.mark.parametrize(
    ("p_teacher", "p_student", "label"),
    [(0.9, 0.5, "teacher"), (0.5, 0.9, "student"), (0.5, 0.45, "shared"), (0.5, 0.375, "teacher")],
)
def test_label_over_two_models(made, response, p_teacher, p_student, label):
    """Every count of Teacher sentences would be wrong (arXiv 2512.20908, beta = 0.1)."""
    catalog = made(response("a", scores=scores([p_teacher], [p_student])))
    assert catalog.sql("SELECT label FROM sentence_pairs").fetchall() == [(label,)]


def test_beta_changes_the_label_in_the_query_not_in_the_data(made, response):
    """A threshold could not be explored without rebuilding the catalog."""
    catalog = made(response("a", scores=scores([0.7], [0.5])))
    assert catalog.sql("SELECT label FROM sentence_pairs", beta=0.3).fetchall() == [("shared",)]
    assert catalog.sql("SELECT label FROM sentence_pairs").fetchall() == [("teacher",)]


@pytest.mark.parametrize(
    ("teacher", "student", "distilled", "label"),
    [
        (0.9, 0.85, 0.88, "shared"),
        (0.9, 0.5, 0.8, "teacher"),
        (0.5, 0.9, 0.8, "student"),
        (0.5, 0.5, 0.9, "boosted"),
    ],
)
def test_label_over_three_models(made, response, teacher, student, distilled, label):
    """A distilled model's own sentences could not be told from its parents'."""
    three = {"teacher": [(6, teacher)], "student": [(6, student)], "distilled": [(6, distilled)]}
    catalog = made(response("a", scores=three))
    rows = catalog.sql("SELECT label FROM sentence_pairs", distilled="distilled").fetchall()
    assert rows == [(label,)]


def test_sentences_without_tokens_under_one_model_are_in_no_count(made, response):
    """A model that covers the thinking only would count every answer as divergent."""
    catalog = made(
        response(
            "a",
            scores={
                "teacher": [(6, SURE), (6, SURE), (6, SURE)],
                "student": [(6, LOW), (6, SURE), (0, 1.0)],
            },
        )
    )
    columns = "n_sentences, teacher_count, shared_count, teacher_share, n_tokens_teacher"
    assert catalog.sql(f"SELECT {columns} FROM responses_scored").fetchall() == [(2, 1, 1, 0.5, 12)]


def test_short_sentences_do_not_count_below_min_tokens(made, response):
    """Labels of three-token sentences are noise; the default leaves them out."""
    catalog = made(
        response("a", scores={"teacher": [(3, SURE), (6, SURE)], "student": [(9, LOW), (6, LOW)]})
    )
    query = "SELECT teacher_count, n_sentences FROM responses_scored"
    assert catalog.sql(query).fetchall() == [(1, 1)]
    assert catalog.sql(query, min_tokens=1).fetchall() == [(2, 2)]


def test_mean_difference_and_probabilities(made, response):
    """Ranking by these values would follow another quantity."""
    catalog = made(
        response("a", scores={"teacher": [(4, 0.5), (8, 0.25)], "student": [(4, 0.25), (4, 0.25)]})
    )
    row = catalog.sql(
        "SELECT mean_difference, teacher_probability, student_probability FROM responses_scored"
    ).fetchall()[0]
    assert row[0] == pytest.approx((0.25 + 0.0) / 2, abs=1e-9)
    assert row[1] == pytest.approx(
        math.exp((4 * math.log(0.5) + 8 * math.log(0.25)) / 12), abs=1e-6
    )
    assert row[2] == pytest.approx(0.25, abs=1e-6)


def test_teacher_count_resid_is_the_residual_of_least_squares_within_a_domain(made, response):
    """Length would still decide a ranking that claims to be free of it."""
    import numpy as np

    shapes = [(1, 4), (2, 5), (2, 9), (5, 12)]  # Teacher sentences, sentences
    catalog = made(
        *(
            response(
                f"r{i}",
                question=f"q{i}",
                scores=scores([SURE] * n, [LOW] * t + [SURE] * (n - t)),
            )
            for i, (t, n) in enumerate(shapes)
        ),
        response("other", question="o", domain="code", scores=scores([SURE], [LOW])),
    )
    rows = dict(
        catalog.sql("SELECT response_id, teacher_count_resid FROM responses_scored").fetchall()
    )
    counts = np.array([t for t, _ in shapes], float)
    lengths = np.array([6 * n for _, n in shapes], float)
    slope, intercept = np.polyfit(lengths, counts, 1)
    for i, residual in enumerate(counts - (slope * lengths + intercept)):
        assert rows[f"r{i}"] == pytest.approx(residual, abs=1e-8)
    assert rows["other"] == 0


def test_das_keeps_the_candidate_with_most_teacher_sentences(made, response):
    """The product's main promise: DAS would choose something else."""
    catalog = made(
        response("a1", question="A", scores=scores([SURE] * 3, [LOW, SURE, SURE])),
        response("a2", question="A", scores=scores([SURE] * 3, [LOW, LOW, SURE])),
        response("a3", question="A", temperature=1.0, scores=scores([SURE] * 3, [LOW] * 3)),
        response("b1", question="B", scores=scores([SURE] * 2, [SURE] * 2)),
    )
    assert ids(catalog, "low_t_das") == ["a2", "b1"]
    assert ids(catalog, "high_t_das") == ["a3"]
    assert ids(catalog, "low_t_das", keep=2) == ["a1", "a2", "b1"]


@pytest.mark.parametrize(
    ("rank_by", "chosen"),
    [
        ("teacher_count", "many"),
        ("teacher_share", "dense"),
        ("mean_difference", "dense"),
        ("length", "long"),
        ("student_probability", "easy"),
    ],
)
def test_each_rank_by_prefers_its_own_candidate(made, response, rank_by, chosen):
    """A ranking would silently be another one."""
    catalog = made(
        response("many", scores=scores([SURE] * 8, [LOW] * 4 + [SURE] * 4)),
        response("dense", scores=scores([SURE] * 2, [0.1] * 2)),
        response("long", answer="x" * 99, scores=scores([SURE] * 9, [SURE] * 8 + [LOW])),
        response("easy", scores=scores([0.95], [0.97])),
    )
    assert ids(catalog, "low_t_das", rank_by=rank_by) == [chosen]


def test_rs_and_das_take_the_same_questions_under_a_budget(made, response):
    """The comparison would be of easier or longer questions instead of candidates."""
    catalog = made(
        *(
            response(
                f"{q}{c}", question=f"Q{q}", scores=scores([SURE] * 4, [LOW] * c + [SURE] * (4 - c))
            )
            for q in range(12)
            for c in range(3)
        )
    )

    def questions(view):
        return {r[:-1] for r in ids(catalog, view, budget={"math": 5})}

    assert len(questions("low_t_das")) == 5
    assert questions("low_t_das") == questions("low_t_rs")
    assert all(r.endswith("2") for r in ids(catalog, "low_t_das", budget={"math": 5}))
    assert not all(r.endswith("2") for r in ids(catalog, "low_t_rs"))


def test_another_seed_makes_other_random_choices_and_the_same_seed_the_same(made, response):
    """A random split could not be repeated, or would be the same for every seed."""
    catalog = made(
        *(
            response(f"{q}{c}", question=f"Q{q}", scores=scores([SURE], [LOW]))
            for q in range(12)
            for c in "abcd"
        )
    )
    assert ids(catalog, "low_t_rs") == ids(catalog, "low_t_rs")
    assert ids(catalog, "low_t_rs", seed=1) != ids(catalog, "low_t_rs")


def test_scope_pool_ranks_across_questions(made, response):
    """`scope` would have no effect."""
    catalog = made(
        *(
            response(
                f"r{n}", question=f"Q{n}", scores=scores([SURE] * 5, [LOW] * n + [SURE] * (5 - n))
            )
            for n in range(5)
        )
    )
    assert ids(catalog, "low_t_das", scope="pool", budget={"math": 2}) == ["r3", "r4"]


def test_budgets_are_per_domain_and_unnamed_domains_keep_theirs(made, response):
    """A budget for one domain would change the others, or cap them together."""
    catalog = made(
        *(
            response(
                f"{domain}{n}", question=f"{domain}{n}", domain=domain, scores=scores([SURE], [LOW])
            )
            for domain in ("math", "code")
            for n in range(3)
        ),
        response("none", question="no domain", domain=None, scores=scores([SURE], [LOW])),
    )
    chosen = ids(catalog, "low_t_das", budget={"math": 1})
    assert [r[:4] for r in chosen] == ["code", "code", "code", "math"]
    assert "none" in ids(catalog, "low_t_das", budget={"other": 1})


def test_only_responses_that_passed_every_required_filter_are_eligible(made, response):
    """A rejected or never filtered response would be trained on."""
    passed = dict.fromkeys(["length", "structure", "completeness", "repetition", "cjk"], True)
    catalog = made(
        response("ok", question="1", scores=scores([SURE], [LOW])),
        response(
            "bad", question="2", passed={**passed, "structure": False}, scores=scores([SURE], [LOW])
        ),
        response("missing", question="3", passed={"length": True}, scores=scores([SURE], [LOW])),
    )
    assert ids(catalog, "low_t_das") == ["ok"]
    assert ids(catalog, "low_t_das", required_filters=["length"]) == ["bad", "missing", "ok"]
    assert ids(catalog, "low_t_das", required_filters=[]) == ["bad", "missing", "ok"]


def test_a_flag_of_an_older_version_does_not_pass(made, response, add):
    """A filter that was made stricter would go on passing what it no longer would."""
    from datetime import UTC, datetime

    catalog = made(
        response("a", question="1", scores=scores([SURE], [LOW])),
        response("b", question="2", scores=scores([SURE], [LOW])),
    )
    only_a = response("a", question="1", scores={})
    add(
        catalog,
        only_a,
        run_id="later",
        filter_version="2",
        started_at=datetime(2026, 2, 1, tzinfo=UTC),
    )
    assert ids(catalog.refresh(), "low_t_das") == ["a"]


def test_filter_after_restores_the_papers_order(made, response):
    """Selecting before filtering loses the question; filtering first takes its next candidate."""
    failed = dict.fromkeys(["length", "structure", "completeness", "repetition", "cjk"], False)
    catalog = made(
        response("best", passed=failed, scores=scores([SURE] * 2, [LOW] * 2)),
        response("next", scores=scores([SURE] * 2, [LOW, SURE])),
    )
    assert ids(catalog, "low_t_das") == ["next"]
    assert ids(catalog, "low_t_das", filter_after=True) == []


def test_unscored_responses_are_chosen_only_where_scores_are_not_required(made, response):
    """RS and DAS would see different pools."""
    catalog = made(
        response("scored", question="1", scores=scores([SURE], [LOW])),
        response("unscored", question="2", scores={"teacher": [(6, SURE)]}),
    )
    assert ids(catalog, "low_t_rs") == ["scored"]
    assert ids(catalog, "low_t_rs", require_scores=False) == ["scored", "unscored"]


def test_random_sampling_works_before_the_student_has_scored(made, response):
    """A first training run would need a student pass that it does not use."""
    catalog = made(response("a", scores={"teacher": [(6, SURE)]}))
    assert ids(catalog, "low_t_rs", require_scores=False) == ["a"]


def test_min_candidates_leaves_out_questions_with_fewer(made, response):
    """DAS within questions does nothing where there is one candidate."""
    catalog = made(
        response("a1", question="A", scores=scores([SURE], [LOW])),
        response("b1", question="B", scores=scores([SURE], [LOW])),
        response("b2", question="B", scores=scores([SURE], [SURE])),
    )
    assert ids(catalog, "low_t_das", min_candidates=2) == ["b1"]


def test_two_students_are_told_apart_by_name(made, response):
    """A second student's scores would mix with the first's."""
    catalog = made(
        response(
            "a",
            scores={"teacher": [(6, 0.9)], "student": [(6, 0.5)], "student-b": [(6, 0.85)]},
        )
    )
    query = "SELECT label FROM sentence_pairs"
    assert catalog.sql(query).fetchall() == [("teacher",)]
    assert catalog.sql(query, student="student-b").fetchall() == [("shared",)]
    assert catalog.sql(query, student="student-b-model").fetchall() == [("shared",)]


def test_two_segmenter_versions_do_not_mix(made, response, add):
    """Sentences of an old segmenter would be counted twice."""
    from datetime import UTC, datetime

    catalog = made(response("a", scores=scores([SURE] * 2, [LOW] * 2)))
    again = response("a", scores=scores([SURE] * 3, [LOW] * 3))
    add(
        catalog,
        again,
        run_id="later",
        segmenter="seg-2",
        started_at=datetime(2026, 2, 1, tzinfo=UTC),
    )
    catalog.refresh()
    query = "SELECT teacher_count FROM responses_scored"
    assert catalog.sql(query).fetchall() == [(3,)]
    assert catalog.sql(query, segmenter="seg-1").fetchall() == [(2,)]


def test_an_ambiguous_scorer_is_an_error_that_lists_the_candidates(made, response, append):
    """One of two teachers would be used without a word."""
    catalog = made(response("a", scores={**scores([SURE], [LOW]), "second": [(6, LOW)]}))
    second = {"scorer_id": "id-of-second", "name": "teacher", "model": "other"}
    append(catalog, "scorers", [second])
    with pytest.raises(
        duckdb.Error, match="2 scorers are meant by 'teacher': id-of-second.*id-of-teache"
    ):
        catalog.refresh().sql("SELECT label FROM sentence_pairs").fetchall()
    query = "SELECT label FROM sentence_pairs"
    assert catalog.sql(query, teacher="id-of-teacher").fetchall() == [("teacher",)]
    assert catalog.sql(query, teacher="id-of-second").fetchall() == [("shared",)]


def test_an_unknown_scorer_names_the_closest_one(made, response):
    """A typing error would give an empty result."""
    catalog = made(response("a", scores=scores([SURE], [LOW])))
    with pytest.raises(UnknownNameError, match="no scorer named 'studnt'; did you mean 'student'"):
        catalog.sql("SELECT 1", student="studnt")


def test_an_unknown_parameter_or_value_names_the_closest_one(made, response):
    """A misspelt parameter would be ignored."""
    catalog = made(response("a"))
    with pytest.raises(UnknownNameError, match="no parameter named 'betta'; did you mean 'beta'"):
        catalog.sql("SELECT 1", betta=0.1)
    with pytest.raises(
        UnknownNameError, match="rank_by named 'teacher_cout'; did you mean 'teacher_c"
    ):
        catalog.sql("SELECT 1", rank_by="teacher_cout")
    with pytest.raises(ConfigError, match="beta: 2.0 is above 1"):
        catalog.sql("SELECT 1", beta=2)


def test_the_funnel_counts_what_each_condition_leaves(made, response):
    """A shrinking split could not be explained."""
    failed = dict.fromkeys(["length", "structure", "completeness", "repetition", "cjk"], False)
    catalog = made(
        response("a1", question="A", scores=scores([SURE], [LOW])),
        response("a2", question="A", scores=scores([SURE], [SURE])),
        response("hot", question="B", temperature=1.0, scores=scores([SURE], [LOW])),
        response("failed", question="C", passed=failed, scores=scores([SURE], [LOW])),
        response("unscored", question="D", scores={"teacher": [(6, SURE)]}),
        response("own", question="E", policy="student", scores=scores([SURE], [LOW])),
        response("code", question="F", domain="code", scores=scores([SURE], [LOW])),
    )
    settings = {"temperature": 0.6, "budget": {"math": 9}}
    rows = catalog.sql(
        "SELECT condition, responses, questions FROM funnel ORDER BY step", **settings
    ).fetchall()
    assert rows == [
        ("responses", 7, 6),
        ("sampled by the teacher", 6, 5),
        ("sampled at temperature 0.6", 5, 4),
        ("passed filter cjk (version 1)", 4, 3),
        ("passed filter completeness (version 1)", 4, 3),
        ("passed filter length (version 1)", 4, 3),
        ("passed filter repetition (version 1)", 4, 3),
        ("passed filter structure (version 1)", 4, 3),
        ("scored by the teacher", 4, 3),
        ("scored by the student", 3, 2),
        ("with a sentence of min_tokens (4) or more under both", 3, 2),
        ("in a domain with a budget", 2, 1),
        ("among the best 1 of its question", 1, 1),
        ("within the budget of its domain", 1, 1),
    ]
    parts = catalog.sql("SELECT parts FROM funnel ORDER BY step", **settings).fetchall()
    cells = [[(p["domain"], p["temperature"], p["responses"]) for p in row[0]] for row in parts]
    assert cells[0] == [("code", 0.6, 1), ("math", 0.6, 5), ("math", 1.0, 1)]
    assert cells[2] == [("code", 0.6, 1), ("math", 0.6, 4), ("math", 1.0, 0)]
    assert cells[-1] == [("code", 0.6, 0), ("math", 0.6, 1), ("math", 1.0, 0)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6, "model": "big"},
        {"budget": {"math": 2, "other": 1}},
        {"keep": 2, "min_candidates": 2},
        {"scope": "pool", "budget": {"math": 3, "code": 1}},
        {"filter_after": True, "budget": {"math": 2, "code": 1}},
        {"require_scores": False, "rank_by": "length", "keep": 2},
        {"required_filters": "", "min_tokens": 7},
        {"required_filters": "length,secrets"},
        {"distilled": "student", "beta": 0.3},
    ],
)
def test_the_funnels_last_line_is_what_the_build_chooses(made, response, settings):
    """The funnel would explain another split than the one that was built."""
    failed = {
        **dict.fromkeys(["structure", "completeness", "repetition", "cjk"], True),
        "length": False,
    }
    domains = ["math", "code", "math", None]
    catalog = made(
        *(
            response(
                f"r{i:02}",
                question=f"Q{i % 7}",
                domain=domains[i % 7 % 4],
                temperature=(0.6, 1.0)[i % 5 == 0],
                model=("big", "huge")[i % 6 == 0],
                policy=("teacher", "student")[i % 11 == 0],
                **({"passed": failed} if i % 4 == 0 else {}),
                scores={} if i % 9 == 0 else scores([SURE] * (i % 3 + 1), [LOW], tokens=6 + i % 2),
            )
            for i in range(40)
        )
    )
    rows = catalog.sql("SELECT step, responses, questions FROM funnel", **settings).fetchall()
    chosen = catalog.sql(
        "SELECT count(*), count(DISTINCT question_id) FROM selection", **settings
    ).fetchall()
    assert [step for step, *_ in rows] == list(range(len(rows)))
    assert rows[-1][1:] == chosen[0]
    assert all(before[1] >= after[1] for before, after in itertools.pairwise(rows))


THREE = ("teacher", "student", "distilled")
FAILS = {
    "own": "sampled by the teacher",
    "hot": "sampled at temperature 0.6",
    "huge": "sampled by model big",
    "no teacher": "scored by the teacher",
    "no student": "scored by the student",
    "no distilled": "scored by the distilled model",
    "short": "with a sentence of min_tokens (4) or more under both",
    "code": "in a domain with a budget",
    "alone": "2 candidates or more of its question",
    "second": "among the best 1 of its question",
    "other": "within the budget of its domain",
    "best": None,
}


@pytest.mark.parametrize("filter_after", [False, True])
def test_each_condition_is_told_by_its_own_name(made, response, filter_after):
    """`why`, `plan` and the funnel would blame another condition."""

    def one(name, question="A", thinking="Think.", tokens=6, scorers=THREE, **more):
        scored = {scorer: [(tokens, 0.5)] for scorer in scorers}
        return response(name, question=question, thinking=thinking, scores=scored, **more)

    failed = dict.fromkeys(["structure", "completeness", "repetition", "length"], True)
    catalog = made(
        one("own", policy="student"),
        one("hot", temperature=1.0),
        one("huge", model="huge"),
        *(one(f"no {name}", scorers=[s for s in THREE if s != name]) for name in THREE),
        one("short", tokens=3),
        one("code", question="C", domain="code"),
        one("code too", question="C", domain="code"),
        one("alone", question="D"),
        one("second", thinking="Think less."),
        one("best", thinking="Think more of it."),
        one("other", question="E", thinking="Think so."),
        one("other's second", question="E"),
        one("failed", question="F", passed={**failed, "cjk": False}),
        one("failed's second", question="F", thinking="."),
    )
    settings = {
        "temperature": 0.6,
        "model": "big",
        "distilled": "distilled",
        "rank_by": "length",
        "scope": "pool",
        "min_candidates": 2,
        "budget": {"math": 1},
        "filter_after": filter_after,
    }
    rows = catalog.sql(
        "SELECT response_id, conditions, holds, reached FROM conditions", **settings
    ).fetchall()
    cjk = "passed filter cjk (version 1)"
    conditions = rows[0][1]
    assert len(conditions) == 11 + 5
    assert conditions.index(cjk) == (11 if filter_after else 3)
    told = {}
    for name, words, holds, reached in rows:
        assert words == conditions
        assert len(holds) == len(words)
        assert holds[:reached] == [True] * reached
        told[name] = words[reached] if reached < len(words) else None
    expected = {**FAILS, "failed": FAILS["other"] if filter_after else cjk}
    assert {name: told[name] for name in expected} == expected


def test_the_funnel_of_an_empty_catalog_is_one_line(made):
    """A first look at a new catalog would fail."""
    assert made().sql("SELECT condition, responses FROM funnel").fetchall() == [("responses", 0)]


def test_every_column_can_be_written_without_quotes(made, response):
    """A column named like a keyword would fail in every query that uses it."""
    from dasd_data import sqlfiles
    from dasd_data.schema import SNAPSHOTS, TABLES

    catalog = made(response("a", scores=scores([SURE], [LOW])))
    for name in (*TABLES, SNAPSHOTS.name, *(view.name for view in sqlfiles.base_views())):
        for column, *_ in catalog.describe(name):
            catalog.sql(f"SELECT {column} FROM {name} ORDER BY {column}").fetchall()


def test_sums_are_of_integers_so_that_their_order_does_not_matter(made):
    """Builds would differ between thread counts in the last digit, and then in their rows."""
    catalog = made()
    values = "(VALUES (0.1::DOUBLE), (0.2), (0.3), (1e-10)) AS v (x)"
    row = catalog.sql(f"SELECT exact_sum(x), exact_mean(x) FROM {values}").fetchall()
    assert row == [(600_000_000, 0.15)]


def test_p_per_byte_does_not_depend_on_the_tokenizer(made, response):
    """A model that writes more tokens for the same text would look surer of it."""
    scores = {"teacher": [(2, 0.5)], "student": [(4, 0.5)], "distilled": [(0, 1.0)]}
    catalog = made(response("a", thinking=None, answer="12345678", scores=scores))
    query = "SELECT p_teacher, p_student, label FROM sentence_pairs"
    assert catalog.sql(query).fetchall()[0][2] == "shared"
    # 8 bytes are two units of 4: .5^(2/2) and .5^(4/2)
    settings = {"normalization": "byte", "bytes_per_token": 4}
    ((teacher, student, label),) = catalog.sql(query, **settings).fetchall()
    assert (teacher, student) == (pytest.approx(0.5), pytest.approx(0.25))
    assert label == "teacher"
    (row,) = catalog.sql(
        "SELECT p_distilled FROM sentence_pairs", distilled="distilled", **settings
    ).fetchall()
    assert row == (None,)


def by_hand(sentences, min_tokens, three, alpha=0.1, beta=0.1):
    """Counts, mean difference and tokens of one response, by the definitions in plain Python."""
    counts = dict.fromkeys(("teacher", "student", "shared", "boosted"), 0)
    differences, tokens = [], 0
    for (n_t, p_t), (n_s, p_s), (n_d, p_d) in sentences:
        if min(n_t, n_s) < min_tokens or (three and n_d == 0):
            continue
        far = max(abs(p_t - p_s), abs(p_t - p_d), abs(p_s - p_d)) > alpha
        if three and not far:
            label = "shared"
        elif p_t - p_s > beta:
            label = "teacher"
        elif p_s - p_t > beta:
            label = "student"
        else:
            label = "boosted" if three else "shared"
        counts[label] += 1
        differences.append(p_t - p_s)
        tokens += n_t
    if not differences:
        return None
    return (*counts.values(), sum(differences) / len(differences), tokens)


@pytest.mark.parametrize("three", [False, True])
@pytest.mark.parametrize("min_tokens", [1, 4])
def test_counts_agree_with_the_definitions_in_plain_python(made, response, three, min_tokens):
    """A faster query could count other sentences than the definitions do."""
    import random

    rng = random.Random(7)

    def sentence():
        n = rng.choice([0, 1, 3, 4, 20])
        return n, rng.random() * 0.98 + 0.01 if n else 1.0

    texts = {
        f"r{i:02}": [(sentence(), sentence(), sentence()) for _ in range(rng.randrange(1, 12))]
        for i in range(24)
    }
    names = ("teacher", "student", "distilled")
    catalog = made(
        *(
            response(
                key,
                question=f"q{i // 3}",
                temperature=(0.6, 1.0, None)[i % 3],
                scores={name: [s[n] for s in text] for n, name in enumerate(names)},
            )
            for i, (key, text) in enumerate(texts.items())
        )
    )
    settings = {"min_tokens": min_tokens, **({"distilled": "distilled"} if three else {})}
    columns = (
        "response_id, teacher_count, student_count, shared_count, boosted_count,"
        " mean_difference, n_tokens_teacher"
    )
    found = {
        row[0]: row[1:]
        for row in catalog.sql(f"SELECT {columns} FROM responses_scored", **settings).fetchall()
    }
    wanted = {key: by_hand(text, min_tokens, three) for key, text in texts.items()}
    assert found.keys() == {key for key, value in wanted.items() if value}
    for key, value in found.items():
        assert value == pytest.approx(wanted[key], abs=1e-6), key


def test_asking_for_a_temperature_changes_no_score(made, response):
    """What is skipped for speed would change scores, or lose those of unknown temperature."""
    catalog = made(
        *(
            response(
                f"r{i}",
                question=f"q{i % 3}",
                temperature=(0.6, 1.0, None)[i % 3],
                scores=scores([SURE] * (i + 1), [LOW] * (i % 4 + 1) + [SURE] * (i - i % 4)),
            )
            for i in range(9)
        )
    )
    every = {row[0]: row for row in catalog.sql("FROM pool").fetchall()}
    assert every.keys() == {f"r{i}" for i in range(9)}
    for temperature, ids_there in ((0.6, {"r0", "r3", "r6"}), (1.0, {"r1", "r4", "r7"})):
        rows = {row[0]: row for row in catalog.sql("FROM pool", temperature=temperature).fetchall()}
        assert rows == {key: every[key] for key in ids_there}
