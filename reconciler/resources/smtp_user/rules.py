"""Rules about SMTP users: a password that leaks should allow as little as possible."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial

from reconciler.kinds.other_policies import Judged
from reconciler.kinds.policy import listed, statements
from reconciler.model import Document, Entry
from reconciler.names import domain_of
from reconciler.regions import configuration_set_arn, iam_pattern, identity_arn, meant
from reconciler.resources.smtp_user.kind import KIND
from reconciler.rules import registry
from reconciler.rules.registry import Problem, RawFinding, RuleFor
from reconciler.rules.view import Resource, RuleView, sender_domain

rule = partial(registry.rule, theme="SMTP users", example="smtp_user/newsletter")
user_rule = RuleFor(
    lambda view: ((_user(entry.name), entry) for entry in view.users), "SMTP users", "smtp_user/newsletter"
)

_WIDE_PREFIX = {4: 8, 6: 32}
_NETWORK_KEYS = frozenset({"aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"})


def _user(name: str) -> str:
    return f"smtp_user/{name}"


def _senders(entry: Entry) -> list[str]:
    return [str(pattern) for pattern in entry.values.get("from_addresses") or ()]


def _condition_keys(entry: Entry) -> set[str]:
    return {str(key).lower() for keys in (entry.values.get("conditions") or {}).values() for key in keys}


@user_rule("smtp-any-from", "warning", "An SMTP user may send from any address")
def any_sender(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An SMTP user has no `from_addresses`, or a pattern that allows any domain.

    Why: A leaked password then allows sending in the name of every identity of the account. And nobody can tell which
    user sent a message.
    Fix: `from_addresses: ["*@shop.acme.com"]`
    Source: SES Developer Guide, Controlling access: ses:FromAddress
    """
    open_patterns = [pattern for pattern in _senders(entry) if not sender_domain(pattern)]
    if open_patterns or (not _senders(entry) and "ses:fromaddress" not in _condition_keys(entry)):
        what = f"{open_patterns[0]!r} allows any domain" if open_patterns else "it has no from_addresses"
        yield Problem(
            f"{entry.name} may send in the name of every identity of the account: {what}",
            'write from_addresses: ["*@shop.acme.com"]',
        )


