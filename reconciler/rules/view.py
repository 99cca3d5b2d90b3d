"""What the rules see: the declared state, the plan's changes, and the live resources, as they are and as they will be.

Plain data, filled by the planner; nothing here reads AWS or DNS. A part that was not read stays empty. A rule that
needs it then reports nothing: what is unknown is never a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from sys import intern
from typing import Any, NamedTuple

from reconciler.mail import dmarc
from reconciler.model import Address, Change, Desired, Document, Entry, Observed, State
from reconciler.names import at_or_above, domain_of, parents
from reconciler.resources.spec import at_path
from reconciler.rules.dns_view import DnsView, HostedZoneView, RecordView, RecordViews, When, remembered, those

__all__ = ["Policy", "RecordView", "Resource", "RuleView", "Topic", "When", "needs_https", "sender_domain"]


class Resource(NamedTuple):
    """One resource, live (``before``) and after apply (``after``); None where it does not exist."""

    address: Address
    kind: str
    region: str | None
    name: str
    before: Document | None
    after: Document | None
    facts: Document
    change: Change | None
    desired: Desired | None

    @property
    def is_new(self) -> bool:
        return self.before is None and self.after is not None

    @property
    def stays(self) -> bool:
        """Live now, and after apply."""
        return self.before is not None and self.after is not None

    @property
    def place(self) -> str:
        """Name and region, for messages."""
        return f"{self.name} in {self.region}"

    def was(self, path: str) -> Any:
        """The live value at a dotted path, or None."""
        return at_path(self.before, path)

    def will(self, path: str) -> Any:
        """The value at a dotted path after apply, or None."""
        return at_path(self.after, path)

    def alters(self, path: str) -> bool:
        """Whether the plan changes the value at a dotted path of a live resource that stays."""
        return self.after is not self.before and self.stays and self.was(path) != self.will(path)


@dataclass(frozen=True, slots=True)
class Topic:
    """An SNS topic that events go to: its policy, and the policy of its customer managed KMS key.

    ``kms_key_id`` is empty without encryption; ``kms_policy`` is None where the key's policy was not read.
    """

    policy: Mapping[str, Any]
    kms_key_id: str = ""
    kms_policy: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The DMARC policy in force for a domain: ``owner`` holds the record, ``strength`` is 0 to 2 with ``t=y`` applied.

    ``owner`` is empty where no record applies.
    """

    strength: int
    owner: str
    tags: Mapping[str, str]

    @property
    def level(self) -> str:
        """What receivers apply: ``none``, ``quarantine`` or ``reject``."""
        return dmarc.POLICIES[self.strength]

    @property
    def enforces(self) -> bool:
        return self.strength > 0


