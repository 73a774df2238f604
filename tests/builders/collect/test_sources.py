"""The kinds of sources: rows in their published schemas, as questions of the catalog."""

from __future__ import annotations

import json

import pytest

from builders.collect.stage import collect
from dasd_data.errors import DataError, UsageError

QUESTIONS = """
    SELECT text, d.domain, d.reference_answer, source, row, license, meta
    FROM questions JOIN question_sources AS s USING (question_id)
    JOIN question_domains AS d USING (question_id) ORDER BY text, source, row
"""


@pytest.fixture
def collected(catalog, write, recipe, values):
    """collected(kind, files, settings=""): the report, and the questions that are in the catalog."""

    def run(kind, files, settings=""):
        for name, rows in files.items():
            write(f"data/{name}", rows)
        report = collect(catalog, recipe(f'[sources.{kind}]\npath = "data"\n{settings}'))
        rows = [(*row[:6], json.loads(row[6])) for row in values(catalog, QUESTIONS)]
        return report, rows

    return run


def test_acereason_gives_one_question_for_the_answers_to_a_prompt(collected, ace):
    """A prompt with ten answers would be ten questions, or code would be math."""
    rows = [ace("What is 2+2?"), ace("What is 2+2?", output="4"), ace("Sort a list.", "code")]
    report, found = collected("acereason", {"a.parquet": rows})
    source = "nvidia/AceReason-1.1-SFT"
    meta = {"source": "NuminaMath-CoT"}
    assert found == [
        ("Sort a list.", "code", None, source, "3", "cc-by-4.0", meta),
        ("What is 2+2?", "math", None, source, "1", "cc-by-4.0", meta),
    ]
    assert report.duplicates == [{"source": source, "other": source, "exact": 1, "normalized": 0}]


def test_acereason_refuses_an_unknown_category_with_its_place(collected, ace, values, catalog):
    """A row of another domain would be sampled as math."""
    rows = [ace("A?"), ace("B?", "poetry"), ace("C?", None), ace("", "math"), ace("D?")]
    report, found = collected("acereason", {"a.jsonl": rows})
    assert [row[0] for row in found] == ["A?", "D?"]
    assert report.counts["refused"] == 3
    assert values(catalog, "SELECT line, reason FROM quarantine ORDER BY line") == [
        (2, "`category` is 'poetry', not math or code"),
        (3, "`category` is None, not math or code"),
        (4, "`input` is empty"),
    ]


def test_opencodereasoning_keeps_id_licence_and_where_it_is_from(collected, code):
    """A question's own licence would be lost, or its answer would be taken for a part of it."""
    rows = [code("k1", "Sum two numbers."), code("k1", "Sum two numbers.", solution="other")]
    rows.append(code("k2", "Sort.", license="mit", source="leetcode"))
    _, found = collected("opencodereasoning", {"split_0/train-0.parquet": rows})
    meta = {
        "source": "codeforces",
        "dataset": "code_contests",
        "split": "train",
        "difficulty": "11",
    }
    name = "nvidia/OpenCodeReasoning"
    assert found == [
        ("Sort.", "code", None, name, "k2", "mit", meta | {"source": "leetcode"}),
        ("Sum two numbers.", "code", None, name, "k1", "cc-by-4.0", meta),
    ]


def test_opencodereasoning_says_which_questions_are_elsewhere(collected, code):
    """167,405 rows would be the question "-", or would vanish without a word."""
    away = [code(f"a{i}", "-", dataset="taco", index=str(i)) for i in range(3)]
    away.append(code("b", "-", dataset="apps", split="test", index="7"))
    files = {"split_0/0.parquet": [code("k", "Sort.")], "split_1/0.parquet": away}
    report, found = collected("opencodereasoning", files)
    assert [row[0] for row in found] == ["Sort."]
    name = "nvidia/OpenCodeReasoning"
    assert dict(report.left_out) == {
        (name, 'input is "-": the question itself is in the data set taco (train)'): 3,
        (name, 'input is "-": the question itself is in the data set apps (test)'): 1,
    }
    assert (report.counts["rows"], report.counts["left out"]) == (5, 4)
    assert report.counts["refused"] == 0


def test_opensciencereasoning_takes_questions_with_longer_example_answers_first(
    collected, science, catalog, values
):
    """The paper's order would be another: short answers, or any."""
    rows = [science(f"Q{n}?", "x" * n, None if n == 3 else "C") for n in (2, 5, 3, 4, 1)]
    rows.append(science("Q2?", "x" * 9))  # another, longer answer to the same question
    order = '[domains.science]\nbudget = 3\norder = "longer_answers"\n'
    report, found = collected("opensciencereasoning", {"a.parquet": rows}, order)
    name = "nvidia/OpenScienceReasoning-2"
    assert found == [
        ("Q2?", "science", "C", name, "6", "cc-by-4.0", {"answer_chars": 9}),
        ("Q4?", "science", "C", name, "4", "cc-by-4.0", {"answer_chars": 4}),
        ("Q5?", "science", "C", name, "2", "cc-by-4.0", {"answer_chars": 5}),
    ]
    assert report.domains[0]["chosen"] == 3


