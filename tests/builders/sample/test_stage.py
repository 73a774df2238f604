"""The sample stage over an engine without a model and the tiny teacher's own prompt."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

pytest.importorskip("transformers")

from builders.executor import pending
from builders.ingest.batch import scorer_id, scorer_row
from builders.records import Scorer
from builders.run import Run
from builders.sample.engine import SampleResult, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.plan import SampleRun, Wanted, changes, estimate
from builders.sample.prepare import _policy
from builders.sample.prompt import load_prompt
from builders.sample.stage import sample
from dasd_data import sqlfiles
from dasd_data.errors import DeniedError, UnknownNameError, UsageError
from dasd_data.keys import question_id

TEACHER = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"
PROMPT = load_prompt(TEACHER)
QUESTIONS = [f"What is {n} + {n}?" for n in range(10)]


@pytest.fixture
def catalog(made, append):
    """A catalog of ten questions, five of them in code."""
    catalog = made()
    ids = [question_id(text) for text in QUESTIONS]
    rows = zip(ids, QUESTIONS, strict=True)
    append(catalog, "questions", [{"question_id": q, "text": t} for q, t in rows])
    append(
        catalog,
        "question_sources",
        [
            {"question_id": q, "source": "made", "row": str(i), "domain": ("math", "code")[i % 2]}
            for i, q in enumerate(ids)
        ],
    )
    return catalog.refresh()


class Engine(FakeGenerator):
    """The fake engine; counts what it is asked for, and does what a test wants in between."""

    def __init__(self, **more):
        super().__init__(PROMPT.tokenizer.encode, **more)
        self.asked = []
        self.instead = {}

    def generate(self, requests, sampling):
        """None before every result, and for some requests what `instead` does."""
        for request in requests:
            self.asked.append(request)
            act = self.instead.get(len(self.asked))
            if act is not None:
                result = act(request)
                if result is not None:
                    yield result
                    continue
            yield None
            yield from super().generate([request], sampling)


def plan(engine, **more):
    settings = {"temperature": 0.6, "max_tokens": 500} | more.pop("sampling", {})
    sampling = Sampling(stop_ids=PROMPT.stop_ids, **settings)
    scorer = PROMPT.describe(engine.describe())
    name = more.pop("name", "teacher")
    return SampleRun(engine, PROMPT, scorer, name, sampling, **more)


def responses(catalog):
    return catalog.sql(
        "SELECT * EXCLUDE (run_id, content_hash) FROM responses ORDER BY response_id"
    ).fetchall()


def run(catalog, engine=None, **more):
    engine = engine or Engine()
    counts = sample(catalog, plan(engine, **more))
    return engine, counts


def test_a_sample_is_a_response_with_tokens_sentences_and_sums(catalog):
    """A view would find samples without scores, or scores of other tokens."""
    engine, counts = run(catalog, n=2, limit=3)
    assert counts["done"] == counts["responses"] == counts["wanted"] == 6
    rows = catalog.sql(
        "SELECT r.*, t.token_ids, t.prompt_ids, t.logprobs, t.token_bytes, s.n_tokens AS per,"
        " s.logprob_sum FROM responses AS r JOIN tokens AS t USING (response_id)"
        " JOIN sentence_scores AS s USING (response_id, scorer_id) ORDER BY response_id"
    ).pl()
    assert len(rows) == 6
    asked = {request.key: request for request in engine.asked}
    for row in rows.to_dicts():
        request = asked[row["response_id"]]
        assert row["prompt_ids"] == request.prompt_ids.tolist()
        text = PROMPT.tokenizer.decode(row["token_ids"], skip_special_tokens=True)
        assert text == f"<think>\n{row['thinking']}\n</think>\n\n{row['answer']}"
        assert (row["finish_reason"], row["temperature"], row["top_p"]) == ("stop", 0.6, 1.0)
        assert row["seed"] == request.seed
        assert row["sample_index"] in (0, 1)
        # Sums by hand: every scored token counts once.
        scored = [v for v, b in zip(row["logprobs"], row["token_bytes"], strict=True) if b]
        assert sum(row["per"]) == len(scored)
        assert sum(row["logprob_sum"]) == pytest.approx(sum(scored), rel=1e-5)
    seen = catalog.sql("SELECT count(*) FROM sentences_flat").fetchall()
    assert seen == [(sum(len(row["per"]) for row in rows.to_dicts()),)]  # no other run told how
    assert rows["question_id"].n_unique() == 3
    assert rows["answer"].n_unique() == 6  # no two samples share a seed


def test_only_what_is_missing_is_sampled(catalog):
    """A raised --n or --limit would pay for samples that are there, or draw them anew."""
    first, _ = run(catalog, n=1, limit=3)
    before = responses(catalog)
    assert len(run(catalog, n=1, limit=3)[0].asked) == 0
    more, _ = run(catalog, n=2, limit=3)
    wider, _ = run(catalog, n=2)
    hotter, _ = run(catalog, n=1, limit=3, sampling={"temperature": 1.0})
    assert [len(e.asked) for e in (first, more, wider, hotter)] == [3, 3, 14, 3]
    assert set(before) < set(responses(catalog))
    assert len(responses(catalog)) == 23


def test_one_run_and_three_give_the_same_rows(catalog, made, append):
    """An interruption, or samples asked for in parts, would change the data set."""
    run(catalog, n=1, limit=4)
    run(catalog, n=3, limit=4)
    run(catalog, n=3)
    in_parts = responses(catalog)
    whole = made(name="whole.catalog")
    for name in ("questions", "question_sources"):
        columns = "* EXCLUDE (content_hash)"
        append(whole, name, catalog.sql(f"SELECT {columns} FROM {name}").pl().to_dicts())
    run(whole.refresh(), n=3)
    assert responses(whole) == in_parts


def test_questions_are_chosen_by_a_condition(catalog):
    """A budget for math would be spent on code; or SQL of others would run unlocked."""
    run(catalog, where="domain = 'math' AND text LIKE '%2%'")
    assert catalog.sql(
        "SELECT text FROM responses JOIN questions USING (question_id)"
    ).fetchall() == [("What is 2 + 2?",)]
    with pytest.raises(UnknownNameError, match="domian"):
        run(catalog, where="domian = 'math'")
    with pytest.raises((DeniedError, UsageError)):
        run(catalog, where="true); COPY questions TO 'x.csv'; SELECT (true")


def test_a_failure_keeps_its_reason_and_is_tried_again_when_asked(catalog):
    """One bad request would end a run of days, be asked again for ever, or vanish."""
    engine = Engine()
    engine.instead[2] = lambda request: SampleResult(request.key, error="timeout: 600 s, 3 tries")
    _, counts = run(catalog, engine, limit=4)
    assert (counts["done"], counts["failed"], counts["failed: timeout"]) == (3, 1, 1)
    failed = engine.asked[1].key
    assert catalog.sql("SELECT response_id, stage, attempt, reason FROM attempts").fetchall() == [
        (failed, "sample", 0, "timeout: 600 s, 3 tries")
    ]
    assert estimate(catalog, plan(Engine(), limit=4)).failed_before == 1
    idle, counts = run(catalog, limit=4)
    assert (idle.asked, counts["failed before"]) == ([], 1)
    again = Engine()
    again.instead[1] = lambda request: SampleResult(request.key, error="timeout: again")
    run(catalog, again, limit=4, retry="failed")
    assert [r.key for r in again.asked] == [failed]
    assert run(catalog, limit=4, retry="failed")[1]["done"] == 1
    assert catalog.sql("SELECT attempt FROM attempts ORDER BY ALL").fetchall() == [(0,), (1,)]
    assert len(responses(catalog)) == 4


def test_what_was_cut_off_is_sampled_again_under_another_cap_only(catalog):
    """The same key would give the same cut again, and the run would pay for it."""
    _, counts = run(catalog, limit=4, sampling={"max_tokens": 60})
    cut = counts["finished: length"]
    assert cut > 0
    with pytest.raises(UsageError, match=f"the {cut} truncated.*another --max-tokens or --se"):
        run(catalog, limit=4, retry="truncated", sampling={"max_tokens": 60})
    assert len(catalog.refresh().configurations("sample")) == 1  # it is no run that failed
    engine, _ = run(catalog, limit=4, retry="truncated")
    assert len(engine.asked) == cut
    engine, counts = run(catalog, limit=4, retry="truncated")
    assert (engine.asked, counts["whole by now"]) == ([], cut)
    rows = catalog.sql("SELECT finish_reason FROM responses").fetchall()
    assert Counter(r for (r,) in rows) == {"length": cut, "stop": 4}


def test_a_question_without_a_prompt_or_over_the_context_fails_alone(catalog, append, monkeypatch):
    """One odd question would stop all others."""
    long = "word " * 400
    append(catalog, "questions", [{"question_id": question_id(long), "text": long}])
    source = {"source": "made", "row": "x", "domain": "math"}
    append(catalog, "question_sources", [{"question_id": question_id(long), **source}])
    _, counts = run(catalog.refresh(), Engine(max_context=700))
    assert (counts["done"], counts["failed: over context"]) == (10, 1)
    ((reason,),) = catalog.sql("SELECT reason FROM attempts").fetchall()
    assert reason.startswith("over context: ")


@pytest.mark.parametrize(
    "step", ["tokens", "unrecorded", "responses", "announced", "sentences", "snapshots"]
)
def test_a_run_that_dies_within_a_commit_is_taken_up(step, catalog, monkeypatch):
    """Samples would be paid for twice, or a key stay refused for ever: engines repeat nothing."""
    run(catalog, limit=1)
    append, died = Run.append, []

    class DiedError(BaseException):
        pass

    def die():
        died.append(step)
        raise DiedError

    def dying(self, batches):
        first = step in ("tokens", "unrecorded")
        if died or first != ("tokens" in batches) or "scorers" in batches:
            return append(self, batches)
        if step == "unrecorded":
            self.writer.table("tokens").append(batches["tokens"])
        if step == "announced":
            self.writer._announce(batches["responses"])
        elif step == "snapshots":
            for name in ("sentences", "sentence_scores", "responses"):
                self.writer.table(name).append(batches[name])
        elif step == "sentences":
            append(self, {"sentences": batches["sentences"]})
        return die()

    monkeypatch.setattr(Run, "append", dying)
    monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)
    with pytest.raises(DiedError):
        run(catalog, limit=4)
    monkeypatch.undo()
    assert died == [step]
    other = Engine()  # an engine that never draws the same twice
    other._text = lambda request, sampling: f"<think>\nAgain {request.seed}.\n</think>\n\nOther."
    _, counts = run(catalog.refresh(), other, limit=4)
    assert len(responses(catalog)) == 4
    assert counts["sampled by another run"] == 0
    orphans = "SELECT count(*) FROM tokens ANTI JOIN responses USING (response_id)"
    assert catalog.sql(orphans).fetchall() == [(0,)]
    pairs = catalog.sql(
        "SELECT thinking, answer, token_ids FROM responses JOIN tokens USING (response_id)"
    ).fetchall()
    for thinking, answer, ids in pairs:
        text = PROMPT.tokenizer.decode(ids, skip_special_tokens=True)
        assert text == f"<think>\n{thinking}\n</think>\n\n{answer}"
    assert counts["recovered"] == (step not in ("tokens", "snapshots"))


def test_an_interruption_commits_what_is_done(catalog):
    """Ctrl-C would lose up to a minute of a cluster's work."""
    engine = Engine()

    def stop(request):
        raise KeyboardInterrupt

    engine.instead[4] = stop
    with pytest.raises(KeyboardInterrupt):
        run(catalog, engine)
    assert len(responses(catalog.refresh())) == 3
    again, _ = run(catalog)
    assert len(again.asked) == 7
    assert not {r.key for r in again.asked} & {r.key for r in engine.asked[:3]}


