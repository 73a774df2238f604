"""`gc`: what goes, and what must stay."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

import dasd_data
from builders.run import to_table as table
from dasd_data.build import build
from dasd_data.compact import compact
from dasd_data.errors import ConflictError, DamagedFileError, UsageError
from dasd_data.gc import collect
from dasd_data.schema import TABLES
from dasd_data.store import Store
from dasd_data.verify import verify
from dasd_data.writer import Writer

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}


def questions(numbers):
    """Rows of `questions` numbered so."""
    return table("questions", [{"question_id": f"{n:032x}", "text": f"{n}"} for n in numbers])


def filled(path, commits=4):
    """A store with a question in each of some commits: snapshots 2, 3, ..."""
    store = Store.create(path)
    writer = Writer(store, "test")
    for n in range(commits):
        writer.append({"questions": questions([n])})
    return store


def everything(path):
    """All files below a folder, with their content."""
    return {p: p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def aged(path, seconds=7200):
    """Make a file look so old."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def count(path, at=None):
    """Number of questions at a snapshot."""
    return dasd_data.open(path, at=at).sql("SELECT count(*) FROM questions").fetchall()[0][0]


def test_a_catalog_in_use_loses_nothing(tmp_path):
    """Rows would be gone."""
    store = filled(tmp_path)
    before = everything(tmp_path)
    assert collect(store, safe_seconds=-60).paths == []
    assert everything(tmp_path) == before


def test_old_files_of_dead_processes_go_and_young_ones_stay(tmp_path):
    """A full disk would stay full, or a batch that is just being committed would be lost."""
    store = filled(tmp_path)
    folder = store.folder("questions")
    orphan, young = folder / f"{'a' * 64}.parquet", folder / f"{'b' * 64}.parquet"
    build_folder = tmp_path / "builds" / "v" / ".0123.abcd.tmp"
    build_folder.mkdir(parents=True)
    old = [orphan, folder / "x.tmp", tmp_path / "verified.1.tmp", build_folder / "data"]
    for path in (*old, young, folder / "notes.txt"):
        path.write_bytes(b"12345")
    for path in (*old, build_folder, folder / "notes.txt"):
        aged(path)
    found = collect(store, dry_run=True)
    assert found.number == {"never committed": 1, "temporary": 3}
    assert found.bytes == {"never committed": 5, "temporary": 15}
    assert orphan.exists()
    assert collect(store) == found
    assert not any(path.exists() for path in (*old, build_folder))
    assert young.exists()
    assert (folder / "notes.txt").exists()


class Killed(BaseException):
    """The process's end."""


@contextmanager
def dying(store, step):
    """The block dies at the first step of the store that begins so; the store is of no use then."""

    def kill(at):
        if at.startswith(step):
            raise Killed

    store.checkpoint = kill
    with pytest.raises(Killed):
        yield


def orphaned(path):
    """A store whose writer was killed before its commit, and the file, long ago, that it left."""
    store = Store.create(path)
    with dying(store, "questions: written"):
        Writer(store, "test").append({"questions": questions([1])})
    (orphan,) = store.folder("questions").glob("*.parquet")
    return Store.open(path), aged(orphan)


def test_a_writer_that_slept_for_an_hour_is_told_that_its_file_is_gone(tmp_path):
    """A laptop closed at the wrong moment would leave a commit without its file."""
    store = Store.create(tmp_path)

    def sleep(step):
        if step == "questions: written":
            for path in store.folder("questions").glob("*.parquet"):
                aged(path)
            collect(Store.open(tmp_path))

    store.checkpoint = sleep
    with pytest.raises(ConflictError, match="run the same command again"):
        Writer(store, "test").append({"questions": questions([1])})
    assert verify(Store.open(tmp_path)).findings == []
    assert count(tmp_path) == 0
    Writer(Store.open(tmp_path), "test").append({"questions": questions([1])})
    assert count(tmp_path) == 1


