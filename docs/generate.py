"""Writes what these pages take from the code: ``make docs``. A test holds the pages up to date.

docs/yaml.md gets its tables from the schema, docs/permissions.md its policies from what the kinds say they call,
docs/performance.md the calls by attribute, docs/rules a page for each rule and the tables of its index. docs/codes.md
and reconciler/codes.json get the other codes that outputs print, from where the sources report them.
schemas/rules.schema.json gets the ids of the rules, and schemas/state.schema.json is the whole schema for editors.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler import codes, senders
from reconciler.desired import json_schema
from reconciler.desired.schema import definition, resolve
from reconciler.resources import KINDS, SECTIONS, children
from reconciler.smtp.lock import CALLS

DOCS = Path(__file__).parent
SCHEMAS = DOCS.parent / "schemas"
LOCK = DOCS.parent / "requirements.lock"
RULES = DOCS / "rules"

SECRETS = frozenset({"secretsmanager:GetSecretValue", "ssm:GetParameter"})
"""Reads of secrets: given apart, for single names."""

# --- yaml.md -------------------------------------------------------------------------------------------------------


def rows(name: str) -> Iterator[tuple[str, str, str]]:
    """(key, values, what it is) of every key of a section, nested keys dotted."""
    yield from _rows(resolve(definition(name)), "")


def _rows(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    apart = {"by_region", *(child.parent_key for child in KINDS.values())}
    for key, child in (node.get("properties") or {}).items():
        found = resolve(child)
        place = f"{path}{key}"
        nested = _object(found)
        yield place, values(found), str(child.get("description") or found.get("description") or "")
        if nested is not None and key not in apart:
            yield from _rows(nested, f"{place}.")


def _object(node: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The part of a node that has named keys of its own, if any."""
    for option in (node, *(node.get("anyOf") or ()), *(node.get("oneOf") or ())):
        found = resolve(option)
        if found.get("properties"):
            return found
    return None


def values(node: Mapping[str, Any]) -> str:
    """What may be written there, in words: the enum, or the type."""
    if "enum" in node:
        if {"us-east-1", "eu-west-1"} <= set(map(str, node["enum"])):
            return "region"
        if "AWS_SES_US_EAST_1" in node["enum"]:
            return "`AWS_SES`, `EXTERNAL`, `AWS_SES_US_EAST_1` and so on for each region"
        return ", ".join("null" if v is None else f"`{v}`" for v in node["enum"])
    options = node.get("anyOf") or node.get("oneOf")
    if options:
        words = [values(resolve(option)) for option in options]
        return " or ".join(dict.fromkeys(part for word in words for part in word.split(" or ") if part))
    kinds = node.get("type")
    names = {"object": "map", "array": "list", "string": "text", "boolean": "true, false", "integer": "whole number"}
    found = []
    for kind in [kinds] if isinstance(kinds, str) else kinds or []:
        word = names.get(kind, kind)
        if kind == "array" and "items" in node:
            item = values(resolve(node["items"]))
            plain = item in {"", "text"} or " or " in item
            word = "list" if plain else "list of regions" if item == "region" else f"list of {item}"
        found.append(word)
    return " or ".join(found)


def sections() -> Iterator[tuple[str, str, str]]:
    """(section, its entries, what it is), in the order of the page; what entries hold comes after them."""
    yield "stack", "stack", "Which stack this is, whose account it is in, and how careful to be."
    for name, (spec, section) in SECTIONS.items():
        yield name, section.entry, section.about
        for child in children(spec.name):
            if child.parent_key:
                yield child.parent_key, child.name, child.about


