"""Rules about sending roles: who may use them, and what they may send beside what is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.kinds.other_policies import Judged
from reconciler.kinds.policy import listed
from reconciler.kinds.send_policy import BULK
from reconciler.model import Address, Entry
from reconciler.resources.sending_role.kind import KIND
from reconciler.resources.spec import at_path
from reconciler.rules.registry import Problem, RuleFor
from reconciler.rules.view import RuleView, sender_domain


def _roles(view: RuleView) -> Iterable[tuple[Address, Entry]]:
    return ((KIND.address_of(entry.name), entry) for entry in view.state.section("sending_roles"))


role_rule = RuleFor(_roles, "Sending roles", "sending_role/blast")

_WIDE: Final = re.compile(r"(ref:|environment:|job_workflow_ref:)?(refs/)?(heads/|tags/)?[*?].*")


@role_rule("role-wide-subject", "warning", "A sending role for all that runs in a repository")
def wide_subject(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A subject under `trust.oidc` allows everything that an owner runs, or everything of one repository:
    `repo:acme/*`, `repo:acme/app:*`, `repo:acme/app:ref:*`.

    Why: Whoever can push a branch or open a pull request there runs code that may send mail. `*` also fits pull
    requests.
    Fix: `subject: repo:acme/app:ref:refs/heads/main`, or `repo:acme/app:environment:production` with a protected
    environment. For repositories that were made since July 2026, with the ids: `repo:acme@1234/app@5678:...`.
    Source: GitHub Docs, OpenID Connect reference: example subject claims; IAM User Guide, Create a role for OpenID
    Connect federation
    """
    for subject in listed(at_path(entry.values, "trust.oidc.subject")):
        parts = str(subject).split(":", 2)
        rest = parts[2] if len(parts) > 2 else "*"
        if ("*" in subject or "?" in subject) and (any(c in "".join(parts[:2]) for c in "*?") or _WIDE.fullmatch(rest)):
            yield Problem(
                f"{entry.name} is for whatever fits {subject}: any branch, or pull request, or repository",
                "name the branch or the environment",
            )


@role_rule("role-name-recycled", "note", "A subject with names that somebody else could take over")
def recycled(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A subject of GitHub under `trust.oidc` has the names of owner and repository without their ids.

    Why: Names can be given up and taken by others, whose tokens then fit. And repositories that were made or renamed
    since 15 July 2026 send the ids, so that a subject without them fits no token of theirs.
    Fix: `subject: repo:acme@1234/app@5678:ref:refs/heads/main`; `gh api repos/acme/app` shows both ids. While a
    repository changes to it, list both forms.
    Source: GitHub Docs, OpenID Connect reference: immutable subject claims
    """
    subjects = [str(one) for one in listed(at_path(entry.values, "trust.oidc.subject"))]
    provider = str(at_path(entry.values, "trust.oidc.provider") or "")
    plain = [one for one in subjects if one.startswith("repo:") and "@" not in one.split(":")[1]]
    if provider.endswith("token.actions.githubusercontent.com") and plain and len(plain) == len(subjects):
        yield Problem(
            f"{entry.name} trusts {plain[0]} by its names alone",
            "write the ids, too: repo:OWNER@ID/REPO@ID:...; or list both forms",
        )


@role_rule("role-bulk-from", "warning", "from_addresses does not limit mail in bulk")
def bulk_from(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A sending role may call `SendBulkEmail`, and `from_addresses` is narrower than any address.

    Why: AWS gives `SendBulkEmail` no `ses:FromAddress`. The action is allowed without that condition, so that the role
    may send as any address of the identities that it has.
    Fix: Take `SendBulkEmail` out of `actions`, or narrow `identities` to those that it may send as.
    Source: Service Authorization Reference, Amazon SES: condition keys of SendBulkEmail
    """
    senders = [str(pattern) for pattern in entry.values.get("from_addresses") or ()]
    if BULK in (entry.values.get("actions") or ()) and senders != ["*"]:
        identities = entry.values.get("identities")
        what = f"any address of {', '.join(identities)}" if identities else "any address of every identity"
        yield Problem(
            f"{entry.name} may send in bulk as {what}, whatever its from_addresses say",
            f"take {BULK} out of actions, or narrow its identities",
        )


@role_rule("role-from-unverified", "warning", "The From domain of a sending role has no identity")
def from_unverified(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """A sending role may send from a domain that has no identity, and no one above it, in any region of the stack.

    Why: SES refuses such mail.
    Fix: Declare the domain, or correct the pattern.
    Source: SES Developer Guide, Verified identities
    """
    patterns = [str(pattern) for pattern in entry.values.get("from_addresses") or ()]
    addresses = {identity.name for identity in view.address_identities}
    domains = {d for one in patterns if one not in addresses and (d := sender_domain(one))}
    for domain in sorted(domains) if view.identity_regions else ():
        if not any(view.covering_identity(region, domain) for region in view.identity_regions):
            yield Problem(
                f"{entry.name} may send from {domain}, which has no identity: SES refuses the mail",
                f"declare the domain {domain}, or correct from_addresses",
            )


@role_rule("role-wider", "warning", "A sending role may send more than its own policy allows", urgent=True)
def wider_policy(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An attached policy or another inline policy of a live sending role lets it send what its own policy does not. A
    policy that is not about mail, that denies, or that says the same is no finding; nor is one that could not be read.

    Why: IAM adds up permissions, so that the role's own policy restricts nothing.
    Fix: Detach the policy when the role's own is proven to work. recon reports policies, but does not change them.
    Source: IAM User Guide, Policy evaluation: permissions add up
    """
    for other, more in found.wider() if (found := _judged(view, entry)) else ():
        yield Problem(
            f"{entry.name} also has the {other.word} {other.name}, which allows it {more}",
            f"remove the {other.word} when the role's own policy is proven to work; recon does not change it",
        )


@role_rule("role-denied", "warning", "Another policy keeps a sending role from sending")
def denied_policy(view: RuleView, entry: Entry) -> Iterator[Problem]:
    """An attached policy or another inline policy of a live sending role denies what its own policy allows it to send,
    all of it or a part.

    Why: An explicit Deny wins over every Allow.
    Fix: Remove the statement. recon reports policies, but does not change them.
    Source: IAM User Guide, Policy evaluation: an explicit Deny wins
    """
    if (found := _judged(view, entry)) and (denied := found.denied()):
        yield Problem(
            f"{entry.name} is kept from sending: {denied}",
            "remove the statement that denies; recon does not change it",
        )


def _judged(view: RuleView, entry: Entry) -> Judged | None:
    address = KIND.address_of(entry.name)
    return KIND.judged(view.state.stack, view.desired.get(address), view.observed.get(address))
