"""Values of sending roles: who may use them, and what they send through.

Sources: IAM User Guide "IAM and STS quotas" and "Create a role for OpenID Connect federation" (a trust policy without
the subject lets in everybody at the provider); GitHub Docs, "OpenID Connect reference" (forms of the subject, with ids
since July 2026); IAM API reference, CreateRole (characters of a description).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.policies import check_conditions
from reconciler.desired.checks.principals import check_principal, check_principals
from reconciler.desired.checks.together import Together
from reconciler.desired.nodes import show
from reconciler.desired.variables import suggestion
from reconciler.model import Stack
from reconciler.resources import SECTIONS

MOST: Final = 10_240
"""Characters of all inline policies of a role, without white space."""
WAYS: Final = ("service", "principals", "oidc")
OWNER: Final = re.compile(r"[^:*?]+:[^:/@*?]+[:/@]")
"""How a subject must begin that has a ``*``: a claim, and the whole name of an owner."""

_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_PRINCIPAL = re.compile(
    r"[0-9]{12}|arn:aws[a-z-]*:(?:iam|sts)::[0-9]{12}:(?:root|(?:user|role|assumed-role)/[\x21-\x7e]+)"
)
_PROVIDER = re.compile(r"(?:arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/|https://)?[A-Za-z0-9.-]+(?:/[\x21-\x7e]*)?")
_DESCRIPTION = re.compile(r"[\t\n\r\x20-\x7e\xa1-\xff]*")
_GITHUB: Final = "token.actions.githubusercontent.com"


def check(place: EntryContext, stack: Stack) -> None:
    """One role; its values do not depend on a region."""
    check_principal(place, stack, "role")
    values = place.values
    description = values.get("description")
    if isinstance(description, str) and not _DESCRIPTION.fullmatch(description):
        place.error("description", "bad-text", "IAM takes the characters of Latin-1 alone", "write it without others")
    trust = values.get("trust")
    if place.lacks("trust"):
        place.error("", "missing-key", "nothing says who may use this role",
                    "write `trust: {service: lambda.amazonaws.com}`, or principals, or oidc", "trust")  # fmt: skip
    if not isinstance(trust, dict):
        return
    ways = [way for way in WAYS if trust.get(way) is not None]
    if len(ways) != 1:
        place.error("trust", "exactly-one", f"exactly one of {', '.join(WAYS)} is wanted; found "
                    f"{' and '.join(ways) or 'none'}", "declare a role for each")  # fmt: skip
    if isinstance(trust.get("conditions"), dict):
        check_conditions(place, "trust.conditions", trust["conditions"])
    for path, service in _each("trust.service", trust.get("service")):
        if not _SERVICE.fullmatch(service):
            place.error(path, "bad-name", f"{show(service)} is not a service of AWS", "such as lambda.amazonaws.com")
    for path, principal in _each("trust.principals", trust.get("principals")):
        if "*" in principal:
            place.error(path, "trusts-anybody", f"{show(principal)} lets everybody in AWS use this role",
                        "name accounts, users or roles")  # fmt: skip
        elif not _PRINCIPAL.fullmatch(principal):
            place.error(path, "bad-arn", f"{show(principal)} is neither an account nor a user or role",
                        f"such as arn:{stack.partition}:iam::{stack.account or 'ACCOUNT'}:role/app")  # fmt: skip
    if isinstance(trust.get("oidc"), dict):
        _oidc(place, trust["oidc"], stack)


def _each(path: str, value: Any) -> list[tuple[str, str]]:
    """The texts of a list, or the one text, each with its path."""
    if isinstance(value, str):
        return [(path, value)]
    return [(f"{path}.{i}", one) for i, one in enumerate(value or ()) if isinstance(one, str)]


def _oidc(place: EntryContext, oidc: Mapping[str, Any], stack: Stack) -> None:
    provider = oidc.get("provider")
    if not isinstance(provider, str):
        place.error("trust.oidc", "missing-key", "nothing says whose tokens are taken", f"write `provider: {_GITHUB}`",
                    "provider")  # fmt: skip
    elif not _PROVIDER.fullmatch(provider):
        place.error("trust.oidc.provider", "bad-name", f"{show(provider)} is not an identity provider",
                    f"such as {_GITHUB}")  # fmt: skip
    elif provider.startswith("arn:") and stack.account and provider.split(":")[4] != stack.account:
        place.warn("trust.oidc.provider", "other-account", f"{show(provider)} is not in account {stack.account}, "
                    "where IAM looks for it", "create the identity provider there")  # fmt: skip
    subjects = _each("trust.oidc.subject", oidc.get("subject"))
    if not subjects:
        place.error("trust.oidc", "missing-subject", "without a subject, everybody who gets a token of this provider "
                    "may use the role", "write `subject: repo:OWNER/REPO:ref:refs/heads/main`", "subject")  # fmt: skip
    for path, subject in subjects:
        fixed, wild, _ = re.split(r"([*?]|$)", subject, maxsplit=1)
        github = isinstance(provider, str) and provider.endswith(_GITHUB)
        if wild and not OWNER.match(fixed) and (github or ":" in fixed or not fixed):
            place.error(path, "subject-of-anybody", f"{show(subject)} fits tokens of other owners, too: what stands "
                        "before the first * or ? must name one owner whole",
                        "such as repo:acme/app:ref:refs/heads/main, or repo:acme@1234/app@5678:*")  # fmt: skip
        elif github and subject.startswith("repo:"):
            _github(place, path, subject)


def _github(place: EntryContext, path: str, subject: str) -> None:
    """The form of a subject of GitHub: with the ids of owner and repository, or with names alone."""
    name = subject.removeprefix("repo:").partition(":")[0]
    if name.count("/") != 1 and "*" not in name:
        place.error(path, "bad-subject", f"{show(subject)} does not name a repository", "write repo:OWNER/REPO:...")
    elif ":" not in subject.removeprefix("repo:") and "*" not in subject:
        place.error(path, "bad-subject", f"{show(subject)} fits no token: GitHub adds what runs",
                    "such as repo:OWNER/REPO:ref:refs/heads/main or repo:OWNER/REPO:environment:NAME")  # fmt: skip
    owner, _, repository = name.partition("/")
    if ("@" in owner) != ("@" in repository) and "*" not in name:
        place.error(path, "bad-subject", f"{show(subject)} has one id of two: GitHub writes both or none",
                    "write repo:OWNER@ID/REPO@ID:...")  # fmt: skip


def check_together(together: Together) -> None:
    """How the roles of one state fit together, and whether what they send through is declared."""
    check_principals(together, "sending_roles", "role", MOST)
    _circles(together)
    for entry in together.section("sending_roles"):
        for section, (spec, _) in SECTIONS.items():
            names = entry.values.get(section)
            if not (spec.arn and isinstance(names, list)):
                continue
            declared = {one.name for one in together.section(section)}
            for index, name in enumerate(names):
                if name not in declared and name not in spec.reserved:
                    together.warn(
                        entry, f"{section}.{index}", "undeclared-reference", f"the {spec.words} {name} is not declared",
                        suggestion(name, declared) or f"declare it under `{section}:`",
                    )  # fmt: skip


def _circles(together: Together) -> None:
    """Refuse roles that can only be made one after the other, each before the other."""
    roles = {entry.name: entry for entry in together.section("sending_roles")}
    trusted: dict[str, dict[str, str]] = {}
    for entry in roles.values():
        values = entry.values.get("trust") or {}
        for path, text in _each("trust.principals", values.get("principals")):
            name = text.rpartition("/")[2]
            if text.startswith(f"arn:{together.stack.partition}:iam::{together.stack.account}:role/") and name in roles:
                trusted.setdefault(entry.name, {}).setdefault(name, path)
    for name, others in trusted.items():
        for other, path in others.items():
            if other != name and name in _reached(trusted, other):
                together.error(
                    roles[name], path, "circular-trust", f"{name} trusts {other}, and {other} ({roles[other].source}) "
                    f"trusts {name}, itself or through others: IAM takes no principal that does not exist, so that "
                    "neither can be made first",
                    f"trust the account in one of them, and name the role in a condition: principals: "
                    f"[\"{together.stack.account}\"], conditions: {{ArnEquals: {{\"aws:PrincipalArn\": ARN}}}}",
                )  # fmt: skip


def _reached(trusted: Mapping[str, Mapping[str, str]], start: str) -> set[str]:
    """The roles that one trusts, itself or through others."""
    found: set[str] = set()
    todo = [start]
    while todo:
        for name in trusted.get(todo.pop(), ()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return found
