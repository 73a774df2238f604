"""dasd-data: a catalog of sampled responses, from which SQL views build distillation data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dasd_data.errors import DasdError

if TYPE_CHECKING:
    from dasd_data.catalog import Catalog, create, open

__version__ = "0.1.0"
__all__ = ["Catalog", "DasdError", "__version__", "create", "open"]


def __getattr__(name: str) -> Any:  # DuckDB and Delta load when a catalog is first opened
    if name in {"Catalog", "create", "open"}:
        from dasd_data import catalog

        return getattr(catalog, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
