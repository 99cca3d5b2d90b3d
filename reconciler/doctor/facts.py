"""What the doctor reads: SES and Route 53 as in a plan, public DNS, suppression lists, sending statistics.

Only the domains in question and what they use are read, so that one domain of thousands costs a few calls. Nothing is
written, and no secret is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from reconciler import observing, suppression
from reconciler.doctor import callers, sender_facts, undeclared
from reconciler.doctor.checks import ENOUGH, REVIEW_BOUNCES, REVIEW_COMPLAINTS
from reconciler.doctor.key_history import KeyHistory
from reconciler.doctor.receiver import READS as READS_OF_RECEIVER
from reconciler.doctor.receiver import ReceiverFacts, read_rates, read_receiver
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.ses_accounts import account_in
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Entry, State
from reconciler.names import domain_of, is_at_or_below, parents
from reconciler.public_dns import Answer, PublicDns
from reconciler.resources import SECTIONS
from reconciler.resources.dns_record import intents
from reconciler.resources.email_identity import SPEC as IDENTITY
from reconciler.senders import AccountFacts

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.resources.dns_record.zones import Zone

READS = (
    "ses:GetSendStatistics", *suppression.READS, *undeclared.READS, *sender_facts.READS, *READS_OF_RECEIVER,
    *callers.READS,
)  # fmt: skip
"""The calls beside those of a plan."""
DAYS = 14
"""How far back SES keeps its sending statistics (SES API, GetSendStatistics: two weeks, in quarters of an hour)."""

_AT_ONCE = 6
"""Parts that are read side by side, each with calls of its own."""
_LATER = callers.PARTS_OF_SETS
"""Kinds that only the hint about a bad rate needs: a call a set."""

_People = Future[tuple[AccountFacts, KeyHistory]]
Question = tuple[str, str]
"""A name and a record type."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a region sent in the last two weeks."""

    attempts: int = 0
    bounces: int = 0
    complaints: int = 0
    rejects: int = 0

    @property
    def bad(self) -> bool:
        """Whether SES would review an account with these rates."""
        return self.attempts >= ENOUGH and (
            self.bounces >= REVIEW_BOUNCES * self.attempts or self.complaints >= REVIEW_COMPLAINTS * self.attempts
        )


@dataclass(slots=True)
class Facts:
    """Everything that was read. ``accounts``, ``sent`` and ``suppressed`` hold an error for a region that was not read.

    ``answers`` come from public DNS, and are empty without ``asked_dns``. ``suppressed`` counts reasons by region;
    ``suppressed_own`` are addresses in the stack's own domains. ``recipient`` is the address of ``--to``, and
    ``recipient_entries`` are its entries on the lists. ``live`` are the names that were listed where there is no YAML;
    ``receiver`` is what was read of the recipient's domain.
    """

    snapshot: Snapshot
    domains: list[str]
    regions: list[str]
    accounts: dict[str, Mapping[str, Any] | ReconError] = field(default_factory=dict)
    answers: dict[Question, Answer] = field(default_factory=dict)
    asked_dns: bool = True
    sent: dict[str, Sent | ReconError] = field(default_factory=dict)
    suppressed: dict[str, dict[str, int] | ReconError] = field(default_factory=dict)
    suppressed_own: list[suppression.SuppressedAddress] = field(default_factory=list)
    recipient: str = ""
    recipient_entries: list[suppression.SuppressedAddress] = field(default_factory=list)
    live: undeclared.LiveNames | None = None
    receiver: ReceiverFacts | None = None
    senders: sender_facts.SenderFacts | None = None
    callers: dict[str, list[callers.CallerCounts] | ReconError] = field(default_factory=dict)
    """By region, where a rate is bad and a destination counts by sender."""
    name: str = ""
    """The domain or address that alone is looked at; "" for all."""


def only_domains(state: State, domains: Iterable[str]) -> State:
    """The state with only these domains and their addresses, what they refer to, and the users that may send for them.

    What SES must have verified above a name (a covering reference) is not kept: it is read where it is needed.
    """
    wanted = set(domains)
    by_place = {(SECTIONS[e.section][0].name, e.region, e.name): e for e in state.entries}
    todo = [e for e in state.entries if SECTIONS[e.section][0] is IDENTITY and domain_of(e.name) in wanted]
    kept = {(e.section, e.region, e.name) for e in todo}
    while todo:
        entry = todo.pop()
        for reference in SECTIONS[entry.section][0].references:
            name = reference.name_in(entry.values)
            found = None if name is None or reference.covering else by_place.get((reference.kind, entry.region, name))
            if found is not None and (place := (found.section, found.region, found.name)) not in kept:
                kept.add(place)
                todo.append(found)
    kept |= {(e.section, e.region, e.name) for e in state.section("smtp_users") if any(may_send(e, d) for d in wanted)}
    entries = tuple(e for e in state.entries if (e.section, e.region, e.name) in kept)
    return replace(state, entries=entries, moved=())


