"""`push`, against a Hub on this machine that speaks the real routes."""

from __future__ import annotations

import errno
import json
import shutil
import traceback
from functools import partial

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi

from dasd_data import hub as hubs
from dasd_data.card import front
from dasd_data.cli import cli
from dasd_data.errors import (
    ConflictError,
    DataError,
    DeniedError,
    RemoteError,
    UnknownNameError,
    UsageError,
)
from dasd_data.hub import failures, remote
from tests.hub.endpoint import TOKEN, Fault, Repository, Stored

REPO = "somebody/traces"
push = partial(hubs.push, robustness="off")
# huggingface_hub's own way to PUT, which httpx2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

FILES = {
    "README.md",
    "croissant.json",
    *(
        name.format(config)
        for config in ("low_t_das", "high_t_das")
        for name in ("{}/train-00000-of-00001.parquet", "manifests/{}.json", "figures/{}.png")
    ),
}
BOTH = ["low_t_das", "high_t_das"]
MORE = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}


def pushes(catalog):
    """What the catalog knows of its pushes: (commit, tag)."""
    return catalog.refresh().sql("SELECT revision, tag FROM pushes ORDER BY pushed_at").fetchall()


def foreign(hub, files=None):
    """A repository that somebody else filled."""
    hub.repositories[REPO] = repository = Repository()
    held = {path: Stored(data, lfs=False) for path, data in (files or {"a.txt": b"mine"}).items()}
    repository.commit("main", held, "theirs")
    return repository


def test_a_push_is_one_commit_with_a_configuration_for_each_view(hub, catalog):
    """A data set would be half there, or hold one view of two."""
    told = []
    done = push(catalog, BOTH, REPO, tag="v1", told=told.append)
    repository = hub.repositories[REPO]
    assert len(repository.commits) == 2  # the Hub's own, and this
    assert (repository.head, repository.tags) == (done.revision, {"v1": done.revision})
    assert repository.files.keys() == {*FILES, ".gitattributes"}
    for build in done.builds:
        (shard,) = build.manifest["shards"]
        config = build.manifest["config"]
        sent = repository.files[f"{config}/train-00000-of-00001.parquet"]
        assert sent == (build.path / shard["path"]).read_bytes()
        manifest = json.loads(repository.files[f"manifests/{config}.json"])
        assert manifest["build_id"] == build.build_id
    (planned,) = told
    assert (set(planned.changes.new), planned.revision) == (FILES, None)
    assert pushes(catalog) == [(done.revision, ""), (done.revision, "v1")]


def test_a_second_push_sends_nothing_and_a_new_tag_only_itself(hub, catalog):
    """Every run would make a commit, or send all shards again; a private one be made anew."""
    first = push(catalog, ["low_t_das"], REPO, private=True)
    assert hub.repositories[REPO].private
    hub.requests.clear()
    assert push(catalog, ["low_t_das"], REPO).revision == first.revision
    assert not [line for line, _ in hub.requests if not line.startswith("GET")]
    push(catalog, ["low_t_das"], REPO, tag="v1")
    changing = [line for line, _ in hub.requests if not line.startswith("GET")]
    assert changing == [f"POST /api/datasets/{REPO}/tag/{first.revision}"]
    assert hub.repositories[REPO].tags == {"v1": first.revision}


def test_a_push_of_one_view_leaves_the_others_and_drops_its_own_old_shards(
    hub, catalog, add, response
):
    """Publishing a second view would delete the first; a loader would read shards of two builds."""
    push(catalog, ["low_t_das"], REPO)
    repository = hub.repositories[REPO]
    low = {p: d for p, d in repository.files.items() if "low_t_das" in p}
    stale = {
        **repository.commits[repository.head],
        "high_t_das/train-00001-of-00002.parquet": Stored(b"old", True),
    }
    head = repository.commit("main", {**stale, "notes/mine.txt": Stored(b"kept", False)}, "by hand")
    done = push(catalog, ["high_t_das"], REPO, parent=head)
    assert done.changes.removed == ["high_t_das/train-00001-of-00002.parquet"]
    assert repository.files.keys() == {*FILES, ".gitattributes", "notes/mine.txt"}
    assert {p: d for p, d in repository.files.items() if "low_t_das" in p} == low
    card = repository.files["README.md"].decode()
    assert "- config_name: high_t_das" in card and "- config_name: low_t_das" in card
    assert "](figures/low_t_das.png)" in card


def test_a_dry_run_changes_nothing_and_needs_no_token(hub, catalog, monkeypatch):
    """Somebody who only looks would publish."""
    monkeypatch.delenv("HF_TOKEN")
    done = push(catalog, ["low_t_das"], REPO, dry_run=True)
    assert set(done.changes.new) == {p for p in FILES if "high" not in p}
    asking = [line for line, _ in hub.requests if not line.startswith("GET")]
    assert asking == ["POST /api/validate-yaml"]
    assert (hub.repositories, pushes(catalog)) == ({}, [])
    with pytest.raises(DeniedError, match="no token: set HF_TOKEN, or run `hf auth login`"):
        push(catalog, ["low_t_das"], REPO)


