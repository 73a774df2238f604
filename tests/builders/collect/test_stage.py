"""The collect stage: merged, chosen by seed and budget, written once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builders.collect import pool
from builders.collect.stage import collect
from builders.ingest.stage import ingest
from builders.shapes import Context
from dasd_data.keys import question_id

TEXTS = [f"What is {n} + {n}?" for n in range(40)]
CHOSEN = "SELECT text FROM questions ORDER BY text"
PLACES = (
    "SELECT text, source, row FROM questions JOIN question_sources USING (question_id) ORDER BY ALL"
)
BUDGET = "[domains.math]\nbudget = {}\nseed = {}\n"

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def asked(*texts):
    """Rows of questions."""
    return [{"question": text} for text in texts]


def test_the_same_question_in_several_sources_is_one_with_all_of_them(catalog, simple, values):
    """A source's licence would be lost, or a question be sampled twice."""
    recipe = simple(
        {
            "a": [{"question": "What is 2 + 2?", "license": "mit"}, {"question": "Why?"}],
            "b": [{"question": "What is 2 + 2?", "license": "cc0"}, {"question": "what is 2+2?"}],
            "c": [{"question": "What is  2+2?", "id": "k"}, {"question": "How?"}],
        }
    )
    report = collect(catalog, recipe)
    variants = ["What is 2 + 2?", "what is 2+2?", "What is  2+2?"]
    first = min(variants, key=question_id)
    assert values(catalog, CHOSEN) == sorted([(first,), ("Why?",), ("How?",)])
    merged = [row[1:] for row in values(catalog, PLACES) if row[0] == first]
    assert [source for source, _ in merged] == ["a", "b", "c"]
    assert ("c", "k") in merged
    licenses = "SELECT source, license FROM question_sources WHERE source < 'c' AND row = '1'"
    assert {("a", "mit")} <= set(values(catalog, licenses))
    assert report.duplicates == [
        {"source": "a", "other": "b", "exact": 1, "normalized": 0},
        {"source": "a", "other": "c", "exact": 0, "normalized": 1},
        {"source": "b", "other": "b", "exact": 0, "normalized": 1},
        {"source": "b", "other": "c", "exact": 0, "normalized": 1},
    ]


def test_another_spelling_is_found_by_the_id_of_its_own_text(catalog, simple, values):
    """Nobody could tell where the text of a merged row went."""
    collect(catalog, simple({"a": asked("Is x = 1?"), "b": asked("Is x=1?")}))
    kept, gone = sorted(["Is x = 1?", "Is x=1?"], key=question_id)
    variant = "SELECT text, meta->>'variant' FROM questions JOIN question_sources USING (question_id) ORDER BY 2"
    assert values(catalog, variant) == [(kept, question_id(gone)), (kept, None)]


def test_a_budget_is_met_by_a_seeded_order(catalog, simple, values, tmp_path):
    """Two runs of a recipe would have different questions, or two seeds the same."""
    import dasd_data

    def chosen(name, seed, n=10):
        made = dasd_data.create(tmp_path / name)
        report = collect(made, simple({"a": asked(*TEXTS)}, BUDGET.format(n, seed)))
        assert report.domains == [
            {"domain": "math", "questions": 40, "budget": n, "chosen": n, "new": n,
             "missing": 0, "unmeasured": 0}
        ]  # fmt: skip
        return {text for (text,) in values(made, CHOSEN)}

    assert chosen("one", 1) == chosen("again", 1)
    assert len(chosen("few", 1, 9) - chosen("more", 1, 11)) == 0
    assert 0 < len(chosen("one-b", 1) & chosen("two", 2)) < 10


def test_the_order_of_rows_files_and_sources_does_not_matter(simple, values, tmp_path, monkeypatch):
    """A file system that lists its files in another order would make another training set."""
    import dasd_data
    from builders.collect import reading

    variants = [text.replace(" ", "  ", 1).lower() for text in TEXTS[::3]]
    texts = [*TEXTS, *variants, *TEXTS[:7]]
    rows = [{"question": text, "id": f"k{i}"} for i, text in enumerate(texts)]
    sources = {"a": rows[::2], "b": rows[1::2]}
    tables = [f"SELECT * FROM {name} ORDER BY ALL" for name in ("questions", "question_sources")]
    seen = []
    for turn in range(3):
        parts = {n: random.Random(turn).sample(part, len(part)) for n, part in sources.items()}
        if turn == 1:
            parts = dict(reversed(parts.items()))
        monkeypatch.setattr(reading, "BATCH_BYTES", 1 << (10 + 4 * turn))
        made = dasd_data.create(tmp_path / f"catalog{turn}")
        collect(made, simple(parts, BUDGET.format(12, 5)))
        seen.append([values(made, table) for table in tables])
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) == 12


