"""One JSON text to a row, or to the reason why it is none."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from numpy.typing import NDArray

from builders.read import numbers
from builders.read.rows import EXCERPT_BYTES, RawRow
from builders.read.scan import deepest, may_repeat_key

_DECODER = msgspec.json.Decoder()
# Well below Python's limit on recursion, which all that handles a row afterwards must keep to.
MAX_DEPTH = 256
TOO_DEEP = f"nested too deeply to be read, over {MAX_DEPTH} levels"

_NOT_A_NUMBER = re.compile(rb"-?(NaN|Infinity|nan|inf)\b")
_AT_BYTE = re.compile(r"\(byte (\d+)\)")


def decode_row(file: str, line: int, text: bytes) -> RawRow:
    """The row that `text` spells."""
    excerpt = text[:EXCERPT_BYTES]
    try:
        value, rest, lists = _decoded(text)
    except RecursionError:
        return RawRow(file, line, None, TOO_DEEP, excerpt)
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        return RawRow(file, line, None, f"not UTF-8: byte 0x{bad:02x} in a string", excerpt)
    except msgspec.DecodeError as error:
        return RawRow(file, line, None, _reason(text, str(error)), excerpt)
    if type(value) is not dict:
        kind = {list: "a list", str: "a string", type(None): "null", bool: "a truth value"}
        reason = f"not an object but {kind.get(type(value), 'a number')}"
        return RawRow(file, line, None, reason, excerpt)
    brackets = rest.count(b"[") + rest.count(b"{")
    if brackets > MAX_DEPTH and deepest(rest) > MAX_DEPTH:
        return RawRow(file, line, None, TOO_DEEP, excerpt)
    if may_repeat_key(rest) and (key := _repeated_key(rest)) is not None:
        return RawRow(file, line, None, f"the key {key[:80]!r} stands twice", excerpt)
    if lists:
        numbers.put_back(value, lists)
    return RawRow(file, line, value, None, excerpt)


def _decoded(text: bytes) -> tuple[Any, bytes, list[NDArray[Any]]]:
    """The value of a text, as yet without the lists that were cut out of it, and what was left.

    Raises what the decoder raises for the whole text, whose places are those of the row.
    """
    rest, lists = numbers.cut(text)
    try:
        return _DECODER.decode(rest), rest, lists
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not lists:
            raise
    return _DECODER.decode(text), text, []


def _reason(text: bytes, error: str) -> str:
    """Why `text` is not JSON, in words that name the usual causes."""
    if "out of range" in error:
        return "a number is beyond the range of a 64-bit float"
    if (at := _AT_BYTE.search(error)) and (
        token := _NOT_A_NUMBER.match(text, max(int(at[1]) - text[: int(at[1])].endswith(b"-"), 0))
    ):
        return f"{token[0].decode()} is not JSON (byte {at[1]}): write null or leave the row out"
    if "truncated" not in error:
        return error[0].lower() + error[1:] if not error.startswith("JSON") else error
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "the JSON is cut off before its end"
    return "a string holds half of a surrogate pair, which is no character"


def _repeated_key(text: bytes) -> str | None:
    """The first key that an object of `text` holds twice, None where there is none."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=note, parse_int=str, parse_float=str)
    return repeated[0] if repeated else None
