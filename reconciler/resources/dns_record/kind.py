"""Route 53 records: the DNS half of identities, domains and tracking.

Managed:  single values, not record sets: DKIM CNAMEs or key, MAIL FROM MX and SPF, DMARC, BIMI, null MX, our terms in
          the one SPF record, tracking CNAMEs. Every other value at the same name is foreign and is kept byte for byte.
Reads:    route53 ListHostedZones, and ListResourceRecordSets of the zones that hold names of this stack (all records
          of a zone in one call per 300).
Writes:   ChangeResourceRecordSets: DELETE of exactly what was read plus CREATE, all changes of a zone in one batch.
Owned:    what the declared state or an owned identity derives; groups named in ``recon:records`` tags; what our marker
          at ``_recon.<domain>`` names.
Source:   Route 53 API and Developer Guide; RFC 7208, 9989, 7505; SES Developer Guide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from reconciler import regions
from reconciler.errors import AwsError, ReconError
from reconciler.kinds.grants import Grant
from reconciler.kinds.kind import BaseKind, Need, Runtime, Step, needs_of, order_of
from reconciler.kinds.lookups import Lookup, Said, said_under
from reconciler.kinds.ownership import DKIM_SELECTOR, MAIL_FROM, PREFIX, RECORDS, published, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Desired, Entry, Observed, State, address_parts
from reconciler.names import is_at_or_below, parents, to_route53
from reconciler.resources import KINDS
from reconciler.resources.dns_record import TRACKING_KIND, foreign_ownership, intents, leftovers, marker, publishing
from reconciler.resources.dns_record.edits import Edit
from reconciler.resources.dns_record.record_plan import RecordPlan
from reconciler.resources.dns_record.removals import Removals
from reconciler.resources.dns_record.upserts import Upserts
from reconciler.resources.dns_record.values import NAME, address_of, host, mail_from_names, set_digest, tracking_option
from reconciler.resources.dns_record.zones import Zone, ZoneIndex, list_zones, load, read_delegations, record_from_aws

if TYPE_CHECKING:
    from reconciler.aws import Aws


EVERY = "every"
"""Instead of the zone of a name: all that could hold it."""

_LABELS = ("_dmarc.", "_domainkey.", "_bimi.", "_recon.")
"""Labels below which a domain has records beside those at its own name."""


class DnsRecord(BaseKind):
    name = NAME
    reads = (
        "route53:ListHostedZones", "route53:ListResourceRecordSets", "route53:ListTagsForResource",
        "resourcegroupstaggingapi:GetResources",
    )  # fmt: skip
    # GetHostedZone: an apply reads a zone again before it relies on it
    writes = (
        "route53:ChangeResourceRecordSets", "route53:ChangeTagsForResource", "route53:GetChange",
        "route53:GetHostedZone",
    )  # fmt: skip

    read_calls = dict.fromkeys(("value", "ttl"), "route53:ListResourceRecordSets")

    # -- desired: derived while planning, since it depends on what SES says (intents.py) ---------

    def all_grants(self, state: State) -> Iterable[Grant]:
        """Every declared domain and tracking domain, and all names below them: there is no record that is not at or
        below one (MAIL FROM domains are), and what was declared before is taken away there, too."""
        entries = {entry.name: entry for entry in state.section("domains") if entry.region is None}
        old = (address_parts(moved.from_address) for moved in state.moved)
        names = [*entries, *(one.name for one in old if one.kind == "email_identity" and "@" not in one.name)]
        names += [one.name for one in state.released if one.section == "domains"]
        for entry in state.section(KINDS[TRACKING_KIND].section):
            names.append((entry.values.get("tracking_options") or {}).get("custom_redirect_domain") or "")
        for name in filter(None, names):
            for zone in intents.zones_named(intents.covering_entry(entries, name)):
                for pattern in (name, f"*.{name}") if zone != "manual" else ():
                    yield Grant("record", pattern, "" if zone in {None, "auto"} else zone)

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe_declared(self, aws: Aws, snapshot: Snapshot) -> None:
        """Read the zones of declared names, and those with our markers, while SES is read, which has another limit.
        ``observe`` is called afterwards, for the zones of names that only SES knows."""
        read_zones(aws, snapshot, declared_names(snapshot))

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        """Read the zones of names that are live, and those with our markers, as far as not yet read;
        ``observe_declared`` has read those of declared names."""
        read_zones(aws, snapshot, live_names(snapshot))
        names = Counter(zone.name for zone in snapshot.zones.values() if zone.loaded)
        read = [
            zone.name if names[zone.name] == 1 else f"{zone.name} ({id})"
            for id, zone in sorted(snapshot.zones.items())
            if zone.loaded
        ]
        if read:
            snapshot.scanned.append(
                f"zones {', '.join(sorted(read)[:5])}" + (f" and {len(read) - 5} more" if len(read) > 5 else "")
            )
        if snapshot.read_scope is None and (
            others := sum(not (z.loaded or z.private) for z in snapshot.zones.values())
        ):
            words = (
                f"{others} more zone{'s' if others > 1 else ''} not read: nothing declared or live is there, and no tag"
            )
            snapshot.scanned.append(f"{words} recon:{snapshot.scope}")

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        """What is wanted, what is deleted, the markers; ``draft`` then knows what the tags of owners must name."""
        snapshot = draft.snapshot
        plan = RecordPlan(draft)
        removals = Removals(plan)
        if not snapshot.unknown(NAME):
            plan.read_markers()
            upserts = Upserts(plan)
            for intent in intents.of_state(snapshot):
                upserts.plan_upsert(intent)
            plan.find_left_zones()
            _name_what_to_publish(draft)
            removals.plan_owner_removals()
            removals.plan_marker_removals()
            removals.plan_markers()
            leftovers.name_what_stays(plan)
            removals.untag_zones()
            removals.tag_zones()
        changes, doubtful = [], {}
        for address in sorted(plan.changes):
            planned = plan.changes.pop(address)  # of tens of thousands, both forms are never there at once
            changes.append(plan.change(address, planned))
            if planned.may_be_others:
                doubtful[address] = planned
        for address, group in foreign_ownership.refuse(draft, changes):
            plan.stuck.setdefault(doubtful[address].domain, set()).add(group)
            for owner in doubtful[address].owners:
                plan.written.get(owner, set()).discard(group)
        removals.remember_groups()
        return changes

    def known_addresses(self, snapshot: Snapshot) -> Iterable[Address]:
        return known_addresses(snapshot)

    # -- written ----------------------------------------------------------------------------------------------------

    def reread(self, aws: Aws, change: Change) -> str | None:
        """The fingerprint of one record set as it is now, by a narrow listing."""
        name = change.execution.get("name")
        if not name:
            return None
        answer = aws.call(
            "route53",
            "ListResourceRecordSets",
            dns=True,
            HostedZoneId=change.execution["zone"],
            StartRecordName=to_route53(name),
            StartRecordType=change.execution["type"],
            MaxItems="1",
        )
        for raw in answer["ResourceRecordSets"]:
            found = record_from_aws(raw)
            if (found.name, found.type) == (name, change.execution["type"]):
                return set_digest(found)
        return None

    # -- CloudTrail -------------------------------------------------------------------------------------------------

    def lookups(self, change: Change) -> Iterable[Lookup]:
        yield Lookup("", "EventName", "ChangeResourceRecordSets", dns=True)

    def concerns(self, change: Change, said: Said, lookup: Lookup) -> bool:
        """Names and types stand side by side in a change batch, each record's name before its type or after it."""
        run = change.execution
        zones = {text.rpartition("/")[2] for text in said_under(said, "hostedzoneid")}
        if zones and "zone" in run and str(run["zone"]).lower() not in zones:
            return False
        parts = [text.replace("\\052", "*") for key, text in said if key in {"name", "type"}]
        wanted = {str(run.get(key) or "").lower() for key in ("name", "type")}
        return any({*pair} == wanted for pair in zip(parts[::2], parts[1::2], strict=False))

    def explained(self, change: Change, event: str, said: Said) -> tuple[str, ...]:
        return tuple(one.path for one in change.diff) or ("",)

    def is_visible(self, aws: Aws, change: Change) -> bool:
        return bool(change.execution.get("tag")) or super().is_visible(aws, change)

    def steps(self, change: Change) -> Iterable[Step]:
        run = change.execution
        zone, needs = str(run["zone"]), run.get("needs", ())
        if change.claims and not run.get("marker"):
            # A tag or a marker remembers it; nothing to call.
            yield Step(change.address, "claim", needs, lambda rt: None)
            return
        if run.get("tag"):
            calls = ("route53:ChangeTagsForResource",)
            yield Step(change.address, "write", run=lambda rt: tag_zone(rt.aws, run["tag"], zone), calls=calls)
            return
        if run.get("untag"):
            calls = ("route53:ChangeTagsForResource",)
            yield Step(change.address, "untag", run=lambda rt: untag_zone(rt.aws, run["untag"], zone), calls=calls)
            return
        if run.get("mark"):
            yield Step(
                change.address,
                "mark",
                (),
                zone=zone,
                edits=lambda rt: _mark_edits(change, "add"),
                calls=("route53:ChangeResourceRecordSets",),
            )
        if run.get("marker"):
            # A marker grows before what it remembers changes, and shrinks after.
            if run.get("add"):
                yield Step(
                    change.address,
                    "mark",
                    needs,
                    zone=zone,
                    edits=lambda rt: [_edit(change, add=run["add"])],
                    calls=("route53:ChangeResourceRecordSets",),
                )
            if run.get("remove"):
                marked = (Need(change.address, "mark"),) if run.get("add") or run.get("mark") else ()
                yield Step(
                    change.address,
                    "write",
                    (*marked, *needs_of(order_of(change).after, "write", "create", "claim")),
                    zone=zone,
                    edits=lambda rt: [_edit(change, remove=run["remove"], last=True)],
                    calls=("route53:ChangeResourceRecordSets",),
                )
            return
        yield Step(
            change.address,
            "write",
            (Need(change.address, "mark"), *needs) if run.get("mark") else needs,
            zone=zone,
            edits=partial(_write_edits, change),
            calls=("route53:ChangeResourceRecordSets",),
        )


