"""Segment, score and filter: only what is missing, with reasons for what cannot be done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import dasd_data
from builders.executor import pending
from builders.filters.stage import configured, filter_missing
from builders.ingest.stage import ingest
from builders.run import to_table
from builders.score.engine import ScoreResult
from builders.score.estimate import Estimate
from builders.score.stage import changes, dry_run, score
from builders.segment.stage import segment_missing
from dasd_data.cli import cli
from dasd_data.config import Prices
from dasd_data.errors import DamagedFileError, DataError, UnknownNameError, UsageError
from dasd_data.writer import Writer


@pytest.fixture
def catalog(tmp_path, jsonl, context):
    """Six responses with thinking, of two questions, without log-probs."""
    rows = [
        {
            "prompt": f"Question {i % 2}?",
            "completion": f"<think>\nLet me see {i}.\nYes.\n</think>\n\nIt is {i}.",
            "temperature": 0.6,
            "finish_reason": "stop",
            "domain": "math",
        }
        for i in range(6)
    ]
    catalog = dasd_data.create(tmp_path / "dasd.catalog")
    ingest(catalog, [str(jsonl(rows))], context())
    return catalog


def passing(catalog, *names):
    """Run filters that need no tokenizer."""
    return filter_missing(catalog, configured(catalog, names or ("structure", "completeness")))


def values(catalog, query, **settings):
    """Rows of a query at the newest snapshot."""
    return catalog.refresh().sql(query, **settings).fetchall()


def test_scores_are_the_engines_and_sum_over_sentences(catalog, fake_run):
    """A sentence would get another's log-probs."""
    counts = score(catalog, fake_run(only_eligible=False))
    assert counts["tokens"] == 6
    for ids, logprobs, text in values(
        catalog,
        "SELECT token_ids, logprobs, concat(thinking, answer) FROM tokens JOIN responses"
        " USING (response_id)",
    ):
        assert bytes(ids).decode() == text
        assert len(logprobs) == len(ids)
    rows = values(
        catalog,
        "SELECT sum(n_tokens), sum(logprob_sum), any_value(list_sum(logprobs))"
        " FROM sentences_flat JOIN (SELECT response_id, logprobs FROM tokens) USING (response_id)"
        " GROUP BY response_id",
    )
    assert len(rows) == 6
    for _, total, expected in rows:
        assert total == pytest.approx(expected, rel=1e-5)


def test_only_eligible_responses_are_scored_by_default(
    catalog, fake_run, jsonl, context, byte_tokenizer, monkeypatch, capsys
):
    """Hours of a GPU would go into responses that no split may use, or nobody know of those."""
    bad = {"prompt": "Question 0?", "completion": "no thinking", "finish_reason": "length"}
    ingest(catalog, [str(jsonl([bad], "bad.jsonl"))], context())
    none = score(catalog, fake_run())
    assert (none["tokens"], none["not eligible"]) == (0, 7)  # no verdict is no pass
    required = ["length", "structure", "completeness", "repetition", "cjk"]
    filter_missing(catalog, configured(catalog, required, byte_tokenizer))
    some = score(catalog, fake_run())
    assert (some["tokens"], some["not eligible"]) == (6, 1)
    monkeypatch.setattr("builders.score.prepare.prepare", lambda catalog, options: fake_run())
    arguments = ["score", "--model", "m", "--name", "student", "--catalog", str(catalog.path)]
    with cli.make_context("dasd-data", arguments) as asked:
        cli.invoke(asked)
    told = capsys.readouterr().err
    assert "1 response left out, which filters refused: `dasd-data status` counts" in told
    every = score(catalog, fake_run(only_eligible=False))
    assert (every["tokens"], every["not eligible"]) == (1, 0)


def test_scoring_again_does_nothing_and_new_responses_only_are_scored(
    catalog, fake_run, jsonl, context
):
    """An interrupted job would start from the beginning."""
    run = fake_run(only_eligible=False)
    score(catalog, run)
    assert score(catalog, run)["tokens"] == 0
    more = {"prompt": "New?", "completion": "Yes."}
    ingest(catalog, [str(jsonl([more], "more.jsonl"))], context())
    assert score(catalog, run)["tokens"] == 1


