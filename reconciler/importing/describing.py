"""From what was read to the entries that say it: each field as the YAML spells it, and a word where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from reconciler.importing.draft import EntryDraft, ImportDraft, Unwritable, literal, part_name, shown_text
from reconciler.importing.finding import Discovery, Skipped
from reconciler.importing.users import SmtpUserFound
from reconciler.kinds.ownership import PROTECT, may_write, named, owner_of
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.tags import user_tags
from reconciler.mail import bimi, dmarc, spf
from reconciler.mail.tags import visible
from reconciler.model import Address, Observed
from reconciler.regions import feedback_mx, tracking_target
from reconciler.resources import KINDS, SECTIONS, children, holder_of
from reconciler.resources.dns_record.values import host, mx_value
from reconciler.resources.dns_record.zones import NoZone, Zone, ZoneIndex
from reconciler.resources.email_identity import DEFAULT_SET, NOTIFICATIONS
from reconciler.resources.spec import Field, KindSpec

_SENDING: Final = {
    action.lower(): action
    for action in (
        "ses:SendEmail", "ses:SendRawEmail", "ses:SendTemplatedEmail", "ses:SendBulkEmail",
        "ses:SendBulkTemplatedEmail", "ses:SendCustomVerificationEmail", "ses:SendBounce",
    )
}  # fmt: skip
"""How AWS spells the actions that a sending policy may allow; IAM itself ignores their case."""

PLACEHOLDER: Final = "NAME-OF-THE-SECRET"


def describe(found: Discovery, draft: ImportDraft) -> None:
    """Fill ``draft`` with an entry for everything that nobody else owns."""
    snapshot = found.snapshot
    stack = snapshot.state.stack
    draft.left += found.left
    held: dict[Address, list[Observed]] = {}
    for address, live in sorted(snapshot.observed.items()):
        if holder := holder_of(address):
            held.setdefault(holder, []).append(live)
    for live in sorted(snapshot.observed.values(), key=lambda o: (_rank(draft, o), o.address)):
        kind = REGISTRY[live.kind]
        owner = owner_of(live.tags)
        foreign = isinstance(kind, PlainKind) and owner != stack.scope and not kind.about_mail(live)
        if foreign or holder_of(live.address):
            continue
        if found.owned_alone and owner is None:
            draft.unowned.append(live.address)
            continue
        if owner is not None and not may_write(stack, owner):
            hint = "release it there first if this stack is to manage it"
            draft.left.append(Skipped(live.address, "owned-elsewhere", f"belongs to {named(owner)}", hint))
            continue
        if live.kind == "email_identity":
            item = draft.item("email_addresses" if "@" in live.name else "domains", live.name)
            _identity(item, live)
        elif not isinstance(kind, PlainKind):
            item = draft.item(KINDS[live.kind].section, live.name)
            values = item.regional.setdefault(live.region or "", {})
            for key, value in kind.entry_of(live).items():
                item.put(values, key, value, policy=key == "conditions")
        else:
            item = draft.item(KINDS[live.kind].section, live.name)
            _plain(item, live)
            for child in children(live.kind):
                _children(item, live, child, held.get(live.address, ()), snapshot)
        _shared(item, live)
    index = ZoneIndex(snapshot.zones)
    for domain in found.parked:
        _parked(found, draft, index, domain)
    for item in list(draft.items.values()):
        if item.section == "domains" and item.regional:
            _zone(found, item, index)
        if "dkim" in item.unmanaged and any("dkim" in values for values in item.regional.values()):
            item.drop(("dkim",), "recon leaves the DKIM of a domain alone in all regions or in none")
        _protect(found, item)
    drop_mixed_values(draft)
    _shared_names(draft, index)
    for user in found.users.values():
        owner = owner_of(user.live.tags)
        if owner is None and found.owned_alone:
            draft.unowned.append(user.live.address)
        elif owner is None or may_write(stack, owner):
            _inert(user)
            draft.users.append(user)
        else:
            draft.left.append(Skipped(user.live.address, "owned-elsewhere", f"belongs to {named(owner)}"))


def _inert(user: SmtpUserFound) -> None:
    """Make the live texts of a user's entry what the YAML must say, or say that it cannot."""
    if user.values is None:
        return
    try:
        said = {key: literal(value, policy=key == "conditions") for key, value in user.values.items()}
        user.values = {**said, "credentials": user.values["credentials"]}  # no live text, and ${region} is a variable
    except Unwritable as problem:
        user.values, user.why = None, str(problem)


