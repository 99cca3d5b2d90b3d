"""The least-privilege IAM policy for `recon plan` or `recon apply` on one stack, from what the kinds declare they call.

Each operation of a kind's ``reads`` and ``writes`` becomes an action on the narrowest resources that IAM can check it
against: the identities, sets, pools, users, secrets and parameters that the stack names, by ARN; and, since what is no
longer declared is deleted, what carries the stack's tag. Hosted zones that are not known offline stay open by number,
but their records can be written at and below the declared names alone. Records carry no tag: domains that are no longer
declared must be said (``removing``).

Source: Service Authorization Reference, "Actions, resources, and condition keys" for Amazon SES, Route 53, IAM, Secrets
Manager, SSM, SNS, KMS, S3 and CloudTrail; IAM User Guide, "IAM and AWS STS quotas" (6,144 characters a managed policy)
and "Delegating responsibility to others using permissions boundaries"; Route 53 Developer Guide, "Using IAM policy
conditions for fine-grained access control" (how names are spelled; a batch must meet one statement whole).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from reconciler import doctor
from reconciler.aws import iam_action, opt_in
from reconciler.backend import location_of, scope_key
from reconciler.errors import ReconError
from reconciler.kinds import cloudformation as cfn
from reconciler.kinds.grants import Grant, Role
from reconciler.kinds.iam_account import NOUNS
from reconciler.kinds.iam_principals import IamPrincipal
from reconciler.kinds.obstacles import TENANT_READS
from reconciler.kinds.ownership import STACK
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.spelling import camel
from reconciler.model import State
from reconciler.names import parents, to_route53
from reconciler.regions import literal, ses_arn
from reconciler.resources import KINDS, children
from reconciler.resources.dedicated_ip_pool import DEFAULT_POOL
from reconciler.resources.dedicated_ip_pool import SPEC as POOL
from reconciler.resources.spec import PlainSpec
from reconciler.rules import context as rules

Purpose = Literal["plan", "apply"]

MAX_CHARACTERS: Final = 6_144
"""Of a managed policy, white space not counted."""
MAX_POLICIES: Final = 10
"""Managed policies that a role may have."""

LISTS: Final = tuple(f"{spec.client}:{spec.listed[0]}" for spec in KINDS.values() if spec.listed[0])
"""The calls that list all resources of a kind, for import; checked against no resource."""

OWN: Final = (
    "resourcegroupstaggingapi:GetResources", "cloudtrail:LookupEvents", *LISTS, *doctor.READS, *TENANT_READS,
    *opt_in.READS,
)  # fmt: skip
"""What is called beside the kinds and rules: the sweep, who edited (drift), the lists of import, suppression lists and
sending statistics, tenants that block a deletion, which regions the account has; checked against no resource.
GetCallerIdentity needs nothing."""

INCIDENT: Final = (
    "ses:PutAccountSendingAttributes", "ses:PutAccountDetails", "ses:DeleteSuppressedDestination",
    "ses:PutSuppressedDestination",
)  # fmt: skip
"""What ``recon account pause``, ``resume`` and ``request-production``, ``recon suppression add`` and ``remove`` call;
checked against no resource."""

_ANYWHERE: Final = frozenset(
    {
        *(iam_action(*call.split(":")) for call in OWN),
        *(iam_action(*call.split(":")) for call in rules.READS if call.startswith("sesv2:")),
        *(action for spec in KINDS.values() for action in spec.anywhere),
    }
)
"""Actions that IAM checks against no resource."""

_GONE: Final = (
    "ses:Delete", "iam:Delete", "iam:Detach", "iam:RemoveRole", "iam:List", "iam:Untag", "iam:Tag", "iam:UpdateUser",
    "secretsmanager:Delete", "ssm:Delete",
    *(f"{spec.service.name}:{verb}" for spec in KINDS.values() if spec.service for verb in (
        "Delete", *spec.service.deletes)),
)  # fmt: skip
"""What is done to things that are ours and no longer declared, beside reading them."""

_RELEASED: Final = (
    "ses:UntagResource", "secretsmanager:UntagResource", "ssm:RemoveTagsFromResource",
    *(f"{spec.service.name}:UntagResource" for spec in KINDS.values() if spec.service),
)  # fmt: skip
"""What lets go of things that are ours (``released``), beside those."""

_BY_NAME: Final[tuple[Role, ...]] = ("own", "released")

BOUNDED: Final = frozenset(
    f"iam:{call.format(noun)}" for noun in NOUNS for call in ("Create{}", "Put{}Policy", "Put{}PermissionsBoundary")
)
"""What could give a user or role any permission, if its boundary were not checked (Service Authorization Reference for
IAM, condition key ``iam:PermissionsBoundary``). The removal of a boundary is never granted."""

_SES: Final = {spec.name: f"Ses{camel(spec.name)}" for spec in KINDS.values() if spec.arn}
"""Kinds that have a type in the ARNs of SES -> the statement of their declared resources."""

_REFERRING: Final = {
    kind: frozenset(iam_action("ses", name) for spec in KINDS.values() for name in spec.referring(kind))
    for kind in (*_SES, "")
}
"""Kind -> the actions of other kinds that are also checked against its resources: a set's, against its pool. Under
``""`` those against what is of no kind: an archive."""

_TAGS: Final = "ses:ListTagsForResource"
_TAGS_APART: Final = tuple(
    spec.arn for spec in KINDS.values() if isinstance(spec, PlainSpec) and spec.arn and not spec.tags_in_get
)
"""Types of SES resources, as ARNs say them, whose tags are read by that action."""

_RECORD_NAMES: Final = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
RECORD_TYPES: Final = ("CNAME", "MX", "TXT")
"""The types of record sets that recon writes."""

READ_VERBS: Final = ("Get", "List", "Describe", "Lookup", "BatchGet")


def policy(state: State, purpose: Purpose, *, dns: bool = False, removing: Iterable[str] = ()) -> dict[str, Any]:
    """The policy document for a command on a stack.

    ``dns``: for the role in the account that holds the zones (``stack.dns``), where there is one; the main policy
    then leaves the zones out. ``removing``: folded domains that are no longer declared, whose records may be deleted.
    Raises ReconError where there is no such role.
    """
    if dns and not state.stack.dns_role_arn:
        raise ReconError("the stack has no `dns.role_arn`: its zones are in its own account", hint="leave out --dns")
    grants = named(state) | {Grant("record", pattern) for pattern in _patterns(removing)}
    document = _document(state, purpose, grants, dns)
    for level in (1, 2, 3):
        if len(parts(document)) <= MAX_POLICIES:
            break
        document = _document(state, purpose, grants, dns, level)
    return document


def size(document: Mapping[str, Any]) -> int:
    """The characters of a policy as IAM counts them: without white space."""
    return len("".join(json.dumps(document, ensure_ascii=False, separators=(",", ":")).split()))


def notes(document: Mapping[str, Any], state: State, removing: Iterable[str] = ()) -> Iterator[str]:
    """What somebody should know before they give ``document``, made from these, to a role: sentences."""
    resources = {s["Sid"]: _listed(s["Resource"]) for s in document["Statement"]}
    for kind in REGISTRY.values():
        if isinstance(kind, IamPrincipal) and f"{kind.noun}sUnbounded" in resources:
            yield _unbounded(kind, state)
    if any(arn.split(":")[3] == "*" for sid, arns in resources.items() if sid in _SES.values() for arn in arns):
        yield "The policy would be too large for a role with a name for each resource, so it has name patterns."
    named_ones = {*_arns(named(state), "record"), *_patterns(removing)}
    told = {
        name
        for statement in document["Statement"]
        for name in statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get(_RECORD_NAMES, ())
    }
    if wider := sorted(name for name in told - named_ones if name.startswith("*.")):
        yield (
            "The names of the records do not all fit into one statement, as a batch of changes needs it: it also "
            f"allows records at and below {_some([name.removeprefix('*.') for name in wider])}."
        )


def _unbounded(kind: IamPrincipal, state: State) -> str:
    (section,), noun = KINDS[kind.name].sections, kind.noun.lower()
    free = [e.name for e in state.section(section.name) if not e.values.get("permissions_boundary")]
    more = ", and access keys be made for them" if noun == "user" else ""
    return (
        f"Whoever has this policy can make themselves administrator of the account: {section.name} {_some(free)} "
        f"{'has' if len(free) == 1 else 'have'} no permissions_boundary, so that any policy may be put on them{more}. "
        f"Declare one (it can stand in `defaults: {{{section.entry}: ...}}`), and print this again."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


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
    return frozenset(grant for kind in REGISTRY.values() for grant in kind.all_grants(state))


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
    make = _dns_statements if dns else _statements
    statements = list(make(state, purpose, grants, level))
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
    elsewhere = bool(stack.dns_role_arn)
    anywhere = {a for a in found if a in _ANYWHERE and not (elsewhere and a.startswith("route53:"))}
    yield _statement("Account", anywhere, ["*"])
    if purpose == "apply":
        used = sorted({*stack.regions, *(arn.split(":")[3] for arn in _arns(grants, "own"))} - {"*"})
        yield _statement("AccountByHand", INCIDENT, ["*"], {"StringEquals": {"aws:RequestedRegion": used}})

    yield from _ses_statements(state, purpose, found, grants, level)

    for kind in REGISTRY.values():
        if isinstance(kind, IamPrincipal):
            yield from _principal_statements(state, kind, found, grants)
    yield _statement("Boundaries", {"iam:GetPolicy"} - _ANYWHERE, _arns(grants, "boundary"))
    yield _statement("FirehoseTargets", ["firehose:DescribeDeliveryStream"], _arns(grants, "stream"))
    yield _statement("FirehoseRolesRead", ["iam:GetRole"], _arns(grants, "passed_role"))
    stored = sorted({grant.via.split(".")[1] for grant in grants if grant.role == "store_key"})
    keys = [f"arn:{stack.partition}:kms:{region}:{stack.account}:key/*" for region in stored]
    yield _statement("StoreKeysRead", ["kms:DescribeKey"], keys)
    if purpose == "apply":
        passed = {"StringEquals": {"iam:PassedToService": "ses.amazonaws.com"}}
        yield _statement("FirehoseRoles", ["iam:PassRole"], _arns(grants, "passed_role"), passed)

    yield from _store_statements(state, found, grants)
    yield from _service_statements(state, found, grants)
    topics = _arns(grants, "topic")
    yield _statement("Topics", {a for a in _of(found, "sns:") if "" in found[a]}, topics)
    keyed = sorted({arn.split(":")[3] for arn in topics})
    yield _statement(
        "TopicKeys", _of(found, "kms:"), [f"arn:{stack.partition}:kms:{r}:{stack.account}:key/*" for r in keyed]
    )

    stacks = [f"arn:{stack.partition}:cloudformation:*:{stack.account}:stack/{name}/*" for name in cfn.names_of(stack)]
    yield _statement("FormerStacks", cfn.READS, stacks)

    if elsewhere:
        role = stack.plan_role_arn if purpose == "plan" else stack.apply_role_arn
        if role is None:
            yield _statement("DnsRole", ["sts:AssumeRole"], [str(stack.dns_role_arn)])
    else:
        yield from _zone_statements(found, stack.partition, grants, level)
    yield from _backend_statements(state, purpose)


def _service_statements(
    state: State, found: Mapping[str, set[str]], grants: frozenset[Grant]
) -> Iterator[dict[str, Any]]:
    """Resources of services other than SES: the declared, and those that carry the stack's tag."""
    for spec in [spec for spec in KINDS.values() if spec.service and spec.swept]:
        every = spec.arn_of(state.stack.partition, "*", state.stack.account, "")
        service, kind = every.split(":")[2], every.split(":", 5)[5]
        kinds = {spec.name, *(held.name for held in children(spec.name))}
        called = {a for a in _of(found, f"{service}:") if found[a] & kinds}
        own, released = (
            [a for a in _arns(grants, role) if a.split(":")[2] == service and a.split(":", 5)[5].startswith(kind)]
            for role in _BY_NAME
        )
        sid = camel(spec.name)
        yield _statement(sid, called, own)
        yield _statement(f"{sid}Released", {a for a in called if _reads(a)}, released)
        yield _statement(f"{sid}Owned", _gone(called, state), [f"{every}*"], _owned(state))