def test_over_context_responses_stay_unscored_with_the_reason(catalog, fake_run, jsonl, context):
    """A truncated response would get the wrong probabilities, or vanish from the counts."""
    long = {"prompt": "Long?", "completion": "word " * 100}
    ingest(catalog, [str(jsonl([long], "long.jsonl"))], context())
    run = fake_run(only_eligible=False, max_context=200)
    counts = score(catalog, run)
    assert (counts["tokens"], counts["failed: over context"]) == (6, 1)
    ((stage, reason),) = values(catalog, "SELECT stage, reason FROM attempts")
    assert stage == "score"
    assert reason.startswith("over context: ")
    counts = score(catalog, run)
    assert (counts["failed: over context"], counts["failed before"]) == (0, 1)


def test_what_failed_is_scored_once_it_is_asked_for_again(catalog, fake_run):
    """A server that was overloaded for an hour would leave its responses unscored for good."""
    run = fake_run(only_eligible=False)
    whole = run.engine.score

    def overloaded(requests):
        for n, result in enumerate(whole(requests)):
            yield ScoreResult(result.key, None, "server: busy") if n < 4 else result

    run.engine.score = overloaded
    assert score(catalog, run)["tokens"] == 2
    assert score(catalog, run)["wanted"] == 0
    again = fake_run(only_eligible=False, retry="failed")
    again.engine.score = overloaded
    assert score(catalog, again)["failed"] == 4  # it is the same four, and each try is kept
    again.engine.score = whole
    assert score(catalog, again)["tokens"] == 4
    tries = "SELECT attempt, count(*) FROM attempts GROUP BY ALL ORDER BY ALL"
    assert values(catalog, tries) == [(0, 4), (1, 4)]
    assert score(catalog, again)["wanted"] == 0


def test_another_scorer_of_the_same_name_is_told_before_it_starts(catalog, fake_run):
    """After an upgrade of the engine a run of GPU-days would begin anew without a word."""
    run = fake_run(only_eligible=False)
    assert changes(catalog, run) == {}
    score(catalog, run)
    assert changes(catalog, run) == {}
    other = fake_run(only_eligible=False)
    other.scorer = replace(run.scorer, dtype="bfloat16")
    assert changes(catalog, other) == {"dtype": (run.scorer.dtype, "bfloat16")}
    score(catalog, other)
    assert changes(catalog, run) == changes(catalog, other) == {}  # both are known


def test_where_narrows_what_is_scored_and_may_be_no_second_statement(catalog, fake_run):
    """A trial on ten responses would score all, or a condition run a command."""
    run = fake_run(only_eligible=False, where="sample_index = 0 AND n_bytes < 10000")
    assert score(catalog, run)["tokens"] == 6
    none = fake_run("other", only_eligible=False, where="temperature > 1")
    assert score(catalog, none)["tokens"] == 0
    from dasd_data.errors import DasdError

    with pytest.raises(DasdError):
        score(catalog, fake_run("x", where="true); DROP TABLE responses; --"))


def test_a_dry_run_counts_tokens_and_writes_nothing(catalog, fake_run):
    """A cost estimate would start the job."""
    before = catalog.refresh().snapshot.snapshot_id
    found = dry_run(catalog, fake_run(only_eligible=False))
    texts = values(
        catalog, "SELECT thinking || answer, text FROM responses JOIN questions USING (question_id)"
    )
    assert found.scored == sum(len(r.encode()) for r, _ in texts)
    assert found.tokens == found.scored + sum(len(q.encode()) + 1 for _, q in texts)
    assert catalog.refresh().snapshot.snapshot_id == before


def test_a_dry_run_before_the_filters_says_at_most(catalog, fake_run, capsys):
    """Hours would be paid for responses that the filters drop first."""
    from builders.commands.score import _print_estimate

    found = dry_run(catalog, fake_run())
    assert (found.unfiltered, found.sequences) == (found.sequences, 6)
    _print_estimate(found, 1, Prices(), False)
    assert "at most 6 responses" in capsys.readouterr().err
    ids = values(catalog, "SELECT response_id FROM responses")
    flags = [{"response_id": i, "filter": "cjk", "version": "1", "passed": False} for (i,) in ids]
    Writer(catalog.store, "test").append({"flags": to_table("flags", flags[1:])})
    assert dry_run(catalog.refresh(), fake_run()).unfiltered == 1
    everything = dry_run(catalog, fake_run(only_eligible=False))
    assert (everything.unfiltered, everything.sequences) == (0, 6)
    _print_estimate(everything, 1, Prices(), False)
    assert "at most" not in capsys.readouterr().err


