"""Files made to exhaust memory, disk or time, and files that are none."""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from flatbuffers.table import Table

from builders.read import expand, lines, open, read
from dasd_data.errors import UsageError

GOOD = [{"a": 1}, {"a": 2}]
MB = 1 << 20
COUNT = """
import resource, sys
from builders.read import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = [(r.line, r.value, r.error) for r in read(sys.argv[1])]
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print([(after - before) >> 10, *rows])
"""


def in_a_child(path: Path) -> list[object]:
    """The growth of a fresh process' memory in MB, and the rows that it reads."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return eval(done.stdout)  # what the child itself printed


@pytest.mark.slow
@pytest.mark.parametrize(("name", "head"), [("a.jsonl", b'{"a": 1}\n'), ("a.json", b'[{"a": 1},')])
def test_a_line_of_1_gb_is_refused_in_flat_memory(tmp_path: Path, name: str, head: bytes) -> None:
    """One endless line would take all memory, and its neighbours with it."""
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(head)
        file.seek(1 << 30, os.SEEK_CUR)  # a hole: a gigabyte of NUL that takes no disk
        file.write(b'\n{"a": 3}\n' if name == "a.jsonl" else b',{"a": 3}]')
    grown, *rows = in_a_child(path)
    assert [(line, value) for line, value, _ in rows] == [(1, {"a": 1}), (2, None), (3, {"a": 3})]
    assert rows[1][2].endswith("over the cap of 256 MB")
    assert grown < 500


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_bomb_is_stopped_and_the_rows_before_it_kept(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """A small file that undoes to many gigabytes would fill the catalog or never end."""
    block = pack((b" " * (MB - 1) + b"\n") * 64)  # frames follow each other: 10 GB of blank lines
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(pack(b'{"a": 1}\n') + block * 160)
    grown, first, last = in_a_child(path)
    assert first[1] == {"a": 1}
    assert last[1] is None and "is a bomb" in last[2] and "100 times" in last[2]
    assert last[0] < 500  # lines of 1 MB: let through are 256 MB and 100 times what was read
    assert grown < 700


def test_a_file_that_compresses_well_is_no_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard of near-identical rows would be refused."""
    monkeypatch.setattr(open, "FREE_BYTES", 1000)
    rows = b"".join(b'{"question": "%d", "same": "%s"}\n' % (i, b"x" * 40) for i in range(20_000))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(rows))
    assert sum(r.error is None for r in read(path)) == 20_000


def test_pipes_and_devices_are_named(tmp_path: Path) -> None:
    """A pipe would block the run for ever, /dev/zero fill the memory."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UsageError, match="not a file but a pipe"):
        expand([tmp_path / "pipe.jsonl"])
    with pytest.raises(UsageError, match="not a file but a device"):
        expand(["/dev/zero"])
    (row,) = read(tmp_path / "pipe.jsonl")
    assert row.error == "not a file but a pipe"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """Two links to the folder above would be followed 2^40 times."""
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "b").mkdir()
    for name in ("x", "y", "b/z"):
        (tmp_path / name).symlink_to(tmp_path)
    (tmp_path / "self.jsonl").symlink_to("self.jsonl")
    assert sorted(p.name for p in expand([tmp_path])) == ["a.jsonl", "self.jsonl"]
    (row,) = read(tmp_path / "self.jsonl")
    assert row.error is not None and "cannot be read" in row.error


def test_a_file_that_is_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    """A shard removed since the folder was listed would stop the files after it."""
    (row,) = read(tmp_path / "gone.jsonl")
    assert (row.line, row.error) == (1, "the file cannot be read: No such file or directory")


def test_a_file_that_grows_is_read_to_where_it_ends(tmp_path: Path) -> None:
    """Rows written meanwhile would be lost or torn, or the reading never end."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(b'{"a": %d}\n' % i for i in range(200_000)))
    rows = read(path)
    first = next(rows)
    with path.open("ab") as file:
        file.write(b'{"a": -1}\n')
    assert first.value == {"a": 0}
    assert [r.value for r in rows][-2:] == [{"a": 199_999}, {"a": -1}]


