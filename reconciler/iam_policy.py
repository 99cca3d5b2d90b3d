"""The least-privilege IAM policy for `recon plan` or `recon apply` on one stack, from what the kinds declare they call.

Each operation of a kind's ``reads`` and ``writes`` becomes an action on the narrowest resources that IAM can check it
against: the identities, sets, pools, users, secrets and parameters that the stack names, by ARN; and, since what is no
longer declared is deleted, what carries the stack's tag. What is not known offline (hosted zones) stays open by number.

Source: Service Authorization Reference, "Actions, resources, and condition keys" for Amazon SES, Route 53, IAM, Secrets
Manager, SSM, SNS, KMS, S3 and CloudTrail; IAM User Guide, "IAM and AWS STS quotas" (6,144 characters a managed policy).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from reconciler import doctor
from reconciler.aws import iam_action
from reconciler.backend import location_of, scope_key
from reconciler.errors import ReconError
from reconciler.kinds.grants import Grant, Role
from reconciler.kinds.ownership import STACK
from reconciler.kinds.registry import REGISTRY
from reconciler.model import State, address_parts
from reconciler.regions import ses_arn
from reconciler.resources import KINDS
from reconciler.resources.dedicated_ip_pool import DEFAULT_POOL
from reconciler.resources.dedicated_ip_pool import SPEC as POOL
from reconciler.resources.spec import PlainSpec
from reconciler.rules import context as rules

Purpose = Literal["plan", "apply"]

MAX_CHARACTERS: Final = 6_144
"""Of a managed policy, white space not counted."""
MAX_POLICIES: Final = 10
"""Managed policies that a role may have."""

LISTS: Final = tuple(f"sesv2:{spec.listed[0]}" for spec in KINDS.values() if spec.listed[0])
"""The calls that list all resources of a kind, for import; checked against no resource."""

OWN: Final = ("resourcegroupstaggingapi:GetResources", "cloudtrail:LookupEvents", *LISTS, *doctor.READS)
"""What is called beside the kinds and rules: the sweep, who edited (drift), the lists of import, suppression lists and
sending statistics; checked against no resource. GetCallerIdentity needs nothing."""

INCIDENT: Final = (
    "ses:PutAccountSendingAttributes", "ses:DeleteSuppressedDestination", "ses:PutSuppressedDestination",
)  # fmt: skip
"""What ``recon account pause`` and ``resume`` and ``recon suppression add`` and ``remove`` call; checked against no
resource."""

_ANYWHERE: Final = frozenset(
    {
        *(iam_action(*call.split(":")) for call in OWN),
        *(iam_action(*call.split(":")) for call in rules.READS if call.startswith("sesv2:")),
        *(action for spec in KINDS.values() for action in spec.anywhere),
    }
)
"""Actions that IAM checks against no resource."""

_GONE: Final = (
    "ses:Delete", "iam:Delete", "iam:Detach", "iam:Remove", "iam:List", "iam:Untag", "iam:Tag", "iam:UpdateUser",
    "secretsmanager:Delete", "ssm:Delete",
)  # fmt: skip
"""What is done to things that are ours and no longer declared, beside reading them."""

_REFERRING: Final = frozenset(iam_action("ses", name) for spec in KINDS.values() for name in spec.referring)
"""Actions that are also checked against what the resource refers to: a set, a pool, an archive."""

_TAGS: Final = "ses:ListTagsForResource"
_TAGS_APART: Final = tuple(
    spec.arn for spec in KINDS.values() if isinstance(spec, PlainSpec) and spec.arn and not spec.tags_in_get
)
"""Types of SES resources, as ARNs say them, whose tags are read by that action."""

RECORD_TYPES: Final = ("CNAME", "MX", "TXT")
"""The types of record sets that recon writes."""

READ_VERBS: Final = ("Get", "List", "Describe", "Lookup", "BatchGet")


def policy(state: State, purpose: Purpose, *, dns: bool = False) -> dict[str, Any]:
    """The policy document for a command on a stack.

    ``dns``: for the role in the account that holds the zones (``stack.dns``), where there is one; the main policy
    then leaves the zones out. Raises ReconError where there is none.
    """
    if dns and not state.stack.dns_role_arn:
        raise ReconError("the stack has no `dns.role_arn`: its zones are in its own account", hint="leave out --dns")
    grants = named(state)
    document = _document(state, purpose, grants, dns)
    for level in (1, 2, 3):
        if len(parts(document)) <= MAX_POLICIES:
            break
        document = _document(state, purpose, grants, dns, level)
    return document


def size(document: Mapping[str, Any]) -> int:
    """The characters of a policy as IAM counts them: without white space."""
    return len("".join(json.dumps(document, ensure_ascii=False, separators=(",", ":")).split()))


def widened(document: Mapping[str, Any]) -> bool:
    """Whether resources of a policy were folded into patterns, so that a role can have it."""
    return any(
        s["Sid"] == "Ses" and r.split(":")[3] == "*" for s in document["Statement"] for r in _listed(s["Resource"])
    )


def parts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same policy as managed policies of at most ``MAX_CHARACTERS`` each; statements are split where they must."""
    room = MAX_CHARACTERS - size({**document, "Statement": []}) - 1
    pieces = [piece for statement in document["Statement"] for piece in _pieces(statement, room)]
    out: list[list[dict[str, Any]]] = [[]]
    used = 0
    for piece in pieces:
        need = size(piece) + 1
        if used + need > room and out[-1]:
            out.append([])
            used = 0
        out[-1].append(piece)
        used += need
    return [{**document, "Statement": statements} for statements in out]