def tag_zone(aws: Aws, scope: str, zone_id: str) -> None:
    """Put the tag on a zone that says: here is a marker of this stack. The search for tags finds the zone by it."""
    tags = [{"Key": f"recon:{scope}", "Value": "marker"}]
    aws.call("route53", "ChangeTagsForResource", dns=True, ResourceType="hostedzone", ResourceId=zone_id, AddTags=tags)


def untag_zone(aws: Aws, scopes: Iterable[str], zone_id: str) -> None:
    """Take the tags off a zone that say: here is a marker of these stacks."""
    tags = [f"recon:{scope}" for scope in sorted(scopes)]
    aws.call(
        "route53", "ChangeTagsForResource", dns=True, ResourceType="hostedzone", ResourceId=zone_id, RemoveTagKeys=tags
    )


def read_zones(aws: Aws, snapshot: Snapshot, names: Iterable[tuple[str, str | None]]) -> None:
    """Read the zones of ``names`` (each with the zone that the YAML names for it) and of the records one label below
    them, and those that carry our markers, into ``snapshot.zones``, each once; what cannot be read is in
    ``snapshot.unread``."""
    names = list(names)
    marked: Iterable[str] = snapshot.tagged_zones if snapshot.read_scope is None or snapshot.read_scope.domains else ()
    if not (names or marked) or snapshot.unknown(NAME):
        return
    if snapshot.zones_tried is None:
        try:
            snapshot.zones = list_zones(aws)
        except AwsError as error:
            snapshot.unreadable(NAME, error.message, error.hint)
            return
        snapshot.zones_tried = set()
    tried = snapshot.zones_tried
    index = ZoneIndex(snapshot.zones)
    wanted = snapshot.tagged_zones.keys() & snapshot.zones.keys()
    if snapshot.read_scope is not None:
        wanted = {
            i for i in wanted if any(is_at_or_below(n, snapshot.zones[i].name) for n in snapshot.read_scope.domains)
        }
    older: set[str] = set()
    for zone_id in wanted:
        snapshot.zones[zone_id].tagged_for |= set(snapshot.tagged_zones[zone_id])
    # A zone of its own for `_dmarc.example.com` is rare: where none is, its parent's zone is the one.
    apart = [label for label in _LABELS if any(zone.name.startswith(label) for zone in snapshot.zones.values())]
    for name, hint in chain(names, ((label + name, hint) for label in apart for name, hint in names)):
        if hint == "manual":
            continue
        if hint == EVERY:
            nearest = {z.id for z in index.candidates(name)}
            wanted |= nearest
            older |= {z.id for z in index.above(name)} - nearest
            continue
        zone = index.pick(name, hint)
        if isinstance(zone, Zone):
            wanted.add(zone.id)
        elif hint in {None, "auto"}:
            wanted |= {z.id for z in index.candidates(name)}

    def one(zone_id: str) -> tuple[str, AwsError | None]:
        try:
            load(aws, snapshot.zones[zone_id])
        except AwsError as error:
            return zone_id, error
        return zone_id, None

    for zone_id, problem in aws.parallel(one, sorted((wanted | older) - tried)):
        if problem is None:
            continue
        name = snapshot.zones[zone_id].name
        if zone_id in wanted:
            snapshot.unreadable(f"{NAME}/{name}", problem.message, problem.hint)
        else:
            words = f"records to delete may be left in zone {name}, which could not be read: {problem.message}"
            snapshot.say("warning", "zone-unread", words, hint=problem.hint)
    _ask_for_tags(aws, snapshot, sorted((wanted | older) - tried))
    tried |= wanted | older
    read_delegations(aws, snapshot.zones)


