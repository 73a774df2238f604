"""Texts are put in the order of their rows, whatever order they came in, in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dasd_data import texts
from dasd_data.texts import Texts

SCHEMA = pa.schema([("_row", pa.int64()), ("question", pa.string()), ("answer", pa.string())])


def given(count, seed):
    """Rows in a random order: every 11th has no answer, lengths differ much."""
    random = np.random.default_rng(seed)
    return [
        {
            "_row": int(n),
            "question": f"q{n}",
            "answer": None if n % 11 == 0 else f"a{n} é" * (n % 7) ** 3,
        }
        for n in random.permutation(count)
    ]


@pytest.mark.parametrize("run_bytes", [1, 3_000, 1 << 20])
@pytest.mark.parametrize("batch", [1, 7, 300])
def test_texts_come_back_in_order(monkeypatch, run_bytes, batch):
    """A row would be trained with the answer of another."""
    monkeypatch.setattr(texts, "RUN_BYTES", run_bytes)
    monkeypatch.setattr(texts, "PIECE_BYTES", 900)
    found = given(300, batch)
    expected = [{k: r[k] for k in ("question", "answer")} for r in sorted(found, key=key)]
    with Texts(SCHEMA, 300) as sorter:
        sorter.spill(pa.Table.from_pylist(found, SCHEMA).to_batches(batch))
        groups = list(sorter.groups([1, 100, 101, 290, 300]))
    assert [len(g) for g in groups] == [1, 99, 1, 189, 10]
    assert pa.concat_tables(groups).to_pylist() == expected
    assert sorter.sizes.tolist() == [
        sum(len(r[k].encode()) for k in r if r[k] is not None) for r in expected
    ]


def key(row):
    """The number of a row."""
    return row["_row"]


def test_a_row_that_did_not_come_has_no_size():
    """A split would lack rows, and say nothing."""
    with Texts(SCHEMA, 4) as sorter:
        sorter.spill(pa.Table.from_pylist(given(3, 0), SCHEMA).to_batches())
    assert sorter.sizes.tolist() == [2, 2 + 5, 2 + 8 * 5, -1]


def test_memory_stays_bounded(monkeypatch):
    """A split larger than memory could not be built."""
    monkeypatch.setattr(texts, "RUN_BYTES", 1 << 20)
    monkeypatch.setattr(texts, "PIECE_BYTES", 1 << 14)
    rows = 4_000
    numbers = np.random.default_rng(1).permutation(rows)

    def batches():
        for part in np.split(numbers, 400):
            text = pa.array(["x" * 5_000] * len(part))
            yield pa.record_batch([pa.array(part), text, text], SCHEMA)

    before, most, count = pa.total_allocated_bytes(), 0, 0
    with Texts(SCHEMA, rows) as sorter:  # 40 MB
        sorter.spill(batches())
        for group in sorter.groups(range(100, rows + 1, 100)):
            most, count = max(most, pa.total_allocated_bytes() - before), count + len(group)
    assert count == rows
    assert most < 6 << 20
