"""`verify`: every kind of damage is found and named; a sound catalog is called sound."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

import dasd_data
from builders.run import to_table as table
from dasd_data import files, log, manifest, place
from dasd_data.build import build
from dasd_data.errors import DamagedFileError, UsageError
from dasd_data.schema import TABLES
from dasd_data.store import Store
from dasd_data.verify import verify

SCORES = {"teacher": [(6, 0.9)] * 2, "student": [(6, 0.5)] * 2}
SEGMENT = "seg-1:[6, 13]"
SPANS = {"byte_end": [6, 13], "section": [0, 1]}  # of "Think." and "Answer."


@pytest.fixture
def catalog(made, response):
    """A sound catalog with two responses."""
    return made(
        response("a", question="one", scores=SCORES, **SPANS),
        response("b", question="two", scores=SCORES, **SPANS),
    )


def found(catalog, **options):
    """What verify finds: (table, problem, file name, row)."""
    report = verify(catalog.store, **options)
    return [(f.table, f.problem, f.file.rsplit("/", 1)[-1], f.row) for f in report.findings]


def flip(path, at=None):
    """Flip a bit in the middle of a file, or at a place."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 4
    path.write_bytes(data)


def test_a_sound_catalog_is_sound(catalog):
    """Users would learn to ignore verify."""
    build(catalog, "low_t_rs")
    report = verify(catalog.store)
    assert (report.findings, report.notes) == ([], [])
    assert report.checked["snapshots"] == 3
    assert report.checked["builds"] == 1
    assert report.checked["files"] == 9 + 1 + 3  # of rows, of the build, of snapshots
    assert verify(catalog.store, quick=True).sound


def test_a_catalog_where_the_cache_cannot_be_kept_is_verified(catalog):
    """Whoever may only read a catalog could not check it."""
    (catalog.path / "verified.json").mkdir()  # root, who may run the tests, can write anywhere
    assert found(catalog) == []
    assert list(catalog.path.glob("*.tmp")) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_data_file_is_named(catalog, damage):
    """DuckDB reads most flipped bits without an error."""
    (path,) = catalog.files["responses"]
    if damage == "flip":
        flip(path)
    elif damage == "truncate":
        os.truncate(path, 100)
    else:
        path.unlink()
    ((name, problem, file, _),) = found(catalog)
    assert (name, file) == ("responses", path.name)
    assert {"flip": "SHA-256", "truncate": "has 100 bytes", "delete": "missing"}[damage] in problem


def test_every_bit_of_a_log_entry_counts(catalog):
    """A field that only Spark reads could be wrong for years."""
    place = log.path(catalog.store.folder("questions"), 1)
    data = place.read_bytes()
    stats = data.index(b"minValues")
    for at in (0, data.index(b"partitionValues"), stats + 30, len(data) - 1):
        flip(place, at)
        assert {name for name, *_ in found(catalog)} == {"questions"}
        place.write_bytes(data)
    assert found(catalog) == []


def test_a_snapshot_that_comes_meanwhile_is_no_damage(catalog, monkeypatch):
    """Verify beside an ingest would cry damage, and send the user to the backup."""
    read = Store.snapshots

    def snapshots(store):
        found = read(store)
        Store.open(store.path).record("other")
        return found

    monkeypatch.setattr(Store, "snapshots", snapshots)
    assert found(catalog, quick=True) == []


def test_a_temporary_file_that_vanishes_meanwhile_is_nothing(catalog, monkeypatch):
    """Verify beside an ingest would end with an error of the system."""
    read = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: [*read(path), path / "vanished.tmp"])
    report = verify(catalog.store, quick=True)
    assert (report.findings, report.notes) == ([], [])


def test_a_lost_log_entry_is_found(catalog):
    """Rows would be gone, and nobody would know."""
    log.path(catalog.store.folder("flags"), 1).unlink()
    findings = found(catalog)
    assert {name for name, *_ in findings} == {"flags"}
    assert any("names version 1, and the log ends at 0" in problem for _, problem, *_ in findings)