def yaml_tables() -> str:
    lines: list[str] = []
    for section, name, words in sections():
        lines += [f"## {section}", "", words, "", "| key | values | what it is |", "|---|---|---|"]
        for key, allowed, what in rows(name):
            lines.append(f"| `{key}` | {_cell(allowed)} | {_cell(what)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# --- permissions.md ------------------------------------------------------------------------------------------------


def action_of(call: str) -> str:
    """``sesv2:GetEmailIdentity`` -> ``ses:GetEmailIdentity``, the action that IAM checks."""
    from reconciler.aws import iam_action

    service, _, operation = call.partition(":")
    return iam_action(service, operation)


def calls() -> tuple[set[str], set[str]]:
    """What plan and what apply calls on top: the kinds', and what the rules, the sweep and the account guard read."""
    from reconciler.iam_policy import INCIDENT, OWN
    from reconciler.kinds import externals
    from reconciler.kinds.registry import REGISTRY
    from reconciler.rules.context import READS

    reads = {*READS, *externals.READS, *OWN, "sts:GetCallerIdentity"}
    writes: set[str] = set(INCIDENT)
    for kind in REGISTRY.values():
        reads |= set(kind.reads)
        writes |= set(kind.writes)
    return reads, writes - reads


def policy(actions: Iterable[str], statements: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """An IAM policy with one statement a service, and ``statements``."""
    by_service: dict[str, list[str]] = {}
    for action in sorted({action_of(a) for a in actions}):
        by_service.setdefault(action.partition(":")[0], []).append(action)
    made = [
        {"Sid": f"{s.capitalize()}", "Effect": "Allow", "Action": a, "Resource": "*"} for s, a in by_service.items()
    ]
    return {"Version": "2012-10-17", "Statement": [*made, *statements]}


def policies() -> dict[str, dict[str, Any]]:
    """The two policies: ``plan`` reads, ``apply`` reads and writes."""
    from reconciler.iam_policy import BOUNDED, RECORD_TYPES

    reads, writes = calls()
    keys = [
        {
            "Sid": "DkimKeys", "Effect": "Allow", "Action": sorted(SECRETS & {action_of(r) for r in reads}),
            "Resource": ["arn:aws:secretsmanager:*:*:secret:recon/dkim/*", "arn:aws:ssm:*:*:parameter/recon/dkim/*"],
        }
    ]  # fmt: skip
    apart = {"route53:ChangeResourceRecordSets", *BOUNDED}
    types = {"ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": [*RECORD_TYPES]}}
    limited = [
        {"Sid": "Records", "Effect": "Allow", "Action": ["route53:ChangeResourceRecordSets"], "Resource": "*",
         "Condition": types},
        {"Sid": "UserRights", "Effect": "Allow", "Action": sorted(BOUNDED), "Resource": "*"},
        *keys,
    ]  # fmt: skip
    return {
        "plan": policy(reads - SECRETS, keys), "apply": policy((reads | writes) - SECRETS - apart, limited),
        "senders": policy(senders.READS), "lock": policy(CALLS),
    }  # fmt: skip


def permission_table() -> str:
    from reconciler.kinds.registry import REGISTRY

    lines = ["| kind | plan reads | apply writes |", "|---|---|---|"]
    for kind in sorted(REGISTRY.values(), key=lambda k: k.name):
        cells = [
            "<br>".join(f"`{a}`" for a in sorted({action_of(c) for c in calls})) for calls in (kind.reads, kind.writes)
        ]
        lines.append(f"| {kind.name} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


# --- rules ---------------------------------------------------------------------------------------------------------


def rules_schema() -> str:
    """The schema of ``rules:``, with every id that there is."""
    from reconciler.rules import all_rules
    from reconciler.rules.registry import RENAMED

    titles = {name: one.title for name, one in sorted(all_rules().items())}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rules",
        "description": "Severity by rule id.",
        "type": "object",
        "properties": {
            name: {"title": title, "description": f"See docs/rules/{name}.md.", "$ref": "#/$defs/severity"}
            for name, title in titles.items()
        }
        | {
            old: {
                "title": titles[name],
                "description": f"Is {name} now; goes with the next release.",
                "$ref": "#/$defs/severity",
            }
            for old, name in RENAMED.items()
        },
        "additionalProperties": False,
        "$defs": {
            "severity": {
                "title": "Severity",
                "description": "error refuses the apply, warning and note are shown, off disables the rule.",
                "enum": ["error", "warning", "note", "off"],
            },
            "id": {"title": "Rule", "description": "The rule's id.", "enum": [*titles, *RENAMED]},
        },
    }
    return json.dumps(document, indent=2) + "\n"


def rule_pages() -> dict[Path, str]:
    """The page of each rule, and the index: its text above the tables is written by hand."""
    from reconciler.rules import all_rules
    from reconciler.rules.pages import index, page

    found = {RULES / f"{name}.md": page(one) for name, one in all_rules().items()}
    readme = RULES / "README.md"
    return {**found, readme: filled(readme.read_text(encoding="utf-8"), "tables of rules", index())}


# --- performance.md ------------------------------------------------------------------------------------------------


def read_calls_table() -> str:
    """Every attribute with the call that reads it, under either refresh."""
    from reconciler.kinds.registry import REGISTRY

    lines = ["| kind | attribute | `--refresh full` | `--refresh bulk` |", "|---|---|---|---|"]
    for kind in sorted(REGISTRY.values(), key=lambda k: k.name):
        bulk = kind.read_calls_bulk or kind.read_calls
        groups: dict[tuple[str, str], list[str]] = {}
        for attribute, call in kind.read_calls.items():
            groups.setdefault((call, bulk.get(attribute, "")), []).append(attribute)
        for (call, many), attributes in groups.items():
            shown = f"`{many.replace(':', ' ')}`" if many else "not read; named as unread"
            names = ", ".join(f"`{a}`" for a in attributes)
            lines.append(f"| {kind.name} | {names} | `{call.replace(':', ' ')}` | {shown} |")
    return "\n".join(lines)


# --- codes ---------------------------------------------------------------------------------------------------------

REPORTING = frozenset({
    "BadVariable", "Diagnostic", "NoZone", "Note", "Refusal", "SchemaProblem", "Skipped", "_moved_error", "_problem",
    "add", "error", "refuse", "reported", "say", "unread", "warn",
})  # fmt: skip
"""The functions and classes that take a code and, after it, the message."""
SEVERITIES = ("error", "warning", "note")
CODE = re.compile(r"(?:[a-z][a-z0-9]*|<\w+>)(?:-(?:[a-z0-9]+|<\w+>))*")
"""``<name>`` is a part that a variable says."""

Reported = tuple[str, str, str]
"""A code, the message that is printed with it, and the hint, as far as a source has them there."""


def codes_of_sources() -> dict[str, list[codes.Text]]:
    """Every code that outputs print in brackets and that is no rule, with the messages and hints of the sources."""
    from reconciler.rules import all_rules
    from reconciler.rules.registry import RENAMED

    found: dict[str, dict[tuple[str, str], None]] = {}
    for path in sorted((DOCS.parent / "reconciler").rglob("*.py")):
        if "sandbox" in path.as_posix() or path.name == "demo.py":
            continue
        module = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
        for scope in (module, *functions):
            texts = _assigned(scope) if scope is not module else {}
            for node in ast.walk(scope):
                for code, message, hint in _reported(node, texts):
                    found.setdefault(code, {})[message, hint] = None
    for ids in (all_rules(), RENAMED):
        for rule in ids:
            found.pop(rule, None)
    return {code: _distinct(list(found[code])) for code in sorted(found)}


def _distinct(texts: Iterable[tuple[str, str]]) -> list[codes.Text]:
    """Each message once, with a hint if there is one."""
    hints: dict[str, str] = {}
    for message, hint in texts:
        if message:
            hints[message] = hints.get(message) or hint
    return [codes.Text(message=message, hint=hint) for message, hint in hints.items()]


def _assigned(scope: ast.AST) -> dict[str, str]:
    """The texts that variables of a function have, of those that have one alone."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign | ast.AugAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found.setdefault(_name(target), set()).add(_text(node.value, {}))
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


def _reported(node: ast.AST, texts: Mapping[str, str]) -> Iterator[Reported]:
    if isinstance(node, ast.ClassDef):
        about = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
        for line in node.body:
            if isinstance(line, ast.Assign) and _name(line.targets[0]) == "code" and (code := _text(line.value, {})):
                yield code, about, ""
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
        if [_name(one) for one in node.targets[0].elts][:2] == ["code", "message"] and (
            code := _text(node.value.elts[0], {})
        ):
            yield code, _text(node.value.elts[1], {}), ""
    elif isinstance(node, ast.FunctionDef) and node.name.endswith("_code"):
        for line in ast.walk(node):
            for value in ast.walk(line) if isinstance(line, ast.Return) else ():
                if "-" in (code := _text(value, {})) and CODE.fullmatch(code):
                    yield code, "", ""
    elif isinstance(node, ast.Call) and _name(node.func) in REPORTING:
        yield from _called(node, texts)
    elif isinstance(node, ast.Call):
        given = {one.arg or "": _text(one.value, {}) for one in node.keywords}
        for argument, code in given.items():
            if argument.endswith("_code") and CODE.fullmatch(code):
                yield code, "", given.get(f"{argument.removesuffix('_code')}_hint", "")


def _called(call: ast.Call, texts: Mapping[str, str]) -> Iterator[Reported]:
    given = [argument for argument in call.args if _text(argument, {}) not in SEVERITIES]
    for number, argument in enumerate(given[:3]):
        code = _text(argument, {})
        if CODE.fullmatch(code) and ("-" in code or _name(call.func) in {"Diagnostic", "Note", "refuse", "say"}):
            message, hint = [*(_text(one, texts) for one in given[number + 1 : number + 3]), "", ""][:2]
            named = next((_text(one.value, texts) for one in call.keywords if one.arg == "hint"), "")
            yield code, message if " " in message else "", named or (hint if " " in hint else "")
            return


def _name(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def _text(node: ast.AST, texts: Mapping[str, str]) -> str:
    """A text of a source with each value that is put in as ``<name>``; empty for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.Name):
        return texts.get(node.id, "")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, texts) + _text(node.right, texts)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            f"<{_name(part.value) or '...'}>" if isinstance(part, ast.FormattedValue) else _text(part, texts)
            for part in node.values
        )
    return ""


