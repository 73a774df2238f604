"""Rows from files of every format, whole and damaged."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from builders.read import RawRow, read, stored_bytes

ROWS: list[dict[str, Any]] = [
    {"q": "1 + 1?", "a": "2", "p": [-0.5, -0.25]},
    {"q": 'quote " brace } bracket ] colon : comma ,', "a": "é∀𝔸", "p": []},
    {"q": "back\\slash\nnewline", "a": None, "p": [-1.0]},
]


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


def values(path: Path, **options: Any) -> list[dict[str, Any] | None]:
    return [r.value for r in read(path, **options)]


def plain(row: RawRow) -> dict[str, Any]:
    assert row.value is not None, row.error
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.value.items()}


def same(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.xyz"])
@pytest.mark.parametrize(
    ("ending", "pack"),
    [("", same), (".gz", gzip.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_jsonl_under_any_name_and_compression(
    tmp_path: Path, name: str, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    """A JSONL file would be misread because of its name or its compression."""
    path = write(tmp_path, name + ending, pack(jsonl(ROWS)))
    assert [(r.line, plain(r)) for r in read(path)] == list(enumerate(ROWS, 1))


def test_frames_that_follow_each_other_are_one_file(tmp_path: Path) -> None:
    """Rows appended as a second gzip or zstd frame would be lost."""
    halves = [jsonl(ROWS[:1]), jsonl(ROWS[1:])]
    for ending, pack in (("gz", gzip.compress), ("zst", zstandard.ZstdCompressor().compress)):
        path = write(tmp_path, f"a.jsonl.{ending}", b"".join(map(pack, halves)))
        assert values(path) == ROWS


def test_bom_crlf_blank_lines_and_no_last_newline(tmp_path: Path) -> None:
    """A file saved on Windows, or without a last newline, would lose rows or line numbers."""
    path = write(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}\r\n{"a": 3}')
    assert [(r.line, r.value) for r in read(path)] == [(1, {"a": 1}), (4, {"a": 2}), (5, {"a": 3})]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": [1, -Infinity]}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "beyond the range"),
        (b'{"a": "\xff"}', "not UTF-8: byte 0xff"),
        (b'{"a": "\\ud83d"}', "half of a surrogate pair"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' stands twice"),
        (b'{"a": [0, {"c:": 1, "c:": 1}]}', "the key 'c:' stands twice"),
        (b'{"a": "cut', "cut off"),
        (b"[1, 2]", "not an object but a list"),
        (b"12", "not an object but a number"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b"\x00\x00\x00", "malformed"),
        (b'{"a": 1}{"a": 2}', "trailing"),
    ],
)
def test_a_bad_line_is_an_error_between_good_rows(tmp_path: Path, bad: bytes, reason: str) -> None:
    """One bad line would stop a file, or pass as a row, or give a reason that helps nobody."""
    path = write(tmp_path, "a.jsonl", b'{"a": 1}\n' + bad + b'\n{"a": 3}\n')
    first, middle, last = read(path)
    assert (first.value, last.value, last.line) == ({"a": 1}, {"a": 3}, 3)
    assert middle.value is None
    assert middle.error is not None and reason in middle.error
    assert middle.raw == bad[:4096]


def test_a_torn_last_line_is_an_error(tmp_path: Path) -> None:
    """The last row of a file whose writer was killed would vanish unnoticed."""
    *good, torn = read(write(tmp_path, "a.jsonl", jsonl(ROWS) + b'{"q": "1 +'))
    assert [r.value for r in good] == ROWS
    assert (torn.line, torn.value, torn.raw) == (4, None, b'{"q": "1 +')
    assert torn.error is not None and "cut off" in torn.error


@pytest.mark.parametrize("indent", [None, 2])
def test_a_top_level_array_is_read_by_element(tmp_path: Path, indent: int | None) -> None:
    """A JSON array, in one line or pretty-printed, would not give its elements as rows."""
    path = write(tmp_path, "a.json", json.dumps(ROWS, indent=indent).encode())
    assert [(r.line, r.value) for r in read(path)] == list(enumerate(ROWS, 1))


@pytest.mark.parametrize("count", [1, 3])
def test_pretty_printed_objects_one_after_the_other(tmp_path: Path, count: int) -> None:
    """The output of `jq .` would be taken for JSONL and every line of it refused."""
    text = "\n".join(json.dumps(r, indent=2) for r in ROWS[:count])
    assert values(write(tmp_path, "a.json", text.encode())) == ROWS[:count]


def test_a_bad_element_of_an_array_keeps_its_neighbours(tmp_path: Path) -> None:
    """One bad element would lose the rest of an array, or a nested bracket would end it."""
    path = write(tmp_path, "a.json", b'[{"a": [[1], {"b": 2}]}, {"a": NaN}, 7, {"a": 4}]')
    rows = list(read(path))
    assert [r.value for r in rows] == [{"a": [[1], {"b": 2}]}, None, None, {"a": 4}]
    assert [r.line for r in rows if r.error] == [2, 3]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_open_brace_takes_no_later_element_along(tmp_path: Path, indent: int | None) -> None:
    """A missing brace, or a file cut in two and joined, would lose all that follows it."""
    good = [{"q": str(n), "of": [{"q": "{"}, {}]} for n in range(50)]
    texts = [
        json.dumps(row, indent=indent).replace("\n", "\n" + "  " * bool(indent)) for row in good
    ]
    texts[1] = texts[1].rstrip("} \n")
    before = "  " if indent else ""
    path = write(
        tmp_path, "a.json", ("[\n" + ",\n".join(before + t for t in texts) + "\n]").encode()
    )
    rows = list(read(path))
    assert [row.line for row in rows] == list(range(1, 51))
    assert [row.value for row in rows if row.error is None] == [*good[:1], *good[2:]]
    (bad,) = (row for row in rows if row.error)
    assert bad.line == 2 and bad.raw is not None and bad.raw.startswith(b"{")


def test_an_open_quote_takes_no_element_of_a_later_line_along(tmp_path: Path) -> None:
    """Strings and what stands between them would change places to the end of the file."""
    lines = [
        '[{"q": "0"},',
        '  {"q": "abc},',
        '  {"q": "x}, y"},',
        '  {"q": "b"},',
        '  {"q": "c"}',
        "]",
    ]
    rows = list(read(write(tmp_path, "a.json", "\n".join(lines).encode())))
    assert [row.value and row.value["q"] for row in rows] == ["0", None, None, "b", "c"]
    assert [row.line for row in rows] == [1, 2, 3, 4, 5]
    lines = ['[{"q": "1",', '{"q": "2"},', '{"q": "3"}', "]"]
    rows = list(read(write(tmp_path, "b.json", "\n".join(lines).encode())))
    assert [(row.line, row.value) for row in rows] == [(1, None), (2, {"q": "2"}), (3, {"q": "3"})]


def test_a_bad_element_gives_none_of_what_is_within_it(tmp_path: Path) -> None:
    """Messages of a conversation would be taken for rows."""
    within = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant"}], "x": 1}
    text = json.dumps([within, {"q": "1"}], indent=2).replace('"x": 1', '"x": NaN')
    rows = list(read(write(tmp_path, "a.json", text.encode())))
    assert [(row.line, row.value) for row in rows] == [(1, None), (2, {"q": "1"})]
    lines = ('{"x": 1, "messages": [', '{"role": "user", "content": "hi"},',
             '{"role": "assistant", "content": "yo"}', '], "y": NaN},', '{"q": "1"}')  # fmt: skip
    rows = list(read(write(tmp_path, "c.json", ("[\n" + "\n".join(lines) + "\n]").encode())))
    assert [(row.line, row.value) for row in rows] == [(1, None), (2, {"q": "1"})]
    assert "NaN is not JSON" in str(rows[0].error)
    blanks = '{"a": "}' + " " * 20_000 + 'x"'
    rows = list(read(write(tmp_path, "d.json", f'[\n{{"q": NaN}},\n{{"q": [\n{blanks}]'.encode())))
    assert not any(row.value for row in rows)
    cut = json.dumps([within, within], indent=2)[:-60]
    rows = list(read(write(tmp_path, "b.json", cut.encode())))
    assert [(row.line, row.value) for row in rows] == [(1, within), (2, None)]


def test_an_array_cut_off_is_an_error_even_between_elements(tmp_path: Path) -> None:
    """A download that broke off between two elements would look complete."""
    for torn in (b'[{"a": 1}, {"a": 2}', b'[{"a": 1}, {"a": 2}, ', b'[{"a": 1}, {"a": 2}, {"a'):
        rows = list(read(write(tmp_path, "a.json", torn)))
        assert [r.value for r in rows] == [{"a": 1}, {"a": 2}, None]
        assert rows[-1].error


def test_values_that_cross_chunks_are_whole(tmp_path: Path) -> None:
    """A row longer than a read would be cut: strings, escapes and brackets at every seam."""
    rows = [{"a": '\\"]}{[' * (150_000 + i), "b": [i]} for i in range(3)]
    assert values(write(tmp_path, "a.json", json.dumps(rows).encode())) == rows
    assert values(write(tmp_path, "a.jsonl", jsonl(rows))) == rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_row_over_the_cap_is_refused_unread(tmp_path: Path, name: str) -> None:
    """One monstrous row would take all memory, or take its neighbours with it."""
    long = {"a": "x" * 3_000_000}
    data = jsonl([{"a": 1}, long, {"a": 3}])
    if name == "a.json":
        data = b"[" + data.strip().replace(b"\n", b",") + b"]"
    rows = list(read(write(tmp_path, name, data), row_cap_bytes=1 << 20))
    assert [r.value for r in rows] == [{"a": 1}, None, {"a": 3}]
    assert rows[1].error == "the row is 3000009 bytes long, over the cap of 1 MB"
    assert rows[1].raw is not None and len(rows[1].raw) == 4096


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize("rows", [3, 200_000])
def test_a_compressed_file_cut_off_keeps_its_beginning(
    tmp_path: Path, pack: Callable[[bytes], bytes], rows: int
) -> None:
    """A compressed file that broke off would end silently, or lose the rows before the break."""
    data = pack(b"".join(b'{"a": %d}\n' % i for i in range(rows)))
    *good, last = read(write(tmp_path, "a.jsonl.gz", data[:-20]))
    assert [r.value for r in good] == [{"a": i} for i in range(len(good))]
    assert len(good) >= rows * 0.4 or rows == 3
    assert last.error is not None and "damaged" in last.error


def test_a_damaged_frame_ends_the_file(tmp_path: Path) -> None:
    """Rows whose checksum failed would be followed by others as if nothing had happened."""
    first = bytearray(gzip.compress(jsonl(ROWS[:1])))
    first[-8] ^= 1  # its checksum
    path = write(tmp_path, "a.jsonl.gz", bytes(first) + gzip.compress(jsonl(ROWS[1:])))
    rows = list(read(path))
    assert [r.value for r in rows] == [None]
    assert rows[0].error is not None and "damaged" in rows[0].error


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("b.csv", ";")])
def test_csv_with_quotes_newlines_and_bad_records(
    tmp_path: Path, name: str, delimiter: str
) -> None:
    """A field with a newline, or one bad record, would shift every record after it."""
    text = 'q,a\r\n"two\nlines, ""quoted""",1\r\n,2\r\nonly one\r\nx,y\r\n'
    path = write(tmp_path, name, b"\xef\xbb\xbf" + text.replace(",", delimiter).encode())
    rows = list(read(path))
    quoted = f'two\nlines{delimiter} "quoted"'
    assert [r.value for r in rows] == [
        {"q": quoted, "a": "1"}, {"q": None, "a": "2"}, None, {"q": "x", "a": "y"},
    ]  # fmt: skip
    assert (rows[2].line, rows[2].error) == (3, "1 fields under a header of 2")


