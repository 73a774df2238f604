"""Opening a file as a stream of plain bytes: gzip and zstd are undone, bytes read are reported."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from builders.read.rows import ROW_CAP_BYTES, OnBytes, size

CHUNK = 1 << 20
# Compressed bytes are undone in small pieces, so that one of extreme ratio stays bounded too.
PIECE = 4 << 10
# Text compresses 3 to 20 times, copies of one row a few hundred times. What goes on beyond
# RATIO_CAP times the bytes read, and FREE_BYTES, is a bomb.
RATIO_CAP, FREE_BYTES = 100, ROW_CAP_BYTES

_CODECS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x28\xb5\x2f\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def bomb(undone: int, stored: int, free: int) -> str | None:
    """What to say of bytes that undo to more than RATIO_CAP times as many, and `free`, or None."""
    if undone <= (most := free + RATIO_CAP * stored):
        return None
    return (
        f"a bomb: {stored:,} bytes of it hold more than {most:,} "
        f"({RATIO_CAP} times as many, and {size(free)})"
    )


class DamagedStreamError(Exception):
    """The stream broke off, is corrupt or a bomb; what came before it has been delivered."""


class ByteStream:
    """The decompressed bytes of a file. Compression is told by the content, not by the name.

    Frames that follow each other are one stream. A frame that was cut off is damage, which
    zstandard's own `stream_reader` would take for the end of the file. `bytes_read` counts those of
    the file so far.
    """

    closed = False

    def __init__(self, path: Path, on_bytes: OnBytes | None = None) -> None:
        self._file = path.open("rb")
        self._on_bytes = on_bytes
        magic = self._file.read(4)
        self._file.seek(0)
        self._new_frame = next((new for m, new in _CODECS.items() if magic.startswith(m)), None)
        self._frame: Any = self._new_frame() if self._new_frame else None
        self._ahead = deque[bytes]()
        self.bytes_read = self._undone = 0
        self._damage: DamagedStreamError | None = None

    def read_some(self) -> bytes:
        """The next bytes, b"" at the end; DamagedStreamError where the stream breaks."""
        if self._ahead:
            return self._ahead.popleft()
        if self._damage:
            raise self._damage
        if self._frame is None:
            return self._stored(CHUNK)
        try:
            data = self._decompressed()
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            raise DamagedStreamError(f"the compressed file is damaged here: {error}") from error
        self._ahead.extend(data[i : i + CHUNK] for i in range(CHUNK, len(data), CHUNK))
        return data[:CHUNK]

    def peek(self, n: int) -> bytes:
        """At least the first `n` bytes (fewer at the end of the file), without consuming them."""
        held = b""
        try:
            while len(held) < n and (more := self.read_some()):
                held += more
        except DamagedStreamError as error:
            self._damage = error  # raised once what came before it has been read
        if held:
            self._ahead.appendleft(held)
        return held

    def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes unless the file ends before, as file objects do."""
        pieces, length = [], 0
        while (n < 0 or length < n) and (data := self.read_some()):
            if 0 <= n < length + len(data):
                self._ahead.appendleft(data[n - length :])
                data = data[: n - length]
            pieces.append(data)
            length += len(data)
        return b"".join(pieces)

    def _stored(self, n: int) -> bytes:
        try:
            data = self._file.read(n)
        except OSError as error:
            raise DamagedStreamError(f"reading stopped here: {error.strerror}") from error
        self.bytes_read += len(data)
        if self._on_bytes and data:
            self._on_bytes(len(data))
        return data

    def _decompressed(self) -> bytes:
        assert self._new_frame is not None
        while compressed := self._stored(PIECE):
            pieces = []
            while compressed:
                if self._frame.eof:
                    compressed = compressed.lstrip(b"\0")  # gzip files may be padded with zeros
                    self._frame = self._new_frame() if compressed else self._frame
                    if not compressed:
                        break
                pieces.append(self._frame.decompress(compressed))
                compressed = self._frame.unused_data
            if data := b"".join(pieces):
                self._undone += len(data)
                if said := bomb(self._undone, self.bytes_read, FREE_BYTES):
                    raise DamagedStreamError(f"the compressed file is {said}")
                return data
        if not self._frame.eof:
            raise EOFError("it ends before its last frame does")
        return b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self.closed = True

    def __enter__(self) -> ByteStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read_some():
            yield chunk
