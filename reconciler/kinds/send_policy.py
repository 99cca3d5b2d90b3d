"""The least-privilege policy of a user or role that may send: made of the fields of the YAML, and read back into them.

Pure. Source: SES Developer Guide, "Controlling access to Amazon SES" (condition keys; configuration sets and templates
are resources of the actions that send, beside the identity); Service Authorization Reference for SES (SendBulkEmail has
no ses:FromAddress, so that a condition on it would deny every such call).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from reconciler import regions
from reconciler.kinds.policy import listed, normal_policy, statements
from reconciler.model import Entry, Stack, State
from reconciler.resources import BY_ARN, KINDS
from reconciler.resources.email_identity import DEFAULT_SET
from reconciler.resources.email_identity import NAME as IDENTITY

BULK: Final = "SendBulkEmail"
NARROWED: Final = ("SendEmail", "SendRawEmail", "SendTemplatedEmail", "SendBulkTemplatedEmail")
"""The actions with which a From address can be demanded."""
SENDING: Final = (*NARROWED, BULK)
ALL: Final = "*"
PARTS: Final[Mapping[str, str]] = {
    spec.arn: spec.section for spec in (KINDS[DEFAULT_SET.kind], BY_ARN["template"])
}  # fmt: skip
"""Resource types of SES that have a field of their own, which is named as their section; the others are among the
identities."""
RESOURCES: Final = ("identities", *PARTS.values())
FIELDS: Final = ("from_addresses", "source_ips", *RESOURCES, "conditions", "actions")
"""What a policy is made of. Those in ``RESOURCES`` are ARNs."""


def policy_of(spec: Mapping[str, Any], sid: str) -> dict[str, Any]:
    """The policy of ``spec``, with the fields ``FIELDS``: one statement, and one for mail in bulk by itself."""
    resources = [arn for field in RESOURCES for arn in spec.get(field) or ()] or [ALL]
    condition: dict[str, dict[str, Any]] = {k: dict(v) for k, v in (spec.get("conditions") or {}).items()}
    if spec.get("source_ips"):
        condition.setdefault("IpAddress", {})["aws:SourceIp"] = spec["source_ips"]
    limited = {k: dict(v) for k, v in condition.items()}
    if spec.get("from_addresses"):
        limited.setdefault("StringLike", {})["ses:FromAddress"] = spec["from_addresses"]
    plain = [action for action in spec["actions"] if action != BULK]
    found = [_statement(sid, plain, resources, limited)] if plain else []
    if BULK in spec["actions"]:
        found.append(_statement(f"{sid}InBulk", [BULK], resources, condition))
    return {"Version": "2012-10-17", "Statement": found}


def _statement(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Mapping[str, Any]
) -> dict[str, Any]:
    named = {"Sid": sid, "Effect": "Allow", "Action": [f"ses:{a}" for a in actions], "Resource": list(resources)}
    return {**named, "Condition": dict(condition)} if condition else named


def fields_of(document: Any) -> dict[str, Any]:
    """The fields of a live policy; ``policy`` is the whole document where fields cannot express it."""
    normal = normal_policy(document)
    nothing: dict[str, Any] = {**dict.fromkeys(FIELDS), "policy": normal}
    found = normal.get("Statement") if isinstance(normal, Mapping) else None
    parts = [_fields(statement) for statement in found or ()]
    if not parts or len(parts) > 2 or None in parts:
        return nothing
    some = sorted((part for part in parts if part), key=lambda part: part["actions"] == [BULK])
    main, bulk = some[0], some[-1]
    if len(some) == 2:
        shared = [{k: v for k, v in one.items() if k not in ("from_addresses", "actions")} for one in some]
        if bulk["actions"] != [BULK] or bulk["from_addresses"] or BULK in main["actions"] or shared[0] != shared[1]:
            return nothing
        main["actions"] = [*main["actions"], BULK]
    elif BULK in main["actions"] and main["from_addresses"]:
        return nothing  # the condition denies all mail in bulk
    return {**main, "policy": None}


def _fields(statement: Any) -> dict[str, Any] | None:
    """The fields of one statement; None where they cannot express it."""
    if not isinstance(statement, Mapping) or statement.get("Effect") != "Allow":
        return None
    if statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}:
        return None
    names = [str(action).removeprefix("ses:") for action in statement.get("Action") or ()]
    actions = [action for action in SENDING if action in names]
    written = statement.get("Condition") or {}
    whole = isinstance(written, Mapping) and all(isinstance(v, Mapping) for v in written.values())
    if not names or len(actions) < len(names) or not whole:
        return None
    conditions = {k: dict(v) for k, v in written.items()}
    addresses = conditions.get("StringLike", {}).pop("ses:FromAddress", None)
    networks = conditions.get("IpAddress", {}).pop("aws:SourceIp", None)
    return {
        "from_addresses": addresses,
        "source_ips": networks,
        **_split(statement.get("Resource") or ()),
        "conditions": {k: v for k, v in conditions.items() if v} or None,
        "actions": actions,
    }


def _split(arns: Iterable[str]) -> dict[str, list[str] | None]:
    found: dict[str, list[str]] = {field: [] for field in RESOURCES}
    for arn in arns:
        kind = arn.split(":", 5)[-1].partition("/")[0]
        found[PARTS.get(kind, RESOURCES[0])].append(arn)
    return {field: some or None for field, some in found.items()}


def sends(document: Any, *actions: str) -> bool:
    """Whether a policy allows one of ``actions`` by the name of the service; ``*`` is an administrator's."""
    return any(
        fnmatchcase(f"ses:{wanted}".lower(), str(action).lower())
        for statement in statements(normal_policy(document))
        if statement.get("Effect") == "Allow"
        for action in listed(statement.get("Action"))
        if str(action).lower().startswith("ses:")
        for wanted in actions
    )