def test_csv_of_large_fields_and_of_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    """A long response would be refused by the csv module, or a Latin-1 byte would stop the file."""
    path = write(tmp_path, "a.csv", b"q,a\n1," + b"x" * 500_000 + b"\n\xe9,2\n3,4\n")
    rows = list(read(path))
    assert [r.error for r in rows] == [None, "not UTF-8: byte 0xe9", None]
    assert rows[0].value == {"q": "1", "a": "x" * 500_000}


def test_csv_with_an_open_quote_stops_at_the_cap(tmp_path: Path) -> None:
    """One stray quote would read the rest of a large file into one field."""
    path = write(tmp_path, "a.csv", b'q,a\n1,2\n"open,' + b"x,y\n" * 1000)
    rows = list(read(path, row_cap_bytes=500))
    assert rows[0].value == {"q": "1", "a": "2"}
    assert rows[1].error == "the row is over the cap: is a quote left open?"
    took = [row for row in rows if row.error and row.error.startswith("a line that row 2 took")]
    assert [row.line for row in took] == list(range(3, 3 + len(took)))
    assert len(rows) == 1 + 1000, "each line is a row or a refusal"
    assert rows[-1].value == {"q": "x", "a": "y"} == rows[2 + len(took)].value


def table() -> pa.Table:
    kinds = {"p": pa.list_(pa.float32()), "n": pa.list_(pa.int64()), "q": pa.string()}
    columns = {"p": [[-0.5, -0.25], None, []], "n": [[1, None], [2], [3]], "q": ["a", None, "c"]}
    return pa.table({k: pa.array(columns[k], kinds[k]) for k in kinds})


