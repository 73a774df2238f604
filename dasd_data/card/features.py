"""The types of a split's columns, as `datasets` writes them into a card."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_BY_NAME = {
    **{str(t): str(t) for t in (pa.bool_(), pa.null(), pa.string(), pa.binary())},
    **{f"{s}int{n}": f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)},
    "date32[day]": "date32",
    "float": "float32",
    "double": "float64",
    "halffloat": "float16",
}


def of_schema(schema: pa.Schema) -> list[dict[str, Any]] | None:
    """The `features` of a `dataset_info`; None where `datasets` has no name for a type."""
    try:
        return [_field(field) for field in schema]
    except LookupError:
        return None


def _field(field: pa.Field) -> dict[str, Any]:
    kind = _type(field.type)
    return {"name": field.name, **(kind if isinstance(kind, dict) else {"dtype": kind})}


def _type(kind: pa.DataType) -> str | dict[str, Any]:
    """A name, or what nests. Raises LookupError."""
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _type(kind.value_type)
        return {"list": inner.get("struct", inner) if isinstance(inner, dict) else inner}
    if pa.types.is_struct(kind):
        return {"struct": [_field(kind.field(i)) for i in range(kind.num_fields)]}
    if pa.types.is_timestamp(kind):
        zone = f", tz={kind.tz}" if kind.tz else ""
        return f"timestamp[{kind.unit}{zone}]"
    if pa.types.is_decimal128(kind):
        return f"decimal128({kind.precision}, {kind.scale})"
    return _BY_NAME[str(kind)]