def test_finished_samples_are_committed_while_a_long_one_goes_on(catalog, monkeypatch):
    """The longest completion of a batch would hold back all others for hours."""
    monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)
    seen = []

    def look(request):
        seen.append(len(responses(catalog.refresh())))

    engine = Engine()
    engine.instead = dict.fromkeys(range(1, 11), look)
    run(catalog, engine)
    assert seen == list(range(10))


def test_two_runs_at_once_keep_one_sample_of_each(catalog):
    """The slower run would overwrite the faster, or stop with a conflict."""
    slow = Engine()
    slow._text = lambda request, sampling: "<think>\nSlow.\n</think>\n\nSlow."

    def meanwhile(request):
        run(catalog.refresh(), limit=3)

    slow.instead[3] = meanwhile
    _, counts = run(catalog, slow, limit=4)
    assert counts["sampled by another run"] == 3
    found = catalog.sql("SELECT answer, count(*) FROM responses GROUP BY ALL").fetchall()
    assert Counter(dict(found))["Slow."] == 1
    assert sum(n for _, n in found) == 4


def test_changed_settings_are_told(catalog):
    """A changed template would sample everything again without a word."""
    engine = Engine()
    run(catalog, engine, limit=1)
    assert changes(catalog, plan(engine, n=5)) == {}
    assert changes(catalog, plan(engine, sampling={"temperature": 1.0})) == {}
    changed = replace(plan(engine, seed=3), scorer=replace(plan(engine).scorer, date="2026-01-01"))
    found = changes(catalog, changed)
    assert found["seed"] == (0, 3)
    assert found["date"] == (None, "2026-01-01")
    assert changes(catalog, plan(engine, policy="student")) == {"policy": ("teacher", "student")}


