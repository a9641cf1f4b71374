"""A directed graph laid out in layers, for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_HEIGHT, _GAP, _ROW, _LETTER, _MOST_LETTERS = 30, 18, 74, 7.6, 24


class Node(NamedTuple):
    """A box: its text, middle and width."""

    name: str
    text: str
    x: float
    y: float
    width: float
    kind: str


class Edge(NamedTuple):
    """An arrow from the bottom of one box to the top of another."""

    x1: float
    y1: float
    x2: float
    y2: float


class GraphLayout(NamedTuple):
    """Boxes and arrows, and their extent."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


def lay_out_graph(
    edges: Sequence[tuple[str, str]], kinds: dict[str, str], most: int = 40
) -> GraphLayout | None:
    """Return a layout with each node below its parents; None without edges or for large graphs.

    ``edges``: from, to. ``kinds``: a word for each node. ``most``: larger graphs can't be read.
    """
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    if not names or len(names) > most:
        return None
    layers = _find_layers(names, edges)
    if layers is None:
        return None
    _sort_layers(layers, edges)
    widths = {name: _LETTER * min(len(name), _MOST_LETTERS) + 24 for name in names}
    totals = [sum(widths[n] for n in layer) + _GAP * (len(layer) - 1) for layer in layers]
    width = max(totals)
    nodes = {}
    for row, (layer, total) in enumerate(zip(layers, totals, strict=True)):
        x = (width - total) / 2
        for name in layer:
            short = name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 1]}…"
            middle = (x + widths[name] / 2, row * _ROW + _HEIGHT / 2 + 1)
            nodes[name] = Node(name, short, *middle, widths[name], kinds.get(name, "derived"))
            x += widths[name] + _GAP
    arrows = tuple(
        Edge(nodes[a].x, nodes[a].y + _HEIGHT / 2, nodes[b].x, nodes[b].y - _HEIGHT / 2)
        for a, b in edges
    )
    return GraphLayout(tuple(nodes.values()), arrows, width, _ROW * (len(layers) - 1) + _HEIGHT + 2)


def _find_layers(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]] | None:
    """Return the nodes by the length of the longest path to them; None if there is a cycle."""
    depth = dict.fromkeys(names, 0)
    for _ in names:  # as many rounds as the longest path can be
        for parent, child in edges:
            depth[child] = max(depth[child], depth[parent] + 1)
        if max(depth.values()) >= len(names):
            return None
    return [[n for n in names if depth[n] == row] for row in range(max(depth.values()) + 1)]


def _sort_layers(layers: list[list[str]], edges: Sequence[tuple[str, str]]) -> None:
    """Put each node near the middle of what it depends on, so that fewer arrows cross."""
    place = {name: i for layer in layers for i, name in enumerate(layer)}
    for layer in layers[1:]:
        parents = {name: [place[a] for a, b in edges if b == name] for name in layer}
        layer.sort(key=lambda name: sum(parents[name]) / max(1, len(parents[name])))
        place |= {name: i for i, name in enumerate(layer)}