def normal_conditions(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions in the form in which ``normal_policy`` returns live ones."""
    document = normal_policy({"Statement": [{"Condition": conditions}]})
    normal: dict[str, Any] = document["Statement"][0].get("Condition") or {}
    return normal


# --- ARNs of what the YAML names -----------------------------------------------------------------------------------


def identity_arns(state: State, names: Iterable[str]) -> list[str]:
    """The ARNs of identities, in the regions where they are declared, else in all of the stack."""
    stack, entries = state.stack, _identities(state)
    found: set[str] = set()
    for name in names:
        declared = {e.region for e in entries if e.name == name and e.region}
        for region in sorted(declared or set(stack.regions)):
            found.add(regions.identity_arn(stack.partition, region, stack.account, regions.literal(name)))
    return sorted(found)


def default_set_arns(state: State, names: Iterable[str]) -> set[str]:
    """The ARNs of the default configuration sets of declared identities: mail without another set goes through them."""
    stack, wanted = state.stack, set(names)
    return {
        _arn(stack, DEFAULT_SET.kind, entry.region, default)
        for entry in _identities(state)
        if entry.name in wanted and entry.region and (default := DEFAULT_SET.name_in(entry.values))
    }


def arns(state: State, kind: str, names: Iterable[str]) -> set[str]:
    """The ARNs of resources of SES by name, in the regions where they are declared, else in all of the stack."""
    stack, spec = state.stack, KINDS[kind]
    found: set[str] = set()
    for name in names:
        declared = {e.region for e in state.section(spec.section) if e.name == name and e.region}
        found |= {_arn(stack, kind, region, regions.literal(name)) for region in declared or set(stack.regions)}
    return found


def all_of(stack: Stack, kind: str) -> str:
    """The pattern of the ARNs of all resources of a kind."""
    return _arn(stack, kind, ALL, ALL)


def _arn(stack: Stack, kind: str, region: str, name: str) -> str:
    return KINDS[kind].arn_of(stack.partition, region, stack.account, name)


def _identities(state: State) -> list[Entry]:
    return [e for section in KINDS[IDENTITY].sections for e in state.section(section.name) if e.region]
