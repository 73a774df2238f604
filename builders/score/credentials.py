"""The key of a server and what its URL holds: where they are read, and how they may be written."""

from __future__ import annotations

import os
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from dasd_data.errors import UsageError

KEY = "OPENAI_API_KEY"
NO_KEY = "none"  # sent where no key is set: the client library wants one


def key_of() -> str:
    """The key of the environment, `none` where there is none; no message shows it."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"{KEY} holds characters that no key has, such as a line break: set it anew"
        )
    return key or NO_KEY


def spellings(key: str, user: str, password: str) -> list[str]:
    """How a server or a library may write what is secret, the longest first."""
    name, word = unquote(user), unquote(password)
    basic = b64encode(f"{name}:{word}".encode()).decode() if user else ""
    lone = {user, name} if not password else set()  # https://TOKEN@host
    plain = {key, password, word, basic, *lone} - {"", NO_KEY}
    return sorted(plain | {repr(text)[1:-1] for text in plain}, key=len, reverse=True)


def without_user(url: str) -> tuple[str, str, str]:
    """A URL without user and password, the user, and the password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError("--base-url is no URL, such as http://127.0.0.1:8000/v1") from None
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return shown.geturl(), parts.username or "", parts.password or ""
