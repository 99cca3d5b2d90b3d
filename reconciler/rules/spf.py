"""SPF: one record a name, ten lookups, an end that holds (RFC 7208)."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.mail import spf
from reconciler.rules.registry import RawFinding, rule
from reconciler.rules.view import Resource, RuleView, When

_AMAZON = "include:amazonses.com"
_MAX_OCTETS = 450
"""RFC 7208 section 3.4 asks for an answer that fits 512 octets; 450 leaves room for the names around it."""
_ENDS = {"-": 3, "~": 2, "?": 1, "+": 0}


def _address(view: RuleView, name: str) -> str:
    return view.record_address(name, "TXT")


def _single(view: RuleView, name: str, when: When = "after") -> str | None:
    texts = view.spf_texts(name, when)
    return texts[0] if texts is not None and len(texts) == 1 else None


def _flows(view: RuleView, identity: Resource | None) -> bool:
    return identity is not None and view.flows(identity)


def _end(text: str) -> int:
    """How strict the record ends: 3 -all, 2 ~all, 1 ?all or none, 0 +all. A redirect counts as unknown (3)."""
    record = spf.parse(text)
    if record.all is not None:
        return _ENDS[record.all.qualifier]
    return 3 if record.redirect else 1


@rule("spf-two-records", "error", "Two SPF records at one name", "RFC 7208 section 4.5: a permanent error")
def two_records(view: RuleView) -> Iterator[RawFinding]:
    """Receivers answer with permerror, as if there were none."""
    for name, identity in view.spf_names.items():
        texts, before = view.spf_texts(name), view.spf_texts(name, "before")
        if texts is not None and len(texts) > 1:
            yield RawFinding(
                _address(view, name),
                f"{name} holds {len(texts)} SPF records: a permanent error at every receiver",
                "join their terms into one record and take the others out",
                hurts=before is not None and len(before) < 2 and _flows(view, identity),
            )


def count_lookups(view: RuleView, text: str, seen: frozenset[str] = frozenset()) -> int:
    """Terms that need DNS, with those of included records as far as we know them; the least there can be."""
    total = spf.lookups(text)
    for target in spf.targets(text):
        if target in seen or total > 10 * spf.MAX_LOOKUPS:
            continue
        texts = [t for t in view.txt_anywhere(target) or () if spf.is_record(t)]
        if len(texts) == 1:
            total += count_lookups(view, texts[0], seen | {target})
    return total


def _before_lookups(view: RuleView, name: str) -> int | None:
    text = _single(view, name, "before")
    return None if text is None else count_lookups(view, text)


@rule("spf-lookups", "error", "More than ten DNS lookups in an SPF record", "RFC 7208 section 4.6.4: a permanent error")
def too_many_lookups(view: RuleView) -> Iterator[RawFinding]:
    """Counted through included records where they are known, else this record alone."""
    for name, identity, text in view.spf_records:
        count = count_lookups(view, text)
        if count > spf.MAX_LOOKUPS:
            before = _before_lookups(view, name)
            yield RawFinding(
                _address(view, name),
                f"the SPF record of {name} needs at least {count} DNS lookups; receivers stop at "
                f"{spf.MAX_LOOKUPS} with a permanent error",
                "take out includes that nobody sends through, or give a sender a subdomain of its own",
                hurts=before is not None and before <= spf.MAX_LOOKUPS and (_flows(view, identity) or identity is None),
            )


@rule("spf-no-end", "warning", "An SPF record without an end", "RFC 7208 section 4.7: the result is neutral")
def no_end(view: RuleView) -> Iterator[RawFinding]:
    """Neither all nor redirect: whoever is not listed is neutral, so nothing is protected."""
    for name, _, text in view.spf_records:
        if spf.parse(text).all is None and spf.parse(text).redirect is None:
            yield RawFinding(
                _address(view, name),
                f"the SPF record of {name} ends without all: unlisted senders are neutral",
                'write spf: {all: "~all"}',
            )


@rule("spf-open", "warning", "An SPF record that lets anybody send", "RFC 7208 section 5.1")
def open_to_all(view: RuleView) -> Iterator[RawFinding]:
    """+all, or all of the address space."""
    for name, _, text in view.spf_records:
        record = spf.parse(text)
        wide = [
            t.text
            for t in record.evaluated
            if t.qualifier == "+" and t.name in ("ip4", "ip6") and (t.value or "").endswith("/0")
        ]
        if record.all is not None and record.all.qualifier == "+":
            wide.append(record.all.text)
        if wide:
            yield RawFinding(
                _address(view, name),
                f"{wide[0]} in the SPF record of {name} lets anybody send",
                'end it in "~all" or "-all"',
            )


@rule("spf-softened", "warning", "SPF protects less than it does now", "RFC 7208 section 5.1")
def softened(view: RuleView) -> Iterator[RawFinding]:
    """The end of the record becomes milder, or the record goes."""
    if view.dns_stays:
        return
    bounces = {identity.will("mail_from.mail_from_domain") for identity in view.identities}
    for name in view.spf_names:
        before, after = _single(view, name, "before"), _single(view, name)
        if before is None:
            continue
        if after is None:
            if view.spf_texts(name) == ():
                yield RawFinding(
                    _address(view, name), f"the SPF record of {name} is taken away", "keep it while anybody sends"
                )
        elif _end(after) < _end(before):
            was, now = spf.parse(before).all, spf.parse(after).all
            if name in bounces and now is not None and now.text == "~all":
                yield RawFinding(
                    _address(view, name),
                    f"the SPF record of the MAIL FROM name {name} goes from {was.text if was else 'a redirect'} to "
                    "~all, which recon writes for each MAIL FROM: mail through SES passes as before, mail that others "
                    f"send as {name} is marked as suspect, no longer failed",
                    "DMARC judges both alike; where the stricter end must stay, keep the name out of recon's hands: "
                    "`unmanaged: [mail_from]`, or another mail_from_domain",
                )
                continue
            yield RawFinding(
                _address(view, name),
                f"the SPF record of {name} goes from {was.text if was else 'a redirect'} to "
                f"{now.text if now else 'no end'}",
                "if a sender is missing in the record, add it instead",
            )


@rule("spf-invalid", "warning", "An SPF record with terms that receivers stumble over", "RFC 7208 sections 4.6 and 5")
def invalid(view: RuleView) -> Iterator[RawFinding]:
    """Unknown terms, bad networks, terms behind all, a dead redirect."""
    for name, _, text in view.spf_records:
        for problem in spf.problems(text):
            if "need DNS" not in problem and not problem.startswith("ptr"):
                yield RawFinding(_address(view, name), f"the SPF record of {name}: {problem}", "mend it in the zone")


@rule("spf-ptr", "note", "ptr in an SPF record", "RFC 7208 section 5.5: should not be published")
def ptr(view: RuleView) -> Iterator[RawFinding]:
    """Slow, unreliable, and ignored by large receivers."""
    for name, _, text in view.spf_records:
        if any(term.name == "ptr" for term in spf.parse(text).terms):
            yield RawFinding(
                _address(view, name), f"the SPF record of {name} uses ptr", "list the networks with ip4 and ip6"
            )


@rule("spf-too-long", "warning", "An SPF record too long for one DNS answer", "RFC 7208 section 3.4")
def too_long(view: RuleView) -> Iterator[RawFinding]:
    """Above about 450 octets the answer no longer fits a plain UDP reply."""
    for name, _, text in view.spf_records:
        if len(text) > _MAX_OCTETS:
            yield RawFinding(
                _address(view, name),
                f"the SPF record of {name} has {len(text)} octets; above {_MAX_OCTETS} some receivers cannot fetch it",
                "move a group of senders into a record of its own and include that",
            )


@rule(
    "spf-amazon-unused",
    "note",
    "include:amazonses.com at a name that SES does not use",
    "SES Developer Guide, Authenticating with SPF",
)
def amazon_unused(view: RuleView) -> Iterator[RawFinding]:
    """SES's envelope sender is the MAIL FROM name, or amazonses.com itself; never the From domain."""
    mail_from = {str(i.will("mail_from.mail_from_domain")) for i in view.identities}
    for name in view.domain_names:
        text = _single(view, name)
        if text is not None and name not in mail_from and spf.terms_present(text, [_AMAZON]):
            yield RawFinding(
                _address(view, name),
                f"{_AMAZON} at {name} does nothing for mail from SES and costs a lookup",
                "it belongs to the MAIL FROM name, where recon puts it",
            )