@pytest.mark.parametrize("damage", ["torn", "changed", "last changed", "missing"])
def test_the_entry_of_the_snapshots_log_that_is_bad_is_named(catalog, damage):
    """No command would open the catalog, and the user not know which file to restore."""
    for n in range(3):
        catalog.store.record(f"{n}")
    newest = log.replay(catalog.store.folder("snapshots")).newest
    place = log.path(catalog.store.folder("snapshots"), newest - (damage != "last changed"))
    data = place.read_bytes()
    if damage == "missing":
        place.unlink()
    else:
        place.write_bytes(b"{" if damage == "torn" else data.replace(b'"size":', b'"size":1'))
    report = verify(Store.open(catalog.path))
    named = {f.file for f in report.findings}
    if damage != "last changed":  # nothing was recorded after it: its file stands for it
        assert str(place) in named
    assert {f.table for f in report.findings} == {"snapshots"}
    assert all(f.file and "run `dasd-data verify`" not in f.problem for f in report.findings)
    assert report.notes == []
    place.write_bytes(data)
    assert found(catalog) == []


def test_a_damaged_checkpoint_is_found_though_the_entries_are_whole(tmp_path):
    """Delta starts from the checkpoint, so that it would read other rows than were written."""
    store = Store.create(tmp_path)
    for n in range(26):
        store.record(f"{n}")
    (checkpoint,) = (store.folder("snapshots") / "_delta_log").glob("*.checkpoint.parquet")
    rows = pq.read_table(checkpoint)
    pq.write_table(rows.slice(0, len(rows) - 3), checkpoint)
    report = verify(store)
    assert not report.sound
    assert {finding.table for finding in report.findings} == {"snapshots"}


def test_foreign_files_are_named_and_orphans_are_no_damage(catalog):
    """Somebody's copy would be taken for data, or a killed process for damage."""
    folder = catalog.store.folder("questions")
    (folder / "copy.parquet").write_bytes(b"x")
    (folder / f"{'a' * 64}.parquet").write_bytes(b"x")
    report = verify(catalog.store)
    assert [(f.problem, f.file) for f in report.findings] == [
        ("a foreign file", str(folder / "copy.parquet"))
    ]
    assert report.findings[0].do.startswith("move it away")
    assert len(report.notes) == 1
    assert "in no commit (being written)" in report.notes[0]


def test_what_is_of_no_table_and_of_no_log_is_named(catalog):
    """A copy of a table, or an entry under another name, would lie there for ever."""
    store = catalog.store
    log = store.folder("questions") / "_delta_log"
    others = [store.folder("zzz"), log / "0.json", log / f"{0:020}.json.bak"]
    others[0].mkdir()
    for path in others[1:]:
        path.write_text("{}")
    (log / "_commit_1.json.tmp").write_text("{}")
    found = verify(store).findings
    assert {finding.file for finding in found} == set(map(str, others))
    assert all(finding.do.startswith("move it away") for finding in found)


def test_wrong_row_counts_in_a_log_are_named(catalog):
    """Engines that count by Delta's statistics would give other numbers than a scan."""
    store = catalog.store
    rows = table("questions", [{"question_id": "x", "text": "x"}])
    spec = TABLES["questions"]
    rows = rows.append_column(spec.schema.field("content_hash"), [[1]]).cast(spec.schema)
    added = files.write(store.folder("questions"), spec, rows)
    stats = json.dumps({"numRecords": 7})
    handle = DeltaTable(store.folder("questions"))
    handle.create_write_transaction(
        [AddAction(added["path"], added["size"], {}, 0, True, stats)],
        "append",
        spec.schema,
        commit_properties=CommitProperties({}),
    )
    store.record("test")
    assert ("questions", "has 1 rows, and its log entry says 7", added["path"], "") in found(
        catalog
    )


@pytest.mark.parametrize(
    ("name", "key"),
    [("flags", "a cjk 1"), ("repeat_scores", f"a id-of-student {SEGMENT}")],
)
def test_a_repeated_key_in_two_files_is_named(catalog, append, name, key):
    """A response would be trained on twice, or a noise counted twice."""
    store, spec = catalog.store, TABLES[name]
    if name == "repeat_scores":
        columns = "response_id, scorer_id, segmentation_id, n_tokens, logprob_sum, run_id"
        scored = catalog.sql(f"SELECT {columns} FROM sentence_scores ORDER BY ALL")
        append(catalog, name, scored.to_arrow_table().to_pylist())
    catalog.refresh()
    rows = pq.read_table(catalog.files[name][0], schema=spec.schema).slice(0, 1)
    assert store.commit(store.delta(name), spec, rows, "test")
    store.record("test")
    assert found(catalog) == [(name, "the key is there 2 times", "", key)]


