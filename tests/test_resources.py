"""Every kind, from its declaration and its cases: no test here names one, and a kind that is added needs no edit.

The laws of a case are listed in ``LAWS``; a case that cannot keep one says so under ``without``, with the reason.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from botocore.session import get_session
from cases_support import (
    ENTRY,
    Case,
    FieldCase,
    actions,
    all_cases,
    applied,
    begin,
    by_hand,
    cases_of,
    denied,
    differing,
    disown,
    others,
    retagged,
    tags_now,
    verify,
    without_tags,
)
from faults import ledger, matrix
from faults.scenarios import Scenario
from support import ACCOUNT, HOME, OTHER, House, merge, put, words
from test_iam_policy import unconditioned
from test_import import imported

from reconciler import iam_policy, regions, running
from reconciler.desired import json_schema, load
from reconciler.errors import Refused
from reconciler.iam_policy import policy
from reconciler.kinds.kind import BaseKind
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.spelling import camel
from reconciler.model import Change, Plan
from reconciler.planner import make_plan
from reconciler.resources import FOLDER, KINDS, children
from reconciler.resources.headlines import phrases_of
from reconciler.resources.spec import Field, KindSpec, PlainSpec
from reconciler.safeguards import check_safeguards

CASES = all_cases()
FIELDS = [(case, one) for case in CASES for one in case.fields]
LAWS = {
    "adopted", "by hand", "deleted", "denied", "field", "foreign owner", "imported", "member", "operation", "region",
    "released", "reset", "target", "together",
}  # fmt: skip
"""What ``without`` may name; a law of fields with the path of one behind it."""

every_kind = pytest.mark.parametrize("spec", KINDS.values(), ids=lambda spec: spec.name)
every_plain = pytest.mark.parametrize(
    "spec", [spec for spec in KINDS.values() if isinstance(spec, PlainSpec)], ids=lambda spec: spec.name
)
WHOLE = [case for case in CASES if not case.fields_only]
every_case = pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.id)
every_field = pytest.mark.parametrize(("case", "one"), FIELDS, ids=[f"{case.id}-{one.path}" for case, one in FIELDS])


@pytest.fixture(autouse=True)
def few_regions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep over all regions is tested elsewhere; here it finds what is in one that is not declared any more."""
    monkeypatch.setattr(regions, "SES_REGIONS", (HOME, OTHER))
    monkeypatch.setenv("RECON_NOW", matrix.NOW)


def excepted(case: Case, law: str, path: str = "") -> bool:
    """Whether the case says that it cannot keep a law, and why."""
    return law in case.without or f"{law} {path}" in case.without


def unless_excepted(case: Case, law: str, path: str = "") -> None:
    """End the test well where the case says, with a reason, that the law is not for it."""
    if excepted(case, law, path):
        pytest.skip(case.without.get(law) or case.without[f"{law} {path}"])


# --- the declaration ------------------------------------------------------------------------------------------------


@functools.cache
def shapes(service: str) -> Any:
    return get_session().get_service_model(service)


def input_of(call: str) -> Any:
    """The shape of what an operation takes. Fails where botocore does not know it."""
    service, _, operation = call.partition(":")
    assert operation in shapes(service).operation_names, f"botocore's model of {service} has no {operation}"
    return shapes(service).operation_model(operation).input_shape


def output_of(call: str) -> Any:
    input_of(call)
    service, _, operation = call.partition(":")
    return shapes(service).operation_model(operation).output_shape


def member(shape: Any, *path: str) -> Any:
    """The shape of a member; lists are walked through. Fails where there is none."""
    for name in path:
        while shape.type_name == "list":
            shape = shape.member
        assert shape.type_name == "structure", f"{shape.name} has no members, and so no {name}"
        assert name in shape.members, f"{shape.name} has no member {name}, only {', '.join(shape.members)}"
        shape = shape.members[name]
    return shape


def anywhere(shape: Any, name: str, seen: tuple[str, ...] = ()) -> bool:
    """Whether a shape has a member ``name``, at any depth."""
    if shape is None or shape.name in seen:
        return False
    inner = list(shape.members.values()) if shape.type_name == "structure" else []
    inner += [shape.member] if shape.type_name == "list" else []
    mine = shape.type_name == "structure" and name in shape.members
    return mine or any(anywhere(one, name, (*seen, shape.name)) for one in inner)


