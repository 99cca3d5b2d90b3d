"""Amazon Route 53: hosted zones, record sets, atomic change batches, changes, tags and protections.

Stricter than moto, as AWS is: names come back in lower case with octal escapes, TXT values must be quoted, a batch
lands whole or not at all, and its limits count UPSERT twice.

Source: Route 53 API reference, ChangeResourceRecordSets, ListResourceRecordSets, CreateHostedZone; Developer Guide
"Quotas"; the messages inside InvalidChangeBatch as users of the service report them.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.records import (
    MAX_VALUES,
    ROUTING,
    BadRecord,
    characters,
    check_value,
    elements,
    is_below,
    normalise_name,
    same_set,
    show_name,
    sort_key,
)
from reconciler.sandbox.world import Call, World, moment, tag_list

MAX_ELEMENTS: Final = 1000
MAX_CHARACTERS: Final = 32_000
RECORD_PAGE: Final = 300
ZONE_PAGE: Final = 100
MAX_TAGS: Final = 10
SOA: Final = "awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"

Key = tuple[str, str, str]
"""(normalised name, type, SetIdentifier or "")"""


@dataclass
class Zone:
    """One hosted zone. ``sets`` is keyed by (name, type, SetIdentifier); ``touched`` holds when a name last changed."""

    id: str
    name: str
    account: str
    reference: str
    comment: str | None
    private: bool
    vpcs: list[dict[str, str]]
    name_servers: list[str]
    created: float
    sets: dict[Key, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, set[Key]] = field(default_factory=dict)
    touched: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    protections: dict[tuple[str, str], str | None] = field(default_factory=dict)
    linked_service: dict[str, str] | None = None
    accelerated_recovery: str | None = None
    in_progress: str | None = None
    _order: list[tuple[tuple[str, ...], str, str, Key]] | None = None

    def put(self, record_set: dict[str, Any], now: float) -> None:
        """Store a set under its (normalised) name, replacing the one with the same key."""
        key = key_of(record_set)
        if key not in self.sets:
            self._order = None
        self.sets[key] = record_set
        self.names.setdefault(key[0], set()).add(key)
        self.touched[key[0]] = now

    def remove(self, key: Key, now: float) -> None:
        del self.sets[key]
        self.names[key[0]].discard(key)
        if not self.names[key[0]]:
            del self.names[key[0]]
        self.touched[key[0]] = now
        self._order = None

    def ordered(self) -> list[tuple[tuple[str, ...], str, str, Key]]:
        """All sets in the order in which AWS lists them."""
        if self._order is None:
            self._order = sorted((sort_key(show_name(k[0])), k[1], k[2], k) for k in self.sets)
        return self._order

    def has_below(self, name: str) -> bool:
        """Whether there is a set below a normalised name (which then exists in DNS, though empty)."""
        key = sort_key(show_name(name))
        ordered = self.ordered()
        at = bisect.bisect_right(ordered, key, key=lambda item: item[0])
        return at < len(ordered) and ordered[at][0][: len(key)] == key

    def at(self, name: str) -> list[dict[str, Any]]:
        """The sets at a normalised name."""
        return [self.sets[key] for key in sorted(self.names.get(name, ()))]

    def view(self) -> dict[str, Any]:
        config: dict[str, Any] = {"PrivateZone": self.private}
        if self.comment is not None:
            config["Comment"] = self.comment
        shown: dict[str, Any] = {
            "Id": f"/hostedzone/{self.id}", "Name": show_name(self.name), "CallerReference": self.reference,
            "Config": config, "ResourceRecordSetCount": len(self.sets),
        }  # fmt: skip
        if self.linked_service:
            shown["LinkedService"] = self.linked_service
        if self.accelerated_recovery:
            shown["Features"] = {"AcceleratedRecoveryStatus": self.accelerated_recovery}
        return shown


@dataclass
class State:
    """Route 53 of one account."""

    zones: dict[str, Zone] = field(default_factory=dict)
    changes: dict[str, tuple[float, str | None]] = field(default_factory=dict)


def key_of(record_set: dict[str, Any]) -> Key:
    return record_set["Name"], record_set["Type"], record_set.get("SetIdentifier", "")


def strip_id(zone_id: str) -> str:
    return zone_id.rpartition("/")[2]


class Route53:
    """The operations; one instance serves all accounts."""

    name = "route53"

    def __init__(self, world: World) -> None:
        self.world = world

    def _state(self, call: Call) -> State:
        return self.world.state(call, self.name, State, region="")

    def _zone(self, call: Call, zone_id: str) -> Zone:
        zone = self._state(call).zones.get(strip_id(zone_id))
        if zone is None:
            raise ApiError("NoSuchHostedZone", f"No hosted zone found with ID: {strip_id(zone_id)}", 404)
        return zone

    # --- zones -----------------------------------------------------------------------------------------------------

    def create_hosted_zone(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        try:
            name = normalise_name(params["Name"])
        except BadRecord as error:
            raise ApiError("InvalidDomainName", str(error), 400) from error
        if any(c == "*" for c in name) or " " in name:
            raise ApiError("InvalidDomainName", f"{params['Name']} is not a valid domain name", 400)
        if any(zone.reference == params["CallerReference"] for zone in state.zones.values()):
            raise ApiError(
                "HostedZoneAlreadyExists",
                f"A hosted zone has already been created with the specified caller reference: "
                f"{params['CallerReference']}.",
                409,
            )
        zone = self.add_zone(
            call.account, name, call.now, reference=params["CallerReference"],
            comment=params.get("HostedZoneConfig", {}).get("Comment"), vpc=params.get("VPC"),
        )  # fmt: skip
        answer: Params = {
            "HostedZone": zone.view(),
            "ChangeInfo": self._change(state, call, None),
            "Location": f"https://route53.amazonaws.com/2013-04-01/hostedzone/{zone.id}",
        }
        if zone.private:
            answer["VPC"] = params["VPC"]
        else:
            answer["DelegationSet"] = {"NameServers": zone.name_servers}
        return answer

    def add_zone(
        self, account: str, name: str, now: float, *, reference: str = "", comment: str | None = None,
        vpc: dict[str, str] | None = None, zone_id: str = "",
    ) -> Zone:  # fmt: skip
        """Make a zone with its NS and SOA sets; ``name`` is normalised. Also used by seeds."""
        world = self.world
        state = world.current(self.name, account, "", State)
        serial = world.serial()
        servers = [
            f"ns-{serial * 4 + i}.awsdns-{serial % 64:02d}.{tld}"
            for i, tld in enumerate(("com", "net", "org", "co.uk"))
        ]
        zone = Zone(
            id=zone_id or "Z" + world.token(20), name=name, account=account, reference=reference or f"seed-{serial}",
            comment=comment, private=vpc is not None, vpcs=[vpc] if vpc else [], name_servers=servers, created=now,
        )  # fmt: skip
        zone.put(
            {"Name": name, "Type": "NS", "TTL": 172800, "ResourceRecords": [{"Value": s + "."} for s in servers]}, now
        )
        zone.put({"Name": name, "Type": "SOA", "TTL": 900, "ResourceRecords": [{"Value": f"{servers[0]}. {SOA}"}]}, now)
        state.zones[zone.id] = zone
        world.zone_version += 1
        return zone

    def get_hosted_zone(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["Id"])
        answer: Params = {"HostedZone": zone.view()}
        if zone.private:
            answer["VPCs"] = zone.vpcs
        else:
            answer["DelegationSet"] = {"NameServers": zone.name_servers}
        return answer

    def delete_hosted_zone(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["Id"])
        if any(not (key[0] == zone.name and key[1] in ("NS", "SOA")) for key in zone.sets):
            raise ApiError(
                "HostedZoneNotEmpty",
                "The specified hosted zone contains non-required resource record sets and so cannot be deleted.",
                400,
            )
        state = self._state(call)
        del state.zones[zone.id]
        self.world.zone_version += 1
        return {"ChangeInfo": self._change(state, call, None)}

    def update_hosted_zone_comment(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["Id"])
        zone.comment = params.get("Comment")
        return {"HostedZone": zone.view()}

    def update_hosted_zone_features(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        zone.accelerated_recovery = "ENABLED" if params.get("EnableAcceleratedRecovery") else "DISABLED"
        return {}

    def get_hosted_zone_count(self, call: Call, params: Params) -> Params:
        return {"HostedZoneCount": len(self._state(call).zones)}

    def get_dnssec(self, call: Call, params: Params) -> Params:
        self._zone(call, params["HostedZoneId"])
        return {"Status": {"ServeSignature": "NOT_SIGNING"}, "KeySigningKeys": []}

    def list_hosted_zones(self, call: Call, params: Params) -> Params:
        zones = [z for z in self._state(call).zones.values() if z.private or "HostedZoneType" not in params]
        size = _page_size(params, ZONE_PAGE)
        start = 0
        if marker := params.get("Marker"):
            start = next((i for i, z in enumerate(zones) if z.id == strip_id(marker)), -1)
            if start < 0:
                raise ApiError("InvalidInput", f"The specified marker is not valid: {marker}", 400)
        chosen, rest = zones[start : start + size], zones[start + size :]
        answer: Params = {
            "HostedZones": [z.view() for z in chosen], "IsTruncated": bool(rest), "MaxItems": str(size),
            "Marker": params.get("Marker"),
        }  # fmt: skip
        if rest:
            answer["NextMarker"] = rest[0].id
        return answer

    def list_health_checks(self, call: Call, params: Params) -> Params:
        """None: there is no way to make one here. octoDNS reads before it writes."""
        size = str(params.get("MaxItems", "100"))
        return {"HealthChecks": [], "Marker": params.get("Marker", ""), "IsTruncated": False, "MaxItems": size}

    def list_hosted_zones_by_name(self, call: Call, params: Params) -> Params:
        if "HostedZoneId" in params and "DNSName" not in params:
            raise ApiError("InvalidInput", "The HostedZoneId parameter needs the DNSName parameter.", 400)
        ordered = sorted(self._state(call).zones.values(), key=lambda z: (sort_key(z.name), z.id))
        start: tuple[tuple[str, ...], str] = ((), "")
        if "DNSName" in params:
            try:
                start = (sort_key(normalise_name(params["DNSName"])), strip_id(params.get("HostedZoneId", "")))
            except BadRecord as error:
                raise ApiError("InvalidDomainName", str(error), 400) from error
        ordered = [z for z in ordered if (sort_key(z.name), z.id) >= start]
        size = _page_size(params, ZONE_PAGE)
        rest = ordered[size:]
        answer: Params = {
            "HostedZones": [z.view() for z in ordered[:size]], "IsTruncated": bool(rest), "MaxItems": str(size),
            "DNSName": params.get("DNSName"), "HostedZoneId": params.get("HostedZoneId"),
        }  # fmt: skip
        if rest:
            answer |= {"NextDNSName": show_name(rest[0].name), "NextHostedZoneId": rest[0].id}
        return answer

    # --- record sets -----------------------------------------------------------------------------------------------

    def list_resource_record_sets(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        if "StartRecordType" in params and "StartRecordName" not in params:
            raise ApiError("InvalidInput", "The input is not valid: type needs a name.", 400)
        if "StartRecordIdentifier" in params and "StartRecordType" not in params:
            raise ApiError("InvalidInput", "The input is not valid: identifier needs a type.", 400)
        ordered = zone.ordered()
        start = 0
        if "StartRecordName" in params:
            try:
                name = sort_key(show_name(normalise_name(params["StartRecordName"])))
            except BadRecord as error:
                raise ApiError("InvalidInput", str(error), 400) from error
            first = (name, params.get("StartRecordType", ""), params.get("StartRecordIdentifier", ""))
            start = bisect.bisect_left(ordered, first, key=lambda item: item[:3])
        size = _page_size(params, RECORD_PAGE)
        answer: Params = {
            "ResourceRecordSets": [_shown(zone.sets[key]) for *_, key in ordered[start : start + size]],
            "IsTruncated": start + size < len(ordered), "MaxItems": str(size),
        }  # fmt: skip
        if answer["IsTruncated"]:
            name_, kind, identifier = ordered[start + size][3]
            answer |= {"NextRecordName": show_name(name_), "NextRecordType": kind}
            if identifier:
                answer["NextRecordIdentifier"] = identifier
        return answer

    def change_resource_record_sets(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        if zone.linked_service:
            raise ApiError(
                "InvalidInput",
                f"The hosted zone {zone.id} is managed by {zone.linked_service.get('ServicePrincipal')} and can't be "
                "edited.",
                400,
            )
        state = self._state(call)
        if self.world.settings.prior_request_conflicts and zone.in_progress:
            begun, _ = state.changes[zone.in_progress]
            if call.now < begun + self.world.settings.insync_delay:
                raise ApiError(
                    "PriorRequestNotComplete",
                    "The request was rejected because Route 53 was still processing a prior request.",
                    400,
                )
        batch = params["ChangeBatch"]
        for key, record_set in _apply(zone, batch["Changes"]).items():
            if record_set is None:
                zone.remove(key, call.now)
            elif zone.sets.get(key) is not record_set:
                zone.put(record_set, call.now)
        info = self._change(state, call, batch.get("Comment"))
        zone.in_progress = strip_id(info["Id"])
        return {"ChangeInfo": info}

    def get_change(self, call: Call, params: Params) -> Params:
        change_id = strip_id(params["Id"])
        found = self._state(call).changes.get(change_id)
        if found is None:
            raise ApiError("NoSuchChange", f"Could not find resource with ID: {change_id}", 404)
        begun, comment = found
        status = "INSYNC" if call.now >= begun + self.world.settings.insync_delay else "PENDING"
        return {"ChangeInfo": _change_info(change_id, status, begun, comment)}

    def _change(self, state: State, call: Call, comment: str | None) -> Params:
        change_id = "C" + self.world.token(20)
        state.changes[change_id] = (call.now, comment)
        return _change_info(change_id, "PENDING", call.now, comment)

    # --- protections -----------------------------------------------------------------------------------------------

    def create_resource_record_set_protections(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        for item in params["Protections"]:
            zone.protections[(normalise_name(item["RecordName"]), item["RecordType"])] = item.get("Comment")
        return {}

    def delete_resource_record_set_protections(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        for item in params["Protections"]:
            zone.protections.pop((normalise_name(item["RecordName"]), item["RecordType"]), None)
        return {}

    def list_resource_record_set_protections(self, call: Call, params: Params) -> Params:
        zone = self._zone(call, params["HostedZoneId"])
        ordered = sorted(zone.protections, key=lambda key: (sort_key(key[0]), key[1]))
        if "StartRecordName" in params:
            first = (sort_key(normalise_name(params["StartRecordName"])), params.get("StartRecordType", ""))
            ordered = [key for key in ordered if (sort_key(key[0]), key[1]) >= first]
        size = int(params["MaxResults"]) if params.get("MaxResults") else None
        chosen, token = page(ordered, params.get("NextToken"), size, RECORD_PAGE)
        shown = [
            {"RecordName": show_name(name), "RecordType": kind, "Comment": zone.protections[(name, kind)]}
            for name, kind in chosen
        ]
        return {"ResourceRecordSetProtections": shown, "NextToken": token}

    # --- tags ------------------------------------------------------------------------------------------------------

    def _tagged(self, call: Call, kind: str, resource_id: str) -> Zone:
        if kind != "hostedzone":
            raise ApiError("NoSuchHealthCheck", f"No health check exists with the specified ID: {resource_id}", 404)
        return self._zone(call, resource_id)

    def change_tags_for_resource(self, call: Call, params: Params) -> Params:
        zone = self._tagged(call, params["ResourceType"], params["ResourceId"])
        tags = dict(zone.tags)
        for key in params.get("RemoveTagKeys", ()):
            tags.pop(key, None)
        for tag in params.get("AddTags", ()):
            if tag["Key"].lower().startswith("aws:"):
                raise ApiError("InvalidInput", "Tag keys must not start with aws:", 400)
            tags[tag["Key"]] = tag.get("Value", "")
        if len(tags) > MAX_TAGS:
            raise ApiError("InvalidInput", f"A resource can have at most {MAX_TAGS} tags.", 400)
        zone.tags = tags
        return {}

    def list_tags_for_resource(self, call: Call, params: Params) -> Params:
        zone = self._tagged(call, params["ResourceType"], params["ResourceId"])
        return {"ResourceTagSet": {"ResourceType": "hostedzone", "ResourceId": zone.id, "Tags": tag_list(zone.tags)}}

    def list_tags_for_resources(self, call: Call, params: Params) -> Params:
        zones = [self._tagged(call, params["ResourceType"], i) for i in params["ResourceIds"]]
        return {
            "ResourceTagSets": [
                {"ResourceType": "hostedzone", "ResourceId": zone.id, "Tags": tag_list(zone.tags)} for zone in zones
            ]
        }


def _page_size(params: Params, limit: int) -> int:
    text = str(params.get("MaxItems") or limit)
    if not text.isdigit() or int(text) < 1:
        raise ApiError("InvalidInput", f"Invalid value for MaxItems: {text}", 400)
    return min(int(text), limit)


def _shown(record_set: dict[str, Any]) -> dict[str, Any]:
    shown = {**record_set, "Name": show_name(record_set["Name"])}
    if alias := shown.get("AliasTarget"):
        shown["AliasTarget"] = {**alias, "DNSName": show_name(normalise_name(alias["DNSName"]))}
    return shown


def _change_info(change_id: str, status: str, begun: float, comment: str | None) -> Params:
    return {"Id": f"/change/{change_id}", "Status": status, "SubmittedAt": moment(begun), "Comment": comment}


# --- one batch -----------------------------------------------------------------------------------------------------


def _apply(zone: Zone, changes: list[dict[str, Any]]) -> dict[Key, dict[str, Any] | None]:
    """What a batch makes of the sets at the names that it touches; None for a set that is gone.

    Changes act one after the other on a copy, so that all land or none.
    Raises: ApiError InvalidInput for a malformed change, InvalidChangeBatch with every reason found.
    """
    _check_limits(changes)
    work: dict[Key, dict[str, Any]] = {}
    names: dict[str, set[Key]] = {}
    problems: list[str] = []
    seen: dict[Key, list[str]] = {}
    for change in changes:
        action, given = change["Action"], change["ResourceRecordSet"]
        _check_form(action, given)
        try:
            record_set = {**given, "Name": normalise_name(given["Name"])}
            key = key_of(record_set)
            name, kind, _ = key
            shown = show_name(name)
            if name not in names:
                names[name] = set(zone.names.get(name, ()))
                work |= {k: zone.sets[k] for k in names[name]}
            earlier = seen.setdefault(key, [])
            earlier.append(action)
            if len(earlier) > 1 and earlier != ["DELETE", "CREATE"]:
                raise BadRecord(
                    f"The request contains an invalid set of changes for a resource record set '{kind} {shown}'"
                )
            if (name, kind) in zone.protections:
                raise BadRecord(
                    f"The resource record set [name='{shown}', type='{kind}'] is protected and can't be changed"
                )
            label = f"[name='{shown}', type='{kind}'" + (f", set identifier='{key[2]}']" if key[2] else "]")
            if action == "DELETE":
                if key not in work:
                    raise BadRecord(f"Tried to delete resource record set {label} but it was not found")
                if not same_set(work[key], record_set):
                    raise BadRecord(
                        f"Tried to delete resource record set {label} but the values provided do not match the current "
                        "values"
                    )
                if name == zone.name and kind == "SOA":
                    raise BadRecord("A HostedZone must contain exactly one SOA record.")
                if name == zone.name and kind == "NS" and not _recreated(zone, changes, "NS"):
                    raise BadRecord("A HostedZone must contain at least one NS record for the zone itself.")
                del work[key]
                names[name].discard(key)
                continue
            _check_place(zone, key, record_set, names[name])
            if action == "CREATE" and key in work:
                raise BadRecord(f"Tried to create resource record set {label} but it already exists")
            work[key] = record_set
            names[name].add(key)
        except BadRecord as error:
            problems.append(str(error))
    if problems:
        raise ApiError("InvalidChangeBatch", "[" + ", ".join(problems) + "]", 400)
    gone = {key for name in names for key in zone.names.get(name, ()) if key not in work}
    return {**work, **dict.fromkeys(gone)}


def _recreated(zone: Zone, changes: list[dict[str, Any]], kind: str) -> bool:
    """Whether the batch also makes the zone's own set of this type again."""
    return any(
        c["Action"] != "DELETE"
        and c["ResourceRecordSet"]["Type"] == kind
        and normalise_name(c["ResourceRecordSet"]["Name"]) == zone.name
        for c in changes
    )