def codes_page(every: Mapping[str, list[codes.Text]]) -> str:
    """docs/codes.md: every outcome and code, with what is printed."""
    lines = [CODES_INTRODUCTION, "## Outcomes", "", "| outcome | means |", "|---|---|"]
    lines += [f"| `{name}` | {words} |" for name, words in codes.OUTCOMES.items()]
    lines += ["", "## Codes", ""]
    for code, texts in every.items():
        lines += [f"### `{code}`", "", *codes.printed(code, texts), ""]
    return "\n".join(lines).rstrip() + "\n"


CODES_INTRODUCTION = """# Codes that are not rules

What recon prints ends with a code in brackets. Most are [rules](rules/README.md), which can be switched off and
waived. These are the others: errors of the YAML, refusals, notes of a plan, and statuses. `recon rule CODE` prints the
same. In the texts, `<name>` is a value of that run.
"""


# --- writing -------------------------------------------------------------------------------------------------------


def filled(text: str, name: str, content: str) -> str:
    """``text`` with what stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no place for {name}")
    return pattern.sub(lambda match: f"{match[1]}{content}{match[2]}", text)


def pages() -> dict[Path, str]:
    """Every generated page as it should be."""
    both, every = policies(), codes_of_sources()
    fenced = {name: f"```json\n{json.dumps(document, indent=2)}\n```" for name, document in both.items()}
    wanted = {
        DOCS / "yaml.md": {"tables from schemas": yaml_tables()},
        DOCS / "permissions.md": {
            "policy for plan": fenced["plan"],
            "policy for apply": fenced["apply"],
            "policy for senders": fenced["senders"],
            "policy for lock": fenced["lock"],
            "table of kinds": permission_table(),
        },
        DOCS / "performance.md": {"calls by attribute": read_calls_table()},
    }
    found = {
        SCHEMAS / "rules.schema.json": rules_schema(),
        # pipelines install from it what the wheel needs
        LOCK.parent / "reconciler" / "scaffold" / LOCK.name: LOCK.read_text(encoding="utf-8"),
        **rule_pages(),
        codes.FILE: json.dumps(every, indent=1, ensure_ascii=False) + "\n",
        DOCS / "codes.md": codes_page(every),
        SCHEMAS / "state.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
    }
    for path, parts in wanted.items():
        text = path.read_text(encoding="utf-8")
        for name, content in parts.items():
            text = filled(text, name, content)
        found[path] = text
    return found


def main() -> int:
    # The whole schema has the ids of the rules in it, and reads them from there.
    (SCHEMAS / "rules.schema.json").write_text(rules_schema(), encoding="utf-8")
    wanted = pages()
    for path in {*RULES.glob("*.md")} - {*wanted}:
        path.unlink()  # the page of a rule that is no longer there
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