SENTENCES = {"response_id": "a", "segmenter": "new", "segmentation_id": "new", "run_id": "r"}
SCORE = {"response_id": "a", "scorer_id": "id-of-teacher", "run_id": "r"}
TOKENS = {**SCORE, "token_bytes": [6, 7], "n_tokens": 2, "has_logprobs": False}


@pytest.mark.parametrize(
    ("name", "row", "problem"),
    [
        ("sentences", {"byte_end": [6, 13], "kind": [0], "section": [0, 1]}, "have 2, 1, 2 entries"),
        ("sentences", {"byte_end": [6, 6, 13], "kind": [0] * 3, "section": [0, 0, 1]}, "not rise"),
        ("sentences", {"byte_end": [13, 6], "kind": [0] * 2, "section": [0, 1]}, "not rise"),
        ("sentences", {"byte_end": [6, 12], "kind": [0] * 2, "section": [0, 1]}, "ends at 12"),
        ("sentences", {"byte_end": [13], "kind": [0], "section": [0]}, "crosses the seam"),
        ("sentence_scores", {"segmentation_id": "none"}, "no sentences of its segmentation"),
        ("sentence_scores", {"n_tokens": [1], "logprob_sum": [-1.0]}, "1 scores for 2 sentences"),
        ("sentence_scores", {"logprob_sum": [-1.0]}, "differ in length"),
        ("sentence_scores", {"logprob_sum": [-1.0, math.nan]}, "NaN or infinite"),
        ("sentence_scores", {"logprob_sum": [-math.inf, -1.0]}, "NaN or infinite"),
        ("sentence_scores", {"logprob_sum": [-1.0, None]}, "log-probability is null"),
        ("sentence_scores", {"logprob_sum": [-1.0, 0.5]}, "is positive"),
        ("sentence_scores", {"n_tokens": [-1, 2]}, "number of tokens is negative"),
        ("sentence_scores", {"scorer_id": "nobody"}, "its scorer is not there"),
        ("repeat_scores", {"n_tokens": [1], "logprob_sum": [-1.0]}, "1 scores for 2 sentences"),
        ("repeat_scores", {"logprob_sum": [-1.0, 0.5]}, "is positive"),
        ("repeat_scores", {"scorer_id": "nobody"}, "its scorer is not there"),
        ("tokens", {"n_tokens": 3}, "n_tokens is 3, and token_bytes has 2 entries"),
        ("tokens", {"token_ids": [1]}, "token_ids has 1 entries of 2"),
        ("tokens", {"logprobs": [-1.0], "has_logprobs": True}, "logprobs has 1 entries of 2"),
        ("tokens", {"logprobs": [-1.0, -1.0]}, "has_logprobs is wrong"),
        ("tokens", {"logprobs": [-1.0, math.nan], "has_logprobs": True}, "NaN or infinite"),
        ("tokens", {"logprobs": [0.0, 0.25], "has_logprobs": True}, "is positive"),
        ("tokens", {"token_bytes": [14, -1]}, "less than 0 bytes"),
        ("tokens", {"scorer_id": "nobody"}, "its scorer is not there"),
        ("responses", {"response_id": "z", "question_id": "none"}, "question none is not there"),
    ],
)  # fmt: skip
def test_a_row_that_breaks_an_invariant_is_named(catalog, append, name, row, problem):
    """A view would silently pair the wrong values, or give NaN."""
    sums = {"segmentation_id": SEGMENT, "n_tokens": [1, 1], "logprob_sum": [-1.0, -1.0]}
    whole = {
        "sentences": SENTENCES,
        "sentence_scores": {**SCORE, **sums},
        "repeat_scores": {**SCORE, **sums},
        "tokens": TOKENS,
        "responses": {"run_id": "r"},
    }
    if name == "sentence_scores" and "scorer_id" not in row:
        append(catalog, "scorers", [{"scorer_id": "third", "name": "third"}])
        row = {"scorer_id": "third", **row}
    row = {**whole[name], **row}
    append(catalog, name, [row])
    ((in_table, found_problem, _, key),) = found(catalog)
    assert in_table == name
    assert problem in found_problem
    assert key.split()[0] == row["response_id"]


def test_a_full_and_sound_row_of_tokens_is_no_finding(catalog, append):
    """Every scored response would be reported."""
    append(
        catalog,
        "tokens",
        [{**TOKENS, "logprobs": [-1.0, 0.0], "token_ids": [1, 2], "has_logprobs": True}],
    )
    assert found(catalog) == []


