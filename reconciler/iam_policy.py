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
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from reconciler import doctor, regions
from reconciler.aws import iam_action
from reconciler.backend import location_of, scope_key
from reconciler.errors import ReconError
from reconciler.kinds.ownership import STACK
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Desired, State
from reconciler.rules import facts

Purpose = Literal["plan", "apply"]

MAX_CHARACTERS: Final = 6_144
"""Of a managed policy, white space not counted."""
MAX_POLICIES: Final = 10
"""Managed policies that a role may have."""

OWN: Final = (
    "resourcegroupstaggingapi:GetResources", "cloudtrail:LookupEvents", "sesv2:ListConfigurationSets",
    "sesv2:ListDedicatedIpPools", *doctor.READS,
)  # fmt: skip
"""What is called beside the kinds and rules: the sweep, who edited (drift), the lists of import, suppression lists and
sending statistics. GetCallerIdentity needs nothing."""

INCIDENT: Final = ("ses:PutAccountSendingAttributes", "ses:DeleteSuppressedDestination")
"""What ``recon account pause`` and ``resume`` and ``recon suppression remove`` call; checked against no resource."""

_ANYWHERE: Final = frozenset(
    {
        "ses:GetAccount", "ses:BatchGetMetricData", "ses:ListEmailIdentities", "ses:GetIdentityDkimAttributes",
        "ses:GetIdentityMailFromDomainAttributes", "ses:GetIdentityNotificationAttributes", "tag:GetResources",
        "route53:ListHostedZones", "iam:GetAccountAuthorizationDetails", "iam:GetAccessKeyLastUsed",
        "ssm:DescribeParameters", "cloudtrail:LookupEvents", "ses:ListSuppressedDestinations",
        "ses:GetSuppressedDestination", "ses:GetSendStatistics", "ses:ListConfigurationSets",
        "ses:ListDedicatedIpPools",
    }
)  # fmt: skip
"""Actions that IAM checks against no resource (GetAccessKeyLastUsed names a key, and whose it is only AWS knows)."""

_UNTAGGED: Final = frozenset(
    {
        "ses:ListTagsForResource", "ses:TagResource", "ses:UntagResource", "ses:CreateEmailIdentity",
        "ses:CreateConfigurationSet", "ses:CreateDedicatedIpPool", "secretsmanager:CreateSecret", "iam:CreateUser",
        "ssm:PutParameter",
    }
)  # fmt: skip
"""Actions that cannot be limited by the tag of what they act on, or make what has none yet."""

_GONE: Final = (
    "ses:Delete", "iam:Delete", "iam:Update", "iam:Detach", "iam:Remove", "iam:List", "iam:Untag", "iam:Tag", "secretsmanager:Delete",
    "ssm:Delete",
)  # fmt: skip
"""What is done to things that are ours and no longer declared, beside reading them."""

_REFERRING: Final = frozenset(
    {
        "ses:PutEmailIdentityConfigurationSetAttributes", "ses:CreateConfigurationSet",
        "ses:PutConfigurationSetDeliveryOptions", "ses:PutConfigurationSetArchivingOptions",
    }
)  # fmt: skip
"""Actions that are also checked against what the thing refers to: a set, a pool, an archive."""

DEFAULT_POOL: Final = "ses-default-dedicated-pool"
RECORD_TYPES: Final = ("CNAME", "MX", "TXT")
"""The types of record sets that recon writes."""

READ_VERBS: Final = ("Get", "List", "Describe", "Lookup", "BatchGet")


@dataclass(slots=True)
class Named:
    """The ARNs of what a stack declares or refers to, by what IAM calls them."""

    ses: set[str] = field(default_factory=set)
    referred: set[str] = field(default_factory=set)
    """Sets, pools, archives and parent identities that the stack uses but does not declare."""
    users: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    dkim_secrets: set[str] = field(default_factory=set)
    dkim_parameters: set[str] = field(default_factory=set)
    topics: set[str] = field(default_factory=set)
    passed_roles: set[str] = field(default_factory=set)
    replicated: set[str] = field(default_factory=set)
    keys: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """(service, region, key id, ARN or alias) of the KMS keys that stores are encrypted with."""


