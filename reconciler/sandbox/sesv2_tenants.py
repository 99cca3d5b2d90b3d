"""Amazon SES, API v2: tags, and tenants with their associations.

Source: SES API v2 reference; Developer Guide "Tenants".
"""

from __future__ import annotations

import re
from typing import Any

from botocore import xform_name

from reconciler.sandbox import plain
from reconciler.sandbox.protocol import Params, page
from reconciler.sandbox.ses_state import SesState, Tenant, Verifier, bad, exists, merge_tags, missing
from reconciler.sandbox.world import Call, World, moment, tag_list


class Tenants:
    """The half of API v2 that is about tags and tenants; ``SesV2`` adds identities and the account.

    The operations of the plain kinds are methods of an instance, too; ``plain`` has them by name.
    """

    def __init__(self, world: World, verifier: Verifier) -> None:
        self.world = world
        self.verifier = verifier
        self.plain = plain.operations(verifier)
        for name, operation in self.plain.items():
            setattr(self, xform_name(name), operation)

    def _state(self, call: Call) -> SesState:
        return self.world.state(call, "ses", SesState)

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
        elif kind == "tenant":
            found = state.tenants.get(name.partition("/")[0])
        elif noun := next((p.noun for p in plain.plains() if p.arn == kind), ""):
            found = state.of(noun).get(name)
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
        if _type(params["ResourceArn"]) is None:
            raise bad(f"The resource <{params['ResourceArn']}> cannot be associated with a tenant.")
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
        rows = [{"ResourceType": _type(arn), "ResourceArn": arn} for arn in sorted(tenant.resources)]
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


def _type(arn: str) -> str | None:
    """The ResourceType of an associated resource; None for what takes no association."""
    types = {"identity": "EMAIL_IDENTITY"} | {p.arn: p.tenant for p in plain.plains() if p.tenant}
    return types.get(arn.split(":", 5)[5].partition("/")[0])


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