def test_a_writer_that_wakes_up_while_gc_looks_keeps_its_file(tmp_path):
    """The commit and the removal could cross, and the rows be gone."""
    store, orphan = orphaned(tmp_path)
    slept = orphan.stat().st_mtime_ns
    added = {"path": orphan.name, "size": orphan.stat().st_size, "stats": '{"numRecords": 1}'}

    def wake(step):
        if step == f"gc: remove {orphan.name}":
            other = Store.open(tmp_path)
            handle, _, _ = other.newest("questions")
            assert other.commit_file(handle, TABLES["questions"], added, "test")

    store.checkpoint = wake
    collect(store)
    assert orphan.stat().st_mtime_ns > slept
    assert verify(Store.open(tmp_path), quick=True).findings == []


def test_a_file_that_a_second_run_commits_while_gc_looks_stays(tmp_path):
    """The run after a kill writes the same file under the same name: its rows would be gone."""
    store, orphan = orphaned(tmp_path)

    def run_again(step):
        if step == f"gc: remove {orphan.name}":
            Writer(Store.open(tmp_path), "test").append({"questions": questions([1])})

    store.checkpoint = run_again
    collect(store)
    assert verify(store, quick=True).findings == []
    assert count(tmp_path) == 1


def test_a_file_written_again_at_the_last_moment_is_put_back(tmp_path, monkeypatch):
    """Between the last look and the removal there is room for a writer."""
    store, orphan = orphaned(tmp_path)
    rename = Path.rename

    def late(path, target):
        if path == orphan:
            os.utime(path)  # as it is when a writer has replaced it
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", late)
    collect(store)
    assert orphan.exists()
    assert list(orphan.parent.glob("*.tmp")) == []


def test_an_old_file_that_is_committed_while_gc_looks_stays(tmp_path):
    """A writer that a suspended machine held up for an hour would lose its rows."""
    store, orphan = orphaned(tmp_path)

    def commit(step):
        if step == f"gc: remove {orphan.name}":
            Writer(Store.open(tmp_path), "test").append({"questions": questions([1])})
            aged(orphan)
            os.utime(orphan, ns=(before, before))

    before = orphan.stat().st_mtime_ns
    store.checkpoint = commit
    collect(store)
    assert verify(store, quick=True).findings == []


def test_what_others_remove_while_gc_looks_is_done(tmp_path, monkeypatch):
    """gc beside a writer, or beside another gc, would end with an error of the system."""
    store = filled(tmp_path)
    kept, gone = tmp_path / "verified.1.tmp", tmp_path / "verified.2.tmp"
    folder = tmp_path / "builds" / "v" / ".0123.abcd.tmp"
    (folder / "data").mkdir(parents=True)
    for path in (kept, gone, folder / "data", folder):
        path.touch()
        aged(path)
    look = Path.lstat

    def lstat(path):
        if path == gone:
            path.unlink(missing_ok=True)
        return look(path)

    def other(step):
        if step == f"gc: remove {folder.name}":
            collect(Store.open(tmp_path))

    monkeypatch.setattr(Path, "lstat", lstat)
    store.checkpoint = other
    assert collect(store).number == {"temporary": 2}
    assert not any(path.exists() for path in (kept, gone, folder))


def test_a_build_that_is_being_written_stays(tmp_path):
    """The folder's own time stands still while shards in it grow: a long build would break."""
    store = filled(tmp_path)
    folder = tmp_path / "builds" / "v" / ".0123.abcd.tmp"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "0.parquet").touch()
    for path in (folder / "data", folder):
        aged(path)
    assert collect(store).paths == []
    aged(folder / "data" / "0.parquet")
    assert collect(store).paths == [folder]


