"""YAML files -> nodes with places. Everything hostile or sloppy ends in an error that says where and why.

The parser is libyaml's event stream: fast, no recursion in C (composing deeply nested input overflows the stack
there), and no constructors, so no tag can run code. Plain scalars follow YAML 1.1 where YAML 1.1 and 1.2 agree; where
they do not (``010``, ``12:30``), the value is ``AmbiguousScalar`` and refused. Dates stay the text that was written.
Sources: YAML 1.1 type repository (bool, int, float, null, merge), YAML 1.2.2 section 10.3 (core schema).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from reconciler.desired.nodes import SECRET, AmbiguousScalar, Node, Problems, clip, show
from reconciler.files import NotAFile, TooLarge, read_regular
from reconciler.masking import SHORTEST_SHAPE as SHORTEST_SECRET
from reconciler.masking import surely_secret

MAX_FILE: Final = 32 * 1024 * 1024
MAX_DEPTH: Final = 40
MAX_NODES: Final = 5_000_000
MAX_ALIASED: Final = 500_000
"""Nodes that aliases may add to one file: far above what people write, far below what a bomb needs."""
SUFFIXES: Final = (".yaml", ".yml")

_TRUE: Final = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NUMBER_START: Final = frozenset("0123456789+-.")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+][0-9]+)?|[-+]?(?:0|[1-9][0-9]*)\.(?:[eE][-+][0-9]+)?")
_ODD: Final = (
    (re.compile(r"[-+]?0[0-7_]*[0-7][0-7_]*"), "octal in YAML 1.1, decimal in YAML 1.2"),
    (re.compile(r"[-+]?0[0-9_]+"), "a number in YAML 1.2 (without its leading zeros), a text in YAML 1.1"),
    (re.compile(r"[-+]?0(?:x[0-9a-fA-F_]+|b[01_]+|o[0-7]+)"), "a number that is not decimal"),
    (re.compile(r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "a number of base 60 in YAML 1.1"),
    (re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?"), "a number in YAML 1.1, a text in YAML 1.2"),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+"), "a number in YAML 1.2, a text in YAML 1.1"),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), "infinity or not a number"),
    (re.compile(r"[-+]?0[0-9]+\.[0-9]*"), "a number without its leading zeros"),
)
_LONG_NUMBER: Final = 18

_STR_TAG: Final = "tag:yaml.org,2002:str"
_KNOWN_TAGS: Final = frozenset({_STR_TAG, "!"})
_PLAIN_TAGS: Final = {
    "tag:yaml.org,2002:map": "a map", "tag:yaml.org,2002:seq": "a list",
}  # fmt: skip


def scalar(text: str) -> Any:
    """What a plain scalar means: None, bool, int, float, ``AmbiguousScalar`` or the text itself."""
    if text in _NULL:
        return None
    if text[0] not in _NUMBER_START:
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        return text
    if _DECIMAL.fullmatch(text):
        if len(text) > _LONG_NUMBER:
            return AmbiguousScalar(text, "a number of more digits than tools agree about")
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) <= 2 * _LONG_NUMBER:
        return float(text)
    for pattern, reason in _ODD:
        if pattern.fullmatch(text):
            return AmbiguousScalar(text, reason)
    return text


def find_files(path: Path, problems: Problems) -> list[Path]:
    """The YAML files of a state: the file itself, or every one below a directory, sorted by path.

    Hidden files and directories are skipped, and links that lead out of the directory are with a warning, so that
    what is checked in is what is read.
    """
    name = str(path)
    try:
        if path.is_dir():
            found = sorted(_walk(path, problems))
            if not found:
                problems.add(
                    "error", "no-yaml-files", f"{name} holds no *.yaml or *.yml file",
                    "write one, or run `recon init` for a commented example", file=name,
                )  # fmt: skip
            return found
        if path.exists():
            if not path.is_file():
                problems.add(
                    "error",
                    "no-such-path",
                    f"{name} is neither a file nor a directory",
                    "name a directory or a file",
                    file=name,
                )
                return []
            return [path]
    except OSError as error:
        problems.add("error", "unreadable-file", f"{name} cannot be read: {error.strerror or error}",
                     "look at its permissions", file=name)  # fmt: skip
        return []
    except ValueError:
        problems.add("error", "no-such-path", f"{show(name)} is not a path", "name a directory or a file")
        return []
    problems.add(
        "error", "no-such-path", f"{name} does not exist",
        "name the directory or file of the desired state, or run `recon init` to make one", file=name,
    )  # fmt: skip
    return []


def _walk(root: Path, problems: Problems) -> Iterator[Path]:
    inside = root.resolve()

    def unreadable(error: OSError) -> None:
        place = str(error.filename or root)
        problems.add("error", "unreadable-file", f"{place} cannot be read: {error.strerror or error}",
                     "look at its permissions", file=place)  # fmt: skip

    for directory, below, files in os.walk(root, onerror=unreadable):
        here = Path(directory)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                continue
            file = here / name
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                problems.add(
                    "warning", "link-outside", f"{file} is a link that leads out of {root}; it is not read",
                    "put the file itself here", file=str(file),
                )  # fmt: skip
                continue
            yield file
        for name in below:
            if (here / name).is_symlink():
                problems.add(
                    "warning", "link-outside", f"{here / name} is a link to a directory; it is not read",
                    "put the files themselves here", file=str(here / name),
                )  # fmt: skip


def read_file(path: Path, problems: Problems) -> Node | None:
    """The top-level map of one file, or None after recording what is wrong (or that the file is empty)."""
    name = str(path)
    try:
        data = read_regular(path, name, MAX_FILE)
    except TooLarge:
        problems.add(
            "error", "file-too-large", f"{name} is larger than {MAX_FILE // 1024 // 1024} MB",
            "split it: all files of the directory are one state", file=name,
        )  # fmt: skip
        return None
    except NotAFile as error:
        problems.add("error", "unreadable-file", error.message, error.hint, file=name)
        return None
    except FileNotFoundError:
        problems.add("error", "no-such-path", f"{name} does not exist", "check its path", file=name)
        return None
    except OSError as error:
        problems.add("error", "unreadable-file", f"{name} cannot be read: {error.strerror or error}",
                     "look at its permissions", file=name)  # fmt: skip
        return None
    return read_bytes(data, name, problems)


def read_bytes(data: bytes, name: str, problems: Problems) -> Node | None:
    """Like ``read_file``, for content already in memory."""
    text = _decoded(data, name, problems)
    if text is None:
        return None
    if not text.strip():
        problems.add("warning", "empty-file", f"{name} is empty", file=name, line=1)
        return None
    before = problems.has_errors
    try:
        root = _Builder(text, name, problems).document()
    except yaml.MarkedYAMLError as error:
        _syntax_error(error, text, name, problems)
        return None
    except yaml.YAMLError as error:
        problems.add(
            "error", "yaml-syntax", f"not YAML: {_one_line(str(error))}", "write plain YAML", file=name, line=1
        )
        return None
    except _Stop:
        return None
    if root is None or root.value is None:
        if before == problems.has_errors:
            problems.add("warning", "empty-file", f"{name} holds nothing but comments", file=name, line=1)
        return None
    if type(root.value) is not dict:
        problems.error(
            "not-a-mapping", f"the file must be a map of sections; found {show(root.value)}",
            "begin with a section, such as `domains:`", at=root,
        )  # fmt: skip
        return None
    return root


def _decoded(data: bytes, name: str, problems: Problems) -> str | None:
    for bom, encoding in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32")):
        if data.startswith(bom):
            problems.add(
                "error", "wrong-encoding", f"the file is {encoding}, not UTF-8", "save it as UTF-8", file=name, line=1
            )
            return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        problems.add(
            "error", "wrong-encoding", f"the byte 0x{data[error.start]:02X} is not UTF-8", "save the file as UTF-8",
            file=name, line=line, column=column,
        )  # fmt: skip
        return None
    bad = _CONTROL.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        problems.add(
            "error", "control-character", f"the character U+{ord(bad.group()):04X} must not stand in a YAML file",
            "take it out; it is probably invisible in the editor", file=name, line=line, column=column,
        )  # fmt: skip
        return None
    return text


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_CONTROL_IN_VALUE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str, problems: Problems) -> None:
    """libyaml's complaint with its place, and for the usual causes what would be right."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.split("\n")
    here = lines[line - 1] if line <= len(lines) else ""
    what = _one_line(error.problem or "unreadable")
    code, hint = "yaml-syntax", "look at the indentation, the colons and the quotes of this line and the one above"
    indent = here[: len(here) - len(here.lstrip())]
    if "\t" in indent or "'\\t'" in what or "tab" in what:
        code, hint = "yaml-tab", "YAML is indented with spaces, never with tabs"
    elif "undefined alias" in what:
        hint = "define it with &name before it is used with *name"
    elif re.search(r"[\[{,:]\s*\$\{", here) and ("{" in here or "[" in here):
        hint = 'inside {...} or [...] a text with ${name} needs quotes: "${name}"'
    elif "mapping values are not allowed" in what:
        hint = "a text that holds `: ` needs quotes; or a key is indented too far"
    elif "could not find expected ':'" in what or "did not find expected key" in what:
        hint = "look at the indentation, and for a missing `:` or quote on this line or above it"
    elif "expected ',' or" in what:
        hint = "a bracket or brace is not closed, or a comma is missing"
    elif "cannot start any token" in what:
        hint = "put the text in quotes"
    problems.add("error", code, f"not YAML: {what}", hint, file=name, line=line, column=column)


