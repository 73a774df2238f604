"""The content store of Xet as its client sees it: xorbs of chunks, and shards that name files.

The formats are those of https://huggingface.co/docs/xet (xorb, shard); numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa

ENTRY, HEADER = 48, 48
VERIFIED, WITH_SHA256 = 1 << 31, 1 << 30
END = b"\xff" * 32


def text(digest: bytes) -> str:
    """A hash as it stands in addresses: four numbers of 64 bits, in hexadecimal."""
    return "".join(f"{n:016x}" for n in struct.unpack("<4Q", digest))


def chunks(xorb: bytes) -> list[bytes]:
    """The chunks of a xorb, uncompressed."""
    found, at = [], 0
    while at + 8 <= len(xorb) and xorb[at : at + 7] != b"XETBLOB":
        stored = int.from_bytes(xorb[at + 1 : at + 4], "little")
        scheme = xorb[at + 4]
        size = int.from_bytes(xorb[at + 5 : at + 8], "little")
        body = xorb[at + 8 : at + 8 + stored]
        at += 8 + stored
        if scheme:
            body = pa.Codec("lz4").decompress(body, size, asbytes=True)
        found.append(_ungrouped(body) if scheme == 2 else body)
    return found


def _ungrouped(body: bytes) -> bytes:
    """Bytes that were grouped by their place modulo 4, in their order again."""
    out, at = bytearray(len(body)), 0
    for first in range(4):
        places = range(first, len(body), 4)
        out[first::4] = body[at : at + len(places)]
        at += len(places)
    return bytes(out)


def files(shard: bytes) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """(SHA-256, [(xorb, first chunk, chunk after the last)]) of each file that a shard names."""
    at = HEADER
    while shard[at : at + 32] != END:
        flags, n = struct.unpack_from("<II", shard, at + 32)
        at += ENTRY
        parts = []
        for _ in range(n):
            first, last = struct.unpack_from("<II", shard, at + 40)
            parts.append((text(shard[at : at + 32]), first, last))
            at += ENTRY
        at += ENTRY * n if flags & VERIFIED else 0
        if flags & WITH_SHA256:
            yield text(shard[at : at + 32]), parts
            at += ENTRY
