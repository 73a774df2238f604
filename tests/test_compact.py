"""`compact`: fewer files, the same rows, nothing lost."""

from __future__ import annotations

import hashlib

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import dasd_data
from builders.run import to_table as table
from dasd_data.build import build
from dasd_data.compact import compact, groups
from dasd_data.errors import DamagedFileError
from dasd_data.log import File
from dasd_data.store import Store
from dasd_data.writer import Writer

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


def questions(numbers):
    """Rows of `questions` numbered so."""
    return table("questions", [{"question_id": f"{n:032x}", "text": f"{n}"} for n in numbers])


def filled(path, commits=6, snapshots=0):
    """A store with a question in each of some commits; later ones sort before earlier ones."""
    store = Store.create(path)
    writer = Writer(store, "test")
    for n in reversed(range(commits)):
        writer.append({"questions": questions([n])})
    for n in range(snapshots):
        store.record(f"{n}")
    return store


def texts(path, at=None):
    """Texts of all questions, in order of the files."""
    return [
        text for (text,) in dasd_data.open(path, at=at).sql("SELECT text FROM questions").fetchall()
    ]


def test_many_files_become_one_that_is_sorted_and_named_by_its_hash(tmp_path):
    """Scans would stay slow after `compact`, or damage could not be found."""
    store = filled(tmp_path)
    (done,) = [d for d in compact(store) if d.table == "questions"]
    assert (done.before, done.after) == (6, 1)
    (path,) = dasd_data.open(tmp_path).files["questions"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    assert pq.read_table(path)["text"].to_pylist() == ["0", "1", "2", "3", "4", "5"]
    assert store.snapshot().what == "compact"
    assert store.snapshot().tables["questions"].rows == 6


def test_a_second_compact_finds_nothing_to_do(tmp_path):
    """Every run would write everything anew."""
    store = filled(tmp_path)
    compact(store)
    before = store.snapshot()
    assert compact(store) == []
    assert store.snapshot() == before


def test_other_readers_of_delta_see_the_same_rows(tmp_path):
    """Spark or Polars would read rows twice, or take compaction for a change of data."""
    store = filled(tmp_path)
    compact(store)
    handle = DeltaTable(store.folder("questions"))
    assert sorted(handle.to_pyarrow_table()["text"].to_pylist()) == list("012345")
    assert handle.history(1)[0]["removedRows"] == 6


def test_old_snapshots_stay_readable_after_compact(tmp_path):
    """Time travel would end where somebody tidied up."""
    store = filled(tmp_path, snapshots=10)
    assert [d.table for d in compact(store)] == ["questions", "snapshots"]
    assert sorted(texts(tmp_path, at=3)) == ["4", "5"]
    assert [s.snapshot_id for s in store.snapshots()] == list(range(1, 19))
    rows = dasd_data.open(tmp_path, at=3).sql("SELECT snapshot_id FROM snapshots ORDER BY 1")
    assert rows.fetchall() == [(1,), (2,), (3,)]


def test_keys_are_known_after_compact_also_to_a_writer_that_was_open(tmp_path):
    """Rows would be added a second time."""
    store = filled(tmp_path)
    writer = Writer(store, "test")
    assert writer.append({"questions": questions([0])})["questions"].same == 1
    compact(Store.open(tmp_path))
    done = writer.append({"questions": questions([0, 1, 7])})["questions"]
    assert (done.new, done.same) == (1, 2)
    assert len(writer.table("questions")._index) == 7
    again = Writer(Store.open(tmp_path), "test").append({"questions": questions([0, 1, 7])})
    assert again["questions"].same == 3


def test_rows_appended_meanwhile_stay(tmp_path):
    """A sampler that runs while somebody compacts would lose its batch."""
    store = filled(tmp_path)
    late = []

    def intrude(step):
        if step == "questions: written" and not late:
            late.append(step)
            Writer(Store.open(tmp_path), "other").append({"questions": questions([9])})

    store.checkpoint = intrude
    compact(store, ["questions"])
    assert sorted(texts(tmp_path)) == list("0123459")


def test_a_group_is_written_once_however_many_commits_come_first(tmp_path):
    """Beside a busy sampler every try would write the group anew, and come too late again."""
    store = filled(tmp_path)
    steps = []

    def intrude(step):
        steps.append(step)
        if step == "questions: written" and steps.count(step) <= 3:
            other = Writer(Store.open(tmp_path), "other")
            other.append({"questions": questions([5 + steps.count(step)])})

    store.checkpoint = intrude
    compact(store, ["questions"])
    assert steps.count("questions: written") == 4
    assert steps.count("questions: before write") == 1
    assert sorted(texts(tmp_path)) == list("012345678")


STEPS = ("before write", "written", "committed")


@pytest.mark.parametrize("step", [f"{t}: {s}" for t in ("questions", "snapshots") for s in STEPS])
def test_killed_at_any_step_it_loses_nothing_and_goes_on(tmp_path, step):
    """An interrupted compaction would cost rows."""

    class Killed(BaseException):
        pass

    def kill(now):
        if now == step:
            raise Killed

    store = filled(tmp_path, snapshots=10)
    store.checkpoint = kill
    with pytest.raises(Killed):
        compact(store)
    assert sorted(texts(tmp_path)) == list("012345")
    compact(Store.open(tmp_path))
    assert sorted(texts(tmp_path)) == list("012345")
    assert len(dasd_data.open(tmp_path).files["questions"]) == 1


def test_a_damaged_file_is_not_given_a_new_name(tmp_path):
    """Compaction would make damage look sound."""
    store = filled(tmp_path)
    path = sorted(store.folder("questions").glob("*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=path.name):
        compact(store)
    assert store.newest("questions")[1].files == 6


def test_groups_are_bounded_and_leave_large_files_alone():
    """Memory would grow with the table, and every run would write all of it."""
    files = {size: File(f"{size:064x}.parquet", size, 1) for size in (10, 20, 30, 40, 60, 90)}
    sizes = [(file, size) for size, file in files.items()]
    assert groups(sizes, 100) == [[files[10], files[20], files[30], files[40]]]
    assert groups(sizes, 60) == [[files[10], files[20]]]
    assert groups([(files[10], 10), (files[90], 90)], 100) == []


def test_a_build_has_the_same_shards_after_compact(made, add, response):
    """Tidying up would change what people train on."""
    catalog = made(response("a", question="one", scores=SCORES))
    for name in "bcd":
        add(catalog, response(name, question=f"question {name}", scores=SCORES))
    before = build(catalog.refresh(), "low_t_rs", dry_run=False)
    compact(catalog.store)
    after = build(catalog.refresh(), "low_t_rs")
    assert len(catalog.files["responses"]) == 1
    assert not after.unchanged
    assert after.manifest["shards"] == before.manifest["shards"]