# Each step of a push, how it fails, and whether the commit is there once it has failed for good.
STEPS = [
    ("/api/repos/create", 503, False),
    ("/preupload/", None, False),
    ("/info/lfs/objects/batch", 503, False),
    ("PUT /lfs-objects/", None, False),
    ("PUT /lfs-objects/", 503, False),
    ("POST /lfs-verify", 503, False),
    ("/api/validate-yaml", None, False),
    ("/commit/", None, False),
    ("/commit/", 503, False),
    ("/tag/", 503, True),
]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "status", "committed"), STEPS)
def test_a_push_that_dies_at_any_step_is_whole_and_goes_on(
    hub, catalog, capfd, step, status, committed
):
    """A loader would see some of the files, or the next run send all of them again."""
    hub.faults.append(Fault(step, status, times=10**6))
    with pytest.raises(RemoteError, match="run the same command again") as error:
        push(catalog, ["low_t_das"], REPO, tag="v1")
    shown = "".join(traceback.format_exception(error.value)) + "".join(capfd.readouterr())
    assert TOKEN not in shown
    repository = hub.repositories.get(REPO)
    mine = {p for p in FILES if "high" not in p}
    before = repository.files.keys() if repository else {".gitattributes"}
    assert before == ({*mine, ".gitattributes"} if committed else {".gitattributes"})
    held, uploaded = set(hub.objects), hub.uploaded
    hub.faults.clear()
    hub.requests.clear()
    done = push(catalog, ["low_t_das"], REPO, tag="v1")
    repository = hub.repositories[REPO]
    assert (len(repository.commits), repository.tags) == (2, {"v1": done.revision})
    assert repository.files.keys() == {*mine, ".gitattributes"}
    lacked = sum(len(data) for oid, data in hub.objects.items() if oid not in held)
    assert hub.uploaded == lacked  # nothing that was there
    assert uploaded + lacked > 0


@pytest.mark.parametrize("step", ["/commit/", "/tag/"])
def test_an_answer_that_was_lost_makes_no_second_commit(hub, catalog, step):
    """The commit that was heard would be refused as somebody else's, or be made twice."""
    hub.faults.append(Fault(step, after=True))
    done = push(catalog, ["low_t_das"], REPO, tag="v1")
    repository = hub.repositories[REPO]
    assert (len(repository.commits), repository.tags) == (2, {"v1": done.revision})


def test_a_head_that_moves_meanwhile_is_left_alone(hub, catalog):
    """Two people who push at once would undo each other's work in silence."""
    push(catalog, ["low_t_das"], REPO)
    repository = hub.repositories[REPO]

    def other():
        repository.commit("main", {"theirs.txt": Stored(b"theirs", False)}, "theirs")

    hub.faults.append(Fault("/commit/", hook=other))
    with pytest.raises(ConflictError, match="another wrote to it.*--parent"):
        push(catalog, BOTH, REPO)
    assert repository.files == {"theirs.txt": b"theirs"}


def test_what_this_catalog_did_not_push_is_not_written_over_unasked(hub, catalog):
    """A typo in --repo would replace somebody's data set."""
    repository = foreign(hub)
    with pytest.raises(ConflictError, match=f"did not push.*--parent {repository.head}"):
        push(catalog, ["low_t_das"], REPO)
    with pytest.raises(ConflictError, match="not at 0123456"):
        push(catalog, ["low_t_das"], REPO, parent="0123456")
    assert len(repository.commits) == 2
    done = push(catalog, ["low_t_das"], REPO, parent=repository.head[:10])
    assert repository.files["a.txt"] == b"mine"
    assert push(catalog, ["low_t_das"], REPO).revision == done.revision  # its own by now


def test_a_tag_stays_where_it_is(hub, catalog, add, response):
    """Whoever trains on v1 would get other rows under the same name."""
    first = push(catalog, ["low_t_das"], REPO, tag="v1")
    add(catalog, response("C", question="C", scores=MORE), run_id="later")
    hub.requests.clear()
    with pytest.raises(ConflictError, match="tag v1.*choose another --tag"):
        push(catalog.refresh(), ["low_t_das"], REPO, tag="v1")
    assert all(line.startswith("GET") for line, _ in hub.requests)
    assert hub.repositories[REPO].tags == {"v1": first.revision}


