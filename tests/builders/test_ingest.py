"""The ingest stage: files in, rows out, nothing lost and nothing twice."""

from __future__ import annotations

import json
import math
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dasd_data
from builders.ingest.stage import ingest
from builders.segment.stage import segment_missing
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError
from dasd_data.gc import collect


@pytest.fixture
def catalog(tmp_path):
    """An empty catalog."""
    return dasd_data.create(tmp_path / "dasd.catalog")


def values(catalog, query):
    """Rows of a query at the newest snapshot."""
    return catalog.refresh().sql(query).fetchall()


def test_log_probs_arrive_as_sums_per_sentence(catalog, jsonl, chat, context):
    """p of a sentence would not be that of its tokens."""
    text = "Ab.\nCd."  # newline ends the first sentence and belongs to it
    logprobs = [-0.1, -0.2, -0.3, -0.4, -1.0, -2.0, -3.0]
    counts = ingest(catalog, [str(jsonl([chat("Q?", text, logprobs)]))], context())
    assert (counts["responses"], counts["tokens"], counts["sentence_scores"]) == (1, 1, 1)
    rows = values(catalog, "SELECT n_tokens, logprob_sum, p FROM sentences_flat ORDER BY ALL DESC")
    first, second = sorted(rows, key=lambda r: -r[0])
    assert first[0] == 4
    assert first[1] == pytest.approx(-1.0)
    assert first[2] == pytest.approx(math.exp(-0.25))
    assert (second[0], second[1]) == (3, pytest.approx(-6.0))


def test_the_same_file_twice_adds_nothing(catalog, jsonl, chat, context):
    """A second run of a script would double the data."""
    path = str(jsonl([chat("Q?", "A."), chat("R?", "B.")]))
    ingest(catalog, [path], context())
    before = catalog.refresh().snapshot.versions
    counts = ingest(catalog, [path], context())
    after = catalog.refresh().snapshot.versions
    assert (counts["responses"], counts["same responses"]) == (0, 2)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"runs", "run_events"}


def test_a_bad_row_goes_to_quarantine_and_its_neighbours_are_kept(catalog, jsonl, chat, context):
    """One torn line would cost a file, or vanish."""
    rows = [chat("Q?", "A."), '{"object": "chat.comp', chat("R?", "B.")]
    counts = ingest(catalog, [str(jsonl(rows))], context())
    assert (counts["rows"], counts["responses"], counts["refused"]) == (3, 2, 1)
    ((file, line, reason, raw),) = values(catalog, "SELECT file, line, reason, raw FROM quarantine")
    assert file.endswith("rows.jsonl")
    assert line == 2
    assert reason
    assert raw == '{"object": "chat.comp'


def test_strict_stops_at_the_first_bad_row_with_its_place(catalog, jsonl, chat, context):
    """A pipeline that must not lose rows could not be told so."""
    path = jsonl([chat("Q?", "A."), "{"])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: "):
        ingest(catalog, [str(path)], context(), strict=True)


def test_the_same_key_with_another_text_is_quarantined(catalog, jsonl, context):
    """A regenerated answer under an old id would be skipped in silence."""
    row = {"uuid": "k1", "prompt": "Q?", "completion": "A."}
    ingest(catalog, [str(jsonl([row]))], context())
    counts = ingest(catalog, [str(jsonl([{**row, "completion": "Other."}]))], context())
    assert (counts["responses"], counts["refused"]) == (0, 1)
    assert values(catalog, "SELECT answer FROM responses") == [("A.",)]
    ((reason, line),) = values(catalog, "SELECT reason, line FROM quarantine")
    assert "same key and other content" in reason
    assert line == 1
    assert values(catalog, "SELECT count(*) FROM sentences") == [(1,)]


