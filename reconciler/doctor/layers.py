"""Judging what was gathered, layer by layer. Pure.

Sources: SES Developer Guide, "Monitoring your sender reputation" (5% bounces and 0.1% complaints bring a review),
"Troubleshooting verification"; SES v2 API, VerificationInfo; RFC 9989 (alignment, finding the record), RFC 7208.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.doctor.checks import FOUND, LAYERS, OK, UNKNOWN, Check
from reconciler.doctor.facts import Facts, may_send
from reconciler.errors import ReconError
from reconciler.mail import bimi, dmarc, spf
from reconciler.model import Observed
from reconciler.names import is_at_or_below, parents
from reconciler.public_dns import Answer
from reconciler.resources import email_identity as identity
from reconciler.resources.configuration_set import kind as configuration_set
from reconciler.resources.dns_record import intents
from reconciler.resources.dns_record.intents import Intent
from reconciler.resources.dns_record.values import key_of, mx_value
from reconciler.resources.dns_record.zones import Zone
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_credential import rotation
from reconciler.resources.smtp_user import kind as smtp_user

REVIEW_BOUNCES = 0.05
REVIEW_COMPLAINTS = 0.001
ENOUGH = 200
"""Mails from which on a rate means something."""
QUOTA_NEAR = 0.9

_VERIFICATION = {
    "SERVICE_ERROR": "SES had an error of its own; it tries again",
    "DNS_SERVER_ERROR": "the name servers of the domain answer with errors: ask who runs them",
    "HOST_NOT_FOUND": "SES finds no records: compare the name servers of the registration with those of the zone",
    "TYPE_NOT_FOUND": "the names are there, of another record type",
    "INVALID_VALUE": "the records hold other values: recon plan shows them",
    "REPLICATION_ACCESS_DENIED": "allow ses:ReplicateEmailIdentityDkimSigningKey on the parent identity",
    "REPLICATION_PRIMARY_NOT_FOUND": "the parent identity, whose keys this one copies, is not there",
    "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED": "the parent must sign with Easy DKIM",
    "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED": "the parent copies its own keys from elsewhere: name its source",
    "REPLICATION_PRIMARY_INVALID_REGION": "the parent's region cannot be copied from",
}


def diagnose(facts: Facts) -> list[Check]:
    """Every check, in the order of the layers."""
    checks: list[Check] = []
    for region in facts.regions:
        checks += _account(facts, region)
    for domain in facts.domains:
        checks += _identity(facts, domain)
        if facts.asked_dns:
            checks += _dns(facts, domain)
        checks += _alignment(facts, domain)
    checks += _smtp(facts)
    for region in facts.regions:
        checks += _suppression(facts, region)
        checks += _reputation(facts, region)
    return sorted(checks, key=lambda c: LAYERS.index(c.layer))


# --- account -------------------------------------------------------------------------------------------------------


def _account(facts: Facts, region: str) -> Iterator[Check]:
    live = facts.accounts[region]

    def found(message: str, hint: str) -> Check:
        return Check("account", FOUND, message, hint, region=region)

    if isinstance(live, ReconError):
        yield Check("account", UNKNOWN, live.message, live.hint, region=region)
        return
    quota = live.get("SendQuota") or {}
    sent, most = float(quota.get("SentLast24Hours") or 0), float(quota.get("Max24HourSend") or 0)
    if live.get("EnforcementStatus") == "SHUTDOWN":
        yield found("SES has shut down sending of this account", "answer AWS's case; recon cannot lift it")
    elif live.get("EnforcementStatus") == "PROBATION":
        yield found("the account is under review by SES", "mend bounces and complaints, and answer AWS's case")
    elif live.get("SendingEnabled") is False:
        yield found("sending of the whole account is paused", f"recon account resume --region {region}")
    elif live.get("ProductionAccessEnabled") is False:
        yield found("the account is in the SES sandbox: only verified recipients get mail", "ask for production access")
    elif most > 0 and sent >= QUOTA_NEAR * most:
        yield found(f"{sent:,.0f} of {most:,.0f} mails a day are sent", "ask AWS for a higher quota, or send later")
    else:
        of = "without a limit" if most < 0 else f"of {most:,.0f}"
        yield Check("account", OK, f"sending is on, {sent:,.0f} {of} mails in 24 hours", region=region)


# --- identity ------------------------------------------------------------------------------------------------------


def _identities(facts: Facts, domain: str) -> Iterator[tuple[str, str]]:
    """(region, address) of the declared identities of a domain, in the regions asked for."""
    for desired in sorted(facts.snapshot.kind(identity.NAME), key=lambda d: d.address):
        if desired.name == domain and desired.region in facts.regions:
            yield str(desired.region), desired.address


def _identity(facts: Facts, domain: str) -> Iterator[Check]:
    snapshot = facts.snapshot
    for region, address in _identities(facts, domain):
        unread = snapshot.unknown(address)
        live = snapshot.observed.get(address)
        if unread is not None:
            yield Check("identity", UNKNOWN, f"it could not be read: {unread.reason}", unread.hint, domain, region)
        elif live is None:
            yield Check("identity", FOUND, "SES has no such identity", "recon apply creates it", domain, region)
        else:
            problems = list(_identity_problems(facts, live, domain, region))
            yield from problems or [
                Check("identity", OK, "verified, signs with DKIM" + _mail_from_words(live), "", domain, region)
            ]


def _mail_from_words(live: Observed) -> str:
    block = live.spec["mail_from"]
    return f", MAIL FROM {block['mail_from_domain']} is set up" if block else ", without a MAIL FROM of its own"


def _identity_problems(facts: Facts, live: Observed, domain: str, region: str) -> Iterator[Check]:
    seen, dkim, mail_from = live.facts, live.spec["dkim"], live.spec["mail_from"]

    def found(message: str, hint: str) -> Check:
        return Check("identity", FOUND, message, hint, domain, region)

    if seen["verification_status"] != "SUCCESS":
        words = f"verification is {seen['verification_status']}"
        words += f", SES says {seen['error_type']}" if seen.get("error_type") else ""
        words += f", looked last at {seen['last_checked']}" if seen.get("last_checked") else ""
        words += f", and saw the name server {seen['soa_seen']}" if seen.get("soa_seen") else ""
        hint = _VERIFICATION.get(
            str(seen.get("error_type")), "the records below must be visible; SES looks for 72 hours"
        )
        yield found(words, hint)
    elif not seen["sending"]:
        yield found(
            "it is verified, and SES does not let it send", "look at the account in the console: it may be held"
        )
    if not dkim["signing_enabled"]:
        yield found("mail is not signed: DKIM signing is off", "recon plan shows who declares it so")
    elif seen["verification_status"] == "SUCCESS" and seen["dkim_status"] != "SUCCESS":
        yield found(f"DKIM is {seen['dkim_status']}: mail is not signed", "the DKIM records below must be visible")
    if mail_from and seen["mail_from_status"] not in {None, "SUCCESS"}:
        name, status = mail_from["mail_from_domain"], seen["mail_from_status"]
        rejects = mail_from["behavior_on_mx_failure"] == "REJECT_MESSAGE"
        effect = "SES refuses mail" if rejects else "SES sends with amazonses.com instead, and SPF does not align"
        yield found(f"MAIL FROM {name} is {status}: {effect}", "its one MX and its SPF below must be visible")
    name = live.spec["configuration_set_name"]
    used = facts.snapshot.observed.get(configuration_set.address_of(region, name)) if name else None
    if name and used is None and facts.snapshot.unknown(configuration_set.address_of(region, name)) is None:
        yield found(f"its configuration set {name} does not exist: SES refuses mail (554)", "recon apply creates it")
    elif used is not None and (used.spec.get("sending_options") or {}).get("sending_enabled") is False:
        yield found(f"its configuration set {name} has sending switched off", "recon apply --resume-sending")


# --- DNS as the world sees it --------------------------------------------------------------------------------------


def _dns(facts: Facts, domain: str) -> Iterator[Check]:
    wrong = 0
    asked = 0
    blamed: set[str] = set()
    for intent in intents.of_state(facts.snapshot):
        if intent.domain != domain or intent.name is None or (intent.region and intent.region not in facts.regions):
            continue
        asked += 1
        answer = facts.answers[intent.name, intent.type]
        problem = _record_problem(intent, answer)
        if answer.problem:
            wrong += 1
            yield Check(
                "dns", UNKNOWN, f"{intent.name} {intent.type}: {answer.problem}", "", domain, intent.region or ""
            )
        elif problem:
            wrong += 1
            zone = _zone_of(facts, intent.name)
            if zone is not None and zone.name not in blamed and (strangers := _other_servers(facts, zone)):
                blamed.add(zone.name)
                yield Check(
                    "dns", FOUND,
                    f"the world asks {', '.join(strangers)} for {zone.name}, not the servers of hosted zone {zone.id}",
                    f"at the registrar set {', '.join(_servers(zone))}, or change the zone that is delegated", domain,
                )  # fmt: skip
            yield Check("dns", FOUND, problem, _dns_hint(zone, intent), domain, intent.region or "")
    if asked and not wrong:
        yield Check("dns", OK, f"all {asked} records are as the world should see them", "", domain)
    elif not asked:
        yield Check("dns", OK, "no records are declared", "", domain)


def _record_problem(intent: Intent, answer: Answer) -> str:
    """What is wrong with what the world sees of one record; "" where it is right."""
    name, seen = f"{intent.name} {intent.type}", answer.values
    if intent.style == "cname":
        right = seen == (intent.value,)
        return "" if right else f"{name} {_is(seen)}, not {intent.value}"
    if intent.style == "mx":
        right = tuple(map(mx_value, seen)) == (mx_value(intent.value or ""),)
        return "" if right else f"{name} {_is(seen)}, not {intent.value} alone"
    if intent.style == "dkim_key":
        return "" if any(key_of(t) == intent.value for t in seen) else f"{name} does not hold the DKIM key"
    if intent.style == "tags":
        codec: Any = dmarc if intent.group == "dmarc" else bimi
        kind, records = intent.group.upper(), [t for t in seen if codec.is_record(t)]
        if len(records) != 1:
            return f"{name} has {len(records)} {kind} records" + (": receivers use none of them" if records else "")
        right = dict(codec.parse(records[0])) == dict(intent.tags or {})
        return "" if right else f"{name} is {records[0]}, not {codec.to_text(dict(intent.tags or {}))}"
    records = [t for t in seen if spf.is_record(t)]
    if len(records) != 1:
        return f"{name} has {len(records)} SPF records" + (", a permanent error to receivers" if records else "")
    missing = [t for t in intent.terms if t not in spf.terms_present(records[0], intent.terms)]
    return f"{name} lacks {' '.join(missing)}: it is {records[0]}" if missing else ""


def _is(values: tuple[str, ...]) -> str:
    return f"is {' and '.join(values)}" if values else "is not there"


def _zone_of(facts: Facts, name: str) -> Zone | None:
    """The public zone of ours at or nearest above a name."""
    every = [z for z in facts.snapshot.zones.values() if z.loaded and not z.private and is_at_or_below(name, z.name)]
    return max(every, key=lambda z: len(z.name), default=None)


def _servers(zone: Zone) -> list[str]:
    return sorted({v.rstrip(".").lower() for s in zone.sets(zone.name, "NS") for v in s.values})


def _other_servers(facts: Facts, zone: Zone) -> tuple[str, ...]:
    """The name servers that the world asks for a zone, where none of them is the zone's own."""
    seen = facts.answers.get((zone.name, "NS"), Answer()).values
    return seen if seen and not set(seen) & set(_servers(zone)) else ()


