"""Manifests of builds that were pushed: `manifests/<config>.json` of a data set of the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from dasd_data import manifest
from dasd_data.errors import DataError, UsageError
from dasd_data.hub.remote import Remote
from dasd_data.manifest import Manifest

_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^\s@]+))?")


def is_name(text: str) -> bool:
    """Whether a text names a data set of the Hub, as `org/name` or `org/name@tag`."""
    return bool(_NAME.fullmatch(text)) and not Path(text).exists()


def manifests(name: str) -> dict[str, Manifest]:
    """The manifests of a data set at a tag, branch or commit (the head without one), by config.

    The token is that of the environment or of the Hub's login. Raises UsageError for no such data
    set or revision, DataError where no build was pushed, DeniedError, RemoteError.
    """
    match = _NAME.fullmatch(name)
    assert match
    remote = Remote(match["repo"])
    state = remote.state(match["revision"])
    if state is None:
        raise UsageError(
            f"{remote.url} is not there, or your token may not see it (HF_TOKEN opens private "
            "data sets)"
        )
    paths = [path for path in state.files if re.fullmatch(r"manifests/[^/]+\.json", path)]
    found = {Path(path).stem: remote.read(path, state.head) for path in paths}
    if not found:
        raise DataError(f"{name} holds no manifests/*.json: it was not pushed by dasd-data")
    return {
        config: manifest.parse(text, f"{name}, manifests/{config}.json")
        for config, text in found.items()
    }
