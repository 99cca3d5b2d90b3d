"""``${name}`` in texts: variables of the state, never of the process environment.

``$${`` means a literal ``${``. IAM's own policy variables (``${aws:username}``, ``${*}``) are left alone inside
policies and conditions (IAM User Guide, "Policy elements: Variables and tags").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from reconciler.desired.nodes import AmbiguousScalar, Node, clip, show
from reconciler.names import similar
from reconciler.regions import of_partition_of

BUILTIN: Final = ("account", "domain", "env", "partition", "region", "stack")
"""Always defined; no variable may take these names."""
MAX_NESTING: Final = 8
MAX_TEXT: Final = 65536
MAX_CHOICES: Final = 2000
"""Beyond this many names, looking for near misses takes longer than reading the state."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PIECE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_POLICY_VARIABLE = re.compile(r"[A-Za-z0-9]+:.*|[*?$]", re.DOTALL)


class BadVariable(ValueError):
    """A text that cannot be expanded: ``code`` and ``hint`` as in a diagnostic."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Variables:
    """The variables that hold at one place, by name; values are texts or what ``vars`` holds.

    ``used`` collects the names that were asked for, so that a caller knows what a result depends on. ``keep`` are
    names that stay as they are (``${region}`` in the name of a stored credential). ``failed`` is for callers: the keys
    of an entry below which a text could not be expanded.
    """

    __slots__ = ("_known", "failed", "keep", "used", "values")

    def __init__(self, values: Mapping[str, Any], keep: frozenset[str] = frozenset()) -> None:
        self.values = values
        self.keep = keep
        self.used: set[str] = set()
        self._known: dict[str, str] = {}
        self.failed: set[str] = set()

    def expand(self, text: str, *, policy: bool = False) -> str:
        """``text`` with every ``${name}`` replaced. Raises BadVariable.

        With ``policy`` IAM's own variables stay as they are.
        """
        return text if "${" not in text else self._expand(text, policy, ())

    def _expand(self, text: str, policy: bool, open_names: tuple[str, ...]) -> str:
        out: list[str] = []
        last = 0
        for piece in _PIECE.finditer(text):
            out.append(text[last : piece.start()])
            last = piece.end()
            if piece.group().startswith("$$"):
                out.append("${")
                continue
            name = piece.group(1)
            if policy and piece.group(2) and _POLICY_VARIABLE.fullmatch(name):
                out.append(piece.group())
                continue
            if not piece.group(2) or not _NAME.fullmatch(name):
                raise BadVariable(
                    "bad-variable", f"{show(piece.group())} is not a variable",
                    "write ${name}: letters, digits, _ and -; write $${ for a literal ${",
                )  # fmt: skip
            out.append(self._value(name, open_names))
        out.append(text[last:])
        result = "".join(out)
        if len(result) > MAX_TEXT:
            raise BadVariable(
                "bad-variable",
                f"the text grows beyond {MAX_TEXT} characters",
                "variables that hold variables multiply it",
            )
        return result

    def _value(self, name: str, open_names: tuple[str, ...]) -> str:
        if name in self.keep:
            return "${" + name + "}"
        known = self._known.get(name)
        if known is not None:
            return known
        self.used.add(name)
        if name not in self.values:
            raise BadVariable(
                "undefined-variable",
                f"the variable ${{{name}}} is not defined",
                _hint_of_variable(name, suggestion(name, self.values)),
            )
        value = self.values[name]
        text = variable_text(value)
        if "${" not in text:
            self._known[name] = text
            return text
        if name in open_names:
            circle = " -> ".join([*open_names[open_names.index(name) :], name])
            raise BadVariable(
                "variable-cycle",
                f"variables refer to each other in a circle: {circle}",
                "give one of them a text of its own",
            )
        if len(open_names) >= MAX_NESTING:
            raise BadVariable(
                "variable-cycle", f"${{{open_names[0]}}} refers to variables more than {MAX_NESTING} levels deep",
                "write some of them out",
            )  # fmt: skip
        self._known[name] = expanded = self._expand(text, False, (*open_names, name))
        return expanded


def _hint_of_variable(name: str, near: str) -> str:
    """A name in capitals is most likely one of the process environment, which is never read."""
    if name.isupper():
        return "variables of the process environment are not read: write it under `vars:` or `environments:`"
    return near


def variable_text(value: Any) -> str:
    """A variable's value as written in a text: true and false in YAML's spelling."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_SEARCHES: Final[ContextVar[list[str] | None]] = ContextVar("searches", default=None)
MAX_SEARCHES: Final = 1000
"""For so many names near misses are looked for in one reading of a state; no more findings are shown anyway."""


_PARTITION: Final[ContextVar[str]] = ContextVar("partition", default="aws")


@contextmanager
def searches(partition: str) -> Iterator[None]:
    """Within it, regions are suggested from ``partition``, and near misses are looked for at most ``MAX_SEARCHES``
    times: each takes a millisecond, and megabytes of unknown keys would take minutes."""
    tokens = _SEARCHES.set([]), _PARTITION.set(partition)
    try:
        yield
    finally:
        _SEARCHES.reset(tokens[0])
        _PARTITION.reset(tokens[1])


def suggestible(name: str, choices: Iterable[str]) -> list[str]:
    """``choices`` without regions of another partition than the state's, or than that which ``name`` begins with."""
    return of_partition_of(name, choices, _PARTITION.get())


def _near(name: str, choices: tuple[str, ...]) -> list[str]:
    done = _SEARCHES.get()
    if done is not None:
        if len(done) >= MAX_SEARCHES:
            return []
        done.append(name)
    return similar(name, choices, 2)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: near misses, else what there is."""
    choices = sorted(known)
    if len(choices) > MAX_CHOICES:
        return f"none of the {len(choices)} that there are has this name"
    near = _near(name, tuple(choices))
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if not choices:
        return "there is none yet"
    listed = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return f"there are: {listed}"


def bad_variables(node: Node) -> list[tuple[str, Node, str, str]]:
    """What is wrong with the ``vars`` of a layer: (code, node, message, hint), each with its place."""
    found: list[tuple[str, Node, str, str]] = []
    for name, value in node.children():
        if name in BUILTIN:
            found.append((
                "reserved-variable", value, f"the variable {name} is always defined and cannot be set",
                "choose another name",
            ))  # fmt: skip
        elif not _NAME.fullmatch(name):
            found.append(("bad-variable", value, f"{show(name)} is not a name for a variable",
                          "use letters, digits, _ and -, beginning with a letter"))  # fmt: skip
        elif isinstance(value.value, AmbiguousScalar):
            found.append(("ambiguous-scalar", value, f"`{clip(value.value.raw)}` is {value.value.reason}",
                          f'put it in quotes: "{value.value.raw}"'))  # fmt: skip
        elif not isinstance(value.value, str | int):
            hint = f'put it in quotes: "{value.raw}"' if value.raw else "write a text, a whole number, true or false"
            found.append(("wrong-type", value, f"the variable {name} is {show(value.value)}", hint))
    return found
