"""The engine over a real connection to a server that fails as real ones do."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openai")
pytest.importorskip("transformers")

from benchmarks.fake_server import FakeServer
from builders.sample.engine import SampleRequest, Sampling
from builders.sample.fake import FakeGenerator
from builders.sample.openai_engine import OpenAIGenerator
from builders.sample.prompt import load_prompt
from builders.score.engine import ScoreRequest
from builders.score.load_limit import FIRST, Limit
from builders.score.openai_engine import PROBE
from builders.score.server import KEY, Server
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
    server.first_wait, server.patience = 0.01, 0.0
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
        probe = ScoreRequest("p", np.array(PROMPT.tokenizer.encode(PROBE), np.int32), 1)
        (echoed,) = FakeGenerator(PROMPT.tokenizer.encode, "fake").score([probe])
        assert found.echo == pytest.approx(echoed.logprobs.tolist(), abs=1e-3)
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


@pytest.mark.slow
def test_answers_that_are_here_are_given_when_a_run_is_interrupted():
    """Ctrl-C would throw away what a server was paid for."""
    with serving() as (url, _):
        found, asked = engine(url), requests(200)
        results = found.generate(iter(asked), SAMPLING)
        first = next(r for r in results if r is not None)
        end = time.monotonic() + 60
        while found.server.limit.now == FIRST:  # until the others of the first round are answered
            assert time.monotonic() < end
            time.sleep(0.01)
        left = [results.throw(KeyboardInterrupt())]
        with pytest.raises(KeyboardInterrupt):
            left += results
    assert len(left) >= 8
    given = {r.key: r for r in (first, *left)}
    same(given, {key: r for key, r in direct(asked).items() if key in given})


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
            assert result is None  # a rerun asks them again


SLOW_DOWN = (429, "application/json", b'{"error": {"message": "quota"}}')
BUSY = (503, "application/json", b"{}")
BROKEN = (500, "application/json", b"{}")
WORKS = (200, "application/json", b'{"choices": [{"text": "yes"}]}')
SILENCE = (0, "", b"")


@contextlib.contextmanager
def answering(answer):
    """The URL of a server, and the bodies that it got; `answer(path, n)` is for the n-th request.

    Status 0 is no answer: the connection is kept for half a second.
    """
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            size = int(self.headers.get("content-length", 0))
            got.append(json.loads(self.rfile.read(size) or b"null"))
            status, kind, body = answer(self.path, len(got))
            if not status:
                time.sleep(0.5)
                return
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    class Listener(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    with Listener(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", got
        finally:
            server.shutdown()


def asked_of(server, n, patience=0.0, **more):
    """The answers to n requests: `n: text`, or `n: why it failed`."""
    server.first_wait = 0.01
    server.patience = patience

    async def ask(i):
        found = await server.completion(prompt=str(i), max_tokens=1, **more)
        return f"{i}: {found.choices[0].text}"

    found = server.run(range(n), ask, lambda i, problem: f"{i}: {problem}")
    return (answer for answer in found if answer is not None)


def test_nothing_of_the_server_s_own_is_drawn_with(start):
    """A model's generation_config.json would cut the distribution, and its log-probs not tell."""
    off = {
        "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }  # fmt: skip
    got = []

    class Listening(FakeServer):
        def _complete(self, request):
            got.append(request)
            return super()._complete(request)

    made(engine(f"http://{start(Listening(TEACHER))}"), requests(1))
    body = got[-1]
    assert {k: body[k] for k in off} == off
    assert (body["temperature"], body["top_p"], body["seed"]) == (0.6, 1.0, 100)


@pytest.mark.parametrize("key", [f"{SECRET}\nX: 1", f"{SECRET}\u00e9", f"{SECRET}\u2028x"])
def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch, key):
    """A broken key would be printed with the header that it does not fit into."""
    monkeypatch.setenv(KEY, key)
    with pytest.raises(UsageError, match=f"{KEY} holds characters") as refused:
        Server("http://127.0.0.1:1/v1", "fake")
    assert SECRET not in str(refused.value)


def test_a_key_with_a_line_break_at_its_end_is_taken(monkeypatch):
    """A key read by `cat` from a file would be refused, and shown."""
    monkeypatch.setenv(KEY, f"{SECRET}\n")
    with answering(lambda *_: WORKS) as (url, _):
        assert list(asked_of(Server(url, "fake"), 1)) == ["0: yes"]


def test_a_password_in_the_url_is_not_shown():
    """A password would be printed, or kept in a log."""
    with pytest.raises(RemoteError, match="no server answers at http://127.0.0.1:1/v1") as failed:
        engine(f"http://user:{SECRET}@127.0.0.1:1/v1")
    assert SECRET not in str(failed.value)
    with pytest.raises(UsageError, match="is no URL") as failed:
        Server(f"http://user:{SECRET}@127.0.0.1:port/v1", "fake")
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize(
    ("fault", "limit"), [(SILENCE, 1), (BUSY, 1), (SLOW_DOWN, 1), (BROKEN, 16), (WORKS, 32)]
)
def test_only_completions_let_the_limit_grow(monkeypatch, fault, limit):
    """A server that never answers would be asked more and more."""
    monkeypatch.setattr("builders.score.server.TRIES", 2)
    with answering(lambda *_: fault) as (url, _):
        server = Server(url, "fake", timeout=0.1 if fault == SILENCE else 20.0)
        assert len(list(asked_of(server, 20))) == 20
    assert server.limit.now == limit