def test_a_corrected_row_never_gets_the_children_of_the_text_before(catalog, jsonl, context):
    """After a kill between two commits its sentences would be those of the other text."""

    class Killed(BaseException):
        pass

    def kill(step):
        if step == "responses: before write":
            raise Killed

    row = {"uuid": "k1", "prompt": "Q?", "completion": "One sentence. Two sentences."}
    catalog.store.checkpoint = kill
    with pytest.raises(Killed):
        ingest(catalog, [str(jsonl([row]))], context())
    catalog.store.checkpoint = lambda step: None
    corrected = {**row, "completion": "Another text."}
    counts = ingest(catalog, [str(jsonl([corrected]))], context())
    assert (counts["responses"], counts["refused"]) == (0, 1)
    ((reason,),) = values(catalog, "SELECT reason FROM quarantine")
    assert "dasd-data gc --pending" in reason
    collect(catalog.store, pending=True, safe_seconds=-60)
    assert ingest(catalog, [str(jsonl([corrected]))], context())["responses"] == 1
    joined = "SELECT answer, byte_end FROM responses JOIN sentences USING (response_id)"
    assert values(catalog, joined) == [("Another text.", [13])]


def test_a_row_that_another_process_announced_meanwhile_is_quarantined(catalog, jsonl, context):
    """The text of one version of a row would be stored with the sentences of the other."""
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    row = {"uuid": uuid, "prompt": "Q?", "completion": "One sentence. Two sentences."}
    intruded = []

    def intrude(step):
        if step == "announced: written" and not intruded:
            intruded.append(step)
            other = Catalog(catalog.config)
            ingest(other, [str(jsonl([{**row, "completion": "Other."}], "other.jsonl"))], context())

    catalog.store.checkpoint = intrude
    counts = ingest(catalog, [str(jsonl([row]))], context())
    assert (counts["responses"], counts["refused"]) == (0, 1)
    joined = "SELECT answer, byte_end FROM responses JOIN sentences USING (response_id)"
    assert values(catalog, joined) == [("Other.", [6])]


def test_log_probs_may_come_before_or_after_their_text(
    catalog, jsonl, context, tmp_path, shared_data
):
    """The published companion could only be read in one order."""
    from tokenizers import Tokenizer

    folder = shared_data("tokenizers/gpt-oss")
    thinking, answer = "We add. 2+2 is 4.", "It is 4."
    encode = Tokenizer.from_file(str(folder / "tokenizer.json")).encode
    thought = encode(thinking, add_special_tokens=False).ids
    final = encode(answer, add_special_tokens=False).ids
    header = encode("final", add_special_tokens=False).ids
    ids = [
        *thought,
        200007,
        200006,
        *encode("assistant").ids,
        200005,
        *header,
        200008,
        *final,
        200002,
    ]
    uuid = "0f8fad5b-d9cb-469f-a165-70867728950e"
    text = {
        "uuid": uuid,
        "input": "What is 2+2?",
        "output": f"<think>\n{thinking}\n</think>\n\n{answer}",
        "domain": "math",
        "meta": "{}",
    }
    scored = {"sample_uuid": uuid, "token_ids": ids, "logprobs": [-0.25] * len(ids)}
    files = [str(jsonl([text], "stage1.jsonl")), str(jsonl([scored], "logprob.jsonl"))]
    results = []
    for name, order in (("one", files), ("two", files[::-1])):
        other = dasd_data.create(tmp_path / f"{name}.catalog", settings=False)
        for path in order:
            ingest(other, [path], context(tokenizer=str(folder)))
        results.append(
            values(other, "SELECT section, n_tokens, round(p, 6) FROM sentences_flat ORDER BY ALL")
        )
    assert results[0] == results[1]
    assert sum(n for _, n, _ in results[0]) == len(thought) + len(final)
    assert {p for *_, p in results[0]} == {round(math.exp(-0.25), 6)}


def test_two_files_and_two_runs_keep_their_sources(catalog, jsonl, context):
    """A question's licence and source could not be traced."""
    one = jsonl([{"prompt": "Q?", "completion": "A.", "license": "mit"}], "one.jsonl")
    two = jsonl([{"prompt": "Q?", "completion": "B."}], "two.jsonl")
    three = jsonl([{"prompt": "R?", "completion": "C."}], "three.jsonl")
    ingest(catalog, [str(one), str(two)], context(domain="math"))
    ingest(catalog, [str(three)], context(domain="code"))
    rows = values(
        catalog,
        "SELECT q.text, s.source, s.license FROM question_sources AS s JOIN questions AS q"
        " USING (question_id) ORDER BY ALL",
    )
    assert rows == [("Q?", "one", "mit"), ("Q?", "two", None), ("R?", "three", None)]
    runs = values(catalog, "SELECT stage, count(*) FROM runs GROUP BY ALL")
    assert runs == [("ingest", 2)]