def test_am_distilled_takes_the_instructions_that_the_recipe_names(collected, am):
    """Math and code of that data set would be sampled as instructions."""
    rows = [
        am("Write a poem."), am("Plan a trip.", reference_answer="Go."),
        am("Add 1 and 1.", "NuminaMath_1.5"), am("Code it.", "KodCode", test_case="assert f()"),
        am("Explain.", "Dolphin-R1"),
    ]  # fmt: skip
    settings = 'domains = ["instruction_following"]\nonly = ["InfinityInstruct"]\n'
    report, found = collected("am_distilled", {"am_0.5M.jsonl": rows}, settings)
    name = "a-m-team/AM-DeepSeek-R1-Distilled-1.4M"
    meta = {"source": "InfinityInstruct"}
    domain = "instruction_following"
    assert found == [
        ("Plan a trip.", domain, "Go.", name, "2", "cc-by-nc-4.0", meta),
        ("Write a poem.", domain, None, name, "1", "cc-by-nc-4.0", meta),
    ]
    assert {why for _, why in report.left_out} == {
        f"from {other} (`only`)" for other in ("NuminaMath_1.5", "KodCode", "Dolphin-R1")
    }


def test_am_distilled_knows_the_domains_of_its_parts(collected, am, catalog, values):
    """Without `only`, its math would count against the budget of instructions."""
    rows = [
        am("Add.", "openR1Math_default"), am("Code.", "codeio", test_case="t"),
        am("Why?", "natural_reasoning"), am("Write.", "InfinityInstruct"),
    ]  # fmt: skip
    _, found = collected("am_distilled", {"a.jsonl": rows})
    assert {row[0]: row[1] for row in found} == {
        "Add.": "math", "Code.": "code", "Why?": "science", "Write.": "instruction_following",
    }  # fmt: skip
    assert {row[0]: row[6].get("test_case") for row in found}["Code."] == "t"


def test_am_distilled_refuses_what_is_no_exchange(collected, am, catalog, values):
    """A row without its prompt, or of unknown origin, would be a question."""
    rows = [am("Fine."), am("  "), am("Whose?", None), {"messages": []}, {"messages": "x"}]
    rows.append({"messages": am("No user.")["messages"][1:]})
    _, found = collected("am_distilled", {"a.jsonl": rows})
    assert [row[0] for row in found] == ["Fine."]
    assert values(catalog, "SELECT line, reason FROM quarantine ORDER BY line") == [
        (2, "`question` is empty"),
        (3, "no turn of the user has `info.source`"),
        (4, "the conversation is not a list of turns"),
        (5, "the conversation is not a list of turns"),
        (6, "no user turn before the response"),
    ]


def test_files_of_any_known_shape_are_read_and_their_licence_kept(collected):
    """A question set that `ingest` knows would not be one for `collect`."""
    gsm8k = {"question": "How many clips?", "answer": "72 clips.\n#### 72"}
    plain = {"question": "Why?", "domain": "science", "license": "cc0", "level": 3}
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}
    files = {"g.jsonl": [gsm8k], "p.jsonl": [plain], "c.jsonl": [chat]}
    settings = 'kind = "files"\ndomain = "instruction_following"\n'
    _, found = collected("mine", files, settings)
    assert found == [
        ("Hi", "instruction_following", None, "mine", "c.jsonl:1", None, {}),
        ("How many clips?", "instruction_following", "72", "mine", "g.jsonl:1", "mit",
         {"solution": "72 clips."}),
        ("Why?", "science", None, "mine", "p.jsonl:1", "cc0", {"level": 3}),
    ]  # fmt: skip


def test_columns_of_files_can_be_named(collected):
    """A file of no known shape could not be collected."""
    rows = [{"task": "Do it.", "gold": "Done."}]
    settings = (
        'kind = "files"\nlicense = "mit"\nmap = {question = "task", reference_answer = "gold"}\n'
    )
    _, found = collected("mine", {"a.jsonl": rows}, settings)
    assert found == [("Do it.", None, "Done.", "mine", "1", "mit", {})]


def test_rows_of_another_schema_are_said_before_anything_is_read(collected, ace, catalog, values):
    """Hours of reading would end in a quarantine of every row."""
    with pytest.raises(
        UsageError, match=r"recipe\.toml: \[sources\.acereason\].*no column category"
    ):
        collected("acereason", {"a.jsonl": [ace("A?")], "b.jsonl": [{"question": "Q?"}]})
    with pytest.raises(UsageError, match=r"\[sources\.mine\].*no shape.* x\..*map = {"):
        collected("mine", {"a.jsonl": [{"x": "Q?"}], "b.jsonl": []}, 'kind = "files"\n')
    assert values(catalog, "SELECT count(*) FROM runs") == [(0,)]


def test_a_source_of_which_no_row_can_be_taken_is_an_error(collected, ace, catalog, values):
    """A run that took nothing would end as if all were well."""
    with pytest.raises(DataError, match=r"no row could be taken: 2 of nvidia.*`input` is empty"):
        collected("acereason", {"a.jsonl": [ace(" "), ace("")]})
    assert values(catalog, "SELECT line, reason FROM quarantine ORDER BY line") == [
        (1, "`input` is empty"), (2, "`input` is empty"),
    ]  # fmt: skip
