"""The receiver of one recipient (``--to``): whether its domain takes mail, who else there was suppressed of late, and
how much of what was sent to it bounced.

Sources: RFC 5321, 5.1 (without MX the address record counts); RFC 7505 (null MX); SES v2 API, BatchGetMetricData: the
dimension ISP needs the Virtual Deliverability Manager, and knows large receivers by their brand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler import suppression
from reconciler.doctor.checks import (
    ADVICE,
    FOUND,
    LATELY,
    OK,
    REVIEW_BOUNCES,
    REVIEW_COMPLAINTS,
    UNKNOWN,
    Check,
)
from reconciler.errors import AwsError, ReconError
from reconciler.names import domain_of
from reconciler.public_dns import Answer, PublicDns

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS: Final = ("sesv2:BatchGetMetricData",)
DAYS: Final = 14
MOST: Final = 1000
"""Suppressed addresses of one receiver that are kept."""
MANY: Final = 2
"""So many others of one receiver are no chance."""
_METRICS: Final = ("SEND", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE", "COMPLAINT")
_BRANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "google.com": ("Gmail",), "googlemail.com": ("Gmail",), "yahoodns.net": ("Yahoo",),
    "outlook.com": ("Hotmail", "Outlook"), "hotmail.com": ("Hotmail", "Outlook"),
    "icloud.com": ("Icloud", "Apple"),
}  # fmt: skip
"""The end of a receiver's MX -> the names under which SES may count it."""


@dataclass(slots=True)
class ReceiverFacts:
    """What was read of the receiver. ``others`` are suppressed addresses of its domain since ``DAYS``; ``rates`` are
    the counts by region, an error, or None where the region does not count by receiver."""

    domain: str
    mx: Answer | None = None
    address: Answer | None = None
    others: list[suppression.SuppressedAddress] = field(default_factory=list)
    rates: dict[str, dict[str, int] | ReconError | None] = field(default_factory=dict)


def read_receiver(
    aws: Aws, regions: Sequence[str], recipient: str, now: str, dns: PublicDns | None
) -> tuple[ReceiverFacts, list[suppression.SuppressedAddress], list[ReconError]]:
    """The facts but the rates, the entries of the recipient, and the errors of the suppression lists. Cost: one call a
    region for each thousand addresses that were suppressed lately, and one where the recipient is not among them."""
    domain = domain_of(recipient).lower()
    facts = ReceiverFacts(domain)
    own: list[suppression.SuppressedAddress] = []
    problems: list[ReconError] = []
    since = datetime.fromisoformat(now) - timedelta(days=DAYS)
    for entry in suppression.list_entries(aws, regions, suppression.Filter(start=since, match=f"*@{domain}")):
        if isinstance(entry, ReconError):
            problems.append(entry)
        elif entry.address.lower() == recipient.lower():
            own.append(entry)
        elif len(facts.others) < MOST:
            facts.others.append(entry)
    left = sorted(set(regions) - {entry.region for entry in own})
    if left:
        older, more = suppression.find_entries(aws, left, [suppression.Removal(recipient)])
        own, problems = [*own, *older], [*problems, *more]
    if dns is not None:
        found = dns.ask((domain, kind) for kind in ("MX", "A", "AAAA"))
        facts.mx, facts.address = found[domain, "MX"], None
        if not facts.mx.values and not facts.mx.problem:
            addresses = [found[domain, kind] for kind in ("A", "AAAA")]
            facts.address = next((answer for answer in addresses if answer.values or answer.problem), addresses[0])
    return facts, sorted(own, key=lambda entry: entry.region), problems


def read_rates(aws: Aws, facts: ReceiverFacts, accounts: Mapping[str, Any], now: str) -> None:
    """The rates of each region. ``accounts`` are the answers of GetAccount by region. Cost: a call a region."""
    since, brands = datetime.fromisoformat(now) - timedelta(days=DAYS), _brands(facts)
    rates = aws.parallel(lambda region: _rates(aws, region, accounts[region], brands, since, now), list(accounts))
    facts.rates = dict(zip(accounts, rates, strict=True))


def _brands(facts: ReceiverFacts) -> tuple[str, ...]:
    hosts = [facts.domain, *(value.split(" ")[-1] for value in (facts.mx.values if facts.mx else ()))]
    for host in hosts:
        for end, names in _BRANDS.items():
            if host == end or host.endswith(f".{end}"):
                return names
    return ("Gmail",) if facts.domain == "gmail.com" else ()


