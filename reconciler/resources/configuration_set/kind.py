"""SES configuration set: the rules that a message is sent under.

Managed:  delivery, reputation, sending, suppression, tracking, VDM and archiving options; tags.
Reads:    sesv2 GetConfigurationSet (one call a set; carries the tags). Owned sets come from the tagging sweep.
Writes:   one Put a block that differs; a put replaces its block, so fields that the YAML does not name are sent as
          they are live.
Source:   SES v2 API reference, CreateConfigurationSet, PutConfigurationSet...Options; SES Developer Guide,
          "Using configuration sets"; botocore sesv2 model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import AwsError, Stale
from reconciler.kinds.changes import alteration, creation, deletion
from reconciler.kinds.comparing import differences, overlay, project
from reconciler.kinds.kind import ORDER, Need, Runtime, Step, needs_of, order_of
from reconciler.kinds.ownership import DESTINATIONS, PROTECT, RECORDS, claim_or_refuse, owner_of, protected, unpack
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import Reader, covering_names, must_exist, read_each, referenced, wanted_addresses
from reconciler.kinds.shape import TEXT_MAP
from reconciler.kinds.snapshot import Snapshot
from reconciler.kinds.spelling import from_aws, to_aws
from reconciler.kinds.tags import (
    entry_tags,
    packed,
    plan_tags,
    present,
    put_tags,
    release_tags,
    tag_phases,
    tags_from_aws,
    tags_to_aws,
)
from reconciler.model import Address, Change, Desired, Document, Note, Observed, State
from reconciler.resources.event_destination.kind import EventDestination

if TYPE_CHECKING:
    from reconciler.aws import Aws

NAME = "configuration_set"

# Block -> (put operation, what AWS has in each field after a bare create; None: the field or block is absent).
BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "delivery_options": (
        "PutConfigurationSetDeliveryOptions",
        {"tls_policy": "OPTIONAL", "sending_pool_name": None, "max_delivery_seconds": None},
    ),
    "reputation_options": ("PutConfigurationSetReputationOptions", {"reputation_metrics_enabled": False}),
    "sending_options": ("PutConfigurationSetSendingOptions", {"sending_enabled": True}),
    "suppression_options": (
        "PutConfigurationSetSuppressionOptions",
        {"suppressed_reasons": None, "suppression_scope": None, "validation_options": None},
    ),
    "tracking_options": (
        "PutConfigurationSetTrackingOptions",
        {"custom_redirect_domain": None, "https_policy": "OPTIONAL"},
    ),
    "vdm_options": (
        "PutConfigurationSetVdmOptions",
        {
            "dashboard_options": {"engagement_metrics": None},
            "guardian_options": {"optimized_shared_delivery": None},
        },
    ),
    "archiving_options": ("PutConfigurationSetArchivingOptions", {"archive_arn": None}),
}


def address_of(region: str, name: str) -> Address:
    return f"{NAME}/{region}/{name}"


class ConfigurationSet(Reader):
    name = NAME
    reads = ("sesv2:GetConfigurationSet", "sesv2:GetConfigurationSetEventDestinations")
    writes = (
        "sesv2:CreateConfigurationSet",
        *(f"sesv2:{operation}" for operation, _ in BLOCKS.values()),
        "sesv2:TagResource",
        "sesv2:UntagResource",
        "sesv2:DeleteConfigurationSet",
    )

    read_calls = dict.fromkeys((*BLOCKS, "tags"), "sesv2:GetConfigurationSet")

    # -- desired ----------------------------------------------------------------------------------------------------

    def desired(self, state: State) -> Iterable[Desired]:
        for entry in state.section("configuration_sets"):
            region = entry.region or ""
            spec: dict[str, Any] = {}
            for block, (_, defaults) in BLOCKS.items():
                if block in entry.values:
                    spec[block] = _with_defaults(entry.values[block], defaults)
            spec["tags"] = entry_tags(entry)
            yield Desired(
                address_of(region, entry.name),
                NAME,
                region,
                entry.name,
                normalise(spec),
                entry,
                protect=bool(entry.values.get("protect")),
            )

    # -- observed ---------------------------------------------------------------------------------------------------

    def observe(self, aws: Aws, snapshot: Snapshot) -> None:
        read_each(self, aws, snapshot, [*wanted_addresses(NAME, snapshot), *referenced(NAME, snapshot)])

    def read(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None = None) -> Observed | None:
        """One live set, or None where SES says it does not exist."""
        answer = aws.call_if_there("sesv2", "GetConfigurationSet", region, ConfigurationSetName=name)
        if answer is None:
            return None
        live = from_aws({k: v for k, v in answer.items() if k not in {"Tags", "ConfigurationSetName"}})
        spec: dict[str, Any] = {}
        for block, (_, defaults) in BLOCKS.items():
            found = live.get(block) or {}
            spec[block] = {field: _filled(found.get(field), default) for field, default in defaults.items()}
        tags = tags_from_aws(answer.get("Tags"))
        spec["tags"] = dict(tags)
        return Observed(address_of(region, name), NAME, region, name, normalise(spec), tags)

    # -- compared ---------------------------------------------------------------------------------------------------

    def plan(self, draft: PlanDraft) -> Iterable[Change]:
        snapshot = draft.snapshot
        for address in snapshot.addresses(NAME):
            if snapshot.unknown(address):
                continue
            change = self._plan_one(draft, address)
            if change is not None:
                yield change

    def _plan_one(self, draft: PlanDraft, address: Address) -> Change | None:
        snapshot = draft.snapshot
        desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
        if desired is None:
            return self._plan_delete(draft, live) if live else None
        region = desired.region or ""
        pool = (desired.spec.get("delivery_options") or {}).get("sending_pool_name")
        needs = (f"dedicated_ip_pool/{region}/{pool}",) if pool and not pool.startswith("ses-") else ()
        for need in needs:
            must_exist(draft, need, desired, "delivery_options.sending_pool_name")
        extra: dict[str, str | None] = {PROTECT: "true" if desired.protect else None}
        extra |= packed(live.tags if live else {}, DESTINATIONS, draft.remembered(address, DESTINATIONS))
        extra |= packed(live.tags if live else {}, RECORDS, draft.remembered(address, RECORDS))
        tags = plan_tags(desired.spec["tags"], live.tags if live else {}, snapshot.scope, extra, desired.entry)
        if live is None:
            _tracking_must_rest(draft, desired)
            after = {**_without_absent(desired.spec), "tags": present(tags)}
            return creation(
                desired,
                after,
                depends_on=needs,
                notes=self._notes(snapshot, desired, None),
                execution={"tracking_ready": _tracking_ready(snapshot, region, after)},
            )
        claim = claim_or_refuse(draft, address, live.tags, desired.entry.source)
        if claim is None:
            return None
        wanted = {**desired.spec, "tags": tags}
        before = project(live.spec, wanted)
        after = overlay(wanted, before)
        diff = differences(before, after, desired=desired)
        if not diff and claim == "ours":
            return None
        tracks = any(d.path.startswith("tracking_options") for d in diff)
        if tracks and _strands(draft, live):
            return None
        if tracks:
            _tracking_must_rest(draft, desired)
        full = overlay(desired.spec, live.spec)
        puts = {block: full[block] for block in BLOCKS if before.get(block) != after.get(block) and block in wanted}
        return alteration(
            desired,
            live,
            before,
            after,
            diff,
            adopts=claim == "adopt",
            depends_on=needs,
            notes=self._notes(snapshot, desired, live),
            execution={
                "puts": puts,
                "tracking_ready": _tracking_ready(snapshot, region, full),
                **draft.order(address).execution(),
            },
        )

    def _plan_delete(self, draft: PlanDraft, live: Observed) -> Change | None:
        snapshot = draft.snapshot
        if owner_of(live.tags) != snapshot.scope or protected(draft, live.address, live.tags, "deleted"):
            return None
        if _strands(draft, live):
            return None
        users = [
            o.address
            for o in snapshot.observed.values()
            if o.kind == "email_identity"
            and o.region == live.region
            and o.spec.get("configuration_set_name") == live.name
        ]
        for user in users:
            kept = snapshot.desired.get(user)
            if kept and kept.spec.get("configuration_set_name", live.name) == live.name:
                draft.refuse(
                    "in-use",
                    f"{live.address} would be deleted while {user} still sends with it by default",
                    hint="give that identity another configuration_set_name (or null) first",
                    address=live.address,
                )
                return None
        prefix = f"event_destination/{live.address.partition('/')[2]}/"
        inside = {o.name: o.digest for a, o in snapshot.observed.items() if a.startswith(prefix)}
        theirs = sorted(inside.keys() - unpack(live.tags, DESTINATIONS))
        return deletion(
            live,
            depends_on=tuple(sorted(users)),
            notes=(Note("takes-along", "warning", f"takes event destinations of others along: {', '.join(theirs)}"),)
            if theirs
            else (),
            execution={
                **draft.order(live.address).execution(),
                "destinations": inside,
            },
        )

    def _notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        notes: list[Note] = []
        sending = (desired.spec.get("sending_options") or {}).get("sending_enabled")
        if sending is True and live is not None and not live.spec["sending_options"]["sending_enabled"]:
            notes.append(Note("sending-resumes", "warning", "sending was off live and starts again"))
        tracking = desired.spec.get("tracking_options") or {}
        domain = tracking.get("custom_redirect_domain")
        if domain and not _tracking_ready(snapshot, desired.region or "", desired.spec):
            notes.append(
                Note("tracking-waits", "note", f"tracking through {domain} is set once SES has verified its domain")
            )
        return tuple(notes)

    # -- written ----------------------------------------------------------------------------------------------------

    create_defaults: ClassVar[Document] = {block: defaults for block, (_, defaults) in BLOCKS.items()}

    def written_fields(self, change: Change) -> Iterator[tuple[Document, Document]]:
        """A put replaces its block, so the fields that nobody wrote into the YAML are sent as they were planned."""
        yield from super().written_fields(change)
        for block, value in (change.execution.get("puts") or {}).items():
            before = (change.before or {}).get(block) or {}
            yield {}, {block: {field: v for field, v in value.items() if field not in before}}

    form: ClassVar[Document] = {
        "after": {"tags": TEXT_MAP},
        "fields": {"tags?": TEXT_MAP, "*": (dict, None)},
        "execution": {
            "puts?": {"*": (dict, None)},
            "tracking_ready?": bool,
            "order?": ORDER,
            "destinations?": {"*": str},
        },
    }

    def steps(self, change: Change) -> Iterable[Step]:
        region, name = change.region or "", change.address.split("/", 2)[2]
        arn_name = f"configuration-set/{name}"
        needs = needs_of(change.depends_on, "create")
        order = order_of(change)
        # A tracking record is forgotten with the put or the set: a marker names it before.
        marks = needs_of(order.marks, "mark")
        if change.action == "delete":
            yield Step(
                change.address,
                "delete",
                (*marks, *needs_of(change.depends_on, "update", "delete")),
                lambda rt: _delete(rt, region, name, change.execution.get("destinations") or {}),
                calls=("sesv2:DeleteConfigurationSet",),
                region=region,
            )
            return
        after = change.after or {}
        ready = bool(change.execution.get("tracking_ready"))
        if change.action == "create":
            body = {block: after[block] for block in BLOCKS if block in after}
            late = None if ready else body.pop("tracking_options", None)
            yield Step(
                change.address,
                "create",
                needs,
                lambda rt: _create(rt, region, name, body, after["tags"]),
                calls=("sesv2:CreateConfigurationSet",),
                region=region,
            )
            if late and late.get("custom_redirect_domain"):
                yield _tracking_step(change, region, name, late, Need(change.address, "create"))
            return
        put, release, drop = tag_phases(change)
        if put:
            yield Step(
                change.address,
                "claim",
                (),
                lambda rt: put_tags(rt, region, arn_name, put),
                calls=("sesv2:TagResource",),
                region=region,
            )
        puts: dict[str, Any] = dict(change.execution.get("puts") or {})
        late = None if ready else puts.pop("tracking_options", None)
        if late is not None and not late.get("custom_redirect_domain"):
            puts["tracking_options"], late = late, None
        if puts:
            yield Step(
                change.address,
                "update",
                (Need(change.address, "claim"), *needs, *(marks if "tracking_options" in puts else ())),
                lambda rt: _update(rt, change.address, region, name, puts),
                calls=tuple(f"sesv2:{BLOCKS[b][0]}" for b in puts),
                region=region,
            )
        if late is not None:
            yield _tracking_step(change, region, name, late, Need(change.address, "update"), *marks)
        if release or drop:
            # What the tags remember is forgotten only once it is gone.
            yield Step(
                change.address,
                "release",
                (*needs_of((change.address,), "claim", "update"), *order.last()),
                lambda rt: release_tags(rt, region, arn_name, release, drop),
                calls=(("sesv2:TagResource",) if release else ()) + (("sesv2:UntagResource",) if drop else ()),
                region=region,
            )


def _strands(draft: PlanDraft, live: Observed) -> bool:
    """True, and said, where a change would make the set forget a tracking record of ours that cannot be seen now."""
    domain = (live.spec.get("tracking_options") or {}).get("custom_redirect_domain")
    hidden = draft.snapshot.zone_unread(domain) if domain else None
    if hidden is None or "tracking" not in unpack(live.tags, RECORDS):
        return False
    draft.say(
        "warning",
        "zone-unread",
        f"{live.address} is left as it is: the record of {domain} could not be read, and would be left behind",
        hint=hidden.hint,
        address=live.address,
    )
    return True


def _tracking_step(change: Change, region: str, name: str, block: Mapping[str, Any], *needs: Need) -> Step:
    domain = str(block["custom_redirect_domain"])

    def run(rt: Runtime) -> None:
        rt.wait_verified(region, domain)
        rt.ensure_unchanged(change.address)
        rt.aws.call(
            "sesv2",
            "PutConfigurationSetTrackingOptions",
            region,
            ConfigurationSetName=name,
            **_body("tracking_options", block),
        )

    return Step(
        change.address,
        "tracking",
        needs,
        run,
        calls=("sesv2:PutConfigurationSetTrackingOptions",),
        region=region,
        after_verification=True,
    )


def _tracking_ready(snapshot: Snapshot, region: str, spec: Mapping[str, Any]) -> bool:
    """Whether SES already has a verified domain identity at or above the tracking domain (else the put is refused)."""
    domain = (spec.get("tracking_options") or {}).get("custom_redirect_domain")
    if not domain:
        return True
    covering = snapshot.covering
    for name in covering_names(str(domain)):
        address = f"email_identity/{region}/{name}"
        desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
        if live is not None and desired is None and owner_of(live.tags) == snapshot.scope:
            continue  # It goes with this plan.
        if live is None and desired is None:
            if covering.get(address):
                return bool(covering[address] == "SUCCESS")
            continue
        if live is None or live.facts.get("verification_status") != "SUCCESS":
            return False
        origin = ((desired.spec.get("dkim") or {}) if desired else {}).get("signing_attributes_origin")
        return origin is None or origin == live.spec["dkim"]["signing_attributes_origin"]
    return False


def _tracking_must_rest(draft: PlanDraft, desired: Desired) -> None:
    """Refuse a tracking domain without an identity at or above it that is declared, or live and stays: SES would refuse
    it after the rest is done. What could not be read is given the benefit."""
    path = "tracking_options.custom_redirect_domain"
    domain = str((desired.spec.get("tracking_options") or {}).get("custom_redirect_domain") or "")
    snapshot = draft.snapshot
    for name in covering_names(domain):
        address = f"email_identity/{desired.region}/{name}"
        live = snapshot.observed.get(address)
        stays = live is not None and owner_of(live.tags) != snapshot.scope
        if address in snapshot.desired or stays or snapshot.covering.get(address) or snapshot.unknown(address):
            return
    if domain:
        draft.refuse(
            "no-tracking-identity",
            f"{desired.address} tracks through {domain}, and no identity at or above it is declared for "
            f"{desired.region} or stays live there",
            hint=f"declare the domain for {desired.region}, or correct {path}: SES takes it only below a "
            "verified identity",
            address=desired.address,
            source=desired.source_of(path),
        )


def _create(rt: Runtime, region: str, name: str, body: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    blocks = {block: _body(block, value) for block, value in body.items()}
    request = {_member(block): value.get("VdmOptions", value) for block, value in blocks.items() if value}
    try:
        rt.aws.call(
            "sesv2", "CreateConfigurationSet", region, ConfigurationSetName=name, Tags=tags_to_aws(tags), **request
        )
    except AwsError as error:
        if error.aws_code != "AlreadyExistsException":
            raise
        # The answer to an earlier try may have been lost: ours if it carries our tag, else somebody was faster.
        answer = rt.aws.call("sesv2", "GetConfigurationSet", region, ConfigurationSetName=name)
        if owner_of(tags_from_aws(answer.get("Tags"))) != rt.scope:
            raise
        _update(rt, address_of(region, name), region, name, body)


def _update(rt: Runtime, address: Address, region: str, name: str, puts: Mapping[str, Any]) -> None:
    for number, (block, value) in enumerate(puts.items()):
        if number:
            rt.ensure_unchanged(address)
        rt.aws.call("sesv2", BLOCKS[block][0], region, ConfigurationSetName=name, **_body(block, value))


def _delete(rt: Runtime, region: str, name: str, shown: Mapping[str, str]) -> None:
    """Delete a set with the destinations that the plan has ``shown`` (name -> digest), and no others."""
    moved = sorted(o.name for o in EventDestination().read_set(rt.aws, region, name) if shown.get(o.name) != o.digest)
    if moved:
        raise Stale(
            f"{address_of(region, name)} was left alone: event destinations in it moved since the plan: "
            + ", ".join(moved),
            hint="somebody else is editing it: plan again and look",
        )
    rt.aws.call_if_there("sesv2", "DeleteConfigurationSet", region, ConfigurationSetName=name)


def _body(block: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members of a put: the whole block, since a put replaces it."""
    fields = dict(value or {})
    if block == "tracking_options" and not fields.get("custom_redirect_domain"):
        # An empty put clears the block; HttpsPolicy without a domain is refused.
        return {}
    body = to_aws(fields)
    if block == "vdm_options":
        return {"VdmOptions": {k: v for k, v in body.items() if v}}
    return body


