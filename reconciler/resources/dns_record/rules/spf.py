"""SPF: one record at each name, ten lookups at most, and an end that protects (RFC 7208)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from reconciler.mail import spf
from reconciler.rules import registry
from reconciler.rules.registry import Problem, RawFinding, RuleFor
from reconciler.rules.view import Resource, RuleView, When

_EXAMPLE = "dns_record/acme.com/acme.com/TXT"
rule = partial(registry.rule, theme="SPF", example=_EXAMPLE)
name_rule = RuleFor(
    lambda view: ((_address(view, name), name, identity) for name, identity in view.spf_names.items()), "SPF", _EXAMPLE
)
record_rule = RuleFor(
    lambda view: ((_address(view, name), name, text) for name, _, text in view.spf_records), "SPF", _EXAMPLE,
    alike=lambda _, text: text,
)  # fmt: skip
sender_rule = RuleFor(
    lambda view: ((_address(view, name), name, identity, text) for name, identity, text in view.spf_records),
    "SPF", _EXAMPLE, alike=lambda _name, _identity, text: text,
)  # fmt: skip

_MAIL_FROM_TXT = "dns_record/acme.com/bounce-us-east-1.acme.com/TXT"
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


@name_rule("spf-two-records", "error", "Two SPF records at one name")
def two_records(view: RuleView, name: str, identity: Resource | None) -> Iterator[Problem]:
    """Two or more texts at one name start with `v=spf1`.

    Why: Receivers stop with a permanent error, as if there were no SPF record at all.
    Fix: Join the terms into one record and delete the others. recon never adds a second record; it merges.
    Source: RFC 7208 section 4.5: a permanent error
    """
    texts = view.spf_texts(name)
    if texts is not None and len(texts) > 1:
        before = view.spf_texts(name, "before")
        yield Problem(
            f"{name} has {len(texts)} SPF records: receivers stop with a permanent error",
            "join their terms into one record and delete the others",
            hurts=before is not None and len(before) < 2 and _flows(view, identity),
        )


def count_lookups(view: RuleView, text: str, seen: frozenset[str] = frozenset()) -> int:
    """How many terms need a DNS lookup, at least: those of included records count where these are known."""
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


@sender_rule("spf-lookups", "error", "More than ten DNS lookups in an SPF record")
def too_many_lookups(view: RuleView, name: str, identity: Resource | None, text: str) -> Iterator[Problem]:
    """The record needs more than ten DNS lookups. Included records are counted where they are known (in the zones of
    the stack, or in public DNS if that was asked).

    Why: Receivers stop after ten lookups with a permanent error. Included records grow without notice.
    Fix: Remove includes that nobody sends through. Give a sender a subdomain with a record of its own. Replace `a` and
    `mx` by networks.
    Source: RFC 7208 section 4.6.4: a permanent error
    """
    count = count_lookups(view, text)
    if count > spf.MAX_LOOKUPS:
        before = _before_lookups(view, name)
        yield Problem(
            f"the SPF record of {name} needs at least {count} DNS lookups; receivers stop after {spf.MAX_LOOKUPS} "
            "with a permanent error",
            "remove includes that nobody sends through, or give a sender a subdomain of its own",
            hurts=before is not None and before <= spf.MAX_LOOKUPS and (_flows(view, identity) or identity is None),
        )


@record_rule("spf-no-end", "warning", "An SPF record without all")
def no_end(view: RuleView, name: str, text: str) -> Iterator[Problem]:
    """The record has neither `all` nor `redirect=`.

    Why: The result for a sender that is not listed is neutral, so the record protects nothing.
    Fix: `spf: {all: "~all"}`
    Source: RFC 7208 section 4.7: the result is neutral
    """
    if spf.parse(text).all is None and spf.parse(text).redirect is None:
        yield Problem(
            f"the SPF record of {name} has neither all nor redirect: senders that are not listed are neutral",
            'write spf: {all: "~all"}',
        )


@record_rule("spf-open", "warning", "An SPF record that allows anybody to send")
def open_to_all(view: RuleView, name: str, text: str) -> Iterator[Problem]:
    """The record has `+all`, or a network of prefix length 0, so that every sender passes.

    Why: This is worse than no record: spam in your name passes SPF.
    Fix: End the record with `~all` or `-all`, and list the networks that really send.
    Source: RFC 7208 section 5.1
    """
    record = spf.parse(text)
    wide = [
        t.text
        for t in record.evaluated
        if t.qualifier == "+" and t.name in ("ip4", "ip6") and (t.value or "").endswith("/0")
    ]
    if record.all is not None and record.all.qualifier == "+":
        wide.append(record.all.text)
    if wide:
        yield Problem(f"{wide[0]} in the SPF record of {name} allows anybody to send", 'end it with "~all" or "-all"')


@rule("spf-softened", "warning", "SPF protects less than before")
def softened(view: RuleView) -> Iterator[RawFinding]:
    """The plan makes the end of the record less strict (`-all` to `~all`, `~all` to `?all` or nothing), or deletes the
    record.

    Why: A missing sender is often "repaired" in this way: for everybody instead of for that sender.
    Fix: Add the missing sender with `include`, `ip4` or `a`, and keep the end.

    At a MAIL FROM name, recon writes the whole record: `v=spf1 include:amazonses.com ~all`, as SES requires it. If the
    record ends in `-all`, recon changes that, and the plan says so. Mail through SES passes as before. Mail that others
    send with that name as its envelope sender gets a softfail instead of a fail; DMARC does not count either as a pass.
    To keep the stricter end, write `unmanaged: [mail_from]`: recon then leaves the name alone.
    Source: RFC 7208 section 5.1
    """
    if view.dns_unchanged:
        return
    mail_from = {identity.will("mail_from.mail_from_domain") for identity in view.identities}
    for name in view.spf_names:
        before, after = _single(view, name, "before"), _single(view, name)
        if before is None:
            continue
        if after is not None and _end(after) < _end(before):
            yield RawFinding(_address(view, name), *_softer(name, before, after, mail_from=name in mail_from))
        elif after is None and view.spf_texts(name) == ():
            yield RawFinding(
                _address(view, name), f"the SPF record of {name} is deleted", "keep it while anybody sends"
            )


def _softer(name: str, before: str, after: str, *, mail_from: bool) -> Problem:
    """Message and hint for a record that ends less strictly than before."""
    was, now = spf.parse(before).all, spf.parse(after).all
    old = was.text if was else "a redirect"
    if mail_from and now is not None and now.text == "~all":
        return Problem(
            f"the SPF record of the MAIL FROM name {name} changes from {old} to ~all, which recon writes for each "
            f"MAIL FROM: mail through SES passes as before, and mail that others send as {name} gets a softfail "
            "instead of a fail",
            "DMARC treats both alike; to keep the stricter end, use `unmanaged: [mail_from]` or another "
            "mail_from_domain",
        )
    return Problem(
        f"the SPF record of {name} changes from {old} to {now.text if now else 'no all'}",
        "if a sender is missing in the record, add it instead",
    )


@record_rule("spf-invalid", "warning", "An invalid SPF record")
def invalid(view: RuleView, name: str, text: str) -> Iterator[Problem]:
    """The record has an unknown term, an invalid network, an empty include, a term after `all`, or a `redirect=` that
    `all` makes useless.

    Why: An unknown mechanism is a permanent error for the whole record. Receivers ignore all terms after `all`.
    Fix: Fix the term in the zone. recon keeps the terms of others unchanged, so it does not fix them itself.
    Source: RFC 7208 sections 4.6 and 5
    """
    for problem in spf.problems(text):
        if "need DNS" not in problem and not problem.startswith("ptr"):
            yield Problem(f"the SPF record of {name} has a problem: {problem}", "fix it in the zone")


@record_rule("spf-ptr", "note", "ptr in an SPF record")
def ptr(view: RuleView, name: str, text: str) -> Iterator[Problem]:
    """The record uses `ptr`.

    Why: It is slow and unreliable, RFC 7208 says that it should not be published, and large receivers ignore it.
    Fix: List the networks with `ip4` and `ip6`.
    Source: RFC 7208 section 5.5: should not be published
    """
    if any(term.name == "ptr" for term in spf.parse(text).terms):
        yield Problem(f"the SPF record of {name} uses ptr", "list the networks with ip4 and ip6")


@record_rule("spf-too-long", "warning", "An SPF record that is too long for one DNS answer")
def too_long(view: RuleView, name: str, text: str) -> Iterator[Problem]:
    """The record has more than 450 octets.

    Why: The DNS answer with all TXT texts of that name should fit into 512 octets. Some receivers cannot fetch more.
    Fix: Move a group of senders into a record at another name, and include that.
    Source: RFC 7208 section 3.4
    """
    if len(text) > _MAX_OCTETS:
        yield Problem(
            f"the SPF record of {name} has {len(text)} octets; some receivers cannot fetch more than {_MAX_OCTETS}",
            "move a group of senders into a record at another name, and include that",
        )


@rule("spf-amazon-unused", "note", "include:amazonses.com at a name that SES does not use")
def amazon_unused(view: RuleView) -> Iterator[RawFinding]:
    """A From domain that is not a MAIL FROM domain has `include:amazonses.com` in its SPF record.

    Why: SPF checks the envelope sender. For SES that is the MAIL FROM domain, or amazonses.com, and never the From
    domain. The term costs a lookup and lets every SES customer pass SPF for this name.
    Fix: Remove it here. At the MAIL FROM domain recon writes it by itself.
    Source: SES Developer Guide, Authenticating with SPF
    """
    mail_from = {str(i.will("mail_from.mail_from_domain")) for i in view.identities}
    for name in view.domain_names:
        text = _single(view, name)
        if text is not None and name not in mail_from and spf.terms_present(text, [_AMAZON]):
            yield RawFinding(
                _address(view, name),
                f"{_AMAZON} in the SPF record of {name} has no effect on mail from SES and costs a lookup",
                "remove it; it belongs to the MAIL FROM domain, where recon writes it",
            )


@rule("spf-mail-from", "error", "The MAIL FROM domain does not allow SES to send", example=_MAIL_FROM_TXT)
def mail_from(view: RuleView) -> Iterator[RawFinding]:
    """After apply, the MAIL FROM domain of an identity has no SPF record with `include:amazonses.com`.

    Why: SES sends with this name from its own addresses, so SPF fails, and with it the SPF part of DMARC.
    Fix: Publish `v=spf1 include:amazonses.com ~all` at that name. recon does so if it manages the zone.
    Source: SES Developer Guide, Using a custom MAIL FROM domain
    """
    for identity in view.identities:
        name = str(identity.will("mail_from.mail_from_domain") or "")
        texts = view.spf_texts(name) if name else None
        if texts is None or any(spf.terms_present(text, [_AMAZON]) for text in texts):
            continue
        before = view.spf_texts(name, "before") or ()
        had = any(spf.terms_present(text, [_AMAZON]) for text in before)
        yield RawFinding(
            _address(view, name),
            f"{name}, the MAIL FROM domain of {identity.place}, has no SPF record with {_AMAZON}: "
            "SPF fails for its mail",
            f'publish "v=spf1 {_AMAZON} ~all" at {name}',
            hurts=had and view.flows(identity),
            new=identity.is_new,
        )


@sender_rule("spf-include-broken", "error", "An SPF record includes a name without an SPF record")
def include_broken(view: RuleView, name: str, identity: Resource | None, text: str) -> Iterator[Problem]:
    """`include:` or `redirect=` names a domain that has no SPF record, or several. The rule reports this only where the
    TXT records of that domain are known.

    Why: It is a permanent error for the record with the term: mail of all its senders fails SPF.
    Fix: Remove the term, or ask the owner of the name.
    Source: RFC 7208 sections 5.2 and 6.1: a permanent error
    """
    for target, term in sorted(spf.links(text).items()):
        texts = view.txt_anywhere(target)
        if texts is None or sum(map(spf.is_record, texts)) == 1 or term == _AMAZON:  # SES asks for that one
            continue
        before = _single(view, name, "before")
        yield Problem(
            f"{term} in the SPF record of {name} names a domain that does not have exactly one SPF record: receivers "
            "stop with a permanent error",
            f"remove {term}, or ask the owner of {target}",
            hurts=before is not None and target not in spf.targets(before) and _flows(view, identity),
        )


@replace(sender_rule, alike=None)("spf-loop", "error", "An SPF record that leads back to itself")
def loop(view: RuleView, name: str, identity: Resource | None, text: str) -> Iterator[Problem]:
    """`include:` and `redirect=` lead from a record back to one that was passed already. Records are followed where
    they are known: in the zones of the stack, and in public DNS if that was asked.

    Why: Receivers follow the circle until they stop with a permanent error after ten lookups: mail of all senders that
    no term before it allows fails SPF.
    Fix: Remove one of the terms.
    Source: RFC 7208 sections 4.6.4, 5.2 and 6.1
    """
    path = _circle(view, text, (name,))
    if path:
        was = _single(view, name, "before")
        yield Problem(
            f"the SPF record of {name} leads back to itself ({' -> '.join(path)}): receivers stop with a permanent "
            "error",
            "remove one of these terms",
            hurts=was is not None and not _circle(view, was, (name,), "before") and _flows(view, identity),
        )


def _circle(view: RuleView, text: str, path: tuple[str, ...], when: When = "after") -> tuple[str, ...]:
    """The names from the first of ``path`` to one that occurs twice; empty where the known records hold no circle."""
    for target in spf.targets(text):
        if target in path:
            return (*path, target)
        texts = [t for t in view.txt_anywhere(target, when) or () if spf.is_record(t)]
        if len(texts) == 1 and len(path) <= spf.MAX_LOOKUPS:
            found = _circle(view, texts[0], (*path, target), when)
            if found:
                return found
    return ()
