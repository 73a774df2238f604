"""Spill folders: gone with their process, and never another's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dasd_data import scratch
from dasd_data.session import Session


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A TMPDIR of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _left(temporary: Path, name: str) -> Path:
    left = temporary / name
    (left / "spill").mkdir(parents=True)
    (left / "spill" / "rows.tmp").write_bytes(b"x")
    os.utime(left, (0, 0))
    return left


def test_what_a_killed_process_leaves_goes_with_the_next(temporary):
    """Each kill would leave up to 32 GB of spilled rows in the temporary folder for ever."""
    killed = _left(temporary, "dasd-scratch-killed")
    (temporary / "dasd-scratch-new").mkdir()
    others = _left(temporary, "dasd-other")
    with scratch.folder() as mine:
        os.utime(mine, (0, 0))
        with scratch.folder() as other:
            assert other.is_dir()
        assert mine.is_dir()  # it is locked
    assert not killed.exists()
    assert others.exists()
    assert [p.name for p in temporary.glob("dasd-scratch-*")] == ["dasd-scratch-new"]


_SPILLS = """
import os, signal, sys
from dasd_data.config import SqlConfig
from dasd_data.session import Session
session = Session({}, threads=1, limits=SqlConfig(memory_limit="50MB"))
rows = session.connection.sql("SELECT range AS x, md5(range::VARCHAR) AS y FROM range(2000000) ORDER BY y")
rows = rows.to_arrow_reader(1000)
rows.read_next_batch()
print(sum(1 for _, _, files in os.walk(os.environ["TMPDIR"]) for _ in files), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["ended", "killed"])
def test_a_session_spills_where_it_is_swept(temporary, end):
    """A killed build would leave its spilled rows on the disk: gigabytes that no one finds."""
    done = subprocess.run(
        [sys.executable, "-c", _SPILLS, end], env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert int(done.stdout) > 0, done.stderr  # it did spill
    left = list(temporary.glob("*"))
    assert len(left) == (end == "killed")
    for folder in left:
        os.utime(folder, (0, 0))
    session = Session({})
    assert not any(folder.exists() for folder in left)
    session.close()


def test_a_forked_process_has_a_folder_of_its_own(temporary):
    """Rows that a child is still sorting would be removed when its parent ends."""
    mine = scratch.of_process()
    assert mine is scratch.of_process()
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writes, str(scratch.of_process()).encode())
        os._exit(0)
    os.close(writes)
    its = os.read(reads, 4096).decode()
    os.close(reads)
    os.waitpid(child, 0)
    assert its
    assert Path(its) != mine
