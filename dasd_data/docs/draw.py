"""The lineage as one picture: tables at the top, what reads them below."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dasd_data.docs.lineage import Lineage, Relation

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 160, 26, 20, 36, 10


def svg(lineage: Lineage, links: Mapping[str, str]) -> str:
    """An SVG element; `links` are the pages of the relations. What nothing reads is left out."""
    drawn = {
        name: relation
        for name, relation in lineage.relations.items()
        if relation.reads or lineage.readers(name)
    }
    layers = _ordered(drawn, _depths(drawn))
    widest = max(map(len, layers), default=0)
    places = {
        name: (
            _MARGIN + (2 * number + widest - len(names)) * (_WIDTH + _ACROSS) // 2,
            _MARGIN + depth * (_HEIGHT + _DOWN),
        )
        for depth, names in enumerate(layers)
        for number, name in enumerate(names)
    }
    width = 2 * _MARGIN + widest * (_WIDTH + _ACROSS) - _ACROSS
    height = 2 * _MARGIN + len(layers) * (_HEIGHT + _DOWN) - _DOWN
    edges = [
        _edge(places[read], places[name])
        for name, relation in drawn.items()
        for read in relation.reads
    ]
    boxes = [_box(relation, places[name], links[name]) for name, relation in drawn.items()]
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-label="What reads what" xmlns="http://www.w3.org/2000/svg">'
        + "".join([*edges, *boxes])
        + "</svg>"
    )


def _depths(relations: Mapping[str, Relation]) -> dict[str, int]:
    """How many steps each relation is from a table, at most."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max((depth(read) for read in relations[name].reads), default=-1)
        return depths[name]

    for name in relations:
        depth(name)
    return depths


def _ordered(relations: Mapping[str, Relation], depths: Mapping[str, int]) -> list[list[str]]:
    """Names by depth; within a depth near to what they read, so that few lines cross."""
    layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for name in relations:
        layers[depths[name]].append(name)
    places: dict[str, float] = {}
    for layer in layers:
        layer.sort(key=lambda name: (_mean([places[r] for r in relations[name].reads]), name))
        places |= {name: number - len(layer) / 2 for number, name in enumerate(layer)}
    return layers


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH // 2, start[1] + _HEIGHT
    x2, y2 = end[0] + _WIDTH // 2, end[1]
    middle = (y1 + y2) // 2
    return f'<path class="edge" d="M{x1},{y1} C{x1},{middle} {x2},{middle} {x2},{y2}"/>'


def _box(relation: Relation, place: tuple[int, int], link: str) -> str:
    x, y = place
    kind = relation.kind.replace(" ", "-")
    name = relation.name if len(relation.name) <= 22 else f"{relation.name[:21]}…"
    return (
        f'<a href="{escape(link)}"><title>{escape(relation.name)}</title>'
        f'<rect class="{kind}" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
        f'<text x="{x + _WIDTH // 2}" y="{y + _HEIGHT // 2 + 4}" text-anchor="middle">'
        f"{escape(name)}</text></a>"
    )