def test_an_estimate_counts_what_a_run_then_does(catalog):
    """A user would learn the cost of a run from its bill."""
    engine = Engine()
    before = estimate(catalog, plan(engine, n=2, limit=4))
    assert (before.samples, before.questions, before.expected_tokens) == (8, 4, None)
    assert before.most_tokens == 8 * 500
    assert not engine.asked
    _, counts = run(catalog, engine, n=2, limit=4)
    assert before.prompt_tokens == counts["prompt_tokens"]
    assert before.most_bytes == 8 * 500 * 16 + 4 * counts["prompt_tokens"]
    after = estimate(catalog, plan(engine, n=3, limit=4))
    assert after.samples == 4
    assert after.expected_tokens == round(4 * counts["sampled_tokens"] / 8)
    assert 0 < after.bytes < before.most_bytes
    shorter = estimate(catalog, plan(engine, n=3, limit=4, sampling={"max_tokens": 10}))
    assert shorter.expected_tokens == shorter.most_tokens == 12 * 10


def test_an_estimate_of_truncated_samples_expects_no_less_than_what_was_cut(catalog):
    """They are the long ones: the mean of all would be half the bill."""
    _, counts = run(catalog, limit=4, n=2, sampling={"max_tokens": 60})
    cut = counts["finished: length"]
    assert 0 < cut < 8
    again = estimate(catalog, plan(Engine(), limit=4, n=2, retry="truncated"))
    assert again.samples == cut
    assert again.expected_tokens >= cut * 60


