"""What several of the filters' tests need: candidates by hand and the real files."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders.filters.base import Candidate

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    """Build a complete, harmless candidate; every field can be given."""

    def build(**fields) -> Candidate:
        plain = {
            "response_id": "r1",
            "question": "What is 2 + 2?",
            "thinking": "Two and two make four.",
            "answer": "It is 4.",
            "finish_reason": "stop",
        }
        return Candidate(**(plain | fields))

    return build


@pytest.fixture
def segmented() -> Callable[..., Candidate]:
    """Build a candidate from (text, kind) sentences of its answer."""

    def build(sentences: list[tuple[str, int]]) -> Candidate:
        ends = np.cumsum([len(text.encode()) for text, _ in sentences]).astype(np.int32)
        kinds = np.array([kind for _, kind in sentences], np.int8)
        text = "".join(text for text, _ in sentences)
        spans = (ends, kinds, np.ones(len(ends), np.int8))
        return Candidate("r1", "", None, text, sentences=spans)

    return build


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """Find a file of the shared data set, or skip."""

    def find(name: str) -> Path:
        base = Path(os.environ.get("DASD_SHARED", ROOT.parent / "shared"))
        path = base / "data" / name
        if not path.exists():
            pytest.skip(f"{path} is not there: set DASD_SHARED")
        return path

    return find
