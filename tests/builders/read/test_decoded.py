"""Tests of what Arrow values take once they are decoded."""

from __future__ import annotations

import pyarrow as pa
import pytest

from builders.read import decoded
from builders.read.decoded import FIELD, MOST, OBJECT, decoded_bytes

TEXTS = pa.array(["a", "bcd", None, ""])
LISTS = pa.array([[1, 2], None, [], [3]], pa.list_(pa.int32()))

SMALL = pa.struct({"a": pa.int8(), "b": pa.int8()})
VIEWS = pa.array(["a", "b", "c" * 70], pa.string_view())

# Of values that take no room a file may claim any number.
HUGE = 1 << 60
EMPTY = pa.StructArray.from_buffers(pa.struct([]), HUGE, [None])
NULLS = pa.Array.from_buffers(pa.null(), HUGE, [None])
RUN = pa.RunEndEncodedArray.from_arrays(pa.array([HUGE]), ["abc"])
UNION = pa.UnionArray.from_dense(
    pa.array([0, 1, 0], pa.int8()), pa.array([0, 0, 0], pa.int32()),
    [pa.array(["x" * 900]), pa.array([1])],
)  # fmt: skip
MANY = pa.LargeListArray.from_arrays([0, HUGE // 2, HUGE // 2 + 15], NULLS)


def of_dictionary(values: pa.Array) -> pa.Array:
    """Two values of a dictionary that is longer than any memory."""
    return pa.DictionaryArray.from_arrays(pa.array([0, HUGE - 1]), values)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (TEXTS, [1, 3, 1, 1]),
        (TEXTS.cast(pa.large_string()).slice(1), [3, 1, 1]),
        (pa.array(["a", "b" * 40, None], pa.string_view()), [1, 40, 1]),
        (pa.array(["x" * 9, "y"]).take([0, 1, 0]).dictionary_encode(), [9, 1, 9]),
        (pa.array([1.5, None]), [8, 8]),
        (LISTS, [8, 1, 1, 4]),
        (LISTS.slice(2), [1, 4]),
        (pa.array([["a", "bc"], ["d"]], pa.list_(pa.string())), [2 * OBJECT, OBJECT]),
        (
            pa.array([["a", "bc"]] * 2, pa.list_(pa.dictionary(pa.int8(), pa.string()))),
            [2 * OBJECT] * 2,
        ),
        (pa.array([["a", "bc"], ["d"]], pa.list_view(pa.string())), [2 * OBJECT, OBJECT]),
        (
            pa.ListViewArray.from_arrays(
                [3, 0, 1, 2], [1, 2, 0, 2], ["a", "b" * 70, "c", "d" * 99]
            ),
            [99, OBJECT + 70, 1, OBJECT + 99],
        ),
        (pa.array([["a"], ["b"] * 3, None, ["c", "d" * 80]]).slice(1), [3 * OBJECT, 1, 144]),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int16(), 2)), [4, 4]),
        (
            pa.array([{"r": "user", "c": [1]}, {"r": "u", "c": list(range(10))}]),
            [OBJECT + 2 * FIELD + 12, OBJECT + 2 * FIELD + 81],
        ),
        (pa.array([[("k", "value")], []], pa.map_(pa.string(), pa.string())), [2 * OBJECT, 2]),
        (pa.array([None, None]), [8, 8]),
        (of_dictionary(EMPTY), [OBJECT] * 2),
        (of_dictionary(NULLS), [8, 8]),
        (pa.LargeListArray.from_arrays([0, 2, HUGE], EMPTY), [2 * OBJECT, MOST]),
        (pa.LargeListArray.from_arrays([0, 2, HUGE], NULLS), [16, MOST]),
        (pa.LargeListArray.from_arrays([0, 2, HUGE], RUN), [6, MOST]),
        (pa.StructArray.from_arrays([RUN.slice(7, 1)], ["a"]), [OBJECT + FIELD + 3]),
        (pa.array([{"a": 1, "b": 2}] * 2).cast(SMALL), [OBJECT + 2 * FIELD + 2] * 2),
        (pa.array([None, "x" * 90, None]).dictionary_encode(), [1, 90, 1]),
        (pa.DictionaryArray.from_arrays([2, 0, 2], VIEWS), [70, 1, 70]),
        (pa.ListArray.from_arrays([0, 2, 3], UNION), [2 * 900, 900]),
        (pa.LargeListArray.from_arrays([0, 1, 2], MANY), [MOST, 15 * 8]),
        (pa.FixedSizeListArray.from_arrays(NULLS, 1 << 30).slice(3, 1), [1 << 33]),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, decoded.PIECE])
def test_the_bytes_of_each_value(
    array: pa.Array, wanted: list[int], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row would be taken for small, and decoded to gigabytes."""
    monkeypatch.setattr(decoded, "PIECE", piece)
    assert decoded_bytes(array).tolist() == wanted


@pytest.mark.parametrize("indices", [[0, 2], [0, -1], [None, 1 << 30]])
@pytest.mark.parametrize("nested", [False, True])
def test_an_index_outside_its_dictionary_is_refused(
    indices: list[int | None], nested: bool
) -> None:
    """A damaged file would be decoded from any memory, or end the process."""
    array: pa.Array = pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int32()), pa.array(["a", "b"]), safe=False
    )
    if nested:
        array = pa.ListArray.from_arrays([0, 1, 2], array)
    with pytest.raises(IndexError, match="outside its dictionary of 2 values"):
        decoded_bytes(array)


def test_indices_of_nulls_need_no_dictionary() -> None:
    """A column without any text would be damaged."""
    array = pa.DictionaryArray.from_arrays(pa.array([None] * 2, pa.int32()), pa.array([], "str"))
    assert decoded_bytes(array).tolist() == [1, 1]


def test_values_that_take_no_room_are_not_looked_at_one_by_one() -> None:
    """A file of 500 bytes would take all memory."""
    none = pa.FixedSizeListArray.from_buffers(
        pa.list_(pa.string(), 0), 1 << 30, [None], children=[pa.array([], pa.string())]
    )
    many = pa.LargeListArray.from_arrays([0, 1 << 30], none)
    assert decoded_bytes(many).tolist() == [1 << 30]