@user_rule("smtp-any-network", "note", "An SMTP user may send from any network")
def any_network(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An SMTP user has neither `source_ips` nor a condition on the network.

    Why: A leaked password works from anywhere.
    Fix: List the networks of its consumers under `source_ips`. If they are unknown (a webmail service), waive this and
    give that as the reason.
    Source: IAM User Guide, Global condition keys: aws:SourceIp, aws:SourceVpce
    """
    if not entry.values.get("source_ips") and not _NETWORK_KEYS & _condition_keys(entry):
        yield Problem(
            f"the password of {entry.name} works from anywhere", "list the networks of its consumers under source_ips"
        )


@user_rule("smtp-wide-network", "warning", "source_ips that allow a large part of the Internet")
def wide_network(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An entry of `source_ips` is wider than /8 (IPv4) or /32 (IPv6).

    Why: It looks like a restriction but restricts almost nothing.
    Fix: List the real networks.
    Source: IAM User Guide, Global condition keys: aws:SourceIp
    """
    for text in entry.values.get("source_ips") or ():
        try:
            network = ipaddress.ip_network(str(text), strict=False)
        except ValueError:
            continue  # the checks of the YAML report it
        if network.prefixlen < _WIDE_PREFIX[network.version]:
            yield Problem(f"{text} in source_ips of {entry.name} restricts almost nothing", "list the real networks")


@user_rule("smtp-vpc-and-ip", "warning", "source_ips together with a VPC endpoint condition")
def vpc_and_ip(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An SMTP user has `source_ips` and a condition on a VPC or VPC endpoint.

    Why: Calls through a VPC endpoint have no `aws:SourceIp`. Both conditions together are never true, so everything is
    denied.
    Fix: Use one of the two. Inside a VPC, `aws:VpcSourceIp` restricts addresses.
    Source: IAM User Guide, aws:SourceIp is not present for calls through a VPC endpoint
    """
    both = {"aws:sourcevpc", "aws:sourcevpce"} & _condition_keys(entry)
    if entry.values.get("source_ips") and both:
        yield Problem(
            f"{entry.name} has source_ips and a condition on {sorted(both)[0]}: calls through a VPC endpoint have "
            "no aws:SourceIp, so everything is denied",
            "use one of the two (aws:VpcSourceIp inside a VPC)",
        )


@user_rule("smtp-any-identity", "note", "An SMTP user may use every identity")
def any_identity(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An SMTP user lists no `identities`, so the resource of its policy is `*`.

    Why: It may use every identity and configuration set of the account, also those that are created later.
    Fix: `identities: [shop.acme.com]`
    Source: SES Developer Guide, Controlling access: resource ARNs
    """
    if not entry.values.get("identities"):
        yield Problem(f"{entry.name} may use every identity of the account", "list its identities")


@user_rule("smtp-from-case", "warning", "Capitals in from_addresses")
def from_case(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A domain in `from_addresses` has capitals.

    Why: IAM compares `ses:FromAddress` case-sensitively: mail from the same domain in lower case is rejected.
    Fix: Write the domain in lower case.
    Source: SES Developer Guide, Controlling access: ses:FromAddress compares with case
    """
    for pattern in _senders(entry):
        if domain_of(pattern) != domain_of(pattern).lower():
            yield Problem(
                f"IAM compares {pattern!r} of {entry.name} case-sensitively: mail from {pattern.lower()} is rejected",
                "write the domain in lower case",
            )


@user_rule("smtp-from-unverified", "warning", "The From domain of an SMTP user has no identity")
def from_unverified(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An SMTP user may send from a domain, and in a region where the stack has identities neither that domain nor one
    above it is an identity.

    Why: SES answers 554 there. After a failover to that region, the user could not send.
    Fix: Declare the domain for these regions.
    Source: SES Developer Guide, Verified identities: 554 Email address is not verified
    """
    for domain in sorted({d for d in map(sender_domain, _senders(entry)) if d}):
        lacking = [r for r in view.identity_regions if view.covering_identity(r, domain) is None]
        if lacking and not any(_address_identity(view, r, entry) for r in lacking):
            yield Problem(
                f"{entry.name} may send from {domain}, which has no identity in {', '.join(lacking)}: SES answers "
                "554 there",
                f"declare the domain {domain} for these regions",
            )


def _address_identity(view: RuleView, region: str, entry: Entry) -> bool:
    return any(
        identity.region == region and any(iam_pattern(sender).fullmatch(identity.name) for sender in _senders(entry))
        for identity in view.address_identities
    )


@rule("smtp-shared-sender", "note", "Two SMTP users send from the same address")
def shared_sender(view: RuleView) -> Iterator[RawFinding]:
    """Two SMTP users list the same pattern in `from_addresses`.

    Why: When something goes wrong, nobody can tell which process sent a message, or stop that one alone.
    Fix: Give each role its own address, and its own configuration set.
    Source: one SMTP user for each role, so that one can be found and stopped alone
    """
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


@user_rule("smtp-wider", "warning", "An SMTP user may send more than its own policy allows", urgent=True)
def wider_policy(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A group, an attached policy or another inline policy of a live SMTP user lets it send what its own policy does
    not: from other addresses or networks, through other identities or configuration sets, or with other actions. A
    policy that is not about mail, that denies, or that says the same is no finding; nor is one that could not be read.

    Why: IAM adds up permissions. Users that the SES console made are in the group `AWSSESSendingGroupDoNotRename`,
    which allows sending as anybody. The user's own policy then restricts nothing.
    Fix: Remove the user from the group when its own policy is proven to work. recon reports groups and policies, but
    does not change them.
    Source: IAM User Guide, Policy evaluation: permissions add up
    """
    for other, more in found.wider() if (found := _judged(view, entry)) else ():
        yield Problem(
            f"{entry.name} also has the {other.word} {other.name}, which allows it {more}",
            f"remove the {other.word} when the user's own policy is proven to work; recon does not change it",
        )


@user_rule("smtp-denied", "warning", "Another policy keeps an SMTP user from sending")
def denied_policy(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A group, an attached policy or another inline policy of a live SMTP user denies what its own policy allows it to
    send, all of it or a part.

    Why: An explicit Deny wins over every Allow. The login still works, and SES refuses the mail.
    Fix: Remove the statement, or the user from the group. recon reports groups and policies, but does not change them.
    Source: IAM User Guide, Policy evaluation: an explicit Deny wins
    """
    if (found := _judged(view, entry)) and (denied := found.denied()):
        yield Problem(
            f"{entry.name} is kept from sending: {denied}",
            "remove the statement that denies, or the user from the group; recon does not change it",
        )


def _judged(view: RuleView, entry: Entry) -> Judged | None:
    address = _user(entry.name)
    return KIND.judged(view.state.stack, view.desired.get(address), view.observed.get(address))


@rule("smtp-set-arn", "error", "The default configuration set of an identity is missing in the policy of an SMTP user")
def set_arn(view: RuleView) -> Iterator[RawFinding]:
    """The policy of an SMTP user names an identity, but not the default configuration set of that identity.

    Why: The configuration set is a resource of `ses:SendRawEmail`, too, so SES answers 554. It is an error if this plan
    breaks what works today.
    Fix: Add the ARN of the configuration set to the resources. For `identities` that recon can read, it does so itself.
    Source: SES Developer Guide, IAM: the configuration set is a resource of ses:SendRawEmail; else 554
    """
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
                f"{user.name} may send as {identity.place}, but may not use its default set {name}: SES answers 554",
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
        names = {text: meant(text) for text in patterns}
        self._exact = {name for name in names.values() if name is not None}
        self._patterns = [iam_pattern(text) for text, name in names.items() if name is None]

    def __contains__(self, arn: str) -> bool:
        return arn in self._exact or any(one.fullmatch(arn) for one in self._patterns)

    def among(self, arns: Mapping[str, object]) -> set[str]:
        """Those of ``arns`` that match a pattern."""
        if self._patterns:
            return {arn for arn in arns if arn in self}
        return {arn for arn in self._exact if arn in arns}


def _send_resources(spec: Document | None) -> list[str] | None:
    """The resources that a user's policy allows sending with; None without such a permission, or without a user."""
    policy = (spec or {}).get("policy")
    if not isinstance(policy, Mapping):
        return [str(arn) for arn in (spec or {}).get("identities") or ()] or None
    found: list[str] = []
    for statement in statements(policy):
        actions = [str(action).lower() for action in listed(statement.get("Action"))]
        if statement.get("Effect") == "Allow" and any(fnmatchcase("ses:sendrawemail", action) for action in actions):
            found += [str(resource) for resource in listed(statement.get("Resource"))]
    return found or None
