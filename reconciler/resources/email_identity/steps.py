"""The steps that carry out a change of one identity, and what each of them waits for.

SES forgets old DKIM and MAIL FROM names with the put that replaces them: before that put the new records must be
written and a marker must name the old ones. Tags that say what is ours are written first, and shrink last.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.kinds.comparing import touches
from reconciler.kinds.kind import Need, Step, needs_of, order_of
from reconciler.kinds.tags import put_tags, release_tags, tag_phases
from reconciler.model import Change, address_parts
from reconciler.resources.email_identity import DEFAULT_SET, notifications, writes

_SIGNING = (
    "dkim.signing_attributes_origin",
    "dkim.next_signing_key_length",
    "dkim.domain_signing_selector",
    "dkim.domain_signing_private_key",
)


def steps_of_identity(change: Change) -> Iterator[Step]:
    """The steps of a creation, an update, an adoption or a deletion."""
    if change.action == "delete":
        yield _delete(change)
        return
    if change.action == "create":
        yield _create(change)
    else:
        yield from _claim(change)
        yield from _dkim(change)
    yield from _mail_from(change)
    yield from _attributes(change)
    if change.action != "create":
        yield from _release(change)
    yield from _policies(change)


def _needs(change: Change) -> tuple[Need, ...]:
    """The configuration set, and the identity whose DKIM keys are replicated."""
    principals = change.execution.get("principals") or ()
    return needs_of([one for one in change.depends_on if one not in principals], "create", "update", "dkim")


def _first(change: Change) -> Need:
    """The step that all others of the change wait for."""
    return Need(change.address, "create" if change.action == "create" else "claim")


def _delete(change: Change) -> Step:
    _, region, name = address_parts(change.address)
    return Step(
        change.address,
        "delete",
        (*order_of(change).first(), *needs_of(change.depends_on, "delete")),
        lambda rt: writes.delete(rt, region, name),
        calls=("sesv2:DeleteEmailIdentity",),
        region=region,
    )


def _create(change: Change) -> Step:
    _, region, name = address_parts(change.address)
    return Step(
        change.address,
        "create",
        _needs(change),
        lambda rt: writes.create(rt, change, region, name),
        calls=("sesv2:CreateEmailIdentity",),
        region=region,
    )


def _claim(change: Change) -> Iterator[Step]:
    _, region, name = address_parts(change.address)
    put, _, _ = tag_phases(change)
    if put:
        yield Step(
            change.address,
            "claim",
            (),
            lambda rt: put_tags(rt, "email_identity", region, name, put),
            calls=("sesv2:TagResource",),
            region=region,
        )


def _dkim(change: Change) -> Iterator[Step]:
    _, region, name = address_parts(change.address)
    if touches(change, *_SIGNING):
        yield Step(
            change.address,
            "dkim",
            (_first(change), *order_of(change).first(), *_needs(change)),
            lambda rt: writes.put_signing(rt, change, region, name),
            calls=("sesv2:PutEmailIdentityDkimSigningAttributes",),
            region=region,
        )


def _mail_from(change: Change) -> Iterator[Step]:
    _, region, name = address_parts(change.address)
    if touches(change, "mail_from"):
        yield Step(
            change.address,
            "mail_from",
            (_first(change), *(() if change.action == "create" else order_of(change).first())),
            lambda rt: writes.put_mail_from(rt, change, region, name),
            calls=("sesv2:PutEmailIdentityMailFromAttributes",),
            region=region,
        )


def _attributes(change: Change) -> Iterator[Step]:
    """What is neither keys nor MAIL FROM; of a new identity only what differs from how SES creates it."""
    _, region, name = address_parts(change.address)
    after = change.after or {}
    create = change.action == "create"
    named = {"EmailIdentity": name}
    topics, without = notifications.requests(change, name)
    puts: list[notifications.Put] = []
    if touches(change, DEFAULT_SET.path) and not create:
        wanted = {"ConfigurationSetName": after[DEFAULT_SET.path]} if after.get(DEFAULT_SET.path) else {}
        puts.append(("sesv2", "PutEmailIdentityConfigurationSetAttributes", {**named, **wanted}))
    puts += topics  # forwarding can only be off where bounces and complaints have topics
    if touches(change, notifications.FORWARDING) and not (after[notifications.FORWARDING] and create):
        enabled = {"EmailForwardingEnabled": after[notifications.FORWARDING]}
        puts.append(("sesv2", "PutEmailIdentityFeedbackAttributes", {**named, **enabled}))
    puts += without
    if touches(change, "dkim.signing_enabled") and not (after["dkim"]["signing_enabled"] and create):
        signing = {"SigningEnabled": after["dkim"]["signing_enabled"]}
        puts.append(("sesv2", "PutEmailIdentityDkimAttributes", {**named, **signing}))
    if puts:
        yield Step(
            change.address,
            "attributes" if create else "update",
            (_first(change), *_needs(change)),
            lambda rt: writes.put_rest(rt, puts, change.address, region),
            calls=tuple(f"{service}:{operation}" for service, operation, _ in puts),
            region=region,
        )


def _release(change: Change) -> Iterator[Step]:
    """Tags that remember what we put shrink last: until then a run that was killed still knows what is left to do."""
    _, region, name = address_parts(change.address)
    _, release, drop = tag_phases(change)
    if release or drop:
        own = needs_of((change.address,), "claim", "mail_from", "dkim", "update", "policies")
        yield Step(
            change.address,
            "release",
            (*own, *order_of(change).last()),
            lambda rt: release_tags(rt, "email_identity", region, name, release, drop),
            calls=(("sesv2:TagResource",) if release else ()) + (("sesv2:UntagResource",) if drop else ()),
            region=region,
        )


def _policies(change: Change) -> Iterator[Step]:
    _, region, name = address_parts(change.address)
    if not touches(change, "policies"):
        return
    old = (change.before or {}).get("policies") or {}
    changed = {k: v for k, v in ((change.after or {}).get("policies") or {}).items() if v != old.get(k)}
    written = dict(change.execution.get("policies") or {})
    verified = bool(change.execution.get("verified"))
    yield Step(
        change.address,
        "policies",
        (_first(change), *needs_of(change.execution.get("principals") or (), "create", "update")),
        lambda rt: writes.put_policies(rt, changed, written, region, name, wait=not verified),
        calls=tuple(
            "sesv2:DeleteEmailIdentityPolicy" if v is None else "sesv2:CreateEmailIdentityPolicy"
            for v in changed.values()
        ),
        region=region,
        after_verification=not verified,
        unseen=("BadRequestException", "InvalidPolicyException"),
    )