def may_send(user: Entry, domain: str) -> bool:
    """Whether an SMTP user is declared to send from an address of ``domain``."""
    patterns = [domain_of(str(a).lower()) for a in user.values.get("from_addresses") or ()]
    names = [str(i).lower() for i in user.values.get("identities") or ()]
    if patterns:
        return any(p in {"*", domain} or (p.startswith("*.") and domain.endswith(p[1:])) for p in patterns)
    return not names or any(n == domain or domain.endswith(f".{n}") for n in names)


def gather(
    state: State, aws: Aws, now: str, name: str = "", *, recipient: str = "", dns: PublicDns | None,
    regions: Iterable[str] = (),
) -> Facts:  # fmt: skip
    """Read everything. Raises Refused for the wrong account; an error of one part is in the facts.

    ``name`` is a domain or an address; with "" all that the state declares is read, with or without domains, and every
    region of the stack. Without ``dns`` public DNS is not asked; ``recipient`` is an address that gets no mail.
    """
    domains = [domain_of(name)]
    if not name:
        small, domains = state, sorted({e.name for e in state.section("domains")})
        used = suppression.regions_of(state)
    else:
        small = only_domains(state, domains)
        used = sorted({e.region for e in small.section("domains") if e.region and e.name in set(domains)})
    facts = Facts(observing.declare(small, now), domains, [r for r in used if not set(regions) or r in set(regions)])
    facts.recipient, facts.name, facts.asked_dns = recipient, name, dns is not None
    own = {e.name for e in state.entries if SECTIONS[e.section][0] is IDENTITY}
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        meanwhile = _Meanwhile(pool, aws, facts, own, dns, pool.submit(sender_facts.read, aws, now))
        observing.observe(facts.snapshot, aws, sweep=False, without=_LATER)
        meanwhile.complete(state)
    return facts


def gather_live(
    aws: Aws, regions: Sequence[str], now: str, name: str, *, recipient: str = "", dns: PublicDns | None
) -> Facts:
    """Read everything without YAML: the identities of some regions, or only the domain or address ``name``.

    Raises Refused for the wrong account; an error of one part is in the facts. Cost: a call an identity, at most
    ``undeclared.MOST``, one a second in a region.
    """
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        people = pool.submit(sender_facts.read, aws, now)
        listed = undeclared.list_names(aws, regions, name)
        facts = Facts(undeclared.declare(aws, regions, now, listed), listed.domains, list(regions))
        facts.recipient, facts.name, facts.asked_dns, facts.live = recipient, name, dns is not None, listed
        own = {name for names in listed.identities.values() for name in names}
        meanwhile = _Meanwhile(pool, aws, facts, own, dns, people)
        undeclared.observe(aws, facts.snapshot, listed, _LATER)
        meanwhile.complete(None)
    return facts


class _Meanwhile:
    """What is read side by side with the identities, on which none of it depends: IAM, CloudTrail, the statistics, the
    suppression lists, the receiver. ``own`` are the domains and addresses that are ours."""

    def __init__(
        self, pool: ThreadPoolExecutor, aws: Aws, facts: Facts, own: set[str], dns: PublicDns | None, people: _People
    ) -> None:
        self.pool, self.aws, self.facts, self.dns, self.people = pool, aws, facts, dns, people
        now, regions = facts.snapshot.now, facts.regions
        self.sent = pool.submit(aws.parallel, lambda region: _sent(aws, region, now), regions)
        self.lists = pool.submit(_suppressed, aws, regions, facts.recipient, now, {name.lower() for name in own}, dns)

    def complete(self, state: State | None) -> None:
        """Once the snapshot is read: read what depends on it, and put everything into the facts."""
        facts, aws, snapshot = self.facts, self.aws, self.facts.snapshot
        answers = self.pool.submit(self.dns.ask, questions(snapshot, facts.domains)) if self.dns is not None else None
        accounts = aws.parallel(lambda region: account_in(aws, snapshot, region), facts.regions)
        facts.accounts = dict(zip(facts.regions, accounts, strict=True))
        facts.senders = sender_facts.complete(aws, *self.people.result(), snapshot, facts.regions, state)
        facts.sent = dict(zip(facts.regions, self.sent.result(), strict=True))
        lists = self.lists.result()
        facts.suppressed, facts.suppressed_own, facts.recipient_entries = lists.counts, lists.own, lists.entries
        facts.receiver = lists.receiver
        if facts.receiver is not None:
            read_rates(aws, facts.receiver, facts.accounts, snapshot.now)
        _read_callers(aws, facts)
        if answers is not None:
            facts.answers = answers.result()