def _dns_hint(zone: Zone | None, intent: Intent) -> str:
    if intent.zone == "manual" or zone is None:
        return "publish it where the zone is kept; recon plan shows the values"
    if intent.name and zone.sets(intent.name, intent.type):
        return f"zone {zone.id} has records there: recon plan says whether they are right; if so, caches are behind"
    return "recon apply writes it"


# --- alignment -----------------------------------------------------------------------------------------------------


def _policy_of(facts: Facts, domain: str) -> tuple[str, Mapping[str, str]] | None:
    """The DMARC record that a receiver finds for mail from a domain, and where: its own, or the nearest above (RFC 9989
    walks up the tree; where no parent is ours that is the organizational domain)."""
    for name in (domain, *parents(domain)):
        if "." not in name:
            break
        records = [t for t in facts.answers.get((f"_dmarc.{name}", "TXT"), Answer()).values if dmarc.is_record(t)]
        if len(records) == 1:
            return name, dmarc.parse(records[0])
    return None


def _alignment(facts: Facts, domain: str) -> Iterator[Check]:
    places = list(_identities(facts, domain))
    found = _policy_of(facts, domain)
    own = intents.own_entries(facts.snapshot).get(domain)
    told_of = own is not None and own.values.get("dmarc") is not None  # The layer of DNS says it then.
    if facts.asked_dns and found is None and not told_of:
        unread = [a.problem for (n, _), a in facts.answers.items() if n == f"_dmarc.{domain}" and a.problem]
        status = UNKNOWN if unread else FOUND
        yield Check("alignment", status, "receivers find no DMARC record", "declare `dmarc:`, at first p=none", domain)
    if found is None and not places:
        return
    where, tags = found or (domain, {})
    policy = (tags.get("p") if where == domain else tags.get("sp") or tags.get("p") or "none") or "none"
    if not places:
        yield Check("alignment", OK, f"it never sends; receivers are told p={policy}", "", domain)
        return
    for region, address in places:
        live = facts.snapshot.observed.get(address)
        if live is None:
            continue
        by = [*(["DKIM"] if _signs(live) else []), *(["SPF"] if _spf_aligns(live, domain, tags) else [])]
        told = f"p={policy}" if facts.asked_dns else "its policy was not looked up"
        if not by:
            effect = {"reject": "receivers reject mail", "quarantine": "mail lands in spam"}.get(policy, "DMARC fails")
            yield Check(
                "alignment", FOUND, f"neither DKIM nor SPF passes for {domain}: {effect} ({told})",
                "mend the identity above first", domain, region,
            )  # fmt: skip
        else:
            more = "" if "DKIM" in by else "; forwarded mail fails, since only DKIM survives that"
            yield Check("alignment", OK, f"DMARC passes by {' and '.join(by)} ({told}{more})", "", domain, region)


