"""Sequences into batches, by tokens, in bounded memory and in a fixed order.

A bounded window of requests is sorted by length; its batches leave before the next is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from builders.score.engine import ScoreRequest

WINDOW_BATCHES = 16

Pack = list[ScoreRequest]
Packing = Callable[[Pack, int], list[Pack]]


def batches(requests: Iterable[ScoreRequest], max_tokens: int, packing: Packing) -> Iterator[Pack]:
    """Batches of at most `max_tokens` tokens; a longer sequence is a batch of its own.

    At most `WINDOW_BATCHES * max_tokens` tokens (and one request more) are held at a time. The
    same requests in the same order give the same batches.
    """
    window: Pack = []
    held = 0
    for request in requests:
        window.append(request)
        held += len(request.ids)
        if held >= WINDOW_BATCHES * max_tokens:
            yield from packing(window, max_tokens)
            window, held = [], 0
    if window:
        yield from packing(window, max_tokens)


def first_fit(window: Pack, max_tokens: int) -> list[Pack]:
    """First-fit decreasing: the sum of a pack's lengths stays within `max_tokens`."""
    packs: list[Pack] = []
    room: list[int] = []
    for request in _by_length(window):
        n = len(request.ids)
        at = next((i for i, free in enumerate(room) if n <= free), None)
        if at is None:
            packs.append([request])
            room.append(max_tokens - n)
        else:
            packs[at].append(request)
            room[at] -= n
    return packs


def similar_lengths(window: Pack, max_tokens: int) -> list[Pack]:
    """Neighbours in length: a pack's longest times its number stays within `max_tokens`."""
    packs: list[Pack] = []
    for request in _by_length(window):
        if packs and len(packs[-1][0].ids) * (len(packs[-1]) + 1) <= max_tokens:
            packs[-1].append(request)
        else:
            packs.append([request])
    return packs


def alone(window: Pack, max_tokens: int) -> list[Pack]:
    """Every sequence by itself, the longest first."""
    return [[request] for request in _by_length(window)]


def _by_length(window: Pack) -> Pack:
    return sorted(window, key=lambda request: -len(request.ids))  # stable: ties stay in order