def _rates(
    aws: Aws, region: str, account: Any, brands: tuple[str, ...], since: datetime, now: str
) -> dict[str, int] | ReconError | None:
    """What was sent to the receiver, by metric; None where the region does not count it."""
    vdm = account.get("VdmAttributes") or {} if isinstance(account, Mapping) else {}
    if vdm.get("VdmEnabled") != "ENABLED" or not brands:
        return None
    places = [(brand, metric) for brand in brands for metric in _METRICS]
    queries = [
        {"Id": f"q{n}", "Namespace": "VDM", "Metric": metric, "Dimensions": {"ISP": brand}, "StartDate": since,
         "EndDate": datetime.fromisoformat(now)}
        for n, (brand, metric) in enumerate(places)
    ]  # fmt: skip
    try:
        answer = aws.call("sesv2", "BatchGetMetricData", region, Queries=queries)
    except AwsError as error:
        return error
    counts = dict.fromkeys(_METRICS, 0)
    for one in answer.get("Results") or ():
        counts[places[int(str(one.get("Id"))[1:])][1]] += int(sum(one.get("Values") or ()))
    return counts


def receiver_checks(facts: ReceiverFacts, regions: Sequence[str]) -> Iterator[Check]:
    """What the facts mean. Pure."""
    yield from _domain(facts)
    for region in regions:
        yield from _others(facts, region)
        yield from _rate(facts, region)


def _domain(facts: ReceiverFacts) -> Iterator[Check]:
    domain, mx = facts.domain, facts.mx
    if mx is None:
        return
    if mx.problem:
        yield Check("dns", UNKNOWN, f"{domain} MX: {mx.problem}", "", domain, subject=domain)
    elif any(value.split(" ")[-1] == "." for value in mx.values):
        hint = "the address cannot exist: remove it from your lists"
        yield Check("dns", FOUND, f"{domain} takes no mail: it has a null MX", hint, domain, subject=domain)
    elif mx.values:
        hosts = ", ".join(value.split(" ")[-1] for value in mx.values[:3])
        yield Check("dns", OK, f"mail for {domain} goes to {hosts}", "", domain)
    elif facts.address is not None and facts.address.problem:
        yield Check("dns", UNKNOWN, f"{domain} A: {facts.address.problem}", "", domain, subject=domain)
    elif facts.address is not None and facts.address.values:
        yield Check("dns", OK, f"mail for {domain} goes to {facts.address.values[0]}: it has no MX", "", domain)
    else:
        hint = "is it spelled right? Without MX and address, no mail can be delivered there"
        yield Check("dns", FOUND, f"{domain} has no mail server: neither MX nor address", hint, domain, subject=domain)


def _others(facts: ReceiverFacts, region: str) -> Iterator[Check]:
    others = [entry for entry in facts.others if entry.region == region]
    if not others:
        yield Check(
            "suppression", OK, f"no other recipient at {facts.domain} was suppressed in {DAYS} days", region=region
        )
        return
    bounced = sum(entry.reason == "BOUNCE" for entry in others)
    more = "at least " if len(facts.others) >= MOST else ""
    words = f"{more}{len(others)} other{'s' * (len(others) != 1)} at {facts.domain} suppressed in {DAYS} days"
    words += f", {bounced} for a bounce"
    if len(others) < MANY:
        yield Check("suppression", OK, words, region=region)
        return
    hint = "the receiver refuses more than one of yours: recon doctor --message BOUNCE says why"
    yield Check("suppression", FOUND, words, hint, region=region, rank=LATELY)


def _rate(facts: ReceiverFacts, region: str) -> Iterator[Check]:
    counts = facts.rates.get(region)
    if counts is None:
        words = f"SES counts nothing for {facts.domain} by itself"
        yield Check(
            "reputation", OK, words, "the Virtual Deliverability Manager counts by large receivers", region=region
        )
    elif isinstance(counts, ReconError):
        yield Check("reputation", UNKNOWN, counts.message, counts.hint, region=region)
    elif not counts["SEND"]:
        yield Check(
            "reputation", OK, f"nothing was sent to the receiver of {facts.domain} in {DAYS} days", region=region
        )
    else:
        sent = counts["SEND"]
        bounces = (counts["PERMANENT_BOUNCE"] + counts["TRANSIENT_BOUNCE"]) / sent
        complaints = counts["COMPLAINT"] / sent
        words = f"{sent:,} sent to the receiver of {facts.domain} in {DAYS} days, {bounces:.1%} bounced"
        words += f", {complaints:.2%} complained"
        bad = bounces >= REVIEW_BOUNCES or complaints >= REVIEW_COMPLAINTS
        hint = "send less there, and only to those who engage" if bad else ""
        yield Check("reputation", FOUND if bad else OK, words, hint, region=region, rank=ADVICE)
