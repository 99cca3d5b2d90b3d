"""DKIM: the signature that DMARC should rest on."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler import regions
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView


def _loses_alignment(view: RuleView, identity: Resource) -> bool:
    """Whether unsigned mail of a live identity fails an enforced DMARC policy."""
    policy = view.policy(identity.name)
    return (
        view.flows(identity) and policy is not None and policy.enforces and not view.spf_aligns(identity, policy.tags)
    )


def _consequence(view: RuleView, identity: Resource) -> str:
    policy = view.policy(identity.name)
    if policy is not None and policy.enforces:
        return f"; the DMARC record of {policy.owner} enforces p={policy.tags.get('p')}"
    return ""


@rule(
    "dkim-tokens-removed",
    "error",
    "DKIM records go while SES still signs with them",
    "RFC 6376 section 6.1.2; SES Developer Guide, Troubleshooting DKIM",
)
def tokens_removed(view: RuleView) -> Iterator[RawFinding]:
    """A live identity's tokens have their CNAME now and not afterwards."""
    if view.dns_stays:
        return
    for identity in view.identities:
        if not identity.stays or identity.will("dkim.signing_enabled") is False:
            continue
        if (
            identity.alters("dkim.signing_attributes_origin")
            or identity.will("dkim.signing_attributes_origin") == "EXTERNAL"
        ):
            continue
        for token in identity.facts.get("tokens") or ():
            name = f"{token}._domainkey.{identity.name}"
            if view.lookup(name, "CNAME", "before") and view.lookup(name, "CNAME") == ():
                yield RawFinding(
                    view.record_address(name, "CNAME"),
                    f"{name} goes while SES signs mail of {identity.name} in "
                    f"{identity.region} with it: signatures fail at once, and SES revokes DKIM within days",
                    "keep the record while the identity stays",
                    hurts=view.flows(identity),
                )


@rule(
    "dkim-off", "error", "DKIM signing is switched off", "RFC 9989; SES Developer Guide, Authenticating email with DKIM"
)
def switched_off(view: RuleView) -> Iterator[RawFinding]:
    """A live identity stops signing, or a new one never begins."""
    for identity in view.identities:
        if identity.is_new and identity.will("dkim.signing_enabled") is False:
            yield RawFinding(
                identity.address,
                f"mail of {identity.name} will leave {identity.region} without a DKIM signature of its domain",
                "leave dkim.signing_enabled at true",
                new=True,
            )
        elif identity.alters("dkim.signing_enabled") and identity.will("dkim.signing_enabled") is False:
            yield RawFinding(
                identity.address,
                f"mail of {identity.name} leaves {identity.region} without its DKIM signature"
                f"{_consequence(view, identity)}",
                "leave dkim.signing_enabled at true",
                hurts=_loses_alignment(view, identity),
            )


@rule(
    "dkim-origin",
    "error",
    "Mail is unsigned while the kind of DKIM key changes",
    "SES Developer Guide, BYODKIM and Easy DKIM (warnings on switching)",
)
def origin(view: RuleView) -> Iterator[RawFinding]:
    """Between Easy DKIM, BYODKIM and Deterministic Easy DKIM, or from one BYODKIM selector to the next."""
    for identity in view.identities:
        paths = ("dkim.signing_attributes_origin", "dkim.domain_signing_selector")
        moved = next((path for path in paths if identity.alters(path) and identity.was(path)), None)
        if moved is None or identity.was("dkim.signing_enabled") is False:
            continue
        yield RawFinding(
            identity.address,
            f"{moved} goes from {identity.was(moved)} to {identity.will(moved)}: mail of "
            f"{identity.name} in {identity.region} is unsigned until SES has verified the new records"
            f"{_consequence(view, identity)}",
            "publish the new records first, choose a quiet hour, and lower DMARC to p: none for that time",
            hurts=_loses_alignment(view, identity),
        )