def _check_limits(changes: list[dict[str, Any]]) -> None:
    count = text = 0
    for change in changes:
        weight = 2 if change["Action"] == "UPSERT" else 1
        count += weight * elements(change["ResourceRecordSet"])
        text += weight * characters(change["ResourceRecordSet"])
    if count > MAX_ELEMENTS:
        raise ApiError("InvalidChangeBatch", f"[Number of records limit of {MAX_ELEMENTS} exceeded.]", 400)
    if text > MAX_CHARACTERS:
        raise ApiError("InvalidChangeBatch", f"[Number of characters limit of {MAX_CHARACTERS} exceeded.]", 400)


def _check_form(action: str, given: dict[str, Any]) -> None:
    """What Route 53 refuses before it reads the zone. Raises: ApiError InvalidInput."""
    where = (
        f"Change with [Action={action}, Name={given['Name']}, Type={given['Type']}, "
        f"SetIdentifier={given.get('SetIdentifier', 'null')}]"
    )
    plain = "TTL" in given and "ResourceRecords" in given
    kinds = [plain, "AliasTarget" in given, "TrafficPolicyInstanceId" in given]
    partial = not plain and ("TTL" in given or "ResourceRecords" in given)
    if sum(kinds) != 1 or partial:
        found = "none" if not any(kinds) else "more than one"
        raise ApiError(
            "InvalidInput",
            "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or "
            f"TrafficPolicyInstanceId], but found {found} in {where}",
            400,
        )
    routed = any(name in given for name in ROUTING)
    if routed != ("SetIdentifier" in given):
        missing = "SetIdentifier" if routed else "Weight, Region, GeoLocation, Failover or MultiValueAnswer"
        raise ApiError("InvalidInput", f"Invalid request: Missing field '{missing}' in {where}", 400)