def test_a_dry_run_names_what_works_for_an_hour(capsys):
    """Eight GPUs would be said to cost as much as one, or a server as a GPU."""
    from builders.commands.score import _print_estimate

    def told(gpus, workers=1):
        found = Estimate(10, 3_600_000, 1_800_000, tokens_per_second=100.0, gpus=gpus)
        _print_estimate(found, workers, Prices(hour=2.0), False)
        return capsys.readouterr().err

    assert "about 10.0 h at 100 tokens/s" in told(0)
    assert "5,555.6 hours of this machine per billion candidate tokens" in told(0)
    assert "44,444.4 GPU-hours per billion" in told(8)
    assert "5,555.6 server hours per billion" in told(None)
    assert "cost: 20.00" in told(8)
    assert "about 2.5 h at 100 tokens/s, measured with one engine, by 4 workers" in told(1, 4)
    assert "5,555.6 GPU-hours" in told(1, 4)
    assert told(None, 4) == told(None)  # they share one server


def test_finished_responses_are_committed_while_the_engine_is_silent(
    catalog, fake_run, monkeypatch
):
    """A stalled server would keep what it had scored from the catalog, and look dead in `status`."""
    run, seen = fake_run(only_eligible=False), []
    whole = run.engine.score

    def stalled(requests):
        for n, result in enumerate(whole(requests)):
            yield result
            if n == 3:
                monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)
                yield None
                seen.extend(values(catalog.refresh(), "SELECT count(*) FROM tokens"))

    run.engine.score = stalled
    told, begun = [], []
    score(
        catalog,
        run,
        lambda counts: begun.append((counts["wanted"], counts["done"])),
        lambda counts: told.append(counts["done"]),
    )
    assert seen == [(4,)]
    assert begun[0] == (6, 0)  # rates are counted from here on
    assert told == [4, 5, 6]


def test_a_run_in_which_an_engine_failed_for_everything_is_a_failure(
    catalog, fake_run, monkeypatch, capsys
):
    """A night's script would go on with nothing, or stop for one response that is too long."""
    monkeypatch.setattr("builders.score.prepare.prepare", lambda catalog, options: run)
    command = ["score", "--model", "m", "--name", "student", "--all", "--catalog", catalog.path]

    def ended():
        with cli.make_context("dasd-data", [*map(str, command)]) as context:
            cli.invoke(context)

    run = fake_run(only_eligible=False)
    run.engine.score = lambda requests: (
        ScoreResult(r.key, None, "not finite: nan at scored token 0") for r in requests
    )
    with pytest.raises(DataError, match="none of 6 responses came to anything .6 not finite.: "):
        ended()
    run = fake_run("short", only_eligible=False, max_context=5)
    ended()
    assert "6 failed: over context" in capsys.readouterr().err
    run = fake_run("other", only_eligible=False)
    ended()
    ended()  # nothing is left to be done


def test_an_interrupted_score_keeps_what_is_done(catalog, fake_run):
    """Ctrl-C after a minute would lose the minute."""
    run = fake_run(only_eligible=False)
    whole = run.engine.score

    def interrupted(requests):
        for n, result in enumerate(whole(requests)):
            if n == 4:
                raise KeyboardInterrupt
            yield result

    run.engine.score = interrupted
    with pytest.raises(KeyboardInterrupt):
        score(catalog, run)
    assert values(catalog, "SELECT count(*) FROM sentence_scores") == [(4,)]
    run.engine.score = whole
    assert score(catalog, run)["tokens"] == 2
    assert values(catalog, "SELECT count(*) FROM tokens") == [(6,)]


def test_segment_makes_up_for_what_is_missing(catalog, chat, jsonl, context, monkeypatch):
    """A new segmenter version would need a new ingest."""
    ingest(catalog, [str(jsonl([chat("C?", "One.\nTwo.")], "chat.jsonl"))], context())
    assert segment_missing(catalog) == {}

    from builders.segment import Sentences, derive, stage

    def whole(thinking, answer):
        ends = np.array([len(((thinking or "") + answer).encode())], np.int32)
        return Sentences(ends, np.zeros(1, np.int8), np.zeros(1, np.int8))

    for module in (derive, stage):
        monkeypatch.setattr(module, "SEGMENTER", "whole-1")
    monkeypatch.setattr(derive, "segment", whole)
    counts = segment_missing(catalog)
    assert (counts["sentences"], counts["sentence_scores"]) == (7, 1)
    rows = values(catalog, "SELECT n_tokens FROM sentences_flat")
    assert rows == [(9,)]


