"""Content hashes and keys: what is stored must mean the same for ever."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pyarrow as pa
import pytest

from dasd_data import keys

ROWS = pa.table(
    {
        "text": pa.array(["x", None, "é", ""]),
        "number": pa.array([1, None, -5, 2**40]),
        "narrow": pa.array([1, None, -5, 7], pa.int32()),
        "value": pa.array([0.5, None, -0.0, float("nan")]),
        "flag": pa.array([True, None, False, True]),
        "time": pa.array([1, None, 2, 3], pa.timestamp("us", "UTC")),
        "ids": pa.array([[1, 2], None, [], [3, None]], pa.list_(pa.int32())),
        "logprobs": pa.array([[1.5], None, [], [None]], pa.list_(pa.float32())),
        "kinds": pa.array([[1, -2], None, [], [3]], pa.list_(pa.int8())),
    }
)


def whole(n):
    """Eight bytes of a whole number."""
    return struct.pack("<q", n)


def blake(*parts):
    """BLAKE2b-64 of the joined parts, as a signed number."""
    data = hashlib.blake2b(b"".join(parts), digest_size=8).digest()
    return int.from_bytes(data, "little", signed=True)


BY_HAND = [
    blake(
        b"\2" + whole(1) + b"x",
        b"\2" + whole(1),
        b"\2" + whole(1),
        b"\2" + struct.pack("<d", 0.5),
        b"\2" + whole(1),
        b"\2" + whole(1),
        b"\2" + whole(8) + struct.pack("<ii", 1, 2),
        b"\2" + whole(4) + struct.pack("<f", 1.5),
        b"\2" + whole(2) + bytes([1, 0xFE]),
    ),
    blake(b"\0" * 9),
    blake(
        b"\2" + whole(2) + "é".encode(),
        b"\2" + whole(-5),
        b"\2" + whole(-5),
        b"\2" + struct.pack("<d", -0.0),
        b"\2" + whole(0),
        b"\2" + whole(2),
        *[b"\2" + whole(0)] * 3,
    ),
    blake(
        b"\2" + whole(0),
        b"\2" + whole(2**40),
        b"\2" + whole(7),
        b"\2" + bytes.fromhex("000000000000f87f"),
        b"\2" + whole(1),
        b"\2" + whole(3),
        b"\1" + whole(8) + struct.pack("<ii", 3, 0) + b"\1\0",
        b"\1" + whole(4) + struct.pack("<f", 0) + b"\0",
        b"\2" + whole(1) + b"\3",
    ),
]


def test_a_hash_is_that_of_the_values_own_bytes():
    """Another version or machine would take every row of a catalog for a changed one."""
    assert keys.content_hashes(ROWS, ROWS.column_names).tolist() == BY_HAND
    assert BY_HAND[1] == -8531446529984405942  # head -c 9 /dev/zero | b2sum -l 64


def test_rows_without_content_have_one_hash():
    """Refused rows, which are all key, could not be appended."""
    assert keys.content_hashes(ROWS, []).tolist() == [blake()] * 4


@pytest.mark.parametrize("budget", [1, 100, 1 << 20])
def test_hashes_depend_on_values_only(monkeypatch, budget):
    """The same rows in other batches, slices or chunks would look changed."""
    monkeypatch.setattr(keys, "_HASHED_BYTES", budget)
    many = pa.concat_tables([ROWS, ROWS.slice(1, 2), ROWS])
    names = ROWS.column_names
    expected = [*BY_HAND, *BY_HAND[1:3], *BY_HAND]
    assert keys.content_hashes(many, names).tolist() == expected
    assert keys.content_hashes(many.slice(2, 6), names).tolist() == expected[2:8]
    one = many.combine_chunks().slice(3, 5)
    assert keys.content_hashes(one, names).tolist() == expected[3:8]
    assert keys.content_hashes(many.slice(0, 0), names).tolist() == []


def test_values_that_meet_at_other_places_differ():
    """A text moved from one column to the next would count as the same content."""
    rows = pa.table({"a": ["xy", "x", "", None], "b": ["", "y", "xy", "xy"]})
    assert len(set(keys.content_hashes(rows, ["a", "b"]).tolist())) == 4
    lists = pa.table({"a": pa.array([[0], [None], [0, 0], []], pa.list_(pa.int32()))})
    assert len(set(keys.content_hashes(lists, ["a"]).tolist())) == 4


def test_the_first_row_of_each_key():
    """A row that repeats an earlier one would be appended, or the earlier one be lost."""
    table = pa.table({"a": ["x", "y", "x", "z", "y", "x"], "b": [1, 1, 1, 2, 1, 2]})
    assert keys.first_of_key(table).tolist() == [0, 1, 0, 3, 1, 5]
    assert keys.first_of_key(table.slice(0, 0)).tolist() == []


def test_kept_rows():
    """A mask would be applied to the wrong rows, or all rows be copied for nothing."""
    assert keys.kept(ROWS, np.array([True, False, True, False]))["text"].to_pylist() == ["x", "é"]
    assert keys.kept(ROWS, np.ones(4, bool)) is ROWS
