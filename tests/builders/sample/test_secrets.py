"""A key and a password, marked, through every way in which a server can fail."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("openai")
pytest.importorskip("transformers")

from benchmarks import fake_server
from builders.score.server import KEY
from dasd_data.cli import cli
from dasd_data.errors import DasdError
from dasd_data.keys import question_id

TEACHER = Path(__file__).parents[3] / "examples" / "tiny" / "teacher"
MARK = "MARKED"
SECRET = f"sk-{MARK}'{'x' * 60}"  # longer than what a message shows of a token
PASSWORD = f"{MARK}pass"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
WITHIN = ("400", "401", "500", "half", "malformed", "token", "finish")
BEFORE = ("listed", "named", "tokenizer", "echo", "version")


class Telltale(fake_server.FakeServer):
    """Writes what it was authorized with into the answers of one kind."""

    kind = ""

    def _found(self, path, headers, request):
        leak = f"{SECRET} {PASSWORD} {headers.get('authorization')}"
        asked = path == "/v1/completions"
        sampled = asked and not request.get("echo") and request["seed"] >= 100
        if self.kind in WITHIN and sampled:
            return self._leaking(leak)
        if path == "/v1/models" and self.kind in ("listed", "named"):
            return 200, {"data": [leak] if self.kind == "listed" else [{"id": leak}]}
        if path == "/version" and self.kind == "version":
            return 200, {"version": leak}
        if asked and request.get("echo") and self.kind in ("tokenizer", "echo"):
            ids = [f"token_id:{i}" for i in self.tokens.encode(leak)]
            return self._choice_of(ids if self.kind == "tokenizer" else [leak], "length")
        return super()._found(path, headers, request)

    def _leaking(self, leak):
        if self.kind.isdigit():
            return int(self.kind), fake_server._error(leak)
        if self.kind in ("half", "malformed"):
            return 200, {"choices": leak}
        tokens = [leak, "token_id:5"] if self.kind == "token" else ["token_id:5", "token_id:6"]
        return self._choice_of(tokens, leak)

    def _choice_of(self, tokens, finish):
        values = {"tokens": [*tokens, "token_id:5"], "token_logprobs": [-1.0] * (len(tokens) + 1)}
        return 200, {"choices": [{"index": 0, "finish_reason": finish, "logprobs": values}]}


@pytest.fixture
def telltale(start):
    """telltale(kind): the URL of such a server."""

    def serve(kind):
        fake = Telltale(TEACHER, halves=float(kind == "half"))
        fake.kind = kind
        return f"http://me:{PASSWORD}@{start(fake)}"

    return serve


def written(folder):
    """Everything that is in the files below a folder, as text."""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            yield str(pq.read_table(path).to_pylist())
        elif path.is_file():
            yield path.read_text(errors="replace")


@pytest.mark.parametrize("kind", [*WITHIN, *BEFORE])
def test_no_secret_is_printed_logged_or_kept(
    kind, telltale, made, append, monkeypatch, capfd, tmp_path
):
    """A key would be read by everyone who reads the catalog, a log or a bug report."""
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.setitem(fake_server.REASONS, 500, "Broken")
    for name, value in (("LONGEST_WAIT", 0.01), ("TRIES", 2), ("PATIENCE", 0.0)):
        monkeypatch.setattr(f"builders.score.server.{name}", value)
    catalog, key = made(), question_id("What is 1 + 1?")
    append(catalog, "questions", [{"question_id": key, "text": "What is 1 + 1?"}])
    source = {"question_id": key, "source": "made", "row": "1", "domain": "math"}
    append(catalog, "question_sources", [source])
    command = [
        "sample", "--engine", "openai", "--base-url", telltale(kind),
        "--model", "fake", "--tokenizer", str(TEACHER), "--temperature", "1",
        "--max-tokens", "500", "--log", "log.jsonl", "--catalog", str(catalog.path),
    ]  # fmt: skip
    error = ""
    try:
        with cli.make_context("dasd-data", command) as context:
            cli.invoke(context)
    except DasdError as raised:
        error = str(raised)
    shown, kept = capfd.readouterr(), "".join(written(tmp_path))
    for text in (error, shown.out, shown.err, kept):
        assert MARK not in text
        assert BASIC not in text
    assert "***" in error + kept or kind in ("half", "malformed", "version")