def test_filters_judge_once_and_again_when_their_settings_change(catalog):
    """Changed thresholds would keep old verdicts, or each run would repeat all."""
    counts = passing(catalog)
    assert counts["passed: structure"] == 6
    assert passing(catalog)["passed: structure"] == 0
    from dataclasses import replace

    catalog.config = replace(catalog.config, filters={"structure": {"thinking": "optional"}})
    assert passing(catalog)["passed: structure"] == 6
    assert values(
        catalog, "SELECT count(DISTINCT version) FROM flags WHERE filter = 'structure'"
    ) == [(2,)]


def test_evidence_is_kept_only_where_a_filter_failed(catalog, jsonl, context):
    """A rejected response could not be explained."""
    loop = {
        "prompt": "Loop?",
        "completion": "<think>\n" + "again and again we go. " * 40 + "\n</think>\n\nx.",
    }
    ingest(catalog, [str(jsonl([loop], "loop.jsonl"))], context())
    counts = passing(catalog, "repetition")
    assert (counts["passed: repetition"], counts["failed: repetition"]) == (6, 1)
    rows = values(catalog, "SELECT passed, evidence IS NULL FROM flags")
    assert set(rows) == {(True, True), (False, False)}


def test_the_length_filter_says_which_tokenizer_it_needs(catalog):
    """Lengths would be counted under some other tokenizer."""
    with pytest.raises(
        UsageError, match="student's tokenizer, and none is known: pass --tokenizer"
    ):
        configured(catalog, ["length"])


def test_an_unknown_filter_names_the_closest_one(catalog):
    """`--only repetiton` would run nothing."""
    with pytest.raises(UnknownNameError, match="did you mean 'repetition'"):
        configured(catalog, ["repetiton"])


def test_settings_that_are_turned_back_count_again(catalog):
    """After a trial with other thresholds, splits would keep using the trial's verdicts."""
    from dataclasses import replace

    passing(catalog)
    first = catalog.filter_versions()["structure"]
    plain = catalog.config
    catalog.config = replace(plain, filters={"structure": {"thinking": "optional"}})
    passing(catalog)
    assert catalog.filter_versions()["structure"] != first
    catalog.config = plain
    assert passing(catalog)["passed: structure"] == 0
    assert catalog.filter_versions()["structure"] == first


def test_a_few_responses_are_scored_twice_in_other_batches(catalog, fake_run):
    """The noise of a bf16 engine could not be told from a preference of the model."""
    run = fake_run(only_eligible=False)
    engine, batches = run.engine.score, []

    def noisy(requests):
        requests = list(requests)
        batches.append([request.key for request in requests])
        for result in engine(requests):
            yield type(result)(result.key, result.logprobs - 0.5 * (len(batches) > 1))

    run.engine.score = noisy
    counts = score(catalog, run)
    assert (counts["tokens"], counts["repeat_scores"]) == (6, 3)  # no more than half
    assert len(batches[0]) == 6
    assert len(batches[1]) == 3
    assert counts["scored_tokens"] == values(catalog, "SELECT sum(len(logprobs)) FROM tokens")[0][0]
    shifts = values(
        catalog,
        "SELECT list_sum(s.logprob_sum) - list_sum(r.logprob_sum), list_sum(s.n_tokens)"
        " FROM repeat_scores AS r JOIN sentence_scores AS s"
        " USING (response_id, scorer_id, segmentation_id, n_tokens)",
    )
    assert [shift for shift, _ in shifts] == pytest.approx([n / 2 for _, n in shifts], rel=1e-4)
    assert score(catalog, run)["repeat_scores"] == 0


def test_repeat_zero_scores_nothing_twice(catalog, fake_run):
    """Who needs no noise figure would pay for one."""
    assert score(catalog, fake_run(only_eligible=False, repeat=0))["repeat_scores"] == 0
    assert score(catalog, fake_run(only_eligible=False, repeat=0.9))["repeat_scores"] == 3


@pytest.mark.parametrize(
    "stage",
    [
        lambda catalog, run: segment_missing(catalog),
        lambda catalog, run: passing(catalog),
        lambda catalog, run: score(catalog, run(only_eligible=False)),
    ],
    ids=["segment", "filter", "score"],
)
def test_no_stage_derives_rows_from_a_damaged_file(catalog, fake_run, stage):
    """Scores of a damaged text would stay, and look sound, after the file is restored."""
    (path,) = catalog.refresh().files["responses"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=path.name):
        stage(catalog, fake_run)
