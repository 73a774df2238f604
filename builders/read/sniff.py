"""Which format a file has: by its content, and by its name where the content leaves it open."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from builders.read.columnar import ARROW_MAGIC
from builders.read.open import ByteStream
from builders.read.rows import PEEK_BYTES
from builders.read.scan import DEPTH, new_state, next_end

_DECODER = msgspec.json.Decoder()

Format = Literal["jsonl", "document", "delimited", "arrow", "utf-16", "unknown"]

PARQUET_MAGIC = b"PAR1"
SNIFFED_LINES = 100
UTF8_BOM = b"\xef\xbb\xbf"
COMPRESSED = (".gz", ".gzip", ".zst", ".zstd")
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".arrow")


def plain_suffix(path: Path) -> str:
    """The ending that names the format: `.jsonl` of `a.jsonl.gz`."""
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return Path(name).suffix


def is_parquet(path: Path) -> bool:
    """Whether the file is a Parquet file, by its first bytes or, if they are damaged, its name."""
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MAGIC or plain_suffix(path) == ".parquet"


def sniff(path: Path, stream: ByteStream) -> Format:
    """The format of the file's decompressed bytes, of which none is consumed."""
    suffix, head = plain_suffix(path), stream.peek(PEEK_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and suffix != ".arrow":
        return "utf-16"
    if head.startswith((ARROW_MAGIC, b"\xff\xff\xff\xff")) or suffix == ".arrow":
        return "arrow"
    if suffix in (".csv", ".tsv"):
        return "delimited"
    text = head.removeprefix(UTF8_BOM).lstrip()
    if text.startswith(b"["):
        return "document"
    if text.startswith(b"{") or suffix in (".json", ".jsonl", ".ndjson"):
        return "document" if _spans_lines(text) else "jsonl"
    return "unknown" if text else "jsonl"


def _spans_lines(text: bytes) -> bool:
    """Whether an object goes on after its line: the first line leaves it open, and no later one
    is an object of its own, as those after a torn first line are.
    """
    first, *rest = text.split(b"\n", SNIFFED_LINES)
    state = new_state()
    next_end(np.frombuffer(first, np.uint8), 0, state, True)
    return bool(rest) and state[DEPTH] > 0 and not any(map(_is_row, rest))


def _is_row(line: bytes) -> bool:
    """Whether a line is a whole object with something in it, and not indented."""
    if not (line.startswith(b'{"') and line.rstrip().endswith(b"}")):
        return False
    try:
        return bool(_DECODER.decode(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
