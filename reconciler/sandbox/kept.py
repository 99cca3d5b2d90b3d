"""Services beside SES whose resources a kind has: found in the folders of the kinds, as ``SERVICE`` of ``sandbox.py``.

A service is a class with ``name``, ``nouns`` and its operations, as the other services of the sandbox have them; where
several folders have a part of one service, their classes are joined. What it keeps in a region is in ``Kept``; tags,
the tagging API and IAM's resources are made from that here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from reconciler.sandbox.plain import RESOURCES
from reconciler.sandbox.protocol import ApiError, Params
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call, World, tag_list

HOME = "us-east-1"
"""Where the tagging API shows what an account has for all regions."""


class Noun(NamedTuple):
    """A kind of resource of a service: what precedes the name in an ARN, and its type for the tagging API. One that is
    ``anywhere`` an account has for all regions, and its ARN names none."""

    prefix: str
    type: str
    anywhere: bool = False


@dataclass
class Kept:
    """What a service keeps for one account in one region, by noun and name."""

    resources: dict[str, dict[str, Item]] = field(default_factory=dict)

    def of(self, noun: str) -> dict[str, Item]:
        return self.resources.setdefault(noun, {})


class KeptService:
    """Base of such a service; one instance serves all accounts and regions."""

    name = ""
    signed_as = ""
    """As requests are signed for it, where that is not its name."""
    nouns: Mapping[str, Noun] = {}
    names: Mapping[str, str] = {}
    """Member of requests -> the noun of the resource that it names."""
    arns: tuple[str, ...] = ("ResourceArn",)
    """Members of requests that are ARNs of resources."""
    not_found: tuple[str, str, int] = ("ResourceNotFoundException", "Resource does not exist", 404)

    def __init__(self, world: World) -> None:
        self.world = world

    def kept(self, call: Call) -> Kept:
        return self.world.state(call, self.name, Kept)

    def of(self, call: Call, noun: str) -> dict[str, Item]:
        """The resources of a noun that a call can see, by name."""
        there = self.world.state(call, self.name, Kept, region="") if self.nouns[noun].anywhere else self.kept(call)
        return there.of(noun)

    def arn(self, call: Call, noun: str, name: str) -> str:
        return call.arn(self.name, self.nouns[noun].prefix + name, "" if self.nouns[noun].anywhere else None)

    def tagged(self, call: Call, arn: str) -> Item:
        """The resource of an ARN. Raises: ApiError."""
        for noun, (prefix, *_) in self.nouns.items():
            found = self.of(call, noun).get(arn.split(":", 5)[-1].removeprefix(prefix))
            if found is not None and arn == self.arn(call, noun, found.name):
                return found
        raise ApiError(*self.not_found)

    def tag_resource(self, call: Call, params: Params) -> Params:
        item = self.tagged(call, params[self.arns[0]])
        item.tags = with_tags(item.tags, params["Tags"])
        return {}

    def untag_resource(self, call: Call, params: Params) -> Params:
        item = self.tagged(call, params[self.arns[0]])
        item.tags = {key: value for key, value in item.tags.items() if key not in params["TagKeys"]}
        return {}

    def list_tags_for_resource(self, call: Call, params: Params) -> Params:
        return {"Tags": tag_list(self.tagged(call, params[self.arns[0]]).tags)}

    def touched(self, call: Call, params: Params) -> list[str]:
        """The ARNs that a call touches, for IAM."""
        found = [params[member] for member in self.arns if isinstance(params.get(member), str)]
        for member, noun in self.names.items():
            given = params.get(member)
            listed = given if isinstance(given, list) else [given] if given else []
            found += [self.arn(call, noun, name) for name in listed]
        return found

    def all_tagged(self, call: Call) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """(ARN, type, tags) of what carries tags in the caller's account and region, as the tagging API sees it."""
        for region in [call.region, *([""] if call.region == HOME or call.partition != "aws" else [])]:
            if (self.name, call.account, region) not in self.world.states:
                continue
            state: Kept = self.world.tagged(self.name, call, region)
            for noun, (_, kind, anywhere) in self.nouns.items():
                for item in state.of(noun).values() if anywhere is not bool(region) else ():
                    if item.tags:
                        yield self.arn(call, noun, item.name), kind, item.tags


def with_tags(tags: Mapping[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    """Tags with some added or changed. Raises: ApiError over 50."""
    merged = {**tags, **{tag["Key"]: tag.get("Value", "") for tag in added}}
    if len(merged) > 50:
        raise ApiError("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded", 400)
    return merged


def tags_of_arn(world: World, arn: str) -> Mapping[str, str] | None:
    """The tags of a resource of such a service; None where it is none, or does not exist."""
    _, _, service, region, account, resource = arn.split(":", 5) if arn.count(":") > 4 else ("",) * 6
    for kind in services():
        if service == kind.name:
            state = world.current(kind.name, account, region, Kept)
            for noun, (prefix, *_) in kind.nouns.items():
                item = state.of(noun).get(resource.removeprefix(prefix)) if resource.startswith(prefix) else None
                if item is not None:
                    return item.tags
    return None


T = TypeVar("T")


@cache
def services() -> tuple[type[KeptService], ...]:
    """The services of all folders of kinds, and what CloudWatch has beside resources."""
    folders = sorted(file.parent.name for file in RESOURCES.glob("*/sandbox.py"))
    names = [f"reconciler.resources.{folder}.sandbox" for folder in folders]
    modules: list[Any] = [import_module(name) for name in (*names, "reconciler.sandbox.metrics")]
    parts: dict[str, list[type[KeptService]]] = {}
    for module in modules:
        if hasattr(module, "SERVICE"):
            parts.setdefault(module.SERVICE.name, []).append(module.SERVICE)
    return tuple(_joined(classes) for classes in parts.values())


def _joined(parts: list[type[KeptService]]) -> type[KeptService]:
    """One service of the parts that several folders have of it."""
    if len(parts) == 1:
        return parts[0]
    tables = {name: {k: v for part in parts for k, v in getattr(part, name).items()} for name in ("nouns", "names")}
    return type(parts[0].name.title(), tuple(parts), tables)
