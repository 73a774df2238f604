"""The store: keyed appends, snapshots, and several writers at once."""

from __future__ import annotations

import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import dasd_data
from builders.run import to_table as table
from dasd_data import keys, log
from dasd_data.errors import ConflictError, DamagedFileError, UsageError
from dasd_data.files import verify
from dasd_data.schema import SNAPSHOTS, TABLES
from dasd_data.snapshots import parse_at
from dasd_data.store import Store
from dasd_data.tables import listed
from dasd_data.writer import Writer


def questions(numbers, text="question"):
    """Rows of `questions` numbered so."""
    return table(
        "questions", [{"question_id": f"{n:032x}", "text": f"{text} {n}"} for n in numbers]
    )


def numbers(store):
    """Question numbers at the newest snapshot, sorted, repetitions kept."""
    paths = store.files("questions", store.snapshot().tables["questions"])
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
    done = writer.append({"questions": questions([1, 2, 1, 1])})["questions"]
    assert (done.new, done.same, done.repeated, done.conflicts) == (1, 1, 2, None)
    done = writer.append({"questions": questions([1, 1], text="other")})["questions"]
    assert (done.new, done.same, done.repeated, len(done.conflicts)) == (0, 0, 0, 2)


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
    monkeypatch.setattr("dasd_data.tables.ATTEMPTS", 3)
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
    assert seen == [
        {"announced": 1},
        {"announced": 1, "tokens": 1},
        {"announced": 1, "tokens": 1, "responses": 1},
    ]


def test_a_commit_while_a_snapshot_is_recorded_is_seen_whole_or_not_at_all(tmp_path, monkeypatch):
    """A snapshot could hold a response whose tokens came a moment too late for it."""
    store = Store.create(tmp_path)
    response = table("responses", [{"response_id": "a", "question_id": "q", "answer": "x"}])
    tokens = table("tokens", [{"response_id": "a", "scorer_id": "s", "token_bytes": [1]}])
    read, intruded = log.advance, []

    def advance(state, folder, to=None):
        found = read(state, folder, to)
        if folder.name in {"responses", "tokens"} and not intruded:  # the first of the two is read
            intruded.append(folder.name)
            other = Writer(Store.open(tmp_path), "other")  # it has not come to its snapshot yet
            other.table("tokens").append(tokens)
            other.table("responses").append(response)
        return found

    monkeypatch.setattr(log, "advance", advance)
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
    assert len(store.files("questions", first.tables["questions"])) == 1
    with pytest.raises(UsageError, match="no snapshot 9: there are 1 to 4"):
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
    (path,) = store.files("questions", store.snapshot().tables["questions"])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert pq.read_table(path)["text"].to_pylist() == ["question 1", "question 2", "question 3"]


def test_a_damaged_or_missing_file_is_named(tmp_path):
    """DuckDB reads most flipped bits without an error."""
    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([1])})
    (path,) = store.files("questions", store.snapshot().tables["questions"])
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


