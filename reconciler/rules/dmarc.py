"""DMARC: what receivers will do with our mail, and with mail that only pretends to be ours (RFC 9989)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.mail import dmarc
from reconciler.names import is_at_or_below, parents
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import STRENGTH, Resource, RuleView, sender_domain

_LEVELS = {strength: name for name, strength in STRENGTH.items()}


def _address(view: RuleView, domain: str) -> str:
    return view.record_address(f"_dmarc.{domain}", "TXT")


def _tightens(view: RuleView, domain: str) -> bool:
    """Whether this plan makes the policy in force for ``domain`` stricter than it is live."""
    before, after = view.policy(domain, "before"), view.policy(domain)
    return before is not None and after is not None and after.strength > before.strength


def _where(identity: Resource) -> str:
    return f"{identity.name} in {identity.region}"


def _signing(identity: Resource) -> str:
    """The state of DKIM right after apply, in a word or two."""
    if identity.will("dkim.signing_enabled") is False:
        return "off"
    if identity.alters("dkim.signing_attributes_origin") or identity.alters("dkim.domain_signing_selector"):
        return "new keys"
    return str(identity.facts.get("dkim_status"))


@rule(
    "dmarc-enforced-unverified",
    "error",
    "DMARC is enforced while mail is not yet signed",
    "RFC 9989; SES Developer Guide, Complying with DMARC",
)
def enforced_unverified(view: RuleView) -> Iterator[RawFinding]:
    """Enforcement in force for an identity whose mail neither DKIM nor SPF aligns right after apply."""
    for identity in view.identities:
        policy = view.policy(identity.name)
        if identity.after is None or policy is None or not policy.enforces:
            continue
        if identity.is_new:
            yield RawFinding(
                _address(view, policy.owner),
                f"{_where(identity)} is not verified yet; until it is, its mail would be under p="
                f"{_LEVELS[policy.strength]}",
                "send nothing for it before `recon drift` shows DKIM SUCCESS",
                new=True,
            )
        elif view.dkim_works(identity) is False and not view.spf_aligns(identity, policy.tags):
            yield RawFinding(
                _address(view, policy.owner),
                f"mail of {_where(identity)} passes neither DKIM ({_signing(identity)}) nor "
                f"aligned SPF, and receivers are told to {_LEVELS[policy.strength]} it",
                "keep p=none until DKIM is SUCCESS in every region that sends",
                hurts=view.flows(identity) and _tightens(view, identity.name),
                new=not view.can_send(identity),
            )


@rule(
    "dmarc-spf-only",
    "warning",
    "DMARC is enforced and rests on SPF alone",
    "RFC 9989: enforcement should not rest on SPF alone, which forwarding breaks",
)
def spf_only(view: RuleView) -> Iterator[RawFinding]:
    """Enforced, unsigned, and only the MAIL FROM domain aligns: every forwarded message fails."""
    for identity in view.identities:
        policy = view.policy(identity.name)
        if not identity.stays or policy is None or not policy.enforces:
            continue
        if view.dkim_works(identity) is False and view.spf_aligns(identity, policy.tags):
            yield RawFinding(
                _address(view, policy.owner),
                f"mail of {_where(identity)} is not signed; it passes DMARC by SPF only, so forwarded mail fails",
                "bring DKIM to SUCCESS, or keep p=none until then",
            )


@rule(
    "dmarc-aspf-strict",
    "error",
    "aspf=s, which mail from SES can never meet",
    "SES Developer Guide, Complying with DMARC; RFC 9989",
)
def aspf_strict(view: RuleView) -> Iterator[RawFinding]:
    """Strict SPF alignment under an SES MAIL FROM, which is always a subdomain of the From domain."""
    for domain, tags in view.dmarc_records:
        if tags.get("aspf") != "s":
            continue
        governed = view.governed_by(domain)
        unsigned = [i for i in governed if view.dkim_works(i) is False and view.can_send(i)]
        before = view.dmarc_tags(domain, "before")
        newly = before is not None and before.get("aspf") != "s"
        policy = view.policy(domain)
        if unsigned:
            yield RawFinding(
                _address(view, domain),
                f"aspf=s takes away the only alignment of {_where(unsigned[0])}: its mail is not signed, and its "
                "MAIL FROM name is never equal to the From domain",
                "write aspf: r, or leave it out",
                hurts=newly and policy is not None and policy.enforces and any(map(view.flows, unsigned)),
            )
        else:
            yield RawFinding(
                _address(view, domain),
                "aspf=s: SPF never aligns for mail from SES, so DMARC rests on DKIM alone",
                "write aspf: r, or leave it out",
                new=not governed,
            )


@rule(
    "dmarc-adkim-strict",
    "error",
    "adkim=s while a parent's identity signs for a subdomain",
    "RFC 9989; SES Developer Guide, Complying with DMARC",
)
def adkim_strict(view: RuleView) -> Iterator[RawFinding]:
    """An SMTP user's From domain without an identity of its own is signed with the parent's name: not equal."""
    for user in view.users:
        for pattern in user.values.get("from_addresses") or ():
            sender = sender_domain(str(pattern))
            policy = view.policy(sender) if "." in sender else None
            if policy is None or policy.tags.get("adkim") != "s":
                continue
            for region in view.state.stack.regions:
                identity = view.covering_identity(region, sender)
                if identity is None or identity.name == sender:
                    continue
                before = view.policy(sender, "before")
                yield RawFinding(
                    _address(view, policy.owner),
                    f"{user.name} sends as {pattern}, signed with d={identity.name} in {region}: under adkim=s that "
                    "does not align",
                    f"declare the domain {sender}, or write adkim: r",
                    hurts=view.flows(identity)
                    and policy.enforces
                    and before is not None
                    and before.tags.get("adkim") != "s"
                    and not view.spf_aligns(identity, policy.tags),
                )


@rule(
    "dmarc-jump",
    "warning",
    "A jump from no enforcement to reject without a step",
    "RFC 9989; M3AAWG and receiver guides advise quarantine or t=y first",
)
def jump(view: RuleView) -> Iterator[RawFinding]:
    """none or nothing live, reject next, for a domain whose mail flows."""
    if view.dns_stays:
        return
    for domain in view.domain_names:
        before, after = view.policy(domain, "before"), view.policy(domain)
        if before is None or after is None or after.owner != domain or before.strength or after.strength < 2:
            continue
        sending = [i for i in view.governed_by(domain) if view.can_send(i)]
        if sending:
            yield RawFinding(
                _address(view, domain),
                f"the policy for {domain} goes from {before.tags.get('p', 'no record')} to reject at once, while "
                f"{_where(sending[0])} sends",
                "go by p: quarantine, or by t: y with p: reject, and read the aggregate reports for two weeks",
            )


@rule(
    "dmarc-weakened",
    "warning",
    "DMARC protects less than it does now",
    "RFC 9989: p, sp, np and t",
)
def weakened(view: RuleView) -> Iterator[RawFinding]:
    """The policy, the subdomain policy or the record itself goes, or test mode comes."""
    if view.dns_stays:
        return
    for domain in view.domain_names:
        before, after_texts = view.dmarc_tags(domain, "before"), view.dmarc_texts(domain)
        if before is None or after_texts is None:
            continue
        after = view.dmarc_tags(domain)
        if after is None:
            if not after_texts and STRENGTH.get(before.get("p", "none"), 0):
                yield RawFinding(
                    _address(view, domain),
                    f"the DMARC record of {domain} (p={before['p']}) is taken away",
                    "anybody may then send in its name; keep the record unless a parent's covers it",
                )
            continue
        for tag in ("p", "sp", "np"):
            was = STRENGTH.get(_level(before, tag), 0)
            now = STRENGTH.get(_level(after, tag), 0)
            if now < was and (tag == "p" or tag in before or tag in after):
                yield RawFinding(
                    _address(view, domain),
                    f"{tag} of {domain} goes from {_LEVELS[was]} down to {_LEVELS[now]}",
                    "if it is a step back for an investigation, waive this with a date",
                )
        if after.get("t") == "y" and before.get("t") != "y" and STRENGTH.get(after.get("p", ""), 0):
            yield RawFinding(
                _address(view, domain), f"t=y: receivers apply one level less than p={after['p']} to {domain}"
            )


def _level(tags: Mapping[str, str], tag: str) -> str:
    order = {"p": ("p",), "sp": ("sp", "p"), "np": ("np", "sp", "p")}[tag]
    return next((tags[name] for name in order if name in tags), "none")


@rule(
    "dmarc-missing",
    "warning",
    "A domain that sends has no DMARC record",
    "Gmail, Yahoo and Microsoft bulk sender rules: DMARC at least p=none",
)
def missing(view: RuleView) -> Iterator[RawFinding]:
    """Neither at the domain nor above it, in zones that were read."""
    for domain in sorted({i.name for i in view.identities if i.after is not None}):
        policy = view.policy(domain)
        if policy is not None and not policy.owner:
            yield RawFinding(
                _address(view, domain),
                f"no DMARC record covers {domain}; large receivers refuse bulk mail without one",
                "declare dmarc: {p: none, rua: [...]} and read the reports",
                new=not any(view.can_send(i) for i in view.identities_for(domain)),
            )


@rule("dmarc-no-rua", "warning", "A DMARC record without aggregate reports", "RFC 9990; RFC 9989")
def no_rua(view: RuleView) -> Iterator[RawFinding]:
    """Without rua nobody learns who fails; with p=none the record then does nothing at all."""
    for domain, tags in view.dmarc_records:
        if "rua" not in tags:
            effect = "so it neither protects nor informs" if _level(tags, "p") == "none" else "so failures stay unseen"
            yield RawFinding(
                _address(view, domain),
                f"the DMARC record of {domain} has no rua, {effect}",
                'add rua: ["mailto:..."]',
            )


@rule("dmarc-pct", "warning", "pct, which receivers no longer read", "RFC 9989: pct is historic, t took its place")
def pct(view: RuleView) -> Iterator[RawFinding]:
    """Below 100 it was meant as a brake that current receivers do not honour."""
    for domain, tags in view.dmarc_records:
        value = tags.get("pct")
        if value is not None and value != "100":
            yield RawFinding(
                _address(view, domain),
                f"pct={value}: receivers of today apply p={tags.get('p', 'none')} to all mail of {domain}",
                "take pct out; to go softly write t: y, which means one level less",
            )


@rule("dmarc-historic", "note", "Tags that RFC 9989 made historic", "RFC 9989")
def historic(view: RuleView) -> Iterator[RawFinding]:
    """rf, ri and pct=100 have no effect any more."""
    for domain, tags in view.dmarc_records:
        old = [f"{name}={tags[name]}" for name in dmarc.HISTORIC if name in tags]
        if old and (tags.get("pct", "100") == "100"):
            yield RawFinding(
                _address(view, domain), f"{' and '.join(old)} of {domain} has no effect any more", "take it out"
            )


@rule(
    "dmarc-forensic-own-mailbox",
    "warning",
    "Failure reports that flood a mailbox of the sending domain",
    "RFC 9991 (fo, ruf) and its privacy considerations",
)
def forensic(view: RuleView) -> Iterator[RawFinding]:
    """One report a failed message, with pieces of it, to a mailbox of the domain that sends."""
    for domain, tags in view.dmarc_records:
        for uri in dmarc.uris(tags.get("ruf", "")):
            target = dmarc.uri_domain(uri)
            if target is None or not (is_at_or_below(target, domain) or is_at_or_below(domain, target)):
                continue
            every = {"1", "d", "s"} & set(tags.get("fo", "0").split(":"))
            amount = "every message that fails any check" if every else "every message that fails"
            yield RawFinding(
                _address(view, domain),
                f"ruf={uri}{' with fo=' + tags['fo'] if every else ''} mails a report with parts of {amount} to "
                f"{target} itself",
                "leave ruf and fo out; the aggregate reports of rua say who fails without the flood",
            )


@rule(
    "dmarc-rua-unauthorized",
    "warning",
    "Reports go to another organization that has not agreed",
    "RFC 9990: <domain>._report._dmarc.<target> TXT v=DMARC1",
)
def rua_unauthorized(view: RuleView) -> Iterator[RawFinding]:
    """Judged where the target's zone is ours or public DNS was asked."""
    for domain, tags in view.dmarc_records:
        for tag in dmarc.URI_LISTS:
            for target in sorted({t for t in map(dmarc.uri_domain, dmarc.uris(tags.get(tag, ""))) if t}):
                if _same_organization(view, domain, target):
                    continue
                names = (f"{domain}._report._dmarc.{target}", f"*._report._dmarc.{target}")
                answers = [view.txt_anywhere(name) for name in names]
                if any(texts is None for texts in answers):
                    continue
                if not any(dmarc.is_record(text, strict=True) for texts in answers for text in texts or ()):
                    yield RawFinding(
                        _address(view, domain),
                        f"{tag} sends reports of {domain} to {target}, which has no {names[0]} record: none will come",
                        f'ask {target} to publish TXT {names[0]} "v=DMARC1"',
                    )