@pytest.mark.parametrize("first", ['{"a": 1', '{"a": "open', '{"a": [[[', "{"])
def test_a_torn_first_line_does_not_take_the_others(tmp_path: Path, first: str) -> None:
    """A file whose first line is torn would be taken for one pretty-printed object."""
    path = tmp_path / "a.jsonl"
    path.write_text(first + "\n" + "".join(json.dumps(r) + "\n" for r in GOOD))
    rows = list(read(path))
    assert [(r.line, r.value) for r in rows] == [(1, None), (2, GOOD[0]), (3, GOOD[1])]


def test_rows_that_take_no_room_are_counted_against_what_is_there(tmp_path: Path) -> None:
    """An Arrow file of 200 bytes would be read for days."""
    batch = pa.record_batch([pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])], names=["a"])
    with pa.ipc.new_stream(tmp_path / "a.arrow", batch.schema) as out:
        out.write_batch(batch.slice(0, 1_000))
        out.write_batch(batch)
    *rows, last = read(tmp_path / "a.arrow")
    assert (len(rows), last.error is None) == (1_000, False)
    assert "bomb: 2,147,483,647 rows in 0 bytes" in str(last.error)


def compressed(path: Path, codec: str, how: str, arrays: list[pa.Array]) -> None:
    """An Arrow stream of a batch an array, by today's format or as before version 1.0."""
    old = how == "old"
    if how == "dictionary":
        arrays = [a.dictionary_encode() for a in arrays]
    version = pa.ipc.MetadataVersion.V4 if old else pa.ipc.MetadataVersion.V5
    options = pa.ipc.IpcWriteOptions(
        compression=codec, metadata_version=version, use_legacy_format=old
    )
    key = {"ARROW:experimental_compression": codec} if old else None
    with pa.ipc.new_stream(path, pa.schema({"a": arrays[0].type}), options=options) as out:
        for array in arrays:
            out.write_batch(pa.record_batch([array], names=["a"]), custom_metadata=key)
    if old:  # pyarrow writes today's field, too: blank its place at the head of the table
        head = struct.pack("<6H", 12, 30, 16, 4, 8, 12)  # sizes; the last field is the compression
        data = path.read_bytes()
        assert data.count(head) == len(arrays)
        path.write_bytes(data.replace(head, head[:-2] + b"\0\0"))


@pytest.mark.parametrize(
    ("codec", "how"),
    [("lz4", "plain"), ("zstd", "plain"), ("zstd", "dictionary"), ("zstd", "old")],
)
def test_compressed_arrow_is_looked_at_before_it_is_undone(
    tmp_path: Path, codec: str, how: str
) -> None:
    """An Arrow file of a few KB would take all memory: pyarrow undoes compression by itself."""
    path = tmp_path / "a.arrow"
    compressed(path, codec, how, [pa.array(["good"]), pa.array(["x" * (16 * MB)])])
    assert path.stat().st_size < 100_000
    first, last = read(path, row_cap_bytes=MB)  # 4 MB are free, and 100 times those in the file
    assert first.value == {"a": "good"}
    assert last.line == 2 and "it is a bomb" in str(last.error)
    assert "over the cap of 8 MB" in str(list(read(path, row_cap_bytes=8 * MB))[1].error)
    assert [len(r.value["a"]) for r in read(path) if r.value] == [4, 16 * MB]


def test_arrow_batches_are_each_judged_by_their_own_bytes(tmp_path: Path) -> None:
    """A long file that compresses well would be refused; or an honest head pay for a bomb."""
    texts = pa.array(["x" * (2 * MB)])  # in a few hundred bytes, and 4 MB are free
    compressed(tmp_path / "long.arrow", "zstd", "plain", [texts] * 20)
    assert [r.error for r in read(tmp_path / "long.arrow", row_cap_bytes=MB * 2)] == [None] * 20
    noise = pa.array([random.Random(1).randbytes(MB)]).cast(pa.large_binary())
    bomb = pa.array([b"x" * (64 * MB)], pa.large_binary())
    compressed(tmp_path / "tail.arrow", "zstd", "plain", [noise, bomb])
    first, last = read(tmp_path / "tail.arrow", row_cap_bytes=2 * MB)
    assert first.error is None and "it is a bomb" in str(last.error)


