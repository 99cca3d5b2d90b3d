"""Amazon SES, API v2: configuration sets, event destinations, dedicated IP pools, tenants.

Every Put...Options call replaces its whole block: a field left out is AWS's default afterwards, as for
``SendingEnabled``, which is false when left out (v1 reference, UpdateConfigurationSetSendingEnabled).

Source: SES API v2 reference; Developer Guide "Event destinations", "Assigning IP pools", "Service quotas".
"""

from __future__ import annotations

import re
from typing import Any, Final

from reconciler.sandbox.protocol import Params, page
from reconciler.sandbox.ses_state import (
    ConfigurationSet,
    Pool,
    SesState,
    Tenant,
    Verifier,
    bad,
    exists,
    merge_tags,
    missing,
    over_limit,
)
from reconciler.sandbox.world import Call, World, moment, tag_list

MAX_SETS: Final = 10_000
MAX_DESTINATIONS: Final = 10
MAX_DIMENSIONS: Final = 10
MAX_POOLS: Final = 50
LIST_PAGE: Final = 1000
BUILT_IN_POOLS: Final = frozenset({"ses-shared-pool", "ses-default-dedicated-pool"})
DESTINATION_KINDS: Final = (
    "KinesisFirehoseDestination", "CloudWatchDestination", "SnsDestination", "EventBridgeDestination",
    "PinpointDestination",
)  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_POOL_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_DIMENSION_NAME = re.compile(r"[A-Za-z0-9_:-]{1,255}")
_DIMENSION_VALUE = re.compile(r"[A-Za-z0-9_.@-]{1,255}")


