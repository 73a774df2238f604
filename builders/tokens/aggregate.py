"""Token log-probs to sums per sentence, a whole Arrow batch at a time.

A token belongs to the sentence that holds its first byte that is no ASCII white space, one of
white space only to that of its first byte; a token of 0 bytes to none. Nothing runs per token in
Python: 32-bit floats in, 64-bit sums in token order, so that results do not depend on threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders.jit import njit
from builders.records import MAX_LOGPROB
from dasd_data.errors import UnknownNameError, UsageError

FLOOR = -9999.0  # vLLM writes this for minus infinity

_OK, _NULL, _LENGTHS, _TOKEN_BYTES, _NOT_FINITE, _POSITIVE, _SHORT, _LONG, _SENTENCES = range(9)
_REASONS = {
    _NULL: "token_bytes, logprobs, byte_end or answer is null",
    _LENGTHS: "{a} token_bytes but {b} logprobs",
    _TOKEN_BYTES: "token {a} has null or negative token_bytes",
    _NOT_FINITE: "token {a} has a logprob that is null, not finite or a server's floor (-9999)",
    _POSITIVE: "token {a} has a logprob above 0: these are no log-probs",
    _SHORT: "token_bytes cover {a} of {b} bytes of text",
    _LONG: "token {a} reaches beyond the {b} bytes of text",
    _SENTENCES: "byte_end does not rise to the length of the text, {b} bytes: see entry {a}",
}
_COVERS = {"thinking+answer": 0, "thinking": 1, "answer": 2}

_Text = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]  # bytes, first, behind last
_Lists = tuple[NDArray, NDArray[np.int64]]  # values, offsets [n_rows + 1]


@dataclass(frozen=True, slots=True)
class SentenceSums:
    """Per response, lists aligned with its `byte_end`; null where `errors` has the row's reason.

    A sentence without a token has n_tokens 0 and logprob_sum 0.
    """

    n_tokens: pa.ListArray  # list<int32>
    logprob_sum: pa.ListArray  # list<float32>
    errors: dict[int, str]  # row of the batch -> reason


def aggregate(
    thinking: pa.Array,
    answer: pa.Array,
    token_bytes: pa.Array,
    logprobs: pa.Array,
    byte_end: pa.Array,
    *,
    sections: str = "thinking+answer",
) -> SentenceSums:
    """Sum each sentence's log-probs and count its tokens, for n responses.

    `thinking` (null: none) and `answer` are text or binary; `token_bytes` list<int32> and
    `logprobs` list<float32> have an entry per token, `byte_end` list<int32> one per sentence:
    offsets in `thinking || answer`. `sections` is what the tokens cover, as in `Scorer`; the
    sentences of an uncovered section get no tokens. Large variants of the types are taken as well.

    A bad row is reported in `errors` and does not touch its neighbours: a null, lists of unequal
    length, tokens that do not tile the covered text, a log-prob that is not finite or above 1e-4
    on a token with bytes, or sentences that do not tile the text.
    Raises UsageError when the arrays differ in length or `sections` is unknown.
    """
    n_rows = len(answer)
    sizes = [len(array) for array in (thinking, answer, token_bytes, logprobs, byte_end)]
    if any(size != n_rows for size in sizes):
        raise UsageError(f"aggregate needs arrays of one length, got {sizes}")
    if sections not in _COVERS:
        raise UnknownNameError("sections", sections, _COVERS)
    counts, count_at, count_ok = _lists(token_bytes, np.int32, -1)
    values, value_at, value_ok = _lists(logprobs, np.float32, np.nan)
    ends, end_at, end_ok = _lists(byte_end, np.int32, -1)
    valid = count_ok & value_ok & end_ok & answer.is_valid().to_numpy(zero_copy_only=False)
    first = end_at[0] if n_rows else 0
    n_sentences = int(end_at[-1] - first) if n_rows else 0
    n_tokens = np.zeros(n_sentences, np.int32)
    sums = np.zeros(n_sentences, np.float64)
    status = np.zeros((n_rows, 3), np.int64)
    _kernel(
        (_text(thinking), _text(answer)),
        ((counts, count_at), (values, value_at), (ends, end_at)),
        valid,
        _COVERS[sections],
        (n_tokens, sums, status),
    )
    offsets = pa.array((end_at - first).astype(np.int32))
    bad = status[:, 0] != _OK
    errors = {
        int(row): _REASONS[int(status[row, 0])].format(a=status[row, 1], b=status[row, 2])
        for row in np.flatnonzero(bad)
    }
    return SentenceSums(
        _sentence_lists(offsets, pa.array(n_tokens), bad),
        _sentence_lists(offsets, pa.array(sums.astype(np.float32)), bad),
        errors,
    )


def _sentence_lists(offsets: pa.Array, values: pa.Array, bad: NDArray[np.bool_]) -> pa.ListArray:
    lists = pa.ListArray.from_arrays(offsets, values)
    return pc.if_else(pa.array(~bad), lists, pa.scalar(None, lists.type)) if bad.any() else lists


def _lists(
    array: pa.Array, dtype: type, null: float
) -> tuple[NDArray, NDArray[np.int64], NDArray[np.bool_]]:
    """A list array's values and absolute offsets, null values as `null`; which rows are there."""
    values = array.values.cast(pa.from_numpy_dtype(dtype))
    if values.null_count:
        values = values.fill_null(null)
    wide = np.int64 if pa.types.is_large_list(array.type) else np.int32
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return values.to_numpy(), _offsets(array, wide), valid


