"""Repeated keys, told without decoding."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.read.scan import may_repeat_key


class Pairs(tuple):
    """The pairs of an object, keys maybe repeated."""

    __slots__ = ()


KEYS = st.sampled_from(["a", "b", "c9", "b1", "a9", "", "é", "a:b", "x{[,"])
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.sampled_from(["", 'q"', "\\", "{", '","a":1']),
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=4).map(Pairs)
    ),
    max_leaves=12,
)


def spelled(value):
    """JSON of a value in which pairs may repeat a key."""
    if isinstance(value, Pairs):
        pairs = (f"{json.dumps(k, ensure_ascii=False)}: {spelled(v)}" for k, v in value)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return json.dumps(value)


def repeats(value):
    """Whether any object in it holds a key twice."""
    if isinstance(value, Pairs):
        names = [k for k, _ in value]
        return len(set(names)) < len(names) or any(repeats(v) for _, v in value)
    return isinstance(value, list) and any(map(repeats, value))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(KEYS, VALUES), max_size=5).map(Pairs))
def test_a_repeated_key_is_seen_and_no_other(value):
    """One of two values would be lost in silence, or good rows be refused or read slowly."""
    assert may_repeat_key(spelled(value).encode()) == repeats(value)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"a": 1, "\\u0061": 2}', True),  # left to the exact check
        (b'{"a": "\\u0061", "b": "a"}', False),
        (b'{"a": "a", "b": ["a", "a"], "c": {"a": {"a": 1}}}', False),
        (b'{"a" : 1,\n"a"\t:2}', True),
        (b"{}", False),
    ],
)
def test_repeated_keys_by_hand(text, answer):
    """A value would be taken for a key, or a key for a value."""
    assert may_repeat_key(text) == answer


def test_many_keys_and_deep_nesting():
    """A long chat completion would be refused or take minutes."""
    row = {f"k{i}": {"token": "a", "logprob": i} for i in range(60_000)}
    text = json.dumps(row).encode()
    assert not may_repeat_key(text)
    assert may_repeat_key(text[:-1] + b', "k59999": 0}')
    assert not may_repeat_key(b'{"a":' * 5_000 + b"1" + b"}" * 5_000)