def _principal_statements(
    state: State, kind: IamPrincipal, found: Mapping[str, set[str]], grants: frozenset[Grant]
) -> Iterator[dict[str, Any]]:
    """Users, or roles: the declared, each under the condition that its boundary is and stays what the YAML says; those
    that are renamed; and those that carry the stack's tag.

    Where one has no boundary, its policy may be written without limit, and no boundary be put on it.
    """
    noun, nouns = kind.noun.lower(), f"{kind.noun}s"
    iam = {a for a in _of(found, "iam:") if a != "iam:GetPolicy" and _of_noun(a, kind)}
    here = [grant for grant in grants if grant.role == noun]
    yield _statement(nouns, iam - BOUNDED, [grant.arn for grant in here])
    free = [grant.arn for grant in here if not grant.boundary]
    yield _statement(f"{nouns}Unbounded", (BOUNDED & iam) - {f"iam:Put{kind.noun}PermissionsBoundary"}, free)
    for number, boundary in enumerate(sorted({grant.boundary for grant in here} - {""})):
        condition = {"StringEquals": {"iam:PermissionsBoundary": literal(boundary)}}
        bounded = [grant.arn for grant in here if grant.boundary == boundary]
        yield _statement(f"{nouns}Bounded{number}", BOUNDED & iam, bounded, condition)
    renamed = {a for a in iam if _reads(a)} | ({"iam:UpdateUser"} & iam)
    yield _statement(f"{nouns}Renamed", renamed, _arns(grants, "renamed_user") if noun == "user" else ())
    released = {arn for arn in _arns(grants, "released") if arn.split(":")[2] == "iam" and f":{noun}/" in arn}
    yield _statement(f"{nouns}Released", {a for a in iam if _reads(a)}, released)
    account = f"arn:{state.stack.partition}:iam::{state.stack.account}"
    yield _statement(f"{nouns}Owned", _gone(iam, state), [f"{account}:{noun}/*"], _owned(state))
    profiles = {a for a in _of(found, "iam:") if a.endswith("InstanceProfile") and kind.name in found[a]}
    yield _statement("InstanceProfiles", profiles, _arns(grants, "instance_profile"))
    yield _statement("InstanceProfilesOwned", _gone(profiles, state), [f"{account}:instance-profile/*"], _owned(state))
    passed = _arns(grants, "profiled_role") if "iam:AddRoleToInstanceProfile" in profiles else ()
    yield _statement("InstanceProfileRoles", ["iam:PassRole"], passed)