@dataclass(frozen=True)
class RuleView(DnsView):
    """Everything that a rule may read.

    ``observed`` and ``desired`` are the planner's maps by address. ``zones`` names the hosted zones whose whole
    content is in ``dns_before`` (as read) and ``dns_after`` (with this plan applied). ``accounts`` maps regions to
    the answer of SES GetAccount. ``topics`` maps topic ARNs to what was read of them, None where the topic does not
    exist. ``covering`` maps live identities outside the stack, at or above a tracking domain, to their verification
    status. ``outside_txt`` holds the TXT texts in public DNS of names outside the stack's zones (an empty tuple: there
    are none). ``certificates`` maps HTTPS hosts to the problem of their certificate, empty where there is none.
    ``sent_last_day`` counts messages by identity address. ``feedback_topics`` says which of BOUNCE and COMPLAINT go to
    a topic of the identity itself, None where that could not be read. ``trails`` says of regions whether a trail logs
    there what changes something. ``unusable`` holds the keys, streams and roles that a declared resource names and
    that cannot be used, each with the reason. ``dkim_keys`` holds the public halves of declared BYODKIM keys (base64
    DER) by identity. ``undelegated`` holds the zones that a parent zone in their account hides: problem and remedy by
    name. ``hosted`` holds all public hosted zones of the names in ``zones``, the one with ``dns_before`` first;
    ``outside_servers`` the name servers that public DNS returns for these names. ``leaving`` maps records that are
    deleted since the YAML's list of zones names theirs no more to the id of that zone. A key that is missing was not
    read.
    """

    state: State
    changes: tuple[Change, ...] = ()
    desired: Mapping[Address, Desired] = field(default_factory=dict)
    observed: Mapping[Address, Observed] = field(default_factory=dict)
    zones: frozenset[str] = frozenset()
    dns_before: RecordViews = field(default_factory=dict)
    dns_after: RecordViews = field(default_factory=dict)
    accounts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    topics: Mapping[str, Topic | None] = field(default_factory=dict)
    covering: Mapping[Address, str] = field(default_factory=dict)
    outside_txt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    sent_last_day: Mapping[Address, int] = field(default_factory=dict)
    feedback_topics: Mapping[Address, frozenset[str] | None] = field(default_factory=dict)
    trails: Mapping[str, bool] = field(default_factory=dict)
    unusable: Mapping[Address, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    dkim_keys: Mapping[Address, str] = field(default_factory=dict)
    undelegated: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    hosted: Mapping[str, tuple[HostedZoneView, ...]] = field(default_factory=dict)
    outside_servers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaving: Mapping[Address, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    now: datetime = field(default_factory=datetime.now)

    # --- resources -------------------------------------------------------------------------------------------------

    @cached_property
    def _by_kind(self) -> Mapping[str, tuple[Resource, ...]]:
        # A plan may have tens of thousands of records: the rules see them in their zones instead.
        changes = {change.address: change for change in self.changes if change.kind != "dns_record"}
        gone = {change.moved_from for change in changes.values() if change.moved_from}
        addresses = (a for a in sorted({*self.desired, *self.observed, *changes}) if not self.is_unread(a))
        resources = (self._resource(a, changes.get(a), renamed=a in gone) for a in addresses)
        return _grouped((resource.kind, resource) for resource in resources)

    def is_unread(self, address: Address) -> bool:
        """Whether ``address`` could not be read. No rule reports anything on it, least of all that it is missing."""
        return bool(self.unread) and any(
            address == part or address.startswith(part.rstrip("/") + "/") for part in self.unread
        )

    def _resource(self, address: Address, change: Change | None, *, renamed: bool) -> Resource:
        desired, observed = self.desired.get(address), self.observed.get(address)
        kind = intern(address.partition("/")[0])
        region = next((x.region for x in (desired, observed, change) if x is not None), None)
        before = observed.spec if observed is not None else None
        if before is None and change is not None and change.moved_from is None:
            before = change.before
        after: Document | None
        if renamed or (change is not None and change.action == "delete"):
            after = None
        else:
            after = before
            for layer in (desired.spec if desired else None, change.after if change else None):
                if layer is not None:
                    after = _laid_over(layer, after or {})
        name = address[len(kind) + 1 :].removeprefix(f"{region}/" if region else "")
        named = (one.name for one in (desired, observed) if one is not None and one.name == name)
        facts = observed.facts if observed else {}
        # Of the equal text that is there already no second one is kept.
        return Resource(address, kind, region, next(named, name), before, after, facts, change, desired)

    def resources(self, kind: str) -> tuple[Resource, ...]:
        """All resources of a kind, live or to be created, by address; of DNS records none."""
        return self._by_kind.get(kind, ())

    def resources_after(self, kind: str) -> tuple[Resource, ...]:
        """The resources of a kind that exist after apply, by address."""
        return tuple(r for r in self.resources(kind) if r.after is not None)

    @cached_property
    def _resource_index(self) -> Mapping[Address, Resource]:
        return {resource.address: resource for group in self._by_kind.values() for resource in group}

    def resource(self, address: Address) -> Resource | None:
        """One resource by its address."""
        return self._resource_index.get(address)

    @cached_property
    def identities(self) -> tuple[Resource, ...]:
        """Domain identities in every region."""
        return tuple(r for r in self.resources("email_identity") if "@" not in r.name)

    @cached_property
    def address_identities(self) -> tuple[Resource, ...]:
        """Single-address identities that exist after apply, in every region."""
        return tuple(r for r in self.resources_after("email_identity") if "@" in r.name)

    @cached_property
    def identity_regions(self) -> tuple[str, ...]:
        """The regions in which a domain identity exists after apply."""
        return tuple(sorted({i.region for i in self.identities if i.after is not None and i.region}))

    def identities_for(self, domain: str) -> tuple[Resource, ...]:
        """The identities of exactly this domain, one for each region."""
        return self._identities_by_name.get(domain, ())

    @cached_property
    def _identities_by_name(self) -> Mapping[str, tuple[Resource, ...]]:
        return _grouped((identity.name, identity) for identity in self.identities)

    def covering_identity(self, region: str, domain: str) -> Resource | None:
        """The identity that SES uses for mail from ``domain`` after apply: the most specific one at or above it."""
        for name in at_or_above(domain):
            resource = self.resource(f"email_identity/{region}/{name}")
            if resource is not None and resource.after is not None:
                return resource
        return None

    @cached_property
    def users(self) -> tuple[Entry, ...]:
        """The declared SMTP users."""
        return self.state.section("smtp_users")

    @cached_property
    def domains(self) -> tuple[Entry, ...]:
        """The declared domains, one entry each: that without a region, which holds what applies to the whole domain."""
        return tuple(entry for entry in self.state.section("domains") if entry.region is None)

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """Every domain of this stack: declared, or with an identity that exists after apply."""
        names = {entry.name for entry in self.domains}
        names |= {r.name for r in self.identities if r.after is not None}
        return tuple(sorted(names))

    @cached_property
    def zones_with_domains(self) -> frozenset[str]:
        """Every name at or above a domain of the stack, which are those that a zone with it can have."""
        return frozenset(above for name in self.domain_names for above in at_or_above(name))

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The stack's domains and zones."""
        return frozenset({*self.zones, *self.domain_names})

    @cached_property
    def dmarc_records(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        """Each domain of the stack that has one DMARC record of its own after apply, valid or not, and its tags."""
        found = ((domain, self.dmarc_texts(domain)) for domain in self.domain_names)
        return tuple(
            (domain, dmarc.parsed(texts[0])) for domain, texts in found if texts is not None and len(texts) == 1
        )

    @cached_property
    def spf_names(self) -> Mapping[str, Resource | None]:
        """Names whose SPF record matters: domains of the stack, and MAIL FROM names with their identity."""
        names: dict[str, Resource | None] = dict.fromkeys(self.domain_names)
        for identity in self.identities:
            name = identity.will("mail_from.mail_from_domain")
            if name:
                names[str(name)] = identity
        return names

    @cached_property
    def _entry_by_name(self) -> Mapping[str, Entry]:
        return {entry.name: entry for entry in self.domains}

    def entry(self, domain: str) -> Entry | None:
        """The declared domain of this name."""
        return self._entry_by_name.get(domain)

    @cached_property
    def _governed(self) -> Mapping[str, tuple[Resource, ...]]:
        policies = ((self.policy(identity.name), identity) for identity in self.identities if identity.stays)
        return _grouped((policy.owner, identity) for policy, identity in policies if policy is not None)

    def governed_by(self, owner: str) -> tuple[Resource, ...]:
        """The live identities that stay, and for which the DMARC record at ``owner`` is in force after apply."""
        return self._governed.get(owner, ())

    # --- mail that is sent today ------------------------------------------------------------------------------------

    def can_send(self, identity: Resource) -> bool:
        """Whether SES accepts mail from a live identity: it has verified it, and sending is on in the region."""
        if identity.before is None or identity.facts.get("verification_status") not in (None, "SUCCESS"):
            return False
        return bool(self.accounts.get(identity.region or "", {}).get("SendingEnabled", True))

    def flows(self, identity: Resource) -> bool:
        """Whether mail is being sent through a live identity: it can send, and is not known to send nothing.

        SES counts the messages that a region sent in the last 24 hours (GetAccount). Where that is zero, no mail is
        sent. So a first apply that was interrupted can be run again without a refusal.
        """
        quota = self.accounts.get(identity.region or "", {}).get("SendQuota") or {}
        sent = self.sent_last_day.get(identity.address, quota.get("SentLast24Hours"))
        return self.can_send(identity) and (sent is None or sent > 0)

    # --- DNS -------------------------------------------------------------------------------------------------------

    @cached_property
    def _elsewhere(self) -> Mapping[str, Address]:
        """The records that are not in the nearest zone that was read."""
        found: dict[str, Address] = {}
        second = {zone.id for zones in self.hosted.values() for zone in zones}
        for address in self._records:
            _, zone, rest = address.split("/", 2)
            name = rest.partition("/")[0]
            # With a colon: a token that SES has not given yet, whose name nobody can ask for.
            if ":" not in name and zone not in second and zone != self.zone_of(name):
                found.setdefault(rest, address)
        return found

    @cached_property
    def _records(self) -> Mapping[Address, Address]:
        """The addresses of the records that the plan changes, by themselves: no second text is kept of them."""
        return {change.address: change.address for change in self.changes if change.kind == "dns_record"}

    def record_address(self, name: str, kind: str) -> Address:
        """The address of a record: the plan's own where it has one, else built from the zone that would hold it."""
        zone = self.zone_of(name)
        elsewhere = self._elsewhere.get(f"{name}/{kind}") if self._elsewhere else None
        if zone is None:
            labels = name.split(".")
            plain = [label for label in labels if not label.startswith("_") and label != "*"]
            zone = next((n for n in parents(name) if n in self._entry_by_name), ".".join(plain[-2:] or labels))
            return elsewhere or f"dns_record/{zone}/{name}/{kind}"
        built = f"dns_record/{zone}/{name}/{kind}"
        return self._records.get(built) or elsewhere or built

    # --- DMARC and SPF ---------------------------------------------------------------------------------------------

    @remembered
    def dmarc_texts(self, domain: str, when: When = "after") -> tuple[str, ...] | None:
        """The DMARC records at ``_dmarc.<domain>``; where receivers take none for a record, the texts that are meant as
        one. None where they are unknown.

        Where the zone was not read, the declared record is taken as the one after apply.
        """
        texts = self.lookup(f"_dmarc.{domain}", "TXT", when)
        if texts is not None:
            read = those(texts, lambda text: dmarc.is_record(text, strict=True))
            return read or those(texts, dmarc.is_record)
        if when == "after":
            declared = self.declared_dmarc(domain)
            if declared is not None:
                return (dmarc.to_text(declared),)
        return None

    def declared_dmarc(self, domain: str) -> dict[str, str] | None:
        """The tags that the YAML asks for at this domain."""
        entry = self.entry(domain)
        value = entry.values.get("dmarc") if entry else None
        return dmarc.from_yaml(value) if value is not None else None

    @remembered
    def dmarc_tags(self, domain: str, when: When = "after") -> Mapping[str, str] | None:
        """The tags of the domain's own single, usable record; None where there is none or it is unknown.

        The mapping is shared by all rules: it must not be changed.
        """
        texts = self.dmarc_texts(domain, when)
        if texts is None or len(texts) != 1 or not dmarc.is_record(texts[0], strict=True):
            return None
        return dmarc.parsed(texts[0])

    @remembered
    def policy(self, domain: str, when: When = "after") -> Policy | None:
        """The DMARC policy in force for mail from ``domain``; None where it is unknown.

        The tree walk of RFC 9989 over the zones that were read: the domain's own record, else the nearest one above,
        of which ``sp`` counts before ``p``. ``t=y`` lowers the policy by one level.
        """
        for name in at_or_above(domain):
            if "." not in name:
                break
            texts = self.dmarc_texts(name, when)
            if texts is None:
                return None
            tags = self.dmarc_tags(name, when)
            if tags is None:
                continue
            return Policy(dmarc.levels(tags)["p" if name == domain else "sp"], name, tags)
        return Policy(0, "", {})

    @cached_property
    def spf_records(self) -> tuple[tuple[str, Resource | None, str], ...]:
        """Each of ``spf_names`` that has exactly one SPF record after apply, with its identity and that record."""
        found = ((name, identity, self.spf_texts(name)) for name, identity in self.spf_names.items())
        return tuple((name, identity, texts[0]) for name, identity, texts in found if texts and len(texts) == 1)

    # --- alignment -------------------------------------------------------------------------------------------------

    def dkim_works(self, identity: Resource) -> bool | None:
        """Whether mail is signed for the identity's domain right after apply; None where that is unknown.

        TEMPORARY_FAILURE means that SES could not determine the status (SES v2 API, DkimAttributes). Where all records
        are in the zone after apply, for example because this plan restores them, it is no evidence that signing fails.
        """
        if identity.will("dkim.signing_enabled") is False:
            return False
        if identity.alters("dkim.signing_attributes_origin") or identity.alters("dkim.domain_signing_selector"):
            return False
        status = identity.facts.get("dkim_status")
        if status == "TEMPORARY_FAILURE":
            names = [f"{token}._domainkey.{identity.name}" for token in identity.facts.get("tokens") or ()]
            if names and all(self.lookup(name, "CNAME") for name in names):
                return None
        return None if status is None else status == "SUCCESS"

    def spf_aligns(self, identity: Resource, tags: Mapping[str, str]) -> bool:
        """Whether SPF can align right after apply: a custom MAIL FROM works, and ``aspf`` is not strict.

        The MAIL FROM name is below the From domain and never equal to it, so strict alignment always fails (SES
        Developer Guide "Complying with DMARC").
        """
        name = identity.will("mail_from.mail_from_domain")
        if not name or tags.get("aspf") == "s" or identity.alters("mail_from.mail_from_domain"):
            return False
        return identity.facts.get("mail_from_status") == "SUCCESS"

    # --- events ----------------------------------------------------------------------------------------------------

    @cached_property
    def _destinations(self) -> Mapping[Address, tuple[Resource, ...]]:
        every = ((resource.address.split("/"), resource) for resource in self.resources("event_destination"))
        return _grouped((f"configuration_set/{region}/{name}", resource) for (_, region, name, *_), resource in every)

    def destinations(self, configuration_set: Address) -> tuple[Resource, ...]:
        """The event destinations of a set, live or to be created."""
        return self._destinations.get(configuration_set, ())

    def destinations_unread(self, configuration_set: Address) -> bool:
        """Whether the event destinations of a set could not be read."""
        return self.is_unread(configuration_set.replace("configuration_set/", "event_destination/", 1) + "/")

    def events_caught(self, configuration_set: Address, when: When = "after") -> frozenset[str]:
        """The event types that an enabled destination of the set receives."""
        caught: set[str] = set()
        for resource in self.destinations(configuration_set):
            spec = resource.after if when == "after" else resource.before
            if spec is not None and spec.get("enabled"):
                caught |= set(spec.get("matching_event_types") or ())
        return frozenset(caught)

    def default_set(self, identity: Resource) -> Resource | None:
        """The identity's default configuration set, where this run knows it and it exists after apply."""
        name = identity.will("configuration_set_name")
        found = self.resource(f"configuration_set/{identity.region}/{name}") if name else None
        return found if found is not None and found.after is not None else None


def _grouped(pairs: Iterable[tuple[str, Resource]]) -> Mapping[str, tuple[Resource, ...]]:
    """The second parts of pairs by their first."""
    found: dict[str, list[Resource]] = {}
    for key, resource in pairs:
        found.setdefault(key, []).append(resource)
    return {key: tuple(group) for key, group in found.items()}


def needs_https(policy: Any) -> bool:
    """Whether an ``https_policy`` of tracking options sends readers to HTTPS (SES API, TrackingOptions)."""
    return policy in ("REQUIRE", "REQUIRE_OPEN_ONLY")


def sender_domain(pattern: str) -> str:
    """The domain of an ``ses:FromAddress`` pattern (``*@shop.acme.com``), empty where it is not one fixed domain."""
    domain = domain_of(pattern).lower().rstrip(".")
    return "" if "*" in domain or "?" in domain or "@" not in pattern else domain


def _laid_over(top: Any, bottom: Any) -> Any:
    """``bottom`` overlaid with ``top``; ``bottom`` itself where that changes nothing, the usual case."""
    # The exact class is checked first: a check against the abstract class costs ten times as much.
    if not (type(top) is type(bottom) is dict) and not (isinstance(top, Mapping) and isinstance(bottom, Mapping)):
        return top
    if not bottom:
        return top  # and no copy of it: of what is new, there may be tens of thousands
    changed = {}
    for key, value in top.items():
        below = bottom.get(key)
        if value is below or (value == below and key in bottom):
            continue
        laid = _laid_over(value, below)
        if laid is not below and (laid != below or key not in bottom):
            changed[key] = laid
    return {**bottom, **changed} if changed else bottom