def policy(state: State, purpose: Purpose, *, dns: bool = False) -> dict[str, Any]:
    """The policy document for a command on a stack.

    ``dns``: for the role in the account that holds the zones (``stack.dns``), where there is one; the main policy
    then leaves the zones out. Raises ReconError where there is none.
    """
    if dns and not state.stack.dns_role_arn:
        raise ReconError("the stack has no `dns.role_arn`: its zones are in its own account", hint="leave out --dns")
    names = named(state)
    document = _document(state, purpose, names, dns)
    for level in (1, 2, 3):
        if len(parts(document)) <= MAX_POLICIES:
            break
        document = _document(state, purpose, names, dns, level)
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


def named(state: State) -> Named:
    """All that the declared state names, as ARNs."""
    names = Named()
    found = [desired for kind in REGISTRY.values() for desired in kind.desired(state)]
    for desired in found:
        _of_ses(state, desired, names)
        if desired.kind == "smtp_user":
            path = str(desired.entry.values.get("path") or "/")
            names.users |= _user(state, desired.name, path)
        elif desired.kind == "smtp_credential":
            for store in desired.spec["stores"]:
                region, name = str(store["region"]), str(store["name"])
                if store["type"] == "ssm":
                    names.parameters |= _parameter(state, name, region)
                else:
                    names.secrets |= _secret(state, name, region)
                if store.get("kms_key_id"):
                    names.keys[str(store["type"]), region, str(store["kms_key_id"])] = None
    for moved in state.moved:
        kind, _, rest = moved.from_address.partition("/")
        if kind == "smtp_user":
            names.users |= _user(state, rest, "/*/") | _user(state, rest, "/")
        elif kind in {"email_identity", "configuration_set", "dedicated_ip_pool"}:
            region, _, name = rest.partition("/")
            names.ses.add(_ses(state, kind, name, region))
    names.referred -= names.ses
    return names


def _of_ses(state: State, desired: Desired, names: Named) -> None:
    spec, region = desired.spec, desired.region or ""
    if desired.kind in {"email_identity", "configuration_set", "dedicated_ip_pool"}:
        names.ses.add(_ses(state, desired.kind, desired.name, region))
    if desired.kind == "email_identity":
        if spec.get("configuration_set_name"):
            names.referred.add(_ses(state, "configuration_set", str(spec["configuration_set_name"]), region))
        dkim = desired.entry.values.get("dkim") or {}
        _dkim_key(state, dkim.get("domain_signing_private_key") or {}, region, names)
        parent = regions.deterministic_parent(str(dkim.get("signing_attributes_origin") or ""))
        if parent:
            names.replicated |= {_ses(state, desired.kind, desired.name, r) for r in (parent, region)}
    elif desired.kind == "configuration_set":
        pool = (spec.get("delivery_options") or {}).get("sending_pool_name")
        if pool:
            names.referred.add(_ses(state, "dedicated_ip_pool", str(pool), region))
        archive = (spec.get("archiving_options") or {}).get("archive_arn")
        if archive:
            names.referred.add(str(archive))
        domain = str((spec.get("tracking_options") or {}).get("custom_redirect_domain") or "")
        while "." in domain:  # the identity that must be verified first may be any of its parents
            names.referred.add(_ses(state, "email_identity", domain, region))
            domain = domain.partition(".")[2]
    elif desired.kind == "event_destination":
        topic = (spec.get("sns_destination") or {}).get("topic_arn")
        role = (spec.get("kinesis_firehose_destination") or {}).get("iam_role_arn")
        if topic and str(topic).count(":") == 5:
            names.topics.add(str(topic))
        if role:
            names.passed_roles.add(str(role))