def _same_organization(view: RuleView, domain: str, target: str) -> bool:
    """Whether both lie under one domain: as near as one gets to the tree walk without asking DNS."""
    if is_at_or_below(domain, target) or is_at_or_below(target, domain):
        return True
    above = {domain, *parents(domain)} & view.own_names
    return bool(above & {target, *parents(target)})


@rule("dmarc-duplicate", "error", "Two DMARC records at one name", "RFC 9989: both are discarded")
def duplicate(view: RuleView) -> Iterator[RawFinding]:
    """Receivers drop both and go on to the parent domain."""
    for domain in view.domain_names:
        texts = view.dmarc_texts(domain)
        if texts is not None and len(texts) > 1:
            before = view.dmarc_texts(domain, "before")
            yield RawFinding(
                _address(view, domain),
                f"_dmarc.{domain} holds {len(texts)} DMARC records: receivers discard all of them",
                "take out all but one",
                hurts=before is not None
                and len(before) < 2
                and any(view.flows(i) for i in view.identities_for(domain)),
            )


@rule("dmarc-invalid", "warning", "A DMARC record that receivers cannot read as meant", "RFC 9989")
def invalid(view: RuleView) -> Iterator[RawFinding]:
    """Wrong values, a wrong version, a missing policy."""
    for domain, tags in view.dmarc_records:
        for problem in dmarc.problems(tags):
            yield RawFinding(
                _address(view, domain), f"the DMARC record of {domain}: {problem}", "declare it under dmarc:"
            )


