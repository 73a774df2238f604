"""What went wrong with a request: an answer of the Hub, the network, or this machine's files."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from typing import Any

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_OF_FILES = {*_FULL, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.EMFILE, errno.EIO}
# Errors of Xet have no fields for these.
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")
_XET_ERRNO = re.compile(r"I/O error: .*\(os error (\d+)\)")


def of_requests() -> tuple[type[Exception], ...]:
    """What the client raises: of HTTP, of files, of an answer that is no JSON."""
    import httpx2

    return (httpx2.HTTPError, OSError, json.JSONDecodeError)


def of_uploads() -> tuple[type[Exception], ...]:
    """What it raises of uploads besides: they have no types of their own."""
    return (*of_requests(), RuntimeError, ValueError)


def status(error: BaseException) -> int | None:
    """The status of the answer behind an error, or behind its cause."""
    for one in _chain(error):
        if (answer := getattr(one, "response", None)) is not None:
            return int(answer.status_code)
        if found := _XET_STATUS.search(str(one)):
            return int(found[1])
    return None


def header(error: BaseException, name: str) -> str:
    """A header of the answer behind an error; empty where there is none."""
    answers: Iterator[Any] = (getattr(one, "response", None) for one in _chain(error))
    return next((str(a.headers.get(name, "")) for a in answers if a is not None), "")


def passes(error: BaseException) -> bool:
    """Whether the same request may be answered later."""
    import httpx2

    code = status(error)
    if code is not None:
        return code in _PASSING
    passing = (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError)
    return any(isinstance(one, passing) for one in _chain(error))


def local(error: BaseException) -> OSError | None:
    """What this machine refused, a file or room on its disk; None where it was the Hub."""
    if status(error) is not None:
        return None
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in (_OF_FILES if one.filename else _FULL):
            return one
        if (found := _XET_ERRNO.search(str(one))) and int(found[1]) in _OF_FILES:
            return OSError(int(found[1]), os.strerror(int(found[1])))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes: the client wraps those of uploads."""
    while error is not None:
        yield error
        error = error.__cause__