def _shared_names(draft: ImportDraft, index: ZoneIndex) -> None:
    """Leave a MAIL FROM or tracking name to the one region that its record points to: it can point to one alone."""
    held: dict[tuple[str, str], list[tuple[EntryDraft, str]]] = {}
    for item in draft.items.values():
        for region, values in item.regional.items():
            for block, field in (("mail_from", "mail_from_domain"), ("tracking_options", "custom_redirect_domain")):
                if name := (values.get(block) or {}).get(field):
                    held.setdefault((block, name), []).append((item, region))
    for (block, name), users in sorted(held.items()):
        regions_of = sorted({region for _, region in users})
        if len(regions_of) < 2:
            continue
        right = next((r for r in regions_of if _points_to(index, name, block, r)), regions_of[0])
        for item, region in users:
            if region != right:
                item.drop((block,), f"{name} is in use in {right} too, and its one record serves one region", region)


def _points_to(index: ZoneIndex, name: str, block: str, region: str) -> bool:
    for zone in index.candidates(name):
        if block == "mail_from":
            values = [mx_value(v) for record in zone.sets(name, "MX") for v in record.values]
            if mx_value(feedback_mx(region)) in values:
                return True
        elif tracking_target(region) in {host(v) for record in zone.sets(name, "CNAME") for v in record.values}:
            return True
    return False


def _rank(draft: ImportDraft, live: Observed) -> int:
    return draft.regions.index(live.region) if live.region in draft.regions else len(draft.regions)


def _shared(item: EntryDraft, live: Observed) -> None:
    values = item.regional[live.region or ""]
    tags: dict[str, Any] = {}
    for key, value in sorted(user_tags(live.tags).items()):
        item.put(tags, key, value, below=("tags",))
    if tags:
        values["tags"] = tags


def _protect(found: Discovery, item: EntryDraft) -> None:
    marked = [found.snapshot.observed[a].tags.get(PROTECT) == "true" for a in item.addresses()]
    if marked and all(marked):
        item.own["protect"] = True


# --- identities ----------------------------------------------------------------------------------------------------


def _identity(item: EntryDraft, live: Observed) -> None:
    values = item.regional.setdefault(live.region or "", {})
    spec = live.spec
    if item.section == "domains":
        _dkim(item, values, live)
        if spec["mail_from"]:
            item.put(values, "mail_from", dict(spec["mail_from"]))
    if spec[DEFAULT_SET.path]:
        item.put(values, DEFAULT_SET.path, spec[DEFAULT_SET.path])
    values["email_forwarding_enabled"] = bool(spec["email_forwarding_enabled"])
    if notified := {key: value for key, value in (spec.get(NOTIFICATIONS) or {}).items() if value}:
        item.put(values, NOTIFICATIONS, notified)
    policies: dict[str, Any] = {}
    for name, document in sorted(spec["policies"].items()):
        if isinstance(document, Mapping):
            item.put(policies, name, _spelled(document), below=("policies",), policy=True)
        else:
            item.note_dropped(("policies", name), "it is not a JSON document")
    if policies:
        values["policies"] = policies


def _dkim(item: EntryDraft, values: dict[str, Any], live: Observed) -> None:
    block = live.spec["dkim"]
    if block["signing_attributes_origin"] == "EXTERNAL":
        selector = shown_text(str(block.get("domain_signing_selector")))
        item.unmanage(
            "dkim",
            f"in {live.region} it signs with a key of your own (BYODKIM), which SES does not give back. Say where the "
            "private key is kept, and take this and `unmanaged: [dkim]` out: dkim: {signing_attributes_origin: "
            f"EXTERNAL, domain_signing_selector: {selector}, domain_signing_private_key: "
            f"{{secretsmanager: {PLACEHOLDER}}}}}",
        )
        return
    values["dkim"] = {
        "signing_enabled": block["signing_enabled"],
        "signing_attributes_origin": block["signing_attributes_origin"],
    }
    if block.get("next_signing_key_length"):
        values["dkim"]["next_signing_key_length"] = block["next_signing_key_length"]


def _spelled(document: Mapping[str, Any]) -> dict[str, Any]:
    """A policy with the actions of SES in AWS's spelling, and lists of one as the one."""
    out = dict(document)
    statements = out.get("Statement")
    if isinstance(statements, list):
        out["Statement"] = [
            {
                k: [_SENDING.get(a, a) for a in v] if k in {"Action", "NotAction"} and isinstance(v, list) else v
                for k, v in statement.items()
            }
            if isinstance(statement, Mapping)
            else statement
            for statement in statements
        ]
    return out


