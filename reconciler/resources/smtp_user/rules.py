"""Rules about SMTP users: a password that leaks should allow as little as possible."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from reconciler.model import Document, Entry
from reconciler.names import domain_of
from reconciler.regions import configuration_set_arn, identity_arn
from reconciler.rules import registry
from reconciler.rules.registry import RawFinding
from reconciler.rules.view import Resource, RuleView, sender_domain

rule = partial(registry.rule, theme="SMTP users", example="smtp_user/newsletter")

_WIDE_PREFIX = {4: 8, 6: 32}
_NETWORK_KEYS = frozenset({"aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"})


def _user(name: str) -> str:
    return f"smtp_user/{name}"


def _senders(entry: Entry) -> list[str]:
    return [str(pattern) for pattern in entry.values.get("from_addresses") or ()]


def _condition_keys(entry: Entry) -> set[str]:
    return {str(key).lower() for keys in (entry.values.get("conditions") or {}).values() for key in keys}


@rule(
    "smtp-any-from",
    "warning",
    "An SMTP user may send from any address",
    "SES Developer Guide, Controlling access: ses:FromAddress",
    why="A leaked password then allows sending in the name of every identity of the account. And nobody can tell "
    "which user sent a message.",
    fix='`from_addresses: ["*@shop.acme.com"]`',
)
def any_sender(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user has no `from_addresses`, or a pattern that allows any domain."""
    for entry in view.users:
        open_patterns = [pattern for pattern in _senders(entry) if not sender_domain(pattern)]
        if open_patterns or (not _senders(entry) and "ses:fromaddress" not in _condition_keys(entry)):
            what = f"{open_patterns[0]!r} allows any domain" if open_patterns else "it has no from_addresses"
            yield RawFinding(
                _user(entry.name),
                f"{entry.name} may send in the name of every identity of the account: {what}",
                'write from_addresses: ["*@shop.acme.com"]',
            )


