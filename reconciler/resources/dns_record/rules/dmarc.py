"""DMARC: what receivers do with mail of the domain, and with mail that is forged in its name (RFC 9989)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from reconciler.mail import dmarc
from reconciler.model import Address
from reconciler.names import at_or_above, is_at_or_below, parents
from reconciler.rules import registry
from reconciler.rules.registry import Problem, RawFinding, RuleFor, Tags
from reconciler.rules.view import Policy, Resource, RuleView, sender_domain

_EXAMPLE = "dns_record/acme.com/_dmarc.acme.com/TXT"
rule = partial(registry.rule, theme="DMARC", example=_EXAMPLE)
domain_rule = RuleFor(lambda view: ((_address(view, name), name) for name in view.domain_names), "DMARC", _EXAMPLE)
record_rule = RuleFor(
    lambda view: ((_address(view, name), name, tags) for name, tags in view.dmarc_records), "DMARC", _EXAMPLE
)
tags_rule = replace(record_rule, alike=lambda _, tags: id(tags))
"""``record_rule`` whose verdict depends on the tags alone, which are one object for all records of the same text."""


_VERBS = {1: "put it into the spam folder", 2: "reject it"}
"""What receivers do with mail that fails DMARC, by the strength of the policy."""


def _address(view: RuleView, domain: str) -> str:
    return view.record_address(f"_dmarc.{domain}", "TXT")


def _tightens(view: RuleView, domain: str) -> bool:
    """Whether this plan makes the policy in force for ``domain`` stricter than it is live."""
    before, after = view.policy(domain, "before"), view.policy(domain)
    return before is not None and after is not None and after.strength > before.strength


def _enforced(view: RuleView) -> Iterator[tuple[Address, Resource, Policy]]:
    """The identities that exist after apply and whose mail an enforcing policy applies to, with that policy."""
    for identity in view.identities:
        policy = view.policy(identity.name)
        if identity.after is not None and policy is not None and policy.enforces:
            yield _address(view, policy.owner), identity, policy


enforced_rule = RuleFor(_enforced, "DMARC", _EXAMPLE)


def _signing(identity: Resource) -> str:
    """The state of DKIM right after apply, in a word or two."""
    if identity.will("dkim.signing_enabled") is False:
        return "off"
    if identity.alters("dkim.signing_attributes_origin") or identity.alters("dkim.domain_signing_selector"):
        return "new keys"
    return str(identity.facts.get("dkim_status"))


@enforced_rule("dmarc-enforced-unverified", "error", "DMARC is enforced while mail is not yet signed")
def enforced_unverified(view: RuleView, identity: Resource, policy: Policy) -> Iterator[Problem]:
    """After apply, a DMARC policy of `quarantine` or `reject` is in force for an identity, and in at least one region
    its mail passes neither DKIM nor aligned SPF. The policy may be in the domain's own record, or in that of a parent
    (`sp`, else `p`).

    Why: Receivers do what the record asks for: they put such mail into the spam folder or reject it. DKIM has a status
    in each region, so one region that is still PENDING is enough. It is an error if this plan makes the policy stricter
    while mail is being sent, a warning if the problem was there before, and a note for an identity that does not exist
    yet. If SES cannot determine the status (`TEMPORARY_FAILURE`) and all DKIM records are in the zone after apply, for
    example because this plan restores them, nothing is reported.
    Fix: Keep `p: none` until `recon drift` shows DKIM SUCCESS in every region that sends. Then raise the policy in a
    plan of its own.
    Source: RFC 9989; SES Developer Guide, Complying with DMARC
    """
    if identity.is_new:
        yield Problem(
            f"{identity.place} is not verified yet, and p={policy.level} applies to its mail already",
            "send no mail for it before `recon drift` shows DKIM SUCCESS",
            new=True,
        )
    elif view.dkim_works(identity) is False and not view.spf_aligns(identity, policy.tags):
        yield Problem(
            f"mail of {identity.place} passes neither DKIM ({_signing(identity)}) nor aligned SPF, and "
            f"p={policy.level} asks receivers to {_VERBS[policy.strength]}",
            "keep p=none until DKIM is SUCCESS in every region that sends",
            hurts=view.flows(identity) and _tightens(view, identity.name),
            new=not view.can_send(identity),
        )


@enforced_rule("dmarc-spf-only", "warning", "DMARC is enforced and depends on SPF alone")
def spf_only(view: RuleView, identity: Resource, policy: Policy) -> Iterator[Problem]:
    """DMARC is enforced, mail is not signed, and it passes only because the custom MAIL FROM domain aligns.

    Why: SPF checks the last server that sent the message. A server that forwards it is not in your SPF record, so every
    forwarded message fails DMARC. Enforcement needs a DKIM signature, which stays with the message.
    Fix: Bring DKIM to SUCCESS (`dkim: {signing_enabled: true}` and its records), or keep `p: none` until then.
    Source: RFC 9989: enforcement should not rest on SPF alone, which forwarding breaks
    """
    if identity.stays and view.dkim_works(identity) is False and view.spf_aligns(identity, policy.tags):
        yield Problem(
            f"mail of {identity.place} is not signed; it passes DMARC by SPF only, so forwarded mail fails",
            "bring DKIM to SUCCESS, or keep p=none until then",
        )


@tags_rule("dmarc-aspf-strict", "error", "aspf=s, which mail from SES never passes")
def aspf_strict(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """The record asks for strict SPF alignment, `aspf=s`.

    Why: The MAIL FROM domain of SES is a subdomain of the identity, never the From domain itself. Strict alignment
    requires both to be equal, so SPF can never align for mail from SES. If mail is not signed either, nothing aligns:
    that is an error if this plan causes it under an enforced policy.
    Fix: Write `aspf: r`, or remove the tag; relaxed is the default.
    Source: SES Developer Guide, Complying with DMARC; RFC 9989
    """
    if tags.get("aspf") != "s":
        return
    governed = view.governed_by(domain)
    unsigned = [i for i in governed if view.dkim_works(i) is False and view.can_send(i)]
    before = view.dmarc_tags(domain, "before")
    newly = before is not None and before.get("aspf") != "s"
    policy = view.policy(domain)
    if unsigned:
        yield Problem(
            f"with aspf=s, mail of {unsigned[0].place} cannot pass DMARC: it is not signed, and its MAIL FROM "
            "domain is never equal to the From domain",
            "write aspf: r, or remove it",
            hurts=newly and policy is not None and policy.enforces and any(map(view.flows, unsigned)),
        )
    else:
        yield Problem(
            "with aspf=s, SPF never aligns for mail from SES, so DMARC depends on DKIM alone",
            "write aspf: r, or remove it",
            new=not governed,
        )


@rule("dmarc-adkim-strict", "error", "adkim=s while the identity of a parent signs for a subdomain")
def adkim_strict(view: RuleView) -> Iterator[RawFinding]:
    """Under `adkim=s`, an SMTP user may send from a subdomain that has no identity of its own, so the identity of a
    parent signs its mail.

    Why: SES signs with the name of the identity: `d=acme.com` for mail from `news.acme.com`. Strict alignment requires
    both to be equal.
    Fix: Declare the subdomain as a domain of its own, or write `adkim: r`.
    Source: RFC 9989; SES Developer Guide, Complying with DMARC
    """
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
                    f"{user.name} sends as {pattern}, and SES signs that with d={identity.name} in {region}, which "
                    "does not align under adkim=s",
                    f"declare the domain {sender}, or write adkim: r",
                    hurts=view.flows(identity)
                    and policy.enforces
                    and before is not None
                    and before.tags.get("adkim") != "s"
                    and not view.spf_aligns(identity, policy.tags),
                )


@domain_rule("dmarc-jump", "warning", "DMARC changes from no enforcement to reject in one step")
def jump(view: RuleView, domain: str) -> Iterator[Problem]:
    """A domain that sends mail changes from no enforcement (no record, `p=none`, or `p=quarantine` in test mode) to
    `p=reject` in one plan.

    Why: Aggregate reports show senders that nobody remembered (an invoice tool, a web form, a print server) before
    their mail is rejected. With a direct change to reject, their users find out first.
    Fix: Use `p: quarantine`, or `p: reject` with `t: y`, and read the reports for two weeks. If the reports are clean
    already, waive this once.
    Source: RFC 9989; M3AAWG and receiver guides advise quarantine or t=y first
    """
    if view.dns_unchanged:
        return
    before, after = view.policy(domain, "before"), view.policy(domain)
    if before is None or after is None or after.owner != domain or before.strength or after.strength < 2:
        return
    sending = [i for i in view.governed_by(domain) if view.can_send(i)]
    if sending:
        yield Problem(
            f"the DMARC policy of {domain} changes from {before.tags.get('p', 'no record')} to reject in one step, "
            f"while {sending[0].place} sends",
            "use p: quarantine, or p: reject with t: y, and read the aggregate reports for two weeks",
        )


@domain_rule("dmarc-weakened", "warning", "DMARC protects less than before")
def weakened(view: RuleView, domain: str) -> Iterator[Problem]:
    """The plan lowers what receivers apply for `p`, `sp` or `np`, with `t=y` counted as one level less, or deletes an
    enforcing record.

    Why: Spoofers try domains again and again. Their mail arrives from the day on which the protection ends.
    Fix: Explain it in the pull request. If it is temporary, for an investigation, waive this with a date, so that
    somebody is reminded.
    Source: RFC 9989: p, sp, np and t
    """
    if view.dns_unchanged:
        return
    before, after_texts = view.dmarc_tags(domain, "before"), view.dmarc_texts(domain)
    if before is None or after_texts is None:
        return
    after = view.dmarc_tags(domain)
    if after is not None:
        yield from _weaker(domain, before, after)
    elif not after_texts and any(dmarc.levels(before).values()):
        yield Problem(
            f"the DMARC record of {domain} (p={before.get('p', 'none')}) is deleted",
            "anybody can then send in its name; keep the record unless that of a parent covers it",
        )


def _weaker(domain: str, before: Tags, after: Tags) -> Iterator[Problem]:
    """What of a record that stays protects less than before."""
    levels, was, now = dmarc.POLICIES, dmarc.levels(before), dmarc.levels(after)
    testing = " by t=y" if after.get("t") == "y" and before.get("t") != "y" else ""
    for tag in was:
        if now[tag] < was[tag] and (tag == "p" or tag in before or tag in after):
            yield Problem(
                f"{tag} of {domain} is lowered from {levels[was[tag]]} to {levels[now[tag]]}{testing}",
                "if this is temporary, for an investigation, waive it with a date",
            )


@rule("dmarc-missing", "warning", "A domain that sends has no DMARC record")
def missing(view: RuleView) -> Iterator[RawFinding]:
    """No DMARC record covers a domain that sends: there is none at the domain and none above it, in zones that were
    read completely.

    Why: Gmail, Yahoo and Microsoft require DMARC of at least `p=none` from bulk senders and reject mail without it.
    Without a record, nobody reports who else sends in the name of the domain.
    Fix: Declare `dmarc: {p: none, rua: ["mailto:dmarc@acme.com"]}`, and continue from what the reports show.
    Source: Gmail, Yahoo and Microsoft bulk sender rules: DMARC at least p=none
    """
    for domain in sorted({i.name for i in view.identities if i.after is not None}):
        policy = view.policy(domain)
        several = any(len(view.dmarc_texts(name) or ()) > 1 for name in at_or_above(domain) if "." in name)
        if policy is not None and not policy.owner and not several:  # of several, dmarc-duplicate says what is wrong
            yield RawFinding(
                _address(view, domain),
                f"no DMARC record covers {domain}; large receivers reject bulk mail without one",
                "declare dmarc: {p: none, rua: [...]} and read the reports",
                new=not any(view.can_send(i) for i in view.identities_for(domain)),
            )


@tags_rule("dmarc-no-rua", "warning", "A DMARC record without aggregate reports")
def no_rua(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A DMARC record has no `rua`.

    Why: Aggregate reports are the only way to learn which mail fails at receivers. With `p=none` and no `rua` the
    record does nothing at all. With an enforcing policy, mail is lost and you do not see it.
    Fix: Add `rua: ["mailto:dmarc@acme.com"]`. A mailbox is enough to start with; a report service is easier to read.
    Source: RFC 9990; RFC 9989
    """
    if "rua" not in tags:
        none = tags.get("p", "none") == "none"
        effect = "with p=none it neither protects nor reports" if none else "nobody receives reports on mail that fails"
        yield Problem(f"the DMARC record of {domain} has no rua: {effect}", 'add rua: ["mailto:..."]')