def test_children_without_a_response_are_counted_as_pending(catalog, append):
    """A killed ingest would look like damage."""
    append(catalog, "tokens", [{**TOKENS, "response_id": "later"}])
    report = verify(catalog.store)
    assert report.sound
    assert [n.split(":")[0] for n in report.notes] == ["1 rows of tokens wait for their response"]


def test_a_damaged_shard_of_a_build_is_named(catalog):
    """What people train on would not be what the catalog says."""
    made = build(catalog, "low_t_rs")
    (about,) = made.manifest["shards"]
    shard = made.path / about["path"]
    whole = shard.read_bytes()
    flip(shard)
    assert found(catalog)[0][:3] == (
        "builds",
        f"build {made.build_id}: shard {about['sha256'][:12]} is damaged",
        shard.name,
    )
    shard.unlink()
    assert "is missing" in found(catalog)[0][1]
    shard.write_bytes(whole)
    assert found(catalog) == []
    shutil.rmtree(made.path)
    report = verify(catalog.store)
    assert report.sound
    assert "is gone from" in report.notes[0]


def test_a_card_that_was_changed_is_named_and_made_again(catalog):
    """The description of a published split could say anything."""
    made = build(catalog, "low_t_rs", robustness="off")
    card = made.path / "README.md"
    text = card.read_text()
    for change in (lambda: card.write_text(text.replace("0.6", "1.0")), card.unlink):
        change()
        report = verify(catalog.store)
        (finding,) = report.findings
        assert (finding.table, finding.file) == ("builds", str(card))
        assert "build` again" in finding.do
        again = build(catalog.refresh(), "low_t_rs", robustness="off")
        assert (again.build_id, again.path) == (made.build_id, made.path)
        assert card.read_text() == text
        assert found(catalog) == []


def test_a_manifest_that_was_changed_is_named_and_made_again(catalog, tmp_path):
    """What decided a split could be told otherwise, and its build be refused for ever."""
    made = build(catalog, "low_t_rs", out=tmp_path / "out", robustness="off")
    path = made.path / manifest.NAME
    text = path.read_bytes()
    rows = text.replace(b'"rows": 2', b'"rows": 5')
    for change in (rows, text.replace(b'"sha256"', b'"rha256"'), b"", None):
        assert change != text
        path.unlink() if change is None else path.write_bytes(change)
        (finding,) = verify(catalog.store).findings
        assert (finding.table, finding.file) == ("builds", str(path))
        assert "build` again" in finding.do
        again = build(catalog.refresh(), "low_t_rs", out=made.path, robustness="off")
        assert (again.unchanged, again.manifest["shards"]) == (False, made.manifest["shards"])
        assert found(catalog) == []
    forged = manifest.seal({**again.manifest, "rows": 5})
    path.write_bytes(manifest.encode(forged))
    (finding,) = verify(catalog.store).findings
    assert "is not that of the build that was recorded" in finding.problem
    build(catalog.refresh(), "low_t_rs", out=made.path, robustness="off")
    assert found(catalog) == []


def test_other_shards_under_a_sound_manifest_are_made_again(catalog, tmp_path):
    """The new manifest would be laid over shards that are not its own, and called a success."""
    made = build(catalog, "low_t_rs", out=tmp_path / "out", robustness="off")
    (shard,) = made.manifest["shards"]
    (made.path / shard["path"]).write_bytes(b"other rows")
    other = {**shard, "sha256": hashlib.sha256(b"other rows").hexdigest()}
    forged = manifest.seal({**made.manifest, "shards": [other]})
    (made.path / manifest.NAME).write_bytes(manifest.encode(forged))
    assert place.unchanged(made.path, made.build_id)["shards"] == [other]  # sound by itself
    again = build(catalog.refresh(), "low_t_rs", out=made.path, robustness="off")
    assert again.manifest["shards"] == [shard]
    assert place.unchanged(made.path, made.build_id)["shards"] == [shard]
    assert found(catalog) == []


def test_another_build_in_the_place_of_one_is_named(catalog, tmp_path):
    """A split that was copied over another would be taken for it by its path."""
    made = build(catalog, "low_t_rs", robustness="off")
    other = build(catalog.refresh(), "low_t_rs", {"budget": {"math": 1}}, out=tmp_path / "other")
    shutil.rmtree(made.path)
    shutil.copytree(other.path, made.path)
    (finding,) = verify(catalog.store).findings
    assert finding.problem == f"build {made.build_id}: another build, {other.build_id}, is there"
    assert finding.file == str(made.path)


