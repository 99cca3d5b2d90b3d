"""SMTP users: a password that leaks must not be worth much."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from reconciler import regions
from reconciler.model import Document, Entry
from reconciler.names import domain_of
from reconciler.regions import configuration_set_arn, identity_arn
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView, sender_domain

_WIDE_PREFIX = {4: 8, 6: 32}
_NETWORK_KEYS = frozenset({"aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"})


def _user(name: str) -> str:
    return f"smtp_user/{name}"


def _credential(name: str) -> str:
    return f"smtp_credential/{name}"


def _live(view: RuleView, entry: Entry) -> Resource | None:
    found = view.resource(_user(entry.name))
    return found if found is not None and found.before is not None else None


def _senders(entry: Entry) -> list[str]:
    return [str(pattern) for pattern in entry.values.get("from_addresses") or ()]


def _condition_keys(entry: Entry) -> set[str]:
    return {str(key).lower() for keys in (entry.values.get("conditions") or {}).values() for key in keys}


@rule(
    "smtp-any-from",
    "warning",
    "An SMTP user may send from any address",
    "SES Developer Guide, Controlling access: ses:FromAddress",
)
def any_sender(view: RuleView) -> Iterator[RawFinding]:
    """No from_addresses, or a pattern that holds every domain."""
    for entry in view.users:
        open_patterns = [pattern for pattern in _senders(entry) if "@" not in pattern or not _fixed(pattern)]
        if open_patterns or (not _senders(entry) and "ses:fromaddress" not in _condition_keys(entry)):
            what = f"{open_patterns[0]!r} allows any domain" if open_patterns else "it has no from_addresses"
            yield RawFinding(
                _user(entry.name),
                f"{entry.name} may send in the name of every identity of the account: {what}",
                'write from_addresses: ["*@shop.acme.com"]',
            )


def _fixed(pattern: str) -> bool:
    return bool(sender_domain(pattern))


@rule(
    "smtp-any-network",
    "note",
    "An SMTP user may send from any network",
    "IAM User Guide, Global condition keys: aws:SourceIp, aws:SourceVpce",
)
def any_network(view: RuleView) -> Iterator[RawFinding]:
    """Neither source_ips nor a condition on the network."""
    for entry in view.users:
        if not entry.values.get("source_ips") and not _NETWORK_KEYS & _condition_keys(entry):
            yield RawFinding(
                _user(entry.name),
                f"the password of {entry.name} works from everywhere",
                "write source_ips with the networks of its consumers",
            )


@rule(
    "smtp-wide-network",
    "warning",
    "source_ips that hold half of the Internet",
    "IAM User Guide, Global condition keys: aws:SourceIp",
)
def wide_network(view: RuleView) -> Iterator[RawFinding]:
    """Wider than /8 (IPv4) or /32 (IPv6)."""
    for entry in view.users:
        for text in entry.values.get("source_ips") or ():
            try:
                network = ipaddress.ip_network(str(text), strict=False)
            except ValueError:
                continue  # the schema checks say so
            if network.prefixlen < _WIDE_PREFIX[network.version]:
                yield RawFinding(
                    _user(entry.name), f"{text} of {entry.name} limits next to nothing", "name the real networks"
                )


@rule(
    "smtp-vpc-and-ip",
    "warning",
    "source_ips beside a VPC endpoint condition",
    "IAM User Guide, aws:SourceIp is not present for calls through a VPC endpoint",
)
def vpc_and_ip(view: RuleView) -> Iterator[RawFinding]:
    """Both together can never hold."""
    for entry in view.users:
        both = {"aws:sourcevpc", "aws:sourcevpce"} & _condition_keys(entry)
        if entry.values.get("source_ips") and both:
            yield RawFinding(
                _user(entry.name),
                f"{entry.name} asks for source_ips and {sorted(both)[0]}: through a VPC endpoint there "
                "is no aws:SourceIp, so nothing is allowed",
                "use one of the two (aws:VpcSourceIp inside a VPC)",
            )


@rule(
    "smtp-any-identity",
    "note",
    "An SMTP user may use every identity",
    "SES Developer Guide, Controlling access: resource ARNs",
)
def any_identity(view: RuleView) -> Iterator[RawFinding]:
    """No identities: the policy's resource is *."""
    for entry in view.users:
        if not entry.values.get("identities"):
            yield RawFinding(
                _user(entry.name), f"{entry.name} may send through every identity of the account", "list its identities"
            )


@rule(
    "smtp-from-case",
    "warning",
    "Capitals in from_addresses",
    "SES Developer Guide, Controlling access: ses:FromAddress compares with case",
)
def from_case(view: RuleView) -> Iterator[RawFinding]:
    """IAM compares with case, so the same address in lower case is refused."""
    for entry in view.users:
        for pattern in _senders(entry):
            if domain_of(pattern) != domain_of(pattern).lower():
                yield RawFinding(
                    _user(entry.name),
                    f"{pattern!r} of {entry.name} is compared with case: mail from {pattern.lower()} is refused",
                    "write the domain in lower case",
                )