def test_an_interrupted_ingest_keeps_what_was_read_and_resumes(
    catalog, jsonl, context, monkeypatch
):
    """Ctrl-C would lose the batch, or a second run repeat it."""
    path = str(jsonl([{"prompt": f"Q{i}?", "completion": "A."} for i in range(9)]))
    from builders import read

    whole = read.read

    def interrupted(*args, **kwargs):
        for n, row in enumerate(whole(*args, **kwargs)):
            if n == 4:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(read, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ingest(catalog, [path], context())
    assert values(catalog, "SELECT count(*) FROM responses") == [(4,)]
    assert values(catalog, "SELECT event FROM run_events") == [("interrupted",)]
    monkeypatch.setattr(read, "read", whole)
    counts = ingest(catalog, [path], context())
    assert (counts["responses"], counts["same responses"]) == (5, 4)


def test_batches_by_size_give_the_same_rows(catalog, jsonl, chat, context, monkeypatch):
    """What is read would depend on where a batch ends."""
    monkeypatch.setattr("builders.ingest.stage.BATCH_BYTES", 100)
    path = jsonl([chat(f"Q{i}?", f"Answer {i}.\nDone.") for i in range(12)])
    counts = ingest(catalog, [str(path)], context())
    assert counts["responses"] == 12
    assert values(catalog, "SELECT count(*) FROM sentences_flat") == [(24,)]
    assert len(catalog.files["responses"]) > 1


def test_gzip_and_json_numbers_survive(catalog, chat, context, tmp_path):
    """Compressed exports would have to be unpacked first."""
    import gzip

    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(chat("Q?", "Ä😀.")).encode()))
    assert ingest(catalog, [str(path)], context())["responses"] == 1
    assert values(catalog, "SELECT answer FROM responses") == [("Ä😀.",)]


def test_a_domain_given_later_counts(catalog, jsonl, context):
    """A forgotten `--domain` could not be made up for."""
    path = jsonl([{"prompt": "Q?", "completion": "A."}])
    ingest(catalog, [str(path)], context())
    assert values(catalog, "SELECT domain FROM question_domains") == [(None,)]
    counts = ingest(catalog, [str(path)], context(domain="code"))
    assert (counts["refused"], counts["same responses"]) == (0, 1)
    assert values(catalog, "SELECT domain FROM question_domains") == [("code",)]


def test_the_order_of_files_does_not_decide_a_domain(jsonl, context, tmp_path):
    """The same data would make another split after a rebuild."""
    row = {"prompt": "Q?", "completion": "A."}
    files = [
        str(jsonl([{**row, "domain": "science"}], "a.jsonl")),
        str(jsonl([{**row, "domain": "math"}], "b.jsonl")),
    ]
    domains = []
    for name, order in (("one", files), ("two", files[::-1])):
        other = dasd_data.create(tmp_path / f"{name}.catalog", settings=False)
        for path in order:
            ingest(other, [path], context())
        domains += values(other, "SELECT domain FROM question_domains")
    assert domains == [("science",), ("science",)]


def test_rows_that_share_a_questions_id_are_responses_of_their_own(catalog, jsonl, context):
    """One row a completion, with the question's id: all but one would be refused."""
    rows = [
        {"id": "q1", "prompt": "2+2?", "completion": "4 it is."},
        {"id": "q1", "prompt": "2+2?", "completion": "Four."},
        {"id": "q1", "prompt": "2+2?", "completion": "Four.", "temperature": 1.0},
    ]
    counts = ingest(catalog, [str(jsonl(rows))], context())
    assert (counts["responses"], counts["refused"]) == (3, 0)


def test_files_of_one_name_in_two_folders_do_not_collide(catalog, context, tmp_path):
    """`run1/train.jsonl` and `run2/train.jsonl` number their rows alike."""
    for n, question in enumerate(("2+2?", "Capital of France?")):
        folder = tmp_path / f"run{n}"
        folder.mkdir()
        row = {"uuid": "1", "prompt": question, "completion": "A."}
        (folder / "train.jsonl").write_text(json.dumps(row))
    counts = ingest(catalog, [str(tmp_path / "run0"), str(tmp_path / "run1")], context())
    assert (counts["responses"], counts["refused"]) == (2, 0)