@rule("dkim-key-lowered", "warning", "A shorter DKIM key", "RFC 8301 section 3.2: at least 2048 bits recommended")
def key_lowered(view: RuleView) -> Iterator[RawFinding]:
    """From 2048 down to 1024 bits."""
    for identity in view.identities:
        path = "dkim.next_signing_key_length"
        if identity.was(path) == "RSA_2048_BIT" and identity.will(path) == "RSA_1024_BIT":
            yield RawFinding(
                identity.address,
                f"the DKIM key of {identity.name} in {identity.region} shrinks from 2048 to 1024 bits",
                "keep RSA_2048_BIT; SES publishes the key, so its length costs no DNS",
            )


@rule("dkim-short-key", "note", "A 1024-bit DKIM key", "RFC 8301 section 3.2: at least 2048 bits recommended")
def short_key(view: RuleView) -> Iterator[RawFinding]:
    """Not lowered by this plan, but short."""
    path = "dkim.next_signing_key_length"
    for identity in view.identities:
        if (
            identity.will(path) == "RSA_1024_BIT"
            and identity.was(path) != "RSA_2048_BIT"
            and identity.will("dkim.signing_enabled")
        ):
            yield RawFinding(
                identity.address,
                f"{identity.name} in {identity.region} signs with a 1024-bit key",
                "write next_signing_key_length: RSA_2048_BIT",
            )


@rule(
    "dkim-replica",
    "error",
    "A Deterministic Easy DKIM replica without a fit parent",
    "SES Developer Guide, Deterministic Easy DKIM; SES API VerificationInfo REPLICATION errors",
)
def replica(view: RuleView) -> Iterator[RawFinding]:
    """The parent must exist, use Easy DKIM itself, and be in another region: a replica signs with its parent's keys and
    DNS records, so mail that flows through it suffers where the parent lets them go."""
    for identity in view.identities:
        parent_region = regions.deterministic_parent(str(identity.will("dkim.signing_attributes_origin") or ""))
        if identity.after is None or parent_region is None:
            continue
        address = f"email_identity/{parent_region}/{identity.name}"
        parent = view.resource(address)
        if parent_region == identity.region:
            problem = "names its own region as its parent"
        elif view.is_unread(address):
            continue
        elif parent is None or parent.after is None:
            if parent is None and parent_region not in view.state.stack.regions:
                continue  # a parent outside this stack's regions was not looked for
            problem = f"copies the keys of {identity.name} in {parent_region}, which will not exist"
        elif (parent.will("dkim.signing_attributes_origin") or "AWS_SES") != "AWS_SES":
            problem = f"copies the keys of {identity.name} in {parent_region}, which has no Easy DKIM keys of its own"
        else:
            continue
        served = parent is not None and parent.before is not None and identity.stays and view.flows(identity)
        let_go = parent is not None and (parent.after is None or parent.alters("dkim.signing_attributes_origin"))
        yield RawFinding(
            identity.address,
            f"{identity.name} in {identity.region} {problem}",
            "let the parent use signing_attributes_origin: AWS_SES in another region of the stack; to take the parent "
            "away, give the replica keys of its own first (AWS_SES or EXTERNAL), in an apply of its own",
            hurts=served and let_go and not identity.alters("dkim.signing_attributes_origin"),
        )


@rule(
    "dkim-failing",
    "warning",
    "SES no longer finds the DKIM records",
    "SES Developer Guide, Troubleshooting DKIM: revoked after the deadline",
)
def failing(view: RuleView) -> Iterator[RawFinding]:
    """Live status FAILED or TEMPORARY_FAILURE."""
    for identity in view.identities:
        status = identity.facts.get("dkim_status")
        if (
            identity.stays
            and status in ("FAILED", "TEMPORARY_FAILURE")
            and identity.will("dkim.signing_enabled") is not False
        ):
            reason = identity.facts.get("error_type")
            yield RawFinding(
                identity.address,
                f"DKIM of {identity.name} in {identity.region} is {status}{f' ({reason})' if reason else ''}",
                "`recon doctor` compares the records with what DNS answers",
            )
