"""What a push would change: the files that it wants, against those that the repository has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class File:
    """A file that is wanted: bytes, or the path of a file of this size and SHA-256."""

    content: bytes | Path
    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> File:
        """A file of these bytes."""
        return cls(content, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Known:
    """A file that is there; `sha256` is None where git itself holds it, under `blob_id`."""

    size: int
    blob_id: str
    sha256: str | None = None

    def same(self, wanted: File) -> bool:
        """Whether it has the bytes that are wanted."""
        if self.sha256 is not None:
            return self.sha256 == wanted.sha256
        content = wanted.content
        if self.size != wanted.size:
            return False
        data = content if isinstance(content, bytes) else content.read_bytes()
        return self.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Changes:
    """Paths by what becomes of them; `bytes_new`: of files that the repository has nowhere."""

    new: Sequence[str]
    changed: Sequence[str]
    same: Sequence[str]
    removed: Sequence[str]
    bytes_new: int

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)

    @property
    def sent(self) -> list[str]:
        """The paths that the commit writes."""
        return [*self.new, *self.changed]


def compare(
    wanted: Mapping[str, File], there: Mapping[str, Known], folders: Iterable[str]
) -> Changes:
    """What makes the repository have the files `wanted`.

    Of `folders` only wanted files stay; what is elsewhere and not wanted is another's, and stays.
    """
    gone = [p for p in there if p.partition("/")[0] in set(folders) and p not in wanted]
    same = [path for path, file in wanted.items() if path in there and there[path].same(file)]
    changed = [path for path in wanted if path in there and path not in same]
    new = [path for path in wanted if path not in there]
    held = {known.sha256 for known in there.values()}
    absent = {wanted[p].sha256: wanted[p].size for p in (*new, *changed)}
    size = sum(size for sha256, size in absent.items() if sha256 not in held)
    return Changes(new, changed, same, sorted(gone), size)
