"""Work in other processes: the feed without Ray, and stages on a real cluster of two nodes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("transformers")

from builders.executor import Items, pending
from builders.executor.worker import Feed
from builders.filters.stage import configured, filter_missing
from builders.run import Run, to_table
from builders.sample.engine import Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.plan import SampleRun
from builders.sample.prompt import load_prompt
from builders.sample.stage import sample
from builders.score.stage import score
from builders.segment.stage import segment_missing
from dasd_data.errors import DataError, MissingExtraError, RemoteError, UnknownNameError, UsageError
from dasd_data.keys import question_id
from dasd_data.writer import Writer, write

TEACHER = Path(__file__).parents[2] / "examples" / "tiny" / "teacher"
QUESTIONS = 40


def items(n):
    return Items(pa.table({"id": [f"i{k:03}" for k in range(n)]}))


def test_items_are_rows_of_a_table():
    """A shard would lack a response, or have another's scorer."""
    found = Items(pa.table({"id": list("abcd"), "n": [1, 2, None, 4]}))
    assert len(found) == 4
    assert list(found) == [("a", 1), ("b", 2), ("c", None), ("d", 4)]
    assert found[1:3] == [("b", 2), ("c", None)]
    assert found[3] == ("d", 4)
    assert list(items(25_000))[-1] == ("i24999",)


def test_the_feed_gives_every_item_once_and_those_of_the_dead_again():
    """A node that dies would take its samples with it, or have them paid for twice."""
    feed = Feed(items(10), 3, 2)
    first, second = feed.take("a"), feed.take("b")
    assert (first, second) == (
        [(f"i{k:03}",) for k in (0, 1, 2)],
        [(f"i{k:03}",) for k in (3, 4, 5)],
    )
    feed.done("a", first[:2])
    assert feed.died("a") == 5  # one of a's, and the four that nobody had
    rest = []
    while some := feed.take("c"):
        rest += some
        feed.done("c", some)
        feed.done("b", second)
    assert sorted(rest) == [(f"i{k:03}",) for k in (2, 6, 7, 8, 9)]
    assert feed.take("b") == []


def test_a_worker_holds_its_share_at_most():
    """An engine that reads far ahead would leave the other GPUs without work."""
    feed = Feed(items(100), 16, 4)
    greedy = []
    while some := feed.take("a"):
        greedy += some
    assert len(greedy) == 25
    assert [len(feed.take(w)) for w in "bcd"] == [16, 16, 16]
    feed.stop()
    assert (feed.take("b"), feed.queued(), feed.is_stopped()) == ([], 0, True)