@rule("dmarc-subdomains-open", "warning", "Subdomains are protected less than the domain", "RFC 9989: sp and np")
def subdomains_open(view: RuleView) -> Iterator[RawFinding]:
    """sp (or np) below p: spoofers move one label down."""
    for domain, tags in view.dmarc_records:
        strongest = STRENGTH.get(tags.get("p", "none"), 0)
        for tag in ("sp", "np"):
            if tag in tags and STRENGTH.get(tags[tag], 0) < strongest and tags[tag] != "quarantine":
                yield RawFinding(
                    _address(view, domain),
                    f"{tag}={tags[tag]} leaves names below {domain} open, although p={tags['p']}",
                    f"raise {tag}, and give a subdomain that cannot follow a record of its own",
                )


@rule(
    "dmarc-subdomain-tags",
    "note",
    "sp or np where they have no effect",
    "RFC 9989: read at the organizational domain only",
)
def subdomain_tags(view: RuleView) -> Iterator[RawFinding]:
    """Only the record at the top of the organization speaks for subdomains."""
    for domain, tags in view.dmarc_records:
        useless = [tag for tag in ("sp", "np") if tag in tags]
        above = next((name for name in parents(domain) if "." in name and view.dmarc_tags(name)), None)
        if useless and above and tags.get("psd") != "n":
            yield RawFinding(
                _address(view, domain),
                f"{' and '.join(useless)} at {domain} is not read: {above} speaks for subdomains",
                "take it out here, or write psd: n if this is an organization of its own",
            )