def test_new_questions_change_a_selection_no_more_than_they_must(simple, values, tmp_path):
    """A source that grows by one row would cost the samples of all questions chosen before."""
    import dasd_data

    def chosen(name, texts):
        made = dasd_data.create(tmp_path / name)
        collect(made, simple({"a": asked(*texts)}, BUDGET.format(15, 0)))
        return {text for (text,) in values(made, CHOSEN)}

    before = chosen("before", TEXTS)
    assert len(before - chosen("one-more", [*TEXTS, "And this?"])) <= 1
    assert chosen("another-spelling", [*TEXTS, *(t.upper() for t in TEXTS)]) <= before | {
        t.upper() for t in before
    }


def test_a_second_run_adds_nothing_and_a_larger_budget_what_is_missing(catalog, simple, values):
    """Every run would double the catalog, or a larger one start anew."""
    files = {"a": asked(*TEXTS)}
    collect(catalog, simple(files, BUDGET.format(5, 1)))
    five = values(catalog, PLACES)
    before = catalog.refresh().snapshot.versions
    report = collect(catalog, simple(files, BUDGET.format(5, 1)))
    after = catalog.refresh().snapshot.versions
    assert {name for name in after if after[name] != before[name]} == {"runs", "run_events"}
    assert (report.counts["questions"], report.domains[0]["new"]) == (0, 0)
    report = collect(catalog, simple(files, BUDGET.format(8, 1)))
    assert report.counts["questions"] == 3
    assert set(five) < set(values(catalog, PLACES))
    assert len(values(catalog, PLACES)) == 8


def test_a_file_in_another_order_adds_no_second_place(catalog, simple, values):
    """The same source would be counted twice after its rows were shuffled."""
    collect(catalog, simple({"a": asked(*TEXTS)}))
    report = collect(catalog, simple({"a": asked(*reversed(TEXTS))}))
    assert (report.counts["question_sources"], report.counts["refused"]) == (0, 0)
    assert values(catalog, "SELECT count(*) FROM question_sources") == [(40,)]


def test_a_question_that_is_in_the_catalog_stays_the_one(catalog, simple, values, write):
    """A later source with another spelling would put the question in a second time."""
    texts = ["Is x = 1 ?", "Is x=1?", "is X=1?"]
    last = max(texts, key=question_id)
    ingest(catalog, [str(write("first.jsonl", asked(last)))], Context(file="", as_kind="questions"))
    report = collect(catalog, simple({"a": asked(*texts)}))
    assert values(catalog, CHOSEN) == [(last,)]
    assert {source for _, source, _ in values(catalog, PLACES)} == {"a", "first"}
    assert (report.domains[0]["chosen"], report.domains[0]["new"]) == (1, 0)


def test_a_question_that_is_there_gets_a_new_source_beyond_the_budget(catalog, simple, values):
    """A licence that forbids a use would not be seen because a budget was met."""
    collect(catalog, simple({"a": asked(*TEXTS)}))
    rows = [{"question": text, "license": "cc-by-nc-4.0"} for text in TEXTS]
    report = collect(catalog, simple({"b": rows}, BUDGET.format(1, 0)))
    assert report.counts["question_sources"] == 40
    places = "SELECT count(*) FROM question_sources WHERE license = 'cc-by-nc-4.0'"
    assert values(catalog, places) == [(40,)]


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_a_question_of_another_domain_in_the_catalog_takes_no_budget(
    catalog, simple, values, recipe, system
):
    """A budget of code would be spent on what the catalog has as math, and one question miss."""

    def row(text):
        prompt = [{"role": "system", "content": system}] if system else []
        return {"messages": [*prompt, {"role": "user", "content": text}]}

    collect(catalog, simple({"a": [row(text) for text in TEXTS]}))
    code = simple({"b": map(row, [*TEXTS, "Sort a list."])}).file
    text = Path(code).read_text().replace('"math"', '"code"')
    report = collect(catalog, recipe("[domains.code]\nbudget = 1\n" + text))
    domains = {d["domain"]: (d["questions"], d["chosen"], d["new"]) for d in report.domains}
    assert domains == {"math": (40, 40, 0), "code": (1, 1, 1)}
    said = "SELECT domain, count(*) FROM question_domains GROUP BY ALL ORDER BY ALL"
    assert values(catalog, said) == [("code", 1), ("math", 40)]