def test_expired_snapshots_are_refused_and_their_files_go(tmp_path):
    """Space that old states take could not be had back, or a state would be half there."""
    store = filled(tmp_path)
    compact(store)  # snapshot 6; the four small files are needed by 2 to 5
    before = everything(tmp_path)
    dry = collect(store, expire_before=store.snapshot(6), dry_run=True, safe_seconds=-60)
    assert everything(tmp_path) == before
    done = collect(store, expire_before=store.snapshot(6), safe_seconds=-60)
    assert (done.snapshots, done.number) == (5, {"replaced": 4})
    assert (dry.snapshots, dry.number) == (done.snapshots, done.number)
    with pytest.raises(UsageError, match=r"snapshot 3 was expired by gc on 20.*: there are 6"):
        dasd_data.open(tmp_path, at=3)
    assert count(tmp_path) == count(tmp_path, at=6) == 4
    assert verify(store).findings == []
    assert [s.snapshot_id for s in store.kept()] == [6, 7]
    Writer(store, "test").append({"questions": questions([9])})
    with pytest.raises(UsageError, match="expired"):
        store.snapshot(3)


def test_the_snapshot_of_a_build_is_kept(made, add, response):
    """A published split could not be built again from its own state."""
    catalog = made(response("a", question="one", scores=SCORES, byte_end=[6, 13], section=[0, 1]))
    build(catalog, "low_t_rs")
    built = catalog.snapshot.snapshot_id
    for name in "bc":
        add(
            catalog,
            response(name, question=f"q {name}", scores=SCORES, byte_end=[6, 13], section=[0, 1]),
        )
    store = catalog.store
    compact(store)
    last = store.snapshot().snapshot_id
    done = collect(store, expire_before=store.snapshot(), safe_seconds=-60)
    there = f"{last} to {last + 1}, and {built}, which builds were made from"
    assert done.left == there
    with pytest.raises(UsageError, match=f"expired by gc .* there are {there}"):
        store.snapshot(built + 1)
    again = build(dasd_data.open(catalog.path, at=built), "low_t_rs")
    assert again.unchanged
    assert count(catalog.path, at=built) == 1
    assert verify(store).findings == []


def test_a_build_does_not_bring_back_a_snapshot_that_was_expired_while_it_ran(made, add, response):
    """Verify would report files as missing for ever, and --at would open half a state."""
    spans = {"scores": SCORES, "byte_end": [6, 13], "section": [0, 1]}
    catalog = made(response("a", question="one", **spans))
    add(catalog, response("b", question="two", **spans))
    catalog.refresh()
    other = Store.open(catalog.path)

    def expire(*_):
        if other.snapshot().oldest == 1:
            compact(other, ["announced"])
            for path in other.path.glob("tables/*/*.parquet"):
                aged(path)
            assert collect(other, expire_before=other.snapshot()).number["replaced"] == 2

    built = build(catalog, "low_t_rs", robustness="off", progress=expire).manifest["snapshot_id"]
    assert verify(other).findings == []
    assert other.kept()[0].snapshot_id == built + 1
    with pytest.raises(UsageError, match=f"snapshot {built} was expired"):
        dasd_data.open(catalog.path, at=built)


def test_killed_between_record_and_removal_leaves_no_hole(tmp_path):
    """A snapshot that can be opened would lack files."""
    store = filled(tmp_path)
    compact(store)
    with dying(store, "gc: remove"):
        collect(store, expire_before=store.snapshot(6), safe_seconds=-60)
    store = Store.open(tmp_path)
    assert verify(store).findings == []
    assert collect(store, safe_seconds=-60).number == {"replaced": 4}


def test_a_damaged_log_stops_gc(tmp_path):
    """Files would be removed that only seem to be unneeded."""
    store = filled(tmp_path)
    entry = store.folder("questions") / "_delta_log" / f"{2:020d}.json"
    entry.write_bytes(entry.read_bytes().replace(b'"add"', b'"bdd"'))
    before = everything(tmp_path)
    with pytest.raises(DamagedFileError):
        collect(store, safe_seconds=-60)
    assert everything(tmp_path) == before


def test_nothing_is_expired_or_dropped_where_gc_is_going_to_stop(tmp_path):
    """The catalog would lose its old snapshots to a damage that can be mended."""
    store = filled(tmp_path, commits=26)
    (store.folder("questions") / "_delta_log" / f"{3:020d}.json").unlink()
    before = everything(tmp_path)
    for more in ({"expire_before": store.snapshot(6)}, {"pending": True}):
        with pytest.raises(DamagedFileError, match="nothing can be removed"):
            collect(Store.open(tmp_path), safe_seconds=-60, **more)
        assert everything(tmp_path) == before