def damage(path, old, new):
    """Replace bytes in a file, as a flipped bit would."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_a_flipped_bit_in_a_log_is_refused_where_delta_reads_on(tmp_path):
    """delta-rs leaves out a file whose "add" became "bdd": a build would miss its rows."""
    store = Store.create(tmp_path)
    writer = Writer(store, "test")
    for n in range(3):
        writer.append({"questions": questions([n])})
    damage(log.path(store.folder("questions"), 2), b'"add"', b'"bdd"')
    assert len(DeltaTable(store.folder("questions")).file_uris()) == 2  # silently
    with pytest.raises(DamagedFileError, match="table questions of .* is damaged"):
        dasd_data.open(tmp_path).sql("FROM questions")
    with pytest.raises(DamagedFileError, match="run `dasd-data verify`"):
        Writer(Store.open(tmp_path), "test").append({"questions": questions([1])})
    assert len(dasd_data.open(tmp_path, at=2).files["questions"]) == 1


def test_a_damaged_log_is_not_blessed_by_the_next_snapshot(tmp_path):
    """The record of what should be there would be taken from what is left."""
    store = Store.create(tmp_path)
    for n in range(2):
        Writer(store, "test").append({"questions": questions([n])})
    damage(log.path(store.folder("questions"), 1), b'"add"', b'"bdd"')
    later = Store.open(tmp_path).record("look")
    assert later.tables["questions"].files == 2
    with pytest.raises(DamagedFileError):
        store.files("questions", later.tables["questions"])


def test_a_log_that_lost_its_last_entry_is_refused(tmp_path):
    """The catalog would look like a younger one, and the last commits would be gone."""
    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([1])})
    log.path(store.folder("snapshots"), 2).unlink()
    with pytest.raises(DamagedFileError, match="snapshot 2 was recorded, and the log .* ends at 1"):
        dasd_data.open(tmp_path)


def test_the_note_of_the_newest_snapshot_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """After a power cut it could be empty, and every command would refuse the catalog."""
    flushed, sync = set(), os.fsync

    def fsync(handle):
        flushed.add(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    Store.create(tmp_path)
    assert (tmp_path / "tables" / "head.json").stat().st_ino in flushed
    assert list((tmp_path / "tables").glob("*.tmp")) == []


def test_a_table_that_lost_its_last_entry_is_neither_read_nor_written(tmp_path):
    """The next commit would take the lost one's place."""
    store = Store.create(tmp_path)
    for n in range(2):
        Writer(store, "test").append({"questions": questions([n])})
    log.path(store.folder("questions"), 2).unlink()
    with pytest.raises(DamagedFileError):
        dasd_data.open(tmp_path).sql("FROM questions")
    with pytest.raises(DamagedFileError, match="other files at version 1"):
        Writer(Store.open(tmp_path), "test").append({"questions": questions([3])})


def test_a_damaged_row_of_snapshots_is_refused(tmp_path):
    """What is checked against would itself be wrong."""
    store = Store.create(tmp_path)
    (path,) = store.folder("snapshots").glob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=path.name):
        dasd_data.open(tmp_path)


def test_a_file_of_another_size_is_refused_on_opening(tmp_path):
    """A torn copy of a catalog would fail in the middle of a query, or not at all."""
    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([1])})
    (path,) = store.folder("questions").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match=rf"{path.name} is damaged: it has .* bytes"):
        dasd_data.open(tmp_path).sql("FROM questions")
    path.unlink()
    with pytest.raises(DamagedFileError, match=rf"{path.name} is missing"):
        dasd_data.open(tmp_path).sql("FROM questions")


def test_a_log_cannot_lead_out_of_the_catalog(tmp_path):
    """Someone else's catalog, once opened, would show files of the reader's."""
    store = Store.create(tmp_path / "catalog")
    Writer(store, "test").append({"questions": questions([1])})
    for name in ("questions", "snapshots"):
        (path,) = [f for f in store.newest(name)[2] if f.rows == 1][-1:]
        outside = tmp_path / path.name
        outside.write_bytes((store.folder(name) / path.name).read_bytes())
        for version in (0, 1, 2):
            entry = log.path(store.folder(name), version)
            if entry.exists():
                entry.write_text(entry.read_text().replace(path.name, f"../../../{path.name}"))
        with pytest.raises(DamagedFileError, match="a log names '../../../.*', which is no data"):
            dasd_data.open(store.path).sql("FROM questions")
        with pytest.raises(DamagedFileError, match="a log names"):
            listed(store.delta(name))


def test_a_data_file_that_is_a_link_is_refused(tmp_path):
    """Someone else's catalog, once opened, would show files of the reader's."""
    store = Store.create(tmp_path / "catalog")
    Writer(store, "test").append({"questions": questions([1])})
    (path,) = store.folder("questions").glob("*.parquet")
    path.rename(tmp_path / "outside.parquet")
    path.symlink_to(tmp_path / "outside.parquet")
    with pytest.raises(DamagedFileError, match="is a link"):
        dasd_data.open(store.path).sql("FROM questions")


def test_an_unchanged_mtime_does_not_hide_a_change(tmp_path):
    """Whoever restores times (rsync, tar) would make a damaged file look checked."""
    store = Store.create(tmp_path)
    Writer(store, "test").append({"questions": questions([1])})
    (path,) = store.folder("questions").glob("*.parquet")
    verified: dict[str, list[int]] = {}
    verify(path, verified)
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(DamagedFileError, match=path.name):
        verify(path, verified)


