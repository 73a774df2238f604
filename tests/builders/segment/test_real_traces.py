"""Real chains of thought, where the shared data is at hand."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from builders.segment import segment

ROOT = Path(__file__).parents[3]


def shared_data(name: str) -> Path:
    path = Path(os.environ.get("DASD_SHARED", ROOT.parent / "shared")) / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set DASD_SHARED")
    return path


@pytest.mark.slow
def test_real_traces_come_apart_into_sentences() -> None:
    """A stray opener would swallow a real trace, or a stop rule chop it into crumbs."""
    path = shared_data("responses/gptoss_math_attempts.parquet")
    lengths = []
    for row in pq.read_table(path, columns=["reasoning", "content"]).to_pylist():
        thinking, answer = row["reasoning"], row["content"] or ""
        ends = segment(thinking, answer).byte_end
        size = len(((thinking or "") + answer).encode())
        assert (ends[-1] if len(ends) else 0) == size
        lengths.append(np.diff(ends, prepend=0))
    spans = np.concatenate(lengths)
    assert 30 <= np.median(spans) <= 60
    assert (spans > 600).mean() < 0.001
    assert spans.max() < 3000
