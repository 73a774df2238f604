"""Fuzz targets for files: lines, documents, CSV, Parquet, Arrow and compressed streams."""

from __future__ import annotations

import atexit
import gzip
import io
import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from builders.read import RawRow, read
from builders.read.delimited import read_delimited
from builders.read.document import read_document
from builders.read.lines import read_jsonl
from builders.read.open import ByteStream, DamagedStreamError
from tests.fuzz.choices import Choices, Chunks
from tests.fuzz.target import Target

CAP = 1 << 20
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
WORDS = [b'{"', b'":', b"\n", b"\r\n", b"[", b"]", b"}", b"\\u", b"\\ud83d", b"NaN", b"Infinity",
         b"-9999", b"1e999", b"null", b"true", b'"a"', b"\xef\xbb\xbf", b"\xff\xfe", b"\0",
         b"\xed\xa0\x80", b'""', b",", b"\t", b";"]  # fmt: skip


def stored(data: bytes, name: str) -> Path:
    """A file of this process with these bytes."""
    path = _FOLDER / f"{os.getpid()}-{name}"
    path.write_bytes(data)
    return path


def sound(rows: Iterator[RawRow]) -> list[RawRow]:
    """The rows, each either a dict or a bounded reason; places ascend; excerpts are bounded."""
    found, last = [], 0
    for row in rows:
        assert (row.value is None) != (row.error is None), row
        assert row.value is None or type(row.value) is dict
        assert row.line >= max(last, 1), (row.line, last)
        assert row.error is None or row.error.strip()
        assert len(row.excerpt()) <= 4096
        last = row.line
        found.append(row)
    return found


def content(rows: list[RawRow]) -> list[tuple[int, str]]:
    """Rows in a form that can be compared, NaN and arrays included."""
    return [(r.line, repr(r.value) if r.error is None else "refused") for r in rows]


class _RefusedError(ValueError):
    pass


def expected(line: bytes) -> dict[str, Any] | None:
    """The object that a line of strict JSON spells, by the standard library; None: none."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) < len(found):
            raise _RefusedError
        return dict(found)

    def constant(_name: str) -> None:
        raise _RefusedError

    def number(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise _RefusedError
        return value

    value = json.loads(
        line.decode(), object_pairs_hook=pairs, parse_constant=constant, parse_float=number
    )
    json.dumps(value, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    return value if type(value) is dict else None


def lines(data: bytes) -> None:
    """JSONL: exactly the lines that are strict JSON objects are rows, at any size of chunks."""
    choices = Choices(data)
    size = choices.below(256) + 1
    text = choices.rest()
    rows = sound(read_jsonl("f", Chunks(text, size), CAP))
    wanted: list[tuple[int, str]] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = expected(line)
        except (ValueError, RecursionError):
            value = None
        wanted.append((number, "refused" if value is None else repr(value)))
    if text.count(b"[") + text.count(b"{") < 200:  # how deep is too deep is the reader's own
        assert content(rows) == wanted
    else:
        assert [r.line for r in rows] == [n for n, _ in wanted]


def document(data: bytes) -> None:
    """JSON documents: the same rows at any size of chunks; those of a sound array are its own."""
    choices = Choices(data)
    size = choices.below(256) + 1
    text = choices.rest()
    size = max(size, len(text) // 512)  # thousands of chunks would take the time of other inputs
    rows = sound(read_document("f", Chunks(text, size), CAP))
    assert content(rows) == content(sound(read_document("f", Chunks(text, len(text)), CAP)))
    if not text.lstrip().startswith(b"[") or text.count(b"[") + text.count(b"{") > 200:
        return
    try:
        whole = json.loads(text.decode())
    except (ValueError, RecursionError):
        return
    assert len(rows) == len(whole)
    assert all(type(w) is dict for r, w in zip(rows, whole, strict=True) if r.error is None)


def delimited(data: bytes) -> None:
    """CSV: the same rows at any size of chunks, every one as wide as the header."""
    choices = Choices(data)
    size = choices.below(256) + 1
    text = choices.rest()
    rows = sound(read_delimited("f", Chunks(text, size), CAP))
    assert content(rows) == content(sound(read_delimited("f", Chunks(text, len(text)), CAP)))
    widths = {len(r.value) for r in rows if r.value is not None}
    assert len(widths) <= 1


NAMES = ("a.jsonl", "a.json", "a.csv", "a.tsv", "a.arrow", "a.parquet", "a.jsonl.gz", "a", "a.zst")


def anything(data: bytes) -> None:
    """Any bytes under any name: rows and reasons, nothing else."""
    choices = Choices(data)
    name = choices.pick(NAMES)
    sound(read(stored(choices.rest(), name), row_cap_bytes=CAP))


def parquet(data: bytes) -> None:
    """A damaged Parquet file: rows and reasons."""
    sound(read(stored(data, "a.parquet"), row_cap_bytes=CAP))


def arrow(data: bytes) -> None:
    """A damaged Arrow file or stream: rows and reasons."""
    sound(read(stored(data, "a.arrow"), row_cap_bytes=CAP))


def streams(data: bytes) -> None:
    """Compressed bytes, damaged in places: what is delivered is the beginning of what went in."""
    choices = Choices(data)
    kind, frames = choices.below(3), []
    if kind == 2:
        _undone(stored(choices.rest(), "a.gz"))
        return
    for _ in range(choices.below(3) + 1):
        plain = choices.take() * (choices.below(50) + 1)
        frames.append(plain)
    pack = gzip.compress if kind == 0 else zstandard.ZstdCompressor(write_checksum=True).compress
    packed = bytearray(b"".join(map(pack, frames)))
    whole = bytes(packed)
    for _ in range(choices.below(3)):
        position, value = choices.below(65536) % len(packed), choices.below(256)
        packed[position] = value
    cut = choices.below(65536)
    packed = packed[: len(packed) - cut] if cut < len(packed) else packed
    got, damaged = _undone(stored(bytes(packed), "a.gz"))
    if bytes(packed) == whole:
        assert (got, damaged) == (b"".join(frames), False)
    elif not damaged and packed.startswith(whole[:4]):
        assert b"".join(frames).startswith(got) or _by_the_library(kind, bytes(packed)) == got


def _by_the_library(kind: int, packed: bytes) -> bytes:
    """The same by the library's own reader, for damage that leaves a valid file."""
    try:
        if kind == 0:
            return gzip.decompress(packed)
        with zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(packed), read_across_frames=True
        ) as reader:
            return bytes(reader.read())
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        return repr(error).encode()