def _dkim_key(state: State, reference: Mapping[str, Any], region: str, names: Named) -> None:
    where = str(reference.get("region") or (state.stack.regions[0] if state.stack.regions else region))
    if "secretsmanager" in reference:
        names.dkim_secrets |= _secret(state, str(reference["secretsmanager"]), where)
    elif "ssm" in reference:
        names.dkim_parameters |= _parameter(state, str(reference["ssm"]), where)


_TYPES: Final = {
    "email_identity": "identity",
    "configuration_set": "configuration-set",
    "dedicated_ip_pool": "dedicated-ip-pool",
}


def _ses(state: State, kind: str, name: str, region: str) -> str:
    return f"arn:{state.stack.partition}:ses:{region}:{state.stack.account}:{_TYPES[kind]}/{name}"


def _user(state: State, name: str, path: str) -> set[str]:
    """With its path, and without: IAM checks a user that does not exist yet by its name alone."""
    base = f"arn:{state.stack.partition}:iam::{state.stack.account}:user"
    return {f"{base}{path}{name}", f"{base}/{name}"}


def _secret(state: State, name: str, region: str) -> set[str]:
    """With the six characters that Secrets Manager adds to a name, and without, for one that does not exist yet."""
    if name.startswith("arn:"):
        return {name}
    base = f"arn:{state.stack.partition}:secretsmanager:{region}:{state.stack.account}:secret:{name}"
    return {base, f"{base}-??????"}


def _parameter(state: State, name: str, region: str) -> set[str]:
    if name.startswith("arn:"):
        return {name}
    return {f"arn:{state.stack.partition}:ssm:{region}:{state.stack.account}:parameter/{name.lstrip('/')}"}


# --- the statements ------------------------------------------------------------------------------------------------


def actions(purpose: Purpose) -> dict[str, set[str]]:
    """Action -> the kinds that need it (``""`` for the run itself), from what the code declares."""
    found: dict[str, set[str]] = {}
    declared: list[tuple[str, Iterable[str]]] = [("", (*OWN, *facts.READS))]
    for kind in REGISTRY.values():
        declared.append((kind.name, kind.reads))
        if purpose == "apply":
            declared.append((kind.name, kind.writes))
    for name, operations in declared:
        for operation in operations:
            service, _, call = operation.partition(":")
            found.setdefault(iam_action(service, call), set()).add(name)
    return found


def _document(state: State, purpose: Purpose, names: Named, dns: bool, level: int = 0) -> dict[str, Any]:
    statements = list(_dns_statements(state, purpose) if dns else _statements(state, purpose, names, level))
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