@rule("dmarc-test-mode", "note", "Test mode: receivers apply one level less", "RFC 9989: t")
def test_mode(view: RuleView) -> Iterator[RawFinding]:
    """t=y beside an enforcing policy is for a transition."""
    for domain, tags in view.dmarc_records:
        if tags.get("t") == "y" and STRENGTH.get(tags.get("p", "none"), 0):
            yield RawFinding(
                _address(view, domain),
                f"t=y: {domain} is treated as p={_LEVELS[STRENGTH[tags['p']] - 1]} for now",
                "set t: n once the reports are clean; receivers that do not know t apply p in full already",
            )


@rule("dmarc-psd", "warning", "psd=y on a domain of one's own", "RFC 9989: psd is for public suffixes")
def psd(view: RuleView) -> Iterator[RawFinding]:
    """psd=y says that others register names below this one: subdomains then stop aligning with it."""
    for domain, tags in view.dmarc_records:
        if tags.get("psd") == "y":
            yield RawFinding(
                _address(view, domain),
                f"psd=y declares {domain} a public suffix: names below it count as strangers",
                "leave psd out",
            )


@rule("dmarc-many-reports", "note", "More than two report addresses", "RFC 9990: receivers may stop after two")
def many_reports(view: RuleView) -> Iterator[RawFinding]:
    """Receivers must serve two URIs and may ignore further ones."""
    for domain, tags in view.dmarc_records:
        for tag in dmarc.URI_LISTS:
            count = len(dmarc.uris(tags.get(tag, "")))
            if count > 2:
                yield RawFinding(
                    _address(view, domain),
                    f"{tag} of {domain} lists {count} addresses; receivers may use the first two",
                    "send to one address and distribute from there",
                )


@rule(
    "dmarc-parked-open",
    "warning",
    "A domain that never sends is left open to spoofing",
    "M3AAWG Protecting Parked Domains; RFC 7208 section 10.1.2",
)
def parked_open(view: RuleView) -> Iterator[RawFinding]:
    """identity: false, and not p=reject with an SPF of -all."""
    for entry in view.domains:
        if entry.values.get("identity") is not False:
            continue
        policy = view.policy(entry.name)
        lacks = []
        if policy is not None and policy.strength < 2:
            lacks.append("no DMARC p=reject")
        texts = view.spf_texts(entry.name)
        declared = str((entry.values.get("spf") or {}).get("all", "")).lower()
        if declared != "-all" and texts is not None and not any("-all" in text.lower().split() for text in texts):
            lacks.append("no SPF of -all")
        if lacks:
            yield RawFinding(
                _address(view, entry.name),
                f"{entry.name} never sends, but has {' and '.join(lacks)}",
                'declare dmarc: {p: reject}, spf: {all: "-all"} and null_mx: true',
            )