def test_a_domain_without_a_budget_keeps_no_place_out(catalog, simple, values, append):
    """A licence that forbids a use would not be seen of a question of a domain of one's own."""
    append(catalog, "questions", [{"question_id": question_id("Q?"), "text": "Q?"}])
    place = {"question_id": question_id("Q?"), "source": "a", "row": "1", "domain": "chess"}
    append(catalog, "question_sources", [place])
    report = collect(catalog, simple({"b": [{"question": "Q?", "license": "cc-by-nc-4.0"}]}))
    assert report.counts["question_sources"] == 1
    assert [source for _, source, _ in values(catalog, PLACES)] == ["a", "b"]


def test_a_question_under_a_system_prompt_is_another(catalog, simple, values):
    """A persona's questions would be merged with plain ones."""
    text = "Who are you?"
    pirate = next(p for p in "abcdefghijkl" if question_id(text, p) < question_id(text))
    plain = [{"role": "user", "content": text}]
    system = [{"role": "system", "content": pirate}, *plain]
    rows = [{"messages": plain}, {"messages": system}]
    for expected in (2, 0):
        assert collect(catalog, simple({"a": rows})).counts["questions"] == expected
    collect(catalog, simple({"b": [{"messages": plain}]}))
    of_b = "SELECT question_id FROM question_sources WHERE source = 'b'"
    assert values(catalog, of_b) == [(question_id(text),)]


def test_a_key_whose_content_changed_is_quarantined(catalog, simple, values):
    """A corrected reference answer would be dropped without a word."""
    row = {"id": "k", "question": "Q?", "reference_answer": "1"}
    collect(catalog, simple({"a": [row]}))
    report = collect(catalog, simple({"a": [row | {"reference_answer": "2"}]}))
    assert report.counts["refused"] == 1
    ((line, reason),) = values(catalog, "SELECT line, reason FROM quarantine")
    assert (line, "same key and other content" in reason) == (1, True)
    assert values(catalog, "SELECT reference_answer FROM question_sources") == [("1",)]


def test_a_bad_row_goes_to_quarantine_and_its_neighbours_are_kept(catalog, simple, values):
    """One torn line would cost a source, or vanish."""
    rows = [{"question": "A?"}, '{"question": "B', {"question": 5}, {"question": "D?"}]
    report = collect(catalog, simple({"a": rows}))
    assert values(catalog, CHOSEN) == [("A?",), ("D?",)]
    found = values(catalog, "SELECT file, line, raw FROM quarantine ORDER BY line")
    assert [(line, raw) for _, line, raw in found] == [
        (2, '{"question": "B'),
        (3, '{"question": 5}'),
    ]
    assert all(file.endswith("a.jsonl") for file, _, _ in found)
    assert sum(report.refused.values()) == report.counts["refused"] == 2


def test_budgets_that_cannot_be_met_are_said(catalog, simple):
    """A split would be smaller than planned, and nobody would know why."""
    report = collect(
        catalog, simple({"a": asked(*TEXTS)}, BUDGET.format(50, 0) + "[domains.code]\nbudget = 3\n")
    )
    assert {row["domain"]: row["missing"] for row in report.domains} == {"math": 10, "code": 3}


def test_questions_without_example_answers_come_last_and_are_counted(catalog, simple):
    """An order by length that has nothing to measure would look like one that has."""
    order = '[domains.math]\nbudget = 3\norder = "longer_answers"\n'
    report = collect(catalog, simple({"a": asked(*TEXTS)}, order))
    assert (report.domains[0]["unmeasured"], report.domains[0]["chosen"]) == (40, 3)


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(catalog, simple, values):
    """A user who looks first would change the catalog."""
    recipe = simple({"a": [*asked(*TEXTS), "{"]}, BUDGET.format(5, 1))
    before = catalog.refresh().snapshot.snapshot_id
    dry = collect(catalog, recipe, dry_run=True)
    assert catalog.refresh().snapshot.snapshot_id == before
    real = collect(catalog, recipe)
    for name in ("sources", "domains", "duplicates", "refused", "left_out"):
        assert getattr(dry, name) == getattr(real, name)


