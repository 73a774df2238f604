"""Structured inputs from bytes: a fuzzer that mutates bytes then mutates rows, texts and ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Choices:
    """Decisions read from bytes, one after the other; 0 once they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        size = 1 if n <= 256 else 2
        taken = self.data[self.at : self.at + size]
        self.at += size
        return int.from_bytes(taken, "little") % max(n, 1)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def take(self) -> bytes:
        """Up to 255 bytes, as many as the next byte says."""
        size = self.below(256)
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        taken = self.data[self.at :]
        self.at = len(self.data)
        return taken

    @property
    def more(self) -> bool:
        """Whether any bytes are left."""
        return self.at < len(self.data)


class Chunks:
    """A stream of bytes in pieces of a given size, in place of a `ByteStream`."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, max(size, 1)

    def peek(self, n: int) -> bytes:
        """The first n bytes."""
        return self.data[:n]

    def __iter__(self) -> Iterator[bytes]:
        return (self.data[i : i + self.size] for i in range(0, len(self.data), self.size))


def changed(row: Any, choices: Choices, odd: Sequence[Any]) -> Any:
    """The JSON value `row` with a few places replaced, removed, renamed, doubled or nested."""
    for _ in range(choices.below(5)):
        paths = list(places(row))
        if not paths:
            break
        path = choices.pick(paths)
        row = _edited(row, path, choices, odd)
    return row


def _edited(row: Any, path: tuple[Any, ...], choices: Choices, odd: Sequence[Any]) -> Any:
    old = at(row, path)
    kind = choices.below(7)
    if kind == 0:
        return put(row, path, choices.take().decode("utf-8", "replace"))
    if kind == 1:
        return removed(row, path)
    if kind == 2:
        return put(row, path, [old, *([old] * choices.below(3))])
    if kind == 3 and isinstance(path[-1], str):
        name = choices.take().decode("utf-8", "replace")
        return put(removed(row, path), (*path[:-1], name), old)
    if kind == 4:
        return put(row, path, {choices.pick(("text", "content", "value", "bytes")): old})
    if kind == 5:
        return put(row, path, at(row, choices.pick(list(places(row)))))
    return put(row, path, choices.pick(odd))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all values inside a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in inside:
            yield from places(below, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of `value` with `new` at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    old = copy.get(path[0]) if isinstance(copy, dict) else copy[path[0]]
    copy[path[0]] = put(old, path[1:], new)
    return copy


def removed(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy of `value` without what stands at a path."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = removed(copy[path[0]], path[1:])
    return copy