def _check_place(zone: Zone, key: Key, record_set: dict[str, Any], others: set[Key]) -> None:
    """Whether a set may stand at its name. Raises: BadRecord."""
    name, kind, identifier = key
    shown, apex = show_name(name), show_name(zone.name)
    if not is_below(name, zone.name):
        raise BadRecord(f"RRSet with DNS name {shown} is not permitted in zone {apex}")
    if kind == "CNAME" and name == zone.name:
        raise BadRecord(f"RRSet of type CNAME with DNS name {shown} is not permitted at apex in zone {apex}")
    if kind == "SOA" and name != zone.name:
        raise BadRecord(f"RRSet of type SOA with DNS name {shown} is not permitted in zone {apex}")
    types = {k[1] for k in others}
    if (kind == "CNAME" and types - {"CNAME"}) or (kind != "CNAME" and "CNAME" in types):
        raise BadRecord(
            f"RRSet of type {kind} with DNS name {shown} is not permitted as it conflicts with other records with the "
            f"same DNS name in zone {apex}"
        )
    if any(k[1] == kind and bool(k[2]) != bool(identifier) for k in others):
        raise BadRecord(
            f"RRSet with DNS name {shown}, type {kind}, SetIdentifier {identifier or 'null'} cannot be created as a "
            "RRSet of another routing policy exists with the same name and type."
        )
    values = [r["Value"] for r in record_set.get("ResourceRecords", ())]
    if len(values) > MAX_VALUES:
        raise BadRecord(f"Number of values per record limit of {MAX_VALUES} exceeded.")
    if kind == "CNAME" and len(values) > 1:
        raise BadRecord(f"RRSet of type CNAME with DNS name {shown} has more than one value")
    for value in values:
        if len(value) > 4000:
            raise BadRecord(f"Invalid Resource Record: '{value[:40]}...' is longer than 4000 characters")
        try:
            check_value(kind, value)
        except BadRecord as error:
            raise BadRecord(f"Invalid Resource Record: '{error}'") from error
    if len(set(values)) != len(values):
        twice = next(v for v in values if values.count(v) > 1)
        raise BadRecord(f"Duplicate Resource Record: '{twice}'")
