"""The dependency graph of a page, laid out from left to right; ``templates/parts.html`` draws it as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reconciler.renderers.escape import safe
from reconciler.renderers.view import View, address_parts

_NODES: Final = 60
_NODE_WIDTH: Final = 200
_NODE_HEIGHT: Final = 40
_GAP_X: Final = 54
_GAP_Y: Final = 14


class Box(NamedTuple):
    """One box: a block, or all blocks of a kind and action; on another page what ``block`` links to, or None."""

    kind: str
    name: str
    action: str
    block: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """Where everything is, in pixels: ``nodes`` with x and y, ``edges`` as x1, y1, x2, y2 and how far they bend."""

    width: int
    height: int
    nodes: list[tuple[Box, int, int]]
    edges: list[tuple[int, int, int, int, int]]
    grouped: bool
    node_size: tuple[int, int] = (_NODE_WIDTH, _NODE_HEIGHT)


def picture(seen: View) -> Picture | None:
    """The dependency graph: nodes are blocks, or kinds if there are too many blocks. None where nothing depends."""
    owner = {address: number for number, block in enumerate(seen.blocks) for address in block.addresses}
    edges = {
        (owner[need], number)
        for number, block in enumerate(seen.blocks)
        for change in block.changes
        for need in change.depends_on
        if need in owner and owner[need] != number
    }
    if not edges:
        return None
    connected = {number for edge in edges for number in edge}
    nodes: dict[int, Box] = {}
    for number in sorted(connected):
        block = seen.blocks[number]
        # without the zone of a record, which its name already contains
        name = "/".join(address_parts(block.addresses[0])[1 if block.kind == "dns_record" else 0 :])
        name = f"{block.count} resources" if block.folded else name
        nodes[number] = Box(block.kind, name, block.action, block)
    folded = len(connected) > _NODES
    if folded:
        groups: dict[tuple[str, str], int] = {}
        group_of = {
            n: groups.setdefault((seen.blocks[n].kind, seen.blocks[n].action), len(groups)) for n in sorted(connected)
        }
        counts = [0] * len(groups)
        for number, group in group_of.items():
            counts[group] += seen.blocks[number].count
        nodes = {g: Box(kind, f"{counts[g]} to {action}", action, None) for (kind, action), g in groups.items()}
        edges = {(group_of[a], group_of[b]) for a, b in edges if group_of[a] != group_of[b]}
    return laid_out(nodes, sorted(edges), folded)


def _layers(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Nodes by the longest path from a root. Groups may depend on each other in a cycle, which graphlib refuses: here
    the edge that closes the cycle is ignored."""
    needs: dict[int, list[int]] = {node: [] for node in nodes}
    for before, after in sorted(edges):
        needs[after].append(before)
    depth: dict[int, int] = {}
    for start in needs:
        stack, on_path = [start], {start}
        while stack:
            node = stack[-1]
            unvisited = [need for need in needs[node] if need not in depth and need not in on_path]
            if unvisited:
                stack.append(unvisited[0])
                on_path.add(unvisited[0])
                continue
            stack.pop()
            on_path.discard(node)
            depth.setdefault(node, 1 + max((depth.get(need, -1) for need in needs[node]), default=-1))
    layers: list[list[int]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in needs:
        layers[depth[node]].append(node)
    # each node near the middle of its needs: fewer edges cross
    for index in range(1, len(layers)):
        row = {node: number for layer in layers[:index] for number, node in enumerate(layer)}
        layers[index].sort(
            key=lambda node: (
                sum(row.get(need, 0) for need in needs[node]) / max(1, len(needs[node])),
                node,
            )
        )
    return layers


def laid_out(nodes: dict[int, Box], edges: list[tuple[int, int]], grouped: bool) -> Picture:
    """Boxes in columns from left to right, each to the right of those with an edge to it."""
    layers = _layers(nodes, edges)
    tallest = max(map(len, layers))
    height = tallest * (_NODE_HEIGHT + _GAP_Y) - _GAP_Y + 32
    width = len(layers) * (_NODE_WIDTH + _GAP_X) - _GAP_X + 32
    at: dict[int, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        top = 16 + (tallest - len(layer)) * (_NODE_HEIGHT + _GAP_Y) // 2
        for row, node in enumerate(layer):
            at[node] = (16 + column * (_NODE_WIDTH + _GAP_X), top + row * (_NODE_HEIGHT + _GAP_Y))
    lines = []
    for before, after in edges:
        x1, y1 = at[before][0] + _NODE_WIDTH, at[before][1] + _NODE_HEIGHT // 2
        x2, y2 = at[after][0] - 5, at[after][1] + _NODE_HEIGHT // 2
        lines.append((x1, y1, x2, y2, max(28, abs(x2 - x1) // 2)))
    return Picture(width, height, [(node, *at[number]) for number, node in nodes.items()], lines, grouped)


def short(text: str, limit: int = 24) -> str:
    """``text`` as it fits into a node."""
    shown = safe(text)
    if len(shown) <= limit:
        return shown
    return shown[: limit // 3] + "…" + shown[len(shown) - (limit - limit // 3 - 1) :]