def test_quick_trusts_what_did_not_change_and_full_does_not(catalog):
    """--quick would be slow, or the full check would overlook what a failing disk did."""
    verify(catalog.store)
    (path,) = catalog.files["responses"]
    cache = catalog.path / "verified.json"
    kept = json.loads(cache.read_text())
    flip(path)
    stat = path.stat()
    kept[str(path)] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    cache.write_text(json.dumps(kept))  # as if the disk had changed it by itself
    assert found(catalog, quick=True) == []
    assert len(found(catalog)) == 1
    with pytest.raises(DamagedFileError, match=path.name):  # verify forgot that it was once sound
        build(catalog.refresh(), "low_t_rs")


def test_the_command_exits_with_3_and_names_the_file(catalog):
    """A nightly check would not notice."""
    from click.testing import CliRunner

    from dasd_data.cli import cli

    path = str(catalog.path)
    assert CliRunner().invoke(cli, ["verify", "--catalog", path]).exit_code == 0
    (file,) = catalog.files["responses"]
    flip(file)
    done = CliRunner().invoke(cli, ["verify", "--json", "--catalog", path])
    assert done.exit_code == 3
    report = json.loads(done.stdout)
    assert report["sound"] is False
    assert report["findings"][0]["file"] == str(file)
    assert "from a backup" in report["findings"][0]["do"]
    assert "1 finding: restore it from a backup" in done.stderr
    (catalog.store.folder("flags") / "mine.txt").write_text("x")
    quick = CliRunner().invoke(cli, ["verify", "--quick", "--catalog", path]).stderr
    assert "neither rows nor builds were checked" in quick
    assert "1 finding: move it away" in quick


def test_an_old_snapshot_s_rows_are_checked_on_request(catalog, append):
    """Whether a published split was sound could not be asked."""
    before = catalog.snapshot
    append(catalog, "tokens", [{**TOKENS, "n_tokens": 3}])
    assert len(found(catalog)) == 1
    assert found(catalog, at=before) == []
    assert dasd_data.open(catalog.path).snapshot.snapshot_id == before.snapshot_id + 1


def test_a_torn_batch_of_snapshots_is_found(catalog):
    """The newest commits would be gone without a word."""
    newest = catalog.snapshot.snapshot_id
    log.path(catalog.store.folder("snapshots"), newest).unlink()
    findings = found(catalog)
    assert any("was recorded, and the log" in problem for _, problem, *_ in findings)


def test_a_catalog_older_than_a_table_is_completed_by_init(made, response, append, monkeypatch):
    """Whoever upgrades would be sent to look for a backup that lacks the table as well."""
    with monkeypatch.context() as older:
        older.delitem(TABLES, "repeat_scores")
        catalog = made(response("a", scores=SCORES, **SPANS))
    row = {"response_id": "a", "segmentation_id": SEGMENT, "n_tokens": [1, 1]}
    row |= {"scorer_id": "id-of-student", "logprob_sum": [-1.0, -1.0]}
    ((name, problem, *_),) = found(catalog)
    assert (name, problem.split(": ")[1]) == (
        "repeat_scores",
        f"`dasd-data init {catalog.path}` completes it",
    )
    with pytest.raises(UsageError, match="init .* completes it"):
        append(catalog, "repeat_scores", [row])
    dasd_data.create(catalog.path)
    append(catalog, "repeat_scores", [row])
    assert found(catalog) == []
    shutil.rmtree(catalog.store.folder("repeat_scores"))
    assert any("has no log" in problem for _, problem, *_ in found(catalog))


def test_a_copied_catalog_answers_for_its_own_builds(catalog, tmp_path):
    """A copy would be checked by the shards of the original, or not at all."""
    made = build(catalog, "low_t_rs")
    outside = build(catalog.refresh(), "low_t_das", out=tmp_path / "elsewhere")
    copy = tmp_path / "moved" / "copy.catalog"
    shutil.copytree(catalog.path, copy)
    shutil.rmtree(catalog.path)
    moved = dasd_data.open(copy)
    report = verify(moved.store)
    assert report.sound
    assert report.notes == []
    assert report.checked["builds"] == 2
    shard = copy / made.path.relative_to(catalog.path) / made.manifest["shards"][0]["path"]
    flip(shard)
    flip(outside.path / outside.manifest["shards"][0]["path"])
    assert sorted(f[2] for f in found(moved)) == [shard.name] * 2
