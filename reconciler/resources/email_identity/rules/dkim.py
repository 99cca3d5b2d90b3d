"""DKIM: the signature that DMARC should depend on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reconciler import regions
from reconciler.rules import registry
from reconciler.rules.registry import Problem, RawFinding, RuleFor, domain_identities
from reconciler.rules.view import Resource, RuleView

rule = partial(registry.rule, theme="DKIM", example="dns_record/acme.com/*/CNAME")
identity_rule = RuleFor(domain_identities, "DKIM", "email_identity/us-east-1/acme.com")

_ENABLED = "dkim.signing_enabled"
_ORIGIN = "dkim.signing_attributes_origin"
_LENGTH = "dkim.next_signing_key_length"


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
    "DKIM records are deleted while SES still signs with them",
    example="dns_record/acme.com/*/CNAME",
)
def tokens_removed(view: RuleView) -> Iterator[RawFinding]:
    """The plan deletes a CNAME that holds a DKIM token, and its identity stays and signs with it.

    Why: Receivers look up the key for each message, so signatures fail at once. SES notices within days, sends a
    warning, and then revokes DKIM.
    Fix: Keep the record while the identity exists. After an identity is deleted, keep its records for some days, for
    mail that is still being delivered.
    Source: RFC 6376 section 6.1.2; SES Developer Guide, Troubleshooting DKIM
    """
    if view.dns_unchanged:
        return
    for identity in view.identities:
        if not identity.stays or identity.will(_ENABLED) is False:
            continue
        if identity.alters(_ORIGIN) or identity.will(_ORIGIN) == "EXTERNAL":
            continue
        for token in identity.facts.get("tokens") or ():
            name = f"{token}._domainkey.{identity.name}"
            if view.lookup(name, "CNAME", "before") and view.lookup(name, "CNAME") == ():
                yield RawFinding(
                    view.record_address(name, "CNAME"),
                    f"{name} is deleted while SES signs mail of {identity.place} with it: signatures fail at once, "
                    "and SES revokes DKIM within days",
                    "keep the record while the identity exists",
                    hurts=view.flows(identity),
                )


@identity_rule("dkim-off", "error", "DKIM signing is turned off")
def switched_off(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """`signing_enabled` of a live identity changes from true to false, or a new identity starts without signing (a
    note).

    Why: Mail is then signed for amazonses.com only, and that signature never aligns. Under an enforced DMARC policy and
    without an aligned MAIL FROM, receivers reject the mail or mark it as spam, and then this is an error.
    Fix: Leave signing on.
    Source: RFC 9989; SES Developer Guide, Authenticating email with DKIM
    """
    if identity.is_new and identity.will(_ENABLED) is False:
        yield Problem(
            f"SES will send mail of {identity.place} without a DKIM signature of {identity.name}",
            "leave dkim.signing_enabled at true",
            new=True,
        )
    elif identity.alters(_ENABLED) and identity.will(_ENABLED) is False:
        yield Problem(
            f"after this, SES sends mail of {identity.place} without a DKIM signature of {identity.name}"
            f"{_consequence(view, identity)}",
            "leave dkim.signing_enabled at true",
            hurts=_loses_alignment(view, identity),
        )


@identity_rule("dkim-origin", "error", "Mail is not signed while the type of DKIM key changes")
def origin(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The type of DKIM key (Easy DKIM, BYODKIM, Deterministic Easy DKIM) or the BYODKIM selector changes.

    Why: SES drops the old key at once, and signs again only when it has found the new records. Until then mail is not
    signed. Under an enforced DMARC policy and without an aligned MAIL FROM, receivers reject it or mark it as spam, and
    then this is an error.
    Fix: Publish the new records first, apply at a time of little mail, and lower DMARC to `p: none` for that time. Or
    send from a subdomain until the change is done.
    Source: SES Developer Guide, BYODKIM and Easy DKIM (warnings on switching)
    """
    paths = (_ORIGIN, "dkim.domain_signing_selector")
    moved = next((path for path in paths if identity.alters(path) and identity.was(path)), None)
    if moved is None or identity.was(_ENABLED) is False:
        return
    yield Problem(
        f"{moved} changes from {identity.was(moved)} to {identity.will(moved)}: mail of {identity.place} is not "
        f"signed until SES has verified the new records{_consequence(view, identity)}",
        "publish the new records first, apply at a time of little mail, and lower DMARC to p: none for that time",
        hurts=_loses_alignment(view, identity),
    )