def test_arrow_within_gzip_is_judged_by_the_bytes_of_the_file(tmp_path: Path) -> None:
    """Two ratios would multiply: 30 KB took 2 GB."""
    batch = pa.record_batch({"a": pa.array([0] * (2 * MB))})
    with pa.ipc.new_stream(tmp_path / "a.arrow", batch.schema) as out:
        out.write_batch(batch)
    (tmp_path / "a.gz").write_bytes(gzip.compress((tmp_path / "a.arrow").read_bytes()))
    (row,) = read(tmp_path / "a.gz", row_cap_bytes=MB)
    assert "it is a bomb" in str(row.error)
    assert len(list(read(tmp_path / "a.arrow", row_cap_bytes=MB))) == 2 * MB


def test_arrow_buffers_that_share_their_bytes_are_each_counted(tmp_path: Path) -> None:
    """pyarrow copies each where it swaps bytes: 11 KB took 2 GB."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch([pa.array([0] * 1000)] * 500, names=[f"c{i}" for i in range(500)])
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    schema, message = pa.ipc.MessageReader.open_stream(sink.getvalue())
    metadata = bytearray(message.metadata)
    top = Table(metadata, struct.unpack_from("<I", metadata)[0])
    struct.pack_into("<q", metadata, top.Pos + top.Offset(10), 8000)  # the length of the body
    below = Table(metadata, top.Indirect(top.Pos + top.Offset(8)))
    for i in range(1000):  # two for each column, of which the first, of nulls, is empty
        struct.pack_into("<q", metadata, below.Vector(below.Offset(8)) + 16 * i, 0)
    head = b"\xff" * 4 + struct.pack("<i", len(metadata))
    path = tmp_path / "a.arrow"
    path.write_bytes(bytes(schema.serialize()) + head + metadata + bytes(8000))
    assert sum(r.value == dict.fromkeys(batch.schema.names, 0) for r in read(path)) == 1000
    (row,) = read(path, row_cap_bytes=100_000)
    assert "8,000 bytes of it hold more than 1,200,000" in str(row.error)


def test_dictionaries_that_are_replaced_are_not_added_up(tmp_path: Path) -> None:
    """A long file would be refused for what is in memory no more."""
    texts = [pa.array([f"{i}" + "x" * (2 * MB)]) for i in range(12)]
    compressed(tmp_path / "a.arrow", "zstd", "dictionary", texts)
    assert [r.error for r in read(tmp_path / "a.arrow", row_cap_bytes=3 * MB)] == [None] * 12


@pytest.mark.parametrize("mode", ["sparse", "dense"])
def test_an_empty_batch_with_a_union_is_read(tmp_path: Path, mode: str) -> None:
    """The process would end without a word: pyarrow cannot tell how large it is."""
    fields = [pa.array([], pa.int8()), pa.array([], pa.string())]
    kinds = pa.array([], pa.int8())
    if mode == "sparse":
        union = pa.UnionArray.from_sparse(kinds, fields)
    else:
        union = pa.UnionArray.from_dense(kinds, pa.array([], pa.int32()), fields)
    batch = pa.record_batch([union], names=["a"])
    with pa.ipc.new_stream(tmp_path / "a.arrow", batch.schema) as out:
        out.write_batch(batch)
    assert list(read(tmp_path / "a.arrow")) == []


def test_a_note_of_a_batch_is_not_taken_for_its_compression(tmp_path: Path) -> None:
    """The first values of a column would be taken for lengths, and the file for a bomb."""
    batch = pa.record_batch({"a": [2**61, 5]})
    key = "ARROW:experimental_compression"
    with pa.ipc.new_stream(tmp_path / "a.arrow", batch.schema) as out:
        out.write_batch(batch, custom_metadata={"note": f"made from {key}"})
        out.write_batch(batch, custom_metadata={key: "zstd"})
    assert [r.value for r in read(tmp_path / "a.arrow")] == [{"a": 2**61}, {"a": 5}] * 2


@pytest.mark.slow
def test_a_list_of_very_many_values_is_refused_in_flat_memory(tmp_path: Path) -> None:
    """64 MB of indices took 1.2 GB to be counted, and 512 MB of them all memory."""
    index = pa.Array.from_buffers(pa.int8(), 256 * MB, [None, pa.py_buffer(bytes(256 * MB))])
    values = pa.DictionaryArray.from_arrays(index, ["a"])
    batch = pa.record_batch({"a": pa.LargeListArray.from_arrays([0, 1, 256 * MB], values)})
    compressed(tmp_path / "a.arrow", "zstd", "plain", [batch["a"]])
    grown, first, last = in_a_child(tmp_path / "a.arrow")
    assert first[1] == {"a": ["a"]} and "over the cap of 256 MB" in last[2]
    assert grown < 700


@pytest.mark.slow
def test_an_arrow_bomb_takes_no_memory(tmp_path: Path) -> None:
    """It would be undone, and refused only after that."""
    path = tmp_path / "a.arrow"
    long = pa.record_batch({"a": pa.array(["x" * (1200 * MB)])})
    how = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(path, long.schema, options=how) as out:
        out.write_batch(pa.record_batch({"a": pa.array(["good"])}))
        out.write_batch(long)
    grown, first, last = in_a_child(path)
    assert first[1] == {"a": "good"} and "it is a bomb" in last[2]
    assert grown < 300


def test_a_null_of_one_row_leaves_the_numbers_of_others(tmp_path: Path) -> None:
    """Ids above 2^53 would be others, and all would be floats."""
    big = 2**53 + 1
    table = pa.table({"ids": [[1, None], None] + [[big, 2]] * 100})
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as out:
        out.write_table(table)
    rows = list(read(tmp_path / "a.arrow"))
    assert [r.value["ids"] for r in rows[:2] if r.value] == [[1, None], None]
    assert [list(map(int, r.value["ids"])) for r in rows[64:] if r.value] == [[big, 2]] * 38


def test_arrow_offsets_that_point_outside_are_damage(tmp_path: Path) -> None:
    """A flipped bit in an Arrow file would read memory that is not its own, and crash."""
    table = pa.table({"a": ["one", "two"], "b": pa.array(["x", "y"]).dictionary_encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = bytearray(sink.getvalue().to_pybytes())
    at = data.index(bytes([0, 0, 0, 0, 3, 0, 0, 0, 6, 0, 0, 0]))  # the offsets of column a
    data[at + 8 : at + 12] = (2**30).to_bytes(4, "little")
    (tmp_path / "a.arrow").write_bytes(data)
    (row,) = read(tmp_path / "a.arrow")
    assert row.error is not None and "damaged" in row.error


def test_a_page_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    """A flipped letter in a Parquet file would be trained on."""
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"a": ["number one", "number two"]}), path,
        write_page_checksum=True, compression="none", use_dictionary=False, write_statistics=False,
    )  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"number two", b"number twO", 1))
    (row,) = read(path)
    assert row.error is not None and "damaged" in row.error


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Of two columns of one name one would win, unseen."""
    pq.write_table(pa.table([["x"], ["y"]], names=["a", "a"]), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("a,b,a\n1,2,3\n")
    for name in ("a.parquet", "a.csv"):
        (row,) = read(tmp_path / name)
        assert row.error is not None and "the column 'a' stands twice" in row.error


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("state.json", '{"step": 3}'),
        ("state.json", "{"),
        ("state.json", '{"_data_files": [{"filename": "../a.arrow"}]}'),
        ("dataset_dict.json", '{"splits": ["."]}'),
    ],
)
def test_a_folder_that_only_looks_like_a_saved_data_set(
    tmp_path: Path, name: str, text: str
) -> None:
    """A trainer's state.json would end the run, one with `..` read another folder."""
    (tmp_path / name).write_text(text)
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert expand([tmp_path]) == [tmp_path / "a.jsonl"]


