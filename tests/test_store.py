"""The store: keyed appends, snapshots, and several writers at once."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import dasd_data
from builders.run import to_table as table
from dasd_data import keys
from dasd_data.errors import ConflictError, DamagedFileError, UsageError
from dasd_data.files import verify
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.store import Store, Writer


def questions(numbers, text="question"):
    """Rows of `questions` numbered so."""
    return table(
        "questions", [{"question_id": f"{n:032x}", "text": f"{text} {n}"} for n in numbers]
    )


def numbers(store):
    """Question numbers at the newest snapshot, sorted, repetitions kept."""
    paths = store.files("questions", store.snapshot().versions["questions"])
    rows = [r for p in paths for r in pq.read_table(p)["question_id"].to_pylist()]
    return sorted(int(r, 16) for r in rows)


def test_the_same_rows_twice_add_nothing(tmp_path):
    """Ingesting a file again would double it."""
    writer = Writer(Store.create(tmp_path), "test")
    assert writer.append({"questions": questions(range(5))})["questions"].new == 5
    again = Writer(Store.open(tmp_path), "test").append({"questions": questions(range(3, 8))})
    assert (again["questions"].new, again["questions"].same) == (3, 2)
    assert numbers(Store.open(tmp_path)) == list(range(8))


def test_the_same_key_with_other_content_is_returned_never_skipped(tmp_path):
    """A changed answer would vanish without a word."""
    writer = Writer(Store.create(tmp_path), "test")
    writer.append({"questions": questions([1])})
    done = writer.append({"questions": questions([1, 2], text="other")})["questions"]
    assert done.new == 1
    assert done.conflicts["text"].to_pylist() == ["other 1"]


def test_a_key_repeated_within_a_batch_is_added_once(tmp_path):
    """A file with a row twice would put both into the catalog."""
    writer = Writer(Store.create(tmp_path), "test")
    done = writer.append({"questions": questions([1, 1])})["questions"]
    assert (done.new, done.same, done.repeated, done.conflicts) == (1, 0, 1, None)


def test_provenance_is_no_part_of_the_content(tmp_path):
    """The same response from a second run would be refused as another one."""
    writer = Writer(Store.create(tmp_path), "test")
    row = {"response_id": "a", "question_id": "q", "answer": "x", "run_id": "one"}
    writer.append({"responses": table("responses", [row])})
    done = writer.append({"responses": table("responses", [{**row, "run_id": "two"}])})
    assert (done["responses"].same, done["responses"].conflicts) == (1, None)


def test_content_hashes_tell_null_empty_and_moved_values_apart():
    """Two different rows would count as the same."""
    rows = table(
        "responses",
        [
            {"response_id": "a", "thinking": None, "answer": "x"},
            {"response_id": "b", "thinking": "", "answer": "x"},
            {"response_id": "c", "thinking": "x", "answer": ""},
            {"response_id": "d", "thinking": None, "answer": "x"},
        ],
    )
    a, b, c, d = keys.content_hashes(rows, TABLES["responses"].content)
    assert len({a, b, c}) == 3
    assert a == d


def test_content_hashes_do_not_depend_on_slices_and_chunks():
    """Appending in other batches would make every row look changed."""
    import pyarrow as pa

    rows = table(
        "tokens",
        [{"response_id": str(i), "scorer_id": "s", "token_ids": list(range(i))} for i in range(9)],
    )
    columns = TABLES["tokens"].content
    whole = keys.content_hashes(rows, columns)
    parts = pa.concat_tables([rows.slice(0, 4), rows.slice(4)])
    assert keys.content_hashes(parts, columns).tolist() == whole.tolist()
    assert keys.content_hashes(rows.slice(5, 2), columns).tolist() == whole[5:7].tolist()


def test_a_key_index_finds_what_was_added_and_nothing_else():
    """Keyed appends would lose or repeat rows."""
    import numpy as np
    import pyarrow as pa

    index = keys.KeyIndex()
    index.add(pa.table({"a": ["x", "y"], "b": [1, 2]}), np.array([10, 20]))
    index.add(pa.table({"a": ["z"], "b": [3]}), np.array([30]))
    found, content = index.find(pa.table({"a": ["y", "y", "z", "q"], "b": [2, 1, 3, 9]}))
    assert found.tolist() == [True, False, True, False]
    assert content.tolist() == [20, 0, 30, 0]
    assert len(index) == 3


def _append(path: str, start: int) -> int:
    writer = Writer(Store.open(Path(path)), f"from {start}")
    return sum(
        writer.append({"questions": questions(range(start + i * 10, start + i * 10 + 20))})[
            "questions"
        ].new
        for i in range(6)
    )


@pytest.mark.slow
def test_writers_of_overlapping_rows_add_each_row_once(tmp_path):
    """Two ingests at once would lose or repeat rows."""
    Store.create(tmp_path)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        added = pool.starmap(_append, [(str(tmp_path), start) for start in (0, 5, 30)])
    store = Store.open(tmp_path)
    assert numbers(store) == list(range(100))
    assert sum(added) == 100
    history = store.snapshots()
    assert [s.snapshot_id for s in history] == list(range(1, len(history) + 1))


def test_another_commit_in_between_makes_the_writer_look_again(tmp_path):
    """Rows committed between reading keys and committing would be repeated."""
    store = Store.create(tmp_path)
    late = []

    def intrude(step):
        if step == "questions: written" and not late:
            late.append(step)
            Writer(Store.open(tmp_path), "other").append({"questions": questions([2, 3])})

    store.checkpoint = intrude
    done = Writer(store, "test").append({"questions": questions([1, 2])})["questions"]
    assert (done.new, done.same) == (1, 1)
    assert numbers(store) == [1, 2, 3]


def test_a_writer_that_always_loses_says_so(tmp_path, monkeypatch):
    """A job would wait for ever among too many others."""
    monkeypatch.setattr("dasd_data.store._ATTEMPTS", 3)
    store = Store.create(tmp_path)
    counter = iter(range(100, 200))

    def intrude(step):
        if step == "questions: written":
            other = Store.open(tmp_path)
            Writer(other, "other").append({"questions": questions([next(counter)])})

    store.checkpoint = intrude
    with pytest.raises(ConflictError, match="3 other commits to questions came first"):
        Writer(store, "test").append({"questions": questions([1])})


def test_a_snapshot_never_shows_a_response_before_its_children(tmp_path):
    """A reader would see a response without its tokens."""
    store = Store.create(tmp_path)
    seen = []

    def look(step):
        if step.endswith("committed") and not step.startswith("snapshots"):
            snapshot = Store.open(tmp_path).record("look")
            seen.append({n: v for n, v in snapshot.versions.items() if v})

    store.checkpoint = look
    response = table("responses", [{"response_id": "a", "question_id": "q", "answer": "x"}])
    tokens = table("tokens", [{"response_id": "a", "scorer_id": "s", "token_bytes": [1]}])
    Writer(store, "test").append({"responses": response, "tokens": tokens})
    assert seen == [{"tokens": 1}, {"tokens": 1, "responses": 1}]


def test_a_commit_while_a_snapshot_is_recorded_is_seen_whole_or_not_at_all(tmp_path):
    """A snapshot could hold a response whose tokens came a moment too late for it."""
    store = Store.create(tmp_path)
    response = table("responses", [{"response_id": "a", "question_id": "q", "answer": "x"}])
    tokens = table("tokens", [{"response_id": "a", "scorer_id": "s", "token_bytes": [1]}])
    read, intruded = store.delta, []

    def delta(name, version=None):
        handle = read(name, version)
        if name in {"responses", "tokens"} and not intruded:  # after the first of the two is read
            intruded.append(name)
            other = Writer(Store.open(tmp_path), "other")  # it has not come to its snapshot yet
            other.table("tokens").append(tokens)
            other.table("responses").append(response)
        return handle

    store.delta = delta
    versions = store.record("look").versions
    assert versions["tokens"] >= versions["responses"]
    assert (versions["tokens"], versions["responses"]) == (1, 0)


def test_old_snapshots_stay_readable_and_unknown_ones_are_refused(tmp_path):
    """A published split could not be rebuilt from its own state."""
    store = Store.create(tmp_path)
    writer = Writer(store, "test")
    for n in range(3):
        writer.append({"questions": questions([n])})
    first = store.snapshot(2)
    assert len(store.files("questions", first.versions["questions"])) == 1
    with pytest.raises(UsageError, match="no snapshot 9: they run from 1 to 4"):
        store.snapshot(9)


def test_logs_and_files_are_kept_for_ever(tmp_path):
    """After 60 days time travel would silently be gone."""
    Store.create(tmp_path)
    for name in (*TABLES, SNAPSHOTS.name):
        settings = DeltaTable(tmp_path / "tables" / name).metadata().configuration
        assert settings["delta.logRetentionDuration"] == "interval 36500 days"
        assert settings["delta.deletedFileRetentionDuration"] == "interval 36500 days"


def test_every_column_carries_its_comment_into_the_table(tmp_path):
    """Spark or Polars users would see bare column names."""
    Store.create(tmp_path)
    for spec in TABLES.values():
        fields = DeltaTable(tmp_path / "tables" / spec.name).schema().fields
        assert [(f.name, f.metadata["comment"]) for f in fields] == [
            (c.name, c.comment) for c in spec.columns
        ]
        assert all(c.comment for c in spec.columns)


def test_files_are_named_by_their_hash_and_sorted_by_key(tmp_path):
    """Damage could not be found, and every read would be slower."""
    import hashlib

    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([3, 1, 2])})
    (path,) = store.files("questions", 1)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert pq.read_table(path)["text"].to_pylist() == ["question 1", "question 2", "question 3"]


def test_a_damaged_or_missing_file_is_named(tmp_path):
    """DuckDB reads most flipped bits without an error."""
    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([1])})
    (path,) = store.files("questions", 1)
    verified: dict[str, list[int]] = {}
    verify(path, verified)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=path.name):
        verify(path, verified)
    path.unlink()
    with pytest.raises(DamagedFileError, match="is missing"):
        verify(path, verified)


def test_opening_no_catalog_says_how_to_make_one(tmp_path):
    """A user in the wrong folder would get a stack trace."""
    with pytest.raises(UsageError, match="run `dasd-data init"):
        dasd_data.open(tmp_path / "nowhere")


def test_a_folder_of_sql_is_refused_as_a_catalog(tmp_path):
    """`--catalog catalog` in a checkout would write tables among the SQL."""
    (tmp_path / "catalog" / "views").mkdir(parents=True)
    (tmp_path / "catalog" / "macros.sql").write_text("")
    with pytest.raises(UsageError, match="holds SQL files"):
        dasd_data.create(tmp_path / "catalog")
    with pytest.raises(UsageError, match="holds SQL files"):
        dasd_data.open(tmp_path / "catalog")
