"""Tests of lists of numbers that are read into arrays."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.read.decode import decode_row
from builders.read.numbers import LONG, cut

LITERALS = (
    st.floats(-100, 1e-4).map(repr)
    | st.floats(-100, 0, width=32).map(repr)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.decimals(-1000, 0, places=20).map(lambda d: f"{d:f}")
    | st.integers(-(10**20), 10**20).map(str)
    | st.sampled_from(["0", "-0", "-0.0", "0e9", "1E+2", "9007199254740993.0", "1e-60", "5e-324"])
)


def row(numbers: list[str], blank: str = " ") -> bytes:
    """A row with a list of numbers between other values."""
    joined = f",{blank}".join(numbers)
    return f'{{"text": "[\\"1, 2]", "logprobs": [{joined}], "next": [[1], "]"]}}'.encode()


def bits(values: object) -> bytes:
    """The 64 bits of each number: of a whole one and of a float of the same value they differ."""
    return b"".join(
        struct.pack("<q", v) if isinstance(v, int) else struct.pack("<d", v) for v in values
    )  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.lists(LITERALS, min_size=LONG, max_size=2 * LONG), st.sampled_from(["", " ", "\n\t"]))
def test_numbers_have_the_bits_that_python_reads(numbers: list[str], blank: str) -> None:
    """A log-prob or an id of a JSON file would be another one in the catalog."""
    text = row(numbers, blank)
    found, wanted = decode_row("f", 1, text).value, json.loads(text)
    assert found is not None
    values = found.pop("logprobs")
    expected = wanted.pop("logprobs")
    assert found == wanted
    if isinstance(values, np.ndarray):
        whole = all(isinstance(v, int) for v in expected)
        assert values.dtype == (np.int64 if whole else np.float64)
        assert bits(values.tolist()) == bits(expected if whole else map(float, expected))
    else:
        assert values == expected


def test_a_list_of_log_probs_as_servers_write_them_is_an_array() -> None:
    """All lists would go through Python's objects: several times as slow."""
    rng = np.random.default_rng(0)
    values = (-np.exp(rng.normal(-3, 3, 5_000))).astype(np.float32)
    found = decode_row("f", 1, row([repr(float(v)) for v in values])).value
    assert found is not None
    assert isinstance(found["logprobs"], np.ndarray)
    assert (found["logprobs"].astype(np.float32) == values).all()


@pytest.mark.parametrize(
    "number",
    ["01", "1.", ".5", "+1", "null", "true", "-", "1e", "1e+", "--1", "", "1 2", "NaN", "1.2.3"],
)
def test_what_is_no_number_is_left_to_the_decoder(number: str) -> None:
    """Text that is no JSON would be taken, or a null be lost in a list of numbers."""
    text = row([*["-0.5"] * LONG, number])
    assert cut(text) == (text, [])


@pytest.mark.parametrize("number", ["9007199254740993.0", "18446744073709551616", "1e61"])
def test_what_is_not_surely_exact_is_left_to_the_decoder(number: str) -> None:
    """A number halfway between two floats, or of over 64 bits, would be the wrong one."""
    text = row([*["5"] * LONG, number])
    assert cut(text) == (text, [])


def test_lists_come_back_where_they_stood() -> None:
    """The log-probs of one response would be another's."""
    choices = [{"token_ids": list(range(i, i + LONG)), "few": [i], "n": i} for i in range(3)]
    value = {"choices": choices, "prompt_token_ids": [7] * LONG, "last": [[]]}
    found = decode_row("f", 1, json.dumps(value).encode()).value
    assert found is not None
    assert all(isinstance(c.pop("token_ids"), np.ndarray) for c in found["choices"][1:])
    assert found["choices"][0]["token_ids"].tolist() == list(range(LONG))
    assert found["prompt_token_ids"].tolist() == [7] * LONG
    assert found["choices"][2] == {"few": [2], "n": 2}
    assert found["last"] == [[]]


def test_the_place_of_an_error_is_that_in_the_row() -> None:
    """The byte that a reason names would not be the one to look at."""
    text = row(["1"] * LONG)[:-1] + b', "x": NaN}'
    error = decode_row("f", 1, text).error
    assert error is not None
    assert f"(byte {text.index(b'NaN')})" in error


def test_a_key_that_stands_twice_beside_a_list_is_told() -> None:
    """One of two lists under the same key would be taken silently."""
    text = b'{"token_ids": [%s], "token_ids": [%s]}' % (b", ".join([b"1"] * LONG), b"2")
    assert decode_row("f", 1, text).error == "the key 'token_ids' stands twice"