def _pieces(statement: dict[str, Any], room: int) -> Iterator[dict[str, Any]]:
    listed = _listed(statement["Resource"])
    if size(statement) <= room or len(listed) == 1:
        yield statement
        return
    half = len(listed) // 2
    for number, some in enumerate((listed[:half], listed[half:])):
        yield from _pieces({**statement, "Sid": f"{statement['Sid']}{'AB'[number]}", "Resource": some}, room)


# --- what the stack names ------------------------------------------------------------------------------------------


def named(state: State) -> frozenset[Grant]:
    """All that the declared state names: its resources, those that ``moved`` renames, and what they refer to."""
    found = {
        grant for kind in REGISTRY.values() for desired in kind.desired(state) for grant in kind.grants(desired, state)
    }
    for moved in state.moved:
        found |= set(REGISTRY[address_parts(moved.from_address).kind].own_grants(state.stack, moved.from_address))
    return frozenset(found)


def _arns(grants: Iterable[Grant], role: Role) -> set[str]:
    return {grant.arn for grant in grants if grant.role == role}


# --- the statements ------------------------------------------------------------------------------------------------


def actions(purpose: Purpose) -> dict[str, set[str]]:
    """Action -> the kinds that need it (``""`` for the run itself), from what the code declares."""
    found: dict[str, set[str]] = {}
    declared: list[tuple[str, Iterable[str]]] = [("", (*OWN, *rules.READS))]
    for kind in REGISTRY.values():
        declared.append((kind.name, kind.reads))
        if purpose == "apply":
            declared.append((kind.name, kind.writes))
    for name, operations in declared:
        for operation in operations:
            service, _, call = operation.partition(":")
            found.setdefault(iam_action(service, call), set()).add(name)
    return found


def _document(state: State, purpose: Purpose, grants: frozenset[Grant], dns: bool, level: int = 0) -> dict[str, Any]:
    statements = list(_dns_statements(state, purpose) if dns else _statements(state, purpose, grants, level))
    return {"Version": "2012-10-17", "Statement": [s for s in statements if s["Action"] and s["Resource"]]}