@pytest.mark.parametrize("how", ["another name", "empty", "without its file"])
def test_a_damaged_entry_that_no_snapshot_has_recorded_stops_gc(tmp_path, how):
    """A process that died before it recorded would lose the file that it committed."""
    store = filled(tmp_path)
    with dying(store, "questions: committed"):
        Writer(store, "test").append({"questions": questions([99])})
    entry = max((store.folder("questions") / "_delta_log").glob("*.json"))
    lines = entry.read_bytes().splitlines(keepends=True)
    if how == "another name":
        renamed(entry)
    else:
        entry.write_bytes(
            b"".join(line for line in lines if how != "empty" and b'"add"' not in line)
        )
    before = everything(tmp_path)
    with pytest.raises(DamagedFileError):
        collect(Store.open(tmp_path), safe_seconds=-60)
    assert everything(tmp_path) == before


def test_the_statistics_of_a_checkpoint_decide_nothing(tmp_path):
    """One flipped bit there would hide old snapshots from gc, which would remove their files."""
    store = filled(tmp_path, commits=16)
    compact(store)
    writer = Writer(store, "test")
    for n in range(100, 114):
        writer.append({"questions": questions([n])})
    (place,) = (store.folder("snapshots") / "_delta_log").glob("*.checkpoint.parquet")
    data = place.read_bytes()
    lowest = b'"minValues": {"snapshot_id": 1}'
    assert lowest in data
    place.write_bytes(data.replace(lowest, lowest.replace(b"1", b"0")))
    before = everything(tmp_path)
    assert collect(Store.open(tmp_path), safe_seconds=-60).paths == []
    assert everything(tmp_path) == before


def test_a_file_that_is_missing_stops_gc_before_it_expires(tmp_path):
    """Old snapshots would be gone for a file that a backup has."""
    store = filled(tmp_path, commits=6)
    old = store.snapshot(4)
    gone = store.files("questions", store.snapshot().tables["questions"])[0]
    gone.rename(tmp_path / "aside")
    before = everything(tmp_path)
    with pytest.raises(DamagedFileError, match=f"{gone.name} is missing, and nothing can be"):
        collect(Store.open(tmp_path), safe_seconds=-60, expire_before=old, pending=True)
    assert everything(tmp_path) == before


def renamed(entry):
    """Give the file of a log entry another name there."""
    (name,) = re.findall(rb"[0-9a-f]{64}(?=[.]parquet)", entry.read_bytes())
    entry.write_bytes(entry.read_bytes().replace(name, name[::-1]))


@pytest.mark.parametrize("how", ["lost", "another name"])
def test_an_old_entry_that_is_lost_or_changed_stops_gc(tmp_path, how):
    """The files that it added would go, as files that no commit names: those of the newest, too."""
    store = filled(tmp_path, commits=26)  # its checkpoint stands after the entry
    entry = store.folder("questions") / "_delta_log" / f"{5:020d}.json"
    assert [*entry.parent.glob("*.checkpoint.parquet")]
    if how == "lost":
        entry.unlink()
    else:
        renamed(entry)
    before = everything(tmp_path)
    with pytest.raises(DamagedFileError, match="verify"):
        collect(Store.open(tmp_path), safe_seconds=-60)
    assert everything(tmp_path) == before


def rows_of(key, answer):
    """A response with its sentences and tokens."""
    child = {"response_id": key, "run_id": "r"}
    return {
        "responses": table("responses", [{**child, "question_id": "q", "answer": answer}]),
        "sentences": table(
            "sentences", [{**child, "segmenter": "s", "segmentation_id": answer, "byte_end": [5]}]
        ),
        "tokens": table("tokens", [{**child, "scorer_id": "s", "token_bytes": [len(answer)]}]),
    }