def _read_callers(aws: Aws, facts: Facts) -> None:
    """Whose the bounces and complaints are, in the regions in which a rate is bad: a call a set says where events are
    counted, which nothing else needs."""
    bad = [region for region in facts.regions if isinstance(sent := facts.sent[region], Sent) and sent.bad]
    if not bad:
        return
    for kind in sorted(_LATER):
        REGISTRY[kind].observe(aws, facts.snapshot)
    counted = [region for region in bad if callers.counting(facts.snapshot, region)]
    found = aws.parallel(lambda region: callers.read_callers(aws, region, facts.snapshot.now), counted)
    facts.callers = dict(zip(counted, found, strict=True))


def _sent(aws: Aws, region: str, now: str) -> Sent | ReconError:
    try:
        points = aws.call("ses", "GetSendStatistics", region).get("SendDataPoints") or ()
    except AwsError as error:
        return error
    first = datetime.fromisoformat(now) - timedelta(days=DAYS)
    recent = [p for p in points if isinstance(p.get("Timestamp"), datetime) and p["Timestamp"] >= first]
    names = ("DeliveryAttempts", "Bounces", "Complaints", "Rejects")
    return Sent(*(sum(int(p.get(name) or 0) for p in recent) for name in names))


@dataclass(slots=True)
class _Suppressed:
    """The fields of ``Facts`` about the suppression lists."""

    counts: dict[str, dict[str, int] | ReconError]
    own: list[suppression.SuppressedAddress] = field(default_factory=list)
    entries: list[suppression.SuppressedAddress] = field(default_factory=list)
    receiver: ReceiverFacts | None = None

    def unread(self, error: ReconError) -> None:
        """Mark the region of an error as unread; an error that names none may be of any."""
        region = getattr(error, "region", None)
        for one in [region] if region in self.counts else list(self.counts):
            self.counts[str(one)] = error


def _suppressed(
    aws: Aws, regions: Sequence[str], recipient: str, now: str, own: set[str], dns: PublicDns | None
) -> _Suppressed:
    """Look up the recipient and its receiver, or count the whole lists; ``own`` are the domains and addresses of the
    stack."""
    found = _Suppressed({region: {} for region in regions})
    if recipient:
        found.receiver, found.entries, problems = read_receiver(aws, regions, recipient, now, dns)
        for problem in problems:
            found.unread(problem)
        return found
    for entry in suppression.list_entries(aws, regions, suppression.Filter()):
        if isinstance(entry, ReconError):
            found.unread(entry)
            continue
        counts = found.counts[entry.region]
        if isinstance(counts, dict):
            counts[entry.reason] = counts.get(entry.reason, 0) + 1
        if own & {entry.address.lower(), domain_of(entry.address.lower())} and len(found.own) < 100:
            found.own.append(entry)
    return found


def questions(snapshot: Snapshot, domains: Iterable[str]) -> list[Question]:
    """What to ask public DNS: every record that the state implies, the name servers of its zones, and DMARC."""
    wanted = set(domains)
    found: set[Question] = set()
    for intent in intents.of_state(snapshot):
        if intent.domain in wanted and intent.name is not None:
            apex = apex_of(snapshot, intent.name)
            found |= {(intent.name, intent.type), (apex, "NS"), (apex.partition(".")[2], "NS")}
    for domain in wanted:
        for name in (domain, *parents(domain)):
            if "." in name:
                found.add((f"_dmarc.{name}", "TXT"))
    return sorted(found)


def hosted_zones(snapshot: Snapshot, name: str) -> list[Zone]:
    """The public hosted zones that were read at or nearest above a name: several where they have one name."""
    every = [z for z in snapshot.zones.values() if z.loaded and not z.private and is_at_or_below(name, z.name)]
    nearest = max((z.name for z in every), key=len, default="")
    return sorted((z for z in every if z.name == nearest), key=lambda z: z.id)


def apex_of(snapshot: Snapshot, name: str) -> str:
    """The zone that a name is in: its hosted zone, else the name with two labels, below which it was registered."""
    zones = hosted_zones(snapshot, name)
    return zones[0].name if zones else ".".join(name.split(".")[-2:])
