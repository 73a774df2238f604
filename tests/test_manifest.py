"""Manifests: what was written is read, and nothing else."""

from __future__ import annotations

import json
import math

import pytest

from dasd_data import manifest
from dasd_data.errors import DamagedFileError

SHARD = {"path": "data/train-00000-of-00001.parquet", "sha256": "a" * 64, "rows": 1}
DECIDES = {
    "view": "mine", "config": "mine", "description": "Mine", "sql": "SELECT 1", "key": ("id",),
    "parameters": {"beta": 0.1, "budget": {"math": 5}}, "declared": {}, "filters": {"cjk": "1"},
    "system": None, "files": {"responses": ["b" * 64]}, "code": "c", "libraries": {"duckdb": "2"},
}  # fmt: skip
DRAFT = {
    **DECIDES, "build_id": manifest.identify(DECIDES), "scorers": {}, "snapshot_id": 1,
    "version": "1", "rows": 1, "contract": {}, "funnel": [], "worth": None, "robustness": None,
    "facts": {"mean": math.nan}, "shards": [{**SHARD, "bytes": 2, "arrow_bytes": 3}],
    "built_at": "2026-01-01T00:00:00+00:00", "card": "d" * 64,
}  # fmt: skip


def test_a_manifest_is_read_back_as_it_was_sealed(tmp_path):
    """A build that is there would be taken for a damaged one, and made each time."""
    made = manifest.seal(DRAFT)
    (tmp_path / manifest.NAME).write_bytes(manifest.encode(made))
    assert manifest.read(tmp_path) == made
    assert (made["key"], made["facts"]) == (["id"], {"mean": None})
    again = json.dumps(made, ensure_ascii=False, indent=3)  # the text may be another, as a Hub's
    assert manifest.parse(again.encode(), "x") == made
    assert manifest.read(tmp_path / "nowhere") is None


def test_no_flipped_bit_goes_unnoticed():
    """`verify` would call a build sound whose parameters, rows or facts were changed."""
    made = manifest.seal(DRAFT)
    data = manifest.encode(made)
    for number in range(len(data) * 8):
        changed = bytearray(data)
        changed[number // 8] ^= 1 << number % 8
        try:
            assert manifest.parse(bytes(changed), "x") == made
        except DamagedFileError:
            continue


@pytest.mark.parametrize(
    ("name", "value"),
    [("shards", [5]), ("shards", [{**DRAFT["shards"][0], "path": "data/../../x"}]), ("rows", "1"),
     ("rows", -1), ("parameters", []), ("files", {"responses": ["../x"]}), ("libraries", None),
     ("snapshot_id", 1.5), ("view", None)],
)  # fmt: skip
def test_a_manifest_of_another_form_is_refused(name, value):
    """One from the Hub would end in a stack trace, or name a file outside of its build."""
    draft = {**DRAFT, name: value}
    draft["build_id"] = manifest.identify(draft)
    with pytest.raises(DamagedFileError, match="is no manifest of a build: .*Expected"):
        manifest.seal(draft)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"metadata": {}}', b"[" * 100_000])
def test_what_is_no_manifest_at_all_is_refused(data):
    """A file that goes by the same name would end in a stack trace."""
    with pytest.raises(DamagedFileError, match="the file is no manifest of a build"):
        manifest.parse(data, "the file")


def test_the_id_is_that_of_what_decides():
    """A manifest of other SQL could go by the id of a build that others know."""
    with pytest.raises(DamagedFileError, match="is not what was written"):
        manifest.seal({**DRAFT, "sql": "SELECT 2"})
