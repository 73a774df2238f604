"""Look-ahead for `opaque.mark`: where the next closer of each kind is.

Cursors only move forward and never scan a byte twice for the same kind, so that all look-ahead
together takes at most as many steps as there are bytes, times the kinds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from builders.jit import njit

_ENVIRONMENTS = (
    "equation align aligned alignat alignedat flalign gather gathered multline split cases dcases "
    "rcases array matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix eqnarray displaymath "
    "math subequations"
)


def _name_hash(name: bytes) -> int:
    value = 0
    for byte in name:
        value = (value * 131 + byte) % (1 << 55)
    return value


ENVIRONMENTS = np.array(sorted(_name_hash(e.encode()) for e in _ENVIRONMENTS.split()), np.int64)

# What a cursor looks for.
PAREN, BRACKET, BRACKET_OPEN, DOLLAR, DOLLARS, BLANK, SIGN, GAP, FENCE_LINE, LINE = range(10)
TICK = 10  # + length of the run, 1 to 3
CURSORS = 14

# By kind, the byte that it begins with; 0: one of several.
_FIRST = np.array([92, 92, 92, 36, 36, 10, 0, 32, 10, 10, 0, 96, 96, 96], np.uint8)


class Ahead(NamedTuple):
    """What lies ahead: cursors (int64[CURSORS + 1], the last counts steps) and environments."""

    cursors: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@njit(allocates=False)
def at(data: np.ndarray, p: int, text: bytes) -> bool:
    """Whether `text` stands at byte `p`."""
    if p + len(text) > data.size:
        return False
    for k in range(len(text)):  # noqa: SIM110
        if data[p + k] != text[k]:
            return False
    return True


@njit(allocates=False)
def _escaped(data: np.ndarray, p: int) -> bool:
    return p > 0 and data[p - 1] == 92 and not (p > 1 and data[p - 2] == 92)


@njit(allocates=False)
def tick_run(data: np.ndarray, p: int) -> int:
    """Length of the backtick run that starts at `p`, at most 4; 0 inside a run."""
    if p > 0 and data[p - 1] == 96:
        return 0
    k = 0
    while k < 4 and p + k < data.size and data[p + k] == 96:
        k += 1
    return k


@njit(allocates=False)
def _matches(data: np.ndarray, kind: int, p: int) -> bool:
    b = data[p]
    if kind == LINE:
        return b == 10
    if kind == PAREN:
        return b == 92 and at(data, p, b"\\)") and not _escaped(data, p)
    if kind == BRACKET:
        return b == 92 and at(data, p, b"\\]") and not _escaped(data, p)
    if kind == BRACKET_OPEN:
        return b == 92 and at(data, p, b"\\[") and not _escaped(data, p)
    if kind == DOLLAR:
        if b != 36 or p == 0 or data[p - 1] in (9, 10, 32, 36, 92):
            return False
        return p + 1 == data.size or not (48 <= data[p + 1] <= 57)
    if kind == DOLLARS:
        return b == 36 and at(data, p, b"$$") and not _escaped(data, p)
    if kind == BLANK:
        return b == 10 and (at(data, p, b"\n\n") or at(data, p, b"\n\r\n"))
    if kind == SIGN:
        return b in (42, 43, 45, 47, 60, 61, 62, 92, 94, 95, 123)  # * + - / < = > \ ^ _ {
    if kind == GAP:
        return b == 32
    if kind == FENCE_LINE:
        return b == 10 and (at(data, p, b"\n```") or at(data, p, b"\n~~~"))
    return b == 96 and tick_run(data, p) == kind - TICK


@njit(allocates=False)
def seek(data: np.ndarray, cursors: np.ndarray, kind: int, start: int) -> int:
    """First match of `kind` at or after `start`, else the length; `start` never decreases."""
    begin = p = max(cursors[kind], start)
    first = _FIRST[kind]
    while p < data.size:
        if first:
            while p < data.size and data[p] != first:
                p += 1
        if p == data.size or _matches(data, kind, p):
            break
        p += 1
    cursors[CURSORS] += p - begin
    cursors[kind] = p
    return p


@njit()
def environments(data: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start of each mathematical `\\begin{…}` and the end of its `\\end{…}` (-1: it has none)."""
    marks = 0
    for p in range(data.size):
        marks += data[p] == 92 and at(data, p, b"\\begin{")
    begin, end = np.empty(marks, np.int64), np.full(marks, -1, np.int64)
    stack, names = np.empty(marks, np.int64), np.empty(marks, np.int64)
    count, depth = 0, 0
    for p in range(data.size if marks else 0):
        if data[p] != 92:
            continue
        opens = at(data, p, b"\\begin{")
        if not opens and not at(data, p, b"\\end{"):
            continue
        q, name = p + (7 if opens else 5), np.int64(0)
        for _ in range(16):
            if q >= data.size or data[q] in (42, 125):
                break
            name = (name * 131 + data[q]) % (1 << 55)
            q += 1
        q += q < data.size and data[q] == 42
        place = np.searchsorted(known, name)
        if q >= data.size or data[q] != 125 or place == known.size or known[place] != name:
            continue
        if opens:
            begin[count], stack[depth], names[depth] = p, count, name
            count, depth = count + 1, depth + 1
        elif depth and names[depth - 1] == name:
            depth -= 1
            end[stack[depth]] = q + 1
        else:
            depth = 0  # not nested: what is open stays plain text
    return begin[:count], end[:count]