def test_row_counts_of_a_damaged_parquet_file_give_no_place_that_is_none(tmp_path: Path) -> None:
    """A row group that claims a negative number of rows would name row -4 in the quarantine."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(12))}), path, row_group_size=5)
    whole = path.read_bytes()
    five, minus_five = b"\x16\x0a", b"\x16\x09"  # an i64 field of Thrift's compact protocol
    for at in range(len(whole)):
        if whole[at : at + 2] != five:
            continue
        path.write_bytes(whole[:at] + minus_five + whole[at + 2 :])
        if pq.read_metadata(path).row_group(0).num_rows == -5:
            break
    else:
        raise AssertionError("no count was changed")
    rows = list(read(path))
    assert rows[0].line == 1
    assert "it says that it has -5 rows" in str(rows[0].error)
    assert [r.value for r in rows[1:]] == [{"a": i} for i in range(5, 12)]
    assert [r.line for r in rows[1:]] == list(range(1, 8))


@pytest.mark.parametrize(
    ("name", "head", "blank"),
    [("a.jsonl", b'{"a": 1}\n', b"\n \t\r\n"), ("a.csv", b"a\n1\n", b"\n\r\n")],
)
def test_blank_lines_are_skipped_many_at_a_time(
    tmp_path: Path, name: str, head: bytes, blank: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small archive of a billion blank lines would keep a process busy for half an hour."""
    made: list[object] = []
    kept = lines.Line
    monkeypatch.setattr(lines, "Line", lambda *line: made.append(line) or kept(*line))
    path = tmp_path / name
    path.write_bytes(head + blank * 700_000 + head.splitlines()[-1] + b"\n")
    rows = list(read(path))
    assert [list(map(str, (r.value or {}).values())) for r in rows] == [["1"], ["1"]]
    assert rows[-1].line == (1_400_002 if name == "a.jsonl" else 2)
    assert len(made) < 20


