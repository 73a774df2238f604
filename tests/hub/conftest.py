"""A Hub on this machine, and a catalog to push from."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tests.hub import endpoint

SCORES = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.9), (6, 0.95)]}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The Hub, for this process (by LFS) and for commands (by Xet); nothing waits."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    from dasd_data.hub import remote

    with endpoint.endpoint() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", endpoint.TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(remote, "sleep", lambda seconds: None)
        hurried = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
        monkeypatch.setattr(_http, "time", hurried)  # its retries of an upload wait half a minute
        yield server


@pytest.fixture
def catalog(made, response):
    """Two questions with two candidates each, at either temperature."""
    return made(
        *(
            response(f"{q}{i}-{t}", question=q, temperature=t, scores=SCORES)
            for q in "AB"
            for i in (0, 1)
            for t in (0.6, 1.0)
        )
    )