@rule(
    "smtp-any-network",
    "note",
    "An SMTP user may send from any network",
    "IAM User Guide, Global condition keys: aws:SourceIp, aws:SourceVpce",
    why="A leaked password works from anywhere.",
    fix="List the networks of its consumers under `source_ips`. If they are unknown (a webmail service), waive this "
    "and give that as the reason.",
)
def any_network(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user has neither `source_ips` nor a condition on the network."""
    for entry in view.users:
        if not entry.values.get("source_ips") and not _NETWORK_KEYS & _condition_keys(entry):
            yield RawFinding(
                _user(entry.name),
                f"the password of {entry.name} works from anywhere",
                "list the networks of its consumers under source_ips",
            )


@rule(
    "smtp-wide-network",
    "warning",
    "source_ips that allow a large part of the Internet",
    "IAM User Guide, Global condition keys: aws:SourceIp",
    why="It looks like a restriction but restricts almost nothing.",
    fix="List the real networks.",
)
def wide_network(view: RuleView) -> Iterator[RawFinding]:
    """An entry of `source_ips` is wider than /8 (IPv4) or /32 (IPv6)."""
    for entry in view.users:
        for text in entry.values.get("source_ips") or ():
            try:
                network = ipaddress.ip_network(str(text), strict=False)
            except ValueError:
                continue  # the checks of the YAML report it
            if network.prefixlen < _WIDE_PREFIX[network.version]:
                yield RawFinding(
                    _user(entry.name),
                    f"{text} in source_ips of {entry.name} restricts almost nothing",
                    "list the real networks",
                )


@rule(
    "smtp-vpc-and-ip",
    "warning",
    "source_ips together with a VPC endpoint condition",
    "IAM User Guide, aws:SourceIp is not present for calls through a VPC endpoint",
    why="Calls through a VPC endpoint have no `aws:SourceIp`. Both conditions together are never true, so everything "
    "is denied.",
    fix="Use one of the two. Inside a VPC, `aws:VpcSourceIp` restricts addresses.",
)
def vpc_and_ip(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user has `source_ips` and a condition on a VPC or VPC endpoint."""
    for entry in view.users:
        both = {"aws:sourcevpc", "aws:sourcevpce"} & _condition_keys(entry)
        if entry.values.get("source_ips") and both:
            yield RawFinding(
                _user(entry.name),
                f"{entry.name} has source_ips and a condition on {sorted(both)[0]}: calls through a VPC endpoint have "
                "no aws:SourceIp, so everything is denied",
                "use one of the two (aws:VpcSourceIp inside a VPC)",
            )


@rule(
    "smtp-any-identity",
    "note",
    "An SMTP user may use every identity",
    "SES Developer Guide, Controlling access: resource ARNs",
    why="It may use every identity and configuration set of the account, also those that are created later.",
    fix="`identities: [shop.acme.com]`",
)
def any_identity(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user lists no `identities`, so the resource of its policy is `*`."""
    for entry in view.users:
        if not entry.values.get("identities"):
            yield RawFinding(
                _user(entry.name),
                f"{entry.name} may use every identity of the account",
                "list its identities",
            )


@rule(
    "smtp-from-case",
    "warning",
    "Capitals in from_addresses",
    "SES Developer Guide, Controlling access: ses:FromAddress compares with case",
    why="IAM compares `ses:FromAddress` case-sensitively: mail from the same domain in lower case is rejected.",
    fix="Write the domain in lower case.",
)
def from_case(view: RuleView) -> Iterator[RawFinding]:
    """A domain in `from_addresses` has capitals."""
    for entry in view.users:
        for pattern in _senders(entry):
            if domain_of(pattern) != domain_of(pattern).lower():
                yield RawFinding(
                    _user(entry.name),
                    f"IAM compares {pattern!r} of {entry.name} case-sensitively: mail from {pattern.lower()} is "
                    "rejected",
                    "write the domain in lower case",
                )


@rule(
    "smtp-from-unverified",
    "warning",
    "The From domain of an SMTP user has no identity",
    "SES Developer Guide, Verified identities: 554 Email address is not verified",
    why="SES answers 554 there. After a failover to that region, the user could not send.",
    fix="Declare the domain for these regions.",
)
def from_unverified(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user may send from a domain, and in a region where the stack has identities neither that domain nor
    one above it is an identity."""
    for entry in view.users:
        for domain in sorted({d for d in map(sender_domain, _senders(entry)) if d}):
            lacking = [r for r in view.identity_regions if view.covering_identity(r, domain) is None]
            if lacking and not any(_address_identity(view, r, entry) for r in lacking):
                yield RawFinding(
                    _user(entry.name),
                    f"{entry.name} may send from {domain}, which has no identity in {', '.join(lacking)}: SES answers "
                    "554 there",
                    f"declare the domain {domain} for these regions",
                )


def _address_identity(view: RuleView, region: str, entry: Entry) -> bool:
    return any(
        identity.region == region and any(fnmatchcase(identity.name, pattern) for pattern in _senders(entry))
        for identity in view.address_identities
    )


@rule(
    "smtp-shared-sender",
    "note",
    "Two SMTP users send from the same address",
    "one SMTP user for each role, so that one can be found and stopped alone",
    why="When something goes wrong, nobody can tell which process sent a message, or stop that one alone.",
    fix="Give each role its own address, and its own configuration set.",
)
def shared_sender(view: RuleView) -> Iterator[RawFinding]:
    """Two SMTP users list the same pattern in `from_addresses`."""
    first: dict[str, str] = {}
    for entry in view.users:
        for pattern in sorted(set(_senders(entry))):
            other = first.setdefault(pattern, entry.name)
            if other != entry.name:
                yield RawFinding(
                    _user(entry.name),
                    f"{entry.name} and {other} both send from {pattern}",
                    "give each role its own address, so that you can find and stop one alone",
                )


@rule(
    "smtp-wider",
    "warning",
    "An SMTP user has more permissions than its own policy",
    "IAM User Guide, Policy evaluation: permissions add up",
    why="IAM adds up permissions. Users that the SES console made are in the group `AWSSESSendingGroupDoNotRename`, "
    "which allows sending as anybody. The user's own policy then restricts nothing.",
    fix="Remove the user from the group when its own policy is proven to work. recon reports groups and policies, but "
    "does not change them.",
)
def wider_policy(view: RuleView) -> Iterator[RawFinding]:
    """A live SMTP user is in a group, or has attached policies or other inline policies."""
    for entry in view.users:
        live = view.resource(_user(entry.name))
        if live is None or live.before is None:
            continue
        for fact, word in (
            ("groups", "group"),
            ("attached_policies", "attached policy"),
            ("inline_policies", "inline policy"),
        ):
            for name in live.facts.get(fact) or ():
                yield RawFinding(
                    live.address,
                    f"{entry.name} also has the {word} {name}, so its own policy restricts nothing",
                    f"remove the {word} when the user's own policy is proven to work; recon does not change it",
                )


@rule(
    "smtp-set-arn",
    "error",
    "The default configuration set of an identity is missing in the policy of an SMTP user",
    "SES Developer Guide, IAM: the configuration set is a resource of ses:SendRawEmail; else 554",
    why="The configuration set is a resource of `ses:SendRawEmail`, too, so SES answers 554. It is an error if this "
    "plan breaks what works today.",
    fix="Add the ARN of the configuration set to the resources. For `identities` that recon can read, it does so "
    "itself.",
)
def set_arn(view: RuleView) -> Iterator[RawFinding]:
    """The policy of an SMTP user names an identity, but not the default configuration set of that identity."""
    needs = _set_needs(view)
    for user in view.resources_after("smtp_user"):
        resources = _send_resources(user.after)
        if resources is None or "*" in resources:
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
                f"{user.name} may send as {identity.name} in {identity.region}, but may not use its default set "
                f"{name}: SES answers 554",
                f"add {needed} to its resources",
                hurts=worked and view.flows(identity),
                new=identity.is_new or user.is_new,
            )


def _set_needs(view: RuleView) -> dict[str, tuple[Resource, str]]:
    """Identity ARN -> (identity, ARN of its default set after apply), for identities that have one."""
    stack = view.state.stack
    found: dict[str, tuple[Resource, str]] = {}
    for identity in view.resources("email_identity"):
        name, region = identity.will("configuration_set_name"), identity.region or ""
        if name:
            own = identity_arn(stack.partition, region, stack.account, identity.name)
            found[own] = (identity, configuration_set_arn(stack.partition, region, stack.account, str(name)))
    return found


class _Arns:
    """The resource patterns of a policy; an exact ARN is found without trying every pattern."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact = {p for p in patterns if "*" not in p and "?" not in p}
        self._patterns = [p for p in patterns if p not in self._exact]

    def __contains__(self, arn: str) -> bool:
        return arn in self._exact or any(fnmatchcase(arn, pattern) for pattern in self._patterns)

    def among(self, arns: Mapping[str, object]) -> set[str]:
        """Those of ``arns`` that match a pattern."""
        if self._patterns:
            return {arn for arn in arns if arn in self}
        return {arn for arn in self._exact if arn in arns}


def _send_resources(spec: Document | None) -> list[str] | None:
    """The resources that a user's policy allows sending with; None without such a permission, or without a user."""
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
