"""The dependency graph of a page, drawn as SVG from left to right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from reconciler.model import SYMBOLS
from reconciler.renderers.escape import html_text as esc
from reconciler.renderers.escape import safe
from reconciler.renderers.view import View, address_parts

_NODES: Final = 60
_NODE_WIDTH: Final = 200
_NODE_HEIGHT: Final = 40
_GAP_X: Final = 54
_GAP_Y: Final = 14


def picture(seen: View, ids: Mapping[int, str]) -> list[str]:
    """The dependency graph: nodes are blocks, or kinds if there are too many blocks."""
    owner = {address: number for number, block in enumerate(seen.blocks) for address in block.addresses}
    edges = {
        (owner[need], number)
        for number, block in enumerate(seen.blocks)
        for change in block.changes
        for need in change.depends_on
        if need in owner and owner[need] != number
    }
    if not edges:
        return []
    connected = {number for edge in edges for number in edge}
    label: dict[int, tuple[str, str, str, str]] = {}
    for number in sorted(connected):
        block = seen.blocks[number]
        # without the zone of a record, which its name already contains
        name = "/".join(address_parts(block.addresses[0])[1 if block.kind == "dns_record" else 0 :])
        name = f"{block.count} resources" if block.folded else name
        label[number] = (block.kind, name, block.action, "#" + ids[id(block)])
    folded = len(connected) > _NODES
    if folded:
        groups: dict[tuple[str, str], int] = {}
        group_of = {
            n: groups.setdefault((seen.blocks[n].kind, seen.blocks[n].action), len(groups)) for n in sorted(connected)
        }
        counts = [0] * len(groups)
        for number, group in group_of.items():
            counts[group] += seen.blocks[number].count
        label = {group: (kind, f"{counts[group]} to {action}", action, "") for (kind, action), group in groups.items()}
        edges = {(group_of[a], group_of[b]) for a, b in edges if group_of[a] != group_of[b]}
    svg = _svg(label, edges)
    title = f"Dependencies<small>{len(label)}{' groups' if folded else ''}</small>"
    opened = " open" if len(label) <= 24 else ""
    return [
        f'<details class="more"{opened}><summary>{title}</summary>',
        f'<div class="picture" tabindex="0" role="group" aria-label="Dependency graph">{svg}</div></details>',
    ]


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


def _svg(label: Mapping[int, tuple[str, str, str, str]], edges: Iterable[tuple[int, int]]) -> str:
    edges = sorted(edges)
    layers = _layers(label, edges)
    tallest = max(map(len, layers))
    height = tallest * (_NODE_HEIGHT + _GAP_Y) - _GAP_Y + 32
    width = len(layers) * (_NODE_WIDTH + _GAP_X) - _GAP_X + 32
    at: dict[int, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        top = 16 + (tallest - len(layer)) * (_NODE_HEIGHT + _GAP_Y) // 2
        for row, node in enumerate(layer):
            at[node] = (16 + column * (_NODE_WIDTH + _GAP_X), top + row * (_NODE_HEIGHT + _GAP_Y))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    ]
    for before, after in edges:
        x1, y1 = at[before][0] + _NODE_WIDTH, at[before][1] + _NODE_HEIGHT // 2
        x2, y2 = at[after][0] - 5, at[after][1] + _NODE_HEIGHT // 2
        bend = max(28, abs(x2 - x1) // 2)
        parts.append(f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>')
        parts.append(f'<path class="edge" d="M{x2 + 4} {y2}l-6 -3.5v7z"/>')
    for node, (kind, name, action, link) in label.items():
        x, y = at[node]
        drawn = (
            f"<title>{esc(f'{action} {kind} {name}')}</title>"
            f'<rect class="box" x="{x}" y="{y}" width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="6"/>'
            f'<rect class="stripe" x="{x}" y="{y + 6}" width="3" height="{_NODE_HEIGHT - 12}" rx="1"/>'
            f'<svg x="{x}" y="{y}" width="{_NODE_WIDTH - 6}" height="{_NODE_HEIGHT}">'  # clips what is too wide
            f'<text class="kind" x="12" y="15">{SYMBOLS.get(action, "")} {esc(_short(kind))}</text>'
            f'<text x="12" y="31">{esc(_short(name))}</text></svg>'
        )
        drawn = f'<g class="{action}">{drawn}</g>'
        parts.append(f'<a href="{link}">{drawn}</a>' if link else drawn)
    return "".join([*parts, "</svg>"])


def _short(text: str, limit: int = 24) -> str:
    shown = safe(text)
    if len(shown) <= limit:
        return shown
    return shown[: limit // 3] + "…" + shown[len(shown) - (limit - limit // 3 - 1) :]