def _member(block: str) -> str:
    return "".join(part.capitalize() for part in block.split("_"))


def _with_defaults(written: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody wrote, with ``null`` (of a field or the whole block) read as AWS's default."""
    if written is None:
        return {k: (dict(v) if isinstance(v, dict) else v) for k, v in defaults.items()}
    out: dict[str, Any] = {}
    for field, value in written.items():
        default = defaults.get(field)
        if isinstance(default, dict):
            out[field] = _with_defaults(value, default)
        else:
            out[field] = default if value is None else value
    return out


def _filled(live: Any, default: Any) -> Any:
    if isinstance(default, dict):
        found = live or {}
        return {k: _filled(found.get(k), v) for k, v in default.items()}
    return default if live is None else live


def _without_absent(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Without fields whose desired value is AWS's absence: nothing to send and nothing to show on create."""
    out: dict[str, Any] = {}
    for key, value in spec.items():
        if isinstance(value, Mapping):
            inner = _without_absent(value)
            if inner:
                out[key] = inner
        elif value is not None:
            out[key] = value
    return out


def normalise(spec: dict[str, Any]) -> dict[str, Any]:
    """Sets as sorted lists, so that order is no difference; absent and empty suppression stay apart."""
    block = spec.get("suppression_options")
    if block and isinstance(block.get("suppressed_reasons"), list):
        spec = {
            **spec,
            "suppression_options": {**block, "suppressed_reasons": sorted(set(block["suppressed_reasons"]))},
        }
    return spec


KIND = ConfigurationSet()