class Sets:
    """The half of API v2 that is about configuration sets and pools; ``SesV2`` adds identities and the account."""

    def __init__(self, world: World, verifier: Verifier) -> None:
        self.world = world
        self.verifier = verifier

    def _state(self, call: Call) -> SesState:
        return self.world.state(call, "ses", SesState)

    def _set(self, call: Call, name: str) -> ConfigurationSet:
        found = self._state(call).sets.get(name)
        if found is None:
            raise missing(f"Configuration set <{name}> does not exist.")
        return found

    def _refuse_if_tenant(self, call: Call, state: SesState, resource: str) -> None:
        """Developer Guide "Tenants": what is tied to a tenant cannot be deleted."""
        arn = call.arn("ses", resource)
        if any(arn in tenant.resources for tenant in state.tenants.values()):
            raise bad(f"The resource <{arn}> is associated with a tenant and cannot be deleted.")

    # --- configuration sets ----------------------------------------------------------------------------------------

    def create_configuration_set(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["ConfigurationSetName"]
        if not _NAME.fullmatch(name):
            raise bad(f"Configuration set name <{name}> is not valid: 1 to 64 letters, digits, hyphens, underscores.")
        if name in state.sets:
            raise exists(f"Configuration set <{name}> already exists.")
        if len(state.sets) >= MAX_SETS:
            raise over_limit(f"You can have at most {MAX_SETS} configuration sets in a region.")
        made = ConfigurationSet(
            name,
            delivery=self._delivery(state, params.get("DeliveryOptions", {})),
            reputation={"ReputationMetricsEnabled": self.world.settings.doubt_reputation_metrics_default},
            tags=merge_tags({}, params.get("Tags", [])),
        )
        if "ReputationOptions" in params:
            made.reputation = {
                "ReputationMetricsEnabled": params["ReputationOptions"].get("ReputationMetricsEnabled", False)
            }
        if "SendingOptions" in params:
            made.sending = params["SendingOptions"].get("SendingEnabled", False)
        if "TrackingOptions" in params:
            made.tracking = self._tracking(call, state, params["TrackingOptions"])
        if "SuppressionOptions" in params:
            made.suppression = _suppression(params["SuppressionOptions"])
        if "VdmOptions" in params:
            made.vdm = params["VdmOptions"]
        if params.get("ArchivingOptions", {}).get("ArchiveArn"):
            made.archiving = params["ArchivingOptions"]
        if "MessageSecurityOptions" in params:
            made.security = params["MessageSecurityOptions"]
        state.sets[name] = made
        return {}

    def get_configuration_set(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        delivery = found.delivery
        if delivery is None and self.world.settings.doubt_delivery_options_shown:
            delivery = {"TlsPolicy": "OPTIONAL"}
        return {
            "ConfigurationSetName": found.name,
            "TrackingOptions": found.tracking,
            "DeliveryOptions": delivery,
            "ReputationOptions": found.reputation,
            "SendingOptions": {"SendingEnabled": found.sending},
            "Tags": tag_list(found.tags),
            "SuppressionOptions": found.suppression,
            "VdmOptions": found.vdm,
            "ArchivingOptions": found.archiving,
            "MessageSecurityOptions": found.security,
        }

    def delete_configuration_set(self, call: Call, params: Params) -> Params:
        """A set that is still some identity's default may go; sends through it fail afterwards (Developer Guide,
        "Understanding default configuration sets")."""
        state, name = self._state(call), params["ConfigurationSetName"]
        self._set(call, name)
        self._refuse_if_tenant(call, state, f"configuration-set/{name}")
        del state.sets[name]
        return {}

    def list_configuration_sets(self, call: Call, params: Params) -> Params:
        names = sorted(self._state(call).sets)
        for value in (params.get("Filter") or {}).values():
            names = [name for name in names if value.lower() in name.lower()]
        chosen, token = page(names, params.get("NextToken"), params.get("PageSize"), LIST_PAGE)
        return {"ConfigurationSets": chosen, "NextToken": token}

    def update_configuration_set(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        if "MessageSecurityOptions" in params:
            found.security = params["MessageSecurityOptions"]
        return {}

    @staticmethod
    def _delivery(state: SesState, given: Params) -> dict[str, Any] | None:
        """The block as it is stored: None when nothing in it is set, else with TlsPolicy filled in."""
        pool = given.get("SendingPoolName")
        if pool is not None and pool not in state.pools and pool not in BUILT_IN_POOLS:
            raise bad(f"Dedicated IP pool <{pool}> does not exist.")
        block: dict[str, Any] = {
            k: given[k] for k in ("TlsPolicy", "SendingPoolName", "MaxDeliverySeconds") if k in given
        }
        return {"TlsPolicy": "OPTIONAL", **block} if block else None

    def put_configuration_set_delivery_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        found.delivery = self._delivery(self._state(call), params)
        return {}

    def put_configuration_set_reputation_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        enabled = params.get("ReputationMetricsEnabled", False)
        if enabled and not found.reputation["ReputationMetricsEnabled"]:
            found.reputation["LastFreshStart"] = moment(call.now)
        found.reputation["ReputationMetricsEnabled"] = enabled
        return {}

    def put_configuration_set_sending_options(self, call: Call, params: Params) -> Params:
        self._set(call, params["ConfigurationSetName"]).sending = params.get("SendingEnabled", False)
        return {}

    def put_configuration_set_suppression_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        found.suppression = _suppression(params)
        return {}

    def _tracking(self, call: Call, state: SesState, given: Params) -> dict[str, str] | None:
        """The domain must be, or lie below, a verified domain identity (probed behaviour, see the tests)."""
        domain, policy = given.get("CustomRedirectDomain"), given.get("HttpsPolicy")
        if not domain:
            if policy:
                raise bad("HttpsPolicy needs a CustomRedirectDomain.")
            return None
        identity = state.covering(domain)
        if identity is None or self.verifier.status(identity, call.now) != "SUCCESS":
            raise bad(f"Domain <{domain}> is not verified for this account.")
        return {"CustomRedirectDomain": domain, "HttpsPolicy": policy or "OPTIONAL"}

    def put_configuration_set_tracking_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        found.tracking = self._tracking(call, self._state(call), params)
        return {}

    def put_configuration_set_vdm_options(self, call: Call, params: Params) -> Params:
        self._set(call, params["ConfigurationSetName"]).vdm = params.get("VdmOptions") or None
        return {}

    def put_configuration_set_archiving_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        found.archiving = {"ArchiveArn": params["ArchiveArn"]} if params.get("ArchiveArn") else None
        return {}

    # --- event destinations ----------------------------------------------------------------------------------------

    def _destination(self, call: Call, name: str, given: Params) -> dict[str, Any]:
        """A checked definition in the form in which it is returned. Raises: ApiError."""
        kinds = [kind for kind in DESTINATION_KINDS if kind in given]
        if len(kinds) != 1:
            raise bad("An event destination must have exactly one of " + ", ".join(DESTINATION_KINDS) + ".")
        kind, events = kinds[0], given.get("MatchingEventTypes", [])
        if not events:
            raise bad("MatchingEventTypes must not be empty.")
        body = given[kind]
        if kind == "CloudWatchDestination":
            dimensions = body["DimensionConfigurations"]
            names = [d["DimensionName"] for d in dimensions]
            if not 1 <= len(dimensions) <= MAX_DIMENSIONS or len(set(names)) != len(names):
                raise bad(f"A CloudWatch destination needs 1 to {MAX_DIMENSIONS} dimensions of different names.")
            for dimension in dimensions:
                if not _DIMENSION_NAME.fullmatch(dimension["DimensionName"]):
                    raise bad(f"Dimension name <{dimension['DimensionName']}> is not valid.")
                if not _DIMENSION_VALUE.fullmatch(dimension["DefaultDimensionValue"]):
                    raise bad(f"Default dimension value <{dimension['DefaultDimensionValue']}> is not valid.")
            body = {"DimensionConfigurations": sorted(dimensions, key=lambda d: d["DimensionName"])}
        elif kind == "SnsDestination":
            self._check_arn(call, body["TopicArn"], "sns")
            if self.world.settings.check_targets and not _topic_exists(body["TopicArn"]):
                raise bad(f"SNS topic <{body['TopicArn']}> does not exist.")
        elif kind == "KinesisFirehoseDestination":
            self._check_arn(call, body["DeliveryStreamArn"], "firehose")
            if not re.fullmatch(r"arn:[a-z-]+:iam::\d{12}:role/.+", body["IamRoleArn"]):
                raise bad(f"IAM role ARN <{body['IamRoleArn']}> is not valid.")
        elif kind == "EventBridgeDestination":
            self._check_arn(call, body["EventBusArn"], "events")
            if not body["EventBusArn"].endswith(":event-bus/default"):
                raise bad("Only the default event bus can be an EventBridge destination.")
        elif set(events) & {"DELIVERY_DELAY", "SUBSCRIPTION"}:
            raise bad("A Pinpoint destination does not take DELIVERY_DELAY or SUBSCRIPTION events.")
        # AWS promises no order of the events; sorted, so that a caller cannot rely on its own.
        return {
            "Name": name, "Enabled": given.get("Enabled", False), "MatchingEventTypes": sorted(set(events)), kind: body,
        }  # fmt: skip

    @staticmethod
    def _check_arn(call: Call, arn: str, service: str) -> None:
        match = re.fullmatch(rf"arn:[a-z-]+:{service}:([a-z0-9-]+):\d{{12}}:.+", arn)
        if match is None:
            raise bad(f"<{arn}> is not a valid {service} ARN.")
        if match.group(1) != call.region:
            raise bad(f"<{arn}> must be in the region {call.region}.")

    def create_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        found, name = self._set(call, params["ConfigurationSetName"]), params["EventDestinationName"]
        if not _NAME.fullmatch(name):
            raise bad(f"Event destination name <{name}> is not valid.")
        if name in found.destinations:
            raise exists(f"Event destination <{name}> already exists in configuration set <{found.name}>.")
        if len(found.destinations) >= MAX_DESTINATIONS:
            raise over_limit(f"A configuration set can have at most {MAX_DESTINATIONS} event destinations.")
        found.destinations[name] = self._destination(call, name, params["EventDestination"])
        return {}

    def update_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        found, name = self._set(call, params["ConfigurationSetName"]), params["EventDestinationName"]
        if name not in found.destinations:
            raise missing(f"Event destination <{name}> does not exist in configuration set <{found.name}>.")
        found.destinations[name] = self._destination(call, name, params["EventDestination"])
        return {}

    def delete_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        found, name = self._set(call, params["ConfigurationSetName"]), params["EventDestinationName"]
        if found.destinations.pop(name, None) is None:
            raise missing(f"Event destination <{name}> does not exist in configuration set <{found.name}>.")
        return {}

    def get_configuration_set_event_destinations(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        return {"EventDestinations": [found.destinations[name] for name in sorted(found.destinations)]}

    # --- dedicated IP pools ----------------------------------------------------------------------------------------

    def _pool(self, call: Call, name: str) -> Pool:
        found = self._state(call).pools.get(name)
        if found is None:
            raise missing(f"Dedicated IP pool <{name}> does not exist.")
        return found

    def create_dedicated_ip_pool(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["PoolName"]
        if not _POOL_NAME.fullmatch(name) or name in BUILT_IN_POOLS:
            raise bad(f"Pool name <{name}> is not valid: 1 to 64 lower case letters, digits, hyphens, underscores.")
        if name in state.pools:
            raise exists(f"Dedicated IP pool <{name}> already exists.")
        if len(state.pools) >= MAX_POOLS:
            raise over_limit(f"You can have at most {MAX_POOLS} dedicated IP pools in a region.")
        state.pools[name] = Pool(name, params.get("ScalingMode", "STANDARD"), merge_tags({}, params.get("Tags", [])))
        return {}

    def get_dedicated_ip_pool(self, call: Call, params: Params) -> Params:
        found = self._pool(call, params["PoolName"])
        return {"DedicatedIpPool": {"PoolName": found.name, "ScalingMode": found.scaling}}

    def delete_dedicated_ip_pool(self, call: Call, params: Params) -> Params:
        """No AWS text says what becomes of a pool in use; the sandbox refuses, so that a tool must detach first."""
        state, name = self._state(call), params["PoolName"]
        self._pool(call, name)
        users = sorted(s.name for s in state.sets.values() if (s.delivery or {}).get("SendingPoolName") == name)
        if users:
            raise bad(f"Dedicated IP pool <{name}> is used by configuration sets: {', '.join(users)}.")
        if any(ip.pool == name for ip in state.ips.values()):
            raise bad(f"Dedicated IP pool <{name}> still holds dedicated IP addresses.")
        del state.pools[name]
        return {}

    def list_dedicated_ip_pools(self, call: Call, params: Params) -> Params:
        names = sorted(self._state(call).pools)
        chosen, token = page(names, params.get("NextToken"), params.get("PageSize"), LIST_PAGE)
        return {"DedicatedIpPools": chosen, "NextToken": token}

    def put_dedicated_ip_pool_scaling_attributes(self, call: Call, params: Params) -> Params:
        found = self._pool(call, params["PoolName"])
        if found.scaling == "MANAGED" and params["ScalingMode"] == "STANDARD":
            raise bad("A managed dedicated IP pool cannot be converted to a standard pool.")
        found.scaling = params["ScalingMode"]
        return {}

    def get_dedicated_ips(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params.get("PoolName")
        if name is not None and name not in BUILT_IN_POOLS:
            self._pool(call, name)
        rows = [_ip(state, ip) for ip in sorted(state.ips) if name is None or state.ips[ip].pool == name]
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize"), LIST_PAGE)
        return {"DedicatedIps": chosen, "NextToken": token}

    def get_dedicated_ip(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        if params["Ip"] not in state.ips:
            raise missing(f"Dedicated IP <{params['Ip']}> does not exist.")
        return {"DedicatedIp": _ip(state, params["Ip"])}

    def put_dedicated_ip_in_pool(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        if params["Ip"] not in state.ips:
            raise missing(f"Dedicated IP <{params['Ip']}> does not exist.")
        if params["DestinationPoolName"] != "ses-default-dedicated-pool":
            pool = self._pool(call, params["DestinationPoolName"])
            if pool.scaling == "MANAGED":
                raise bad("Dedicated IP addresses cannot be moved to a managed pool.")
        state.ips[params["Ip"]].pool = params["DestinationPoolName"]
        return {}

    def put_dedicated_ip_warmup_attributes(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        if params["Ip"] not in state.ips:
            raise missing(f"Dedicated IP <{params['Ip']}> does not exist.")
        ip = state.ips[params["Ip"]]
        ip.warmup_percentage = params["WarmupPercentage"]
        ip.warmup_status = "DONE" if ip.warmup_percentage == 100 else "IN_PROGRESS"
        return {}

    # --- tags ------------------------------------------------------------------------------------------------------

    def _tagged(self, call: Call, arn: str) -> Any:
        """The resource (with ``tags``) behind an ARN of this account and region."""
        match = re.fullmatch(r"arn:[a-z-]+:ses:([a-z0-9-]+):(\d{12}):([a-z-]+)/(.+)", arn)
        if match is None or match.group(1) != call.region or match.group(2) != call.account:
            raise bad(f"The resource ARN <{arn}> is not valid.")
        state, kind, name = self._state(call), match.group(3), match.group(4)
        found: Any = None
        if kind == "identity":
            found = state.find(name)
        elif kind == "configuration-set":
            found = state.sets.get(name)
        elif kind == "dedicated-ip-pool":
            found = state.pools.get(name)
        elif kind == "tenant":
            found = state.tenants.get(name.partition("/")[0])
        if found is None:
            raise missing(f"The resource <{arn}> does not exist.")
        return found

    def tag_resource(self, call: Call, params: Params) -> Params:
        resource = self._tagged(call, params["ResourceArn"])
        resource.tags = merge_tags(resource.tags, params["Tags"])
        return {}

    def untag_resource(self, call: Call, params: Params) -> Params:
        resource = self._tagged(call, params["ResourceArn"])
        for key in params["TagKeys"]:
            resource.tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, call: Call, params: Params) -> Params:
        return {"Tags": tag_list(self._tagged(call, params["ResourceArn"]).tags)}

    # --- tenants ---------------------------------------------------------------------------------------------------

    def _tenant(self, call: Call, name: str) -> Tenant:
        found = self._state(call).tenants.get(name)
        if found is None:
            raise missing(f"Tenant <{name}> does not exist.")
        return found

    def create_tenant(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["TenantName"]
        if name in state.tenants:
            raise exists(f"Tenant <{name}> already exists.")
        tenant = Tenant(name, "tn-" + self.world.token(20, "0123456789abcdef"), call.now)
        tenant.tags = merge_tags({}, params.get("Tags", []))
        tenant.suppression = params.get("SuppressionAttributes")
        state.tenants[name] = tenant
        return _tenant_view(call, tenant, whole=True)

    def get_tenant(self, call: Call, params: Params) -> Params:
        return {"Tenant": _tenant_view(call, self._tenant(call, params["TenantName"]), whole=True)}

    def delete_tenant(self, call: Call, params: Params) -> Params:
        """Deleting a tenant keeps its resources (API reference, DeleteTenant)."""
        self._tenant(call, params["TenantName"])
        del self._state(call).tenants[params["TenantName"]]
        return {}

    def list_tenants(self, call: Call, params: Params) -> Params:
        tenants = self._state(call).tenants
        rows = [_tenant_view(call, tenants[name], whole=False) for name in sorted(tenants)]
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize"), 100)
        return {"Tenants": chosen, "NextToken": token}

    def create_tenant_resource_association(self, call: Call, params: Params) -> Params:
        tenant = self._tenant(call, params["TenantName"])
        self._tagged(call, params["ResourceArn"])
        if params["ResourceArn"] in tenant.resources:
            raise exists(f"<{params['ResourceArn']}> is already associated with tenant <{tenant.name}>.")
        tenant.resources.add(params["ResourceArn"])
        return {}

    def delete_tenant_resource_association(self, call: Call, params: Params) -> Params:
        tenant = self._tenant(call, params["TenantName"])
        if params["ResourceArn"] not in tenant.resources:
            raise missing(f"<{params['ResourceArn']}> is not associated with tenant <{tenant.name}>.")
        tenant.resources.discard(params["ResourceArn"])
        return {}

    def list_tenant_resources(self, call: Call, params: Params) -> Params:
        tenant = self._tenant(call, params["TenantName"])
        kinds = {"identity": "EMAIL_IDENTITY", "configuration-set": "CONFIGURATION_SET"}
        rows = [
            {"ResourceType": kinds[arn.split(":", 5)[5].partition("/")[0]], "ResourceArn": arn}
            for arn in sorted(tenant.resources)
        ]
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize"), 100)
        return {"TenantResources": chosen, "NextToken": token}

    def list_resource_tenants(self, call: Call, params: Params) -> Params:
        arn = params["ResourceArn"]
        rows = [
            {"TenantName": t.name, "TenantId": t.id, "ResourceArn": arn, "AssociatedTimestamp": moment(t.created)}
            for t in self._state(call).tenants.values()
            if arn in t.resources
        ]
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize"), 100)
        return {"ResourceTenants": chosen, "NextToken": token}


def _suppression(given: Params) -> dict[str, Any] | None:
    """The block from what was sent: no field at all means the account's rule, an empty list means no suppression."""
    block: dict[str, Any] = {
        k: given[k] for k in ("SuppressedReasons", "SuppressionScope", "ValidationOptions") if k in given
    }
    if "SuppressedReasons" in block:
        block["SuppressedReasons"] = sorted(set(block["SuppressedReasons"]))
    return block or None


def _ip(state: SesState, ip: str) -> dict[str, Any]:
    found = state.ips[ip]
    pool = state.pools.get(found.pool)
    managed = pool is not None and pool.scaling == "MANAGED"
    return {
        "Ip": ip, "PoolName": found.pool,
        "WarmupStatus": "NOT_APPLICABLE" if managed else found.warmup_status,
        "WarmupPercentage": -1 if managed else found.warmup_percentage,
    }  # fmt: skip


def _tenant_view(call: Call, tenant: Tenant, *, whole: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "TenantName": tenant.name, "TenantId": tenant.id, "CreatedTimestamp": moment(tenant.created),
        "TenantArn": call.arn("ses", f"tenant/{tenant.name}/{tenant.id}"), "SendingStatus": "ENABLED",
    }  # fmt: skip
    if whole:
        shown["Tags"] = tag_list(tenant.tags)
        if tenant.suppression:
            shown["SuppressionAttributes"] = tenant.suppression
    return shown


def _topic_exists(arn: str) -> bool:
    from moto.sns.models import sns_backends

    _, _, _, region, account, _ = arn.split(":", 5)
    return arn in sns_backends[account][region].topics
