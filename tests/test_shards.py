"""Shards: where row groups and files end, and what of them a small change leaves as it was."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dasd_data import shards
from dasd_data.render import render


def table(texts):
    """Rendered rows with these completions."""
    chats = render(pa.array(["Why?"] * len(texts)), pa.array(texts), None)
    return chats.append_column("n", pa.array(range(len(texts))))


def test_row_groups_end_by_rows_and_by_bytes():
    """A few long answers in one row group would not fit in a reader's memory."""
    limit = shards.GROUP_BYTES
    assert shards.group_ends(np.array([], np.int64)) == []
    assert shards.group_ends(np.full(2_500, 10)) == [1_000, 2_000, 2_500]
    assert shards.group_ends(np.array([limit - 5, 5, 1])) == [2, 3]
    assert shards.group_ends(np.array([1, limit, limit + 1, 1, 1])) == [1, 2, 3, 5]
    assert shards.group_ends(np.zeros(1_001, np.int64)) == [1_000, 1_001]


def test_shards_end_by_the_bytes_of_their_texts(tmp_path):
    """A split would be one file of any size, or one file per row group."""
    rows = table(["x" * (i % 7) * 10 for i in range(300)])
    groups = [(rows[i : i + 20], 600) for i in range(0, 300, 20)]
    written = shards.write(groups, rows.schema, tmp_path, shard_bytes=2_000)
    assert [s.rows for s in written] == [80, 80, 80, 60]
    assert [s.path for s in written] == [f"data/train-0000{i}-of-00004.parquet" for i in range(4)]
    assert pq.read_table(tmp_path / "data").equals(rows)


def test_a_row_more_leaves_most_pages_as_they_were(tmp_path):
    """A store that keeps equal parts once would take the whole split again for one row."""
    random = np.random.default_rng(0)
    texts = [random.bytes(2_500).hex() for _ in range(500)]
    pages = [
        written(tmp_path / str(n), table(some)) for n, some in enumerate((texts, ["new", *texts]))
    ]
    same = sum(len(page) for page in pages[1] if page in pages[0])
    assert same > 0.7 * sum(map(len, pages[1]))


def written(folder, rows):
    """The compressed pages of a shard of one row group."""
    (shard,) = shards.write([(rows, 1)], rows.schema, folder)
    return set((folder / shard.path).read_bytes().split(b"\x28\xb5\x2f\xfd"))  # of a zstd frame


@pytest.mark.slow
def test_a_second_push_sends_little(tmp_path):
    """Every new version of a data set would be uploaded whole."""
    hf_xet = pytest.importorskip("hf_xet")
    rng = np.random.default_rng(7)
    words = rng.choice(np.frombuffer(b"etaoin shrdlu.", np.uint8), (65_536, 8))
    texts = [words[rng.integers(0, 65_536, 600)].tobytes().decode() for _ in range(10_000)]
    table = pa.table({"id": [f"{n:05}" for n in range(10_000)], "content": texts})
    removed = np.sort(rng.permutation(10_000)[10:])

    def send(rows, name, store):
        groups = ((rows[n : n + 1_000].combine_chunks(), 1_000) for n in range(0, len(rows), 1_000))
        (shard,) = shards.write(groups, table.schema, tmp_path / name)
        commit = hf_xet.XetSession().new_upload_commit(endpoint=f"local://{tmp_path / store}")
        commit.start_upload_file(str(tmp_path / name / shard.path))
        return commit.wait_to_finish().dedup_metrics.total_bytes_uploaded / shard.bytes

    for store in ("a", "b"):
        (tmp_path / store).mkdir()
    assert send(table[:9_800], "most", "a") > 0.95
    assert send(table, "appended", "a") < 0.05
    assert send(table, "whole", "b") > 0.95
    assert send(table.take(pa.array(removed)), "removed", "b") < 0.35
