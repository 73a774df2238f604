"""Manifests: what decided the rows of a build, and what came of it, sealed by a digest.

They are copied, pushed and downloaded. Each is read here: one of another form, or that is not what
was written, is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
from msgspec import Meta

from dasd_data.errors import DamagedFileError

NAME = "manifest.json"
_Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
_SHARD = r"data/train-\d{5,9}-of-\d{5,9}\.parquet"
_Count = Annotated[int, Meta(ge=0, le=2**53)]


class Shard(TypedDict):
    """A shard, as `shards.Shard` has it."""

    path: Annotated[str, Meta(pattern=rf"\A{_SHARD}\Z")]
    sha256: _Sha256
    rows: _Count
    bytes: _Count
    arrow_bytes: _Count


class _Decides(TypedDict):
    """What decides the rows of a build. `trusted` SQL may read what no manifest names."""

    view: str
    config: str
    description: str
    sql: str
    key: list[str]
    parameters: dict[str, Any]
    declared: dict[str, dict[str, Any]]
    filters: dict[str, str]
    system: str | None
    files: dict[str, list[_Sha256]]
    code: str
    libraries: dict[str, str]
    trusted: NotRequired[bool]
    nonce: NotRequired[str]


class Manifest(_Decides):
    """A finished build. `card` is the SHA-256 of its README.md, `sha256` that of all the rest."""

    build_id: str
    scorers: dict[str, dict[str, Any]]
    snapshot_id: _Count
    version: str
    rows: _Count
    contract: dict[str, Any]
    funnel: list[dict[str, Any]]
    worth: dict[str, Any] | None
    robustness: dict[str, Any] | None
    facts: dict[str, Any]
    shards: list[Shard]
    built_at: str
    card: _Sha256
    sha256: _Sha256


def identify(manifest: Mapping[str, Any]) -> str:
    """The id of a build: a hash of what decides its rows."""
    decides = _Decides.__annotations__
    return _hash(plain({name: value for name, value in manifest.items() if name in decides}))[:16]


def seal(draft: Mapping[str, Any]) -> Manifest:
    """A finished manifest with its digest, as it is read back from its file."""
    rest = plain(draft)
    return parse(encode({**rest, "sha256": _digest(rest)}), "the manifest")


def plain(draft: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as it is read back: NaN is null, tuples are lists, keys are in order."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(draft, order="sorted"))
    return found


def encode(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)


def parse(data: bytes, where: object) -> Manifest:
    """A manifest from its file. Raises DamagedFileError that says what is wrong with it."""
    try:
        found: Manifest = msgspec.json.decode(data)
        msgspec.convert(found, Manifest)  # checks its form; what it makes lacks unknown names
        whole = found["build_id"] == identify(found) and found["sha256"] == _digest(found)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{where} is no manifest of a build: {error}") from None
    if not whole:
        raise DamagedFileError(f"{where} is not what was written: its digest is of another text")
    return found


def read(folder: Path) -> Manifest | None:
    """The manifest of the build in a folder; None where there is none. Raises DamagedFileError."""
    path = folder / NAME
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read ({error.strerror})", path) from None
    return parse(data, path)


def is_file_of_build(name: str) -> bool:
    """Whether a build's folder holds a file of this name, relative to it."""
    return name in ("README.md", NAME) or bool(re.fullmatch(_SHARD, name))


def _digest(manifest: Mapping[str, Any]) -> str:
    return _hash({name: value for name, value in manifest.items() if name != "sha256"})


def _hash(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
