"""The resources and their dependencies as Mermaid, DOT (both by a template) or plain text.

Sources: Mermaid documentation, "Flowcharts Syntax" (entity codes such as ``#quot;``); Graphviz, "The DOT Language".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from jinja2 import Environment, PackageLoader

from reconciler.errors import ReconError
from reconciler.renderers.escape import safe

GRAPH_FORMATS: Final = ("mermaid", "dot", "text")

# Characters that Mermaid's grammar, or the Markdown and HTML in a label, would interpret.
_MERMAID_SPECIAL: Final = frozenset('"#;&<>`|{}[]()\\*_~@%$')


def graph(nodes: Mapping[str, Sequence[str]], format: Literal["mermaid", "dot", "text"] | str) -> str:
    """A directed graph from each address to those that need it. Nodes are whole addresses, as `--target` expects them;
    ``text`` has one per line, followed by what it needs. Mermaid is of groups where it would be too large to be drawn.

    Args:   nodes maps an address to the addresses it needs; a need that is not a key is drawn dashed (it exists in
            AWS, or is missing). The output is sorted by address, whatever the order of the input.
    Raises: ReconError for an unknown format.
    """
    if format not in GRAPH_FORMATS:
        raise ReconError(f"unknown graph format {format!r}", hint=f"one of {', '.join(GRAPH_FORMATS)}")
    if format == "text":
        lines = [line for one in sorted(nodes) for line in (one, *(f"  needs {n}" for n in sorted(set(nodes[one]))))]
        return "".join(f"{safe(line)}\n" for line in lines)
    if format == "mermaid":
        nodes = _bounded(nodes)
    outside = sorted({need for needs in nodes.values() for need in needs} - nodes.keys())
    kinds: dict[str, list[str]] = {}
    for address in sorted(nodes):
        kinds.setdefault(address.partition("/")[0], []).append(address)
    templates = Environment(loader=PackageLoader("reconciler.renderers"), trim_blocks=True, keep_trailing_newline=True)
    templates.filters |= {"mermaid": _mermaid_text, "dot": _dot_text}
    return templates.get_template(f"graph.{format}").render(
        kinds=kinds.items(), outside=outside,
        number={address: f"n{index}" for index, address in enumerate([*sorted(nodes), *outside])},
        edges=sorted({(need, address) for address, needs in nodes.items() for need in needs}),
    )  # fmt: skip


_MOST_NODES: Final = 120
_MOST_EDGES: Final = 300
"""What a reader can follow. GitHub draws no diagram of more than 500 edges or 50,000 characters (Mermaid's defaults of
``maxEdges`` and ``maxTextSize``)."""


def _bounded(nodes: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """The graph itself, or where it is too large that of its kinds in each place (region, zone), or else of its kinds,
    each with how many it stands for: ``email_identity/us-east-1 (60)``."""
    for depth in (0, 2, 1):
        groups = {
            address: _group(address, depth) for address in {*nodes, *(n for some in nodes.values() for n in some)}
        }
        counts = Counter(groups[address] for address in nodes)
        names = {group: _group_name(group, counts[group]) if depth else group for group in groups.values()}
        found: dict[str, set[str]] = {}
        for address, needs in nodes.items():
            mine = found.setdefault(names[groups[address]], set())
            mine |= {names[groups[need]] for need in needs} - {names[groups[address]]}
        edges = sum(map(len, found.values()))
        if depth == 1 or (len(found) <= _MOST_NODES and edges <= _MOST_EDGES):
            break
    return {name: sorted(needs) for name, needs in found.items()}


def _group(address: str, depth: int) -> str:
    return "/".join(address.split("/")[:depth]) if depth else address


def _group_name(group: str, count: int) -> str:
    return f"{group} ({count or 'not declared'})"


def _mermaid_text(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in _MERMAID_SPECIAL else char for char in safe(text))


def _dot_text(text: str) -> str:
    return '"' + safe(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
