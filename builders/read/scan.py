"""Finding where JSON values end, and how many keys they spell out, without decoding them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from builders.jit import njit

# The scanner's state between chunks.
DEPTH, IN_STRING, ESCAPED, PAIRS = range(4)

_QUOTE, _BACKSLASH, _COLON, _COMMA = (ord(c) for c in '"\\:,')
_OPEN_LIST, _OPEN_OBJECT, _CLOSE_LIST, _CLOSE_OBJECT = (ord(c) for c in "[{]}")


def new_state() -> npt.NDArray[np.int64]:
    """The state at the beginning of a value: depth 0, outside of any string, no pair seen."""
    return np.zeros(4, np.int64)


@njit(nogil=True)
def next_end(
    chunk: npt.NDArray[np.uint8], start: int, state: npt.NDArray[np.int64], in_array: bool
) -> int:
    """Index of the byte of `chunk` that ends the current value, -1 if it is not in this chunk.

    With `in_array`, that is the `,` or `]` after the value; else the bracket that closes it.
    """
    depth, in_string, escaped, pairs = state[0], state[1], state[2], state[3]
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
        elif byte == _COLON:
            pairs += 1
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
    state[0], state[1], state[2], state[3] = depth, in_string, escaped, pairs
    return end


def spelled_pairs(text: bytes) -> int:
    """The number of `key: value` pairs that a complete JSON text spells out."""
    state = new_state()
    next_end(np.frombuffer(text, np.uint8), 0, state, True)
    return int(state[PAIRS])


def kept_pairs(value: Any) -> int:
    """The number of pairs in a decoded JSON value; less than were spelled if a key came twice."""
    pairs, stack = 0, [value]
    while stack:
        node = stack.pop()
        if type(node) is dict:
            pairs += len(node)
            stack.extend(v for v in node.values() if type(v) in _CONTAINERS)
        elif not _CONTAINERS.isdisjoint(map(type, node)):
            stack.extend(v for v in node if type(v) in _CONTAINERS)
    return pairs


_CONTAINERS = frozenset((dict, list))