def test_errors_arrive_as_they_were_raised():
    """A wrong model name would end in a stack trace of two machines."""
    for error in (
        UsageError("no such model"),
        UnknownNameError("filter", "lenght", ["length"]),
        MissingExtraError("vllm", "vllm"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.exit_code) == (type(error), str(error), 2)
    assert pickle.loads(pickle.dumps(UnknownNameError("a", "b", "c"))).known == ["c"]


def test_a_file_of_another_process_is_committed_as_far_as_it_is_new(made):
    """A shard that was made twice would stand in the catalog twice."""
    catalog = made()
    rows = [{"question_id": question_id(t), "text": t} for t in "abcd"]
    writer = Writer(catalog.store, "test")
    first = write(catalog.store, "questions", to_table("questions", rows[:2]))
    assert writer.append({"questions": first})["questions"].new == 2
    assert first.added["path"] in {path.name for path in catalog.refresh().files["questions"]}
    both = write(catalog.store, "questions", to_table("questions", rows))
    other = write(
        catalog.store, "questions", to_table("questions", [{**rows[0], "text": "not a"}, rows[3]])
    )
    done = writer.append({"questions": both})["questions"]
    assert (done.new, done.same, done.conflicts) == (2, 2, None)
    done = writer.append({"questions": other})["questions"]
    assert (done.new, done.conflicts["question_id"].to_pylist()) == (0, [rows[0]["question_id"]])
    texts = catalog.refresh().sql("SELECT text FROM questions ORDER BY ALL").fetchall()
    assert texts == [("a",), ("b",), ("c",), ("d",)]


def test_without_the_extra_the_install_line_is_printed():
    """A user would see an ImportError of a library that nothing here had named."""
    code = "import sys; sys.modules['ray'] = None; import builders.executor.cluster"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'dasd-data[ray]'" in done.stderr


@pytest.fixture(scope="module")
def nodes():
    """Two nodes of one CPU each: the head, where this process is, and another."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    quick = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 300,
        "health_check_failure_threshold": 3,
    }
    found = Cluster(True, head_node_args={"num_cpus": 1, "_system_config": quick})
    found.second = found.add_node(num_cpus=1)
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


class Held(FakeGenerator):
    """The fake engine, whose runs have a middle on any machine: it waits there for a file to go."""

    def generate(self, requests, sampling):
        """One result after the other; the sixth when the hold is off."""
        for number, result in enumerate(super().generate(requests, sampling)):
            while number >= 5 and self.hold.exists():
                time.sleep(0.05)
            time.sleep(0.05)
            yield result


def hold_of(catalog):
    return catalog.path.with_suffix(".hold")


def sampling_of(catalog, kind=Held):
    """A sample run of two completions each; commits each one."""
    pending.COMMIT_SECONDS = 0.0  # in a worker's process, too
    prompt = load_prompt(TEACHER)
    engine = kind(prompt.tokenizer.encode)
    engine.hold = hold_of(catalog)
    sampling = Sampling(0.6, max_tokens=500, stop_ids=prompt.stop_ids)
    scorer = prompt.describe(engine.describe())
    return SampleRun(engine, prompt, scorer, "teacher", sampling, n=2)


@pytest.fixture
def two(made, append):
    """Two catalogs of the same questions: one for the cluster, one for this process."""
    catalogs = [made(name=f"{name}.catalog") for name in ("cluster", "local")]
    texts = [f"What is {n} + {n}?" for n in range(QUESTIONS)]
    source = {"source": "made", "domain": "math"}
    for catalog in catalogs:
        ids = [{"question_id": question_id(t), "text": t} for t in texts]
        append(catalog, "questions", ids)
        rows = [{"question_id": question_id(t), "row": t, **source} for t in texts]
        append(catalog, "question_sources", rows)
        catalog.refresh()
    return catalogs


def rows(catalog, *tables):
    """All rows of tables, but for the run that wrote them."""
    catalog.refresh()
    return {
        name: catalog.sql(f"SELECT * EXCLUDE (run_id) FROM {name} ORDER BY ALL").fetchall()
        for name in tables
    }


SAMPLED = ("responses", "tokens", "sentences", "sentence_scores", "attempts")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_node_gives_the_rows_of_a_local_run(
    nodes, two, fake_run, monkeypatch
):
    """A node lost in the night would cost samples, double them, or end the run; and Ctrl-C, too."""
    from builders.executor.cluster import Cluster

    monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)  # put back at the end
    catalog, local = two
    hold = hold_of(catalog)
    with Cluster(catalog, sampling_of, same=lambda w: w.scorer, address=nodes.address) as cluster:
        assert cluster.workers == 2
        end = time.monotonic() + 300
        while any(member.loading is not None for member in cluster._members):
            assert time.monotonic() < end
            assert not list(cluster._loaded(1.0))  # one may load long after the other

        def interrupt(counts):
            if counts["done"] >= 4:
                hold.unlink()
                raise KeyboardInterrupt

        hold.touch()
        with pytest.raises(KeyboardInterrupt):
            sample(catalog, cluster.what, interrupt, executor=cluster)
        before = len(rows(catalog, "responses")["responses"])
        assert 4 <= before < 2 * QUESTIONS

        def lose(counts):
            both = all(member.stream is not None for member in cluster._members)
            if counts["done"] and both and nodes.second:
                nodes.remove_node(nodes.second, allow_graceful=False)
                nodes.second = None
                hold.unlink()

        hold.touch()
        counts = sample(catalog, cluster.what, lose, executor=cluster)
        assert nodes.second is None
        assert (counts["wanted"], counts["done"]) == (2 * QUESTIONS - before,) * 2
        assert counts["workers lost"] == 1
    sample(local, sampling_of(local, kind=FakeGenerator))
    assert rows(catalog, *SAMPLED) == rows(local, *SAMPLED)
    assert len(rows(catalog, "responses")["responses"]) == 2 * QUESTIONS

    make = lambda catalog: fake_run(only_eligible=False, repeat=0.3)  # noqa: E731
    tables = ("tokens", "sentence_scores", "repeat_scores", "sentences", "flags", "attempts")
    names = ("structure", "completeness", "repetition")
    with Cluster(catalog, make, address=nodes.address, workers=1) as cluster:
        for place, where in ((catalog, cluster), (local, None)):
            run = make(place)
            segment_missing(place, name="lines", executor=where)
            filter_missing(place, configured(place, names), executor=where)
            counts = score(place, run, executor=where)
            assert (counts["done"], counts["repeat_scores"]) == (80, 24)
    assert rows(catalog, *tables) == rows(local, *tables)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_with_the_workers_is_told(nodes, two, monkeypatch):
    """A user would wait for ever for a worker that cannot be."""
    from builders.executor import cluster as module
    from builders.executor.cluster import Cluster

    def unable(catalog):
        raise UnknownNameError("model", "techer", ["teacher"])

    with pytest.raises(UnknownNameError, match="did you mean 'teacher'"):
        Cluster(two[0], unable, address=nodes.address, workers=1)
    with pytest.raises(UsageError, match="the cluster has 0 GPU, and a worker takes 1"):
        Cluster(two[0], address=nodes.address, gpus=1)

    def endless(catalog):
        time.sleep(30)

    with monkeypatch.context() as patch:
        patch.setattr(module, "LOAD_SECONDS", 1.0)
        with pytest.raises(RemoteError, match="no worker was ready within 1 s: see `ray status`"):
            Cluster(two[0], endless, address=nodes.address, workers=1)

    def dying(what, catalog, items, notes):
        next(iter(items))
        os._exit(1)
        yield

    monkeypatch.setattr(module, "DEATHS", 2)
    with (
        Cluster(two[0], address=nodes.address, workers=1) as cluster,
        Run(two[0].store, "test", {}) as run,
        pytest.raises(DataError, match="2 workers in a row died"),
    ):
        list(cluster.run(dying, two[0], items(4), run, 2))
