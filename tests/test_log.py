"""Log entries: what is no Delta action of ours names the line."""

from __future__ import annotations

import json

import pytest

from dasd_data import log
from dasd_data.errors import DamagedFileError

NAME = "a" * 64 + ".parquet"
STATS = json.dumps({"numRecords": 1})
ADD = {"path": NAME, "size": 1, "stats": STATS, "dataChange": True}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"add": {**ADD, "size": float("inf")}}),
        json.dumps({"add": {**ADD, "stats": '{"numRecords": Infinity}'}}),
        json.dumps({"add": {**ADD, "path": "../x"}}),
        json.dumps({"commitInfo": []}),
        '{"add": ' + "[" * 100_000,
        "",
    ],
)
def test_an_odd_entry_is_damage(tmp_path, line):
    """A damaged log would end in a stack trace."""
    log.path(tmp_path, 0).parent.mkdir()
    log.path(tmp_path, 0).write_text(json.dumps({"add": ADD}) + "\n" + line + "\n")
    with pytest.raises(DamagedFileError, match=r"json:2 is damaged"):
        log.read(tmp_path, 0)


@pytest.mark.parametrize(
    ("info", "damaged"),
    [({"what": "ingest"}, True), ({"operation": "VACUUM END"}, False), (None, True)],
)
def test_an_entry_that_lost_its_files_is_damage(tmp_path, info, damaged):
    """`gc` would take the file for one that no commit names; other engines write such entries."""
    log.path(tmp_path, 0).parent.mkdir()
    entry = json.dumps({"commitInfo": info}) if info else ""
    log.path(tmp_path, 0).write_text(entry)
    if not damaged:
        assert log.read(tmp_path, 0).adds == ()
        return
    with pytest.raises(DamagedFileError, match=r"json does nothing: restore it from a backup"):
        log.read(tmp_path, 0)