@rule(
    "smtp-from-unverified",
    "warning",
    "An SMTP user's From domain has no identity",
    "SES Developer Guide, Verified identities: 554 Email address is not verified",
)
def from_unverified(view: RuleView) -> Iterator[RawFinding]:
    """In a region of the stack where neither the domain nor one above it will be an identity."""
    for entry in view.users:
        for domain in sorted({d for d in map(sender_domain, _senders(entry)) if d}):
            lacking = [r for r in _identity_regions(view) if view.covering_identity(r, domain) is None]
            if lacking and not any(_address_identity(view, r, entry) for r in lacking):
                yield RawFinding(
                    _user(entry.name),
                    f"{entry.name} may send from {domain}, which is no identity in {', '.join(lacking)}: "
                    "SES answers 554 there",
                    f"declare the domain {domain} for these regions",
                )


def _identity_regions(view: RuleView) -> list[str]:
    return sorted({i.region for i in view.identities if i.after is not None and i.region})


def _address_identity(view: RuleView, region: str, entry: Entry) -> bool:
    return any(
        identity.region == region and any(fnmatchcase(identity.name, pattern) for pattern in _senders(entry))
        for identity in view.address_identities
    )


@rule(
    "smtp-shared-sender",
    "note",
    "Two SMTP users send from the same address",
    "one user a role: who sent what, and who can be stopped alone",
)
def shared_sender(view: RuleView) -> Iterator[RawFinding]:
    """Nobody can tell from the From line which of them sent a message."""
    first: dict[str, str] = {}
    for entry in view.users:
        for pattern in sorted(set(_senders(entry))):
            other = first.setdefault(pattern, entry.name)
            if other != entry.name:
                yield RawFinding(
                    _user(entry.name),
                    f"{entry.name} and {other} both send from {pattern}",
                    "give each role its own address, so that one can be found and stopped alone",
                )


@rule("smtp-no-rotation", "note", "An access key without a maximum age", "IAM User Guide, Rotating access keys")
def no_rotation(view: RuleView) -> Iterator[RawFinding]:
    """No access_key.max_age_days."""
    for entry in view.users:
        if not (entry.values.get("access_key") or {}).get("max_age_days"):
            yield RawFinding(
                _credential(entry.name),
                f"the key of {entry.name} never comes due",
                "write access_key: {max_age_days: 90}",
            )


@rule(
    "smtp-no-overlap",
    "warning",
    "A key is replaced under consumers that are set by hand",
    "IAM User Guide, Rotating access keys: keep the old key while it is in use",
)
def no_overlap(view: RuleView) -> Iterator[RawFinding]:
    """Declared consumers, and overlap_days of 0."""
    for entry in view.users:
        if entry.values.get("consumers") and (entry.values.get("access_key") or {}).get("overlap_days") == 0:
            yield RawFinding(
                _credential(entry.name),
                f"{entry.name} has consumers that are set by hand, and no overlap: they stop the "
                "moment the key is rotated",
                "write overlap_days: 7",
            )


@rule(
    "smtp-consumers",
    "warning",
    "Consumers of a password must be told",
    "SES Developer Guide, SMTP credentials: the password follows the access key",
)
def consumers(view: RuleView) -> Iterator[RawFinding]:
    """The plan replaces or deletes a credential that somebody entered somewhere by hand."""
    for entry in view.users:
        credential = view.resource(_credential(entry.name))
        if credential is None or credential.change is None or credential.before is None:
            continue
        if credential.change.action in ("replace", "delete"):
            names = [str(c.get("name")) for c in entry.values.get("consumers") or () if isinstance(c, Mapping)]
            if names:
                yield RawFinding(
                    credential.address,
                    f"the password of {entry.name} changes; it is entered by hand at {', '.join(names)}",
                    "`recon smtp ack` records that a consumer has the new one",
                )


@rule("smtp-key-old", "warning", "An access key older than its maximum age", "IAM User Guide, Rotating access keys")
def key_old(view: RuleView) -> Iterator[RawFinding]:
    """Live keys by their creation date."""
    for entry in view.users:
        limit = (entry.values.get("access_key") or {}).get("max_age_days")
        credential = view.resource(_credential(entry.name))
        created = _created(credential) if credential is not None else None
        if created and limit:
            age = (view.now.date() - datetime.fromisoformat(str(created)).date()).days
            if age > limit:
                yield RawFinding(
                    _credential(entry.name),
                    f"the key of {entry.name} is {age} days old; {limit} are allowed",
                    f"`recon smtp rotate {entry.name}`",
                )