# --- a domain's own records ----------------------------------------------------------------------------------------


def _parked(found: Discovery, draft: ImportDraft, index: ZoneIndex, domain: str) -> None:
    """A named domain without an identity: imported where its zone says something of mail."""
    zone = index.pick(domain, "auto")
    if isinstance(zone, NoZone) or not zone.loaded:
        return
    item = EntryDraft("domains", domain, {"identity": False})
    _records(item, zone)
    if item.own.keys() - {"identity"}:
        draft.items["domains", domain] = item


def _zone(found: Discovery, item: EntryDraft, index: ZoneIndex) -> None:
    """Where the records of a domain are, and what they say."""
    snapshot = found.snapshot
    if hidden := snapshot.unknown("dns_record"):
        item.notes.append(f"the hosted zones could not be read: {hidden.reason}")
        return
    zone = index.pick(item.name, "auto")
    if isinstance(zone, NoZone) and zone.code == "zones-same-name":
        tokens = {
            f"{token}._domainkey.{item.name}"
            for address in item.addresses()
            for token in snapshot.observed[address].facts.get("tokens") or ()
        }
        holding = [z for z in index.candidates(item.name) if z.loaded and any(z.at(name) for name in tokens)]
        asked = [z for z in holding if z.is_asked()]
        if len(asked or holding) == 1:
            zone = (asked or holding)[0]
            item.own["zone"] = zone.id
            holds = "holds its DKIM records" + (", and its parent zone delegates to it" if len(holding) > 1 else "")
            item.notes.append(f"several public zones are called {zone.name}; this one {holds}")
    if isinstance(zone, NoZone):
        item.own["zone"] = "manual"
        item.notes.append(f"zone: {zone.message}; recon prints its records and writes none")
        return
    if hidden := snapshot.unknown(f"dns_record/{zone.name}"):
        item.notes.append(f"the zone {zone.name} could not be read: {hidden.reason}")
        return
    if cut := zone.delegation(item.name):
        item.own["zone"] = "manual"
        item.notes.append(f"zone: {zone.name} delegates {cut} elsewhere; recon prints its records and writes none")
        return
    _records(item, zone)


def _records(item: EntryDraft, zone: Zone) -> None:
    name = item.name
    _tags(item, zone, "dmarc", f"_dmarc.{name}", dmarc.is_record, dmarc.parse, dmarc.from_yaml)
    _spf(item, zone)
    _tags(item, zone, "bimi", f"default._bimi.{name}", bimi.is_record, bimi.parse, bimi.from_yaml)
    mx = zone.sets(name, "MX")
    if len(mx) == 1 and mx[0].simple and [mx_value(v) for v in mx[0].values] == ["0 ."]:
        item.own["null_mx"] = True


def _one(item: EntryDraft, zone: Zone, key: str, name: str, is_record: Callable[[str], bool]) -> str | None:
    """The one record of a kind at a name; None, with a word, where there is none that recon could keep."""
    texts = [text for _, text in zone.texts(name) if is_record(text)]
    cname = zone.sets(name, "CNAME")
    if cname and key != "spf":
        item.note_dropped((key,), f"{name} is a CNAME to {' '.join(cname[0].values) or 'an alias'}")
    elif any(not record.simple for record in zone.sets(name, "TXT")):
        item.note_dropped(
            (key,), f"{name} TXT is {zone.sets(name, 'TXT')[0].why_not_simple()}, which recon does not edit"
        )
    elif len(texts) > 1:
        item.note_dropped((key,), f"{name} has {len(texts)} such records, which receivers take for none", {None: texts})
    elif texts:
        return texts[0]
    return None


def _tags(
    item: EntryDraft,
    zone: Zone,
    key: str,
    name: str,
    is_record: Callable[[str], bool],
    parse: Callable[[str], dict[str, str]],
    from_yaml: Callable[[Any], dict[str, str]],
) -> None:
    text = _one(item, zone, key, name, is_record)
    if text is None:
        return
    tags = parse(text)
    why = "" if text.isascii() and text.isprintable() else f"it is {visible(text)}"
    for value in (_listed(tags), text):
        try:
            if not why and from_yaml(value) == tags:
                item.put(item.own, key, value)
                return
        except ValueError as problem:
            why = str(problem)
    item.note_dropped(
        (key,), f"the record at {name} is not one that recon would write: {why or 'it has unknown tags'}", {None: text}
    )


def _listed(tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: dmarc.uris(value) if name in dmarc.URI_LISTS else value for name, value in tags.items() if name != "v"
    }


