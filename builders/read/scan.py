"""Finding where JSON values end, and whether a key stands twice, without decoding them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from builders.jit import njit

# The scanner's state between chunks.
DEPTH, IN_STRING, ESCAPED = range(3)

_QUOTE, _BACKSLASH, _COMMA, _COLON, _SPACE = (ord(c) for c in '"\\,: ')
_FNV_OFFSET, _FNV_PRIME = 14695981039346656037, 1099511628211  # FNV-1a, 64 bits
_PROBES = 512  # a half full set of a million random keys needs some 60 at most
_SPREAD = 0x9E3779B97F4A7C15  # odd, near 2**64 / golden ratio: its products fill the high bits
_OPEN_LIST, _OPEN_OBJECT, _CLOSE_LIST, _CLOSE_OBJECT = (ord(c) for c in "[{]}")


def new_state() -> npt.NDArray[np.int64]:
    """The state at the beginning of a value: depth 0, outside of any string."""
    return np.zeros(3, np.int64)


@njit(allocates=False, nogil=True)
def next_end(
    chunk: npt.NDArray[np.uint8], start: int, state: npt.NDArray[np.int64], in_array: bool
) -> int:
    """Index of the byte of `chunk` that ends the current value, -1 if it is not in this chunk.

    With `in_array`, that is the `,` or `]` after the value; else the bracket that closes it.
    """
    depth, in_string, escaped = state[0], state[1], state[2]
    end = -1
    for i in range(start, len(chunk)):
        byte = chunk[i]
        if in_string:
            if escaped:
                escaped = 0
            elif byte == _BACKSLASH:
                escaped = 1
            elif byte == _QUOTE:
                in_string = 0
        elif byte == _QUOTE:
            in_string = 1
        elif byte in (_OPEN_LIST, _OPEN_OBJECT):
            depth += 1
        elif byte in (_CLOSE_LIST, _CLOSE_OBJECT):
            if in_array and depth == 0:
                end = i
                break
            depth -= 1
            if not in_array and depth <= 0:
                end = i
                break
        elif byte == _COMMA and in_array and depth == 0:
            end = i
            break
    state[0], state[1], state[2] = depth, in_string, escaped
    return end


def deepest(text: bytes) -> int:
    """How many lists and objects of a JSON text stand in each other at its deepest place."""
    return int(_deepest(np.frombuffer(text, np.uint8)))


@njit(allocates=False, nogil=True)
def _deepest(text: npt.NDArray[np.uint8]) -> int:
    depth, most, in_string, i = 0, 0, False, 0
    while i < len(text):
        byte = text[i]
        if in_string:
            if byte == _BACKSLASH:
                i += 1
            in_string = byte != _QUOTE
        elif byte == _QUOTE:
            in_string = True
        elif byte in (_OPEN_LIST, _OPEN_OBJECT):
            depth += 1
            most = max(most, depth)
        elif byte in (_CLOSE_LIST, _CLOSE_OBJECT):
            depth -= 1
        i += 1
    return most


def may_repeat_key(text: bytes) -> bool:
    """Whether an object of a valid JSON text may hold a key twice: False is certain.

    Keys are compared by 64-bit hashes, in one set for all objects; an escape in a key is not
    undone but makes the answer True.
    """
    seen = np.zeros(1 << (2 * text.count(b":")).bit_length(), np.uint64)  # half full at most
    objects = np.zeros(text.count(b"{") + 1, np.int64)
    return bool(_repeats(np.frombuffer(text, np.uint8), objects, seen))


@njit(allocates=False, nogil=True)
def _repeats(
    text: npt.NDArray[np.uint8], objects: npt.NDArray[np.int64], seen: npt.NDArray[np.uint64]
) -> bool:
    """The same; `objects` has room for every depth, `seen` for twice the keys, a power of 2."""
    depth, n_objects = 0, 0
    i = _next(text, 0, _OPEN_OBJECT, _CLOSE_OBJECT)
    while i < len(text):
        if text[i] == _OPEN_OBJECT:
            depth += 1
            n_objects += 1
            objects[depth] = n_objects
        elif text[i] == _CLOSE_OBJECT:
            depth -= 1
        else:
            start = i + 1
            i = _next(text, start, _BACKSLASH, _BACKSLASH)
            escaped = text[i] == _BACKSLASH
            while text[i] == _BACKSLASH:
                i = _next(text, i + 2, _BACKSLASH, _BACKSLASH)
            after = i + 1
            while after < len(text) and text[after] <= _SPACE:
                after += 1
            is_key = after < len(text) and text[after] == _COLON
            if is_key and (escaped or not _add(seen, _hash(objects[depth], text[start:i]))):
                return True
        i = _next(text, i + 1, _OPEN_OBJECT, _CLOSE_OBJECT)
    return False


@njit(allocates=False, nogil=True)
def _next(text: npt.NDArray[np.uint8], start: int, one: int, other: int) -> int:
    """Where the next quote, `one` or `other` stands; the length of the text if none does."""
    for i in range(start, len(text)):
        if text[i] == _QUOTE or text[i] == one or text[i] == other:
            return i
    return len(text)


@njit(allocates=False, nogil=True)
def _hash(of_object: int, key: npt.NDArray[np.uint8]) -> np.uint64:
    """FNV-1a of an object's number and a key, spread to the high bits; never 0."""
    hashed = (np.uint64(_FNV_OFFSET) ^ np.uint64(of_object)) * np.uint64(_FNV_PRIME)
    for byte in key:
        hashed = (hashed ^ np.uint64(byte)) * np.uint64(_FNV_PRIME)
    return (hashed ^ (hashed >> np.uint64(32))) * np.uint64(_SPREAD) | np.uint64(1)


@njit(allocates=False, nogil=True)
def _add(seen: npt.NDArray[np.uint64], hashed: np.uint64) -> bool:
    """Add to an open-addressed set of hashes, 0 being none; False where it may be there already.

    Keys made to land on one place end the search early, so that the time stays linear.
    """
    mask = np.uint64(len(seen) - 1)
    at = (hashed >> np.uint64(20)) & mask
    for _ in range(_PROBES):
        if not seen[at]:
            seen[at] = hashed
            return True
        if seen[at] == hashed:
            return False
        at = (at + np.uint64(1)) & mask
    return False