def _of_noun(action: str, kind: IamPrincipal) -> bool:
    """Whether IAM checks an action against a user, or a role, as the kind is one."""
    return not action.endswith("InstanceProfile") and ("Role" in action) == (kind.noun == "Role")


def _ses_statements(
    state: State, purpose: Purpose, found: Mapping[str, set[str]], grants: frozenset[Grant], level: int
) -> Iterator[dict[str, Any]]:
    """Resources of SES: the declared, by type; what they refer to; and those that carry the stack's tag."""
    ses = _of(found, "ses:")
    own, referred, replicated = (_arns(grants, role) for role in ("own", "referred", "replicated"))
    released = {arn for arn in _arns(grants, "released") if arn.split(":")[2] == "ses"}
    for kind, sid in _SES.items():
        kinds = {kind, *(held.name for held in children(kind))}
        called = {a for a in ses if found[a] & kinds}
        yield _statement(sid, called, folded(_of_kind(own, kind), level))
        used = {a for a in called if _reads(a)} | (_REFERRING[kind] & ses)
        yield _statement(f"{sid}Used", used, folded(_of_kind(referred, kind), level))
        yield _statement(f"{sid}Released", {a for a in called if _reads(a)}, folded(_of_kind(released, kind), level))
    yield _statement("SesUsed", _REFERRING[""] & ses, folded(referred - {*_of_kind(referred, *_SES)}, level))

    def everywhere(resource: str) -> str:
        return ses_arn(state.stack.partition, "*", state.stack.account, resource)

    # The addresses of a pool that is deleted, declared or not any more, return to the default pool.
    default = [everywhere(f"{POOL.arn}/{DEFAULT_POOL}")]
    yield _statement("SesDefaultPool", {"ses:PutDedicatedIpInPool"} & ses, default)
    types = [everywhere(f"{spec.arn}/*") for spec in KINDS.values() if spec.arn]
    yield _statement("SesOwned", _gone(ses, state) - {_TAGS}, types, _owned(state))
    # Which tags a resource carries cannot be limited by those tags.
    yield _statement("SesOwnedTags", {_TAGS} & ses, [everywhere(f"{arn}/*") for arn in _TAGS_APART])
    if purpose == "apply":
        yield _statement("DkimReplicas", ["ses:ReplicateEmailIdentityDkimSigningKey"], folded(replicated, level))


