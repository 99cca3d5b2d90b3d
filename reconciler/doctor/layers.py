"""The layers, and the checks of each, from the facts that were read. Pure.

Sources: SES Developer Guide, "Monitoring your sender reputation" (5% bounces and 0.1% complaints bring a review),
"Troubleshooting verification"; SES v2 API, VerificationInfo; RFC 9989 (alignment, finding the record), RFC 7208.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from reconciler.doctor import users
from reconciler.doctor.checks import (
    ADVICE,
    DELEGATION,
    ENOUGH,
    FOUND,
    NOW,
    OK,
    REVIEW_BOUNCES,
    REVIEW_COMPLAINTS,
    UNKNOWN,
    Check,
)
from reconciler.doctor.facts import Facts, apex_of, hosted_zones
from reconciler.doctor.headline import by_cause
from reconciler.doctor.receiver import receiver_checks
from reconciler.errors import ReconError
from reconciler.mail import dmarc
from reconciler.model import Observed
from reconciler.names import is_at_or_below, parents
from reconciler.public_dns import Answer
from reconciler.resources import email_identity as identity
from reconciler.resources.dns_record import intents
from reconciler.resources.dns_record.intents import Intent
from reconciler.resources.dns_record.publishing import record_problem
from reconciler.resources.dns_record.zones import Zone

QUOTA_NEAR = 0.9

_VERIFICATION = {
    "SERVICE_ERROR": "SES had an internal error, and tries again",
    "DNS_SERVER_ERROR": "the domain's name servers return errors: ask their operator",
    "HOST_NOT_FOUND": "compare the name servers at the registrar with those of the zone",
    "TYPE_NOT_FOUND": "the names exist, but with another record type",
    "INVALID_VALUE": "the records have other values: recon plan shows them",
    "REPLICATION_ACCESS_DENIED": "allow ses:ReplicateEmailIdentityDkimSigningKey on the parent identity",
    "REPLICATION_PRIMARY_NOT_FOUND": "the parent identity does not exist; this identity uses its DKIM keys",
    "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED": "the parent identity must use Easy DKIM",
    "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED": "the parent identity uses keys of another region: declare that one",
    "REPLICATION_PRIMARY_INVALID_REGION": "SES does not support the parent's region as a source of DKIM keys",
}

_VERIFICATION_ERRORS = {
    "SERVICE_ERROR": "SES had an error", "DNS_SERVER_ERROR": "SES could not query the name servers",
    "HOST_NOT_FOUND": "SES could not find the records", "TYPE_NOT_FOUND": "SES found other record types",
    "INVALID_VALUE": "SES found other values",
}  # fmt: skip


def diagnose(facts: Facts) -> list[Check]:
    """Every check, in the order of the layers, with the cause of each symptom."""
    checks: list[Check] = list(_listing(facts))
    for region in facts.regions:
        checks += _account(facts, region)
    for region in facts.regions:
        checks += _sets(facts, region)
    checks += _addresses(facts)
    if facts.asked_dns:
        checks += _delegations(facts)
        checks += _several(facts, {check.domain for check in checks if check.about == DELEGATION})
    for domain in facts.domains:
        checks += _identity(facts, domain)
        if facts.asked_dns:
            checks += _dns(facts, domain)
        checks += _alignment(facts, domain)
    checks += users.checks(facts)
    for region in facts.regions:
        checks += _suppression(facts, region)
        checks += _reputation(facts, region)
    if facts.receiver is not None:
        checks += receiver_checks(facts.receiver, facts.regions)
    return by_cause(checks)


def _listing(facts: Facts) -> Iterator[Check]:
    """What could not be listed where there is no YAML, and what was left out."""
    if facts.live is None:
        return
    for layer, region, error in facts.live.problems:
        yield Check(layer, UNKNOWN, error.message, error.hint, region=region)
    if facts.live.left:
        message = f"{facts.live.left:,} identities were not looked at, since each costs a call"
        yield Check("identity", UNKNOWN, message, "name a domain: recon doctor DOMAIN", rank=ADVICE)


def _hint(facts: Facts, declared: str, live: str) -> str:
    """What to do, with YAML or without."""
    return declared if facts.live is None else live


# --- account -------------------------------------------------------------------------------------------------------


def _account(facts: Facts, region: str) -> Iterator[Check]:
    live = facts.accounts[region]

    def found(message: str, hint: str, rank: int = NOW) -> Check:
        return Check("account", FOUND, message, hint, region=region, rank=rank)

    if isinstance(live, ReconError):
        yield Check("account", UNKNOWN, live.message, live.hint, region=region)
        return
    quota = live.get("SendQuota") or {}
    sent, most = float(quota.get("SentLast24Hours") or 0), float(quota.get("Max24HourSend") or 0)
    if live.get("EnforcementStatus") == "SHUTDOWN":
        yield found("SES has shut down sending of this account", "answer AWS's support case; recon cannot end it")
    elif live.get("EnforcementStatus") == "PROBATION":
        yield found(
            "the account is under review by SES", "reduce bounces and complaints, and answer AWS's support case"
        )
    elif live.get("SendingEnabled") is False:
        yield found("sending of the whole account is paused", f"recon account resume --region {region}")
    elif live.get("ProductionAccessEnabled") is False:
        review = (live.get("Details") or {}).get("ReviewDetails") or {}
        hint = f"recon account request-production --region {region}"
        if review.get("Status") in {"PENDING", "DENIED"}:
            case = f" {review['CaseId']}" if review.get("CaseId") else ""
            hint = (
                f"the request for production access is {review['Status']}: reply to the case{case} in the AWS console"
            )
        yield found("the account is in the SES sandbox: only verified recipients get mail", hint, ADVICE)
    elif most > 0 and sent >= QUOTA_NEAR * most:
        yield found(f"{sent:,.0f} of {most:,.0f} messages a day are sent", "request a higher quota, or send later")
    else:
        of = "without a limit" if most < 0 else f"of {most:,.0f}"
        vdm = (live.get("VdmAttributes") or {}).get("VdmEnabled") == "ENABLED"
        mode = (live.get("DeliveryAttributes") or {}).get("SharedPoolDeliveryMode")
        more = f", Virtual Deliverability Manager {'on' if vdm else 'off'}" + (f", delivery {mode}" if mode else "")
        yield Check("account", OK, f"sending is on, {sent:,.0f} {of} messages in 24 hours{more}", region=region)


# --- configuration sets --------------------------------------------------------------------------------------------


def _sets(facts: Facts, region: str) -> Iterator[Check]:
    """The declared configuration sets of a region: each that is missing, unread or paused, and how many are not."""
    snapshot, fine = facts.snapshot, 0
    for desired in sorted(snapshot.kind(identity.DEFAULT_SET.kind), key=lambda d: d.address):
        if desired.region != region:
            continue
        unread, live = snapshot.unknown(desired.address), snapshot.observed.get(desired.address)
        if unread is not None:
            message, status, hint = f"{desired.name} could not be read: {unread.reason}", UNKNOWN, unread.hint
        elif live is None:
            message, status, hint = f"{desired.name} does not exist", FOUND, "recon apply creates it"
        elif (live.spec.get("sending_options") or {}).get("sending_enabled") is False:
            message, status = f"sending is off in {desired.name}: SES rejects mail that names it", FOUND
            hint = _hint(
                facts, "recon apply --resume-sending, once what stopped it is fixed",
                "switch it on again in SES, once what stopped it is fixed",
            )  # fmt: skip
        else:
            fine += 1
            continue
        yield Check("configuration_set", status, message, hint, region=region, about="set", subject=desired.name)
    if fine:
        declared = _hint(facts, "declared ", "")
        words = f"the {declared}set exists" if fine == 1 else f"{fine} {declared}sets exist"
        yield Check("configuration_set", OK, f"{words}, and sending is on", region=region)


# --- identity ------------------------------------------------------------------------------------------------------


def _identities(facts: Facts, domain: str) -> Iterator[tuple[str, str]]:
    """(region, address) of the declared identities of a domain, in the regions asked for."""
    for desired in sorted(facts.snapshot.kind(identity.NAME), key=lambda d: d.address):
        if desired.name == domain and desired.region in facts.regions:
            yield str(desired.region), desired.address


def _addresses(facts: Facts) -> Iterator[Check]:
    """The declared single addresses: verified, and with a set that sends."""
    for desired in sorted(facts.snapshot.kind(identity.NAME), key=lambda d: d.address):
        if "@" not in desired.name or desired.region not in facts.regions:
            continue
        region, live = str(desired.region), facts.snapshot.observed.get(desired.address)
        unread = facts.snapshot.unknown(desired.address)

        def check(status: str, message: str, hint: str = "", *, name: str = desired.name, at: str = region) -> Check:
            return Check("identity", status, message, hint, name, at)

        if unread is not None:
            yield check(UNKNOWN, f"the address could not be read: {unread.reason}", unread.hint)
        elif live is None:
            yield check(FOUND, "the address is no identity", "recon apply creates it")
        elif live.facts["verification_status"] != "SUCCESS":
            status = live.facts["verification_status"] or "not told by SES"
            hint = "its owner must click the link that SES has mailed"
            yield check(FOUND, f"verification of the address is {status}", hint)
        else:
            problems = list(_set_problems(facts, live, region))
            yield from problems
            if not problems:
                yield check(OK, "the address is verified")


def _identity(facts: Facts, domain: str) -> Iterator[Check]:
    snapshot = facts.snapshot
    for region, address in _identities(facts, domain):
        unread = snapshot.unknown(address)
        live = snapshot.observed.get(address)
        if unread is not None:
            yield Check(
                "identity", UNKNOWN, f"the identity could not be read: {unread.reason}", unread.hint, domain, region
            )
        elif live is None:
            hint = _hint(facts, "recon apply creates it", "create it in SES; if it is in another region, give --region")
            yield Check("identity", FOUND, "the identity does not exist", hint, domain, region, "verification")
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

    def found(message: str, hint: str, about: str = "") -> Check:
        return Check("identity", FOUND, message, hint, domain, region, about)

    if seen["verification_status"] != "SUCCESS":
        hint = "SES must be able to resolve the records listed below; it checks for 72 hours"
        hint = _VERIFICATION.get(str(seen.get("error_type")), hint)
        yield found(_verification_text(seen, facts.snapshot.now), hint, "verification")
    elif not seen["sending"]:
        yield found(
            "the identity is verified, but SES does not allow it to send", "check the account in the SES console"
        )
    if not dkim["signing_enabled"]:
        hint = _hint(facts, "recon plan shows whether the YAML declares it", "switch signing on in SES")
        yield found("mail is not signed: DKIM signing is off", hint, "dkim")
    elif seen["verification_status"] == "SUCCESS" and seen["dkim_status"] != "SUCCESS":
        yield found(
            f"DKIM is {seen['dkim_status']}: mail is not signed",
            "SES must be able to resolve the DKIM records listed below", "dkim",
        )  # fmt: skip
    if mail_from and seen["mail_from_status"] not in {None, "SUCCESS"}:
        name, status = mail_from["mail_from_domain"], seen["mail_from_status"]
        rejects = mail_from["behavior_on_mx_failure"] == "REJECT_MESSAGE"
        effect = "SES rejects mail" if rejects else "SES uses amazonses.com instead, and SPF does not align"
        hint = "SES must be able to resolve the MX and SPF records listed below"
        yield found(f"MAIL FROM {name} is {status}: {effect}", hint, "mail_from")
    yield from _set_problems(facts, live, region)


def _set_problems(facts: Facts, live: Observed, region: str) -> Iterator[Check]:
    """What is wrong with the default configuration set of an identity."""

    def found(message: str, hint: str) -> Check:
        return Check("identity", FOUND, message, hint, live.name, region, "set", str(name))

    name = live.spec["configuration_set_name"]
    used = facts.snapshot.observed.get(f"configuration_set/{region}/{name}") if name else None
    if name and used is None and facts.snapshot.unknown(f"configuration_set/{region}/{name}") is None:
        hint = _hint(facts, "recon apply creates it", "create it, or give the identity another set")
        yield found(f"its configuration set {name} does not exist: SES rejects mail (554)", hint)
    elif used is not None and (used.spec.get("sending_options") or {}).get("sending_enabled") is False:
        hint = _hint(facts, "recon apply --resume-sending", "switch it on again in SES")
        yield found(f"sending is off in its configuration set {name}", hint)


def _verification_text(seen: Mapping[str, Any], now: str) -> str:
    """Such as "verification is PENDING: SES could not find the records (HOST_NOT_FOUND, last checked 08:14 UTC, 3 min
    ago)"."""
    error, server = str(seen.get("error_type") or ""), seen.get("soa_seen")
    known = _VERIFICATION_ERRORS.get(error, "SES reports an error" if error else "")
    checked = _checked_text(seen.get("last_checked"), now)
    more = ", ".join(part for part in (error, checked, f"name server {server}" if server else "") if part)
    words = f"verification is {seen['verification_status']}" + (f": {known}" if known else "")
    return f"{words} ({more})" if more else words