def test_a_request_that_is_cancelled_ends_the_run():
    """A run would wait for an answer that never comes."""
    server = Server("http://127.0.0.1:1/v1", "fake")

    async def ask(i):
        raise asyncio.CancelledError

    with pytest.raises(RemoteError, match="a request was cancelled"):
        list(server.run(range(2), ask, lambda i, problem: problem))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Welcome</html>"),
        ("application/json", b"Welcome"),
        ("application/json", b'["Welcome"]'),
        ("application/json", b'{"data": ["Welcome"]}'),
    ],
)
def test_another_site_than_a_server_is_told(kind, body):
    """A wrong --base-url would end in a stack trace."""
    told = pytest.raises(RemoteError, match=r"http://127.*/v1/models answers .*--base-url")
    with answering(lambda *_: (200, kind, body)) as (url, _), told as error:
        engine(url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("answer", [(403, {}), (404, {}), (200, ["1"]), (200, {"version": 1})])
def test_a_version_that_cannot_be_had_is_none(answer, start):
    """A server would be refused for a route that it need not have."""

    class Another(FakeServer):
        def _found(self, path, headers, request):
            return answer if path == "/version" else super()._found(path, headers, request)

    assert engine(f"http://{start(Another(TEACHER))}").describe().engine_version is None


def test_failures_are_told_once_the_server_answers_again(monkeypatch):
    """A dying server would mark samples as failed that it never saw."""
    monkeypatch.setattr("builders.score.server.TRIES", 1)
    monkeypatch.setattr("builders.score.server.SILENT", 4)

    def comes_back(_, n):
        return WORKS if n % 4 == 0 else BROKEN

    with answering(comes_back) as (url, _):
        found = list(asked_of(Server(url, "fake", concurrency=1), 9))
    failed = "server: HTTP 500: Error code: 500, 1 times"
    assert found[:4] == ["3: yes", f"0: {failed}", f"1: {failed}", f"2: {failed}"]
    assert found[4:] == ["7: yes", *(f"{i}: {failed}" for i in (4, 5, 6, 8))]

    def dies(_, n):
        return WORKS if n == 2 else BROKEN

    seen = []
    with answering(dies) as (url, _), pytest.raises(RemoteError, match="fails: 4 requests in a"):
        for answer in asked_of(Server(url, "fake", concurrency=1), 9):
            seen.append(answer)  # noqa: PERF402
    assert seen == ["1: yes", f"0: {failed}"]


def test_a_server_that_starts_anew_is_waited_for(monkeypatch):
    """A restart of vLLM takes minutes: samples would be given up on by the dozen."""
    monkeypatch.setattr("builders.score.server.TRIES", 2)

    def comes_back(_, n):
        if n == 2:
            time.sleep(1.5)  # a long completion that broke off: the patience begins at its end
        return WORKS if n == 1 or n > 7 else BUSY

    with answering(comes_back) as (url, got):
        server = Server(url, "fake", concurrency=1)
        assert list(asked_of(server, 2, patience=1.0)) == ["0: yes", "1: yes"]
    assert len(got) == 8

    def tries(fault, patience, works=1):
        with answering(lambda _, n: WORKS if n <= works else fault) as (url, _):
            *_, last = asked_of(Server(url, "fake", concurrency=1), 2, patience=patience)
        return int(re.search(r"(\d+) times", last)[1])

    assert tries(BUSY, 3.0) > 2
    assert tries(BUSY, 0.0) == tries(BROKEN, 3.0) == 2  # it is there, and fails
    assert tries(BUSY, 3.0, works=0) == 2  # it was never there


def test_a_used_up_quota_is_called_so(monkeypatch):
    """A user would start a server that runs, and is another's."""
    monkeypatch.setattr("builders.score.server.TRIES", 1)
    monkeypatch.setattr("builders.score.server.SILENT", 2)
    told = pytest.raises(RemoteError, match="refuses for too many requests: .*wait for its quota")
    with answering(lambda *_: SLOW_DOWN) as (url, _), told:
        list(asked_of(Server(url, "fake"), 5))


@pytest.mark.slow
def test_a_request_over_the_context_fails_alone():
    """One long question would stop a run."""
    with serving("--max-model-len", "700") as (url, _):
        long = SampleRequest("long", np.arange(300, dtype=np.int32), 7)
        results = made(engine(url), [*requests(3), long])
    assert [k for k, r in results.items() if r.error] == ["long"]
    assert results["long"].error.startswith("over context: 300 tokens of prompt and 500")