def test_a_refused_response_takes_its_own_tokens_only(catalog, jsonl, chat, context):
    """The good row would lose its log-probs, or get those of the other text."""
    good, bad = chat("Q?", "Good."), chat("Q?", "Bad text.")
    for row in (good, bad):
        row["uuid"] = "k1"
    counts = ingest(catalog, [str(jsonl([good, bad]))], context())
    assert (counts["responses"], counts["refused"]) == (1, 1)
    ((line, reason),) = values(catalog, "SELECT line, reason FROM quarantine")
    assert line == 2
    assert "responses: a row with the same key and other content is there already" in reason
    query = (
        "SELECT answer, sum(n_tokens) FROM sentences_flat JOIN responses USING (response_id)"
        " GROUP BY ALL"
    )
    assert values(catalog, query) == [("Good.", 5)]
    again = ingest(catalog, [str(jsonl([bad]))], context())
    assert (again["responses"], again["tokens"], again["refused"]) == (0, 0, 1)


def test_log_probs_that_nothing_joins_are_refused(catalog, jsonl, context, byte_tokenizer):
    """They would lie in the catalog for ever, and nothing would say so."""
    row = {"r": "r-1", "ids": [65], "lp": [-0.5]}
    mapping = {"key": "r", "token_ids": "ids", "logprobs": "lp"}
    given = context(mapping=mapping, as_kind="logprobs", tokenizer=byte_tokenizer)
    counts = ingest(catalog, [str(jsonl([row]))], given)
    assert (counts["tokens"], counts["refused"]) == (0, 1)
    ((why,),) = values(catalog, "SELECT reason FROM quarantine")
    assert "joined to it by a uuid, and 'r-1' is none" in why


