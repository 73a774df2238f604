"""Texts are put in the order of their rows, whatever order they came in, in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dasd_data import texts
from dasd_data.texts import SCHEMA, Texts


def given(count, seed):
    """Rows in a random order: every 11th has no text, lengths differ much."""
    random = np.random.default_rng(seed)
    return [
        {"_row": int(n), "text": None if n % 11 == 0 else f"a{n} é" * (n % 7) ** 3}
        for n in random.permutation(count)
    ]


@pytest.mark.parametrize("run_bytes", [1, 3_000, 1 << 20])
@pytest.mark.parametrize("batch", [1, 7, 300])
def test_texts_come_back_in_order(monkeypatch, run_bytes, batch):
    """A row would be trained with the answer of another."""
    monkeypatch.setattr(texts, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(texts, "PIECE_BYTES", 900)
    found = given(300, batch)
    expected = [r["text"] for r in sorted(found, key=key)]
    with Texts(300) as sorter:
        sorter.spill(pa.Table.from_pylist(found, SCHEMA).to_batches(batch))
        groups = list(sorter.groups([1, 100, 101, 290, 300]))
    assert [len(g) for g in groups] == [1, 99, 1, 189, 10]
    assert pa.concat_arrays(groups).to_pylist() == expected
    assert sorter.sizes.tolist() == [len((text or "").encode()) for text in expected]


def key(row):
    """The number of a row."""
    return row["_row"]


def test_a_row_that_did_not_come_has_no_size():
    """A split would lack rows, and say nothing."""
    with Texts(4) as sorter:
        sorter.spill(pa.Table.from_pylist(given(3, 0), SCHEMA).to_batches())
    assert sorter.sizes.tolist() == [0, 5, 8 * 5, -1]


def test_memory_stays_bounded(monkeypatch):
    """A split larger than memory could not be built."""
    monkeypatch.setattr(texts, "RUN_BYTES", 1 << 20)
    monkeypatch.setattr(texts, "PIECE_BYTES", 1 << 14)
    rows = 4_000
    numbers = np.random.default_rng(1).permutation(rows)

    def batches():
        for part in np.split(numbers, 400):
            text = pa.array(["x" * 5_000] * len(part))
            yield pa.record_batch([pa.array(part), text], SCHEMA)

    before, most, count = pa.total_allocated_bytes(), 0, 0
    with Texts(rows) as sorter:  # 20 MB
        sorter.spill(batches())
        for group in sorter.groups(range(100, rows + 1, 100)):
            most, count = max(most, pa.total_allocated_bytes() - before), count + len(group)
    assert count == rows
    assert most < 6 << 20