def _ask_for_tags(aws: Aws, snapshot: Snapshot, ids: Iterable[str]) -> None:
    """Ask Route 53 for the tags of those zones with a marker of ours that the search for tags has not found: it failed,
    it trails behind by minutes, or somebody has taken the tag off (a tool that manages all tags of the zone)."""
    scope = snapshot.scope
    for zone in (snapshot.zones[one] for one in ids):
        marked = zone.loaded and not zone.private and scope in marker.stacks_in(zone)
        if not marked or scope in zone.tagged_for:
            continue
        try:
            zone.tagged_for |= zone_tags(aws, zone.id) & {scope}
        except AwsError as error:
            words = f"whether zone {zone.name} has the tag recon:{scope}, which its marker needs: {error.message}"
            snapshot.say("warning", "zone-tag", words, hint=error.hint)
            zone.tagged_for.add(scope)  # nothing is planned from what could not be read


def zone_tags(aws: Aws, zone_id: str) -> set[str]:
    """The stacks that the tags of a zone name: the keys ``recon:SCOPE``, without the prefix."""
    answer = aws.call("route53", "ListTagsForResource", dns=True, ResourceType="hostedzone", ResourceId=zone_id)
    keys = {tag["Key"] for tag in answer["ResourceTagSet"].get("Tags") or ()}
    return {key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)}