def _of_kind(arns: Iterable[str], *kinds: str) -> list[str]:
    """Those of some ARNs of SES whose type is that of one of ``kinds``."""
    types = tuple(f"{KINDS[kind].arn}/" for kind in kinds)
    return [arn for arn in arns if arn.split(":", 5)[5].startswith(types)]


def _owned(state: State) -> dict[str, Any]:
    """The condition that a resource carries the stack's tag."""
    return {"StringEquals": {f"aws:ResourceTag/{STACK}": state.stack.scope}}


def _gone(found: Iterable[str], state: State) -> set[str]:
    """Of some actions, those that are needed on what is ours and no longer declared."""
    needed = (*_GONE, *(_RELEASED if state.released else ()))
    return {a for a in found if _reads(a) or a.startswith(needed)}


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
        yield _statement(f"{sid}Owned", _gone(mine, state), [anything], _owned(state))
        yield _statement(
            f"Dkim{sid}", {a for a, kinds in here.items() if "email_identity" in kinds}, _arns(grants, dkim)
        )
    if "secretsmanager:CreateSecret" not in found:
        return
    for number, (via, key) in enumerate(sorted({(g.via, g.arn) for g in grants if g.role == "store_key"})):
        (service, region), name = via.split(".")[:2], key.rpartition(":")[2]
        condition: dict[str, Any] = {"StringEquals": {"kms:ViaService": via}}
        keys = f"arn:{place.format('kms', region)}:key"
        arn = literal(key) if key.startswith("arn:") else f"{keys}/{key}"
        if name.startswith("alias/"):
            arn = f"{keys}/*"
            condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": name}
        uses = ["kms:Encrypt"] if service == "ssm" else []
        yield _statement(f"StoreKey{number}", [*uses, "kms:Decrypt", "kms:GenerateDataKey"], [arn], condition)


