"""SES email identity: a domain or address that may send mail.

Managed:  DKIM (on/off, origin, key length, BYODKIM selector and key), MAIL FROM, default configuration set, feedback
          forwarding, sending policies, tags.
Shown:    verification, DKIM and MAIL FROM status, tokens (AWS sets them).
Reads:    sesv2 GetEmailIdentity: one call an identity carries everything. BYODKIM keys from where the YAML says. What
          AWS returns for many at once is in bulk.py.
Writes:   CreateEmailIdentity with all that it takes in one call, then one Put for each block that differs. The order is
          in steps.py, the calls in writes.py.
Source:   SES v2 API reference, CreateEmailIdentity, GetEmailIdentity, PutEmailIdentity...; SES Developer Guide,
          "Creating and verifying identities", "Authenticating Email with DKIM", "Using a custom MAIL FROM domain".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import ReconError
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import covered, differences, overlay, project, touches
from reconciler.kinds.grants import Grant, parameter_grant, secret_grants
from reconciler.kinds.kind import Step
from reconciler.kinds.listing import not_listed
from reconciler.kinds.ownership import (
    DKIM_KEY,
    DKIM_SELECTOR,
    MAIL_FROM,
    POLICIES,
    PROTECT,
    RECORDS,
    adopts,
    left_alone,
    means_none,
    refuse_protected,
    takes_along,
    unpack,
)
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.policy import normal_policy
from reconciler.kinds.reading import (
    Reader,
    must_exist,
    named_addresses,
    principal_addresses,
    read_covering,
    read_each,
    wanted_addresses,
    with_arns,
)
from reconciler.kinds.snapshot import Snapshot, ref_key
from reconciler.kinds.tags import entry_tags, packed, plan_tags, present, tags_from_aws
from reconciler.model import Address, Change, Desired, Diagnostic, Document, Note, Observed, State, address_parts
from reconciler.resources import KINDS
from reconciler.resources.dns_record.values import mail_from_names
from reconciler.resources.email_identity import DEFAULT_SET, NAME, NOTIFICATIONS, address_of, bulk, notifications
from reconciler.resources.email_identity.statuses import status_of
from reconciler.resources.email_identity.steps import steps_of_identity
from reconciler.secrets import DkimKey, fetch, fingerprint

if TYPE_CHECKING:
    from reconciler.aws import Aws

WHOLE = ("policies",)
_NOTIFICATION_READS = dict.fromkeys(
    (f"{NOTIFICATIONS}.{key}" for key in notifications.wanted(None)), f"ses:{notifications.READ}"
)


class EmailIdentity(Reader):
    name = NAME
    reads = (
        "sesv2:GetEmailIdentity",
        "sesv2:ListEmailIdentities",
        "ses:GetIdentityDkimAttributes",
        "ses:GetIdentityMailFromDomainAttributes",
        "ses:GetIdentityNotificationAttributes",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
    )
    writes = (
        "sesv2:CreateEmailIdentity",
        "sesv2:PutEmailIdentityMailFromAttributes",
        "sesv2:PutEmailIdentityFeedbackAttributes",
        "sesv2:PutEmailIdentityDkimAttributes",
        "sesv2:PutEmailIdentityDkimSigningAttributes",
        "sesv2:PutEmailIdentityConfigurationSetAttributes",
        "sesv2:CreateEmailIdentityPolicy",
        "sesv2:UpdateEmailIdentityPolicy",
        "sesv2:DeleteEmailIdentityPolicy",
        "sesv2:TagResource",
        "sesv2:UntagResource",
        "sesv2:DeleteEmailIdentity",
        f"ses:{notifications.SET_TOPIC}",
        f"ses:{notifications.SET_HEADERS}",
    )

    read_calls = dict.fromkeys(
        (
            "dkim.signing_enabled", "dkim.signing_attributes_origin", "dkim.next_signing_key_length",
            "dkim.domain_signing_selector", "dkim.domain_signing_private_key", "mail_from.mail_from_domain",
            "mail_from.behavior_on_mx_failure", DEFAULT_SET.path, "email_forwarding_enabled", "policies",
            "tags", "verification_status", "dkim_status", "mail_from_status", "tokens", "signing_hosted_zone",
        ),
        "sesv2:GetEmailIdentity",
    ) | _NOTIFICATION_READS  # fmt: skip
    read_calls_bulk: Mapping[str, str] = {
        "dkim.signing_enabled": "ses:GetIdentityDkimAttributes",
        "mail_from.mail_from_domain": "ses:GetIdentityMailFromDomainAttributes",
        "mail_from.behavior_on_mx_failure": "ses:GetIdentityMailFromDomainAttributes",
        "email_forwarding_enabled": "ses:GetIdentityNotificationAttributes",
        "tags": "resourcegroupstaggingapi:GetResources",
        "dkim.domain_signing_private_key": "resourcegroupstaggingapi:GetResources",
        "verification_status": "sesv2:ListEmailIdentities",
        "dkim_status": "ses:GetIdentityDkimAttributes",
        "mail_from_status": "ses:GetIdentityMailFromDomainAttributes",
        "tokens": "ses:GetIdentityDkimAttributes",
        **_NOTIFICATION_READS,
    }
    """With ``--refresh bulk``; what is not in it is not read then."""

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for section in ("domains", "email_addresses"):
            for entry in state.section(section):
                if entry.region is None:
                    continue
                values = entry.values
                spec: dict[str, Any] = {}
                if "dkim" in values and section == "domains":
                    spec["dkim"] = _desired_dkim(values["dkim"])
                if "mail_from" in values:
                    block = values["mail_from"]
                    if block and block.get("mail_from_domain"):
                        spec["mail_from"] = {k: v for k, v in block.items() if v is not None}
                    else:
                        spec["mail_from"] = None
                for field, default in ((DEFAULT_SET.path, None), ("email_forwarding_enabled", True)):
                    if field in values:
                        spec[field] = default if values[field] is None else values[field]
                partition = regions.partition_of(entry.region or "")
                if NOTIFICATIONS in values:
                    spec[NOTIFICATIONS] = notifications.wanted(values[NOTIFICATIONS])
                spec["policies"] = {k: normal_policy(v, partition) for k, v in (values.get("policies") or {}).items()}
                spec["tags"] = entry_tags(entry)
                yield Desired(
                    address_of(entry.region, entry.name),
                    NAME,
                    entry.region,
                    entry.name,
                    with_arns(KINDS[NAME], spec, entry.region, state.stack),
                    entry,
                    protect=bool(values.get("protect")),
                )

    def grants(self, desired: Desired, state: State) -> Iterable[Grant]:
        """Also the secret with its DKIM key, and the identity in both regions of a Deterministic Easy DKIM."""
        yield from super().grants(desired, state)
        stack, region = state.stack, desired.region or ""
        dkim = desired.entry.values.get("dkim") or {}
        key = dkim.get("domain_signing_private_key") or {}
        place = str(key.get("region") or (stack.regions[0] if stack.regions else region))
        if "secretsmanager" in key:
            yield from secret_grants("dkim_secret", stack, str(key["secretsmanager"]), place)
        elif "ssm" in key:
            yield parameter_grant("dkim_parameter", stack, str(key["ssm"]), place)
        if parent := regions.deterministic_parent(str(dkim.get("signing_attributes_origin") or "")):
            for one in (parent, region):
                yield Grant("replicated", regions.identity_arn(stack.partition, one, stack.account, desired.name))

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        if snapshot.refresh == "bulk" and not snapshot.whole.issuperset(wanted_addresses(NAME, snapshot)):
            bulk.observe_bulk(self, aws, snapshot)
        else:
            wanted = wanted_addresses(NAME, snapshot)
            absent = not_listed(aws, snapshot, NAME, wanted)
            read_each(self, aws, snapshot, [a for a in wanted if a not in absent])
        notifications.read_all(aws, snapshot)
        read_covering(aws, snapshot)
        bulk.find_twins(aws, snapshot)
        self._read_keys(aws, snapshot)

    def _read_keys(self, aws: Aws, snapshot: Snapshot) -> None:
        """The public halves of the BYODKIM keys that the state names."""
        for desired in snapshot.kind(NAME):
            reference = (desired.spec.get("dkim") or {}).get("domain_signing_private_key")
            if not reference or ref_key(reference) in snapshot.keys or not snapshot.includes(desired.address):
                continue
            try:
                text = fetch(reference, aws, aws.stack.regions[0], snapshot.root)
                snapshot.keys[ref_key(reference)] = DkimKey(text).public
            except ReconError as error:
                snapshot.unreadable(desired.address, f"the DKIM key: {error.message}", error.hint)

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One live identity with its statuses and tokens, or None where SES does not have it."""
        live = aws.call_if_there("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
        if live is None:
            return None
        tags = tags_from_aws(live.get("Tags"))
        dkim, mail_from = live.get("DkimAttributes") or {}, live.get("MailFromAttributes") or {}
        origin = dkim.get("SigningAttributesOrigin") or "AWS_SES"
        tokens = list(dkim.get("Tokens") or ())
        block: dict[str, Any] = {
            "signing_enabled": bool(dkim.get("SigningEnabled")),
            "signing_attributes_origin": origin,
            "next_signing_key_length": dkim.get("NextSigningKeyLength"),
        }
        if origin == "EXTERNAL":
            block["domain_signing_selector"] = tokens[0] if tokens else None
            block["domain_signing_private_key"] = tags.get(DKIM_KEY)
        if regions.deterministic_parent(origin):
            block["next_signing_key_length"] = None  # A replica reports its parent's, which moves with the parent.
        if "@" in name:
            # An address reports the DKIM of its domain: nothing of its own, and it moves when the domain's does.
            block = {"signing_enabled": False, "signing_attributes_origin": "AWS_SES", "next_signing_key_length": None}
        spec: dict[str, Any] = {
            "dkim": block,
            "mail_from": {
                "mail_from_domain": mail_from["MailFromDomain"].lower().rstrip("."),
                "behavior_on_mx_failure": mail_from.get("BehaviorOnMxFailure") or "USE_DEFAULT_VALUE",
            }
            if mail_from.get("MailFromDomain")
            else None,
            DEFAULT_SET.path: live.get("ConfigurationSetName") or None,
            "email_forwarding_enabled": live.get("FeedbackForwardingStatus", True),
            "policies": {k: normal_policy(v) for k, v in (live.get("Policies") or {}).items()},
            "tags": dict(tags),
        }
        info = live.get("VerificationInfo") or {}
        facts = {
            "verification_status": live.get("VerificationStatus"),
            "sending": bool(live.get("VerifiedForSendingStatus")),
            "dkim_status": dkim.get("Status"),
            "mail_from_status": mail_from.get("MailFromDomainStatus"),
            "tokens": tokens,
            "signing_hosted_zone": (dkim.get("SigningHostedZone") or "").rstrip(".").lower() or None,
            "identity_type": live.get("IdentityType"),
            "error_type": info.get("ErrorType"),
            "last_verified": _time(info.get("LastSuccessTimestamp")),
            "last_checked": _time(info.get("LastCheckedTimestamp")),
            "soa_seen": ((info.get("SOARecord") or {}).get("PrimaryNameServer") or "").rstrip(".") or None,
            "key_generated": _time(dkim.get("LastKeyGenerationTimestamp")),
        }
        return Observed(address_of(region, name), NAME, region, name, spec, tags, facts)

    def read_again(self, aws: Aws, change: Change) -> Observed | None:
        return notifications.read_again(aws, change, super().read_again(aws, change))

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        by_name: dict[str, list[Observed]] = {}
        for live in snapshot.observed.values():
            if live.kind == NAME:
                by_name.setdefault(live.name, []).append(live)
        for address in snapshot.addresses(NAME):
            if snapshot.unknown(address):
                continue
            desired, found = snapshot.desired.get(address), snapshot.observed.get(address)
            if desired is not None:
                change = self._plan_declared(draft, desired, found)
            else:
                change = self._plan_delete(draft, found, by_name)
            if change is not None:
                yield change

    def statuses(self, snapshot: Snapshot) -> Iterable[Diagnostic]:
        declared = (
            live for live in snapshot.observed.values() if live.kind == NAME and live.address in snapshot.desired
        )
        return [status for live in declared if (status := status_of(live)) is not None]

    def _plan_declared(self, draft: PlanDraft, desired: Desired, live: Observed | None) -> Change | None:
        wanted = _wanted(draft, desired, live)
        needs = (
            *_references(desired), *named_addresses(draft.snapshot, NAME, desired.region, desired.spec),
            *principal_addresses(draft.snapshot, desired.spec["policies"].values()),
        )  # fmt: skip
        for need in needs:
            if address_parts(need).kind == DEFAULT_SET.kind:
                must_exist(draft, need, desired, DEFAULT_SET.path)
        if live is None:
            return creation(
                desired,
                _created(wanted, desired.entry.section == "domains"),
                whole=WHOLE,
                depends_on=needs,
                notes=_twins(draft.snapshot, desired),
                execution=_execution(draft, desired, None),
            )
        adopted = adopts(draft, desired.address, live.tags, desired.entry.source)
        observed, wanted = _comparable(draft.snapshot, desired, live, wanted)
        if not adopted and covered(observed, wanted):
            return None
        before = project(observed, wanted)
        after = overlay(wanted, before)
        diff = differences(before, after, whole=WHOLE, desired=desired)
        if not (diff or adopted):
            return None
        moves = any(d.path.startswith(("mail_from", "dkim.signing_attributes", "dkim.domain_signing")) for d in diff)
        if (moves or _forgets(live.tags, wanted["tags"])) and _hides_records(draft, live):
            return None
        _refuse_key_length(draft, desired, live)
        notifications.refuse_silence(draft, desired, live)
        return alteration(
            desired,
            live,
            before,
            after,
            diff,
            adopts=adopted,
            depends_on=needs,
            notes=(
                *_once_a_day(before, after),
                *_policies_of_others(desired, live),
                *notifications.notes(desired, live),
            ),
            source=next((d.source for d in diff if d.source and not d.path.startswith("tags.recon")), None)
            or desired.entry.source,
            execution=_execution(draft, desired, live),
        )

    def _plan_delete(
        self, draft: PlanDraft, live: Observed | None, by_name: Mapping[str, list[Observed]]
    ) -> Change | None:
        snapshot = draft.snapshot
        if live is None or not snapshot.owns(live):
            return None
        if _hides_records(draft, live):
            return None
        refuse_protected(draft, live.address, live.tags, "deleted")
        replicas = tuple(
            o.address
            for o in by_name[live.name]
            if regions.deterministic_parent(o.spec["dkim"]["signing_attributes_origin"]) == live.region
            and snapshot.owns(o)
        )
        return deletion(live, whole=WHOLE, depends_on=replicas, execution=draft.order(live.address).execution())

    # -- written ----------------------------------------------------------------------------------------------------

    create_defaults: Document = {
        "dkim": {
            "signing_enabled": True,
            "signing_attributes_origin": "AWS_SES",
            "next_signing_key_length": "RSA_2048_BIT",
        },
        "email_forwarding_enabled": True,
        NOTIFICATIONS: notifications.wanted(None),
    }
    usual = {  # where DKIM comes from is always said
        **create_defaults,
        "dkim": {"signing_enabled": True, "next_signing_key_length": "RSA_2048_BIT"},
        "mail_from": {"behavior_on_mx_failure": "USE_DEFAULT_VALUE"},
    }
    whole: tuple[str, ...] = WHOLE

    def written_fields(self, change: Change) -> Iterator[tuple[Document, Document]]:
        """A put of MAIL FROM is whole: a behaviour that nobody wrote is sent as it was planned. Which private key SES
        holds it does not tell."""
        for before, after in super().written_fields(change):
            dkim = {k: v for k, v in (after.get("dkim") or {}).items() if k != "domain_signing_private_key"}
            yield before, {**after, "dkim": dkim}
        live, block = change.execution.get("live_mail_from") or {}, (change.after or {}).get("mail_from")
        if block and touches(change, "mail_from"):
            rest = {k: v for k, v in live.items() if k not in block}
            yield {"mail_from": {}}, {"mail_from": rest}

    def steps(self, change: Change) -> Iterable[Step]:
        return steps_of_identity(change)


# --- what is compared ----------------------------------------------------------------------------------------------


def _wanted(draft: PlanDraft, desired: Desired, live: Observed | None) -> dict[str, Any]:
    """The declared fields as they are compared: the private key by its fingerprint, tags with recon's own."""
    wanted: dict[str, Any] = {k: v for k, v in desired.spec.items() if k not in {"tags", "policies"}}
    own: dict[str, str | None] = {PROTECT: "true" if desired.protect else None}
    dkim = wanted.get("dkim") or {}
    if reference := dkim.get("domain_signing_private_key"):
        own[DKIM_KEY] = fingerprint(draft.snapshot.keys[ref_key(reference)])
        wanted["dkim"] = {**dkim, "domain_signing_private_key": own[DKIM_KEY]}
    elif dkim.get("signing_attributes_origin") not in {None, "EXTERNAL"}:
        own[DKIM_KEY] = None
    own |= _mail_from_tag(desired, live) | _selector_tag(desired, live)
    if _drops_mail_from(desired, live):
        wanted["mail_from"] = None
    policies, put_policies = _policies(desired, live)
    if policies:
        wanted["policies"] = policies
    live_tags = live.tags if live else {}
    own |= packed(live_tags, POLICIES, put_policies) | notifications.tag(desired, live)
    own |= packed(live_tags, RECORDS, draft.remembered(desired.address, RECORDS))
    wanted["tags"] = plan_tags(desired.spec["tags"], live_tags, draft.snapshot.scope, own, desired.entry)
    return wanted


def _mail_from_tag(desired: Desired, live: Observed | None) -> dict[str, str | None]:
    """The tag that remembers our MAIL FROM as it must be after this plan (None: taken off); empty where it stays."""
    block, tags = desired.spec.get("mail_from"), live.tags if live else {}
    return packed(tags, MAIL_FROM, {block["mail_from_domain"]} if block else ())


def _selector_tag(desired: Desired, live: Observed | None) -> dict[str, str | None]:
    """The tag that remembers our BYODKIM selector as it must be after this plan: its record is written before SES is
    told of it. What is left alone stays remembered."""
    tags = live.tags if live else {}
    there = live.spec["dkim"] if live else {}
    dkim = desired.spec.get("dkim") or {}
    known, present = unpack(tags, DKIM_SELECTOR), there.get("domain_signing_selector")
    if left_alone(desired.entry, "dkim"):
        return {}
    if "signing_attributes_origin" not in dkim:
        return packed(tags, DKIM_SELECTOR, known & {present})
    named = dkim.get("domain_signing_selector") if dkim["signing_attributes_origin"] == "EXTERNAL" else None
    return packed(tags, DKIM_SELECTOR, {named} if named else ())


def _drops_mail_from(desired: Desired, live: Observed | None) -> bool:
    """Whether the MAIL FROM that is live was put there by us and is no longer declared."""
    if live is None or "mail_from" in desired.spec or left_alone(desired.entry, "mail_from"):
        return False
    there = (live.spec["mail_from"] or {}).get("mail_from_domain")
    return there in unpack(live.tags, MAIL_FROM)


def _comparable(
    snapshot: Snapshot, desired: Desired, live: Observed, wanted: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(live, wanted) without the fields that this read could not see; where no tag names the private key that SES
    holds, DNS may prove which it is."""
    observed = dict(live.spec)
    key = (wanted.get("dkim") or {}).get("domain_signing_private_key")
    if key and observed["dkim"].get("domain_signing_private_key") is None:
        proven = _proven_key(snapshot, desired, live)
        observed["dkim"] = {**observed["dkim"], "domain_signing_private_key": proven}
        if proven == key:
            wanted = {**wanted, "tags": {tag: value for tag, value in wanted["tags"].items() if tag != DKIM_KEY}}
    for path in live.unread:
        block, _, field = path.partition(".")
        if field and block in wanted:
            wanted = {**wanted, block: {k: v for k, v in wanted[block].items() if k != field}}
        elif not field:
            wanted = {k: v for k, v in wanted.items() if k != block}
    return observed, wanted


def _references(desired: Desired) -> tuple[Address, ...]:
    """The configuration set that an identity names, and the identity whose DKIM keys it replicates."""
    region = desired.region or ""
    found = []
    if name := DEFAULT_SET.name_in(desired.spec):
        found.append(KINDS[DEFAULT_SET.kind].address_of(region, name))
    origin = (desired.spec.get("dkim") or {}).get("signing_attributes_origin") or ""
    if parent := regions.deterministic_parent(origin):
        found.append(address_of(parent, desired.name))
    return tuple(sorted(found))


def _refuse_key_length(draft: PlanDraft, desired: Desired, live: Observed) -> None:
    """Refuse a key length for an identity that does not sign with Easy DKIM, where the YAML does not say
    that it should: only Easy DKIM has a length to set (SES API, DkimSigningAttributes, NextSigningKeyLength)."""
    block, origin = desired.spec.get("dkim") or {}, live.spec["dkim"]["signing_attributes_origin"]
    if origin == "AWS_SES" or "signing_attributes_origin" in block or "next_signing_key_length" not in block:
        return
    draft.refuse(
        "dkim-length-of-another-key",
        f"{desired.address} signs with the origin {origin}, and SES sets a key length for Easy DKIM only",
        hint="write signing_attributes_origin: AWS_SES to change to Easy DKIM, or leave next_signing_key_length out",
        address=desired.address,
        source=desired.source_of("dkim.next_signing_key_length"),
    )


def _proven_key(snapshot: Snapshot, desired: Desired, live: Observed) -> str | None:
    """The key that SES must hold, where DNS proves it: SES verified the very record that is in the zone."""
    from reconciler.resources.dns_record.zones import texts_at

    selector = live.spec["dkim"].get("domain_signing_selector")
    if live.facts.get("dkim_status") != "SUCCESS" or not selector:
        return None
    for text in texts_at(snapshot.zones, f"{selector}._domainkey.{desired.name}"):
        tags = dict(part.strip().partition("=")[::2] for part in text.split(";"))
        if tags.get("p"):
            return fingerprint("".join(tags["p"].split()))
    return None


def _hides_records(draft: PlanDraft, live: Observed) -> bool:
    """True after a warning, where a change would make SES forget names whose records could not be read: they would be
    left behind."""
    snapshot = draft.snapshot
    hidden = next(filter(None, map(snapshot.zone_unread, (live.name, *sorted(mail_from_names(live))))), None)
    if hidden is None or not unpack(live.tags, RECORDS) & {"dkim", "mail_from", "dmarc", "bimi", "null_mx"}:
        return False
    draft.say(
        "warning",
        "zone-unread",
        f"{live.address} is left as it is: its records could not be read, and would be left behind",
        hint=hidden.hint,
        address=live.address,
    )
    return True


def _forgets(live: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    """Whether tags that remember names in DNS lose one."""
    after = present({**live, **wanted})
    return any(unpack(live, key) - unpack(after, key) for key in (MAIL_FROM, DKIM_SELECTOR))


def _desired_dkim(written: Mapping[str, Any] | None) -> dict[str, Any]:
    if written is None:
        return {"signing_enabled": True, "signing_attributes_origin": "AWS_SES"}
    block: dict[str, Any] = {"signing_enabled": True}
    defaults = {
        "signing_enabled": True,
        "signing_attributes_origin": "AWS_SES",
        "next_signing_key_length": "RSA_2048_BIT",
    }
    for field, value in written.items():
        block[field] = defaults.get(field) if value is None else value
    return {k: v for k, v in block.items() if v is not None}


def _execution(draft: PlanDraft, desired: Desired, live: Observed | None) -> dict[str, Any]:
    """What carrying out a create or an update needs beside the fields."""
    execution: dict[str, Any] = {
        **draft.order(desired.address).execution(),
        "policies": dict(desired.entry.values.get("policies") or {}),
        "principals": principal_addresses(draft.snapshot, desired.spec["policies"].values()),
        "verified": bool(live and live.facts.get("verification_status") == "SUCCESS"),
    }
    reference = (desired.spec.get("dkim") or {}).get("domain_signing_private_key")
    if reference:
        execution["private_key"] = dict(reference)
    if live is not None:
        execution["live_mail_from"] = live.spec["mail_from"]
        execution["live_key_length"] = live.spec["dkim"]["next_signing_key_length"]
        execution["live_origin"] = live.spec["dkim"]["signing_attributes_origin"]
    return execution


def _once_a_day(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Note, ...]:
    old, new = ((d.get("dkim") or {}).get("next_signing_key_length") for d in (before, after))
    if new in {None, old}:
        return ()
    return (Note("dkim-key-once-a-day", "note", "SES changes a key length once in 24 hours"),)


def _twins(snapshot: Snapshot, desired: Desired) -> tuple[Note, ...]:
    twins = snapshot.twins.get(desired.address, ())
    words = (
        "SES already has {}, and compares addresses with their case: this will be a second identity, which its owner "
        "has to confirm (mail from the first is sent as before; delete it once nobody sends from it)"
    )
    return tuple(Note("address-twin", "warning", words.format(name)) for name in sorted(twins))


def _created(wanted: Mapping[str, Any], domain: bool) -> dict[str, Any]:
    """The fields of a new identity, with the DKIM that SES gives a domain by itself spelled out."""
    after = {k: v for k, v in wanted.items() if v is not None}
    after["tags"] = present(wanted["tags"])
    if domain:
        block = {"signing_enabled": True, "signing_attributes_origin": "AWS_SES", **(wanted.get("dkim") or {})}
        if block["signing_attributes_origin"] == "AWS_SES":
            block.setdefault("next_signing_key_length", "RSA_2048_BIT")
        after["dkim"] = block
    if after.get("mail_from"):
        after["mail_from"] = {"behavior_on_mx_failure": "USE_DEFAULT_VALUE", **after["mail_from"]}
    return after


def _policies_of_others(desired: Desired, live: Observed) -> tuple[Note, ...]:
    """What to say of policies that go since ``policies: {}`` says that there are none."""
    none = means_none(desired.entry, "policies")
    return takes_along(live.spec["policies"].keys() - unpack(live.tags, POLICIES) if none else (), "policy")


def _policies(wanting: Desired, live: Observed | None) -> tuple[dict[str, Any], frozenset[str]]:
    """The policies as far as we manage them (None: to be taken away), and the names to remember as put by us."""
    desired: Mapping[str, Any] = wanting.spec["policies"]
    there = live.spec["policies"] if live else {}
    before = unpack(live.tags, POLICIES) if live else frozenset()
    wanted: dict[str, Any] = dict(desired)
    gone = there if means_none(wanting.entry, "policies") else before - desired.keys()
    for name in gone:
        if name in there and not left_alone(wanting.entry, "policies", name):
            wanted[name] = None
    if live is not None and live.facts.get("bulk"):
        return wanted, before  # as declared, or it had been read whole
    return wanted, frozenset(desired)


def _time(value: Any) -> str | None:
    return value.isoformat() if value is not None and hasattr(value, "isoformat") else None


KIND = EmailIdentity()