def test_a_busy_hub_is_asked_again_after_the_time_it_names(hub, catalog, monkeypatch):
    """A run of an hour would end at the first 429; or hammer a Hub that asked for patience."""
    waits = []
    monkeypatch.setattr(remote, "sleep", waits.append)
    hub.faults += [Fault("/commit/", 429, headers={"Retry-After": "7"}), Fault("/commit/", 500)]
    push(catalog, ["low_t_das"], REPO)
    assert waits == [7.0, 2.0]
    assert len(hub.repositories[REPO].commits) == 2


@pytest.mark.parametrize("step", ["/api/repos/create", "/preupload/", "/commit/", "/tag/"])
def test_a_token_that_may_not_write_is_refused_and_not_shown(hub, catalog, capfd, step):
    """The exit code would say that the Hub is down; the token would stand in a log."""
    hub.faults.append(Fault(step, 403, times=10**6))
    with pytest.raises(DeniedError, match="may write to somebody") as error:
        push(catalog, ["low_t_das"], REPO, tag="v1")
    shown = "".join(traceback.format_exception(error.value)) + "".join(capfd.readouterr())
    assert TOKEN not in shown


@pytest.mark.parametrize("token", [f"{TOKEN}\x01", f"{TOKEN}é", f"{TOKEN} x"])
def test_a_token_that_no_request_can_carry_is_not_shown(hub, catalog, monkeypatch, token):
    """HTTP libraries print the header that they refuse."""
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DeniedError) as error:
        push(catalog, ["low_t_das"], REPO)
    assert TOKEN not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("language", ["english", "", "EN"])
def test_a_language_that_is_no_code_is_refused_at_once(hub, catalog, language):
    """All shards would be sent before the Hub refuses the card."""
    with pytest.raises(UsageError, match="--language"):
        push(catalog, ["low_t_das"], REPO, languages=["en", language])
    assert hub.requests == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_card_that_the_hub_refuses_is_refused_before_anything_is_sent(
    hub, catalog, monkeypatch, dry_run
):
    """One would wait for an upload of hours to hear that the card is wrong."""
    monkeypatch.setattr(front, "TAGS", ["a", 1])
    with pytest.raises(UsageError, match='does not take the card.*"tags" must be a list'):
        push(catalog, ["low_t_das"], REPO, dry_run=dry_run)
    assert (hub.repositories, hub.objects) == ({}, {})


@pytest.mark.parametrize(
    "tag", ["", "my tag", "v1..x~", "main", "a/b.lock", ".v", "v.", "-v", "@", "v@{1}", "0aF" * 13 + "0"]
)  # fmt: skip
def test_a_tag_that_git_would_not_take_is_refused_before_the_build(hub, catalog, tag):
    """The commit would be there without its tag, and no further run could put it."""
    with pytest.raises(UsageError, match="--tag"):
        push(catalog, ["low_t_das"], REPO, tag=tag)
    assert all(line.startswith("GET") for line, _ in hub.requests)
    assert not (catalog.path / "builds").exists()


def test_a_tag_is_not_named_like_a_branch(hub, catalog):
    """Loaders would get the branch by the name of the tag."""
    foreign(hub)
    HfApi().create_branch(REPO, branch="next", repo_type="dataset")
    with pytest.raises(UsageError, match="--tag next is a branch"):
        push(catalog, ["low_t_das"], REPO, tag="next", parent=hub.repositories[REPO].head)


def test_a_shard_that_is_gone_is_no_failure_of_the_hub(hub, catalog):
    """One would look for the fault in the Hub, or in the token."""

    def lose(planned):
        for build in planned.builds:
            shutil.rmtree(build.path)

    with pytest.raises(FileNotFoundError) as error:
        push(catalog, ["low_t_das"], REPO, told=lose)
    assert error.value.filename.endswith("train-00000-of-00001.parquet")


def test_what_this_machine_refuses_is_told_from_what_the_hub_refuses():
    """A full disk would be blamed on the Hub, a file without rights on the token."""
    full, mine = (
        OSError(errno.ENOSPC, "no space"),
        PermissionError(errno.EACCES, "no", "/a.parquet"),
    )
    wrapped = RuntimeError("Error while uploading")
    wrapped.__cause__ = mine
    assert [failures.local(e) for e in (full, mine, wrapped)] == [full, mine, mine]
    xet = failures.local(OSError("I/O error: I/O error: Permission denied (os error 13)"))
    assert isinstance(xet, PermissionError)
    assert xet.errno == errno.EACCES
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    for error in (PermissionError("the token"), refused, FileNotFoundError("no such entry")):
        assert failures.local(error) is None