def _signs(live: Observed) -> bool:
    """Easy DKIM and BYODKIM both sign with d= the identity itself."""
    return bool(live.spec["dkim"]["signing_enabled"]) and live.facts["dkim_status"] == "SUCCESS"


def _spf_aligns(live: Observed, domain: str, tags: Mapping[str, str]) -> bool:
    """The envelope sender is a subdomain of the identity (SES asks for that), which aligns unless `aspf=s`."""
    block = live.spec["mail_from"]
    working = bool(block) and live.facts["mail_from_status"] == "SUCCESS"
    return working and tags.get("aspf", "r") != "s" and is_at_or_below(block["mail_from_domain"], domain)


# --- SMTP credentials ----------------------------------------------------------------------------------------------


def _smtp(facts: Facts) -> Iterator[Check]:
    snapshot = facts.snapshot
    for desired in sorted(snapshot.kind(smtp_credential.NAME), key=lambda d: d.name):
        domain = next((d for d in facts.domains if may_send(desired.entry, d)), "")
        name, address = desired.name, desired.address

        def check(status: str, message: str, hint: str = "", domain: str = domain) -> Check:
            return Check("smtp", status, message, hint, domain)

        unread = snapshot.unknown(address) or snapshot.unknown(smtp_user.address_of(name))
        if unread is not None:
            yield check(UNKNOWN, f"{name} could not be read: {unread.reason}", unread.hint)
            continue
        live = snapshot.observed.get(address)
        turn = rotation.status(desired, live, snapshot.now)
        if turn.state == "locked":
            yield check(FOUND, f"{name} {turn.reason.removeprefix('the user ')}", turn.hint)
        elif live is None or turn.state == "unhealthy":
            yield check(FOUND, f"{name}: {turn.reason}", turn.hint or "recon apply")
        elif left := rotation.unacknowledged(desired, live):
            told = ", ".join(rotation.consumer_words(c) for c in left)
            yield check(
                FOUND, f"{name}: nobody has said that these have the current password: {told}",
                f'give it to them, then: recon smtp ack {name} "{left[0]["name"]}"',
            )  # fmt: skip
        else:
            hint = f"recon smtp verify {name} logs in with it"
            yield check(OK, f"{name}: its key {live.spec['key']} is on, and every store holds its passwords", hint)