def test_a_run_that_was_stopped_between_commits_is_completed_by_the_next(
    catalog, simple, values, monkeypatch
):
    """What was chosen would be lost, or be there twice."""

    class Killed(BaseException):
        pass

    steps = []

    def kill(step):
        steps.append(step)
        if steps.count("question_sources: before write") == 2:
            raise Killed

    monkeypatch.setattr(pool, "SLICE", 7)
    recipe = simple({"a": asked(*TEXTS)}, BUDGET.format(30, 3))
    catalog.store.checkpoint = kill
    with pytest.raises(Killed):
        collect(catalog, recipe)
    catalog.store.checkpoint = lambda step: None
    assert values(catalog, "SELECT count(*) FROM question_sources") == [(7,)]
    report = collect(catalog, recipe)
    assert report.counts["questions"] + 14 == 30
    assert report.counts["question_sources"] == 23
    assert values(catalog, "SELECT count(*), count(DISTINCT question_id) FROM questions") == [
        (30, 30)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_dies_in_a_commit_leaves_a_sound_catalog(
    catalog, simple, values, command, number
):
    """A machine that is switched off would leave questions without their sources."""
    recipe = simple({"a": asked(*TEXTS)}, BUDGET.format(30, 3))
    stop = (
        "import os\nfrom builders.collect import pool\npool.SLICE = 7\n"
        "from dasd_data.store import Store\nopen_store, seen = Store.open, []\n"
        "def stop(step):\n"
        "    seen.append(step)\n"
        "    if step == 'question_sources: before write' and seen.count(step) == 3:\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "def stopping(path):\n"
        "    store = open_store(path)\n    store.checkpoint = stop\n    return store\n"
        "Store.open = stopping\n"
    )
    done = command("collect", "--recipe", recipe.file, before=stop)
    assert done.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), done.stderr
    assert command("verify").returncode == 0
    done = command("collect", "--recipe", recipe.file, "--json")
    assert done.returncode == 0, done.stderr
    rows = "SELECT count(*), count(DISTINCT question_id) FROM question_sources JOIN questions USING (question_id)"
    assert values(catalog, rows) == [(30, 30)]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Four million answers of a published set would not fit in memory."""
    code = """
import sys, json, dasd_data
from builders.collect import recipe
from builders.collect.stage import collect
from dasd_data.config import SqlConfig
n = int(sys.argv[1])
with open("q.jsonl", "w") as file:
    for i in range(n):
        file.write(json.dumps({"question": f"Question {i} " + "x" * 1000}) + "\\n")
open("r.toml", "w").write('[domains.math]\\nbudget = 100\\n[sources.a]\\nkind = "files"\\n'
                          'path = "q.jsonl"\\ndomain = "math"\\n')
catalog = dasd_data.create(f"c{n}")
object.__setattr__(catalog.config, "sql", SqlConfig(memory_limit="100MB"))
report = collect(catalog, recipe.load("r.toml"))
assert report.domains[0]["questions"] == n, report.domains
sys.path.insert(0, sys.argv[2])
from process import peak_mb  # getrusage's peak begins with what pytest held
print(int(peak_mb()))
"""
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, str(n), BENCHMARKS],
                capture_output=True,
                check=True,
                cwd=tmp_path,
            ).stdout
        )
        for n in (20_000, 120_000)
    ]
    assert peaks[1] - peaks[0] < 100, peaks  # 100,000 more texts of 1 KB are 100 MB


def test_a_question_under_two_keys_of_a_source_keeps_both(catalog, simple, values):
    """A row of the source could not be found again by its key."""
    rows = [{"question": "Q?", "id": "k2"}, {"question": "Q?", "id": "k1"}, {"question": "Q?"}]
    rows += [{"question": "Q?"}, {"question": "Q?", "id": "k1"}]
    collect(catalog, simple({"a": rows}))
    assert values(catalog, PLACES) == [("Q?", "a", row) for row in ("3", "k1", "k2")]
