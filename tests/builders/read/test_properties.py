"""What holds for any rows and any damage: every good row once, at its own line, and no other."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.read import read
from builders.read.lines import read_jsonl
from tests.fuzz.choices import Chunks

ANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ROWS = st.lists(st.dictionaries(TEXT, VALUE, max_size=4), max_size=6)
# Rows of a table: the same columns and types in each; CSV knows text only, and no empty one.
TABLE = st.lists(
    st.fixed_dictionaries({
        "q": TEXT.filter(bool), "n": st.lists(st.integers(0, 2**31), max_size=3),
        "p": st.none() | st.lists(st.floats(-9e3, 0, width=32), max_size=3),
    }), min_size=1, max_size=5,
)  # fmt: skip
BAD = st.sampled_from([
    b"{", b'{"a": 1', b'{"a": "\xff"}', b'{"a": 1, "a": 2}', b"[1]", b"7", b"\0\0", b'{"a": NaN}',
    b'{"a": "\\ud800"}', b"}}}", b"not JSON at all", b'"', b'{"a": 1}}', b"[" * 2000,
])  # fmt: skip
PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


def stored(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("ending", PACK)
@ANY
@given(ROWS, st.booleans(), st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 3))
def test_json_rows_come_back(
    tmp_path: Path, ending: str, rows: list[Any], ascii_only: bool, newline: bytes, blank: int
) -> None:
    """A row would be changed, lost, or told by another line's number."""
    texts = [json.dumps(row, ensure_ascii=ascii_only).encode() for row in rows]
    data = (newline * blank).join(texts) + newline
    found = list(read(stored(tmp_path, f"a.jsonl{ending}", PACK[ending](data))))
    assert [(r.line, r.value) for r in found] == [
        (1 + i * blank, row) for i, row in enumerate(rows)
    ]
    array = PACK[ending](b"[" + b",".join(texts) + b"]")
    found = list(read(stored(tmp_path, f"a.json{ending}", array)))
    assert [(r.line, r.value) for r in found] == list(enumerate(rows, 1))


@ANY
@given(TABLE, st.integers(1, 4))
def test_tables_come_back(tmp_path: Path, rows: list[Any], size: int) -> None:
    """A batch or row group would shift, drop or repeat rows."""
    schema = pa.schema([
        ("q", pa.string()), ("n", pa.list_(pa.int64())), ("p", pa.list_(pa.float32()))
    ])  # fmt: skip
    table = pa.Table.from_pylist(rows, schema)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=size)
    for name, new in (("b.arrow", pa.ipc.new_file), ("c.arrow", pa.ipc.new_stream)):
        with new(tmp_path / name, schema) as writer:
            writer.write_table(table, max_chunksize=size)
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        found = list(read(tmp_path / name))
        assert [(r.line, plain(r.value)) for r in found] == list(enumerate(rows, 1)), name
    text = io.StringIO()
    writer = csv.DictWriter(text, ["q", "n"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    found = list(read(stored(tmp_path, "a.csv", text.getvalue().encode())))
    if not any("\r" in row["q"] for row in rows):  # a CR inside a field: csv reads a line end
        wanted = [{"q": row["q"], "n": str(row["n"])} for row in rows]
        assert [(r.line, r.value) for r in found] == list(enumerate(wanted, 1))


@ANY
@given(ROWS, st.lists(st.tuples(st.integers(0, 99), BAD), max_size=5), st.integers(1, 40))
def test_bad_lines_take_nothing_with_them(
    tmp_path: Path, rows: list[Any], bad: list[tuple[int, bytes]], size: int
) -> None:
    """A bad line would take a good one with it, or become a row."""
    lines: list[tuple[bytes, Any]] = [(json.dumps(row).encode(), row) for row in rows]
    for at, text in bad:
        lines.insert(at % (len(lines) + 1), (text, None))
    data = b"".join(text + b"\n" for text, _ in lines)
    wanted = [(number, row) for number, (_, row) in enumerate(lines, 1)]
    found = [(r.line, r.value) for r in read_jsonl("f", Chunks(data, size), 1 << 20)]
    assert found == wanted
    if rows and all(rows) and lines[0][0][:1] == b"{":  # the format is told from the first line
        path = stored(tmp_path, "a.jsonl", data)
        assert [(r.line, r.value) for r in read(path)] == wanted


@ANY
@given(st.binary(max_size=300), st.sampled_from([".jsonl", ".json", ".csv", ".arrow", ".parquet"]))
def test_any_bytes_under_any_name(tmp_path: Path, data: bytes, ending: str) -> None:
    """Bytes of no sense would end the run."""
    for row in read(stored(tmp_path, f"a{ending}", data)):
        assert (row.value is None) == (row.error is not None)
        assert row.line >= 1 and math.isfinite(len(row.excerpt()))