def compiled():
    """What numba has compiled, or found compiled, so far."""
    found = (thing for thing in gc.get_objects() if isinstance(thing, Dispatcher))
    return {f"{f.py_func.__module__}.{f.py_func.__name__}{s}" for f in found for s in f.signatures}


COMPILED_BEFORE = """
import sys
import dasd_data
from tests.builders.sample.test_stage import Engine, compiled, run

class Watching(Engine):
    def generate(self, requests, sampling):
        self.before = compiled()
        yield from super().generate(requests, sampling)

engine, counts = run(dasd_data.open(sys.argv[1]), Watching())
assert counts["done"] and engine.before
assert compiled() == engine.before, compiled() - engine.before
"""


@pytest.mark.slow
def test_nothing_is_compiled_once_the_engine_works(catalog):
    """The first commit would hold the engine, and Ctrl-C, up for two minutes."""
    command = [sys.executable, "-c", COMPILED_BEFORE, str(catalog.path)]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_keys_of_other_settings_differ():
    """Two kinds of samples would take each other's place."""
    engine = Engine()
    base = plan(engine)
    others = [
        plan(engine, seed=1),
        plan(engine, sampling={"temperature": 1.0}),
        plan(engine, sampling={"top_p": 0.9}),
        plan(engine, sampling={"max_tokens": 501}),
        plan(engine, policy="student"),
        plan(Engine(model="other")),
        replace(base, scorer=replace(base.scorer, revision="abc")),
        replace(base, scorer=replace(base.scorer, engine_version="2")),
    ]
    keys = {p.response_id("q", 0) for p in [base, *others]}
    keys |= {base.response_id("q", 1), base.response_id("p", 0)}
    assert len(keys) == 11
    seeds = {
        p.sample_seed(Wanted("", q, i, attempt))
        for p in (base, plan(engine, sampling={"temperature": 1.0}))
        for q in "abc"
        for i in range(50)
        for attempt in (0, 1)
    }
    assert len(seeds) == 600
    assert plan(engine, sampling={"temperature": 1}).response_id("q", 0) == plan(
        engine, sampling={"temperature": 1.0}
    ).response_id("q", 0)
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert np.array_equal(plan(engine, n=9).response_id("q", 0), base.response_id("q", 0))