def _undone(path: Path) -> tuple[bytes, bool]:
    pieces = []
    with ByteStream(path) as stream:
        try:
            pieces.extend(stream)
        except DamagedStreamError:
            return b"".join(pieces), True
    return b"".join(pieces), False


GOOD = [
    b'{"a": 1}\n{"b": "x\\n\\u00e9", "c": [1, 2.5, null, true]}\n\n{"a": {"b": {}}}\n',
    b'{"prompt": "Q", "completion": "A", "logprobs": [-0.5, -9999, 1e-5]}\r\n{"a": 1, "a": 2}\n',
    b'{"a": NaN}\n{"a": "\xff"}\n{"a": "\\ud83d"}\n[1]\n{"a": 1}{"b": 2}\n{"cut',
]
DOCUMENTS = [
    b'[{"a": 1}, {"b": [1, {"c": "]"}]}]', b'{\n  "a": 1\n}\n{\n  "b": "}"\n}\n', b"[\n]\n",
    b' [ {"a": NaN}, 7, "x", {"a": 4} ] {"tail": 1}',
]  # fmt: skip
TABLES = [
    b'q,a\r\n"two\nlines, ""quoted""",1\r\n,2\r\nonly one\r\nx,y\r\n',
    b"q\ta\n1\t2\n\xe9\t3\n",
]


def _tables() -> Iterator[tuple[str, bytes]]:
    table = pa.table({
        "q": ["a", None, "c" * 40], "p": pa.array([[-0.5], None, []], pa.list_(pa.float32())),
        "n": pa.array([[1, None], [2], [3]], pa.list_(pa.int64())),
        "s": [{"x": 1, "y": ["u"]}, None, {"x": None, "y": None}],
        "d": pa.array(["u", "v", "u"]).dictionary_encode(),
    })  # fmt: skip
    for codec in ("none", "zstd"):
        sink = io.BytesIO()
        pq.write_table(table, sink, compression=codec, row_group_size=2, write_page_checksum=True)
        yield "parquet", sink.getvalue()
    stream, file = io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    yield "arrow", stream.getvalue()
    yield "arrow", file.getvalue()


PARQUET = [data for kind, data in _tables() if kind == "parquet"]
ARROW = [data for kind, data in _tables() if kind == "arrow"]
MIXED = [bytes([i]) + data for i, data in enumerate(
    [GOOD[0], DOCUMENTS[0], TABLES[0], TABLES[1], ARROW[0], PARQUET[0], gzip.compress(GOOD[0])]
)]  # fmt: skip

FILES = (
    Target("jsonl", lines, [b"\x07" + g for g in GOOD], WORDS, 4096),
    Target("document", document, [b"\x03" + d for d in (*DOCUMENTS, *GOOD)], WORDS, 4096),
    Target("csv", delimited, [b"\x05" + t for t in TABLES], WORDS, 4096),
    Target("file", anything, MIXED, WORDS),
    Target("parquet", parquet, PARQUET, max_len=16384),
    Target("arrow", arrow, ARROW, max_len=16384),
    Target("streams", streams, [b"\0\2\5hello\1\5world\2\3abc", b"\1\1\5hello\1\5world\1\x05\xff\2",
                                b"\2" + gzip.compress(b"hello" * 9)]),
)  # fmt: skip