def _created(credential: Resource) -> str | None:
    """When the live key of a credential was made (ISO 8601), or None where there is none."""
    keys = credential.was("keys") or ()
    return next((key.get("created") for key in keys if key.get("id") == credential.was("key")), None)


@rule(
    "smtp-wider",
    "warning",
    "An SMTP user may do more than its own policy says",
    "IAM User Guide, Policy evaluation: permissions add up",
)
def wider_policy(view: RuleView) -> Iterator[RawFinding]:
    """Groups (AWSSESSendingGroupDoNotRename of the console), attached policies, other inline policies."""
    for entry in view.users:
        live = _live(view, entry)
        if live is None:
            continue
        for fact, word in (("groups", "group"), ("attached", "attached policy"), ("inline", "inline policy")):
            for name in live.facts.get(fact) or ():
                yield RawFinding(
                    live.address,
                    f"{entry.name} has the {word} {name} beside its own policy, so that one limits nothing",
                    "take the user out of it once its own policy is proven; recon leaves it alone",
                )


@rule(
    "smtp-set-arn",
    "error",
    "A default configuration set is missing in an SMTP user's policy",
    "SES Developer Guide, IAM: the configuration set is a resource of ses:SendRawEmail; else 554",
)
def set_arn(view: RuleView) -> Iterator[RawFinding]:
    """identities limits the policy, and the default set of one of them is not among its resources."""
    needs = _set_needs(view)
    for user in view.resources("smtp_user"):
        resources = _send_resources(user.after)
        if user.after is None or resources is None or "*" in resources:
            continue
        allowed, was = _Arns(resources), _Arns(_send_resources(user.before) or ())
        for own in sorted(allowed.among(needs)):
            identity, needed = needs[own]
            if needed in allowed:
                continue
            name = needed.rpartition("/")[2]
            worked = own in was and (needed in was or identity.was("configuration_set_name") != name)
            yield RawFinding(
                user.address,
                f"{user.name} may send as {identity.name} in {identity.region}, but not through its default set "
                f"{name}: SES answers 554",
                f"add {needed} to its resources",
                hurts=worked and view.flows(identity),
                new=identity.is_new or user.is_new,
            )


def _set_needs(view: RuleView) -> dict[str, tuple[Resource, str]]:
    """Identity ARN -> (identity, ARN of its default set afterwards), where there is one."""
    stack = view.state.stack
    found: dict[str, tuple[Resource, str]] = {}
    for identity in view.resources("email_identity"):
        name, region = identity.will("configuration_set_name"), identity.region or ""
        if name:
            own = identity_arn(stack.partition, region, stack.account, identity.name)
            found[own] = (identity, configuration_set_arn(stack.partition, region, stack.account, str(name)))
    return found


class _Arns:
    """Resource patterns of a policy: exact ARNs are found without trying every pattern."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact = {p for p in patterns if "*" not in p and "?" not in p}
        self._patterns = [p for p in patterns if p not in self._exact]

    def __contains__(self, arn: str) -> bool:
        return arn in self._exact or any(fnmatchcase(arn, pattern) for pattern in self._patterns)

    def among(self, arns: Mapping[str, object]) -> set[str]:
        """Those of ``arns`` that are in it."""
        if self._patterns:
            return {arn for arn in arns if arn in self}
        return {arn for arn in self._exact if arn in arns}


def _send_resources(spec: Document | None) -> list[str] | None:
    """The resources that a user may send through, or None where there is no such right (or no user)."""
    policy = (spec or {}).get("policy")
    if not isinstance(policy, Mapping):
        listed = (spec or {}).get("identities")
        return [str(arn) for arn in listed] if listed else None
    statements = policy.get("Statement")
    found: list[str] = []
    for statement in statements if isinstance(statements, list | tuple) else [statements]:
        if not isinstance(statement, Mapping) or statement.get("Effect") != "Allow":
            continue
        if any(fnmatchcase("ses:sendrawemail", str(action).lower()) for action in _listed(statement.get("Action"))):
            found += [str(resource) for resource in _listed(statement.get("Resource"))]
    return found or None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


@rule(
    "smtp-no-endpoint",
    "warning",
    "A region without an SMTP endpoint",
    "AWS General Reference, Amazon SES endpoints and quotas",
)
def no_endpoint(view: RuleView) -> Iterator[RawFinding]:
    """Passwords for it cannot be used."""
    for entry in view.users:
        lacking = [region for region in _identity_regions(view) if not regions.has_smtp(region)]
        if lacking:
            yield RawFinding(
                _credential(entry.name),
                f"SES has no SMTP endpoint in {', '.join(lacking)}: {entry.name} cannot log in there",
                "send through the API in these regions, or through SMTP in another",
            )
