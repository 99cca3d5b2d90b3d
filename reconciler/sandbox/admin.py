"""The sandbox's own API under ``/_sandbox/``: seeds, faults, rates, clock, ledger, settings.

Every request and answer is JSON. What does not fit is answered with 400 and ``{"error": "..."}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from reconciler.sandbox.dns import DELEGATED_TAG
from reconciler.sandbox.faults import Fault
from reconciler.sandbox.gateway import Gateway
from reconciler.sandbox.kept import Kept
from reconciler.sandbox.metrics import Metrics, add_points
from reconciler.sandbox.protocol import ApiError, Request, Response
from reconciler.sandbox.records import BadRecord, normalise_name
from reconciler.sandbox.route53 import State as Route53State
from reconciler.sandbox.route53 import Zone
from reconciler.sandbox.ses_state import Item, SesState
from reconciler.sandbox.world import Call, Principal

PREFIX: Final = "/_sandbox/"
DEFAULT_REGION: Final = "us-east-1"


class Admin:
    """Serves ``/_sandbox/`` for one gateway; also called directly by ``Sandbox``'s Python methods."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.world = gateway.world
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "health"): lambda _: {"status": "ok"},
            ("GET", "calls"): lambda query: {"calls": self.gateway.ledger.select(**query)},
            ("DELETE", "calls"): self._clear_calls,
            ("GET", "faults"): lambda _: {"faults": [_plain(f) for f in self.gateway.faults]},
            ("POST", "faults"): self.add_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "rates"): self.set_rates,
            ("POST", "clock"): self.advance,
            ("GET", "clock"): lambda _: {"now": self.world.clock.now(), "offset": self.world.clock.offset},
            ("GET", "settings"): lambda _: _plain(self.world.settings),
            ("POST", "settings"): self.set_settings,
            ("POST", "consistency"): self.set_consistency,
            ("POST", "principals"): self.add_principals,
            ("POST", "seed"): self.seed,
            ("POST", "reset"): self.reset,
            ("GET", "dns"): self.dns,
        }

    def handle(self, request: Request) -> Response:
        """The answer to one admin request."""
        name = request.path.removeprefix(PREFIX).strip("/")
        route = self._routes.get((request.method, name))
        if route is None:
            known = ", ".join(f"{m} {PREFIX}{n}" for m, n in self._routes)
            return _json(404, {"error": f"no {request.method} {request.path}; there are {known}"})
        try:
            given = json.loads(request.body) if request.body else dict(parse_qsl(request.query))
            with self.world.lock:
                return _json(200, route(given))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})
        except (ApiError, BadRecord) as error:
            return _json(400, {"error": str(error)})

    def _clear_calls(self, _: Any) -> dict[str, Any]:
        self.gateway.ledger.entries.clear()
        return {}

    def add_faults(self, rules: list[Mapping[str, Any]] | Mapping[str, Any]) -> dict[str, Any]:
        """Add one rule or several; the first that matches a call acts. Raises: ValueError."""
        parsed = [Fault.parse(rule) for rule in (rules if isinstance(rules, list) else [rules])]
        self.gateway.faults += parsed
        return {"faults": len(self.gateway.faults)}

    def _clear_faults(self, _: Any) -> dict[str, Any]:
        self.gateway.faults.clear()
        return {}

    def set_rates(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``{"rates": "aws" | "off" | {...}, "time_scale": 1.0}``, or the mapping of limits alone."""
        if "rates" in given:
            self.gateway.rates.set(given["rates"], float(given.get("time_scale", 1.0)))
        else:
            limits = {k: v for k, v in given.items() if k != "time_scale"}
            self.gateway.rates.set(limits, float(given.get("time_scale", 1.0)))
        return {"rates": self.gateway.rates.limits}

    def advance(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``{"advance": seconds}``"""
        self.world.clock.advance(float(given["advance"]))
        return {"now": self.world.clock.now()}

    def set_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.world.settings.update(given)
        return _plain(self.world.settings)

    def set_consistency(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``{"iam": {"seconds": 5} | {"reads": 3} | null}``, services ``iam``, ``ses``, ``route53`` and
        ``resourcegroupstaggingapi``: how far their reads trail their writes. Raises: ValueError."""
        for service, lag in given.items():
            if service not in ("iam", "ses", "route53", "resourcegroupstaggingapi"):
                raise ValueError(f"no delayed reads for {service!r}")
            if lag is None:
                self.world.consistency.pop(service, None)
            elif set(lag) not in ({"seconds"}, {"reads"}):
                raise ValueError('a lag is {"seconds": n} or {"reads": n}')
            else:
                self.world.consistency[service] = dict(lag)
        return {"consistency": self.world.consistency}

    def add_principals(self, given: list[Mapping[str, Any]] | Mapping[str, Any]) -> dict[str, Any]:
        """``{"access_key", "account"?, "arn"?, "policies"?: [document]}``: what a key may do and where it acts."""
        for item in given if isinstance(given, list) else [given]:
            account = item.get("account", self.world.account)
            arn = item.get("arn", f"arn:aws:iam::{account}:user/{item['access_key']}")
            policies = item.get("policies")
            self.world.principals[item["access_key"]] = Principal(account, arn, item["access_key"], None, policies)
        return {}

    def reset(self, _: Any = None) -> dict[str, Any]:
        """Back to an empty AWS: resources, faults, rates, clock, settings and ledger."""
        self.world.reset()
        self.gateway.faults.clear()
        self.gateway.rates.set(None)
        self.gateway.ledger.entries.clear()
        self.gateway.moto.reset()
        return {}

    def dns(self, query: Mapping[str, str]) -> dict[str, Any]:
        """``?name=...&type=TXT``: what public DNS answers from the sandbox's zones."""
        reply = self.gateway.resolver.lookup(query["name"], query.get("type", "TXT"))
        return {"code": reply.code, "values": list(reply.values), "zone": reply.zone.id if reply.zone else None}

    # --- seeds -----------------------------------------------------------------------------------------------------

    def seed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Put things in place without API calls; see the keys below. Returns the ids of the zones made.

        - ``zones``: ``{name, account?, id?, private?, comment?, tags?, delegated?, linked_service?, records?}``
        - ``records``: ``{zone: id or name, name, type, ttl?, values, delete?}``; TXT values may be unquoted
        - ``identities``: ``{names, region?, account?, tags?, configuration_set?, publish?, mail_from?}``: domains
          and addresses; with ``publish`` their DKIM (and MAIL FROM) records are put into the sandbox's zones;
          ``${domain}`` in ``mail_from`` is the name
        - ``verify``: addresses, or ``{identity, region?, account?}``: the link in the mail was clicked
        - ``confirm``: endpoints of SNS subscriptions: the link in the mail was followed
        - ``dedicated_ips``: ``{ip, region?, account?, pool?}``
        - ``stacks``: CloudFormation's: ``{name, id?, region?, account?, status?, resources?: {logical id: {type,
          physical_id, retain?}}}``; their ids are returned, too
        - ``metrics``: CloudWatch's: ``{name, namespace?, dimensions?: {name: value}, unit?, points: [[seconds ago,
          value]], region?, account?}``
        - ``suppressed``: ``{addresses, reason?, region?, account?}``
        - ``accounts``: ``{region?, account?, production_access?, sending_enabled?, enforcement?, details?, quota?,
          sent?: {attempts, bounces?, complaints?, rejects?}, sent_by?: {identity: number}, sent_to?: {receiver:
          {metric: number}}, vdm?: bool}``
        """
        steps: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "zones": self._seed_zone, "records": self._seed_record, "identities": self._seed_identities,
            "verify": self._seed_verify, "dedicated_ips": self._seed_ip, "suppressed": self._seed_suppressed,
            "accounts": self._seed_account, "stacks": self._seed_stack,
            "confirm": self._seed_confirm, "metrics": self._seed_metric,
        }  # fmt: skip
        if unknown := set(given) - set(steps):
            raise ValueError(f"a seed has no {sorted(unknown)}; it has {sorted(steps)}")
        made: dict[str, Any] = {"zones": {}, "stacks": {}}
        for name, step in steps.items():
            for item in given.get(name, ()):
                result = step(item)
                if name in made:
                    made[name][item["name"]] = result
        return made

    def _ses(self, item: Mapping[str, Any]) -> SesState:
        account, region = item.get("account", self.world.account), item.get("region", DEFAULT_REGION)
        return self.world.current("ses", account, region, SesState)

    def _call(self, item: Mapping[str, Any]) -> Call:
        account, region = item.get("account", self.world.account), item.get("region", DEFAULT_REGION)
        principal = Principal(account, f"arn:aws:iam::{account}:root", account)
        return Call(self.world, "sesv2", "Seed", account, region, principal, "", self.world.clock.now(), False)

    def _seed_zone(self, item: Mapping[str, Any]) -> str:
        vpc = {"VPCRegion": DEFAULT_REGION, "VPCId": "vpc-1"} if item.get("private") else None
        zone = self.gateway.route53.add_zone(
            item.get("account", self.world.account), normalise_name(item["name"]), self.world.clock.now(),
            comment=item.get("comment"), vpc=vpc, zone_id=item.get("id", ""),
        )  # fmt: skip
        zone.tags = dict(item.get("tags", {}))
        if item.get("delegated"):
            zone.tags[DELEGATED_TAG] = "true"
        zone.linked_service = item.get("linked_service")
        for record in item.get("records", ()):
            self._put(zone, record)
        return zone.id

    def _zone(self, wanted: str) -> Zone:
        for _, _, state in self.world.each("route53"):
            found: Route53State = state
            for zone in found.zones.values():
                if wanted == zone.id or wanted.rstrip(".").lower() + "." == zone.name:
                    return zone
        raise ValueError(f"no zone {wanted!r} in the sandbox")

    def _put(self, zone: Zone, record: Mapping[str, Any]) -> None:
        """Store or delete one set as given; nothing but its name is checked."""
        now = self.world.clock.now()
        if "Name" in record:
            zone.put({**record, "Name": normalise_name(record["Name"])}, now)
            return
        name, kind = normalise_name(record["name"]), record["type"]
        if record.get("delete"):
            zone.remove((name, kind, ""), now)
            return
        values = [record["values"]] if isinstance(record["values"], str) else record["values"]
        if kind in ("TXT", "SPF"):
            values = [v if v.startswith('"') else quote_txt(v) for v in values]
        zone.put(
            {
                "Name": name,
                "Type": kind,
                "TTL": record.get("ttl", 300),
                "ResourceRecords": [{"Value": v} for v in values],
            },
            now,
        )

    def _seed_record(self, item: Mapping[str, Any]) -> None:
        self._put(self._zone(item["zone"]), item)

    def _seed_identities(self, item: Mapping[str, Any]) -> None:
        call, state, verifier = self._call(item), self._ses(item), self.gateway.verifier
        for name in item["names"]:
            identity = self.gateway.sesv2.new_identity(call, name)
            identity.tags = dict(item.get("tags", {}))
            identity.configuration_set = item.get("configuration_set")
            state.identities[state.key(name)] = identity
            if item.get("mail_from"):
                identity.mail_from = item["mail_from"].replace("${domain}", identity.name)
                identity.mail_from_check.start(call.now)
            if not item.get("publish") or identity.kind != "DOMAIN":
                continue
            zone = self.gateway.resolver.zone_of(identity.name + ".")
            if zone is None:
                raise ValueError(f"no public zone for {identity.name!r}")
            for token in identity.tokens:
                target = f"{token}.{verifier.zone(identity)}"
                owner = f"{token}._domainkey.{identity.name}"
                self._put(zone, {"name": owner, "type": "CNAME", "values": target})
            if identity.mail_from:
                mx = f"10 feedback-smtp.{call.region}.amazonses.com"
                self._put(zone, {"name": identity.mail_from, "type": "MX", "values": mx})
                spf = "v=spf1 include:amazonses.com ~all"
                self._put(zone, {"name": identity.mail_from, "type": "TXT", "values": spf})

    def _seed_verify(self, item: Mapping[str, Any] | str) -> None:
        given = {"identity": item} if isinstance(item, str) else item
        identity = self._ses(given).find(given["identity"])
        if identity is None:
            raise ValueError(f"no identity {given['identity']!r} to verify")
        identity.verified = True

    def _seed_confirm(self, endpoint: Mapping[str, Any] | str) -> None:
        found = [
            one for _, _, state in self.world.each("sns") for topic in state.of("Topic").values()
            for one in topic.of("Subscription").values() if one.name.partition("/")[2] == endpoint
        ]  # fmt: skip
        if not found:
            raise ValueError(f"no subscription of {endpoint!r} to confirm")
        for one in found:
            one.body.pop("Pending", None)

    def _seed_ip(self, item: Mapping[str, Any]) -> None:
        now, body = self.world.clock.now(), {"PoolName": item.get("pool", "ses-default-dedicated-pool")}
        self._ses(item).of("DedicatedIp")[item["ip"]] = Item(item["ip"], now, now, {**body, "WarmupPercentage": 100})

    def _seed_stack(self, item: Mapping[str, Any]) -> str:
        account, region = item.get("account", self.world.account), item.get("region", DEFAULT_REGION)
        return self.gateway.cloudformation.add(account, region, item)

    def _seed_metric(self, item: Mapping[str, Any]) -> None:
        account, region = item.get("account", self.world.account), item.get("region", DEFAULT_REGION)
        now = self.world.clock.now()
        points = [(now - ago, float(value)) for ago, value in item["points"]]
        kept = self.world.current(Metrics.name, account, region, Kept)
        add_points(kept, item.get("namespace", "AWS/SES"), item["name"], item.get("dimensions", {}), points,
                   item.get("unit", "None"))  # fmt: skip

    def _seed_suppressed(self, item: Mapping[str, Any]) -> None:
        now, state = self.world.clock.now(), self._ses(item)
        for address in item["addresses"]:
            state.suppressed[address.lower()] = (item.get("reason", "BOUNCE"), now)

    def _seed_account(self, item: Mapping[str, Any]) -> None:
        state = self._ses(item)
        for name in ("production_access", "sending_enabled", "enforcement", "details"):
            if name in item:
                setattr(state, name, item[name])
        state.quota |= item.get("quota", {})
        state.sent_to |= item.get("sent_to", {})
        if "vdm" in item:
            state.vdm = {"VdmEnabled": "ENABLED" if item["vdm"] else "DISABLED"}
        state.sent_by |= {state.key(name): number for name, number in item.get("sent_by", {}).items()}
        if "sent" in item:
            counts = (int(item["sent"].get(n, 0)) for n in ("attempts", "bounces", "complaints", "rejects"))
            state.sent.append((self.world.clock.now(), *counts))  # type: ignore[arg-type]


def quote_txt(text: str) -> str:
    """A text as a Route 53 TXT value: quoted strings of at most 255 characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return " ".join(f'"{escaped[i : i + 250]}"' for i in range(0, max(len(escaped), 1), 250))


def _plain(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _json(status: int, document: Any) -> Response:
    body = json.dumps(document, default=str).encode()
    return Response(status, [("Content-Type", "application/json")], body)