def test_temperatures_of_32_bit_columns_are_the_ones_that_were_meant(catalog, context, tmp_path):
    """0.6 written as a 32-bit float would match no view."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"prompt": ["Q?"], "completion": ["A."]}
    table = pa.table({**columns, "temperature": pa.array([0.6], pa.float32())})
    pq.write_table(table, tmp_path / "rows.parquet")
    ingest(catalog, [str(tmp_path / "rows.parquet")], context())
    assert values(catalog, "SELECT temperature = 0.6 FROM responses") == [(True,)]


def test_what_was_read_before_an_error_stays(catalog, jsonl, context):
    """A missing flag for the second file would lose the first one."""
    from dasd_data.errors import UsageError

    first = jsonl([{"prompt": "Q?", "completion": "A."}], "a.jsonl")
    second = jsonl([{"prompt": "R?", "completion": "B.", "token_ids": [1]}], "b.jsonl")
    with pytest.raises(UsageError, match="--tokenizer"):
        ingest(catalog, [str(first), str(second)], context())
    assert values(catalog, "SELECT answer FROM responses") == [("A.",)]


def test_cut_and_whole_responses_share_a_scorer(catalog, jsonl, chat, context):
    """One cut response would make `teacher` ambiguous for the whole file."""
    whole = chat("Q?", "<think>\nHm.\n</think>\n\nYes.")
    cut = chat("R?", "Yes.")
    ingest(catalog, [str(jsonl([whole, cut]))], context())
    assert values(catalog, "SELECT count(DISTINCT scorer_id) FROM scorers") == [(1,)]
    assert values(catalog, "SELECT count(*) FROM sentence_scores") == [(2,)]


def test_an_interruption_within_a_row_takes_the_row_whole(
    catalog, chat, jsonl, context, monkeypatch
):
    """Ctrl-C would leave a response that is acknowledged, but without its tokens."""
    from builders.ingest.batch import Batch

    add_tokens = Batch._tokens

    def interrupted(self, response, *more):
        if len(self.rows["responses"]) == 2:
            signal.raise_signal(signal.SIGINT)
        add_tokens(self, response, *more)

    monkeypatch.setattr(Batch, "_tokens", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = [chat(f"Question {n}?", f"Answer {n}.") for n in range(4)]
    try:
        with pytest.raises(KeyboardInterrupt):
            ingest(catalog, [str(jsonl(rows))], context())
    finally:
        signal.signal(signal.SIGINT, before)
    catalog.refresh()
    counts = "SELECT (SELECT count(*) FROM responses), (SELECT count(*) FROM tokens)"
    assert catalog.sql(counts).fetchall() == [(2, 2)]
    assert catalog.sql("SELECT event FROM run_events").fetchall() == [("interrupted",)]


def test_what_cannot_be_aligned_is_tried_once(catalog, jsonl, context, byte_tokenizer):
    """Each run would read the tokens of all such responses again, for the same reasons."""
    uuid = "8f1c0000-0000-4000-8000-000000000000"
    text = {"uuid": uuid, "input": "Q?", "output": "<think>\nAb.\n</think>\n\nC.",
            "domain": "math", "meta": ""}  # fmt: skip
    scored = {"sample_uuid": uuid, "token_ids": list(b"other"), "logprobs": [-1.0] * 5}
    files = [str(jsonl([text], "stage1.jsonl")), str(jsonl([scored], "logprob.jsonl"))]
    given = context(tokenizer=byte_tokenizer)
    assert ingest(catalog, files, given)["unaligned"] == 1
    tried = "SELECT attempt, reason FROM attempts ORDER BY attempt"
    ((attempt, reason),) = values(catalog, tried)
    assert attempt == 0
    assert "check --tokenizer" in reason
    assert segment_missing(catalog) == {}
    assert ingest(catalog, files, given)["unaligned"] == 0
    assert segment_missing(catalog, retry=True)["unaligned"] == 1
    assert values(catalog, tried) == [(0, reason), (1, reason)]


def test_true_is_no_log_prob(catalog, jsonl, chat, context):
    """A server's odd answer would stand in the catalog as a probability of 1."""
    rows = [chat(f"Q{i}?", "ab", [-1.0, value]) for i, value in enumerate([False, True, 0])]
    counts = ingest(catalog, [str(jsonl(rows))], context())
    assert (counts["refused"], counts["tokens"]) == (2, 1)
    for (reason,) in values(catalog, "SELECT reason FROM quarantine"):
        assert "`logprobs`[1] is not a number but a truth value" in reason


def test_other_columns_are_kept_as_json(catalog, tmp_path, context):
    """A NaN among them is no JSON: DuckDB and Spark would stop at the row."""
    columns = {
        "task_id": ["HumanEval/0"], "prompt": ["def f():"], "canonical_solution": ["1"],
        "test": [[1.5, math.nan]], "entry_point": [math.inf],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    ingest(catalog, [str(tmp_path / "a.parquet")], context())
    ((meta,),) = values(catalog, "SELECT meta FROM question_sources")
    kept = json.loads(meta, parse_constant=pytest.fail)
    assert kept["test"] == [1.5, None]
    assert kept["entry_point"] is None


def test_what_nothing_says_of_a_response_is_counted(catalog, jsonl, context):
    """No view would take the responses, and nobody would know why."""
    rows = [
        {"prompt": "Q?", "completion": "A."},
        {"prompt": "R?", "completion": "B.", "model": "m"},
    ]
    path = str(jsonl(rows))
    counts = ingest(catalog, [path], context())
    assert (counts["no model"], counts["no temperature"]) == (1, 2)
    assert not any(ingest(catalog, [path], context())[f"no {n}"] for n in ("model", "temperature"))


def test_files_that_come_again_with_other_settings_are_told(catalog, jsonl, context):
    """The same responses would stand in the catalog twice, once without a temperature."""
    keyed = {"prompt": "Q?", "completion": "A.", "uuid": "8f1c0000-0000-4000-8000-000000000000"}
    path = str(jsonl([keyed, {"prompt": "R?", "completion": "B."}]))
    ingest(catalog, [path], context())
    counts = ingest(catalog, [path], context(temperature=0.6))
    assert (counts["responses"], counts["refused"]) == (1, 1)
    assert counts["set otherwise: temperature: none, now 0.6"] == 1
    again = ingest(catalog, [path], context(temperature=0.6))
    assert not any(name.startswith("set otherwise") for name in again)
