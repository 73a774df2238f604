"""Opening a file as a stream of plain bytes: gzip and zstd are undone, bytes read are reported."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from builders.read.rows import OnBytes

CHUNK = 1 << 20
# Compressed bytes are undone in small pieces, so that one of extreme ratio stays bounded too.
PIECE = 4 << 10

_CODECS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x28\xb5\x2f\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


class DamagedStreamError(Exception):
    """The compressed stream broke off or is corrupt; what came before it has been delivered."""


class ByteStream:
    """The decompressed bytes of a file. Compression is told by the content, not by the name.

    Frames that follow each other are one stream. A frame that was cut off is damage, which
    zstandard's own `stream_reader` would take for the end of the file.
    """

    closed = False

    def __init__(self, path: Path, on_bytes: OnBytes | None = None) -> None:
        self._file = path.open("rb")
        self._on_bytes = on_bytes
        magic = self._file.read(4)
        self._file.seek(0)
        self._new_frame = next((new for m, new in _CODECS.items() if magic.startswith(m)), None)
        self._frame: Any = self._new_frame() if self._new_frame else None
        self._ahead = b""
        self._damage: DamagedStreamError | None = None

    def read_some(self) -> bytes:
        """The next bytes, b"" at the end; DamagedStreamError where the stream breaks."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self._damage:
            raise self._damage
        if self._frame is None:
            return self._stored(CHUNK)
        try:
            return self._decompressed()
        except (zlib.error, zstandard.ZstdError, EOFError) as error:
            raise DamagedStreamError(f"the compressed file is damaged here: {error}") from error

    def peek(self, n: int) -> bytes:
        """At least the first `n` bytes (fewer at the end of the file), without consuming them."""
        held = b""
        try:
            while len(held) < n and (more := self.read_some()):
                held += more
        except DamagedStreamError as error:
            self._damage = error  # raised once what came before it has been read
        self._ahead = held
        return held

    def read(self, n: int = -1) -> bytes:
        """Exactly `n` bytes unless the file ends before, as file objects do."""
        pieces, length = [], 0
        while (n < 0 or length < n) and (data := self.read_some()):
            pieces.append(data)
            length += len(data)
        data = b"".join(pieces)
        if 0 <= n < length:
            data, self._ahead = data[:n], data[n:]
        return data

    def _stored(self, n: int) -> bytes:
        data = self._file.read(n)
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
