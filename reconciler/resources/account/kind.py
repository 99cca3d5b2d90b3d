"""The settings of the account: what GetAccount leaves out is not what it gives to a new account.

Source: SES API v2 reference, GetAccount, PutAccountSuppressionAttributes and PutAccountVdmAttributes: a put replaces
its whole block, and without reasons nothing is suppressed any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError
from reconciler.kinds.plain import PlainKind, Request
from reconciler.kinds.plan_draft import PlanDraft
from reconciler.kinds.ses_accounts import account_in
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Change, Desired, FieldDiff, Note, Observed
from reconciler.resources.account import SPEC
from reconciler.resources.spec import at_path

if TYPE_CHECKING:
    from reconciler.aws import Aws

VDM = "vdm_attributes"
BELOW_VDM = ("dashboard_attributes.engagement_metrics", "guardian_attributes.optimized_shared_delivery")
VALIDATION = "suppression_attributes.validation_attributes.condition_threshold.condition_threshold_enabled"


class Account(PlainKind):
    def got(self, aws: Aws, region: str, name: str, snapshot: Snapshot | None) -> Mapping[str, Any] | None:
        if snapshot is None:
            return super().got(aws, region, name, snapshot)
        answer = account_in(aws, snapshot, region)
        if isinstance(answer, AwsError):
            raise answer
        return answer

    def observed_fields(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of GetAccount. Reasons that it leaves out suppress nothing: they are not those of a new account;
        a mode that it leaves out is not known."""
        found = super().observed_fields(body)
        if not (body.get("SuppressionAttributes") or {}).get("SuppressedReasons"):
            found["suppression_attributes"]["suppressed_reasons"] = []
        if not (body.get("DeliveryAttributes") or {}).get("SharedPoolDeliveryMode"):
            found["delivery_attributes"]["shared_pool_delivery_mode"] = None
        return found

    def allowed(self, draft: PlanDraft, desired: Desired, live: Observed | None, diff: Sequence[FieldDiff]) -> bool:
        """Refuse what SES shows only while the Virtual Deliverability Manager is on: it would differ for ever."""
        wanted = desired.spec.get(VDM) or {}
        if live is not None and wanted.get("vdm_enabled", live.spec[VDM]["vdm_enabled"]) != "ENABLED":
            for path in [path for path in BELOW_VDM if at_path(wanted, path) == "ENABLED"]:
                draft.refuse(
                    "vdm-off", f"{desired.address}: {path} needs the Virtual Deliverability Manager, which is off",
                    hint="write `vdm_enabled: ENABLED` beside it, or take it out",
                    address=desired.address, source=desired.source_of(f"{VDM}.{path}"),
                )  # fmt: skip
        return True

    def notes(self, snapshot: Snapshot, desired: Desired, live: Observed | None) -> tuple[Note, ...]:
        if live is None:
            return ()
        found = []

        def becomes(path: str, value: Any) -> bool:
            return bool(at_path(desired.spec, path) == value != at_path(live.spec, path))

        if becomes(f"{VDM}.vdm_enabled", "ENABLED"):
            found.append(Note("costs", "note", "AWS charges for the Virtual Deliverability Manager by message"))
        if becomes(VALIDATION, "ENABLED"):
            found.append(Note("costs", "note", "AWS charges for Auto Validation by recipient that is checked"))
        if becomes(f"{VDM}.{BELOW_VDM[0]}", "ENABLED"):
            found.append(Note("links-rewritten", "note", "SES rewrites links and adds a pixel to messages"))
        if becomes(f"{VDM}.{BELOW_VDM[1]}", "ENABLED"):
            found.append(Note("delivery-delayed", "note", "SES may delay messages from shared IP addresses"))
        if becomes("suppression_attributes.suppressed_reasons", []):
            message = "SES suppresses nobody any more: mail goes to addresses that bounced or complained"
            found.append(Note("account-suppression-off", "warning", message))
        return tuple(found)

    def requests(self, change: Change, key: str, value: Any) -> Iterable[Request]:
        if key == "dedicated_ip_auto_warmup_enabled":
            yield SPEC.fields[key].put, {"AutoWarmupEnabled": bool(value)}
            return
        yield from super().requests(change, key, value)


KIND = Account(SPEC)
