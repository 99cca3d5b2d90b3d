"""What is in the sandbox, as data: copied and put back between two trials, and compared after them.

``of`` is the ledger: every resource of every service, account and region, without times and with random names (DKIM
tokens, access keys, passwords) replaced by what they stand for. Two runs that end alike have equal ledgers; an orphan,
a duplicate, a second access key, a password that does not work or a foreign value that was touched makes them differ.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.mail.sigv4 import smtp_password
from reconciler.sandbox import Sandbox
from reconciler.sandbox.kept import services

MOTO = ("secretsmanager", "ssm")


@dataclass(frozen=True)
class Snapshot:
    """The whole sandbox at one moment; ``restore`` may be called again and again."""

    states: Any
    moto: Any
    rest: Any


def _backends(service: str) -> Any:
    if service == "secretsmanager":
        from moto.secretsmanager.models import secretsmanager_backends as found
    else:
        from moto.ssm.models import ssm_backends as found
    return found


_PARTS = {"secretsmanager": ("secrets",), "ssm": ("_parameters", "_resource_tags")}


def take(sandbox: Sandbox) -> Snapshot:
    """A copy of everything that is in the sandbox, its clock and its settings."""
    world = sandbox._server.gateway.world
    with world.lock:
        moto: dict[tuple[str, str, str], Any] = {}
        for service in MOTO:
            for account, regions in list(_backends(service).items()):
                for region in list(regions):
                    backend = regions[region]
                    moto[service, account, region] = [_copied(getattr(backend, p)) for p in _PARTS[service]]
        states = {k: copy.deepcopy(lagged.current) for k, lagged in world.states.items()}
        rest = copy.deepcopy(
            (world.principals, world.dead_keys, world.settings, world.clock.offset, world.random, world.consistency)
        )
        return Snapshot(states, moto, (rest, copy.copy(world._serial)))


def restore(sandbox: Sandbox, snapshot: Snapshot) -> None:
    """Make the sandbox what it was; faults and the record of calls are forgotten."""
    from reconciler.sandbox.world import Lagged

    world = sandbox._server.gateway.world
    sandbox.clear_faults()
    with world.lock:
        states = copy.deepcopy(snapshot.states)
        world.states = {k: Lagged(_giving(v)) for k, v in states.items()}
        rest, serial = snapshot.rest
        principals, dead, settings, offset, random, consistency = copy.deepcopy(rest)
        world.principals, world.dead_keys, world.settings = principals, dead, settings
        world.clock.offset, world.random, world.consistency = offset, random, consistency
        world._serial = copy.copy(serial)
        world.zone_version += 1
        live = {
            (service, account, region)
            for service in MOTO
            for account, regions in list(_backends(service).items())
            for region in list(regions)
        }
        sandbox._server.gateway.moto.used = True
        for service, account, region in {*live, *snapshot.moto}:
            kept = snapshot.moto.get((service, account, region))
            backend = _backends(service)[account][region]
            for number, part in enumerate(_PARTS[service]):
                held = getattr(backend, part)
                held.clear()
                for name, value in _copied(kept[number]).items() if kept else ():
                    dict.__setitem__(held, name, value)
    sandbox.clear_calls()


def _copied(held: Any) -> dict[str, Any]:
    return {name: copy.deepcopy(value) for name, value in dict.items(held)}


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def key_ids(sandbox: Sandbox) -> set[str]:
    """Every access key of every user of every account."""
    world = sandbox._server.gateway.world
    return {key for _, _, state in world.each("iam") for user in state.users.values() for key in user.keys}


def of(sandbox: Sandbox, known: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """The ledger. ``known`` are keys that keep their names: those that were there before the trial."""
    world = sandbox._server.gateway.world
    with world.lock:
        found: dict[str, Any] = {}
        names: dict[str, str] = {}
        secrets: dict[str, str] = {}
        for _, region, state in world.each("ses"):
            for identity in state.identities.values():
                for number, token in enumerate(sorted(identity.tokens), 1):
                    names[token] = f"TOKEN{number}({region} {identity.name})"
        for _, _, state in world.each("iam"):
            for user in state.users.values():
                for key in user.keys.values():
                    secrets[key.id] = key.secret
                    if key.id not in known:
                        names[key.id] = f"NEWKEY({user.name})"
        for account, region, state in world.each("ses"):
            _ses(found, f"{account}/{region}", state)
        for account, _, state in world.each("route53"):
            _zones(found, account, state)
        for account, _, state in world.each("iam"):
            _principals(found, account, state)
        for kept in services():
            for account, region, state in world.each(kept.name):
                for noun, items in state.resources.items():
                    found |= {f"{noun} {account}/{region} {name}": _item(item) for name, item in items.items()}
        for service in MOTO:
            for account, regions in _backends(service).items():
                for region in list(regions):
                    (_secrets if service == "secretsmanager" else _parameters)(
                        found, f"{account}/{region}", regions[region], secrets
                    )
    text = json.dumps(found, sort_keys=True, default=str)
    for random_name, label in names.items():
        text = text.replace(random_name, label)
    plain: dict[str, Any] = json.loads(text)
    for name, item in plain.items():
        if name.startswith("user "):
            item["keys"].sort()
    return plain


def _ses(found: dict[str, Any], place: str, state: Any) -> None:
    for identity in state.identities.values():
        found[f"identity {place} {identity.name}"] = {
            f: getattr(identity, f)
            for f in (
                "kind", "feedback", "signing_enabled", "origin", "selector", "public_key", "next_length", "mail_from",
                "mx_behavior", "policies", "tags", "configuration_set", "topics", "headers_in_notifications",
            )
        }  # fmt: skip
    if settings := _account(state):
        found[f"account {place}"] = settings
    for noun, items in state.resources.items():
        for name, item in items.items():
            found[f"{noun} {place} {name}"] = _item(item)


def _account(state: Any) -> dict[str, Any]:
    """The settings of an account that are not as AWS gives them."""
    usual, parts = type(state)(), ("suppressed_reasons", "validation", "vdm", "delivery_mode", "auto_warmup")
    return {part: getattr(state, part) for part in parts if getattr(state, part) != getattr(usual, part)}


def _item(item: Any) -> dict[str, Any]:
    """A resource of a plain kind, and what it holds, without times."""
    body = copy.deepcopy(item.body)
    body.get("ReputationOptions", {}).pop("LastFreshStart", None)
    held = {f"{noun} {name}": _item(one) for noun, items in item.resources.items() for name, one in items.items()}
    return {**body, "tags": item.tags, **held}


def _zones(found: dict[str, Any], account: str, state: Any) -> None:
    for zone in state.zones.values():
        where = f"zone {account} {zone.name} {zone.id}"
        found[where] = {"tags": zone.tags, "protections": [list(p) for p in sorted(zone.protections)]}
        for raw in zone.sets.values():
            values = sorted(r["Value"] for r in raw.get("ResourceRecords", ()))
            more = {k: v for k, v in raw.items() if k not in {"Name", "Type", "ResourceRecords"}}
            label = f"{where} {raw['Name']} {raw['Type']} {raw.get('SetIdentifier', '')}".strip()
            found[label] = {"values": values, **more}


def _principals(found: dict[str, Any], account: str, state: Any) -> None:
    for user in state.users.values():
        found[f"user {account} {user.name}"] = {
            "path": user.path, "tags": user.tags, "boundary": user.boundary, "attached": sorted(user.attached),
            "policies": {n: json.loads(p) for n, p in user.policies.items()},
            "keys": [f"{k.id} {'Active' if k.active else 'Inactive'}" for k in user.keys.values()],
            "groups": sorted(g.name for g in state.groups.values() if user.name in g.members),
        }  # fmt: skip
    for role in state.roles.values():
        found[f"role {account} {role.name}"] = {
            "path": role.path, "tags": role.tags, "boundary": role.boundary, "attached": sorted(role.attached),
            "policies": {n: json.loads(p) for n, p in role.policies.items()}, "trust": json.loads(role.trust),
            "description": role.description or "", "session": role.session,
        }  # fmt: skip
    for profile in state.profiles.values():
        found[f"profile {account} {profile.name}"] = {"path": profile.path, "tags": profile.tags, "role": profile.role}


def _value(text: str, secrets: dict[str, str]) -> Any:
    """A stored credential with every password replaced by whether it derives from the key that it stands beside."""
    try:
        stored = json.loads(text)
        key = stored["username"]
    except (ValueError, KeyError, TypeError):
        return text
    if key not in secrets:
        return {"dead key": key, **stored}
    out = {k: v for k, v in stored.items() if k != "created_at"}

    def judged(region: str, part: dict[str, Any]) -> dict[str, Any]:
        right = part.get("password") == smtp_password(secrets[key], region)
        return {**part, "password": "derives" if right else "WRONG"}

    if isinstance(out.get("regions"), dict):
        out["regions"] = {r: judged(r, p) for r, p in out["regions"].items()}
    elif "region" in out:
        out = judged(out["region"], out)
    if "secret_access_key" in out:
        out["secret_access_key"] = "right" if out["secret_access_key"] == secrets[key] else "WRONG"
    return out


def _secrets(found: dict[str, Any], place: str, backend: Any, keys: dict[str, str]) -> None:
    for secret in backend.secrets.values():
        current = next((v for v in secret.versions.values() if "AWSCURRENT" in v["version_stages"]), None)
        stages = sorted(s for v in secret.versions.values() for s in v["version_stages"] if s != "AWSPREVIOUS")
        found[f"secret {place} {secret.name}"] = {
            "value": _value(current["secret_string"], keys) if current else None, "stages": stages,
            "tags": {t["Key"]: t["Value"] for t in secret.tags or ()}, "kms": secret.kms_key_id,
            "deleted": bool(secret.is_deleted()),
        }  # fmt: skip


def _parameters(found: dict[str, Any], place: str, backend: Any, keys: dict[str, str]) -> None:
    for name, versions in backend._parameters.items():
        if name.startswith("/aws/") or not versions:
            continue
        last = versions[-1]
        value = last.decrypt(last.value) if last.parameter_type == "SecureString" else last.value
        found[f"parameter {place} {name}"] = {
            "value": _value(value, keys), "type": last.parameter_type, "kms": last.keyid,
            "tags": dict(backend._resource_tags.get("Parameter", {}).get(name, {})),
        }  # fmt: skip


def difference(expected: dict[str, Any], got: dict[str, Any]) -> str:
    """What two ledgers do not share, for a failing test's message; empty where they are equal."""
    lines = []
    for name in sorted({*expected, *got}):
        one, other = expected.get(name), got.get(name)
        if one == other:
            continue
        if one is None:
            lines.append(f"+ {name}: {json.dumps(other, sort_keys=True)}")
        elif other is None:
            lines.append(f"- {name}: {json.dumps(one, sort_keys=True)}")
        elif isinstance(one, dict) and isinstance(other, dict):
            for field in sorted({*one, *other}):
                if one.get(field) != other.get(field):
                    lines.append(f"~ {name} {field}: expected {one.get(field)!r}, got {other.get(field)!r}")
        else:
            lines.append(f"~ {name}: expected {one!r}, got {other!r}")
    return "\n".join(lines)
