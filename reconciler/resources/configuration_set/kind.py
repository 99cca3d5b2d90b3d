"""Configuration sets: what their declaration cannot say.

SES takes a tracking domain only at or below a verified identity, so that its put waits for the verification. Deleting a
set deletes its event destinations, too, also those that recon did not create.

Source: SES v2 API reference, PutConfigurationSetTrackingOptions, DeleteConfigurationSet; SES Developer Guide, "Using
configuration sets" and "Configuring custom domains to handle open and click tracking".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.errors import Stale
from reconciler.kinds.kind import Runtime
from reconciler.kinds.ownership import DESTINATIONS, TRACKING, published, takes_along, unpack
from reconciler.kinds.plain import PlainKind
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.reading import covering_names
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Change, Desired, Document, FieldDiff, Note, Observed
from reconciler.resources import children
from reconciler.resources.configuration_set import SPEC
from reconciler.resources.event_destination import kind as destinations

OPTIONS = "tracking_options"


class ConfigurationSet(PlainKind):
    more_reads = ("sesv2:GetConfigurationSetEventDestinations",)

    def allowed(self, draft: PlanDraft, desired: Desired, live: Observed | None, diff: Sequence[FieldDiff]) -> bool:
        """A change of the tracking domain needs an identity to rest on, and a record that can be seen."""
        changes = live is None or any(one.path.startswith(OPTIONS) for one in diff)
        forgets = live is not None and unpack(live.tags, TRACKING) - draft.remembered(desired.address, TRACKING)
        if live is not None and (changes or forgets) and _strands(draft, live):
            return False
        if changes:
            _tracking_must_rest(draft, desired)
        return True

    def may_delete(self, draft: PlanDraft, live: Observed) -> bool:
        return not _strands(draft, live)

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        notes: list[Note] = []
        sending = (desired.spec.get("sending_options") or {}).get("sending_enabled")
        if sending is True and live is not None and not live.spec["sending_options"]["sending_enabled"]:
            notes.append(Note("sending-resumes", "warning", "sending was off live and starts again"))
        domain = _redirect(desired.spec)
        if domain and not _tracking_ready(snapshot, desired.region or "", desired.spec):
            notes.append(
                Note("tracking-waits", "note", f"tracking through {domain} is set once SES has verified its domain")
            )
        return tuple(notes)

    def deletion_notes(self, snapshot: Snapshot, live: Observed) -> tuple[Note, ...]:
        (child,) = children(SPEC.name)
        return takes_along(_others_destinations(snapshot, live), child.words)

    def taken_along(self, snapshot: Snapshot, live: Observed) -> Document:
        """The event destinations that recon did not create; its own have changes of their own."""
        (child,) = children(SPEC.name)
        theirs = _others_destinations(snapshot, live)
        return {child.parent_key: theirs} if theirs else {}

    def execution(
        self, snapshot: Snapshot, desired: Desired | None, live: Observed | None, full: Document
    ) -> dict[str, Any]:
        if desired is None:
            return {"destinations": _destinations(snapshot, live)} if live is not None else {}
        return {"tracking_ready": _tracking_ready(snapshot, desired.region or "", full)}

    def waits_for_verification(self, change: Change, key: str) -> str | None:
        if key != OPTIONS or change.execution.get("tracking_ready"):
            return None
        puts = (change.execution.get("puts") or {}) if change.action != "create" else change.after
        return _redirect(puts or {})

    def before_delete(self, rt: Runtime, change: Change) -> None:
        """Only with the destinations that the plan has shown (name -> digest), and no others."""
        region, name = self._place(change)
        shown = change.execution.get("destinations") or {}
        there = destinations.KIND.read_set(rt.aws, region, name)
        moved = sorted(one.name for one in there if shown.get(one.name) != one.digest)
        if moved:
            raise Stale(
                f"{change.address} was left alone: its event destinations changed since the plan: {', '.join(moved)}",
                hint="somebody else is editing it: plan again and review",
            )


def _redirect(spec: Mapping[str, Any]) -> str | None:
    domain = (spec.get(OPTIONS) or {}).get("custom_redirect_domain")
    return str(domain) if domain else None


def _destinations(snapshot: Snapshot, live: Observed) -> dict[str, str]:
    """The digests of the live event destinations of a set, by name."""
    (child,) = children(SPEC.name)
    prefix = child.address_of(str(live.region), live.name, "")
    return {o.name: o.digest for address, o in snapshot.observed.items() if address.startswith(prefix)}


def _others_destinations(snapshot: Snapshot, live: Observed) -> list[str]:
    return sorted(_destinations(snapshot, live).keys() - unpack(live.tags, DESTINATIONS))


def _strands(draft: PlanDraft, live: Observed) -> bool:
    """True, and said, where a change would make the set forget a tracking record of ours that cannot be seen now."""
    names = sorted(published(live.tags, _redirect(live.spec)))
    domain = next(filter(draft.snapshot.zone_unread, names), "")
    hidden = draft.snapshot.zone_unread(domain) if domain else None
    if hidden is None:
        return False
    draft.say(
        "warning",
        "zone-unread",
        f"{live.address} is left as it is: the record of {domain} could not be read, and would be left behind",
        hint=hidden.hint,
        address=live.address,
    )
    return True


def _tracking_ready(snapshot: Snapshot, region: str, spec: Mapping[str, Any]) -> bool:
    """Whether SES already has a verified domain identity at or above the tracking domain (else the put is refused)."""
    domain = _redirect(spec)
    if not domain:
        return True
    covering = snapshot.covering
    for name in covering_names(str(domain)):
        address = f"email_identity/{region}/{name}"
        desired, live = snapshot.desired.get(address), snapshot.observed.get(address)
        if live is not None and desired is None and snapshot.owns(live):
            continue  # This plan deletes it.
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
        stays = live is not None and not snapshot.owns(live)
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


KIND = ConfigurationSet(SPEC)
