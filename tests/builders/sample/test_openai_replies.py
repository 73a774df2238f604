"""Answers of a server that no server should give."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import numpy as np
import pytest

from builders.tokens.table import TokenTable
from builders.tokens.vocab import Vocab
from dasd_data.errors import DataError, RowError

pytest.importorskip("openai")
pytest.importorskip("transformers")

from builders.sample.engine import Sampling
from builders.sample.openai_engine import OpenAIGenerator
from builders.score.openai_engine import OpenAIScorer, float32
from builders.score.server import KEY, Choice, Logprobs, Server

TABLE = TokenTable(Vocab([b"a", b"b", None], frozenset()))
SAMPLING = Sampling(temperature=1.0, max_tokens=9, stop_ids=(1,))


def read(token, value=-0.5, **more):
    """What the engine makes of a completion of one token."""
    given = {"finish_reason": "length", **more}
    choice = Choice(logprobs=Logprobs([token], [value]), **given)
    return OpenAIGenerator._read(SimpleNamespace(table=TABLE), "key", [choice], SAMPLING)


@pytest.mark.parametrize(
    ("token", "more"),
    [("token_id:\u00b2", {}), ("token_id:" + "9" * 5000, {}), ("token_id:999999999", {}),
     ("token_id:9999999999", {}), ("a", {"token_ids": [2**70]}), ("a", {"token_ids": [-1]}),
     ("a", {"finish_reason": "x" * 5000})],
)  # fmt: skip
def test_odd_ids_and_reasons_are_that_row_s_reason(token, more):
    """One answer of one server would end a run of days."""
    with pytest.raises(RowError):
        read(token, **more)


def test_a_reason_is_short_however_long_the_server_s_text():
    """One server would fill the table of attempts."""

    async def ask(_):
        return read("token_id:" + "9" * 5000)

    server = Server("http://127.0.0.1:9/v1", "fake")
    (reason,) = server.run(["row"], ask, lambda _, problem: problem)
    assert reason.startswith("unreadable answer: token 0")
    assert len(reason) == 300


def test_a_log_prob_that_float32_cannot_hold_is_not_finite():
    """It would end the run with a warning, or be stored."""
    assert "not finite" in read("token_id:0", -1e39).error
    assert np.isneginf(float32([-1e39])).all()


@pytest.mark.parametrize(
    ("said", "kept"),
    [("0.32.0+cu129", "0.32.0+cu129"), ("0.sk-1", None), ("a b", None), ("9" * 65, None),
     (None, None), (7, None)],
)  # fmt: skip
def test_a_version_is_kept_whole_or_not_at_all(said, kept, monkeypatch):
    """A short key would be cut out of the version, and make another scorer of the same server."""
    monkeypatch.setenv(KEY, "sk-1")
    server = Server("http://127.0.0.1:9/v1", "fake")
    monkeypatch.setattr(server, "get", lambda path, beside: {"version": said})
    assert OpenAIScorer._version(SimpleNamespace(server=server)) == kept


def test_a_token_that_is_the_user_of_the_url_is_masked():
    """It would be printed, as it is or as the header that it makes."""
    server = Server("http://to%2Fken@127.0.0.1:9/v1", "fake")
    basic = base64.b64encode(b"to/ken:").decode()
    assert server.shown(f"to%2Fken to/ken {basic}") == "*** *** ***"
    assert Server("http://me:word@127.0.0.1:9/v1", "fake").shown("me word") == "me ***"


def test_an_error_is_short_however_long_the_server_s_text():
    """One odd server would fill the screen, or put the advice out of sight."""
    server = Server("http://127.0.0.1:9/v1", "fake")
    with pytest.raises(DataError) as raised, server.masked():
        raise DataError(f"token {'x' * 5000} is none: see the server")
    text = str(raised.value)
    assert len(text) == 500
    assert text.endswith("is none: see the server")