def _name_what_to_publish(draft: PlanDraft) -> None:
    """One note for each domain in DNS that recon does not hold, while records of it may be missing."""
    snapshot = draft.snapshot
    for domain, wanted in publishing.to_publish(snapshot):
        if snapshot.read_scope is not None and domain not in snapshot.read_scope.domains:
            continue
        count = len({(one.name, one.type, one.token, one.region) for one in wanted})
        draft.diagnostics.append(publishing.note(domain, count))


def declared_names(snapshot: Snapshot) -> list[tuple[str, str | None]]:
    """Every domain and name that the state declares records for, with the zone that the YAML names for it."""
    names: dict[tuple[str, str | None], None] = {}
    entries = intents.own_entries(snapshot)

    def add(name: str, entry: Entry | None) -> None:
        for zone in intents.zones_named(entry):
            names[name, zone] = None

    for domain in entries:
        if snapshot.read_scope is None or domain in snapshot.read_scope.domains:
            add(domain, entries[domain])
    for desired in snapshot.kind("email_identity"):
        if desired.spec.get("mail_from") and snapshot.includes(desired.address):
            add(desired.spec["mail_from"]["mail_from_domain"], entries.get(desired.name))
    for desired in snapshot.kind(TRACKING_KIND):
        redirect = (desired.spec.get("tracking_options") or {}).get("custom_redirect_domain")
        if redirect and snapshot.includes(desired.address):
            add(redirect, intents.covering_entry(entries, redirect))
    return list(names)


def known_addresses(snapshot: Snapshot) -> Iterator[str]:
    """The address of every record that the declared state derives, changed or not, and of our markers.

    Where the zone of a name is not known, one for each zone that could hold it."""
    scopes, places = snapshot.state.stack.scopes, intents.zone_places(snapshot)
    for zone in snapshot.zones.values():
        names = [n for n, type_ in zone.records if type_ == "TXT" and n.startswith(f"{marker.LABEL}.")]
        for name in names:
            if any(marker.is_ours(text, scope) for _, text in zone.texts(name) for scope in scopes):
                yield address_of(places[zone.id], name, "TXT")
    index = ZoneIndex(snapshot.zones)
    for intent in intents.of_state(snapshot):
        label = intents.label(intent)
        if intent.zone == "manual":
            yield address_of("manual", intent.name or label, intent.type)
            continue
        anchor = intents.anchor(intent)
        found = index.pick(anchor, intent.zone)
        holders = [places[found.id]] if isinstance(found, Zone) else [anchor, *parents(anchor)]
        yield from (address_of(holder, label, intent.type) for holder in holders)