def test_a_retry_that_dies_is_taken_up(catalog, monkeypatch):
    """What was paid for would be asked again by every --retry, and never be kept."""
    engine = Engine()
    engine.instead[1] = lambda request: SampleResult(request.key, error="server: gone")
    run(catalog, engine, limit=1)
    with monkeypatch.context() as patched:
        append = Run.append
        patched.setattr(
            Run, "append", lambda run, rows: 1 / ("responses" not in rows) and append(run, rows)
        )
        with pytest.raises(ZeroDivisionError):
            run(catalog, limit=1, retry="failed")
    engine, counts = run(catalog.refresh(), limit=1)
    assert (engine.asked, counts["recovered"]) == ([], 1)
    assert len(responses(catalog)) == 1


def test_a_retry_of_truncated_samples_goes_on_where_it_stopped(catalog):
    """A run that was interrupted could not be ended."""
    cut = run(catalog, sampling={"max_tokens": 40})[1]["finished: length"]
    engine = Engine()

    def stop(request):
        raise KeyboardInterrupt

    engine.instead[4] = stop
    with pytest.raises(KeyboardInterrupt):
        run(catalog, engine, retry="truncated", sampling={"max_tokens": 41})  # cut again
    again, counts = run(catalog.refresh(), retry="truncated", sampling={"max_tokens": 41})
    assert (len(again.asked), counts["done"]) == (cut - 3, cut - 3)
    assert cut > 3
    assert not run(catalog, retry="truncated", sampling={"max_tokens": 41})[0].asked
    failing = Engine()
    failing.instead = dict.fromkeys(range(1, 11), lambda r: SampleResult(r.key, error="server: x"))
    run(catalog, failing, retry="truncated", sampling={"max_tokens": 42})
    assert not run(catalog, retry="truncated", sampling={"max_tokens": 42})[0].asked


def test_a_question_s_own_system_prompt_is_used(catalog, append):
    """Two questions that differ in it would be asked by one and the same prompt."""
    key = question_id("What is 2 + 2?", "Answer in French.")
    append(catalog, "questions", [{"question_id": key, "text": "What is 2 + 2?"}])
    meta = '{"system": "Answer in French."}'
    source = {"question_id": key, "source": "made", "row": "x", "domain": "math", "meta": meta}
    append(catalog, "question_sources", [source])
    engine, _ = run(catalog.refresh(), where="text = 'What is 2 + 2?'")
    prompts = [PROMPT.tokenizer.decode(r.prompt_ids) for r in engine.asked]
    assert len(prompts) == 2
    assert sum("Answer in French." in prompt for prompt in prompts) == 1