def _spf(item: EntryDraft, zone: Zone) -> None:
    """The terms of the live record that an ``spf:`` entry can say; what it cannot say stays as it is anyway."""
    text = _one(item, zone, "spf", item.name, spf.is_record)
    if text is None:
        return
    record = spf.parse(text)
    block: dict[str, Any] = {}
    for term in record.evaluated:
        if term.qualifier == "+" and term.name in {"include", "ip4", "ip6", "a", "mx", "exists"}:
            value: Any = term.value if term.value is not None else True
            if value is True and term.name not in {"a", "mx"}:
                continue
            block.setdefault(term.name, []).append(value)
    if record.all is not None and record.all.text.lower() in {"-all", "~all", "?all", "+all"}:
        block["all"] = record.all.text.lower()
    kept = {}
    for name, values in block.items():
        good = values if name == "all" else [v for v in values if _expresses(text, {name: [v]})]
        if good:
            kept[name] = True if good == [True] else good
    if not kept or not _expresses(text, kept):
        item.note_dropped(("spf",), "no term of the record can be said in an entry", {None: text})
        return
    item.put(item.own, "spf", kept)


def _expresses(text: str, block: Mapping[str, Any]) -> bool:
    try:
        wanted = spf.from_yaml(block)
        return spf.merge(text, wanted.terms, wanted.all) == text
    except ValueError:
        return False


# --- plain kinds ----------------------------------------------------------------------------------------------------


def _plain(item: EntryDraft, live: Observed) -> None:
    """The fields of a resource, but for those that have what AWS gives by itself."""
    spec, section = SECTIONS[item.section]
    values, kind = item.regional.setdefault(live.region or "", {}), REGISTRY[spec.name]
    said = kind.as_entry(live) if isinstance(kind, PlainKind) else live.spec
    for key in dict.fromkeys((*spec.all_fields, *(key for key in said if key != "tags"))):
        written, field = _written(said.get(key)), spec.all_fields.get(key) or Field()
        if key in section.everywhere:
            _for_all_regions(item, key, written)
        elif field.main and field.main not in (written or {}):
            continue
        elif field.keyed:
            place = values.setdefault(key, {})
            for name, one in sorted((written or {}).items()):
                item.put(place, name, one, below=(key,))
            if not place:
                del values[key]
        elif written not in (None, {}, []):
            item.put(values, key, written)


def _for_all_regions(item: EntryDraft, key: str, value: Any) -> None:
    """A key that ``by_region`` cannot say: it is taken out again where regions differ (``drop_mixed_values``)."""
    if item.own.setdefault(key, value) != value:
        item.note_dropped((key,), "it is not the same in all regions")
        item.mixed.add(key)


def _children(
    item: EntryDraft, live: Observed, child: KindSpec, others: Iterable[Observed], snapshot: Snapshot
) -> None:
    """What a resource holds of another kind, by name."""
    held: dict[str, Any] = {}
    hidden = snapshot.unknown(child.address_of(live.region or "", live.name))
    if hidden is not None:
        item.notes.append(f"{live.region}: its {child.many} could not be read: {hidden.reason}")
    for other in others:
        name = part_name(other.address)
        unsupported = [k for k, f in child.all_fields.items() if not f.declared and other.spec.get(k)]
        if unsupported:
            item.note_dropped((child.parent_key, name), f"the YAML has no {', '.join(unsupported)}")
            continue
        said = {key: other.spec[key] for key in child.all_fields if other.spec.get(key) not in (None, {})}
        if child.item_key:
            told = {key: value for key, value in said.items() if value != child.all_fields[key].default}
            said = {**dict(zip(child.item_key, name.split("/", len(child.item_key) - 1), strict=True)), **told}
            if not other.spec:
                # its endpoint may hold a secret
                words = f"{child.a_words} of {item.name} in {live.region}"
                item.passing.append(f"{words} waits for confirmation: AWS does not show its settings before")
        item.put(held, name, said, below=(child.parent_key,))
    if held:
        item.regional[live.region or ""][child.parent_key] = held


def _written(value: Any) -> Any:
    """A value without the fields that AWS has nothing in."""
    if not isinstance(value, Mapping):
        return value
    inner = {key: _written(one) for key, one in value.items()}
    return {key: one for key, one in inner.items() if one is not None and one != {}}


def drop_mixed_values(draft: ImportDraft) -> None:
    """Take out what differs between regions and can only be said for all of them."""
    for item in draft.items.values():
        for key in item.mixed:
            item.own.pop(key, None)
