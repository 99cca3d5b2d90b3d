"""Rules about identities: DKIM, the signature that DMARC should depend on; who may send; and MAIL FROM, the envelope
sender, which makes SPF align and receives bounces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from reconciler import regions
from reconciler.kinds.policy import for_anyone, listed, statements
from reconciler.mail.dkim_key import public_key, rsa_bits
from reconciler.names import at_or_above, mixed_scripts, parents
from reconciler.resources.email_identity import NOTIFICATIONS, NOTIFIED
from reconciler.resources.email_identity.headline import COVERED
from reconciler.rules import topics
from reconciler.rules.registry import Problem, RawFinding, RuleFor, domain_identities, rule
from reconciler.rules.view import Resource, RuleView, sender_domain

_EXAMPLE = "email_identity/us-east-1/acme.com"

# --- DKIM ----------------------------------------------------------------------------------------------------------

dkim_rule = RuleFor(domain_identities, "DKIM", _EXAMPLE)

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
        return f"; the DMARC record of {policy.owner} enforces {policy.level}"
    return ""


@rule(
    "dkim-tokens-removed",
    "error",
    "DKIM records are deleted while SES still signs with them",
    theme="DKIM",
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


@dkim_rule("dkim-off", "error", "DKIM signing is turned off")
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


@dkim_rule("dkim-origin", "error", "Mail is not signed while the type of DKIM key changes")
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


@dkim_rule("dkim-key-lowered", "warning", "A shorter DKIM key")
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


@dkim_rule("dkim-short-own-key", "warning", "A DKIM key of yours with fewer than 2048 bits")
def short_own_key(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """An identity signs, or will sign, with a key that you bring (BYODKIM), and the key has fewer than 2048 bits.

    Why: RFC 8301 recommends at least 2048 bits. Keys of 1024 bits are within reach of well-funded attackers, some
    receivers report them as weak, and nobody but you replaces this one.
    Fix: Make a key with `openssl genrsa 2048`, give it a new `domain_signing_selector`, and declare both together.
    Source: RFC 8301 section 3.2: at least 2048 bits recommended
    """
    if identity.will(_ORIGIN) != "EXTERNAL" or not identity.will(_ENABLED):
        return
    selector = identity.will("dkim.domain_signing_selector")
    texts = view.lookup(f"{selector}._domainkey.{identity.name}", "TXT") or () if selector else ()
    publics = [view.dkim_keys[identity.address]] if identity.address in view.dkim_keys else map(public_key, texts)
    bits = next((found for public in publics if (found := rsa_bits(public))), None)
    if bits is not None and bits < 2048:
        yield Problem(
            f"{identity.place} signs with a key of yours of {bits} bits (selector {selector})",
            "make one of 2048 bits (openssl genrsa 2048), and declare it with a new selector",
        )


@dkim_rule("dkim-short-key", "note", "A 1024-bit DKIM key")
def short_key(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """An identity signs, or will sign, with a 1024-bit key.

    Why: RFC 8301 recommends at least 2048 bits. Some receivers report shorter keys as weak.
    Fix: `dkim: {next_signing_key_length: RSA_2048_BIT}`. SES accepts one change a day and signs without a gap.
    Source: RFC 8301 section 3.2: at least 2048 bits recommended
    """
    short = identity.will(_LENGTH) == "RSA_1024_BIT" and identity.was(_LENGTH) != "RSA_2048_BIT"
    if short and identity.will(_ENABLED):
        yield Problem(f"{identity.place} signs with a 1024-bit key", "write next_signing_key_length: RSA_2048_BIT")


@dkim_rule(
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


@dkim_rule("dkim-failing", "warning", "SES no longer finds the DKIM records")
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


@rule(
    "dkim-stale",
    "note",
    "A DKIM record of a token that SES has replaced",
    theme="DKIM",
    example="dns_record/acme.com/*/CNAME",
)
def stale(view: RuleView) -> Iterator[RawFinding]:
    """The zone of a domain has the CNAME of an Easy DKIM token that none of its live identities has, in any region of
    the stack. SES gives new tokens when an identity is deleted and created again, or its DKIM is set up anew.

    Why: Nobody signs with a token that SES has replaced, and nothing says that recon wrote this one: an identity of
    another account or region may still need it. So recon names it, and leaves it.
    Fix: Delete the record, unless another account or a region outside the stack sends as this domain.
    Source: SES Developer Guide, Easy DKIM: three tokens for each identity
    """
    live = (one for one in view.identities if one.before is not None)
    known = {f"{token}._domainkey.{one.name}" for one in live for token in one.facts.get("tokens") or ()}
    records = (name for name, kind in view.dns_after if kind == "CNAME" and "._domainkey." in name)
    for name in sorted(name for name in records if name not in known):
        token, _, domain = name.partition("._domainkey.")
        identities = view.identities_for(domain)
        (value, *_) = view.lookup(name, "CNAME") or ("",)
        hosted = value.startswith(f"{token}.dkim.") and value.endswith("amazonses.com")
        there = [one for one in identities if one.before is not None]
        if not (hosted and identities) or not all(one.facts.get("tokens") for one in there):
            continue
        if any(part.startswith(("email_identity", "sweep")) for part in view.unread):
            continue
        yield RawFinding(
            view.record_address(name, "CNAME"),
            f"{name} is the DKIM record of a token that no live identity of {domain} has in this stack: SES "
            "has replaced it, or it is another account's",
            "delete it, unless another account or a region outside the stack sends as this domain",
        )


# --- who may send --------------------------------------------------------------------------------------------------

identity_rule = RuleFor(
    lambda view: ((one.address, one) for one in view.resources("email_identity")), "Identities", _EXAMPLE
)


@identity_rule(
    "identity-mixed-scripts",
    "warning",
    "A domain whose name mixes scripts",
    example="email_identity/us-east-1/xn--pple-43d.com",
)
def in_mixed_scripts(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """A label of the domain has letters of several scripts that no language mixes, such as a Cyrillic а among Latin
    letters. Latin beside Chinese, Japanese or Korean is no finding.

    Why: Such a name looks like another one, which is how it is used for fraud. Browsers and mail programs show it as
    `xn--...`, and receivers treat mail from it as suspicious. Often nobody meant it: one letter was pasted from a text
    in another script.
    Fix: Write the name again with one keyboard layout. If the name is meant, waive the finding.
    Source: Unicode Technical Standard 39, section 5.2, Restriction-Level Detection ("highly restrictive")
    """
    if identity.after is not None:
        for label, scripts in mixed_scripts(identity.name.rpartition("@")[2]).items():
            yield Problem(
                f"{identity.name} is {label!r}, which mixes {' and '.join(scripts)} letters",
                "write the name again with one keyboard layout, or waive this if the name is meant",
            )


@identity_rule("identity-deleted", "error", "An identity that sends is deleted")
def identity_deleted(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The plan deletes an identity.

    Why: SES rejects mail from it at once. (Below another identity of the region that stays, `identity-covered` is
    found instead.) If the identity is known to have sent mail in the last day, this is an error. If that is unknown, it
    is a warning that names the number of messages of the whole region. If the region sent nothing, it is a note.

    AWS counts by identity only in regions that have the Virtual Deliverability Manager (`BatchGetMetricData`, one call
    for ten deleted identities). SES metrics in CloudWatch have no identity dimension, and GetAccount counts the whole
    region. The metric leaves out mail to several recipients, so a zero does not prove that nothing was sent.
    Fix: Move its senders to another identity first, or waive this with a date.
    Source: SES API, DeleteEmailIdentity: mail from it is refused at once
    """
    if identity.before is None or identity.after is not None:
        return
    if _above(view, identity) is not None:
        return
    sent = view.sent_last_day.get(identity.address)
    region = (view.accounts.get(identity.region or "", {}).get("SendQuota") or {}).get("SentLast24Hours")
    known = ""
    if sent:
        known = f"; it sent {sent} messages in the last day"
    elif region:
        known = f"; the region sent {region:.0f} messages in the last day (SES has no number for each identity)"
    elif region is not None:
        known = "; nothing was sent there in the last day"
    yield Problem(
        f"after this, SES rejects mail from {identity.place}{known}",
        "move its senders first, or waive this with a date",
        hurts=bool(sent),
        new=not sent and region == 0,
    )