# --- suppression and reputation ------------------------------------------------------------------------------------


def _suppression(facts: Facts, region: str) -> Iterator[Check]:
    counts = facts.suppressed[region]
    if isinstance(counts, ReconError):
        yield Check("suppression", UNKNOWN, counts.message, counts.hint, region=region)
        return
    if facts.recipient:
        mine = [e for e in facts.recipient_entries if e.region == region]
        for entry in mine:
            yield Check(
                "suppression", FOUND,
                f"{entry.address} is on the list since {entry.since[:10]} ({entry.reason}): SES does not deliver to it",
                f"recon suppression remove {entry.address} --region {region}", region=region,
            )  # fmt: skip
        if not mine:
            yield Check("suppression", OK, f"{facts.recipient} is not on the list", region=region)
        return
    own = [e for e in facts.suppressed_own if e.region == region]
    if own:
        some = ", ".join(e.address for e in own[:3]) + (", ..." if len(own) > 3 else "")
        yield Check(
            "suppression", FOUND, f"{len(own)} addresses of your own are on the list: {some}",
            "once they take mail again: recon suppression remove", region=region,
        )  # fmt: skip
        return
    told = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items())) or "it is empty"
    yield Check("suppression", OK, f"the list: {told}", "recon doctor --to ADDRESS looks one up", region=region)


def _reputation(facts: Facts, region: str) -> Iterator[Check]:
    sent = facts.sent[region]
    if isinstance(sent, ReconError):
        yield Check("reputation", UNKNOWN, sent.message, sent.hint, region=region)
        return
    if sent.attempts < ENOUGH:
        yield Check("reputation", OK, f"{sent.attempts:,} mails in two weeks, too few for a rate", region=region)
        return
    bounces, complaints = sent.bounces / sent.attempts, sent.complaints / sent.attempts
    words = f"{sent.attempts:,} mails in two weeks, {bounces:.1%} bounced, {complaints:.2%} complained"
    if bounces >= REVIEW_BOUNCES:
        yield Check(
            "reputation", FOUND, words, "SES reviews from 5% bounces on: clean the lists you send to", region=region
        )
    if complaints >= REVIEW_COMPLAINTS:
        hint = "SES reviews from 0.1% complaints on: send to those who asked, and let them leave"
        yield Check("reputation", FOUND, words, hint, region=region)
    if bounces < REVIEW_BOUNCES and complaints < REVIEW_COMPLAINTS:
        yield Check("reputation", OK, words, region=region)
