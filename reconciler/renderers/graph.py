"""The resources and their dependencies as Mermaid, DOT or plain text.

Sources: Mermaid documentation, "Flowcharts Syntax" (entity codes such as ``#quot;``); Graphviz, "The DOT Language".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from reconciler.errors import ReconError
from reconciler.renderers.escape import safe

GRAPH_FORMATS: Final = ("mermaid", "dot", "text")

# Characters that Mermaid's grammar, or the Markdown and HTML in a label, would interpret.
_MERMAID_SPECIAL: Final = frozenset('"#;&<>`|{}[]()\\*_~@%$')


def graph(nodes: Mapping[str, Sequence[str]], format: Literal["mermaid", "dot", "text"] | str) -> str:
    """A directed graph from each address to those that need it. Nodes are whole addresses, as `--target` expects them;
    ``text`` has one per line, followed by what it needs.

    Args:   nodes maps an address to the addresses it needs; a need that is not a key is drawn dashed (it exists in
            AWS, or is missing). The output is sorted by address, whatever the order of the input.
    Raises: ReconError for an unknown format.
    """
    if format not in GRAPH_FORMATS:
        raise ReconError(f"unknown graph format {format!r}", hint=f"one of {', '.join(GRAPH_FORMATS)}")
    if format == "text":
        return "".join(f"{safe(line)}\n" for one in sorted(nodes) for line in _lines(one, nodes[one]))
    outside = sorted({need for needs in nodes.values() for need in needs} - nodes.keys())
    names = [*sorted(nodes), *outside]
    number = {address: f"n{index}" for index, address in enumerate(names)}
    edges = sorted({(need, address) for address, needs in nodes.items() for need in needs})
    draw = _mermaid if format == "mermaid" else _dot
    return draw(names, number, edges, frozenset(outside))


def _lines(address: str, needs: Sequence[str]) -> list[str]:
    return [address, *(f"  needs {need}" for need in sorted(set(needs)))]


def _kinds(names: Sequence[str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for address in names:
        kinds.setdefault(address.partition("/")[0], []).append(address)
    return kinds


def _mermaid_text(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in _MERMAID_SPECIAL else char for char in safe(text))


def _mermaid(
    names: Sequence[str], number: Mapping[str, str], edges: Sequence[tuple[str, str]], outside: frozenset[str]
) -> str:
    lines = ["flowchart LR"]
    for index, (kind, addresses) in enumerate(_kinds([name for name in names if name not in outside]).items()):
        lines.append(f'  subgraph k{index}["{_mermaid_text(kind)}"]')
        lines += [f'    {number[one]}["{_mermaid_text(one)}"]' for one in addresses]
        lines.append("  end")
    lines += [f'  {number[one]}["{_mermaid_text(one)}"]:::outside' for one in names if one in outside]
    lines += [f"  {number[before]} --> {number[after]}" for before, after in edges]
    if outside:
        lines.append("  classDef outside stroke-dasharray: 4 3")
    return "\n".join(lines) + "\n"


def _dot_text(text: str) -> str:
    return '"' + safe(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot(
    names: Sequence[str], number: Mapping[str, str], edges: Sequence[tuple[str, str]], outside: frozenset[str]
) -> str:
    lines = ["digraph recon {", "  rankdir=LR;", '  node [shape=box, style=rounded, fontname="Helvetica"];']
    for index, (kind, addresses) in enumerate(_kinds([name for name in names if name not in outside]).items()):
        lines += [f"  subgraph cluster_{index} {{", f"    label={_dot_text(kind)};"]
        lines += [f"    {number[one]} [label={_dot_text(one)}];" for one in addresses]
        lines.append("  }")
    lines += [f'  {number[one]} [label={_dot_text(one)}, style="rounded,dashed"];' for one in names if one in outside]
    lines += [f"  {number[before]} -> {number[after]};" for before, after in edges]
    return "\n".join([*lines, "}"]) + "\n"