def test_a_blank_line_within_quotes_is_text(tmp_path: Path) -> None:
    """A response of several paragraphs would lose what divides them."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n\n"1\n\n\n2",3\n\n')
    assert [r.value for r in read(path)] == [{"a": "1\n\n\n2", "b": "3"}]


def test_a_text_that_parquet_stores_once_is_refused_where_a_row_is_over_the_cap(
    tmp_path: Path,
) -> None:
    """A file of a few KB would decode to rows that no JSON file may have."""
    texts = pa.array(["short", "x" * MB]).take([0, 1, 0, 0])
    nested = pa.array([["y" * 1000], [], ["y" * 1000] * 1100, ["z"]], pa.list_(pa.string()))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": texts, "b": nested}), path, dictionary_pagesize_limit=1 << 30)
    assert path.stat().st_size < 100_000
    rows = list(read(path, row_cap_bytes=MB))
    assert [r.line for r in rows] == [1, 2, 3, 4]
    assert [r.error and r.error.split(",")[1] for r in rows] == [
        None, " over the cap of 1 MB", " over the cap of 1 MB", None
    ]  # fmt: skip
    assert rows[3].value == {"a": "short", "b": ["z"]}


def test_numbers_that_parquet_stores_once_are_a_bomb(tmp_path: Path) -> None:
    """A list of a billion zeros takes a few KB in a file, and 8 GB in memory."""
    path = tmp_path / "a.parquet"
    lists = pa.ListArray.from_arrays([0, 0, 1 << 20], pa.array([0] * (1 << 20)))
    few = pa.table({"a": pa.array([[1], [2]], lists.type)})
    with pq.ParquetWriter(path, few.schema) as writer:
        writer.write_table(few)
        writer.write_table(pa.table({"a": lists}))
        writer.write_table(few)
    rows = list(read(path, row_cap_bytes=1 << 16))
    assert [r.line for r in rows] == [1, 2, 3, 5, 6]
    assert "row group 1 is damaged" in str(rows[2].error)
    assert "it is a bomb" in str(rows[2].error)
    assert len(list(read(path))) == 6


@pytest.mark.slow
def test_a_dictionary_of_one_long_text_is_read_in_flat_memory(tmp_path: Path) -> None:
    """64 rows of it, each 64 MB, were decoded at once: 4 GB."""
    path = tmp_path / "a.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array(["x" * 64 * MB]))
    pq.write_table(pa.table({"a": text}), path, dictionary_pagesize_limit=1 << 30)
    code = COUNT.replace("r.line, r.value, r.error", "r.line, len(r.value['a']), r.error")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    grown, *rows = eval(done.stdout)
    assert rows == [(i, 64 * MB, None) for i in range(1, 65)]
    assert grown < 1000
