"""Long lists of numbers of a JSON text, read into arrays before the rest is decoded.

A response of 64K tokens has as many ids and log-probs. As Python objects they take several times
as long, and as much memory, as all the rest of the row: so `cut` takes them out of the text, the
decoder reads what is left, and `put_back` sets the arrays into the decoded value.

A list that cannot surely be read to the same values stays in the text, for the decoder to read or
to refuse.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.jit import njit

LONG = 32  # numbers from which on a list is read here
# Lists under other names are left to the decoder: what reads those may want Python's.
_NAMED = re.compile(rb'"[^"\\]{0,40}(?:ids|logprob|token|offset)[^"\\]{0,40}"\s{0,8}:\s{0,8}\Z')
_NAME_BYTES = 120

# Stands in a list's place: no text can hold it on purpose.
_MARK = secrets.token_hex(16)
_MARKED = b'["' + _MARK.encode() + b'"]'

_QUOTE, _BACKSLASH, _COMMA, _MINUS, _PLUS, _POINT = (ord(c) for c in '"\\,-+.')
_OPEN_LIST, _CLOSE_LIST, _ZERO, _NINE, _EXPONENT, _SPACE = (ord(c) for c in "[]09e ")
_IN_NUMBERS = np.zeros(256, np.bool_)
_IN_NUMBERS[list(b"0123456789+-.eE, \t\r\n")] = True

_GIVEN_UP, _INTEGERS, _FLOATS = range(3)
_DIGITS, _WHOLE = 19, 18  # that surely fit 64 bits, without and with a sign
_POWERS = 60  # powers of ten to which a number is read here
# Each power of ten as the sum of two floats, of which the second is what the first lacks.
_TENS = [Fraction(10) ** power for power in range(-_POWERS, _POWERS + 1)]
_HIGH = np.array([float(ten) for ten in _TENS])
_LOW = np.array([float(t - Fraction(h)) for t, h in zip(_TENS, _HIGH.tolist(), strict=True)])
_SPLITTER = 134_217_729.0  # 2**27 + 1, of Dekker's exact product
_DOUBT = 2.0**-98  # more than the error of a product of two such sums, relative to it


def cut(text: bytes) -> tuple[bytes, list[NDArray[Any]]]:
    """The text with a mark in place of each long list of numbers, and these lists, in order.

    A list is int64 where it has whole numbers only, else float64, exactly as Python reads them.
    """
    view = np.frombuffer(text, np.uint8)
    spans = np.empty((len(text) // (2 * LONG) + 1, 3), np.int64)
    pieces, lists, at = list[bytes](), list[NDArray[Any]](), 0
    for start, stop, count in spans[: _find(view, spans)].tolist():
        if not _NAMED.search(text, max(0, start - _NAME_BYTES), start):
            continue
        floats = np.empty(count)
        integers = floats.view(np.int64)
        kind = _read(view[start + 1 : stop], floats, integers)
        if kind != _GIVEN_UP:
            pieces += text[at:start], _MARKED
            lists.append(floats if kind == _FLOATS else integers)
            at = stop
    return b"".join([*pieces, text[at:]]) if lists else text, lists


def put_back(value: dict[str, Any], lists: list[NDArray[Any]]) -> None:
    """Set the lists in place of their marks in a decoded value, which has no key twice."""
    _fill(value, value.items(), lists[::-1])


def _fill(into: Any, items: Iterable[tuple[Any, Any]], left: list[NDArray[Any]]) -> None:
    """Set lists, the last first, in place of marks in the items of a dict or of a list."""
    for at, item in items:
        if not left:
            return
        if type(item) is dict:
            _fill(item, item.items(), left)
        elif type(item) is list:
            if len(item) == 1 and item[0] == _MARK:
                into[at] = left.pop()
            else:
                _fill(item, enumerate(item), left)


@njit(allocates=False, nogil=True)
def _find(text: NDArray[np.uint8], spans: NDArray[np.int64]) -> int:
    """Write where lists begin and end that look as if they held LONG numbers, and how many."""
    i, n, found = 0, len(text), 0
    while i < n:
        byte = text[i]
        if byte == _QUOTE:
            i += 1
            while i < n and text[i] != _QUOTE:
                i += 2 if text[i] == _BACKSLASH else 1
        elif byte == _OPEN_LIST:
            start, commas = i, 0
            i += 1
            while i < n and _IN_NUMBERS[text[i]]:
                commas += text[i] == _COMMA
                i += 1
            if i == n or text[i] != _CLOSE_LIST:
                continue
            if commas + 1 >= LONG:
                spans[found, 0], spans[found, 1], spans[found, 2] = start, i + 1, commas + 1
                found += 1
        i += 1
    return found


@njit(allocates=False, nogil=True)
def _read(text: NDArray[np.uint8], floats: NDArray[np.float64], integers: NDArray[np.int64]) -> int:
    """Read numbers up to the `]` that ends `text`, into one of two views of the same memory."""
    i, last = 0, len(text) - 1
    whole = True
    for k in range(len(floats)):
        i = _behind_blanks(text, i)
        negative = text[i] == _MINUS
        i += 1 if negative else 0
        begin = i
        i, mantissa, digits = _behind_digits(text, i, np.uint64(0), 0)
        if i == begin or (text[begin] == _ZERO and i > begin + 1):
            return _GIVEN_UP
        is_whole, exponent = True, 0
        if text[i] == _POINT:
            is_whole, begin = False, i + 1
            i, mantissa, digits = _behind_digits(text, begin, mantissa, digits)
            if i == begin:
                return _GIVEN_UP
            exponent = begin - i
        if text[i] | _SPACE == _EXPONENT:
            down = text[i + 1] == _MINUS
            is_whole, begin = False, i + (2 if down or text[i + 1] == _PLUS else 1)
            i, power, size = _behind_digits(text, begin, np.uint64(0), 0)
            if i == begin or size > 3:
                return _GIVEN_UP
            exponent += (-1 if down else 1) * int(np.int64(power))
        i = _behind_blanks(text, i)
        if (text[i] != _COMMA and i != last) or digits > (_WHOLE if is_whole else _DIGITS):
            return _GIVEN_UP
        i += 1
        if is_whole and whole:
            integers[k] = -np.int64(mantissa) if negative else np.int64(mantissa)
            continue
        if whole:
            whole = False
            for j in range(k):
                floats[j] = integers[j]
        value = _float(mantissa, exponent)
        if value < 0.0:
            return _GIVEN_UP
        floats[k] = -value if negative and not (is_whole and mantissa == 0) else value
    return _INTEGERS if whole else _FLOATS


@njit(allocates=False, nogil=True)
def _behind_blanks(text: NDArray[np.uint8], i: int) -> int:
    while text[i] <= _SPACE:
        i += 1
    return i


@njit(allocates=False, nogil=True)
def _behind_digits(
    text: NDArray[np.uint8], i: int, number: np.uint64, digits: int
) -> tuple[int, np.uint64, int]:
    """Where the digits end, the number with them, and how many it has behind leading zeros."""
    while _ZERO <= text[i] <= _NINE:
        number = number * np.uint64(10) + np.uint64(text[i] - _ZERO)
        digits += 1 if digits > 0 or number > 0 else 0
        i += 1
    return i, number, digits


@njit(allocates=False, nogil=True)
def _float(mantissa: np.uint64, exponent: int) -> float:
    """The float nearest to mantissa * 10**exponent, -1 where that is not sure or not looked up.

    The product is computed to twice the precision of a float (T. J. Dekker, A floating-point
    technique for extending the available precision, 1971). Where all numbers within its error are
    rounded to the same float, that is the one (the test of A. Ziv, 1991).
    """
    if mantissa == 0:
        return 0.0
    if not -_POWERS <= exponent <= _POWERS:
        return -1.0
    a = np.float64(mantissa)
    rest = np.float64(np.int64(mantissa - np.uint64(a)))
    b, b_rest = _HIGH[exponent + _POWERS], _LOW[exponent + _POWERS]
    product = a * b
    split = _SPLITTER * a
    a_high = split - (split - a)
    split = _SPLITTER * b
    b_high = split - (split - b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    error += a * b_rest + rest * b
    doubt = product * _DOUBT
    low, high = product + (error - doubt), product + (error + doubt)
    return low if low == high else -1.0
