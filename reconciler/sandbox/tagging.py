"""Resource Groups Tagging API: SES resources and hosted zones by tag; other services' resources come from moto.

Hosted zones are global and reported in us-east-1 alone. Only resources that carry a tag are returned.

Source: Resource Groups Tagging API reference, GetResources, TagResources.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from reconciler.sandbox.iam_state import IamState
from reconciler.sandbox.kept import services
from reconciler.sandbox.plain import plains
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.route53 import Route53
from reconciler.sandbox.route53 import State as Route53State
from reconciler.sandbox.ses_state import SesState
from reconciler.sandbox.sesv2 import SesV2
from reconciler.sandbox.world import Call, World, tag_list

PAGE: Final = 50
MAX_PAGE: Final = 100
OURS: Final = frozenset({"ses", "route53", "iam", *(service.name for service in services())})
"""Namespaces in moto that hold nothing, as the sandbox has its own."""


class Tagging:
    """The operations; one instance serves all accounts and regions."""

    name = "resourcegroupstaggingapi"

    def __init__(self, world: World, ses: SesV2, route53: Route53) -> None:
        self.world = world
        self.ses = ses
        self.route53 = route53

    def _resources(self, call: Call) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """(ARN, type, tags) of everything tagged in the caller's account and region."""
        key = ("ses", call.account, call.region)
        if key in self.world.states:
            state: SesState = self.world.tagged("ses", call, call.region)
            groups: list[tuple[str, Mapping[str, Any]]] = [("identity", state.identities)]
            groups += [(plain.arn, state.of(plain.noun)) for plain in plains() if plain.arn]
            base = call.arn("ses", "")
            for kind, group in groups:
                for resource in group.values():
                    if resource.tags:
                        yield f"{base}{kind}/{resource.name}", f"ses:{kind}", resource.tags
            for tenant in state.tenants.values():
                yield f"{base}tenant/{tenant.name}/{tenant.id}", "ses:tenant", tenant.tags
        for service in services():
            yield from service(self.world).all_tagged(call)
        zones_here = call.region == "us-east-1" or call.partition != "aws"
        if zones_here and ("iam", call.account, "") in self.world.states:
            people: IamState = self.world.tagged("iam", call, "")
            for profile in people.profiles.values():
                arn = call.arn("iam", f"instance-profile{profile.path}{profile.name}", "")
                yield arn, "iam:instance-profile", profile.tags
        if zones_here and ("route53", call.account, "") in self.world.states:
            zones: Route53State = self.world.tagged("route53", call, "")
            for zone in zones.zones.values():
                if zone.tags:
                    yield f"arn:{call.partition}:route53:::hostedzone/{zone.id}", "route53:hostedzone", zone.tags
        if "moto.core.resource_tagging" in sys.modules:
            from moto.core.resource_tagging import iter_taggable_backends

            for backend in iter_taggable_backends(call.account, call.region):
                if backend.SERVICE_NAMESPACE not in OURS:
                    for found in backend.iter_tagged_resources():
                        yield found.arn, found.resource_type, found.tags

    def get_resources(self, call: Call, params: Params) -> Params:
        if "ResourceARNList" in params and (params.keys() & {"TagFilters", "ResourceTypeFilters", "ResourcesPerPage"}):
            raise ApiError("InvalidParameterException", "ResourceARNList cannot be used with filters or paging.", 400)
        size = params.get("ResourcesPerPage", PAGE)
        if not 1 <= size <= MAX_PAGE:
            raise ApiError("InvalidParameterException", f"ResourcesPerPage must be from 1 to {MAX_PAGE}.", 400)
        kinds, arns = params.get("ResourceTypeFilters", []), params.get("ResourceARNList")
        fits = _tag_filter(params.get("TagFilters", []))
        rows = [
            (arn, tags)
            for arn, kind, tags in self._resources(call)
            if tags
            and (not kinds or kind in kinds or kind.partition(":")[0] in kinds)
            and (arns is None or arn in arns)
            and fits(tags)
        ]
        rows.sort(key=lambda row: row[0])
        try:
            chosen, token = page(rows, params.get("PaginationToken"), size, MAX_PAGE)
        except ApiError as error:
            raise ApiError("PaginationTokenExpiredException", error.message, 400) from error
        shown = [{"ResourceARN": arn, "Tags": tag_list(tags)} for arn, tags in chosen]
        return {"ResourceTagMappingList": shown, "PaginationToken": token or ""}

    def get_tag_keys(self, call: Call, params: Params) -> Params:
        keys = sorted({key for _, _, tags in self._resources(call) for key in tags})
        chosen, token = page(keys, params.get("PaginationToken"), None, 1000)
        return {"TagKeys": chosen, "PaginationToken": token or ""}

    def get_tag_values(self, call: Call, params: Params) -> Params:
        values = {tags[params["Key"]] for _, _, tags in self._resources(call) if params["Key"] in tags}
        chosen, token = page(sorted(values), params.get("PaginationToken"), None, 1000)
        return {"TagValues": chosen, "PaginationToken": token or ""}

    def tag_resources(self, call: Call, params: Params) -> Params:
        tags = [{"Key": k, "Value": v} for k, v in params["Tags"].items()]

        def act(arn: str) -> None:
            if zone := _zone_id(arn):
                self.route53.change_tags_for_resource(
                    call, {"ResourceType": "hostedzone", "ResourceId": zone, "AddTags": tags}
                )
            else:
                self.ses.tag_resource(call, {"ResourceArn": arn, "Tags": tags})

        return {"FailedResourcesMap": _each(params["ResourceARNList"], act)}

    def untag_resources(self, call: Call, params: Params) -> Params:
        keys = params["TagKeys"]

        def act(arn: str) -> None:
            if zone := _zone_id(arn):
                self.route53.change_tags_for_resource(
                    call, {"ResourceType": "hostedzone", "ResourceId": zone, "RemoveTagKeys": keys}
                )
            else:
                self.ses.untag_resource(call, {"ResourceArn": arn, "TagKeys": keys})

        return {"FailedResourcesMap": _each(params["ResourceARNList"], act)}


def _zone_id(arn: str) -> str | None:
    match = re.fullmatch(r"arn:[a-z-]+:route53:::hostedzone/(.+)", arn)
    return match.group(1) if match else None


def _each(arns: list[str], act: Callable[[str], None]) -> dict[str, Any]:
    failed = {}
    for arn in arns:
        try:
            act(arn)
        except ApiError as error:
            failed[arn] = {
                "StatusCode": 400, "ErrorCode": "InvalidParameterException", "ErrorMessage": error.message,
            }  # fmt: skip
    return failed


def _tag_filter(filters: list[dict[str, Any]]) -> Callable[[Mapping[str, str]], bool]:
    def fits(tags: Mapping[str, str]) -> bool:
        return all(f.get("Key", "") in tags and (not f.get("Values") or tags[f["Key"]] in f["Values"]) for f in filters)

    return fits