TABLE_ROWS = [
    {"p": [-0.5, -0.25], "n": [1, None], "q": "a"},
    {"p": None, "n": [2], "q": None},
    {"p": [], "n": [3], "q": "c"},
]


def test_parquet_and_arrow_give_the_same_rows(tmp_path: Path) -> None:
    """Nulls, empty lists or slices would shift the log-probs of one row into another."""
    many = pa.concat_tables([table()] * 100).combine_chunks()
    pq.write_table(many, tmp_path / "a.parquet", row_group_size=70)
    with pa.ipc.new_file(tmp_path / "file.arrow", many.schema) as file:
        file.write_table(many, max_chunksize=130)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", many.schema) as sink:
        sink.write_table(many, max_chunksize=130)
    packed = gzip.compress((tmp_path / "file.arrow").read_bytes())
    write(tmp_path, "file.arrow.gz", packed)
    for name in ("a.parquet", "file.arrow", "stream.arrow", "file.arrow.gz"):
        rows = list(read(tmp_path / name))
        assert [plain(r) for r in rows] == TABLE_ROWS * 100, name
        assert [r.line for r in rows] == list(range(1, 301))


def test_a_damaged_row_group_loses_only_itself(tmp_path: Path) -> None:
    """One flipped page would lose a whole Parquet file."""
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"a": [f"row number {i}" for i in range(300)]}), path,
        row_group_size=100, write_page_checksum=True, compression="none", use_dictionary=False,
    )  # fmt: skip
    data = bytearray(path.read_bytes())
    at = data.index(b"row number 150")
    data[at - 8 : at] = b"\xff" * 8
    path.write_bytes(data)
    rows = list(read(path))
    assert [r.line for r in rows if r.error] == [101]
    good = [r.value["a"] for r in rows if r.value]
    assert good == [f"row number {i}" for i in [*range(100), *range(200, 300)]]