def _statements(state: State, purpose: Purpose, names: Named, level: int) -> Iterator[dict[str, Any]]:
    stack, found = state.stack, actions(purpose)
    partition, account = stack.partition, stack.account
    elsewhere = bool(stack.dns_role_arn)
    anywhere = {a for a in found if a in _ANYWHERE and not (elsewhere and a.startswith("route53:"))}
    yield _statement("Account", anywhere, ["*"])
    if purpose == "apply":
        used = sorted({*stack.regions, *(arn.split(":")[3] for arn in names.ses)} - {"*"})
        yield _statement("AccountByHand", INCIDENT, ["*"], {"StringEquals": {"aws:RequestedRegion": used}})

    owned = {"StringEquals": {f"aws:ResourceTag/{STACK}": stack.scope}}
    ses = _of(found, "ses:")
    yield _statement("Ses", ses, folded(names.ses, level))
    yield _statement("SesReferences", {a for a in ses if _reads(a)} | (_REFERRING & ses), folded(names.referred, level))
    # The addresses of a pool that goes, declared or not any more, go back there.
    default = [_ses(state, "dedicated_ip_pool", DEFAULT_POOL, "*")]
    yield _statement("SesDefaultPool", {"ses:PutDedicatedIpInPool"} & ses, default)
    base = f"arn:{partition}:ses:*:{account}"
    types = [f"{base}:{t}/*" for t in ("identity", "configuration-set", "dedicated-ip-pool")]
    yield _statement("SesOwned", _gone(ses), types, owned)
    # Which tags a resource carries cannot be limited by those tags.
    yield _statement("SesOwnedTags", {"ses:ListTagsForResource"} & ses, [f"{base}:dedicated-ip-pool/*"])
    if purpose == "apply":
        yield _statement("DkimReplicas", ["ses:ReplicateEmailIdentityDkimSigningKey"], folded(names.replicated, level))

    iam = _of(found, "iam:")
    users = iam - {"iam:RemoveUserFromGroup"}
    yield _statement("Users", users, names.users)
    yield _statement("UsersOwned", _gone(users), [f"arn:{partition}:iam::{account}:user/*"], owned)
    groups = [f"arn:{partition}:iam::{account}:group/*", *names.users]
    yield _statement("Groups", {"iam:RemoveUserFromGroup"} & iam, groups)
    if purpose == "apply":
        passed = {"StringEquals": {"iam:PassedToService": "ses.amazonaws.com"}}
        yield _statement("FirehoseRoles", ["iam:PassRole"], names.passed_roles, passed)

    yield from _store_statements(state, found, names, owned)
    yield _statement("Topics", _of(found, "sns:"), names.topics)
    keyed = sorted({arn.split(":")[3] for arn in names.topics})
    yield _statement("TopicKeys", _of(found, "kms:"), [f"arn:{partition}:kms:{r}:{account}:key/*" for r in keyed])

    if elsewhere:
        role = stack.plan_role_arn if purpose == "plan" else stack.apply_role_arn
        if role is None:
            yield _statement("DnsRole", ["sts:AssumeRole"], [str(stack.dns_role_arn)])
    else:
        yield from _zone_statements(found, partition)
    yield from _backend_statements(state, purpose)


def _gone(found: Iterable[str]) -> set[str]:
    """Of some actions, those that are needed on what is ours and no longer declared."""
    return {a for a in found if _reads(a) or a.startswith(_GONE)} - _UNTAGGED


def _reads(action: str) -> bool:
    return action.partition(":")[2].startswith(READ_VERBS)


def _store_statements(
    state: State, found: Mapping[str, set[str]], names: Named, owned: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Secrets and parameters: SMTP credentials by name; DKIM keys, of which nothing but the value is read."""
    place = f"{state.stack.partition}:{{}}:{{}}:{state.stack.account}"
    secret, parameter = (f"arn:{place.format(*service)}" for service in (("secretsmanager", "*"), ("ssm", "*")))
    for sid, prefix, ours, dkim, anything in (
        ("Secrets", "secretsmanager:", names.secrets, names.dkim_secrets, f"{secret}:secret:*"),
        ("Parameters", "ssm:", names.parameters, names.dkim_parameters, f"{parameter}:parameter/*"),
    ):
        here = {a: kinds for a, kinds in found.items() if a.startswith(prefix) and a not in _ANYWHERE}
        mine = {a for a, kinds in here.items() if kinds - {"email_identity"}}
        yield _statement(sid, mine, ours)
        # Of apply alone also the value: a store that was renamed fills the one that takes its place.
        yield _statement(f"{sid}Owned", _gone(mine), [anything], owned)
        yield _statement(f"Dkim{sid}", {a for a, kinds in here.items() if "email_identity" in kinds}, dkim)
    if "secretsmanager:CreateSecret" not in found:
        return
    for number, (service, region, key) in enumerate(sorted(names.keys)):
        name = key.rpartition(":")[2]
        condition: dict[str, Any] = {"StringEquals": {"kms:ViaService": f"{service}.{region}.amazonaws.com"}}
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