@identity_rule("dkim-key-lowered", "warning", "A shorter DKIM key")
def key_lowered(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """`next_signing_key_length` changes from 2048 to 1024 bits.

    Why: RFC 8301 recommends at least 2048 bits. Easy DKIM publishes the key in the zone of AWS, so a longer key needs
    no longer record of yours.
    Fix: Keep `RSA_2048_BIT`.
    Source: RFC 8301 section 3.2: at least 2048 bits recommended
    """
    if identity.was(_LENGTH) == "RSA_2048_BIT" and identity.will(_LENGTH) == "RSA_1024_BIT":
        yield Problem(
            f"the DKIM key of {identity.place} changes from 2048 to 1024 bits",
            "keep RSA_2048_BIT; SES publishes the key, so a longer key needs no longer record of yours",
        )


@identity_rule("dkim-short-key", "note", "A 1024-bit DKIM key")
def short_key(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """An identity signs, or will sign, with a 1024-bit key.

    Why: RFC 8301 recommends at least 2048 bits. Some receivers report shorter keys as weak.
    Fix: `dkim: {next_signing_key_length: RSA_2048_BIT}`. SES accepts one change a day and signs without a gap.
    Source: RFC 8301 section 3.2: at least 2048 bits recommended
    """
    short = identity.will(_LENGTH) == "RSA_1024_BIT" and identity.was(_LENGTH) != "RSA_2048_BIT"
    if short and identity.will(_ENABLED):
        yield Problem(f"{identity.place} signs with a 1024-bit key", "write next_signing_key_length: RSA_2048_BIT")


@identity_rule(
    "dkim-replica",
    "error",
    "A Deterministic Easy DKIM replica without a suitable parent",
    example="email_identity/eu-west-1/acme.com",
)
def replica(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """Deterministic Easy DKIM (`AWS_SES_<REGION>`) names its own region, or a parent identity that will not exist or
    does not use Easy DKIM itself.

    Why: SES accepts such a replica and reports a REPLICATION error later: the identity is never verified. A live
    replica signs with the keys and DNS records of its parent. If a plan deletes the parent or changes its keys,
    signatures fail and SES revokes the verification. That is an error if mail is being sent through the replica.
    Fix: Declare the domain in the parent's region with `signing_attributes_origin: AWS_SES`. Before you delete the
    parent, give the replica its own keys and apply that: `signing_attributes_origin: AWS_SES` or `EXTERNAL`.
    Source: SES Developer Guide, Deterministic Easy DKIM; SES API VerificationInfo REPLICATION errors
    """
    parent_region = regions.deterministic_parent(str(identity.will(_ORIGIN) or ""))
    if identity.after is None or parent_region is None:
        return
    parent = view.resource(f"email_identity/{parent_region}/{identity.name}")
    problem = _replica_problem(view, identity, parent_region, parent)
    if not problem:
        return
    served = parent is not None and parent.before is not None and identity.stays and view.flows(identity)
    dropped = parent is not None and (parent.after is None or parent.alters(_ORIGIN))
    yield Problem(
        f"{identity.place} {problem}",
        "let the parent use signing_attributes_origin: AWS_SES in another region of the stack; before you delete "
        "the parent, give the replica its own keys (AWS_SES or EXTERNAL) in a separate apply",
        hurts=served and dropped and not identity.alters(_ORIGIN),
    )


def _replica_problem(view: RuleView, identity: Resource, parent_region: str, parent: Resource | None) -> str:
    """Why the identity cannot copy the keys of the one in ``parent_region``; empty where it can, or that is unknown."""
    copies = f"copies the DKIM keys of {identity.name} in {parent_region}, which "
    if parent_region == identity.region:
        return "names its own region as its parent"
    if view.is_unread(f"email_identity/{parent_region}/{identity.name}"):
        return ""
    if parent is None or parent.after is None:
        # A parent outside the regions of this stack is not read.
        unknown = parent is None and parent_region not in view.state.stack.regions
        return "" if unknown else copies + "will not exist"
    if (parent.will(_ORIGIN) or "AWS_SES") != "AWS_SES":
        return copies + "does not use Easy DKIM itself"
    return ""


@identity_rule("dkim-failing", "warning", "SES no longer finds the DKIM records")
def failing(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """SES reports the DKIM status FAILED or TEMPORARY_FAILURE for a live identity.

    Why: SES stops signing after the deadline that its warning mail names.
    Fix: `recon doctor acme.com` compares the records with the answers of DNS; `recon plan` shows which are missing.
    Source: SES Developer Guide, Troubleshooting DKIM: revoked after the deadline
    """
    status = identity.facts.get("dkim_status")
    failed = identity.stays and status in ("FAILED", "TEMPORARY_FAILURE")
    if failed and identity.will(_ENABLED) is not False:
        reason = identity.facts.get("error_type")
        yield Problem(
            f"DKIM of {identity.place} is {status}{f' ({reason})' if reason else ''}",
            "`recon doctor` compares the records with the answers of DNS",
        )


@rule("dkim-stale", "note", "A DKIM record of a token that SES has replaced", example="dns_record/acme.com/*/CNAME")
def stale(view: RuleView) -> Iterator[RawFinding]:
    """The zone of a domain has the CNAME of an Easy DKIM token that none of its live identities has, in any region of
    the stack. SES gives new tokens when an identity is deleted and created again, or its DKIM is set up anew.

    Why: Nobody signs with a token that SES has replaced, and nothing says that recon wrote this one: an identity of
    another account or region may still need it. So recon names it, and leaves it.
    Fix: Delete the record, unless another account or a region outside the stack sends as this domain.
    Source: SES Developer Guide, Easy DKIM: three tokens for each identity
    """
    records = [name for name, kind in view.dns_after if kind == "CNAME" and "._domainkey." in name]
    for name in sorted(records):
        token, _, domain = name.partition("._domainkey.")
        identities = view.identities_for(domain)
        (value, *_) = view.lookup(name, "CNAME") or ("",)
        hosted = value.startswith(f"{token}.dkim.") and value.endswith("amazonses.com")
        there = [one for one in identities if one.before is not None]
        if not (hosted and identities) or not all(one.facts.get("tokens") for one in there):
            continue
        if any(part.startswith(("email_identity", "sweep")) for part in view.unread):
            continue
        if not any(token in one.facts["tokens"] for one in there):
            yield RawFinding(
                view.record_address(name, "CNAME"),
                f"{name} is the DKIM record of a token that no live identity of {domain} has in this stack: SES "
                "has replaced it, or it is another account's",
                "delete it, unless another account or a region outside the stack sends as this domain",
            )