def test_a_string_that_is_not_utf8_in_parquet_is_one_error(tmp_path: Path) -> None:
    """One bad string of a batch would refuse its whole batch."""
    bad = pa.array([b"one", b"\xff", b"three"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": bad}), tmp_path / "a.parquet")
    rows = list(read(tmp_path / "a.parquet"))
    assert [r.value for r in rows] == [{"a": "one"}, None, {"a": "three"}]
    assert rows[1].line == 2 and rows[1].error


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.parquet", b"PAR1 but no footer", "not a readable Parquet file"),
        ("a.arrow", b"ARROW1\0\0 but no schema", "damaged"),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-16"), "UTF-16"),
        ("a.txt", b"some prose", "neither JSON, CSV, Parquet nor Arrow"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    """A file in a format not read would stop the run or pass without a word."""
    (row,) = read(write(tmp_path, name, data))
    assert row.error is not None and reason in row.error


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
def test_an_empty_file_has_no_rows(tmp_path: Path, name: str) -> None:
    """An empty shard would be an error."""
    data = gzip.compress(b"") if name.endswith("gz") else b""
    assert list(read(write(tmp_path, name, data))) == []


def test_progress_runs_up_to_the_stored_size(tmp_path: Path) -> None:
    """A progress bar would stop short of, or run over, its total."""
    paths = [
        write(tmp_path, "a.jsonl", jsonl(ROWS * 50_000)),
        write(tmp_path, "b.jsonl.gz", gzip.compress(jsonl(ROWS * 50_000))),
        write(tmp_path, "c.json", json.dumps(ROWS * 1000).encode()),
    ]
    seen: list[int] = []
    for path in paths:
        for _ in read(path, on_bytes=seen.append):
            pass
    assert sum(seen) == stored_bytes(paths) == sum(p.stat().st_size for p in paths)
    assert len(seen) > 10


def test_excerpts_of_tables_are_json(tmp_path: Path) -> None:
    """A refused Parquet row would be in the quarantine without its content."""
    pq.write_table(table(), tmp_path / "a.parquet")
    first, *_ = read(tmp_path / "a.parquet")
    assert first.excerpt() == b'{"p":[-0.5,-0.25],"n":[1,null],"q":"a"}'
