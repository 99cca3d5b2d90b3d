"""Values that users and roles of IAM have in common: what they may send, and their name, path and boundary.

Sources: IAM User Guide "IAM and STS quotas", SES Developer Guide "IAM in SES".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.policies import check_conditions
from reconciler.desired.checks.together import Together
from reconciler.desired.nodes import show
from reconciler.desired.variables import suggestion
from reconciler.model import Entry, Stack, canonical_json
from reconciler.names import at_or_above, domain_of, fold_domain, fold_identity, parents
from reconciler.regions import identity_arn, literal

NAME: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_PATH = re.compile(r"/(?:[\x21-\x2e\x30-\x7e]+/)*")
_BOUNDARY = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}|aws):policy/[\x21-\x7e]{1,512}")
_FROM_PATTERN = re.compile(r"[^\s<>,;\"]{1,320}")


def check_principal(place: EntryContext, stack: Stack, noun: str) -> None:
    """One user or role (``noun``); its values do not depend on a region."""
    values = place.values
    if not NAME.fullmatch(place.name):
        place.error("", "bad-name", f"{show(place.name)} is not a name for an IAM {noun}",
                    "1 to 64 letters, digits and + = , . @ _ -")  # fmt: skip
    path = values.get("path")
    if isinstance(path, str) and (not _PATH.fullmatch(path) or len(path) > 512):
        place.error(
            "path", "bad-path", f"{show(path)} is not an IAM path", "it begins and ends with /, such as /ses-smtp/"
        )
    if not values.get("from_addresses") and "from_addresses" not in place.bad:
        place.error(
            "from_addresses", "empty-from-addresses", f"nothing says what this {noun} may send as",
            'write `from_addresses: ["*@acme.com"]`; for any address write "*"',
        )  # fmt: skip
    for index, pattern in enumerate(values.get("from_addresses") or ()):
        if not _FROM_PATTERN.fullmatch(pattern) or ("@" not in pattern and "*" not in pattern):
            place.error(f"from_addresses.{index}", "bad-name", f"{show(pattern)} is not an address or pattern",
                        "such as news@acme.com or *@acme.com")  # fmt: skip
        elif pattern == "*":
            place.warn(f"from_addresses.{index}", "any-from-address", f"this {noun} may send as anybody",
                       "name the addresses that it is for")  # fmt: skip
    _networks(place)
    _identities(place, noun)
    _boundary(place, stack)
    conditions = values.get("conditions")
    if isinstance(conditions, dict):
        check_conditions(place, "conditions", conditions)
    for operator, name, own in (
        ("StringLike", "ses:FromAddress", "from_addresses"),
        ("IpAddress", "aws:SourceIp", "source_ips"),
    ):
        if isinstance(conditions, dict) and name in (conditions.get(operator) or {}) and values.get(own):
            place.error(
                f"conditions.{operator}", "condition-conflict", f"{name} under {operator} is what {own} writes already",
                f"move the values to {own}, or use another operator", name,
            )  # fmt: skip


def _boundary(place: EntryContext, stack: Stack) -> None:
    boundary = place.values.get("permissions_boundary")
    if not isinstance(boundary, str):
        return
    right = f"write arn:{stack.partition}:iam::{stack.account or 'ACCOUNT'}:policy/NAME"
    found = _BOUNDARY.fullmatch(boundary)
    if found is None:
        place.error("permissions_boundary", "bad-arn", f"{show(boundary)} is not the ARN of a managed policy", right)
    elif found[1] != stack.partition:
        place.error("permissions_boundary", "mixed-partitions", f"{show(boundary)} is not in partition "
                    f"{stack.partition}", right)  # fmt: skip
    elif stack.account and found[2] not in (stack.account, "aws"):
        place.warn("permissions_boundary", "other-account", f"{show(boundary)} is in account {found[2]}; IAM takes a "
                    f"policy of account {stack.account} or of AWS alone", right)  # fmt: skip


def _networks(place: EntryContext) -> None:
    for index, network in enumerate(place.values.get("source_ips") or ()):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            try:
                right = str(ipaddress.ip_network(network, strict=False))
                hint = f"write {right}; the address has bits beyond its prefix"
            except ValueError:
                hint = "such as 203.0.113.0/24 or 2001:db8::/32"
            place.error(f"source_ips.{index}", "bad-network", f"{show(network)} is not an address or network", hint)


def _identities(place: EntryContext, noun: str) -> None:
    identities = place.values.get("identities")
    if not isinstance(identities, list):
        return
    if not identities:
        place.warn("identities", "any-identity", f"the list is empty, so this {noun} may send with every identity",
                   "name the identities that it is for, or take the key out")  # fmt: skip
    for index, name in enumerate(identities):
        try:
            identities[index] = fold_identity(name)
        except ValueError as error:
            place.error(f"identities.{index}", "bad-name", str(error), "write a domain or an address")


def check_principals(together: Together, section: str, noun: str, most: int) -> None:
    """How the users or roles of one state fit together, and what they may send as; ``most`` are the characters that
    IAM takes for the inline policies of one."""
    names: dict[str, Entry] = {}
    covered = {entry.name for section in ("domains", "email_addresses") for entry in together.section(section)}
    ordered = sorted(covered)  # once, and not for each name that is missing
    for entry in together.section(section):
        before = names.setdefault(entry.name.lower(), entry)
        if before is not entry:
            together.error(
                entry, "", "duplicate-declaration", f"IAM takes it for the same name as {before.name} "
                f"({before.source}): {noun} names differ by more than case", "choose another name",
            )  # fmt: skip
        size = _policy_size(together, entry)
        if size > most:
            together.error(
                entry, "", "policy-too-long", f"its policy would have at least {size} characters; IAM takes "
                f"{most} for a {noun}",
                f"use patterns with * in from_addresses, fewer identities or none (then all), or several {noun}s",
            )  # fmt: skip
        for index, name in enumerate(entry.values.get("identities") or ()):
            if name not in covered and not any(parent in covered for parent in _covering(name)):
                together.warn(
                    entry, f"identities.{index}", "undeclared-identity", f"the identity {name} is not declared",
                    suggestion(name, ordered) or "declare it under `domains:`",
                )  # fmt: skip
        for index, pattern in enumerate(entry.values.get("from_addresses") or ()):
            domain = pattern.rpartition("@")[2]
            if "*" in domain or not domain or "@" not in pattern:
                continue
            try:
                folded = fold_domain(domain)
            except ValueError as error:
                together.error(entry, f"from_addresses.{index}", "bad-name", str(error), "such as *@acme.com")
                continue
            if pattern not in covered and not any(name in covered for name in at_or_above(folded)):
                together.warn(
                    entry, f"from_addresses.{index}", "undeclared-reference",
                    f"no declared identity covers {domain}",
                    "declare the domain under `domains:`, or correct the address",
                )  # fmt: skip


def _policy_size(together: Together, entry: Entry) -> int:
    """The least that a policy can take; the ARNs of configuration sets and templates in it are not counted."""
    values, stack = entry.values, together.stack
    resources = [
        identity_arn(stack.partition, region, stack.account, literal(name))
        for name in values.get("identities") or ()
        for region in _regions_of(together, name)
    ]
    statement = {
        "Effect": "Allow", "Action": ["ses:SendRawEmail"], "Resource": resources or ["*"],
        "Condition": {
            **(values.get("conditions") or {}),
            "StringLike": {"ses:FromAddress": values.get("from_addresses") or []},
            "IpAddress": {"aws:SourceIp": values.get("source_ips") or []},
        },
    }  # fmt: skip
    return len(canonical_json({"Version": "2012-10-17", "Statement": [statement]}))


def _regions_of(together: Together, identity: str) -> list[str]:
    for section in ("domains", "email_addresses"):
        found = together.index.get((section, identity))
        if found is not None:
            return [region for region in found if region is not None]
    return list(together.stack.regions[:1])


def _covering(name: str) -> Iterable[str]:
    domain = domain_of(name)
    return (domain, *parents(domain)) if domain != name else parents(name)