def leaves(defaults: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The paths of nested defaults, and the values there."""
    for key, value in defaults.items():
        if isinstance(value, Mapping):
            yield from (((key, *path), inner) for path, inner in leaves(value))
        else:
            yield (key,), value


@every_kind
def test_a_kind_has_cases(spec: KindSpec) -> None:
    whole = {case.place[0] for case in cases_of(spec.name) if not case.fields_only}
    assert whole, f"reconciler/resources/{spec.name} has no cases.yaml"
    assert whole >= {section.name for section in spec.sections}
    for case in cases_of(spec.name):
        for name, reason in {**case.without, **case.never_called, **case.may_be_denied}.items():
            assert len(str(reason)) > 20, f"{case.id}: {name} wants a reason"
        for name in case.without:
            law = next((law for law in LAWS if name == law or name.startswith(law + " ")), None)
            assert law, f"{case.id}: {name} is not a law"


def test_the_cases_keep_the_exceptions_that_they_need_and_no_others() -> None:
    """A path behind a law is a field of the case, or of the schema for ``field`` and of the SPEC for ``member``."""
    for case in CASES:
        paths = {one.path for one in case.fields}
        for name in case.without:
            law = next(law for law in LAWS if name == law or name.startswith(law + " "))
            path = name.removeprefix(law).strip()
            if law in {"by hand", "reset", "together"} and path:
                assert path in paths, f"{case.id}: {name}: {path} is not a field of the case"
            if law in {"member", "operation"}:
                assert isinstance(case.spec, PlainSpec)
            if law == "member":
                assert path in case.spec.all_fields, f"{case.id}: {name}"


@every_kind
def test_the_folder_is_whole(spec: KindSpec) -> None:
    folder = FOLDER / spec.name
    assert (folder / "__init__.py").is_file(), "a kind is named as its folder"
    kind = REGISTRY[spec.name]
    assert isinstance(kind, BaseKind)
    if (folder / "kind.py").is_file():
        assert kind.name == spec.name
        assert "KIND =" in (folder / "kind.py").read_text(encoding="utf-8")
    else:
        assert type(kind) is PlainKind
    entries = {section.entry for section in spec.sections} | ({spec.name} if spec.parent_key else set())
    assert {file.name.removesuffix(".schema.json") for file in folder.glob("*.schema.json")} == entries


@every_kind
def test_what_a_kind_names_is_there(spec: KindSpec) -> None:
    kinds = {*spec.with_kinds, *spec.read_with, *spec.follows, *spec.plans_after, *(r.kind for r in spec.references)}
    assert kinds <= KINDS.keys(), kinds - KINDS.keys()
    assert not spec.parent or spec.parent in KINDS
    assert not spec.parent_key or spec in children(spec.parent)
    for reference in spec.references:
        assert not reference.in_use or "{user}" in reference.in_use
        if isinstance(spec, PlainSpec):
            key, _, inner = reference.path.partition(".")
            assert key in spec.fields
            assert not inner or inner in {".".join(path) for path, _ in leaves(spec.fields[key].inner)}


@every_kind
def test_names_and_quotas(spec: KindSpec) -> None:
    assert spec.quota is None or spec.quota > 0
    assert bool(spec.pattern) == bool(spec.pattern_words)
    for case in cases_of(spec.name):
        name = case.place[-1]
        assert spec.named_badly(name) is False, f"the pattern does not take {name}"
        assert case.address.startswith(f"{spec.name}/")
        assert spec.pattern == "" or spec.named_badly("")


@every_kind
def test_phrases_have_both_forms(spec: KindSpec) -> None:
    for key, phrase in phrases_of(spec).items():
        assert "{n}" in phrase.one, key
        assert "{n}" in phrase.many, key
        assert phrase.one != phrase.many, key
        assert phrase.rank >= 0, key
    if isinstance(spec, PlainSpec):
        for path in spec.says.when:
            key, _, inner = path.partition(".")
            assert key in spec.fields, path
            assert not inner or (inner,) in dict(leaves(spec.fields[key].inner)), path


@every_kind
def test_every_operation_is_in_botocores_model(spec: KindSpec) -> None:
    kind = REGISTRY[spec.name]
    for call in {*kind.reads, *kind.writes, *kind.read_calls.values(), *(kind.read_calls_bulk or {}).values()}:
        input_of(call)
    told = {*kind.read_calls.values(), *(kind.read_calls_bulk or {}).values()}
    assert told <= {*kind.reads, *EVERYONE, *(r for held in KINDS for r in reads_shared_with(spec, held))}
    if spec.listed[0]:
        operation, rows, name = spec.listed
        item = member(output_of(f"{spec.client}:{operation}"), rows)
        assert item.type_name == "list"
        if name:
            member(item, name)
        for option in spec.list_options:
            member(input_of(f"{spec.client}:{operation}"), option)


EVERYONE = ("resourcegroupstaggingapi:GetResources",)
"""What the run reads for all kinds: the sweep."""


def reads_shared_with(spec: KindSpec, other: str) -> tuple[str, ...]:
    """The reads of the kind that this one is read with: a user, for its key."""
    return REGISTRY[other].reads if other in {spec.parent, *spec.with_kinds} else ()


@every_kind
def test_the_events_of_cloudtrail_are_operations_of_an_api(spec: KindSpec) -> None:
    known = {name for service in SERVICES for name in shapes(service).operation_names}
    named = {*spec.trail.made, *spec.trail.gone, *(e for events in spec.trail.fields.values() for e in events)}
    named |= {event for field in spec.all_fields.values() for event in field.events}
    assert named <= known, named - known


SERVICES = (
    "sesv2", "ses", "iam", "route53", "secretsmanager", "ssm",
    *(spec.service.client for spec in KINDS.values() if spec.service),
)  # fmt: skip


@every_plain
def test_every_member_of_a_plain_kind_is_in_botocores_model(spec: PlainSpec) -> None:
    """Keys, fields and puts as requests and answers have them; where a kind has steps of its own, at any depth."""
    kind = REGISTRY[spec.name]
    assert isinstance(kind, PlainKind)
    known = {name for case in cases_of(spec.name) for name in case.without}
    verbs = [] if spec.permanent else ["Create", "Delete", *(["Update"] if spec.updates else [])]
    for verb in verbs:
        if f"operation {verb}" not in known:
            member(input_of(spec.call(verb)), spec.key)
    own = type(kind).steps is not PlainKind.steps and type(kind).plan is not PlainKind.plan
    for key, one in spec.fields.items():
        if one.set_of or one.sets:
            sets = [key] if one.set_of else [f"{key}.{inner}" for inner in one.sets]
            said = {f.path for case in cases_of(spec.name) for f in case.fields if f.same}
            assert said.issuperset(sets), f"no case says {', '.join(sets)} in another order"
        if f"member {key}" in known:
            continue
        if one.put:
            put_members(one, key, spec.client)
        for verb in verbs[::2] if not one.put else ():
            if one.after_create and verb == "Create":
                continue
            shape = input_of(spec.call(verb))
            if own:
                assert anywhere(shape, camel(key)), f"{spec.call(verb)} has no member {camel(key)}"
            else:
                members_of(member(shape, *filter(None, (one.within, camel(key)))), one)
        for call in {kind.read_calls[key]}:
            read_members(spec, call, key, one)


@every_plain
def test_tags_are_read_where_aws_says_them(spec: PlainSpec) -> None:
    """``tags_in_get`` as botocore's model has it: a kind whose tags are not read looks foreign for ever."""
    if not spec.taggable:
        return
    service, operation = spec.call("Get").split(":")
    answer: Any = shapes(service).operation_model(operation).output_shape
    body = answer.members[spec.answer] if spec.answer else answer
    body = body.member if body.type_name == "list" else body
    assert ("Tags" in body.members) == spec.tags_in_get, f"{spec.call('Get')}: tags_in_get is wrong"


def put_members(one: Field, key: str, client: str) -> None:
    shape = input_of(f"{client}:{one.put}")
    if one.wraps:
        shape = member(shape, one.wraps)
    if one.inner:
        members_of(shape, one)
    else:
        member(shape, camel(key))


def members_of(shape: Any, one: Field) -> None:
    """The parts of a field, with their defaults, in the shape of its value."""
    for path, default in leaves(one.inner):
        found = member(shape, *map(camel, path))
        assert default is None or not getattr(found, "enum", None) or default in found.enum
    if one.keyed:
        member(shape, one.keyed)
        for path, _ in leaves(one.members):
            member(shape, *map(camel, path))
    if isinstance(one.default, str) and getattr(shape, "enum", None):
        assert one.default in shape.enum


def read_members(spec: PlainSpec, call: str, key: str, one: Field) -> None:
    shape = output_of(call)
    if call != spec.call("Get"):
        assert anywhere(shape, camel(key)) or one.read, f"{call} answers without {camel(key)}"
        return
    if spec.answer:
        shape = member(shape, spec.answer)
    members_of(member(shape, *filter(None, (one.within, camel(key)))), one)


def properties(entry: str) -> dict[str, Any]:
    schema: dict[str, Any] = json_schema()["$defs"][entry]["properties"]
    return schema


def entries_of(spec: KindSpec) -> list[str]:
    return [section.entry for section in spec.sections] or ([spec.name] if spec.parent_key else [])


@every_plain
def test_the_schema_has_the_fields_of_the_declaration(spec: PlainSpec) -> None:
    (entry,) = entries_of(spec)
    own = json.loads((FOLDER / spec.name / f"{entry}.schema.json").read_text(encoding="utf-8"))
    declared = {key for key, one in spec.fields.items() if one.declared} | {*spec.no_fields}
    assert own["properties"].keys() == declared
    for key, one in spec.fields.items():
        if one.inner:
            for path, _ in leaves(one.inner):
                part = own["properties"][key]
                for name in path:
                    part = part["properties"][name]
        if one.keyed:
            items = own["properties"][key]
            (item,) = items.get("patternProperties", {"": items["additionalProperties"]}).values()
            assert item["properties"].keys() == {*one.members, *one.needed}


@every_plain
def test_every_default_fits_the_schema(spec: PlainSpec) -> None:
    from jsonschema import Draft202012Validator

    (entry,) = entries_of(spec)
    whole = json_schema()
    for key, one in spec.fields.items():
        if not one.declared:
            continue
        value = one.inner or (one.default if one.ours is None else one.ours)
        value = list(value) if isinstance(value, tuple) else value
        for default in [value] if value else []:  # empty and null say that AWS has nothing there
            check = Draft202012Validator({"$defs": whole["$defs"], **properties(entry)[key]})
            wrong = [e.message for e in check.iter_errors(without_nothing(default))]
            assert not wrong, f"{key}: {wrong}"


def without_nothing(value: Any) -> Any:
    """Without the defaults that say that AWS has nothing there."""
    if not isinstance(value, dict):
        return value
    return {k: without_nothing(v) for k, v in value.items() if v is not None}


@every_kind
def test_the_pages_and_the_schema_for_editors_know_the_kind(spec: KindSpec) -> None:
    text = (FOLDER.parents[1] / "docs" / "yaml.md").read_text(encoding="utf-8")
    schema = json_schema()
    for section in spec.sections:
        assert section.name in schema["properties"]
        assert f"## {section.name}" in text
        assert section.about in text
    if spec.parent_key:
        assert f"## {spec.parent_key}" in text
        assert spec.parent_key in properties(KINDS[spec.parent].sections[0].entry)
    performance = (FOLDER.parents[1] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert spec.words.lower() in (text + performance).lower() or spec.name in text + performance


@every_kind
def test_every_call_in_the_folder_is_declared(spec: KindSpec) -> None:
    kind = REGISTRY[spec.name]
    shared = {call for other in KINDS for call in reads_shared_with(spec, other)}
    found = {call for file in sorted((FOLDER / spec.name).glob("*.py")) for call in calls_in(file.read_text(), spec)}
    undeclared = found - {*kind.reads, *kind.writes, *EVERYONE, *shared}
    assert not undeclared, f"reads and writes leave out {', '.join(sorted(undeclared))}"


CALLING = ("call", "call_if_there", "pages")
"""The methods of Aws that make a call: service, operation, and more."""


def calls_in(source: str, spec: KindSpec) -> Iterator[str]:
    """``service:Operation`` of each call of AWS in a module whose operation is written there."""
    tree = ast.parse(source)
    texts = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLING:
            found = [text_in(one, texts, spec) for one in node.args[:2]]
            if len(found) == 2 and all(found):
                yield ":".join(found)


def text_in(node: ast.expr, texts: Mapping[str, Any], spec: KindSpec) -> str:
    """What an expression says where that can be seen; empty where not."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return str(texts.get(node.id, ""))
    if isinstance(node, ast.FormattedValue):
        operations = isinstance(node.value, ast.Attribute) and node.value.attr == "operations"
        return spec.operations if operations and isinstance(spec, PlainSpec) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [text_in(one, texts, spec) for one in node.values]
        return "".join(parts) if all(parts) else ""
    return ""


@every_kind
def test_every_key_of_the_yaml_has_a_case(spec: KindSpec) -> None:
    """A key of an entry that no case changes is a key of which nothing is known."""
    for case in cases_of(spec.name):
        entry = next((s.entry for s in spec.sections if s.name == case.place[0]), spec.name)
        if entry not in json_schema()["$defs"]:
            continue  # derived: its fields are keys of the entries of others
        changed = [one.path for other in CASES if other.place[0] == case.place[0] for one in other.fields]
        envelope = {
            "class",
            "vars",
            "regions",
            "by_region",
            "unmanaged",
            "protect",
            *(c.parent_key for c in children(spec.name)),
            *(held.key for held in spec.holds),
        }
        missing = []
        for key in properties(entry).keys() - envelope:
            inner = [".".join((key, *path)) for path, _ in leaves(getattr(spec.all_fields.get(key), "inner", {}))]
            for path in inner or [key]:
                known = any(c == path or c.startswith(path + ".") or path.startswith(c + ".") for c in changed)
                if not known and not excepted(case, "field", path):
                    missing.append(path)
        assert not missing, f"{case.id}: no case changes {', '.join(sorted(missing))}"


# --- a life ---------------------------------------------------------------------------------------------------------


def nothing_left(house: House, document: Mapping[str, Any] | None = None) -> None:
    """The plan is empty, and nothing is wrong."""
    plan = house.plan(document)
    assert not plan.changes, "\n".join(["the plan is not empty:", *map(words, plan.changes)])
    wrong = [d.message for d in plan.diagnostics if d.severity == "error"]
    assert not wrong, wrong


def change_of(plan: Plan, address: str) -> Change:
    found = {change.address: change for change in plan.changes}
    assert address in found, f"no change of {address}: {[words(c) for c in plan.changes]} {plan.diagnostics}"
    return found[address]


def now(house: House, known: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    return ledger.of(house.sandbox, known)


def same(expected: Mapping[str, Any], got: Mapping[str, Any], what: str) -> None:
    lost = ledger.difference(dict(expected), dict(got))
    assert not lost, f"{what}:\n{lost}"


def concerns(change: Change, case: Case, one: FieldCase) -> bool:
    """Whether the diff of a change shows the field; one that is derived shows it under names of its own."""
    apart = isinstance(case.spec, PlainSpec) and one.path in case.spec.no_fields
    if one.path == ENTRY or apart or not (case.spec.sections or case.spec.parent_key):
        return bool(change.diff)
    paths = [d.path for d in change.diff]
    return any(p == one.path or p.startswith(one.path + ".") or one.path.startswith(p + ".") for p in paths)


@every_case
def test_created_and_then_there_is_nothing_to_do(house: House, case: Case) -> None:
    """The smallest entry, and one with every field, each at once and in one go."""
    begin(house, case, case.gone)
    done = applied(house, case.with_entry({}))
    begun = "update" if case.permanent else "create"
    assert change_of(done.plan, case.address).action == begun
    nothing_left(house)
    begin(house, case, case.gone)
    done = applied(house, case.whole("a"))
    assert change_of(done.plan, case.address).action == begun
    nothing_left(house)
    at_once = now(house)
    plan = house.plan(case.kept())
    assert not plan.changes, "\n".join(["taken out, a field stays as it is:", *map(words, plan.changes)])
    begin(house, case, case.with_entry({}))
    applied(house, case.whole("a"))
    if not excepted(case, "together"):
        same(without_tags(at_once), without_tags(now(house)), "created with all fields, and changed to them")


@every_field
def test_a_field_changes_is_reset_and_stays_where_it_was(house: House, case: Case, one: FieldCase) -> None:
    begin(house, case, case.without_field(one))
    usual = now(house)
    known = ledger.key_ids(house.sandbox)
    document = case.with_field(one, one.a)
    applied(house, document)
    if one.apart:  # the others are looked at together
        nothing_left(house)
    for spelling in one.same:
        nothing_left(house, case.with_field(one, spelling))
    known |= ledger.key_ids(house.sandbox)
    first, tags, world = now(house, known), tags_now(house), ledger.take(house.sandbox)

    # another value
    house.sandbox.advance(3600 * one.hours)
    done = applied(house, case.with_field(one, one.b))
    change = change_of(done.plan, one.address)
    assert change.action == one.change, words(change)
    assert concerns(change, case, one), words(change)
    nothing_left(house)
    assert differing(first, now(house, known)) == one.live
    changed = ledger.take(house.sandbox)

    # the same, by hand
    if not excepted(case, "by hand", one.path):
        by_hand(house, tags)
        house.sandbox.advance(3600 * one.hours)
        done = applied(house, document)
        assert concerns(change_of(done.plan, one.address), case, one), "drift is not seen"
        same(first, now(house, known), "drift is healed")

    if one.path == ENTRY:
        return
    # taken out of the YAML; those that stay are looked at together
    named = one.reset if isinstance(one.reset, Mapping) else {}
    if one.out == "never":
        never(house, case.without_field(one), case.address)
    elif one.out != "kept":
        ledger.restore(house.sandbox, world)
        house.sandbox.advance(3600 * one.hours)
        applied(house, case.without_field(one))
        nothing_left(house)
        if one.out == "deleted":
            found = as_usual(without_tags(now(house)), usual, named)
            same(without_tags(usual), found, "taken out is as if it had never been there")

    # null
    ledger.restore(house.sandbox, changed)
    house.sandbox.advance(3600 * one.hours)
    house.write(case.with_field(one, None))
    if one.reset == "refused":
        assert not valid(house)
    elif one.reset == "never":
        never(house, case.with_field(one, None), case.address)
    elif not excepted(case, "reset", one.path):
        applied(house)
        nothing_left(house)
        found = as_usual(without_tags(now(house)), usual, named)
        same(without_tags(usual), found, "null gives what AWS has where nobody says anything")


def never(house: House, document: Mapping[str, Any], address: str) -> None:
    """The plan shows what the document asks for as a refused difference, and apply writes nothing."""
    before = now(house)
    plan = house.plan(document)
    assert change_of(plan, address).refused
    assert plan.outcome == "refused"
    with pytest.raises(Refused):
        house.apply()
    same(before, now(house), "nothing was written")


def as_usual(found: dict[str, Any], usual: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """A ledger in which the members that a case names, with the values that it names, are those of ``usual``."""
    for name, item in found.items():
        for key, value in named.items():
            if item.get(key) == value:
                found[name] = {k: v for k, v in item.items() if k != key}
                if key in usual[name]:
                    found[name][key] = usual[name][key]
    return found


def valid(house: House) -> bool:
    from reconciler.errors import ReconError

    try:
        return bool(load(house.home / "state.yaml", None))
    except ReconError:
        return False


@every_case
def test_what_is_refused(house: House, case: Case) -> None:
    for wrong in case.refused:
        holder = case.place if case.spec.item_key else case.place[:-1] or case.place
        house.write(put(case.world, holder, wrong["is"]))
        ran = house.cli("validate", "state.yaml")
        assert ran.code == 1, wrong
        assert f"[{wrong['says']}]" in ran.err, ran


@every_case
def test_adopted_with_leave_and_only_tagged(house: House, case: Case) -> None:
    unless_excepted(case, "adopted")
    begin(house, case, case.whole("a"))
    before = now(house)
    disown(house)
    planned = house.make()
    change = change_of(planned.plan, case.address)
    assert change.action == "adopt", words(change)
    assert all(d.path.startswith("tags.recon:") for d in change.diff), words(change)
    with pytest.raises(Refused) as refused:
        check_safeguards(planned.plan)
    assert "adopt" in {d.code for d in refused.value.diagnostics}
    applied(house)
    nothing_left(house)
    same(without_tags(before), without_tags(now(house)), "adopting changes tags, and nothing else")


@every_case
@pytest.mark.parametrize("tag", ["recon:stack", "aws:cloudformation:stack-name"])
def test_what_others_own_is_refused(house: House, case: Case, tag: str) -> None:
    unless_excepted(case, "foreign owner")
    begin(house, case, case.with_entry({}))
    disown(house)
    retagged(house, lambda name, tags: {**tags, tag: "other"} if name.endswith(" " + case.place[-1]) else tags)
    before = now(house)
    plan = house.plan(case.whole("a"))
    change = change_of(plan, case.address)
    assert change.action == "adopt"
    assert change.refused is not None
    assert change.refused.code == "owned-elsewhere"
    assert (case.address, "owned-elsewhere") in {(d.address, d.code) for d in plan.diagnostics}
    with pytest.raises(Refused):
        house.apply()
    plan = house.plan(case.gone)
    assert case.address not in {change.address for change in plan.changes}
    same(before, now(house), "nothing of others was touched")


@every_case
def test_a_denied_read_is_unread_and_nothing_is_planned_for_it(house: House, case: Case) -> None:
    unless_excepted(case, "denied")
    begin(house, case, case.whole("a"))
    house.write(case.with_entry({}))
    house.plan()
    called = {*house.calls()}
    reads = [call for call in REGISTRY[case.spec.name].reads if call in called]
    assert reads, "nothing is read"
    house.write(case.whole("b"))
    for call in reads:
        if call in case.may_be_denied:
            continue
        with denied(house, call):
            ran = house.cli("plan", "state.yaml", "--format", "json")
        assert ran.code == 1, f"{call}: {ran}"
        assert ran.json["unread"], call
        assert case.address not in {change["address"] for change in ran.json["changes"]}, call
    for call in case.may_be_denied:
        with denied(house, call):
            assert change_of(house.plan(), case.address), call


@every_case
def test_taken_out_of_the_yaml_it_is_deleted(house: House, case: Case) -> None:
    begin(house, case, case.gone)
    nothing = now(house)
    begin(house, case, case.whole("a"))
    if case.permanent:
        nothing_left(house, case.gone)
        return
    planned = house.make(case.gone)
    change = change_of(planned.plan, case.address)
    assert change.action == "delete", words(change)
    assert change.counts is case.spec.counts_deletes
    counted = [c for c in planned.plan.changes if c.action == "delete" and c.counts]
    if counted:
        with pytest.raises(Refused) as refused:
            check_safeguards(planned.plan, max_deletes=len(counted) - 1)
        assert "max-deletes" in {d.code for d in refused.value.diagnostics}
    check_safeguards(planned.plan, max_deletes=len(counted))
    applied(house)
    nothing_left(house)
    if not excepted(case, "deleted"):
        same(nothing, now(house), "nothing is left")


@every_case
def test_let_go_it_stays_and_is_nobodys(house: House, case: Case) -> None:
    """``released``: recon's tags go, all else stays; declared again, it is adopted again."""
    if case.permanent or case.place[0] not in {section.name for section in case.spec.sections}:
        return  # nobody owns it, or it goes with what holds it
    unless_excepted(case, "released")
    begin(house, case, case.whole("a"))
    before = now(house)
    house.settle({**case.gone, "released": [f"{case.place[0]}.{case.place[1]}"]})
    same(without_tags(before), without_tags(now(house)), "letting go changes tags, and nothing else")
    name = next(name for name in tags_now(house) if name.endswith(f" {case.place[1]}"))
    assert not [key for key in tags_now(house)[name] if key.startswith("recon:")]
    assert change_of(house.plan(case.whole("a")), case.address).action == "adopt"
    applied(house)
    nothing_left(house)


@every_case
def test_a_region_taken_out_is_found_and_emptied(house: House, case: Case) -> None:
    if not case.spec.regional:
        return  # it is in no region
    unless_excepted(case, "region")
    begin(house, case, case.with_entry({}))
    here = now(house)
    both = merge(case.with_entry({}), {"stack": {"regions": [HOME, OTHER]}})
    begin(house, case, both)
    far = case.address.replace(HOME, OTHER)
    plan = house.plan(case.with_entry({}))
    assert change_of(plan, far).action == "delete"
    assert case.address not in {change.address for change in plan.changes if change.action == "delete"}
    house.apply()
    nothing_left(house)
    same(here, now(house), "only the region that stays is left")


def shown(plan: Plan) -> list[dict[str, Any]]:
    return [{k: v for k, v in c.to_json().items() if k != "notes"} for c in plan.changes]


@every_case
@pytest.mark.parametrize("story", ["create", "change", "delete"])
def test_a_target_plans_what_the_whole_plan_does(house: House, case: Case, story: str) -> None:
    if story == "delete" and case.permanent:
        return
    unless_excepted(case, "target")
    before, after = {
        "create": (case.gone, case.whole("a")),
        "change": (case.whole("a"), case.whole("b")),
        "delete": (case.whole("a"), case.gone),
    }[story]
    begin(house, case, before)
    whole = house.make(after)
    assert case.address in {change.address for change in whole.plan.changes}
    wanted = make_plan(whole.snapshot, targets=[case.address])
    found = running.make(load(house.home / "state.yaml").state, targets=[case.address]).plan
    assert shown(found) == shown(wanted)
    assert case.address in {change.address for change in found.changes}


NOT_IMPORTED = {name for name in KINDS if all("imported" in case.without for case in cases_of(name))}
"""Kinds that are made anew after an import."""


@every_case
def test_imported_it_comes_back(house: House, case: Case) -> None:
    """What an import writes has a plan that only adopts; and it says of the fields what the YAML had said."""
    unless_excepted(case, "imported")
    begin(house, case, case.whole("a"))
    before = now(house)
    disown(house)
    imported(house, "--stack", "acme", "--region", HOME, "--smtp-users")
    planned = house.cli("plan", "live", "--format", "json")
    assert planned.code == 0, planned
    changes = {change["address"]: change for change in planned.json["changes"]}
    adopted = {address for address, change in changes.items() if change["action"] == "adopt"}
    assert case.address in adopted or not case.spec.taggable
    others = {address for address in changes if address.partition("/")[0] in NOT_IMPORTED}
    assert adopted | others == changes.keys(), planned
    for address in adopted:
        assert all(d["path"].startswith("tags.recon:") for d in changes[address]["diff"]), changes[address]
    ran = house.cli("apply", "live", "--auto-approve", "--allow-adopt")
    assert ran.code == 0, ran
    if not others:
        same(without_tags(before), without_tags(now(house)), "adopting changes tags, and nothing else")
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted((house.home / "live").glob("*.yaml")))
    missing = [one.path for one in case.fields if not one.apart and not re.search(rf"\b{one.place[-1]}\b", text)]
    assert [path for path in missing if not excepted(case, "imported", path)] == [], text


# --- permissions ----------------------------------------------------------------------------------------------------


def granted(document: Mapping[str, Any]) -> set[str]:
    return {action for statement in document["Statement"] for action in statement["Action"]}


def become(
    house: House, patch: pytest.MonkeyPatch, purpose: str, by_name: bool = True, removing: Iterable[str] = ()
) -> dict[str, Any]:
    """Have the rights of the policy that recon prints for the state, and no others."""
    patch.delenv("AWS_ACCESS_KEY_ID")
    patch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{purpose.upper():X<16}")
    document = policy(load(house.home / "state.yaml").state, purpose, removing=removing)  # type: ignore[arg-type]
    house.sandbox.principal(
        f"AKIA{purpose.upper():X<16}",
        arn=f"arn:aws:iam::{ACCOUNT}:role/recon-{purpose}",
        policies=[unconditioned(document) if by_name else document],
    )
    return document


def record_names(house: House) -> list[str]:
    """The names that the state of now lets records be written at and below."""
    named = iam_policy.named(load(house.home / "state.yaml").state)
    return [grant.arn for grant in named if grant.role == "record" and not grant.arn.startswith("*.")]


def refusals(house: House) -> list[str]:
    return [
        f"{c['service']}:{c['operation']} {c['params']}"
        for c in house.sandbox.calls()
        if "AccessDenied" in str(c["error"])
    ]


@every_kind
def test_the_policy_allows_just_the_calls_that_are_made(
    spec: KindSpec, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created, changed, adopted and deleted under the policy of the state: no call is denied, and all that is granted
    for the kind's sake is called, save what the cases name with a reason. Domains just taken out are said."""
    made: set[str] = set()
    given: set[str] = set()
    reasons: dict[str, str] = {}
    for case in cases_of(spec.name):
        reasons |= dict(case.never_called)
        apart = [one for one in case.fields if one.apart]
        stories = [case.whole("a"), case.whole("b"), case.nulls(), case.least()]
        for one in apart:
            stories += [case.gone, case.without_field(one), case.with_field(one, one.a), case.with_field(one, one.b)]
        begin(house, case, case.gone)
        for number, document in enumerate(stories):
            before = record_names(house)
            house.write(document)
            # What is not there yet carries no tag: it is allowed by its name.
            given |= granted(become(house, monkeypatch, "apply", by_name=number == 0, removing=before))
            house.sandbox.advance(3 * 86_400)
            applied(house)
            verify(house, case)
            if number == 0:
                house.plan(refresh="bulk")
        # What is no longer declared is deleted by the tag that it carries.
        before = record_names(house)
        house.write(case.gone)
        become(house, monkeypatch, "apply", by_name=False, removing=before)
        applied(house)
        assert refusals(house) == [], case.id
        made |= actions(house.calls())
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", house.sandbox.environment()["AWS_ACCESS_KEY_ID"])
    kind = REGISTRY[spec.name]
    declared = actions((*kind.reads, *kind.writes))
    excused = actions(reasons)
    assert declared - excused <= given, f"not in the policy: {sorted(declared - excused - given)}"
    needless = sorted(declared - made - excused)
    assert not needless, f"granted for the kind, and never called in its cases: {', '.join(needless)}"
    assert not excused & made, f"said to be never called, and called: {', '.join(sorted(excused & made))}"


@every_case
def test_the_policy_of_plan_lets_plan_read(house: House, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    begin(house, case, case.whole("a"))
    house.write(case.whole("b"))
    become(house, monkeypatch, "plan", by_name=False)
    plan = house.plan()
    assert refusals(house) == []
    assert not plan.unread
    assert case.address in {change.address for change in plan.changes}
    writes = [call for call in house.writes() if not call.startswith("sts:")]
    assert writes == []


# --- interrupted ----------------------------------------------------------------------------------------------------

STORIES = ("create", "change", "delete")
KILLED = ("killed before", "killed after")


def stage_of(case: Case, story: str) -> matrix.Stage:
    """The moment before the apply of a story, and the run that nothing befell."""
    before, target = {
        "create": ((), case.whole("a")),
        "change": ((case.whole("a"),), case.whole("b")),
        "delete": ((case.whole("a"),), case.gone),
    }[story]

    def hands(house: House) -> None:
        house.sandbox.advance(3 * 86_400)

    scenario = Scenario(
        f"{case.id} {story}", dict(target), before, lambda house: others(house, case), hands, resumes=True
    )
    return matrix.stage(scenario)


@every_case
def test_killed_once_and_run_again(house: House, case: Case) -> None:
    """A sample: one write of one story, always the same for a case."""
    number = WHOLE.index(case)
    stage = stage_of(case, STORIES[number % len(STORIES)] if not case.permanent else "change")
    writes = stage.writes
    stage.strike(writes[number % len(writes)], matrix.BY_NAME[KILLED[number % 2]])


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
@every_case
def test_killed_before_and_after_each_write(house: House, case: Case, story: str) -> None:
    if story == "delete" and case.permanent:
        return
    stage = stage_of(case, story)
    for write in stage.writes:
        for fault in KILLED if write.number == 0 else KILLED[1:]:
            stage.strike(write, matrix.BY_NAME[fault])
