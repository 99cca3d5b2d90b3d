"""The house: nothing outside its folder names a plain kind, functions are short, and a class has a name of its own."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent / "reconciler"

PLAIN_KINDS = ("event_destination", "dedicated_ip_pool", "configuration_set", "contact_list", "email_template")

NAMED = {
    "desired/entries.py": 1,
    "desired/stack.py": 1,
    "iam_policy.py": 2,
    "regions.py": 2,
    "resources/configuration_set/__init__.py": 1,
    "resources/configuration_set/kind.py": 2,
    "resources/dns_record/__init__.py": 1,
    "resources/email_identity/__init__.py": 1,
    "resources/email_identity/headline.py": 4,
    "resources/event_destination/__init__.py": 2,
}
"""File -> how many of its lines name a plain kind that is not its own. Numbers may only become smaller.

What is left: examples in messages, phrases of the headline, and what a kind says of its own parent or references.
"""
MOST_NAMED = 18
"""What NAMED may allow in all, ever."""

LONG: dict[str, int] = {}
"""``FILE:FUNCTION`` -> its lines, of functions over 60 lines. Numbers may only become smaller."""
LONG_FROM, LONGEST = 60, 80

MAY_NAME = re.compile(
    r"(rules|doctor|message|policy_evaluation|scaffold|sandbox)/|(\w+/)?senders\b|demo\.py$|resources/\w+/(rules\b|sandbox\.py$)"
)
"""Who may name any kind: what it means for mail, its diagnosis, who may send through it, examples, and the AWS of the
tests."""

NAMES_NONE = ("planner.py", "steps.py", "refine.py", "running.py", "targets.py")

_WORDS = {
    kind: re.compile(rf"(?<![a-z]){'[ _-]?'.join(kind.split('_'))}s?(?![a-z])", re.IGNORECASE) for kind in PLAIN_KINDS
}
"""A kind in any spelling: ``contact_list``, ``ContactList``, "contact-list", "contact lists"."""


_WORDY = (tokenize.NAME, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))


parsed = functools.cache(ast.parse)
"""The tree of a module. Nothing changes it, so that it is parsed once for all tests."""


def sources() -> Iterator[tuple[str, str]]:
    for file in sorted(ROOT.rglob("*.py")):
        yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


def docstring_lines(text: str) -> set[int]:
    """The lines of docstrings, also those below attributes and constants."""
    found: set[int] = set()
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def naming_lines(file: str, text: str) -> set[int]:
    """The lines with a name or a text that names a plain kind other than the one in whose folder ``file`` is."""
    foreign = [pattern for kind, pattern in _WORDS.items() if f"/{kind}/" not in file]
    left_out = docstring_lines(text)
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _WORDY:
            for number, line in enumerate(token.string.split("\n"), token.start[0]):
                if number not in left_out and any(pattern.search(line) for pattern in foreign):
                    found.add(number)
    return found


def test_a_plain_kind_is_named_in_its_own_folder_alone() -> None:
    found = {file: n for file, text in sources() if not MAY_NAME.match(file) and (n := len(naming_lines(file, text)))}
    more = {file: n for file, n in found.items() if n > NAMED.get(file, 0)}
    assert not more, f"more lines than before name a plain kind; derive it from reconciler.resources: {more}"
    fewer = {file: found.get(file, 0) for file, n in NAMED.items() if found.get(file, 0) < n}
    assert not fewer, f"fewer lines name a plain kind than NAMED says; lower its numbers: {fewer}"
    assert sum(NAMED.values()) <= MOST_NAMED


def test_the_count_sees_every_spelling() -> None:
    text = (
        'a = "contact lists"\nCONTACT_LIST = 1\nclass ContactList: ...\nb = f"contact-list {a}"\n'
        '# contact_list\nc = "contacts"\n"""contact_list"""\n'
    )
    assert naming_lines("x.py", text) == {1, 2, 3, 4}
    assert naming_lines("resources/contact_list/kind.py", text) == set()


def test_the_engine_names_no_plain_kind() -> None:
    for file, text in sources():
        if file in NAMES_NONE or file.startswith("kinds/"):
            assert not naming_lines(file, text), f"{file} names a plain kind"


def test_functions_are_short() -> None:
    found = {
        f"{file}:{node.name}": lines
        for file, text in sources()
        for node in ast.walk(parsed(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONG_FROM
    }
    assert not {name: lines for name, lines in found.items() if lines > LONGEST}
    assert not {name: lines for name, lines in found.items() if lines > LONG.get(name, 0)}, f"over {LONG_FROM} lines"
    assert not {name for name in LONG if found.get(name, 0) < LONG[name]}, "shorter than LONG says; lower its numbers"


def type_names(text: str) -> Iterator[str]:
    """The classes of a module, and the aliases of types at its top level (``Check = Callable[...]``)."""
    tree = parsed(text)
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name) and not ast.unparse(node.value).startswith("TypeVar"):
                yield name


def test_a_class_has_a_name_of_its_own() -> None:
    """The sandbox is left out: it uses the words of AWS for what AWS has."""
    places: dict[str, list[str]] = defaultdict(list)
    for file, text in sources():
        if "sandbox" not in file:
            for name, times in Counter(type_names(text)).items():
                places[name] += [file] * times
    assert not {name: files for name, files in places.items() if len(files) > 1}
