"""The messages of an Arrow IPC stream, each looked at before pyarrow undoes its compression.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator

import pyarrow as pa
from flatbuffers.number_types import BoolFlags, Int64Flags
from flatbuffers.table import Table

from builders.read.open import ByteStream, bomb

CONTINUATION = b"\xff\xff\xff\xff"  # before the length of a message
# Slots of tables in Arrow's Message.fbs: field i of a table has 4 + 2 * i.
HEADER = 8  # of Message: a RecordBatch, or
ID, DATA, IS_DELTA = 4, 6, 8  # a DictionaryBatch, which has one
BUFFERS, COMPRESSION = 8, 10  # of RecordBatch
PLAIN = -1  # the length that a buffer gives itself which is stored as it is
OLD_COMPRESSION = b"ARROW:experimental_compression"  # a key of messages before version 1.0


class CheckedMessages:
    """The bytes of an Arrow IPC stream, as a file for `pyarrow.ipc.open_stream`.

    Raises ValueError before a batch whose buffers and dictionaries, once decompressed, would come
    to more than `free` bytes and RATIO_CAP times the bytes that hold them.
    """

    closed = False

    def __init__(self, stream: ByteStream, free: int) -> None:
        self._stream = stream
        self._messages = pa.ipc.MessageReader.open_stream(pa.PythonFile(stream, mode="r"))
        self._free = free
        self._kept: dict[int, tuple[int, int]] = {}  # of dictionaries: stored, and decompressed
        self._held = deque[memoryview]()

    def read(self, n: int) -> memoryview | bytes:
        """The next `n` bytes, fewer at the end; a message's body as it is, without a copy."""
        found, length = [], 0
        while length < n and (self._held or self._fetch()):
            piece = self._held.popleft()
            found.append(piece[: n - length])
            length += len(found[-1])
            if len(rest := piece[len(found[-1]) :]):
                self._held.appendleft(rest)
        return found[0] if len(found) == 1 else b"".join(found)

    def _fetch(self) -> bool:
        """Hold the next message; False: there is none."""
        try:
            message = self._messages.read_next_message()
        except StopIteration:
            return False
        metadata, body = memoryview(message.metadata), memoryview(message.body or b"")
        if message.type in ("record batch", "dictionary"):
            self._judge(message, metadata, body)
        self._held.append(memoryview(CONTINUATION + struct.pack("<i", len(metadata))))
        self._held.extend(part for part in (metadata, body) if len(part))
        return True

    def _judge(self, message: pa.ipc.Message, metadata: memoryview, body: memoryview) -> None:
        """Count what a batch comes to, with the dictionaries that are there. Raises ValueError."""
        batch = _child(Table(metadata, struct.unpack_from("<I", metadata)[0]), HEADER)
        number = None
        if message.type == "dictionary":
            number = batch.GetSlot(ID, 0, Int64Flags)
            if not batch.GetSlot(IS_DELTA, False, BoolFlags):
                self._kept.pop(number, None)
            batch = _child(batch, DATA)
        old = message.metadata_version == pa.ipc.MetadataVersion.V4
        compressed = batch.Offset(COMPRESSION) or (old and OLD_COMPRESSION in bytes(metadata))
        stored, undone = len(body), sum(_decompressed(batch, body, bool(compressed)))
        kept = self._kept.values()
        within = min(stored + sum(n for n, _ in kept), self._stream.bytes_read)  # it may be gzip
        if said := bomb(undone + sum(n for _, n in kept), within, self._free):
            raise ValueError(f"it is {said}")
        if number is not None:
            before = self._kept.get(number, (0, 0))
            self._kept[number] = before[0] + stored, before[1] + undone

    def close(self) -> None:
        """The stream beneath is closed by whoever opened it."""
        self.closed = True


def _decompressed(batch: Table, body: memoryview, compressed: bool) -> Iterator[int]:
    """The bytes of each buffer of a batch, by what a compressed one says of itself.

    Buffers may share bytes, which pyarrow copies for each where it swaps or concatenates them.
    """
    if not (buffers := batch.Offset(BUFFERS)):
        return
    first = batch.Vector(buffers)
    for i in range(batch.VectorLen(buffers)):
        offset, length = struct.unpack_from("<qq", batch.Bytes, first + 16 * i)
        stated = PLAIN
        if compressed and length and 0 <= offset <= len(body) - 8:  # else pyarrow refuses it
            (stated,) = struct.unpack_from("<q", body, offset)
        yield max(min(length, len(body)) if stated == PLAIN else stated, 0)


def _child(table: Table, slot: int) -> Table:
    if not (offset := table.Offset(slot)):
        raise ValueError("a message of it lacks its batch")
    return Table(table.Bytes, table.Indirect(table.Pos + offset))