def _zone_statements(
    found: Iterable[str], partition: str, grants: frozenset[Grant], level: int
) -> Iterator[dict[str, Any]]:
    """All zones can be read. Records are written at and below declared names: of one zone in one statement, since IAM
    checks a whole batch against each. ``ForAllValues`` would hold without a key, but every batch has these.
    """
    zones, place = _of(found, "route53:"), f"arn:{partition}:route53:::"
    write, tag, published = "route53:ChangeResourceRecordSets", "route53:ChangeTagsForResource", "route53:GetChange"
    yield _statement("Zones", zones - {write, tag, published}, [f"{place}hostedzone/*"])
    by_zone = _names_by_zone([grant for grant in grants if grant.role == "record"], apart=level == 0)
    for number, (zone, names) in enumerate(sorted(by_zone.items())):
        place_of, sid = [f"{place}hostedzone/{zone}"], f"Records{number or ''}"
        bare = _statement(sid, {write}, place_of, _record_condition(()))
        room = MAX_CHARACTERS - size({"Version": "2012-10-17", "Statement": [bare]})
        yield _statement(sid, {write} & zones, place_of, _record_condition(folded_names(names, room)))
    tagged = ["*"] if "*" in by_zone else list(by_zone)
    yield _statement("ZoneTags", {tag} & zones, [f"{place}hostedzone/{zone}" for zone in tagged])
    yield _statement("ZoneChanges", zones & {published}, [f"{place}change/*"])


