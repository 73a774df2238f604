"""Fuzz targets for what the catalog itself wrote, or another's did: manifests and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dasd_data import log, manifest, reproduce
from dasd_data.errors import DamagedFileError, DasdError
from dasd_data.parameters import Variables
from tests.fuzz.choices import Choices, changed
from tests.fuzz.of_files import stored
from tests.fuzz.target import Target

HASH = "0" * 64
DECIDES: dict[str, Any] = {
    "view": "mine", "config": "mine", "description": "d", "sql": "SELECT 1", "key": ["id"],
    "parameters": {"beta": 0.1, "budget": {"math": 5}, "teacher": "t", "names": ["a"]},
    "declared": {"less": {"type": "integer"}}, "filters": {"cjk": "1"}, "system": None,
    "files": {"responses": [HASH]}, "code": "c", "libraries": {"duckdb": "2"},
}  # fmt: skip
DRAFT: dict[str, Any] = {
    **DECIDES, "scorers": {"student": {"model": "m"}}, "snapshot_id": 1, "version": "1", "rows": 1,
    "contract": {"checks": []}, "funnel": [], "worth": None, "robustness": None,
    "facts": {"sources": []}, "built_at": "2026-01-01T00:00:00+00:00", "card": HASH,
    "shards": [{"path": "data/train-00000-of-00001.parquet", "sha256": HASH, "rows": 1, "bytes": 2,
                "arrow_bytes": 3}],
}  # fmt: skip
ENTRY: list[dict[str, Any]] = [
    {"add": {"path": f"{HASH}.parquet", "size": 1, "dataChange": True,
             "stats": json.dumps({"numRecords": 1})}},
    {"remove": {"path": f"{HASH}.parquet", "size": 1, "dataChange": False}},
    {"commitInfo": {log.REMOVED_ROWS: 1}}, {"protocol": {"minReaderVersion": 1}},
]  # fmt: skip
ODD: list[Any] = [
    None, "", "x", "../x", "CON", "\0", "a" * 300, 0, -1, 2**53, 2**70, 1.5, float("inf"), True, [],
    [None], [[]], {}, {"a": 1}, {"type": "number"}, {"type": []}, HASH, "[" * 2_000,
]  # fmt: skip
_HERE = Path(__file__).parent


class _NoCatalog:
    """What a manifest is asked of before any catalog is opened."""

    path = _HERE


def of_build(data: bytes) -> None:
    """A manifest, as bytes or with odd values under a digest of its own: sound, or refused."""
    choices = Choices(data)
    try:
        if choices.below(3) == 0:
            found = manifest.parse(choices.rest(), "the file")
        else:
            draft = changed(DRAFT, choices, ODD)
            found = manifest.seal({**draft, "build_id": manifest.identify(draft)})
        assert manifest.parse(manifest.encode(found), "again") == found
        view = reproduce._view(_NoCatalog(), found)  # type: ignore[arg-type]
        reproduce._versions(found)
        for name, parameter in view.parameters.items():
            parameter.literal(parameter.check(found["parameters"].get(name)))
        Variables().set_filters(found["filters"])
    except DasdError as error:
        assert len(str(error)) < 5000
        return
    assert all(shard["path"].startswith("data/train-") for shard in found["shards"])


def of_log(data: bytes) -> None:
    """A log entry, as bytes or with odd values: files that a state can take, or damage."""
    choices = Choices(data)
    kind = choices.below(3)
    text = choices.rest() if kind == 0 else b"\n".join(_lines(choices))
    folder = stored(b"", "table").with_suffix(".folder")
    log.path(folder, 0).parent.mkdir(parents=True, exist_ok=True)
    log.path(folder, 0).write_bytes(text)
    try:
        entry = log.read(folder, 0)
    except DamagedFileError as error:
        assert error.file
        return
    state = log.State().then(entry)
    assert all(log.is_name(file.name) for file in entry.adds)
    assert state.version == entry.version == 0
    assert not entry.dropped or entry.removes
    if not entry.removes and not entry.removed_rows:
        assert state.matches(entry.adds)


def _lines(choices: Choices) -> Iterator[bytes]:
    yield from (json.dumps(changed(line, choices, ODD)).encode() for line in ENTRY)


RECORDS = (
    Target("manifest", of_build, [b"\1", b"\2\1\5\6\3", b"\0{}",
           b"\0" + manifest.encode(manifest.seal({**DRAFT, "build_id": manifest.identify(DRAFT)}))],
           [b'"shards":', b'"parameters":', b'"files":', b'"sha256":'], 4096),
    Target("log", of_log, [b"\1", b"\2\1\2\6\3", b"\0" + b"\n".join(
           json.dumps(line).encode() for line in ENTRY)],
           [b'{"add":', b'{"remove":', b'"stats":', b"Infinity", b"1e999"], 1024),
)  # fmt: skip