def test_delta_reads_a_long_log_from_a_checkpoint(tmp_path):
    """Opening a catalog would take longer with every commit."""
    store = Store.create(tmp_path)
    for n in range(26):
        store.record(f"number {n}")
    checkpoints = list((store.folder("snapshots") / "_delta_log").glob("*.checkpoint.parquet"))
    assert len(checkpoints) == 1
    assert store.snapshot().what == "number 25"


def test_snapshots_are_found_by_number_from_the_end_and_by_time(tmp_path):
    """A published split could not be rebuilt from its own state."""
    store = Store.create(tmp_path)
    for n in range(3):
        Writer(store, "test").append({"questions": questions([n])})
    history = store.snapshots()
    assert [s.snapshot_id for s in history] == [1, 2, 3, 4]
    assert [s.tables["questions"].rows for s in history] == [0, 1, 2, 3]
    assert store.snapshot(-1) == store.snapshot(3) == history[2]
    assert store.snapshot(history[1].at) == history[1]
    assert store.snapshot(history[2].at - timedelta(microseconds=1)) == history[1]
    assert dasd_data.open(tmp_path, at=3).sql(
        "SELECT max(snapshot_id) FROM snapshots"
    ).fetchall() == [(3,)]
    with pytest.raises(UsageError, match="no snapshot at or before 1999"):
        store.snapshot(datetime(1999, 1, 1, tzinfo=UTC))
    for unknown in (5, -4):
        with pytest.raises(UsageError, match=f"no snapshot {unknown}: there are 1 to 4"):
            store.snapshot(unknown)


def test_a_time_without_a_zone_is_utc_and_a_bad_one_is_explained():
    """The same command would open another state on another machine."""
    assert parse_at("7") == 7
    assert parse_at("-2") == -2
    assert parse_at("2026-05-31T12:00") == datetime(2026, 5, 31, 12, tzinfo=UTC)
    assert parse_at("2026-05-31") == datetime(2026, 6, 1, tzinfo=UTC) - timedelta(microseconds=1)
    assert parse_at("2026-05-31T12:00+02:00") == datetime(2026, 5, 31, 10, tzinfo=UTC)
    with pytest.raises(UsageError, match="'yesterday' is neither the number of a snapshot"):
        parse_at("yesterday")


def test_children_of_another_text_are_never_acknowledged(tmp_path):
    """A corrected row would be taken with the sentences of the text before, left by a kill."""

    class Killed(BaseException):
        pass

    def rows(answer, ends):
        response = [{"response_id": "a", "question_id": "q", "answer": answer}]
        sentences = [
            {"response_id": "a", "segmenter": "s", "segmentation_id": answer, "byte_end": ends}
        ]
        return {
            "responses": table("responses", response),
            "sentences": table("sentences", sentences),
        }

    def kill(step):
        if step == "responses: before write":
            raise Killed

    store = Store.create(tmp_path)
    store.checkpoint = kill
    with pytest.raises(Killed):
        Writer(store, "test").append(rows("one two", [4, 7]))
    store = Store.open(tmp_path)
    other = rows("three", [5])
    assert Writer(store, "test").pending(other["responses"]).tolist() == [True]
    done = Writer(store, "test").append(other)
    assert done["responses"].conflicts["answer"].to_pylist() == ["three"]
    assert dasd_data.open(tmp_path).sql("FROM responses").fetchall() == []
    assert Writer(store, "test").append(rows("one two", [4, 7]))["responses"].new == 1
    joined = "SELECT answer, byte_end FROM responses JOIN sentences USING (response_id)"
    assert dasd_data.open(tmp_path).sql(joined).fetchall() == [("one two", [4, 7])]


def test_rows_whose_writer_died_before_its_snapshot_are_in_the_next_one(tmp_path):
    """Rows that a killed job had committed would stay out of sight when it is run again."""
    store = Store.create(tmp_path)

    def die(step):
        if step == "snapshots: before write":
            raise KeyboardInterrupt

    store.checkpoint = die
    with pytest.raises(KeyboardInterrupt):
        Writer(store, "test").append({"questions": questions([1])})
    again = Store.open(tmp_path)
    assert again.snapshot().versions["questions"] == 0
    assert Writer(again, "test").append({"questions": questions([1])})["questions"].same == 1
    assert again.snapshot().versions["questions"] == 1
    Writer(again, "test").append({"questions": questions([1])})
    assert again.snapshot().snapshot_id == 2