def test_a_setting_goes_to_the_views_that_declare_it(hub, catalog):
    """Views with parameters of their own could not be pushed together."""
    own = catalog.path / "views" / "mine.sql"
    own.write_text(
        "/*\n[parameters]\nless = { type = 'integer', default = 1 }\n*/\n"
        "SELECT response_id, getvariable('less') AS less FROM split"
    )
    settings = {
        "less": 2,
        "beta": 0.2,
        "budget": {"math": 7},
        "mine:beta": 0.3,
        "mine:budget": {"code": 3},
    }
    done = push(catalog, ["low_t_das", "mine"], REPO, settings, dry_run=True)
    low, mine = (build.manifest["parameters"] for build in done.builds)
    assert (low["beta"], mine["beta"], mine["less"]) == (0.2, 0.3, 2)
    assert (low["budget"]["math"], mine["budget"]["math"], mine["budget"]["code"]) == (7, 7, 3)
    assert low["budget"]["code"] != 3
    for wrong, names in (({"lesss": 2}, "less"), ({"min:beta": 2}, "mine")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{names}'"):
            push(catalog, ["low_t_das", "mine"], REPO, wrong)


def test_a_trusted_view_is_pushed_as_such(hub, catalog, tmp_path):
    """A view that reads a file of one's own could be built, and never be published."""
    (tmp_path / "ids.csv").write_text("response_id\nA0-0.6\n")
    own = tmp_path / "mine.sql"
    own.write_text(f"SELECT response_id FROM read_csv('{tmp_path}/ids.csv')")
    with pytest.raises((DeniedError, UsageError)):
        push(catalog, [str(own)], REPO)
    done = push(catalog, [str(own)], REPO, trusted=True)
    assert done.builds[0].rows == 1
    assert json.loads(hub.repositories[REPO].files["manifests/mine.json"])["trusted"] is True


@pytest.mark.parametrize("repo", ["traces", "a/b/c", "some body/x", "a/--"])
def test_a_name_that_is_no_data_set_is_a_usage_error(hub, catalog, repo):
    """It would be sought on the Hub, or made in the namespace of whoever the token is."""
    with pytest.raises(UsageError, match="cannot be a data set of the Hub"):
        push(catalog, ["low_t_das"], repo)
    assert hub.requests == []


def test_two_views_of_one_configuration_are_refused(hub, catalog, tmp_path):
    """One would take the place of the other."""
    own = tmp_path / "mine.sql"
    own.write_text('/*\nconfig = "low_t_das"\n*/\nSELECT response_id FROM responses')
    with pytest.raises(UsageError, match="same config, low_t_das"):
        push(catalog, ["low_t_das", str(own)], REPO)
    assert REPO not in hub.repositories


def test_gc_keeps_what_a_push_was_made_from(hub, catalog, add, response):
    """What is published could not be made again."""
    from dasd_data import gc

    done = push(catalog, ["low_t_das"], REPO)
    number = done.builds[0].manifest["snapshot_id"]
    add(catalog, response("C", question="C", scores=MORE), run_id="later")
    catalog.refresh()
    gc.collect(catalog.store, expire_before=catalog.snapshot, safe_seconds=0)
    assert catalog.store.snapshot(number).snapshot_id == number


def test_what_was_pushed_is_reproduced_from_its_tag(hub, catalog):
    """A reader of the data set could not check that it is what its card says."""
    push(catalog, BOTH, REPO, tag="v1")
    foreign_head = hub.repositories[REPO].commit("main", {}, "emptied")
    hub.faults += [Fault("/refs", 503), Fault("/resolve/", 429, times=2)]
    arguments = ["reproduce", f"{REPO}@v1", "--json", "--catalog", str(catalog.path)]
    done = CliRunner().invoke(cli, [*arguments, "--config", "high_t_das"])
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)
    assert (one["view"], one["reproduced"]) == ("high_t_das", True)
    assert not hub.faults[0].times + hub.faults[1].times
    wrong = {
        f"{REPO}@v2": (UsageError, "has no revision v2"),
        f"{REPO}@{foreign_head}": (DataError, "was not pushed by dasd-data"),
        "somebody/else": (UsageError, "is not there, or your token may not see it"),
        "a/--": (UsageError, "cannot be a data set of the Hub"),
    }
    for name, (kind, said) in wrong.items():
        failed = CliRunner().invoke(cli, ["reproduce", name, "--catalog", str(catalog.path)])
        assert isinstance(failed.exception, kind)
        assert said in str(failed.exception)
    failed = CliRunner().invoke(cli, [*arguments, "--config", "low"])
    assert isinstance(failed.exception, UnknownNameError)


def test_a_hub_that_cannot_be_reached_is_no_defect(hub, catalog, command, monkeypatch):
    """Somebody without a network would report it as a defect."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    before = "from dasd_data.hub import remote; remote.sleep = lambda seconds: None"
    done = command("reproduce", f"{REPO}@v1", "--catalog", catalog.path, before=before)
    assert done.returncode == 5
    assert f"could not look at http://127.0.0.1:9/datasets/{REPO}: ConnectError" in done.stderr