def _statement(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    places = sorted(set(resources))
    body: dict[str, Any] = {
        "Sid": sid, "Effect": "Allow", "Action": sorted(set(actions)),
        "Resource": places[0] if len(places) == 1 else places,
    }  # fmt: skip
    return {**body, "Condition": dict(condition)} if condition else body


def _of(found: Iterable[str], *prefixes: str) -> set[str]:
    return {a for a in found if a.startswith(prefixes)} - _ANYWHERE


def _statements(state: State, purpose: Purpose, grants: frozenset[Grant], level: int) -> Iterator[dict[str, Any]]:
    stack, found = state.stack, actions(purpose)
    partition, account = stack.partition, stack.account
    elsewhere = bool(stack.dns_role_arn)
    anywhere = {a for a in found if a in _ANYWHERE and not (elsewhere and a.startswith("route53:"))}
    yield _statement("Account", anywhere, ["*"])
    if purpose == "apply":
        used = sorted({*stack.regions, *(arn.split(":")[3] for arn in _arns(grants, "own"))} - {"*"})
        yield _statement("AccountByHand", INCIDENT, ["*"], {"StringEquals": {"aws:RequestedRegion": used}})

    yield from _ses_statements(state, purpose, _of(found, "ses:"), grants, level)

    iam, declared = _of(found, "iam:"), _arns(grants, "user")
    users = iam - {"iam:RemoveUserFromGroup"}
    yield _statement("Users", users, declared)
    yield _statement("UsersOwned", _gone(users), [f"arn:{partition}:iam::{account}:user/*"], _owned(state))
    groups = [f"arn:{partition}:iam::{account}:group/*", *declared]
    yield _statement("Groups", {"iam:RemoveUserFromGroup"} & iam, groups)
    if purpose == "apply":
        passed = {"StringEquals": {"iam:PassedToService": "ses.amazonaws.com"}}
        yield _statement("FirehoseRoles", ["iam:PassRole"], _arns(grants, "passed_role"), passed)

    yield from _store_statements(state, found, grants)
    topics = _arns(grants, "topic")
    yield _statement("Topics", _of(found, "sns:"), topics)
    keyed = sorted({arn.split(":")[3] for arn in topics})
    yield _statement("TopicKeys", _of(found, "kms:"), [f"arn:{partition}:kms:{r}:{account}:key/*" for r in keyed])

    if elsewhere:
        role = stack.plan_role_arn if purpose == "plan" else stack.apply_role_arn
        if role is None:
            yield _statement("DnsRole", ["sts:AssumeRole"], [str(stack.dns_role_arn)])
    else:
        yield from _zone_statements(found, partition)
    yield from _backend_statements(state, purpose)


def _ses_statements(
    state: State, purpose: Purpose, ses: set[str], grants: frozenset[Grant], level: int
) -> Iterator[dict[str, Any]]:
    """Resources of SES: the declared, what they refer to, and those that carry the stack's tag."""
    own, referred, replicated = (_arns(grants, role) for role in ("own", "referred", "replicated"))
    yield _statement("Ses", ses, folded(own, level))
    reads = {a for a in ses if _reads(a)}
    yield _statement("SesReferences", reads | (_REFERRING & ses), folded(referred - own, level))

    def everywhere(resource: str) -> str:
        return ses_arn(state.stack.partition, "*", state.stack.account, resource)

    # The addresses of a pool that is deleted, declared or not any more, return to the default pool.
    default = [everywhere(f"{POOL.arn}/{DEFAULT_POOL}")]
    yield _statement("SesDefaultPool", {"ses:PutDedicatedIpInPool"} & ses, default)
    types = [everywhere(f"{spec.arn}/*") for spec in KINDS.values() if spec.arn]
    yield _statement("SesOwned", _gone(ses) - {_TAGS}, types, _owned(state))
    # Which tags a resource carries cannot be limited by those tags.
    yield _statement("SesOwnedTags", {_TAGS} & ses, [everywhere(f"{arn}/*") for arn in _TAGS_APART])
    if purpose == "apply":
        yield _statement("DkimReplicas", ["ses:ReplicateEmailIdentityDkimSigningKey"], folded(replicated, level))


def _owned(state: State) -> dict[str, Any]:
    """The condition that a resource carries the stack's tag."""
    return {"StringEquals": {f"aws:ResourceTag/{STACK}": state.stack.scope}}


def _gone(found: Iterable[str]) -> set[str]:
    """Of some actions, those that are needed on what is ours and no longer declared."""
    return {a for a in found if _reads(a) or a.startswith(_GONE)}


def _reads(action: str) -> bool:
    return action.partition(":")[2].startswith(READ_VERBS)


def _store_statements(
    state: State, found: Mapping[str, set[str]], grants: frozenset[Grant]
) -> Iterator[dict[str, Any]]:
    """Secrets and parameters: SMTP credentials by name; DKIM keys, of which nothing but the value is read."""
    place = f"{state.stack.partition}:{{}}:{{}}:{state.stack.account}"
    secret, parameter = (f"arn:{place.format(*service)}" for service in (("secretsmanager", "*"), ("ssm", "*")))
    stores: tuple[tuple[str, str, Role, Role, str], ...] = (
        ("Secrets", "secretsmanager:", "secret", "dkim_secret", f"{secret}:secret:*"),
        ("Parameters", "ssm:", "parameter", "dkim_parameter", f"{parameter}:parameter/*"),
    )
    for sid, prefix, ours, dkim, anything in stores:
        here = {a: kinds for a, kinds in found.items() if a.startswith(prefix) and a not in _ANYWHERE}
        mine = {a for a, kinds in here.items() if kinds - {"email_identity"}}
        yield _statement(sid, mine, _arns(grants, ours))
        # Of apply alone also the value: a store that was renamed fills the one that takes its place.
        yield _statement(f"{sid}Owned", _gone(mine), [anything], _owned(state))
        yield _statement(
            f"Dkim{sid}", {a for a, kinds in here.items() if "email_identity" in kinds}, _arns(grants, dkim)
        )
    if "secretsmanager:CreateSecret" not in found:
        return
    for number, (via, key) in enumerate(sorted({(g.via, g.arn) for g in grants if g.role == "store_key"})):
        (service, region), name = via.split(".")[:2], key.rpartition(":")[2]
        condition: dict[str, Any] = {"StringEquals": {"kms:ViaService": via}}
        keys = f"arn:{place.format('kms', region)}:key"
        arn = key if key.startswith("arn:") else f"{keys}/{key}"
        if name.startswith("alias/"):
            arn = f"{keys}/*"
            condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": name}
        uses = ["kms:Encrypt"] if service == "ssm" else []
        yield _statement(f"StoreKey{number}", [*uses, "kms:Decrypt", "kms:GenerateDataKey"], [arn], condition)


def _zone_statements(found: Iterable[str], partition: str) -> Iterator[dict[str, Any]]:
    zones = _of(found, "route53:")
    everything = f"arn:{partition}:route53:::hostedzone/*"
    yield _statement("Zones", zones - {"route53:ChangeResourceRecordSets", "route53:GetChange"}, [everything])
    types = {"ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": list(RECORD_TYPES)}}
    yield _statement("Records", zones & {"route53:ChangeResourceRecordSets"}, [everything], types)
    yield _statement("ZoneChanges", zones & {"route53:GetChange"}, [f"arn:{partition}:route53:::change/*"])


