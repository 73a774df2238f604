"""Tests of what is read of a Parquet file's footer."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builders.read import read
from builders.read.footer import Footer

# Fields 2 and 3 of SizeStatistics in Thrift's compact protocol, the histograms of repetition and
# of definition levels: [] and [0, 3] as it should be, [0, 3] and [] for a column without lists.
SOUND, DAMAGED = b"\x19\x06\x19\x26\x00\x06\x00", b"\x19\x26\x00\x06\x19\x06\x00"


def test_what_a_sound_footer_says_is_what_pyarrow_says(tmp_path: Path) -> None:
    """A row group would be taken for a bomb, or a bomb for a row group."""
    path = tmp_path / "a.parquet"
    pairs = pa.array([{"x": 1, "y.z": ["u", "v"]}, None, {"x": None, "y.z": []}])
    table = pa.table({"s": pairs, "n": [[1, 2], [], [3]], "m.n": [None, "a", "b"]})
    pq.write_table(table, path, row_group_size=2)
    metadata = pq.read_metadata(path)
    with Footer(metadata, path.stat().st_size) as footer:
        for group in range(2):
            said = footer.columns(group)
            assert said == [metadata.row_group(group).column(i) for i in range(4)]
        assert [c.num_values for c in footer.columns(0)] == [2, 3, 3, 2]


def test_statistics_at_odds_with_their_column_damage_one_row_group(tmp_path: Path) -> None:
    """The process would end, and with it a run over all other files."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x", "y", "z"] * 2}), path, row_group_size=3)
    whole = path.read_bytes()
    assert whole.count(SOUND) == 2
    path.write_bytes(whole.replace(SOUND, DAMAGED, 1))
    told: list[int] = []
    error, *rows = read(path, on_bytes=told.append)
    assert error.line == 1
    assert "row group 0 is damaged" in str(error.error)
    assert "level histogram size mismatch" in str(error.error)
    assert [(r.line, r.value) for r in rows] == [(4, {"a": "x"}), (5, {"a": "y"}), (6, {"a": "z"})]
    assert told[0] == 0 < told[1]