def _text(array: pa.Array) -> _Text:
    """The bytes of a text or binary array, each row's first and behind its last; null is empty."""
    if array.type in (pa.large_binary(), pa.large_string()):
        wide: type = np.int64
    else:
        array, wide = array.cast(pa.binary()), np.int32
    at = _offsets(array, wide)
    data = array.buffers()[2]
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    text = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
    return text, at[:-1], np.where(valid, at[1:], at[:-1])


def _offsets(array: pa.Array, wide: type) -> NDArray[np.int64]:
    buffer = array.buffers()[1]
    if not len(array) or buffer is None:
        return np.zeros(len(array) + 1, np.int64)
    skip = array.offset * np.dtype(wide).itemsize
    return np.frombuffer(buffer, wide, len(array) + 1, skip).astype(np.int64)


@njit(allocates=False, nogil=True, inline="always")
def _is_space(byte: int) -> bool:
    return byte == 32 or 9 <= byte <= 13


@njit(allocates=False, nogil=True)
def _bad_sentence(ends: NDArray, size: int) -> int:
    """The first entry that does not rise within `size`, or that falls short of it; -1 if none."""
    last = 0
    for i in range(len(ends)):
        if ends[i] <= last or ends[i] > size:
            return i
        last = ends[i]
    return -1 if last == size else len(ends)


@njit(allocates=False, nogil=True)
def _row(
    head: NDArray,
    tail: NDArray,
    lists: tuple[NDArray, NDArray, NDArray],
    cover: int,
    out: tuple[NDArray, NDArray],
) -> tuple[int, int, int]:
    """One response: its text is head || tail. Returns (status, and the reason's two numbers)."""
    counts, values, ends = lists
    n_tokens, sums = out
    size = len(head) + len(tail)
    if len(counts) != len(values):
        return _LENGTHS, len(counts), len(values)
    wrong = _bad_sentence(ends, size)
    if wrong >= 0:
        return _SENTENCES, wrong, size
    start = len(head) if cover == 2 else 0
    stop = len(head) if cover == 1 else size
    at, sentence = start, 0
    for i in range(len(counts)):
        count = counts[i]
        if count == 0:
            continue
        if count < 0:
            return _TOKEN_BYTES, i, 0
        if count > stop - at:
            return _LONG, i, stop - start
        value = values[i]
        if not FLOOR < value <= MAX_LOGPROB:
            return (_POSITIVE if MAX_LOGPROB < value < np.inf else _NOT_FINITE), i, 0
        if ends[sentence] < at + count:  # not wholly inside: look at its bytes
            first = at
            for j in range(at, at + count):
                if not _is_space(head[j] if j < len(head) else tail[j - len(head)]):
                    first = j
                    break
            while ends[sentence] <= first:
                sentence += 1
        n_tokens[sentence] += 1
        sums[sentence] += min(value, np.float32(0.0))
        at += count
    if at != stop:
        return _SHORT, at - start, stop - start
    return _OK, 0, 0


@njit(allocates=False, nogil=True)
def _kernel(
    texts: tuple[_Text, _Text],
    lists: tuple[_Lists, _Lists, _Lists],
    valid: NDArray[np.bool_],
    cover: int,
    out: tuple[NDArray, NDArray, NDArray],
) -> None:
    """All responses; writes n_tokens and sums per sentence, status [n_rows, 3]."""
    (head, head_at, head_to), (tail, tail_at, tail_to) = texts
    (counts, count_at), (values, value_at), (ends, end_at) = lists
    n_tokens, sums, status = out
    base = end_at[0]
    for row in range(len(valid)):
        if not valid[row]:
            status[row, 0] = _NULL
            continue
        sentences = slice(end_at[row] - base, end_at[row + 1] - base)
        status[row, 0], status[row, 1], status[row, 2] = _row(
            head[head_at[row] : head_to[row]],
            tail[tail_at[row] : tail_to[row]],
            (
                counts[count_at[row] : count_at[row + 1]],
                values[value_at[row] : value_at[row + 1]],
                ends[end_at[row] : end_at[row + 1]],
            ),
            cover,
            (n_tokens[sentences], sums[sentences]),
        )
