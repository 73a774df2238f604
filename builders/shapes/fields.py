"""Values of a row, checked: text, numbers, domains, log-probs. Every refusal is a RowError."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.records import DOMAINS, MAX_LOGPROB
from builders.shapes.base import Context
from dasd_data.errors import RowError

MAX_TOKEN_ID = 2**31 - 1
WHOLE_BITS = {"seed": 64}  # how the catalog stores whole numbers: 32 bits but for these
VLLM_FLOOR = -9999.0

# Other spellings of the four domains that data sets use; compared in lower case with `_`.
DOMAIN_SYNONYMS = {
    "mathematics": "math",
    "maths": "math",
    "coding": "code",
    "programming": "code",
    "sciences": "science",
    "stem": "science",
    "instruction": "instruction_following",
    "instructions": "instruction_following",
}


def text(row: Mapping[str, Any], column: str) -> str:
    """The text of a column that must be there; it may be empty."""
    value = optional_text(row, column)
    if value is None:
        raise RowError(f"`{column}` is {'null' if column in row else 'missing'}")
    return value


def filled_text(row: Mapping[str, Any], column: str) -> str:
    """The text of a column that must hold more than white space."""
    value = text(row, column)
    if not value.strip():
        raise RowError(f"`{column}` is empty")
    return value


def optional_text(row: Mapping[str, Any], column: str) -> str | None:
    """The text of a column, None where it is null or missing."""
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise RowError(f"`{column}` is not text but {_kind(value)}")
    return value


def label(row: Mapping[str, Any], *columns: str) -> str | None:
    """The first of `columns` that is filled, a number as its digits: for keys and answers."""
    for column in columns:
        value = row.get(column)
        if isinstance(value, bool) or not isinstance(value, str | int | float | None):
            raise RowError(f"`{column}` is not text but {_kind(value)}")
        if value is not None and str(value).strip():
            return str(value)
    return None


def number(row: Mapping[str, Any], column: str) -> float | None:
    """A finite number, also spelled as text (CSV has nothing else), None where null or missing."""
    value = row.get(column)
    if value is None:
        return None
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise RowError(f"`{column}` is not a number: {shortened(value)}")
    return found


def whole(row: Mapping[str, Any], column: str) -> int | None:
    """A whole number that the catalog can hold, None where null or missing.

    Raises RowError for one that is not whole or not within 32 bits, a `seed` within 64, signed.
    """
    value = row.get(column)
    if not isinstance(value, int) or isinstance(value, bool):
        found = number(row, column)
        if found is None:
            return None
        if not found.is_integer():
            raise RowError(f"`{column}` is not a whole number: {found}")
        value = int(found)
    bits = WHOLE_BITS.get(column, 32)
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise RowError(f"`{column}` is not within {bits} bits, signed: {shortened(value)}")
    return value


def domain_of(value: Any, context: Context) -> str | None:
    """The domain that a row names, else the file's. An unknown name gives way to --domain."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return context.domain
    name = str(value).strip().lower().replace("-", "_").replace(" ", "_")
    name = DOMAIN_SYNONYMS.get(name, name)
    if name in DOMAINS:
        return name
    if context.domain:
        return context.domain
    raise RowError(
        f"domain {shortened(value)} is none of {', '.join(DOMAINS)}: rename it in the file, or "
        "give --domain for the rows whose domain is unknown"
    )


def integers(value: Any, column: str) -> NDArray[np.int32]:
    """A list of token ids: whole numbers from 0 to 2**31 - 1."""
    values = _list(value, column)
    try:
        array = np.asarray(values)
    except ValueError:  # lists in it
        raise RowError(f"`{column}` is not a list of token ids") from None
    if not len(array):
        return np.zeros(0, np.int32)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise RowError(f"`{column}` is not a list of token ids")
    if (most := int(array.max())) > MAX_TOKEN_ID:
        raise RowError(f"`{column}` has {most}, which is no token id: it is above {MAX_TOKEN_ID}")
    return array.astype(np.int32)


def logprobs(value: Any, column: str = "logprobs") -> NDArray[np.float32]:
    """Log-probabilities: finite, at most 1e-4, and what is above 0 becomes 0.

    Raises RowError for null, NaN and infinities, for -9999, which vLLM writes in place of minus
    infinity, and for anything above 1e-4.
    """
    values = _list(value, column)
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"`{column}` is not a list of numbers") from None
    if array.ndim != 1:
        raise RowError(f"`{column}` is not a list of numbers")
    if isinstance(values, list) and np.isnan(array).any() and None in values:
        raise RowError(f"`{column}`[{values.index(None)}] is not a log-probability: null")
    _refuse(array, ~np.isfinite(array), column, "not a log-probability: {}")
    _refuse(array, array == VLLM_FLOOR, column, "not a log-probability: {:g} (vLLM's floor)")
    _refuse(array, array < VLLM_FLOOR, column, "not a log-probability: {:g}")
    _refuse(array, array > MAX_LOGPROB, column, "above 0, so no log-probability: {:g}")
    return np.minimum(array, 0.0).astype(np.float32)


def shortened(value: Any) -> str:
    """A value as a reason shows it, whatever its length."""
    shown = repr(value[:60] if isinstance(value, str) else value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _refuse(array: Any, bad: Any, column: str, reason: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise RowError(f"`{column}`[{at}] is {reason.format(array[at])}")


def _list(value: Any, column: str) -> Any:
    if isinstance(value, str) and value.startswith("["):  # a cell of a CSV file
        try:
            value = json.loads(value)
        except ValueError:
            raise RowError(f"`{column}` is not a list") from None
    if isinstance(value, list) and bool in set(map(type, value)):  # NumPy takes it for 0 or 1
        at = next(i for i, item in enumerate(value) if isinstance(item, bool))
        raise RowError(f"`{column}`[{at}] is not a number but a truth value")
    if isinstance(value, list | np.ndarray):
        return value
    raise RowError(f"`{column}` is not a list but {_kind(value)}")


def _kind(value: Any) -> str:
    names = {list: "a list", dict: "an object", bool: "a truth value", np.ndarray: "a list"}
    names |= {int: "a number", float: "a number", str: "text", type(None): "null"}
    return names.get(type(value), type(value).__name__)