def _height(node: Node) -> int:
    """How many levels a node holds below itself; bounded by ``MAX_DEPTH``, see ``_Builder``."""
    value = node.value
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return max((1 + _height(child) for child in inner), default=0)


HARMLESS: Final = frozenset(
    {
        *SECRET, "secretsmanager", "ssm", "file", "env", "region", "name", "kms_key_id", "include_secret_access_key",
        "max_age_days", "overlap_days", "max_hold_days", "true", "false", "null", "none", "yes", "no", "~",
    }
)  # fmt: skip
"""What belongs there, and words that are no secrets."""


_NO_SECRET: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d|\d{1,4}|[a-z][a-z_.-]*(?:/[a-z${}_.-]+)+")
"""A region, a number of days, the path of a secret in words: no key and no password has these forms."""


class _Stop(Exception):
    """Reading this file makes no sense any more; the reason is recorded."""


class _Builder:
    """Turns one file's events into nodes, with limits on depth, size and what aliases multiply."""

    def __init__(self, text: str, name: str, problems: Problems) -> None:
        self.events = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.name = name
        self.problems = problems
        self.anchors: dict[str, Node | None] = {}
        self.heights: dict[str, int] = {}
        self.nodes = 0
        self.aliased = 0
        self.secret = False
        """Whether what is read stands below a key of ``SECRET``."""

    def document(self) -> Node | None:
        """The root of the only document, None for an empty stream."""
        root: Node | None = None
        count = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count == 2:
                    self._problem(
                        "several-documents", "a second YAML document begins here; one file holds one", event,
                        "remove the `---`, or put the second part into a file of its own",
                    )  # fmt: skip
                    raise _Stop
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, 1, 0, 0)
        return root

    def _problem(self, code: str, message: str, event: Any, hint: str = "") -> None:
        mark = event.start_mark
        self.problems.add(
            "error", code, message, hint, file=self.name, line=mark.line + 1, column=mark.column + 1
        )  # fmt: skip

    def _hide(self, *texts: str | None) -> None:
        for text in texts:
            if text and text not in HARMLESS and not _NO_SECRET.fullmatch(text):
                self.problems.hidden |= {text, *(text.split("\n") if "\n" in text else ())}

    def _node(self, event: Any, depth: int, key_line: int, key_column: int) -> Node:
        if self.secret:
            tag = getattr(event, "tag", None) or ""
            self._hide(getattr(event, "value", None), event.anchor, tag, tag.lstrip("!"))
        kind = type(event)
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if kind is yaml.ScalarEvent:
            node = self._scalar(event, line, column, key_line, key_column)
            if event.anchor is not None:
                self._anchor(event.anchor, node)
            return node
        if kind is yaml.AliasEvent:
            return self._alias(event, depth, key_line, key_column)
        self._count(event)
        if depth > MAX_DEPTH:
            self._problem("too-deep", f"nested more than {MAX_DEPTH} levels deep", event, "no part of a state is")
            raise _Stop
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # open: an alias to it inside itself would never end
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            self._tag(event)
        node = Node(None, self.name, line, column, key_line, key_column)
        node.value = self._map(node, depth) if kind is yaml.MappingStartEvent else self._list(node, depth)
        if event.anchor is not None:
            self._anchor(event.anchor, node)
        return node

    def _anchor(self, name: str, node: Node) -> None:
        self.anchors[name] = node
        self.heights[name] = _height(node)

    def _count(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._problem("too-many-nodes", f"the file holds more than {MAX_NODES} values", event, "split it")
            raise _Stop

    def _tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._problem(
            "custom-tag", f"the tag {tag} is not understood; recon reads plain YAML only", event,
            "write the value without a tag; variables are ${name}",
        )  # fmt: skip

    def _controls(self, what: str, text: str, event: Any) -> bool:
        """Whether ``text`` holds a control character, after recording it."""
        bad = _CONTROL_IN_VALUE.search(text)
        if bad:
            self._problem(
                "control-character", f"the {what} holds the control character U+{ord(bad.group()):04X}", event,
                "take the escape sequence out of the quotes",
            )  # fmt: skip
        return bad is not None

    def _scalar(self, event: Any, line: int, column: int, key_line: int, key_column: int) -> Node:
        self._count(event)
        text: str = event.value
        if len(text) > SHORTEST_SECRET and not self.secret and surely_secret(text):
            self._problem(
                "secret-in-yaml", "this is shaped like a private key or a session token", event,
                "take it out and make a new one: whoever has read this file knows it",
            )  # fmt: skip
        if event.tag is None:
            if event.implicit[0]:
                value = scalar(text)
                raw = "" if value is text else text
                return Node(value, self.name, line, column, key_line, key_column, "", raw)
        elif event.tag not in _KNOWN_TAGS:
            self._tag(event)
        if not text.isprintable():
            self._controls("text", text, event)
        return Node(text, self.name, line, column, key_line, key_column)

    def _alias(self, event: Any, depth: int, key_line: int, key_column: int) -> Node:
        target = self.anchors.get(event.anchor, ...)
        if target is ...:
            self._problem(
                "yaml-syntax", f"the alias *{event.anchor} names nothing above it", event,
                f"define it with &{event.anchor} before it is used",
            )  # fmt: skip
            raise _Stop
        if target is None:
            self._problem("recursive-alias", f"*{event.anchor} is inside what it names, without end", event,
                          "take the alias out of its own anchor")  # fmt: skip
            raise _Stop
        assert isinstance(target, Node)
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            self._problem(
                "too-many-nodes", f"aliases multiply this file to more than {MAX_ALIASED} values", event,
                "use `defaults` or `classes` for what many entries share",
            )  # fmt: skip
            raise _Stop
        if depth + self.heights[event.anchor] > MAX_DEPTH:
            self._problem("too-deep", f"*{event.anchor} nests more than {MAX_DEPTH} levels deep here", event,
                          "no part of a state is")  # fmt: skip
            raise _Stop
        node = target.copy()
        node.key_line, node.key_column = key_line, key_column
        return node

    def _list(self, node: Node, depth: int) -> list[Node]:
        out: list[Node] = []
        size = 1
        for event in self.events:
            if type(event) is yaml.SequenceEndEvent:
                break
            item = self._node(event, depth + 1, 0, 0)
            size += item.size
            out.append(item)
        node.size = size
        return out

    def _map(self, node: Node, depth: int) -> dict[str, Node]:
        out: dict[str, Node] = {}
        merges: list[Node] = []
        size = 1
        events = self.events
        event: Any
        for event in events:
            kind = type(event)
            if kind is yaml.MappingEndEvent:
                break
            mark = event.start_mark
            line, column = mark.line + 1, mark.column + 1
            key = self._key(event, depth)
            above = self.secret
            if above:
                self._hide(getattr(event, "value", None), event.anchor)
            elif key is not None:
                self.problems.names.add(key)
            self.secret = above or key in SECRET
            value = self._node(next(events), depth + 1, line, column)
            self.secret = above
            size += value.size
            if key is None:
                continue
            if key == "<<" and kind is yaml.ScalarEvent and event.implicit[0]:
                merges.append(value)
                continue
            before = out.get(key)
            if before is not None:
                self._problem(
                    "duplicate-key", f"{show(key)} is in this map twice: also on line {before.key_line}", event,
                    "keep one of the two",
                )  # fmt: skip
                continue
            out[key] = value
        for value in merges:
            size += self._merge(out, value)
        node.size = size
        return out

    def _key(self, event: Any, depth: int) -> str | None:
        """The text of a map's key, None after recording that it is none."""
        if type(event) is yaml.ScalarEvent:
            if event.tag is not None and event.tag not in _KNOWN_TAGS:
                self._tag(event)
            key: str = event.value
            value = scalar(key) if event.implicit[0] and event.tag is None else key
            if value is key:
                return key if key.isprintable() or not self._controls("key", key, event) else None
            what = "null" if value is None else repr(value) if isinstance(value, AmbiguousScalar) else show(value)
            self._problem(
                "key-not-text", f"the key `{clip(key)}` is not a text: YAML reads it as {what}",
                event, f'put it in quotes: "{clip(key)}"',
            )  # fmt: skip
            return None
        node = self._node(event, depth + 1, 0, 0)
        if type(event) is yaml.AliasEvent and type(node.value) is str:
            return node.value
        self._problem("key-not-text", f"a key must be a text; found {show(node.value)}", event,
                      "write `key: value`; texts with ? or brackets in front need quotes")  # fmt: skip
        return None

    def _merge(self, out: dict[str, Node], value: Node) -> int:
        """Apply a merge key (``<<``): what the map says itself wins, earlier maps win over later ones."""
        size = 0
        for source in value.value if type(value.value) is list else [value]:
            if type(source.value) is not dict:
                self.problems.error(
                    "merge-key", f"<< takes a map or a list of maps; found {show(source.value)}",
                    "name an anchor of a map: `<<: *name`", at=source,
                )  # fmt: skip
                continue
            for key, child in source.value.items():
                if key not in out:
                    out[key] = child
                    size += child.size
        return size
