"""The fuzz targets: seconds of each under atheris, and every past finding once more."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
NAMES = (
    "jsonl", "document", "csv", "file", "parquet", "arrow", "streams", "shapes", "openai",
    "objects", "sentences", "think", "harmony", "fitting", "tokenizer", "front", "toml", "set",
    "manifest", "log",
)  # fmt: skip
FINDINGS = json.loads((Path(__file__).parent / "findings.json").read_text())


@pytest.mark.slow
def test_every_target_for_a_moment(tmp_path: Path) -> None:
    """A parser would raise what it does not declare, hang, or lose or invent a row."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install 'dasd-data[fuzz]'")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--runs", "4000", "--seconds", "2",
         "--out", str(tmp_path), "--json", str(tmp_path / "findings.json")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "findings.json").read_text()) == []


@pytest.mark.parametrize("number", range(len(FINDINGS)), ids=[f["what"] for f in FINDINGS])
def test_a_past_finding_stays_mended(number: int) -> None:
    """What a fuzzer found once would come back."""
    from tests.fuzz.targets import TARGETS

    finding = FINDINGS[number]
    (target,) = [t for t in TARGETS if t.name == finding["target"]]
    target.check(bytes.fromhex(finding["input"]))


def test_seeds_are_sound() -> None:
    """A target would be at odds with the formats that it is made of."""
    from tests.fuzz.targets import TARGETS

    assert tuple(sorted(t.name for t in TARGETS)) == tuple(sorted(NAMES))
    for target in TARGETS:
        for seed in (*target.seeds, b""):
            target.check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_the_targets_say_holds_for_any_bytes(name: str) -> None:
    """The same promises, where atheris cannot be installed."""
    from tests.fuzz.targets import TARGETS

    (target,) = [t for t in TARGETS if t.name == name]

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=400) | st.sampled_from(target.seeds))
    def holds(data: bytes) -> None:
        target.check(data)

    holds()