def test_an_end_that_is_none_of_the_stop_ids_is_a_failure(catalog):
    """A whole completion would be taken for a cut one, or a cut one for a whole one."""
    engine = Engine()
    ids = np.array(PROMPT.tokenizer.encode("It is 4"), np.int32)
    logprobs = np.full(len(ids), -1, np.float32)
    engine.instead[1] = lambda request: SampleResult(request.key, ids, logprobs, "stop")
    _, counts = run(catalog, engine, limit=2)
    assert (counts["done"], counts["failed: unknown end"]) == (1, 1)


def test_a_long_wait_is_seen_from_outside(catalog, monkeypatch):
    """`status` would take a run for dead whose completions take an hour each."""
    monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)
    run(catalog, limit=1)
    events = catalog.sql(
        "SELECT event, counts ->> '$.done' FROM run_events ORDER BY sequence"
    ).fetchall()
    assert events == [("batch", None), ("batch", "1"), ("done", "1")]


def test_the_begin_of_the_work_is_told(catalog):
    """Rates would count the minutes before it, or leave out the first completions."""
    told = []
    engine = FakeGenerator(PROMPT.tokenizer.encode)
    sample(
        catalog,
        plan(engine, limit=1),
        lambda counts: told.append((counts["wanted"], counts["done"])),
    )
    assert told[0] == (1, 0)
    assert told[-1] == (1, 1)


def test_a_completion_that_is_no_text_keeps_its_tokens(catalog):
    """What was paid for would be gone, and nobody could see what the model wrote."""
    engine = Engine()
    ids = np.array([5, 99_999], np.int32)
    logprobs = np.full(2, -1, np.float32)
    engine.instead[1] = lambda request: SampleResult(request.key, ids, logprobs, "length")
    _, counts = run(catalog, engine, limit=2)
    assert (counts["done"], counts["failed: unreadable completion"]) == (1, 1)
    (row,) = catalog.sql("SELECT token_ids FROM attempts").fetchall()
    assert row == ([5, 99_999],)
    done = catalog.sql("SELECT sum(n_tokens) FROM tokens").fetchall()[0][0]
    assert counts["sampled_tokens"] == done + 2  # they have their price


def test_a_run_sees_questions_that_came_after_the_catalog_was_opened(catalog, append):
    """A run started in a notebook would leave out the newest questions."""
    key = question_id("New?")
    append(catalog, "questions", [{"question_id": key, "text": "New?"}])
    source = {"question_id": key, "source": "made", "row": "x", "domain": "math"}
    append(catalog, "question_sources", [source])
    assert run(catalog)[1]["done"] == 11