def _record_condition(names: Iterable[str]) -> dict[str, Any]:
    """That a batch has records of recon's types alone, at and below ``names`` alone."""
    return {
        "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": list(RECORD_TYPES)},
        "ForAllValues:StringLike": {_RECORD_NAMES: _patterns(names)},
    }


def _names_by_zone(records: Iterable[Grant], *, apart: bool) -> dict[str, set[str]]:
    """The names of each zone that the YAML names, and under ``*`` those of zones that only AWS knows. These may be in
    the former, too, where they share a domain of two labels: no zone is wider. ``apart`` False: all together."""
    found: dict[str, set[str]] = {}
    for grant in records:
        found.setdefault(grant.via if apart and grant.via else "*", set()).add(grant.arn.removeprefix("*."))
    for zone, names in found.items():
        wide = {_last(name, 2) for name in names}
        names |= {name for name in found.get("*", ()) if zone != "*" and _last(name, 2) in wide}
    return found


def _dns_statements(state: State, purpose: Purpose, grants: frozenset[Grant], level: int) -> Iterator[dict[str, Any]]:
    """For the role in the account that holds the zones."""
    found = actions(purpose)
    partition = str(state.stack.dns_role_arn).split(":")[1]
    anywhere = {"route53:ListHostedZones", "tag:GetResources", "cloudtrail:LookupEvents"}
    yield _statement("Account", anywhere & found.keys(), ["*"])
    yield from _zone_statements(found, partition, grants, level)


def _backend_statements(state: State, purpose: Purpose) -> Iterator[dict[str, Any]]:
    """The journal is read by drift and `recon history`; lock and journal are written by apply."""
    place = location_of(state.stack)
    if not place.bucket:
        return
    bucket = f"arn:{state.stack.partition}:s3:::{place.bucket}"
    keys = [scope_key(scope) for scope in state.stack.scopes]
    journals, locks = [f"{place.prefix}journal/{k}/*" for k in keys], [f"{place.prefix}locks/{k}.json" for k in keys]
    yield _statement("Backend", ["s3:ListBucket"], [bucket], {"StringLike": {"s3:prefix": [*journals, *locks]}})
    written = ["s3:PutObject"] if purpose == "apply" else []
    yield _statement("Journal", ["s3:GetObject", *written], [f"{bucket}/{key}" for key in journals])
    if purpose == "apply":
        lock = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        yield _statement("Lock", lock, [f"{bucket}/{key}" for key in locks])


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


def folded_names(names: Iterable[str], room: int) -> set[str]:
    """Domains that stand for all names at and below ``names``, whose patterns take at most ``room`` characters.

    Where they do not fit, domains beside each other are given by their parent, the longest first.
    """
    given = set(names)
    found = {name for name in given if not any(parent in given for parent in parents(name))}
    for labels in range(max((name.count(".") for name in found), default=0), 0, -1):
        if size({"": _patterns(found)}) <= room:
            break
        above = Counter(_last(name, labels) for name in found if name.count(".") >= labels)
        many = {parent for parent, number in above.items() if number > 1 or labels == 1}
        found = {parent if (parent := _last(name, labels)) in many else name for name in found}
    return found


def _patterns(names: Iterable[str]) -> list[str]:
    """The names and all names below them, as Route 53's condition key spells them; of a top-level domain those below
    it alone."""
    spelled = [to_route53(name).removesuffix(".") for name in names]
    return sorted({pattern for name in spelled for pattern in (name, f"*.{name}") if "." in pattern})


def _last(name: str, labels: int) -> str:
    return ".".join(name.split(".")[-labels:])


def _any_region(arn: str) -> str:
    parts = arn.split(":", 5)
    return ":".join([*parts[:3], "*", *parts[4:]]) if parts[2] == "ses" else arn


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