def test_pending_rows_of_a_dead_process_go_and_the_corrected_row_comes_in(tmp_path):
    """A row that was corrected after a kill could never be ingested."""
    store = Store.create(tmp_path)
    Writer(store, "test").append(rows_of("kept", "other"))
    with dying(store, "responses: before write"):
        Writer(store, "test").append(rows_of("a", "wrong"))
    store = Store.open(tmp_path)
    apart = {"response_id": "later", "scorer_id": "s", "token_bytes": [1], "run_id": "r"}
    Writer(store, "test").append({"tokens": table("tokens", [apart])})
    assert collect(store, pending=True).rows == {}  # it is younger than an hour: it may go on
    before = everything(tmp_path)
    dry = collect(store, pending=True, dry_run=True, safe_seconds=-60)
    assert everything(tmp_path) == before
    open_writer = Writer(store, "test")
    assert open_writer.append(rows_of("a", "right"))["responses"].conflicts is not None
    done = collect(store, pending=True, safe_seconds=-60)
    assert (
        done.rows == dry.rows == {"tokens": 1, "sentences": 1, "sentence_scores": 0, "announced": 1}
    )
    assert Writer(store, "test").append(rows_of("a", "right"))["responses"].new == 1
    catalog = dasd_data.open(tmp_path)
    assert catalog.sql("SELECT response_id FROM tokens ORDER BY 1").fetchall() == [
        ("a",),
        ("kept",),
        ("later",),
    ]
    assert catalog.sql("SELECT segmentation_id FROM sentences ORDER BY 1").fetchall() == [
        ("other",),
        ("right",),
    ]
    assert catalog.snapshot.tables["tokens"].rows == 3
    assert verify(store, quick=True).findings == []


@pytest.mark.parametrize("name", ["responses", "announced", "run_events", "tokens", "sentences"])
def test_a_damaged_file_drops_no_row(tmp_path, name):
    """Children of a response whose id a flipped bit changed would be deleted for good."""
    store = Store.create(tmp_path)
    event = {"run_id": "r", "sequence": 0, "event": "done", "occurred_at": datetime.now(UTC)}
    Writer(store, "test").append(
        {**rows_of("kept", "right"), "run_events": table("run_events", [event])}
    )
    with dying(store, "responses: before write"):
        Writer(store, "test").append(rows_of("a", "wrong"))
    store = Store.open(tmp_path)
    path = min(store.folder(name).glob("*.parquet"), key=lambda p: p.stat().st_mtime_ns)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    before = everything(tmp_path)
    with pytest.raises(DamagedFileError, match=path.name):
        collect(store, pending=True, safe_seconds=-60)
    assert everything(tmp_path) == before


def test_log_probs_that_a_finished_run_brought_apart_are_no_pending_rows(tmp_path):
    """A user was told that they were taken, and would have to find out that they are gone."""
    store = Store.create(tmp_path)
    events = [{"run_id": "apart", "sequence": 0, "event": "done"}]
    events += [{"run_id": "broken", "sequence": 0, "event": "failed"}]
    tokens = [
        {"response_id": "a", "scorer_id": scorer, "token_bytes": [1, 4], "run_id": run}
        for scorer, run in (("one", "apart"), ("two", "broken"))
    ]
    Writer(store, "test").append(
        {"run_events": table("run_events", events), "tokens": table("tokens", tokens)}
    )
    with dying(store, "responses: before write"):
        Writer(store, "test").append(rows_of("a", "wrong"))
    store = Store.open(tmp_path)
    done = collect(store, pending=True, safe_seconds=-60)
    assert done.rows == {"tokens": 2, "sentences": 1, "sentence_scores": 0, "announced": 1}
    assert Writer(store, "test").append(rows_of("a", "right"))["responses"].new == 1
    found = dasd_data.open(tmp_path).sql("SELECT scorer_id, run_id FROM tokens ORDER BY 1")
    assert found.fetchall() == [("one", "apart"), ("s", "r")]