def _above(view: RuleView, identity: Resource) -> Resource | None:
    """The identity of the same region that covers the name where this one goes, and can send."""
    above = view.covering_identity(identity.region or "", identity.name.rpartition("@")[2])
    return above if above is not None and above.stays and view.can_send(above) else None


@identity_rule(COVERED, "note", "An identity is deleted, and mail from it goes on under another")
def identity_covered(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The plan deletes an identity below a domain whose identity in the same region stays and can send.

    Why: SES uses the most specific identity that there is. From then on the settings of the one above apply: its DKIM
    signature, its MAIL FROM domain, its default configuration set, its policies.
    Fix: Give the rights of senders that may use the deleted identity alone to them for the other. Compare its DKIM,
    MAIL FROM and default configuration set with those that mail had so far.
    Source: SES Developer Guide, Creating and verifying identities: the most specific identity counts
    """
    if identity.before is not None and identity.after is None and (above := _above(view, identity)) is not None:
        yield Problem(
            f"mail from {identity.place} goes on under the identity {above.name}, with the DKIM, MAIL FROM and "
            "default set of that",
            f"let senders that may use {identity.name} alone use {above.name}",
        )


@identity_rule(
    "identity-shadows-parent",
    "warning",
    "A new identity takes over mail that its parent sends today",
    example="email_identity/us-east-1/shop.acme.com",
)
def shadows_parent(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The plan creates an identity for a name that a parent identity sends mail for today.

    Why: SES uses the most specific identity. As soon as the new one exists, its own settings (DKIM, MAIL FROM, default
    configuration set) apply, although it is not verified yet.
    Fix: Apply at a time of little mail, and declare the same settings as those of the parent.
    Source: SES Developer Guide, Creating and verifying identities: the most specific identity counts
    """
    if not identity.is_new or not identity.region:
        return
    _, at, domain = identity.name.rpartition("@")
    for name in at_or_above(domain) if at else parents(domain):
        parent = view.resource(f"email_identity/{identity.region}/{name}")
        if parent is not None and parent.stays and view.can_send(parent):
            yield Problem(
                f"mail from {identity.name} uses the identity {name} in {identity.region} today; the new identity "
                "takes over as soon as it exists, before it is verified",
                "apply at a time of little mail, and give it the settings of its parent (default set, MAIL FROM, DKIM)",
            )
            break


@identity_rule("address-mail", "note", "SES sends a verification mail", example="email_identity/us-east-1/ceo@acme.com")
def verification_mail(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The plan creates an identity for a single address.

    Why: SES sends a link to the address. If nobody clicks it within 24 hours, the verification fails.
    Fix: Tell the owner of the mailbox.
    Source: SES Developer Guide, Creating and verifying identities: the link lives 24 hours
    """
    if identity.is_new and "@" in identity.name:
        yield Problem(
            f"SES sends a link to {identity.name}; somebody has to click it within 24 hours",
            "tell the owner of the mailbox",
        )


@identity_rule("policy-anyone", "warning", "A sending policy that allows any AWS account to send")
def policy_anyone(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """A sending policy allows every principal (`*`), without a condition.

    Why: Any AWS account can then send mail from the domain, at the cost of its reputation.
    Fix: Name the account or role as the principal, or add a condition.
    Source: SES Developer Guide, Sending authorization policy anatomy
    """
    for name, policy in (identity.will("policies") or {}).items():
        for statement in statements(policy):
            allows = statement.get("Effect") == "Allow" and not statement.get("Condition")
            if allows and for_anyone(statement.get("Principal")):
                yield Problem(
                    f"the policy {name} of {identity.place} allows every AWS account to send as {identity.name}",
                    "name the account, or add a condition",
                )


@identity_rule("policy-other-identity", "warning", "A sending policy that is about another identity")
def policy_other_identity(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The `Resource` of a statement in a sending policy does not match the identity that has the policy.

    Why: A policy counts for its own identity alone. The statement allows and denies nothing.
    Fix: Write `Resource: "arn:${partition}:ses:${region}:${account}:identity/${domain}"`, or move the policy to the
    identity that it names.
    Source: SES Developer Guide, Sending authorization policy anatomy: Resource is the identity
    """
    for name, policy in (identity.will("policies") or {}).items():
        for statement in statements(policy):
            for resource in listed(statement.get("Resource")):
                found = re.fullmatch(r"arn:[a-z-]*:ses:([^:]*):[^:]*:identity/(.*)", str(resource))
                if found is None:
                    continue
                region, wanted = found.groups()
                if not (fnmatchcase(identity.region or "", region) and fnmatchcase(identity.name, wanted.lower())):
                    yield Problem(
                        f"the policy {name} of {identity.place} is about {wanted} in {region}: it has no effect here",
                        "name this identity as Resource, or move the policy to the identity that it names",
                    )


# --- MAIL FROM ---------------------------------------------------------------------------------------------------

mail_from_rule = RuleFor(domain_identities, "MAIL FROM", _EXAMPLE)

_NAME = "mail_from.mail_from_domain"
_BEHAVIOR = "mail_from.behavior_on_mx_failure"


def _rejects(identity: Resource) -> bool:
    return bool(identity.will(_NAME)) and identity.will(_BEHAVIOR) == "REJECT_MESSAGE"


@mail_from_rule("mail-from-reject", "error", "SES rejects mail until it has found the MX of the MAIL FROM domain")
def reject_early(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """`REJECT_MESSAGE` is set while the MAIL FROM status is not SUCCESS, or together with a new MAIL FROM domain.

    Why: The setting applies from the start. Until SES has found the MX, it rejects all mail of the identity. That is an
    error if mail is being sent today and this plan causes it, and a note for a new identity.
    Fix: Apply with `USE_DEFAULT_VALUE` first. When `recon drift` shows SUCCESS, set `REJECT_MESSAGE`.
    Source: SES API, PutEmailIdentityMailFromAttributes: BehaviorOnMxFailure acts while pending
    """
    if not _rejects(identity):
        return
    moved = identity.alters(_NAME)
    if identity.is_new:
        yield Problem(
            f"SES rejects mail of {identity.place} until it has found the MX of {identity.will(_NAME)}",
            "start to send when MAIL FROM is SUCCESS",
            new=True,
        )
    elif identity.stays and (moved or identity.facts.get("mail_from_status") not in (None, "SUCCESS")):
        status = "PENDING" if moved else identity.facts.get("mail_from_status")
        yield Problem(
            f"MAIL FROM {identity.will(_NAME)} is {status}; with REJECT_MESSAGE, SES rejects mail of "
            f"{identity.place} until it is SUCCESS",
            "apply with USE_DEFAULT_VALUE first, and set REJECT_MESSAGE when `recon drift` shows SUCCESS",
            hurts=view.flows(identity) and (moved or identity.alters(_BEHAVIOR)),
        )


@rule(
    "mail-from-mx",
    "error",
    "The MAIL FROM domain does not have exactly the MX of its region",
    theme="MAIL FROM",
    example="dns_record/acme.com/bounce-us-east-1.acme.com/MX",
)
def not_one_mx(view: RuleView) -> Iterator[RawFinding]:
    """After apply, the MAIL FROM domain has no MX, several, or the one of another host or region.

    Why: SES requires exactly one MX: `10 feedback-smtp.<region>.amazonses.com`. With any other the MAIL FROM set-up
    fails and bounces are lost.
    Fix: Keep this one value, and choose a name that nothing else uses.
    Source: SES Developer Guide, Using a custom MAIL FROM domain
    """
    for identity in view.identities:
        name = str(identity.will(_NAME) or "")
        known = identity.region and identity.region not in regions.UNPUBLISHED
        values = view.lookup(name, "MX") if name and known else None
        if values is None or _right_mx(values, identity.region or ""):
            continue
        before = view.lookup(name, "MX", "before")
        was_right = before is not None and _right_mx(before, identity.region or "")
        yield RawFinding(
            view.record_address(name, "MX"),
            f"{name} will have {_listed(values)} instead of exactly "
            f'"{regions.feedback_mx(identity.region or "")}": bounces are lost and MAIL FROM fails',
            "keep this one MX and remove all others",
            hurts=was_right and view.flows(identity),
            new=identity.is_new,
        )


def _right_mx(values: tuple[str, ...], region: str) -> bool:
    if len(values) != 1:
        return False
    return values[0].split()[-1:] == [regions.feedback_host(region)]


def _listed(values: tuple[str, ...]) -> str:
    return "no MX" if not values else "MX " + ", ".join(values)


@mail_from_rule("mail-from-moves", "warning", "The MAIL FROM domain changes")
def moves(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The MAIL FROM domain of a live identity changes.

    Why: SES verifies the new domain first. Until then it sends with amazonses.com as the MAIL FROM domain, so SPF does
    not align and DMARC depends on DKIM alone.
    Fix: Check that DKIM is SUCCESS, then apply. recon writes the new records first and deletes the old ones last.
    Source: SES Developer Guide, Using a custom MAIL FROM domain: states
    """
    if identity.alters(_NAME) and identity.was(_NAME) and identity.will(_NAME) and not _rejects(identity):
        yield Problem(
            f"MAIL FROM of {identity.place} changes from {identity.was(_NAME)} to {identity.will(_NAME)}: SPF "
            "does not align until SES has verified the new domain",
            "DMARC depends on DKIM until then; check that DKIM is SUCCESS",
        )


@mail_from_rule("mail-from-removed", "warning", "The custom MAIL FROM domain is removed")
def mail_from_removed(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """The plan removes the custom MAIL FROM domain of a live identity.

    Why: SES then sends with amazonses.com as the MAIL FROM domain. SPF never aligns, and DMARC depends on DKIM alone.
    Fix: Keep `mail_from`, or check that DKIM is SUCCESS.
    Source: SES Developer Guide, Complying with DMARC
    """
    if identity.alters(_NAME) and identity.was(_NAME) and not identity.will(_NAME):
        yield Problem(
            f"after this, mail of {identity.place} has amazonses.com as its MAIL FROM domain: DMARC depends on "
            "DKIM alone",
            "keep mail_from, or check that DKIM is SUCCESS",
        )


@mail_from_rule("mail-from-none", "note", "Without a custom MAIL FROM domain SPF never aligns")
def none_set(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """An identity has no custom MAIL FROM domain.

    Why: SPF passes for amazonses.com and not for the domain. So only one of the two checks of DMARC can pass.
    Fix: `mail_from: {mail_from_domain: "bounce-${region}.${domain}"}`
    Source: SES Developer Guide, Complying with DMARC
    """
    if identity.region in regions.UNPUBLISHED:
        return  # none can be declared there
    if identity.after is not None and not identity.will(_NAME) and not identity.was(_NAME):
        yield Problem(
            f"{identity.place} has no custom MAIL FROM domain: SPF passes for amazonses.com, not for {identity.name}",
            'declare mail_from: {mail_from_domain: "bounce-${region}.${domain}"}',
        )


@rule(
    "mail-from-in-use",
    "warning",
    "The MAIL FROM domain is also used for other mail",
    theme="MAIL FROM",
    example=_EXAMPLE,
)
def in_use(view: RuleView) -> Iterator[RawFinding]:
    """The MAIL FROM domain is also an identity, or the From domain of an SMTP user.

    Why: SES requires a name that nothing else uses. Its MX points at SES, so replies to mail from that name are lost.
    Fix: Use a name such as `bounce-${region}.${domain}`.
    Source: SES API, PutEmailIdentityMailFromAttributes: not used to send from or receive at
    """
    senders = {sender_domain(str(p)): u.name for u in view.users for p in u.values.get("from_addresses") or ()}
    for identity in view.identities:
        name = str(identity.will(_NAME) or "")
        if not name:
            continue
        if any(other.after is not None for other in view.identities_for(name)):
            use = "also an identity"
        elif name in senders:
            use = f"also the From domain of {senders[name]}"
        else:
            continue
        yield RawFinding(
            identity.address,
            f"{name}, the MAIL FROM domain of {identity.place}, is {use}",
            "use a name that nothing else uses, such as bounce-${region}.${domain}",
        )


@mail_from_rule("mail-from-failing", "warning", "SES no longer finds the records of the MAIL FROM domain")
def mail_from_failing(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """SES reports the MAIL FROM status FAILED or TEMPORARY_FAILURE for a live identity.

    Why: After 72 hours SES gives up, and the domain has to be set up again. Until the records are back, SES sends with
    amazonses.com as the MAIL FROM domain, or rejects the mail under `REJECT_MESSAGE`.
    Fix: `recon doctor acme.com` compares MX and TXT with the answers of DNS.
    Source: SES Developer Guide, Using a custom MAIL FROM domain: states
    """
    status = identity.facts.get("mail_from_status")
    if identity.stays and identity.will(_NAME) and status in ("FAILED", "TEMPORARY_FAILURE"):
        effect = "SES rejects its mail" if _rejects(identity) else "SES sends with amazonses.com instead"
        yield Problem(
            f"MAIL FROM {identity.will(_NAME)} of {identity.place} is {status}: {effect}",
            "`recon doctor` compares its MX and TXT with the answers of DNS",
        )


# --- notifications -------------------------------------------------------------------------------------------------

notification_rule = RuleFor(
    lambda view: ((one.address, one) for one in view.resources_after("email_identity") if one.will(NOTIFICATIONS)),
    "Notifications", _EXAMPLE,
)  # fmt: skip

_SES = "ses.amazonaws.com"


@notification_rule("notifications-topic", "warning", "A topic that SES cannot publish notifications to")
def notification_topic(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """A topic under `notification_attributes` does not exist, its policy does not let `ses.amazonaws.com` publish, or
    its KMS key that service may not use. Of declared topics recon writes the policy.

    Why: SES refuses the topic, or takes it off at the first bounce, turns forwarding on and mails you.
    Fix: Allow `sns:Publish` to the service `ses.amazonaws.com`, with `AWS:SourceAccount` set to the account. For an
    encrypted topic, use a customer managed key that allows it `kms:GenerateDataKey*` and `kms:Decrypt`.
    Source: SES Developer Guide, Configuring Amazon SNS notifications for Amazon SES
    """
    arns = (identity.will(f"{NOTIFICATIONS}.{kind.lower()}_topic") for kind in NOTIFIED)
    yield from topics.cannot_publish(view, dict.fromkeys(arn for arn in arns if arn), _SES)


@notification_rule("notifications-twice", "note", "Bounces or complaints that are reported in more than one way")
def notified_twice(view: RuleView, identity: Resource) -> Iterator[Problem]:
    """Bounces or complaints of an identity go to a topic of its own, and also to an event destination of its default
    configuration set, or by mail to the return path.

    Why: Whoever counts them, or acts on them, does so twice. Events of a set and notifications of an identity have
    different forms.
    Fix: Keep one way: take the topic out, the event type out of the destination, or write `email_forwarding_enabled:
    false`.
    Source: SES Developer Guide, Setting up notifications for Amazon SES
    """
    default = view.default_set(identity)
    caught = view.events_caught(default.address) if default is not None else frozenset()
    ways: dict[str, list[str]] = {}
    for kind in NOTIFIED:
        if not identity.will(f"{NOTIFICATIONS}.{kind.lower()}_topic"):
            continue
        found = [f"to an event destination of {default.name}"] if default and kind.upper() in caught else []
        if kind != "Delivery" and identity.will("email_forwarding_enabled") is not False:
            found.append("by e-mail (email_forwarding_enabled)")
        if found:
            ways.setdefault(" and ".join(found), []).append(kind.lower())
    for also, kinds in ways.items():
        yield Problem(
            f"{' and '.join(kinds)} notifications of {identity.place} go to its topic, and also {also}",
            "keep one way",
        )
