"""How what ranks responses is distributed, in the split and in the pool: a picture, or text."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

TITLES = {
    "teacher_share": "share of Teacher sentences",
    "mean_difference": "mean of p(teacher) - p(student) over the sentences",
}
WIDTH, BIN = 40, 0.05


def text(rows: Sequence[Row]) -> str:
    """A bar for each bin of 0.05, in per cent of the responses of split and of pool."""
    return "```\n" + "\n\n".join("\n".join(_bars(rows, m)) for m in _measures(rows)) + "\n```"


def _bars(rows: Sequence[Row], measure: str) -> Iterator[str]:
    yield f"{TITLES[measure]}: split █, pool ░"
    shares = _shares(rows, measure)
    most = max(value for _, *pair in shares for value in pair)
    for low, split, pool in shares:
        for of, value, mark in ((f"{low:6.2f}", split, "█"), (" " * 6, pool, "░")):
            yield f"{of} {mark * round(WIDTH * value / most):{WIDTH}} {value:6.1%}"


def available() -> bool:
    """Whether the extra that draws is installed."""
    return importlib.util.find_spec("vl_convert") is not None


def picture(rows: Sequence[Row], title: str) -> bytes:
    """A PNG with a panel for each measure. Needs the extra `report`."""
    import vl_convert

    panels = [_panel(rows, measure) for measure in _measures(rows)]
    png: bytes = vl_convert.vegalite_to_png({"title": title, "hconcat": panels}, scale=2)
    return png


def _panel(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """Vega-Lite: the shares of split and pool in each bin, one over the other."""
    values = [
        {"low": low, "high": round(low + BIN, 2), "zero": 0, "responses": share, "of": of}
        for low, split, pool in _shares(rows, measure)
        for of, share in (("split", split), ("pool", pool))
    ]
    y: dict[str, Any] = {"field": "responses", "type": "quantitative", "title": "responses"}
    y |= {"stack": None, "axis": {"format": "%"}}
    colours = {"domain": ["split", "pool"], "range": ["#1f5fa8", "#b8b8b8"]}
    return {
        "data": {"values": values},
        "mark": {"type": "bar", "opacity": 0.6},
        "width": 320,
        "height": 200,
        "encoding": {
            "x": {"field": "low", "type": "quantitative", "title": TITLES[measure]},
            "x2": {"field": "high"},
            "y": y,
            "y2": {"field": "zero"},
            "color": {"field": "of", "type": "nominal", "title": None, "scale": colours},
        },
    }


def _measures(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["measure"] for row in rows))


def _shares(rows: Sequence[Row], measure: str) -> list[tuple[float, float, float]]:
    """(start of a bin, share of the split in it, share of the pool), bins without gaps."""
    mine = {round(row["low"] / BIN): row for row in rows if row["measure"] == measure}
    split, pool = (max(1, sum(row[of] for row in mine.values())) for of in ("split", "pool"))
    nothing = {"split": 0, "pool": 0}
    bins = [(n, mine.get(n, nothing)) for n in range(min(mine), max(mine) + 1)]
    return [(round(n * BIN, 2), row["split"] / split, row["pool"] / pool) for n, row in bins]