@tags_rule("dmarc-pct", "warning", "pct, which receivers now ignore")
def pct(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A record has `pct` below 100.

    Why: RFC 9989 removed `pct`. Current receivers ignore it and apply the policy to all mail, although the record asks
    for a part. Older receivers may still read it, so the same record means two things.
    Fix: Remove `pct`. For a gradual start write `t: y`, which asks for one level less than `p`.
    Source: RFC 9989: pct is historic, t took its place
    """
    value = tags.get("pct")
    if value is not None and value != "100":
        yield Problem(
            f"pct={value}: current receivers ignore pct and apply p={tags.get('p', 'none')} to all mail of {domain}",
            "remove pct; for a gradual start write t: y, which asks for one level less",
        )


@tags_rule("dmarc-historic", "note", "Tags that RFC 9989 made historic")
def historic(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A record has `rf`, `ri` or `pct=100`.

    Why: RFC 9989 made these tags historic. Receivers ignore them, and they only make the record longer.
    Fix: Remove them.
    Source: RFC 9989
    """
    old = [f"{name}={tags[name]}" for name in dmarc.HISTORIC if name in tags]
    if old and tags.get("pct", "100") == "100":
        yield Problem(f"{' and '.join(old)} in the DMARC record of {domain} has no effect any more", "remove it")


@tags_rule("dmarc-fo", "warning", "fo, where receivers ignore it")
def fo(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A record has `fo` without `ruf`, or `fo` with both `0` and `1`.

    Why: `fo` says which failures are reported to the addresses of `ruf`: without `ruf` it has no effect. `1` asks for a
    report whenever any check fails, `0` only when all fail; with both, `0` means nothing.
    Fix: Remove `fo`, or add `ruf`; write either `0` or `1`.
    Source: RFC 9989, DMARC Policy Record Format; RFC 9991
    """
    yield from _ignored("dmarc-fo", domain, tags)


@tags_rule("dmarc-unknown-tag", "warning", "A tag that DMARC does not have")
def unknown_tag(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A record has a tag that DMARC does not have, such as `ruas`.

    Why: Receivers ignore such a tag without a word. Most are typing errors: with `ruas` nobody sends reports.
    Fix: Correct the name of the tag, or remove it.
    Source: RFC 9989, DMARC Policy Record Format: unknown tags are ignored
    """
    yield from _ignored("dmarc-unknown-tag", domain, tags)


def _ignored(rule_id: str, domain: str, tags: Tags) -> Iterator[Problem]:
    for code, _, what, remedy in dmarc.remarks(tags):
        if code == rule_id:
            yield Problem(f"the DMARC record of {domain}: {what}", remedy)


@record_rule("dmarc-forensic-own-mailbox", "warning", "Failure reports that flood a mailbox of the sending domain")
def forensic(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """`ruf` sends failure reports to a mailbox of the sending domain itself; with `fo=1`, `fo=d` or `fo=s` there are
    even more of them.

    Why: Each message that fails anywhere, spam in your name included, is reported by a mail with parts of that message.
    The owner of the mailbox takes the flood for complaints or an attack, and the reports contain personal data.
    Fix: Remove `ruf` and `fo`. Aggregate reports (`rua`) show who fails, without content. If you do need failure
    reports, send them to a service that is made for them.
    Source: RFC 9991 (fo, ruf) and its privacy considerations
    """
    for uri in dmarc.uris(tags.get("ruf", "")):
        target = dmarc.uri_domain(uri)
        if target is None or not (is_at_or_below(target, domain) or is_at_or_below(domain, target)):
            continue
        every = {"1", "d", "s"} & set(tags.get("fo", "0").split(":"))
        amount = "every message that fails any check" if every else "every message that fails"
        yield Problem(
            f"ruf={uri}{' with fo=' + tags['fo'] if every else ''} sends {target} a report with parts of {amount}",
            "remove ruf and fo; the aggregate reports of rua show who fails, without the flood",
        )


@record_rule("dmarc-rua-unauthorized", "warning", "Reports are addressed to another organization that has not agreed")
def rua_unauthorized(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """`rua` or `ruf` names an address in another organization, and that organization has no record that allows reports
    for this domain.

    Why: Receivers look up `<domain>._report._dmarc.<target>` (or a wildcard there) before they send reports to another
    organization. Without that record no report is sent, and no error is shown. The rule reports this only where the
    target's zone was read or public DNS was asked.
    Fix: Ask the other organization to publish `acme.com._report._dmarc.reports.example TXT "v=DMARC1"`. Report services
    do so for their customers. A second domain of your own needs it, too.
    Source: RFC 9990: <domain>._report._dmarc.<target> TXT v=DMARC1
    """
    for tag in dmarc.URI_LISTS:
        for target in sorted({t for t in map(dmarc.uri_domain, dmarc.uris(tags.get(tag, ""))) if t}):
            if _same_organization(view, domain, target):
                continue
            names = (f"{domain}._report._dmarc.{target}", f"*._report._dmarc.{target}")
            answers = [view.txt_anywhere(name) for name in names]
            if any(texts is None for texts in answers):
                continue
            if not any(dmarc.is_record(text, strict=True) for texts in answers for text in texts or ()):
                yield Problem(
                    f"{tag} sends reports of {domain} to {target}, but {names[0]} does not exist: no report will be "
                    "sent",
                    f'ask {target} to publish TXT {names[0]} "v=DMARC1"',
                )


def _same_organization(view: RuleView, domain: str, target: str) -> bool:
    """Whether both are below one domain of the stack: the closest to the tree walk of RFC 9989 without asking DNS."""
    if is_at_or_below(domain, target) or is_at_or_below(target, domain):
        return True
    return any(is_at_or_below(domain, name) for name in at_or_above(target) if name in view.own_names)


@domain_rule("dmarc-duplicate", "error", "Two DMARC records at one name")
def duplicate(view: RuleView, domain: str) -> Iterator[Problem]:
    """Two or more DMARC records exist at one name.

    Why: Receivers discard all of them and use the record of the parent domain, if there is one. The domain is not
    protected, or has a policy that nobody intended.
    Fix: Delete all but one. If one is declared, recon takes over the one that is left.
    Source: RFC 9989: both are discarded
    """
    texts = view.dmarc_texts(domain)
    if texts is not None and len(texts) > 1:
        before = view.dmarc_texts(domain, "before")
        newly = before is not None and len(before) < 2
        yield Problem(
            f"_dmarc.{domain} has {len(texts)} DMARC records: receivers discard all of them",
            "delete all but one",
            hurts=newly and any(view.flows(i) for i in view.identities_for(domain)),
        )


@tags_rule("dmarc-invalid", "warning", "An invalid DMARC record")
def invalid(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """A live DMARC record has an invalid version, value, address or syntax.

    Why: An invalid `p`, `sp` or `np` counts as `p=none` if there is a valid `rua`; otherwise the record is ignored. So
    a typing error turns off the protection.
    Fix: Declare the record under `dmarc:`; recon checks every tag before it writes.
    Source: RFC 9989
    """
    for problem in dmarc.problems(tags):
        yield Problem(f"the DMARC record of {domain} has a problem: {problem}", "declare it under dmarc:")


@tags_rule("dmarc-subdomains-open", "warning", "Subdomains are less protected than the domain")
def subdomains_open(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """`sp` or `np` is `none` while the domain itself is protected.

    Why: Spoofers then use a subdomain; `billing.acme.com` need not even exist. `np` is the policy for names that do
    not.
    Fix: Raise `sp`, and give a subdomain that cannot follow yet a DMARC record of its own. `np: reject` is safe nearly
    everywhere.
    Source: RFC 9989: sp and np
    """
    for tag in ("sp", "np"):
        if tags.get(tag) == "none" and dmarc.levels(tags)["p"]:
            yield Problem(
                f"{tag}={tags[tag]} leaves names below {domain} unprotected, although p={tags['p']}",
                f"raise {tag}, and give a subdomain that cannot follow yet a DMARC record of its own",
            )


@record_rule(
    "dmarc-subdomain-tags",
    "note",
    "sp or np where they have no effect",
    example="dns_record/acme.com/_dmarc.shop.acme.com/TXT",
)
def subdomain_tags(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """The record of a subdomain has `sp` or `np`, and its parent has a DMARC record, too.

    Why: Receivers read `sp` and `np` at the organizational domain only. Here they have no effect and mislead the
    reader.
    Fix: Remove them here and set them at the parent. If the subdomain is an organization of its own, write `psd: n`.
    Source: RFC 9989: read at the organizational domain only
    """
    useless = [tag for tag in ("sp", "np") if tag in tags]
    above = next((name for name in parents(domain) if "." in name and view.dmarc_tags(name)), None)
    if useless and above and tags.get("psd") != "n":
        yield Problem(
            f"receivers ignore {' and '.join(useless)} at {domain}: the record of {above} decides for subdomains",
            "remove it here, or write psd: n if this is an organization of its own",
        )


@tags_rule("dmarc-test-mode", "note", "Test mode: receivers apply one level less")
def test_mode(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """The record has `t=y`, and `p`, `sp` or `np` enforces.

    Why: Receivers that know the tag apply one level less: `reject` as `quarantine`, `quarantine` as `none`. Those that
    do not know it apply the policy in full.
    Fix: Test mode is a good intermediate step. Set `t: n` (or remove the tag) when the reports are clean.
    Source: RFC 9989: t
    """
    if tags.get("t") == "y" and any(dmarc.levels({**tags, "t": "n"}).values()):
        now = dmarc.levels(tags)
        shown = " and ".join(f"{tag}={dmarc.POLICIES[now[tag]]}" for tag in now if tag == "p" or tag in tags)
        yield Problem(
            f"with t=y, receivers treat {domain} as {shown} for now",
            "set t: n when the reports are clean; receivers that do not know t apply p in full already",
        )


@tags_rule("dmarc-psd", "warning", "psd=y on an ordinary domain")
def psd(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """The record of an ordinary domain has `psd=y`.

    Why: It declares the domain a public suffix, like `co.uk`, below which anybody can register a name. Names below it
    are then separate organizations and no longer align with it.
    Fix: Remove `psd`.
    Source: RFC 9989: psd is for public suffixes
    """
    if tags.get("psd") == "y":
        yield Problem(f"psd=y declares {domain} a public suffix: names below it no longer align with it", "remove psd")


@tags_rule("dmarc-many-reports", "note", "More than two report addresses")
def many_reports(view: RuleView, domain: str, tags: Tags) -> Iterator[Problem]:
    """`rua` or `ruf` lists more than two addresses.

    Why: Receivers may ignore all but the first two addresses.
    Fix: Send the reports to one address and distribute them from there.
    Source: RFC 9990: receivers may stop after two
    """
    for tag in dmarc.URI_LISTS:
        count = len(dmarc.uris(tags.get(tag, "")))
        if count > 2:
            yield Problem(
                f"{tag} of {domain} lists {count} addresses; receivers may use only the first two",
                "send the reports to one address and distribute them from there",
            )


@rule(
    "dmarc-parked-open",
    "warning",
    "A domain that never sends is not protected from spoofing",
    example="dns_record/acme.net/_dmarc.acme.net/TXT",
)
def parked_open(view: RuleView) -> Iterator[RawFinding]:
    """A domain with `identity: false` has no `p=reject`, or no SPF record that ends in `-all`.

    Why: Domains that never send are spoofed most, because nobody watches them. Here the strictest policy costs nothing:
    there is no mail to lose.
    Fix: `acme.net: {identity: false, dmarc: {p: reject}, spf: {all: "-all"}, null_mx: true}`
    Source: M3AAWG Protecting Parked Domains; RFC 7208 section 10.1.2
    """
    for entry in view.domains:
        if entry.values.get("identity") is not False:
            continue
        policy = view.policy(entry.name)
        lacks = []
        if policy is not None and policy.strength < 2:
            lacks.append("no DMARC p=reject")
        texts = view.spf_texts(entry.name)
        declared = str((entry.values.get("spf") or {}).get("all")).lower()
        if declared != "-all" and texts is not None and not any("-all" in text.lower().split() for text in texts):
            lacks.append("no SPF -all")
        if lacks:
            yield RawFinding(
                _address(view, entry.name),
                f"{entry.name} never sends, but has {' and '.join(lacks)}",
                'declare dmarc: {p: reject}, spf: {all: "-all"} and null_mx: true',
            )