def _checked_text(checked: object, now: str) -> str:
    if not checked:
        return ""
    moment, present = (datetime.fromisoformat(str(text)).astimezone(UTC) for text in (checked, now))
    minutes = max(int((present - moment).total_seconds() // 60), 0)
    ago = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
    day = "" if moment.date() == present.date() else f"{moment:%Y-%m-%d} "
    return f"last checked {day}{moment:%H:%M} UTC, {ago} ago"


# --- public DNS ----------------------------------------------------------------------------------------------------


def _dns(facts: Facts, domain: str) -> Iterator[Check]:
    wrong = asked = 0
    for intent in intents.each_once(intents.of_state(facts.snapshot)):
        if intent.domain != domain or intent.name is None or (intent.region and intent.region not in facts.regions):
            continue
        asked += 1
        region, answer = intent.region or "", facts.answers[intent.name, intent.type]
        if answer.problem:
            wrong += 1
            message = f"{intent.name} {intent.type}: {answer.problem}"
            yield Check("dns", UNKNOWN, message, "", domain, region, intent.group)
        elif problem := record_problem(intent, answer.values):
            wrong += 1
            hint = _dns_hint(facts, _zone_of(facts, intent.name), intent)
            yield Check("dns", FOUND, problem, hint, domain, region, intent.group)
    if asked and not wrong:
        yield Check("dns", OK, f"public DNS returns all {asked} records as expected", "", domain)
    elif not asked:
        yield Check("dns", OK, "no records are declared" if facts.live is None else "SES needs no record", "", domain)


def _delegations(facts: Facts) -> Iterator[Check]:
    """The zones whose records fail because the world does not get to them: one check each, however many records."""
    failed: dict[str, Zone | None] = {}
    for intent in intents.of_state(facts.snapshot):
        if intent.name and intent.domain in facts.domains:
            answer = facts.answers.get((intent.name, intent.type), Answer())
            if answer.problem or record_problem(intent, answer.values):
                zone = _zone_of(facts, intent.name)
                failed[apex_of(facts.snapshot, intent.name)] = zone
    for apex, zone in sorted(failed.items()):
        yield from _delegation(facts, apex, zone)


def _delegation(facts: Facts, apex: str, zone: Zone | None) -> Iterator[Check]:
    """A check that failed where a zone has no name servers, none that answer, or none of those of its hosted zone."""
    seen = facts.answers.get((apex, "NS"), Answer())
    above = facts.answers.get((apex.partition(".")[2], "NS"), Answer())
    own = zone.servers if zone is not None else ()
    if set(seen.values) & set(own):
        return
    parent = next((one.parent_name for one in zone.delegations or ()), "") if zone is not None else ""
    where = f"in the zone {parent} that public DNS uses" if parent else "at the registrar"
    hint = f"set {', '.join(own) or 'the name servers that hold its records'} {where}"
    if zone is not None and (words := zone.undelegated()):
        message, hint = words
    elif seen.problem and not above.problem:
        message = f"the name servers of {apex} do not answer: {seen.problem}"
        hint = f"ask whoever runs them, or {hint}"
    elif not seen.problem and not seen.values:
        message = f"{apex} has no name servers in public DNS: it has expired, or its parent does not delegate it"
    elif zone is not None and not seen.problem:
        ids = " or ".join(one.id for one in hosted_zones(facts.snapshot, apex))
        message = f"{apex} is delegated to {', '.join(seen.values)}, not to the servers of hosted zone {ids}"
        hint += _hint(facts, ", or declare the zone that is delegated", "")
    else:
        return
    yield Check("dns", FOUND, message, hint, apex, about=DELEGATION)


def _zone_of(facts: Facts, name: str) -> Zone | None:
    """The public hosted zone that was read at or nearest above a name; of several with one name that which public DNS
    asks."""
    zones = hosted_zones(facts.snapshot, name)
    seen = facts.answers.get((apex_of(facts.snapshot, name), "NS"), Answer())
    return min(zones, key=lambda zone: not {*zone.servers} & {*seen.values}, default=None)


def _several(facts: Facts, told: Container[str]) -> Iterator[Check]:
    """Which of several hosted zones with one name resolvers ask; and the zones that the YAML names and that they do
    not ask, apart from those that a check has told of already."""
    entries = intents.own_entries(facts.snapshot).values()
    named = {zone for entry in entries for zone in intents.zones_named(entry)}
    for apex in sorted({apex_of(facts.snapshot, domain) for domain in facts.domains}):
        zones = hosted_zones(facts.snapshot, apex)
        seen = facts.answers.get((apex, "NS"), Answer()).values
        asked = [zone.id for zone in zones if {*zone.servers} & {*seen}]
        used = [zone for zone in zones if zone.id in named]
        others = [zone.id for zone in zones if zone.id not in asked]
        if used and seen and not {*asked} & named:
            ids = " and ".join(zone.id for zone in used)
            message = f"resolvers ask {' and '.join(asked or seen)} for {apex}, not {ids}, which the YAML names"
            servers = "; ".join(", ".join(zone.servers) for zone in used)
            hint = f"set its name servers ({servers}), or name the zone that is asked"
            if apex not in told:
                yield Check("dns", FOUND, message, hint, apex, about=DELEGATION)
        elif asked and others:
            message = f"of the hosted zones {apex} resolvers ask {' and '.join(asked)}, not {', '.join(others)}"
            yield Check("dns", OK, message, "", apex)


def _dns_hint(facts: Facts, zone: Zone | None, intent: Intent) -> str:
    if intent.zone == "manual" or zone is None:
        more = _hint(facts, f"; recon records {intent.domain} shows the values", "")
        return f"publish it in the zone's own DNS{more}"
    if intent.name and zone.sets(intent.name, intent.type):
        there = f"Route 53 zone {zone.id} already has {intent.type} records at this name. "
        return there + _hint(
            facts, "If recon plan does not change them, check the delegation; if that is right, wait for DNS caches",
            "If they are right, check the delegation, and wait for DNS caches",
        )  # fmt: skip
    return _hint(facts, "recon apply writes it", f"create it in Route 53 zone {zone.id}")


# --- alignment -----------------------------------------------------------------------------------------------------


def _policy_of(facts: Facts, domain: str) -> tuple[str, Mapping[str, str]] | None:
    """The name and tags of the DMARC record that a receiver finds for a domain: its own, or the nearest above (the tree
    walk of RFC 9989)."""
    for name in (domain, *parents(domain)):
        if "." not in name:
            break
        records = [
            t for t in facts.answers.get((f"_dmarc.{name}", "TXT"), Answer()).values if dmarc.is_record(t, strict=True)
        ]
        if len(records) == 1:
            return name, dmarc.parse(records[0])
    return None


def _alignment(facts: Facts, domain: str) -> Iterator[Check]:
    places = list(_identities(facts, domain))
    found = _policy_of(facts, domain)
    own = intents.own_entries(facts.snapshot).get(domain)
    declares_dmarc = own is not None and own.values.get("dmarc") is not None  # then the layer dns reports it
    if facts.asked_dns and found is None and not declares_dmarc:
        unread = [a.problem for (n, _), a in facts.answers.items() if n == f"_dmarc.{domain}" and a.problem]
        status = UNKNOWN if unread else FOUND
        hint = _hint(facts, "declare `dmarc:`, first with p: none", "publish one at _dmarc, first with p=none")
        yield Check("alignment", status, "receivers find no DMARC record", hint, domain, about="dmarc", rank=ADVICE)
    if found is None and not places:
        return
    where, tags = found or (domain, {})
    policy = dmarc.POLICIES[dmarc.levels(tags)["p" if where == domain else "sp"]]
    if not places:
        yield Check("alignment", OK, f"the domain does not send; its policy is p={policy}", "", domain)
        return
    for region, address in places:
        live = facts.snapshot.observed.get(address)
        if live is None:
            continue
        by = [*(["DKIM"] if _signs(live) else []), *(["SPF"] if _spf_aligns(live, domain, tags) else [])]
        policy_text = f"p={policy}" if found is not None else "no DMARC record"
        policy_text = policy_text if facts.asked_dns else "its policy was not looked up"
        if not by:
            effect = {"reject": "receivers reject mail", "quarantine": "mail goes to spam"}.get(policy, "DMARC fails")
            yield Check(
                "alignment", FOUND, f"neither DKIM nor SPF passes for {domain}: {effect} ({policy_text})",
                "fix the identity first", domain, region, "alignment",
            )  # fmt: skip
        else:
            more = "" if "DKIM" in by else "; forwarded mail fails, since only DKIM survives forwarding"
            yield Check(
                "alignment", OK, f"DMARC passes by {' and '.join(by)} ({policy_text}{more})", "", domain, region
            )


def _signs(live: Observed) -> bool:
    """Easy DKIM and BYODKIM both sign with d= the identity itself."""
    return bool(live.spec["dkim"]["signing_enabled"]) and live.facts["dkim_status"] == "SUCCESS"


def _spf_aligns(live: Observed, domain: str, tags: Mapping[str, str]) -> bool:
    """The envelope sender is a subdomain of the identity (SES requires it), which aligns unless `aspf=s`."""
    block = live.spec["mail_from"]
    working = bool(block) and live.facts["mail_from_status"] == "SUCCESS"
    return working and tags.get("aspf", "r") != "s" and is_at_or_below(block["mail_from_domain"], domain)


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
                f"{entry.address} is suppressed since {entry.since[:10]} ({entry.reason}): SES does not deliver to it",
                f"recon suppression remove {entry.address} --region {region}", region=region,
            )  # fmt: skip
        if not mine:
            yield Check("suppression", OK, f"{facts.recipient} is not suppressed", region=region)
        return
    own = [e for e in facts.suppressed_own if e.region == region]
    if own:
        some = ", ".join(e.address for e in own[:3]) + (", ..." if len(own) > 3 else "")
        yield Check(
            "suppression", FOUND, f"{len(own)} addresses in your own domains are suppressed: {some}",
            "once they accept mail again: recon suppression remove", region=region, rank=ADVICE,
        )  # fmt: skip
        return
    listed = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items()))
    message = f"suppression list: {listed}" if listed else "suppression list is empty"
    yield Check("suppression", OK, message, "recon doctor --to ADDRESS looks up one address", region=region)