def _dns_statements(state: State, purpose: Purpose) -> Iterator[dict[str, Any]]:
    """For the role in the account that holds the zones."""
    found = actions(purpose)
    partition = str(state.stack.dns_role_arn).split(":")[1]
    anywhere = {"route53:ListHostedZones", "tag:GetResources", "cloudtrail:LookupEvents"}
    yield _statement("Account", anywhere & found.keys(), ["*"])
    yield from _zone_statements(found, partition)


def _backend_statements(state: State, purpose: Purpose) -> Iterator[dict[str, Any]]:
    """The journal is read by drift and `recon history`; lock and journal are written by apply."""
    place = location_of(state.stack)
    if not place.bucket:
        return
    bucket = f"arn:{state.stack.partition}:s3:::{place.bucket}"
    lock, journal = (f"{place.prefix}{name}/{scope_key(state.stack)}" for name in ("locks", "journal"))
    yield _statement(
        "Backend", ["s3:ListBucket"], [bucket], {"StringLike": {"s3:prefix": [f"{journal}/*", f"{lock}.json"]}}
    )
    if purpose == "plan":
        yield _statement("Journal", ["s3:GetObject"], [f"{bucket}/{journal}/*"])
        return
    yield _statement("Journal", ["s3:GetObject", "s3:PutObject"], [f"{bucket}/{journal}/*"])
    yield _statement("Lock", ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [f"{bucket}/{lock}.json"])


# --- to fit --------------------------------------------------------------------------------------------------------


def folded(arns: Iterable[str], level: int) -> set[str]:
    """ARNs of SES as patterns, wider with each level: exact, any region, names by parent domain, all of a type."""
    if level == 0:
        return set(arns)
    found = {_any_region(arn) for arn in arns}
    if level == 1:
        return found
    if level == 3:
        return {arn.partition("/")[0] + "/*" for arn in found}
    names: dict[str, set[str]] = {}
    for arn in found:
        head, _, name = arn.partition("/")
        names.setdefault(head, set()).add(name)
    out: set[str] = set()
    for head, group in names.items():
        children = Counter(_parent(name) for name in group)
        many = {parent for parent, number in children.items() if parent and number > 2}
        out |= {f"{head}/{name}" for name in group if _parent(name) not in many}
        out |= {f"{head}/*{parent}" for parent in many}
    return out


def _parent(name: str) -> str:
    """What names beside each other share: ``@acme.com`` of an address, ``.acme.com`` of a domain; else nothing."""
    _, at, domain = name.partition("@")
    if at:
        return f"@{domain}"
    rest = name.partition(".")[2]
    return f".{rest}" if "." in rest else ""


def _any_region(arn: str) -> str:
    parts = arn.split(":", 5)
    return ":".join([*parts[:3], "*", *parts[4:]]) if parts[2] == "ses" else arn


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