@rule(
    "spf-mail-from",
    "error",
    "The MAIL FROM name does not let SES send",
    "SES Developer Guide, Using a custom MAIL FROM domain",
)
def mail_from(view: RuleView) -> Iterator[RawFinding]:
    """The SPF record of a MAIL FROM name, as it will be, without include:amazonses.com."""
    for identity in view.identities:
        name = str(identity.will("mail_from.mail_from_domain") or "")
        texts = view.spf_texts(name) if name else None
        if texts is None or any(spf.terms_present(text, [_AMAZON]) for text in texts):
            continue
        before = view.spf_texts(name, "before") or ()
        had = any(spf.terms_present(text, [_AMAZON]) for text in before)
        yield RawFinding(
            _address(view, name),
            f"the SPF record of {name}, the MAIL FROM of {identity.name} in {identity.region}, "
            f"does not have {_AMAZON}: SPF fails for that mail",
            f'publish "v=spf1 {_AMAZON} ~all" at {name}',
            hurts=had and view.flows(identity),
            new=identity.is_new,
        )


@rule(
    "spf-include-broken",
    "error",
    "An SPF record includes a name without one",
    "RFC 7208 section 5.2: a permanent error",
)
def include_broken(view: RuleView) -> Iterator[RawFinding]:
    """The target's TXT texts are known, and none or several of them are SPF records."""
    for name, identity, text in view.spf_records:
        for target in spf.targets(text):
            texts = view.txt_anywhere(target)
            if texts is None or sum(map(spf.is_record, texts)) == 1:
                continue
            before = _single(view, name, "before")
            yield RawFinding(
                _address(view, name),
                f"the SPF record of {name} includes {target}, which has no single SPF record: a permanent error",
                f"take include:{target} out, or ask its owner",
                hurts=before is not None and target not in spf.targets(before) and _flows(view, identity),
            )