def live_names(snapshot: Snapshot) -> list[tuple[str, str | None]]:
    """Every name that a live resource of this stack uses: its domain, its MAIL FROM, old or present."""
    names: dict[tuple[str, str | None], None] = {}
    entries = intents.own_entries(snapshot)
    for live in snapshot.observed.values():
        if not snapshot.owns(live):
            continue
        stays = live.address in snapshot.desired
        if live.kind == "email_identity" and "@" not in live.name:
            entry = entries.get(live.name)
            zones = intents.zones_named(entry)
            # Records to delete may be in a zone that was the right one once; `manual` zones are never read.
            known = zones == ("manual",) or (stays and not _drops_records(snapshot.desired[live.address], entry, live))
            for name in (live.name, *sorted(mail_from_names(live))):
                for zone in zones if known else (EVERY,):
                    names[name, zone] = None
        elif live.kind == TRACKING_KIND:
            option = tracking_option(live)
            block = (snapshot.desired[live.address].spec.get("tracking_options") or {}) if stays else {}
            kept = block.get("custom_redirect_domain", option) if stays else None
            for tracked in sorted(published(live.tags, option)):
                names[tracked, None if tracked == kept else EVERY] = None
    return list(names)


def _drops_records(desired: Desired, entry: Entry | None, live: Observed) -> bool:
    """Whether records of an identity that stays are no longer declared: a group, its MAIL FROM, its DKIM names."""
    values = entry.values if entry is not None else {}
    kept = {"dkim", "mail_from", "tracking", *(key for key, value in values.items() if value)}
    if unpack(live.tags, RECORDS) - kept:
        return True
    wanted = (desired.spec.get("mail_from") or {}).get("mail_from_domain")
    if mail_from_names(live) - {wanted} and ("mail_from" in desired.spec or live.tags.get(MAIL_FROM)):
        return True
    dkim, old = desired.spec.get("dkim") or {}, live.spec["dkim"]
    if unpack(live.tags, DKIM_SELECTOR) - {dkim.get("domain_signing_selector", old.get("domain_signing_selector"))}:
        return True
    return any(
        dkim.get(key) not in {None, old.get(key)} for key in ("signing_attributes_origin", "domain_signing_selector")
    )


# --- carrying out --------------------------------------------------------------------------------------------------


def _edit(change: Change, *, add: Iterable[str] = (), remove: Iterable[str] = (), last: bool = False) -> Edit:
    run = change.execution
    return Edit(change.address, str(run["name"]), str(run["type"]), tuple(remove), tuple(add), run.get("ttl"), last)


def _mark_edits(change: Change, verb: str) -> list[Edit]:
    mark = change.execution["mark"]
    value = (intents.encode(mark["text"]),)
    name = marker.name_for(mark["domain"])
    if verb == "add":
        return [Edit(change.address, name, "TXT", add=value)]
    return [Edit(change.address, name, "TXT", remove=value, last=True)]


def _write_edits(change: Change, rt: Runtime) -> Iterator[Edit]:
    run = change.execution
    token = run.get("token")
    if token:
        yield from _token_edits(rt, change, token)
    else:
        yield _edit(change, add=run.get("add", ()), remove=run.get("remove", ()))
    if run.get("mark"):
        yield from _mark_edits(change, "remove")


def _token_edits(rt: Runtime, change: Change, token: Mapping[str, Any]) -> Iterator[Edit]:
    """The record of a DKIM token that SES gave during this run."""
    tokens = sorted(rt.output(token["identity"], "tokens") or ())
    if not 0 < token["number"] <= len(tokens):
        raise ReconError(
            f"{change.address}: SES gave no DKIM token {token['number']} for {token['domain']}",
            hint="run apply again: the identity exists now and its tokens are read",
        )
    value = tokens[token["number"] - 1]
    hosted = rt.output(token["identity"], "signing_hosted_zone") or regions.dkim_zone(token["region"])
    if not hosted:
        raise ReconError(
            f"{change.address}: SES did not say which zone the DKIM tokens of {token['domain']} point into, and for "
            f"{token['region']} AWS has not published it",
            hint="run apply again; GetEmailIdentity gives it as SigningHostedZone",
        )
    name, target = f"{value}._domainkey.{token['domain']}", f"{value}.{hosted}"
    old, there = change.execution.get("name"), tuple(change.execution.get("remove") or ())
    if old and old != name and there:
        yield Edit(change.address, str(old), "CNAME", remove=there)
    # Where the tokens stayed, a value that is right stays as it is spelled.
    right = tuple(value for value in there if old == name and host(value) == target)
    wrong = tuple(value for value in there if old == name and value not in right)
    yield Edit(change.address, name, "CNAME", remove=wrong, add=right or (target,), ttl=change.execution.get("ttl"))


KIND = DnsRecord()
