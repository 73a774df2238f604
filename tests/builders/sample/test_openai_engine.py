"""The engine over a real connection to a server that fails as real ones do."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("transformers")

from builders.sample.engine import SampleRequest, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.openai_engine import OpenAIGenerator
from builders.sample.prompt import load_prompt
from builders.score.engine import ScoreRequest
from builders.score.server import KEY, Limit, Server
from dasd_data.errors import DataError, DeniedError, RemoteError, UsageError

ROOT = Path(__file__).parents[3]
TEACHER = ROOT / "examples" / "tiny" / "teacher"
PROMPT = load_prompt(TEACHER)
SAMPLING = Sampling(0.6, max_tokens=500, stop_ids=PROMPT.stop_ids)
SECRET = "sk-marked-1234567890"


@contextlib.contextmanager
def serving(*options):
    """The URL of a server in a process of its own, and what it counted once it is stopped."""
    command = [sys.executable, "-m", "benchmarks.fake_server", "--tokenizer", str(TEACHER)]
    server = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    seen = {}
    try:
        yield server.stdout.readline().strip(), seen
    finally:
        server.send_signal(2)
        seen.update(json.loads(server.communicate(timeout=20)[0] or "{}"))


def engine(url, **more):
    server = Server(url, "fake", **{"timeout": 20.0, **more})
    server.first_wait = 0.01
    return OpenAIGenerator(server, TEACHER)


def requests(n, first=100):
    return [SampleRequest(f"r{i}", PROMPT.ids(f"What is {i} + 1?"), first + i) for i in range(n)]


def made(engine, asked, sampling=SAMPLING):
    found = [r for r in engine.generate(iter(asked), sampling) if r is not None]
    assert sorted(r.key for r in found) == sorted(r.key for r in asked)  # each once
    return {r.key: r for r in found}


def direct(asked, sampling=SAMPLING):
    return {r.key: r for r in FakeGenerator(PROMPT.tokenizer.encode).generate(asked, sampling)}


def same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert one[key].token_ids.tolist() == other[key].token_ids.tolist()
        assert np.abs(one[key].logprobs - other[key].logprobs).max() < 1e-6
        assert one[key].finish_reason == other[key].finish_reason


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["ids", "spelled", "texts"])
def test_ids_and_log_probs_come_through(spelling):
    """Samples of a server would be other tokens, or other values, than it drew."""
    with serving("--spelling", spelling) as (url, _):
        found = engine(url)
        assert found.max_context == 100_000
        assert found.describe().engine_version == "fake-1"
        asked = requests(20)
        same(made(found, asked), direct(asked))
        cut = Sampling(0.6, max_tokens=20, stop_ids=PROMPT.stop_ids)
        same(made(found, asked, cut), direct(asked, cut))
        again = [
            ScoreRequest(r.key, np.concatenate([r.prompt_ids, r.prompt_ids]), len(r.prompt_ids))
            for r in asked
        ]
        expected = {r.key: r.logprobs for r in FakeGenerator(PROMPT.tokenizer.encode).score(again)}
        scored = {r.key: r.logprobs for r in found.score(again)}
        assert scored.keys() == expected.keys()
        assert all(np.abs(scored[k] - expected[k]).max() < 1e-6 for k in expected)


@pytest.mark.slow
def test_every_request_is_answered_once_where_the_server_fails():
    """Failures of a busy server would lose samples, or pay for them twice."""
    faults = ("--errors", "0.1", "--hangs", "0.02", "--halves", "0.1")
    with serving(*faults) as (url, seen):
        asked = requests(300)
        same(made(engine(url, timeout=2.0), asked), direct(asked))
    assert seen["error"] > 5
    assert seen["half"] > 5
    assert seen["hang"] > 0


@pytest.mark.slow
def test_an_overloaded_server_is_asked_less():
    """A server that takes ten at once would refuse hundreds for days."""
    with serving("--most-at-once", "10", "--delay", "0.02") as (url, seen):
        found = engine(url)
        asked = requests(400)
        same(made(found, asked), direct(asked))
        assert found.server.limit.now < 40
    assert seen["error"] < 400
    assert seen["most at once"] > 8


def test_the_limit_grows_by_rounds_and_is_halved_once_a_round():
    """A burst of refusals, or 1% of failures, would bring a run down to one request at a time."""
    limit = Limit(most=100)

    def round_of(overloads):
        before = limit.now
        for i in range(before):
            limit.told(overloaded=i < overloads)
        return limit.now

    assert [round_of(0), round_of(0)] == [32, 64]
    assert round_of(64) == 32
    assert round_of(1) == 32  # one of 32: rare
    assert round_of(2) == 16
    assert [round_of(0) for _ in range(3)] == [17, 18, 19]
    for _ in range(100):
        round_of(0)
    assert limit.now == 100
    for _ in range(20):
        round_of(100)
    assert limit.now == 1


@pytest.mark.slow
def test_a_wrong_key_is_one_line_without_the_key(monkeypatch):
    """A key would be printed, or kept in a table or a log."""
    monkeypatch.setenv(KEY, SECRET)
    with serving("--key", "another") as (url, _), pytest.raises(DeniedError) as refused:
        engine(url)
    assert SECRET not in str(refused.value)
    assert f"refuses the key in {KEY}" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_server_that_cannot_serve_is_told_before_the_run():
    """A run would fail request by request, or fill the catalog with values of other tokens."""
    with pytest.raises(RemoteError, match="no server answers at http://127.0.0.1:1/v1"):
        engine("http://127.0.0.1:1/v1")
    without = pytest.raises(DataError, match="no log-probs: the server must take `echo`")
    with serving("--no-logprobs") as (url, _), without:
        engine(url)
    another = pytest.raises(UsageError, match="serves other, not 'fake'")
    with serving("--model", "other") as (url, _), another:
        engine(url)


@pytest.mark.slow
def test_another_tokenizer_is_told_before_the_run(shared_data):
    """Every sentence of the catalog would have the log-probs of other words."""
    qwen = shared_data("tokenizers/qwen3")
    with serving() as (url, _), pytest.raises(DataError, match="give the model's own with --tok"):
        OpenAIGenerator(Server(url, "fake"), qwen)


@pytest.mark.slow
def test_a_server_that_dies_ends_the_run_and_fails_no_sample(monkeypatch):
    """A night without a server would mark every sample as failed."""
    monkeypatch.setattr("builders.score.server.SILENT", 3)
    monkeypatch.setattr("builders.score.server.TRIES", 2)
    with serving() as (url, _):
        found = engine(url)
    results = found.generate(iter(requests(50)), SAMPLING)
    with pytest.raises(RemoteError, match="does not answer: 3 requests in a row failed"):
        for result in results:
            assert result is None or result.error.startswith("server: ")


@pytest.mark.slow
def test_a_request_over_the_context_fails_alone():
    """One long question would stop a run."""
    with serving("--max-model-len", "700") as (url, _):
        long = SampleRequest("long", np.arange(300, dtype=np.int32), 7)
        results = made(engine(url), [*requests(3), long])
    assert [k for k, r in results.items() if r.error] == ["long"]
    assert results["long"].error.startswith("over context: 300 tokens of prompt and 500")