def test_answers_at_hand_are_kept_when_ctrl_c_comes_in_a_commit(catalog, monkeypatch):
    """What a server had answered by then would be thrown away."""

    class Eager(Engine):
        def generate(self, requests, sampling):
            results = list(FakeGenerator.generate(self, requests, sampling))
            try:
                while results:
                    yield results.pop()
            except KeyboardInterrupt:
                yield from results
                raise

    stopped = []

    def stop(counts):
        if counts["done"] and not stopped:
            stopped.append(counts["done"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(catalog, plan(Eager()), stop)
    assert stopped == [1]
    assert len(responses(catalog.refresh())) == 10


def test_a_student_s_samples_are_no_candidates_of_a_teacher(catalog):
    """The answers of a student would stand in a split that is to teach it."""
    run(catalog, limit=2)
    run(catalog, Engine(model="student"), limit=2, name="student", policy="student")
    found = catalog.sql("SELECT policy, model FROM candidates ORDER BY ALL").fetchall()
    assert found == [("student", "student")] * 2 + [("teacher", "fake")] * 2
    unscored = {"require_scores": False, "filter_after": True}
    assert catalog.sql("SELECT DISTINCT model FROM pool", **unscored).fetchall() == [("fake",)]


def test_another_policy_makes_other_samples(catalog, monkeypatch):
    """A wrong --policy would stay for good, or a run that died would block the right one."""
    append = Run.append

    def dying(self, batches):
        if "responses" in batches:
            self.writer._announce(batches["responses"])
            raise KeyboardInterrupt
        return append(self, batches)

    monkeypatch.setattr(Run, "append", dying)
    with pytest.raises(KeyboardInterrupt):
        run(catalog, limit=1)
    monkeypatch.undo()
    assert run(catalog.refresh(), limit=1, policy="student")[1]["done"] == 1
    assert run(catalog, limit=1)[1]["recovered"] == 1
    found = catalog.sql("SELECT policy FROM responses ORDER BY ALL").fetchall()
    assert found == [("student",), ("teacher",)]


def test_whose_samples_are_is_told_by_name_model_or_scorer(catalog, append):
    """A student that dasd.toml names otherwise would be taken for a teacher."""
    scorer = Scorer("qwen", context="sampled_prompt")
    rendered = scorer_row(replace(scorer, context="training_render"), "other", None)
    append(catalog, "scorers", [rendered])
    ids = scorer_id(scorer), rendered["scorer_id"]
    settings, catalog = catalog.config, catalog.refresh()

    def policy(name="tiny", **aliases):
        catalog.config = replace(settings, scorers=aliases)
        return _policy(catalog, name, scorer)

    assert {policy("student"), policy("distilled"), policy(student="tiny")} == {"student"}
    assert {policy(student="qwen"), policy(distilled="qwen")} == {"student"}
    assert {policy(student=i[:8]) for i in ids} == {"student"}
    assert {policy("teacher"), policy(), policy(student="q", teacher="tiny")} == {"teacher"}
    assert policy(student=ids[0][:5]) == "teacher"


@pytest.mark.parametrize(
    ("age", "recovered", "minutes"), [(1, 0, 9), (1, 80, 45), (1, 100, None), (10, 0, None)]
)
def test_what_an_earlier_run_sampled_does_not_shorten_the_time_left(
    age, recovered, minutes, catalog, append
):
    """`status` would promise the end in minutes, of a run of hours, or of one that is dead."""
    start = datetime.now(UTC) - timedelta(minutes=age)
    counts = {"wanted": 1_000, "done": 90, "failed": 10}
    append(catalog, "runs", [{"run_id": "r", "stage": "sample", "started_at": start}])
    event = {
        "run_id": "r", "sequence": 0, "event": "batch",
        "counts": json.dumps(counts | {"recovered": recovered}),
        "occurred_at": start + timedelta(minutes=1),
    }  # fmt: skip
    append(catalog, "run_events", [event])
    with closing(catalog.refresh().session()) as session:
        rows = session.rows(sqlfiles.report("status_runs"))
    (row,) = (row for row in rows if row["stage"] == "sample")
    assert (row["done"], row["remaining"], row["minutes_left"]) == (90, 900, minutes)


def test_a_run_that_was_killed_before_its_first_commit_is_told_in_full(catalog):
    """Its row would be blank: nobody would know that all of it remains."""

    def killed(request):
        raise KilledError

    class KilledError(BaseException):
        pass

    engine = Engine()
    engine.instead[1] = killed
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Run, "event", lambda *_: None)  # kill -9 writes none
        run(catalog, engine, limit=4)
    with closing(catalog.refresh().session()) as session:
        rows = session.rows(sqlfiles.report("status_runs"))
    (row,) = (row for row in rows if row["stage"] == "sample")
    assert (row["state"], row["done"], row["remaining"]) == ("running", 0, 4)


def test_a_run_of_failures_is_told_from_the_first_on(catalog):
    """`status` would be blank for hours while every request of a run fails."""
    engine = Engine()
    engine.instead = dict.fromkeys((1, 2), lambda r: SampleResult(r.key, error="server: gone"))
    engine.instead[3] = lambda r: 1 / 0
    with pytest.raises(ZeroDivisionError):
        run(catalog, engine, limit=4)
    with closing(catalog.refresh().session()) as session:
        rows = session.rows(sqlfiles.report("status_runs"))
    (row,) = (row for row in rows if row["stage"] == "sample")
    assert row["reasons"] == "2 server"
    assert (row["done"], row["failed"], row["remaining"]) == (0, 2, 2)
