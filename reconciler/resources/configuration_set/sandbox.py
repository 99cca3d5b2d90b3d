"""Configuration sets.

Every Put...Options call replaces its whole block: a field left out is AWS's default afterwards, as for
``SendingEnabled``, which is false when left out (v1 reference, UpdateConfigurationSetSendingEnabled). A set that is
some identity's default can be deleted; sends through it fail afterwards (Developer Guide, "Understanding default
configuration sets").

Source: SES API v2 reference; Developer Guide "Service quotas".
"""

from collections.abc import Sequence

from reconciler.sandbox.plain import Context, Listed, Plain, of_noun
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import Item, bad
from reconciler.sandbox.world import moment


def delivery(context: Context, given: Params, before: Params | None) -> Params | None:
    """None when nothing in the block is set, else with TlsPolicy filled in. The mode of the shared pool alone is kept
    where a put leaves it out; ACCOUNT, the account's own, is that of a new set."""
    pool = given.get("SendingPoolName")
    pools = context.state.of("DedicatedIpPool").keys() | of_noun("DedicatedIpPool").reserved
    if pool is not None and pool not in pools:
        raise bad(f"Dedicated IP pool <{pool}> does not exist.")
    rest = {member: value for member, value in given.items() if member != "SharedPoolDeliveryMode"}
    mode = given.get("SharedPoolDeliveryMode", (before or {}).get("SharedPoolDeliveryMode", "ACCOUNT"))
    kept = {**rest, **({"SharedPoolDeliveryMode": mode} if mode != "ACCOUNT" else {})}
    return {"TlsPolicy": "OPTIONAL", **kept} if kept else None


def reputation(context: Context, given: Params, before: Params | None) -> Params:
    """Whether a new set has metrics is a setting of the sandbox, since AWS's pages contradict each other."""
    doubt = before is None and context.call.world.settings.doubt_reputation_metrics_default
    enabled = given.get("ReputationMetricsEnabled", doubt)
    starts = before is not None and enabled and not before["ReputationMetricsEnabled"]
    fresh = {"LastFreshStart": moment(context.call.now)} if starts else {}
    return {**(before or {}), **fresh, "ReputationMetricsEnabled": enabled}


def sending(context: Context, given: Params, before: Params | None) -> Params:
    return {"SendingEnabled": given.get("SendingEnabled", False)}


def suppression(context: Context, given: Params, before: Params | None) -> Params | None:
    """No field at all means the account's rule, an empty list means no suppression."""
    reasons = {k: list(dict.fromkeys(v)) for k, v in given.items() if k == "SuppressedReasons"}
    return {**given, **reasons} or None


def tracking(context: Context, given: Params, before: Params | None) -> Params | None:
    """The domain must be, or lie below, a verified domain identity (probed behaviour, see the tests)."""
    domain, policy = given.get("CustomRedirectDomain"), given.get("HttpsPolicy")
    if not domain:
        if policy:
            raise bad("HttpsPolicy needs a CustomRedirectDomain.")
        return None
    identity = context.state.covering(domain)
    if identity is None or context.verifier.status(identity, context.call.now) != "SUCCESS":
        raise bad(f"Domain <{domain}> is not verified for this account.")
    return {"CustomRedirectDomain": domain, "HttpsPolicy": policy or "OPTIONAL"}


def or_none(context: Context, given: Params, before: Params | None) -> Params | None:
    return given if any(given.values()) else None


def shown(context: Context, item: Item) -> Params:
    """Whether DeliveryOptions is there while nothing in it was set is a setting of the sandbox."""
    doubt = context.call.world.settings.doubt_delivery_options_shown and "DeliveryOptions" not in item.body
    return {"DeliveryOptions": {"TlsPolicy": "OPTIONAL"}} if doubt else {}


def containing(context: Context, sets: Sequence[Item], params: Params) -> Sequence[Item]:
    parts = [part.lower() for part in (params.get("Filter") or {}).values()]
    return [s for s in sets if all(part in s.name.lower() for part in parts)]


MEMBERS = {
    "DeliveryOptions": delivery, "ReputationOptions": reputation, "SendingOptions": sending,
    "SuppressionOptions": suppression, "TrackingOptions": tracking, "VdmOptions": or_none, "ArchivingOptions": or_none,
}  # fmt: skip
PLAIN = Plain(
    noun="ConfigurationSet", key="ConfigurationSetName", words="configuration set", arn="configuration-set",
    tenant="CONFIGURATION_SET", listed=Listed("ListConfigurationSets", "ConfigurationSets", select=containing),
    quota=10_000, members=MEMBERS, puts={f"PutConfigurationSet{member}": member for member in MEMBERS}, show=shown,
    defaults={"ReputationOptions": {}, "SendingOptions": {"SendingEnabled": True}},
    invalid=("BadRequestException",
             "Configuration set name <{name}> is not valid: 1 to 64 letters, digits, hyphens, underscores."),
)  # fmt: skip