def _reputation(facts: Facts, region: str) -> Iterator[Check]:
    sent = facts.sent[region]
    if isinstance(sent, ReconError):
        yield Check("reputation", UNKNOWN, sent.message, sent.hint, region=region)
        return
    if sent.attempts < ENOUGH:
        yield Check("reputation", OK, f"{sent.attempts:,} messages in two weeks, too few for a rate", region=region)
        return
    bounces, complaints = sent.bounces / sent.attempts, sent.complaints / sent.attempts
    words = f"{sent.attempts:,} messages in two weeks, {bounces:.1%} bounced, {complaints:.2%} complained"
    if bounces >= REVIEW_BOUNCES:
        who, count = users.behind(facts, region, "bounces")
        hint = "SES reviews accounts from 5% bounces: clean your recipient lists"
        yield Check("reputation", FOUND, f"{words}; {who}" if who else words, f"{hint}; {count}", region=region)
    if complaints >= REVIEW_COMPLAINTS:
        who, count = users.behind(facts, region, "complaints")
        hint = "SES reviews accounts from 0.1% complaints: send only to subscribers, with an easy way to unsubscribe"
        yield Check("reputation", FOUND, f"{words}; {who}" if who else words, f"{hint}; {count}", region=region)
    if bounces < REVIEW_BOUNCES and complaints < REVIEW_COMPLAINTS:
        yield Check("reputation", OK, words, region=region)
