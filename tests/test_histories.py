"""Random histories of a stack: what is declared is true in the end, nothing of ours is live that is not declared, and
nothing of others was touched, whatever people and accidents did in between.

A history is a few operations of the table ``OPERATIONS``, each followed by an apply that may be killed, then one apply
that nobody disturbs. What must be live in the end is worked out here, from the documents alone, and looked up in AWS
without recon. ``RECON_SEED=17`` runs one history and prints it.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from support import ACCOUNT, HOME, OTHER, House, client, killed_before, struck, told

ZONES = {"acme.com": ("acme.com", "shop.acme.com"), "parked.net": ("parked.net", "a.parked.net")}
DOMAINS = [name for names in ZONES.values() for name in names]
SETS = ("one", "two")
FOREIGN_SPF = "v=spf1 include:_spf.vendor.example ip4:203.0.113.9 -all"
FOREIGN = {
    "acme.com": {
        ("acme.com", "TXT"): ["google-site-verification=abc123"],
        ("_dmarc.acme.com", "TXT"): ["vendor-token=zzz"],
        ("www.acme.com", "CNAME"): ["web.example."],
    },
    "parked.net": {("parked.net", "TXT"): ["MS=ms1", FOREIGN_SPF], ("bounce.parked.net", "TXT"): ["other"]},
}
EVENT = {
    "enabled": True,
    "matching_event_types": ["BOUNCE"],
    "event_bridge_destination": {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"},
}
Values = dict[tuple[str, str], list[str]]


def zone_of(name: str) -> str:
    return next(zone for zone in ZONES if name == zone or name.endswith(f".{zone}"))


class History:
    """Stacks with their documents, an AWS, and what has happened to both."""

    def __init__(self, house: House, seed: int) -> None:
        self.random = Random(seed)
        self.house = house
        self.stacks: dict[str, dict[str, Any]] = {"first": {}}
        """Scope -> what it declares, by section and name; applied in this order."""
        self.formerly: dict[str, list[str]] = {}
        self.released: dict[str, list[str]] = {}
        self.left: Values = {}
        """The records of domains that were let go: foreign from then on."""
        self.left_spf: dict[str, list[str]] = {}
        self.gone: dict[str, dict[str, Any]] = {}
        """What was let go, as it was declared."""
        self.let_go: dict[str, list[str]] = {}
        """``SECTION.NAME`` of what was let go -> its regions: live, and nobody's."""
        self.taken_out: dict[str, str] = {}
        """``SECTION.NAME`` of what a stack has taken out -> that stack, until its next whole apply: still its own."""
        self.by_hand: Values = {}
        """What others have added to record sets that are ours."""
        self.log: list[str] = []
        house.once("histories", lambda: foreign_world(house))

    def say(self, text: str) -> None:
        self.log.append(text)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    # -- what is declared -------------------------------------------------------------------------------------------

    def section(self, name: str) -> dict[str, tuple[str, Any]]:
        """Entry -> its stack and values, over all stacks."""
        return {
            one: (scope, values)
            for scope, document in self.stacks.items()
            for one, values in document.get(name, {}).items()
        }

    def entries(self) -> list[tuple[str, str, str]]:
        """(stack, section, name) of all that is declared."""
        return [
            (scope, section, name)
            for scope, document in self.stacks.items()
            for section, found in document.items()
            for name in found
        ]

    def may_declare(self, scope: str, section: str, name: str) -> bool:
        """Whether a stack may declare what no other stack declares, or has live."""
        entry = f"{section}.{name}"
        declared_by, _ = self.section(section).get(name, (scope, None))
        return declared_by == scope == self.taken_out.get(entry, scope) and entry not in self.let_go

    def put(self, scope: str, section: str, name: str, values: dict[str, Any]) -> None:
        self.stacks[scope].setdefault(section, {})[name] = values
        let_go = self.released.get(scope, [])
        self.released[scope] = [one for one in let_go if one != f"{section}.{name}"]
        self.say(f"{scope} declares {section}.{name}: {values}")

    def foreign(self, zone: str) -> Values:
        """The values of others in a zone, as Route 53 stores them."""
        found = {k: [f'"{v}"' if k[1] == "TXT" else v for v in vs] for k, vs in FOREIGN[zone].items()}
        for more in (self.by_hand, self.left):
            for key, values in more.items():
                if zone_of(key[0]) == zone:
                    found.setdefault(key, []).extend(values)
        return found

    # -- applied ----------------------------------------------------------------------------------------------------

    def house_of(self, scope: str) -> House:
        home = self.house.home / scope
        home.mkdir(exist_ok=True)
        found = House(home)
        stack: dict[str, Any] = {"name": scope, "regions": [HOME]}
        if self.formerly.get(scope):
            stack["formerly"] = self.formerly[scope]
        document = copy.deepcopy(self.stacks[scope])
        if self.released.get(scope):
            document["released"] = self.released[scope]
        found.write(document, stack=stack)
        return found

    def apply(self, *, killed: bool = False) -> None:
        """Apply every stack in its turn, undisturbed; or kill one at some write, and leave the rest for later."""
        for scope in self.stacks:
            house = self.house_of(scope)
            if killed and self.chance(0.6):
                nth, how = self.random.randint(1, 12), self.random.choice(["killed", "killed", "lost", "error"])
                self.say(f"apply {scope}, {how} at write {nth}")
                with killed_before(nth) if how == "killed" else struck(how, nth):
                    house.apply(expect=None, parallelism=1)
                return
            self.say(f"apply {scope}")
            result = house.apply(expect=None)
            assert result.outcome in {"applied", "no_changes"}, told(result)
            self.taken_out = {entry: by for entry, by in self.taken_out.items() if by != scope}

    def end(self) -> None:
        """One apply, then nothing is left to do."""
        self.apply()
        for scope in self.stacks:
            plan = self.house_of(scope).plan()
            assert not plan.changes, f"{scope} still has {[(c.action, c.address) for c in plan.changes]}"
        check(self)


def foreign_world(house: House) -> None:
    for zone, records in FOREIGN.items():
        house.seed_zone(zone, records)
    ses = client("sesv2")
    ses.create_configuration_set(ConfigurationSetName="theirs")
    ses.create_email_identity(EmailIdentity="theirs.example")
    client("iam").create_user(UserName="theirs")


# --- operations ----------------------------------------------------------------------------------------------------


def some_domain(history: History, name: str, *, identity: bool = False) -> dict[str, Any]:
    chance, pick = history.chance, history.random.choice
    entry: dict[str, Any] = {}
    if chance(0.6):
        entry["dmarc"] = {"p": pick(["none", "quarantine", "reject"])}
    if chance(0.5):
        entry["spf"] = {"include": history.random.sample(["a.example", "b.example", "c.example"], pick([1, 2]))}
    if chance(0.3):
        entry["bimi"] = {"l": f"https://{name}/logo.svg"}
    if not identity and chance(0.2) and any(key in entry for key in ("dmarc", "spf", "bimi")):
        alone = {"null_mx": True} if chance(0.4) else {}
        return {"identity": False, **entry, **alone}
    entry |= {"dkim": {}, "regions": pick([[HOME], [HOME], [OTHER], [HOME, OTHER]]), "tags": {}}
    entry["configuration_set_name"] = None
    if chance(0.5):
        entry["mail_from"] = {"mail_from_domain": "${region}-bounce.${domain}"}
    if chance(0.4):
        entry["tags"] = {"team": pick(["red", "blue"])}
    if chance(0.3) and len(entry["regions"]) == 1:
        entry["policies"] = {"partner": a_policy(name, entry["regions"][0])}
    return entry


def a_policy(name: str, region: str) -> dict[str, Any]:
    resource = f"arn:aws:ses:{region}:{ACCOUNT}:identity/{name}"
    allow = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ses:SendEmail", "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [allow]}


def some_set(history: History, scope: str, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"sending_options": {"sending_enabled": True}, "event_destinations": {}}
    entry["tracking_options"] = {"custom_redirect_domain": None}
    entry["event_destinations"] = {one: EVENT for one in "de" if history.chance(0.4)}
    entry["regions"] = [HOME, OTHER] if history.chance(0.3) else [HOME]
    places, domains = {*entry["regions"]}, history.stacks[scope].get("domains", {}).items()
    rests = [domain for domain, values in domains if places <= {*values.get("regions", ())}]
    if rests and history.chance(0.4):
        entry["tracking_options"] = {
            "custom_redirect_domain": f"click-{name}-${{region}}.{history.random.choice(sorted(rests))}"
        }
    return entry


SINGLE = {"email_templates": "hello", "smtp_users": "news"}
"""Section -> the one name that is declared in it."""


def declare(history: History) -> bool:
    """Something new, or another wording of what is declared."""
    scope = history.random.choice(list(history.stacks))
    kind = history.random.choice(
        ["domains", "domains", "domains", "configuration_sets", "email_templates", "smtp_users"]
    )
    if kind == "domains":
        free = [d for d in DOMAINS if history.may_declare(scope, kind, d)]
        if not free:
            return False
        name = history.random.choice(free)
        was = history.stacks[scope].get("domains", {}).get(name)
        entry = some_domain(history, name)
        if was is not None and (
            "identity" in was or "identity" in entry or not set(was["regions"]) <= set(entry["regions"])
        ):
            drop_references(history, name)
        history.put(scope, kind, name, entry)
    elif kind == "configuration_sets":
        free = [s for s in SETS if history.may_declare(scope, kind, s)]
        if not free:
            return False
        name = history.random.choice(free)
        was = history.stacks[scope].get(kind, {}).get(name)
        history.put(scope, kind, name, some_set(history, scope, name))
        if was is not None and was["regions"] != history.stacks[scope][kind][name]["regions"]:
            drop_set(history, name)
        users = [e for s, e in history.section("domains").values() if s == scope and HOME in e.get("regions", ())]
        if users and history.chance(0.5):
            user = history.random.choice(users)
            if {*user["regions"]} <= {*history.stacks[scope][kind][name]["regions"]}:
                user["configuration_set_name"] = name
                history.say(f"... which is used by {user}")
    elif history.section(kind) or not history.may_declare(scope, kind, SINGLE[kind]):
        return False
    elif kind == "email_templates":
        history.put(scope, kind, "hello", {"subject": history.random.choice(["Hi", "Hello"]), "text": "Hello"})
    else:
        store = {"secretsmanager": {"name": "recon/news"}}
        history.put(scope, kind, "news", {"from_addresses": ["*@acme.com"], "credentials": store})
    return True


def drop_references(history: History, domain: str) -> None:
    """No set tracks below a domain whose identity goes away."""
    for _, entry in history.section("configuration_sets").values():
        tracked = entry["tracking_options"]["custom_redirect_domain"] or ""
        if tracked.endswith(f".{domain}"):
            entry["tracking_options"] = {"custom_redirect_domain": None}
            history.say(f"no set tracks below {domain}")


def take_out(history: History) -> bool:
    """An entry, or a part of one."""
    found = history.entries()
    if not found:
        return False
    scope, section, name = history.random.choice(found)
    entry = history.stacks[scope][section][name]
    parts = [key for key in ("dmarc", "spf", "bimi", "null_mx", "mail_from", "policies") if key in entry]
    own = [key for key in ("dmarc", "spf", "bimi", "null_mx") if key in entry]
    if entry.get("event_destinations") and history.chance(0.5):
        gone = entry["event_destinations"] = dict(entry["event_destinations"])
        gone.pop(history.random.choice(sorted(gone)))
        history.say(f"{scope} takes a destination out of {name}")
    elif parts and history.chance(0.5) and not ("identity" in entry and len(own) == 1):
        gone_part = history.random.choice(parts)
        del entry[gone_part]
        history.say(f"{scope} takes {section}.{name}.{gone_part} out")
    else:
        remove(history, scope, section, name)
        history.say(f"{scope} takes {section}.{name} out")
    return True


def remove(history: History, scope: str, section: str, name: str) -> None:
    del history.stacks[scope][section][name]
    history.taken_out[f"{section}.{name}"] = scope
    if section == "domains":
        drop_references(history, name)
    if section == "configuration_sets":
        drop_set(history, name)


def drop_set(history: History, name: str) -> None:
    for _, entry in history.section("domains").values():
        if entry.get("configuration_set_name") == name:
            entry["configuration_set_name"] = None


def edit_by_hand(history: History) -> bool:
    """Somebody changes in AWS what is ours, or adds something beside it."""
    edits = [edit_dmarc, edit_set, edit_identity, edit_user, add_text, delete_records]
    return history.random.choice(edits)(history)


def live_domains(history: History) -> list[str]:
    return sorted(history.section("domains"))


def edit_dmarc(history: History) -> bool:
    named = [d for d in live_domains(history) if "dmarc" in history.section("domains")[d][1]]
    if not named:
        return False
    domain = history.random.choice(named)
    name = f"_dmarc.{domain}"
    if not any("v=DMARC1" in v for v in history.house.dns_values(name, zone=zone_of(domain))):
        return False  # it would be somebody's own
    others = [v for v in history.house.dns_values(name, zone=zone_of(domain)) if not v.startswith('"v=DMARC1')]
    history.house.change(name, "TXT", *others, '"v=DMARC1; p=none; pct=10"', zone=zone_of(domain))
    history.say(f"somebody weakens the DMARC record of {domain}")
    return True


def delete_records(history: History) -> bool:
    """All records of one name below a domain that are not of others; the name has none of others."""
    found = [
        (zone, name, kind)
        for zone in ZONES
        for (name, kind) in history.house.zone(zone)
        if not (history.foreign(zone).get((name, kind))) and not name.startswith("_recon.") and kind != "NS"
    ]
    if not found:
        return False
    zone, name, kind = history.random.choice(sorted(found))
    (raw,) = [r for r in history.house.raw_zone(zone) if (r["Name"].rstrip("."), r["Type"]) == (name, kind)]
    values = [v["Value"] for v in raw["ResourceRecords"]]
    history.house.change(name, kind, *values, action="DELETE", ttl=raw["TTL"], zone=zone)
    history.say(f"somebody deletes {name} {kind}")
    return True


def edit_set(history: History) -> bool:
    ses = client("sesv2")
    there = {*ses.list_configuration_sets().get("ConfigurationSets", ())} & {*SETS}
    there = {one for one in there if f"configuration_sets.{one}" not in history.let_go}
    if not there:
        return False
    name = history.random.choice(sorted(there))
    listed = ses.get_configuration_set_event_destinations(ConfigurationSetName=name)["EventDestinations"]
    if history.chance(0.3):
        ses.delete_configuration_set(ConfigurationSetName=name)
        history.say(f"somebody deletes the set {name}")
    elif listed and history.chance(0.5):
        gone = history.random.choice([one["Name"] for one in listed])
        ses.delete_configuration_set_event_destination(ConfigurationSetName=name, EventDestinationName=gone)
        history.say(f"somebody deletes the destination {gone} of {name}")
    else:
        ses.put_configuration_set_sending_options(ConfigurationSetName=name, SendingEnabled=False)
        history.say(f"somebody turns sending of {name} off")
    return True


def edit_identity(history: History) -> bool:
    region = history.random.choice([HOME, OTHER])
    ses = client("sesv2", region)
    there = sorted({one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]} & set(DOMAINS))
    there = [name for name in there if f"domains.{name}" not in history.let_go]
    if not there:
        return False
    name = history.random.choice(there)
    policies = sorted(ses.get_email_identity(EmailIdentity=name).get("Policies", ()))
    if policies and history.chance(0.5):
        ses.delete_email_identity_policy(EmailIdentity=name, PolicyName=policies[0])
        history.say(f"somebody deletes the policy of {name} in {region}")
    elif history.chance(0.5):
        ses.put_email_identity_mail_from_attributes(EmailIdentity=name, MailFromDomain=f"hand.{name}")
        history.say(f"somebody sets another MAIL FROM of {name} in {region}")
    else:
        tags = [{"Key": "team", "Value": "theirs"}]
        ses.tag_resource(ResourceArn=f"arn:aws:ses:{region}:{ACCOUNT}:identity/{name}", Tags=tags)
        history.say(f"somebody tags {name} in {region}")
    return True


def edit_user(history: History) -> bool:
    iam = client("iam")
    if "news" not in {one["UserName"] for one in iam.list_users()["Users"]}:
        return False
    keys = iam.list_access_keys(UserName="news")["AccessKeyMetadata"]
    deed = history.random.choice(["key", "status", "policy"])
    if deed == "policy":
        nothing = '{"Version": "2012-10-17", "Statement": []}'
        iam.put_user_policy(UserName="news", PolicyName="recon-smtp", PolicyDocument=nothing)
    elif not keys:
        return False
    elif deed == "key":
        iam.delete_access_key(UserName="news", AccessKeyId=keys[0]["AccessKeyId"])
    else:
        iam.update_access_key(UserName="news", AccessKeyId=keys[0]["AccessKeyId"], Status="Inactive")
    history.say(f"somebody changes the {deed} of the user")
    return True


def add_text(history: History) -> bool:
    """A value of others beside ours, or alone."""
    domain = history.random.choice(DOMAINS)
    name = history.random.choice([domain, f"_dmarc.{domain}"])
    there = history.house.dns_values(name, zone=zone_of(domain))
    value = f'"note-{len(history.log)}"'
    history.by_hand.setdefault((name, "TXT"), []).append(value)
    history.house.change(name, "TXT", *there, value, zone=zone_of(domain))
    history.say(f"somebody adds {value} to {name}")
    return True


def adopt(history: History) -> bool:
    """An identity that exists without recon, with a record, is declared."""
    free = [d for d in DOMAINS if d not in history.section("domains") and f"domains.{d}" not in history.let_go]
    ses = client("sesv2")
    free = [d for d in free if d not in {one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]}]
    if not free:
        return False
    name = history.random.choice(free)
    # verified, with its DKIM records
    history.house.sandbox.seed(identities=[{"names": [name], "publish": True, "tags": {"before": "recon"}}])
    entry = {**some_domain(history, name, identity=True), "regions": [HOME]}
    entry.pop("policies", None)
    if history.chance(0.4):
        entry["policies"] = {"partner": a_policy(name, HOME)}
    history.put(history.random.choice(list(history.stacks)), "domains", name, entry)
    history.say(f"... which exists already in {HOME}")
    if "policies" in entry and history.chance(0.7):
        policy = json.dumps(a_policy(name, HOME))
        ses.create_email_identity_policy(EmailIdentity=name, PolicyName="partner", Policy=policy)
    if "dmarc" in entry and history.chance(0.7):
        there = history.house.dns_values(f"_dmarc.{name}", zone=zone_of(name))
        value = f'"v=DMARC1; p={entry["dmarc"]["p"]}"'
        if not any(one.startswith('"v=DMARC1') for one in there):
            history.house.change(f"_dmarc.{name}", "TXT", *there, value, zone=zone_of(name))
            history.say("... with its DMARC record")
    history.apply()
    return True


def take_back(history: History) -> bool:
    """What was let go is declared again, as it was: it is adopted with all its parts."""
    found = sorted(one for one in history.let_go if one.startswith("domains."))
    if not found:
        return False
    name = history.random.choice(found).partition(".")[2]
    del history.let_go[f"domains.{name}"]
    entry = history.gone.pop(name)
    if history.left_spf.pop(name, None) and '"v=spf1 ~all"' in (values := history.by_hand.get((name, "TXT"), [])):
        values.remove('"v=spf1 ~all"')
    for zone in ZONES:
        for key, values in records({"domains": {name: ("", entry)}}, zone):
            for value in values:
                history.left[key].remove(f"{value}." if key[1] == "CNAME" else value)
    if "regions" in entry:
        entry["configuration_set_name"] = None
    history.put(history.random.choice(list(history.stacks)), "domains", name, entry)
    history.say("... which was let go")
    history.apply(killed=history.chance(0.4))
    history.apply()
    return True


def rename(history: History) -> bool:
    """A stack gets another name, once what it declares is in force; it is taken over before anything else happens."""
    history.apply()
    old = history.random.choice(list(history.stacks))
    new = f"name-{len(history.log)}"
    history.stacks = {new if scope == old else scope: document for scope, document in history.stacks.items()}
    history.released[new] = history.released.pop(old, [])
    history.formerly[new] = [old]
    history.say(f"{old} is {new} from now on")
    history.apply(killed=history.chance(0.5))
    history.apply()
    return True


def split(history: History) -> bool:
    """A part of what a stack declares, with all that uses it, goes to a new stack."""
    history.apply()
    old = history.random.choice(list(history.stacks))
    found = [(section, name) for scope, section, name in history.entries() if scope == old]
    if not found or len(history.stacks) > 2:
        return False
    moved = together(history, old, history.random.choice(found))
    new = f"split-{len(history.log)}"
    document: dict[str, Any] = {}
    for section, name in moved:
        document.setdefault(section, {})[name] = history.stacks[old][section].pop(name)
        history.released.setdefault(old, []).append(f"{section}.{name}")
    history.formerly[new] = [old]
    # The order of the two does not matter; a key that was let go is nobody's for good.
    first = history.chance(0.5) or ("smtp_users", "news") in moved
    history.stacks = {new: document, **history.stacks} if first else {**history.stacks, new: document}
    history.say(f"{new} takes {moved} from {old}")
    history.apply(killed=history.chance(0.5))
    history.apply()
    return True


def forget_spf(history: History, name: str, entry: dict[str, Any]) -> None:
    """The record that recon made for a domain that is let go is nobody's, until all of it is declared again."""
    foreign = history.foreign(zone_of(name)).get((name, "TXT"), []) if "spf" in entry else ['"v=spf1']
    if not any(value.startswith('"v=spf1') for value in foreign):
        history.by_hand.setdefault((name, "TXT"), []).append('"v=spf1 ~all"')


def together(history: History, scope: str, first: tuple[str, str]) -> list[tuple[str, str]]:
    """``first`` with all that it names, or that names it."""
    document = history.stacks[scope]
    pairs = []
    for name, entry in document.get("domains", {}).items():
        pairs.append((("domains", name), ("configuration_sets", entry.get("configuration_set_name"))))
    for name, entry in document.get("configuration_sets", {}).items():
        tracked = (entry["tracking_options"]["custom_redirect_domain"] or "").partition(".")[2]
        pairs.append((("configuration_sets", name), ("domains", tracked)))
    found = {first}
    while more := {one for pair in pairs if found & {*pair} for one in pair} - found:
        found |= more
    return sorted((section, name) for section, name in found if name in document.get(section, {}))


def release(history: History) -> bool:
    """An entry is let go: from then on it is live, and nobody's."""
    history.apply()
    found = [one for one in history.entries() if one[1] in {"domains", "configuration_sets", "email_templates"}]
    if not found:
        return False
    scope, section, name = history.random.choice(found)
    entry = history.stacks[scope][section][name]
    alone = {section: {name: (scope, entry)}}
    for zone in ZONES:
        for (owner, kind), values in records(alone, zone):
            stored = [f"{v}." if kind == "CNAME" else v for v in values]
            history.left.setdefault((owner, kind), []).extend(stored)
    if "spf" in entry and section == "domains":
        history.left_spf[name] = entry["spf"]["include"]
        forget_spf(history, name, entry)
    history.gone[name] = entry
    del history.stacks[scope][section][name]
    history.released.setdefault(scope, []).append(f"{section}.{name}")
    history.let_go[f"{section}.{name}"] = entry.get("regions", [] if section == "domains" else [HOME])
    history.say(f"{scope} lets {section}.{name} go")
    history.apply(killed=history.chance(0.5))
    history.apply()
    return True


OPERATIONS: dict[Callable[[History], bool], int] = {
    declare: 5, take_out: 4, edit_by_hand: 4, adopt: 2, rename: 1, split: 1, release: 1, take_back: 1,
}  # fmt: skip
"""Operation -> how often; each returns whether it had anything to do."""


def live_through(house: House, seed: int) -> None:
    history = History(house, seed)
    try:
        declare(history)
        operations = list(OPERATIONS)
        for _ in range(history.random.randint(3, 6)):
            (operation,) = history.random.choices(operations, list(OPERATIONS.values()))
            if operation(history) and history.chance(0.7):
                history.apply(killed=history.chance(0.4))
        history.end()
    except Exception as problem:
        story = "\n".join(history.log)
        raise AssertionError(f"the history {seed} went wrong: {problem}\n{story}") from problem


# --- what must be live in the end ----------------------------------------------------------------------------------


def check(history: History) -> None:
    """What is live is what is declared and what is of others, value for value."""
    for region in (HOME, OTHER):
        check_ses(history, region)
    check_user(history)
    for zone in ZONES:
        wanted = {key: [*values] for key, values in history.foreign(zone).items()}
        for key, values in records(declared(history), zone):
            wanted.setdefault(key, []).extend(values)
        live = history.house.zone(zone)
        marked = {key: live.pop(key) for key in [*live] if key[0].startswith("_recon.")}
        assert normal(live) == normal(with_spf(history, zone, wanted))
        for (name, _), lines in marked.items():
            check_marker(history, name.removeprefix("_recon."), lines)


def check_ses(history: History, region: str) -> None:
    ses = client("sesv2", region)
    domains = {n: e for n, (_, e) in history.section("domains").items() if region in e.get("regions", ())}
    live = {one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]}
    kept = let_go(history, "domains", region)
    assert not [one for one in kept if owner(ses, one)]
    assert live - {*kept} == set(domains) | ({"theirs.example"} if region == HOME else set()), region
    for name, entry in domains.items():
        found = ses.get_email_identity(EmailIdentity=name)
        tags = {t["Key"]: t["Value"] for t in found.get("Tags", ())}
        assert tags["recon:stack"] == history.section("domains")[name][0]
        assert entry["tags"].items() <= tags.items()
        assert found.get("ConfigurationSetName") == entry["configuration_set_name"]
        assert set(found.get("Policies", ())) == set(entry.get("policies", ()))
        if "mail_from" in entry:
            assert found["MailFromAttributes"]["MailFromDomain"] == f"{region}-bounce.{name}"
    sets = {n: (s, e) for n, (s, e) in history.section("configuration_sets").items() if region in e["regions"]}
    there = set(ses.list_configuration_sets().get("ConfigurationSets", ()))
    kept = let_go(history, "configuration_sets", region)
    assert there == {*sets, *kept} | ({"theirs"} if region == HOME else set())
    for name, (scope, entry) in sets.items():
        found = ses.get_configuration_set(ConfigurationSetName=name)
        assert {t["Key"]: t["Value"] for t in found["Tags"]}["recon:stack"] == scope
        assert found["SendingOptions"]["SendingEnabled"] is True
        tracked = tracking(entry, region)
        assert found.get("TrackingOptions", {}).get("CustomRedirectDomain") == tracked
        listed = ses.get_configuration_set_event_destinations(ConfigurationSetName=name)["EventDestinations"]
        assert {one["Name"] for one in listed} == set(entry["event_destinations"])
    templates = {n: e for n, (_, e) in history.section("email_templates").items() if region == HOME}
    listed = ses.list_email_templates().get("TemplatesMetadata", ())
    assert {one["TemplateName"] for one in listed} == {*templates, *let_go(history, "email_templates", region)}
    for name, entry in templates.items():
        content = ses.get_email_template(TemplateName=name)["TemplateContent"]
        assert (content["Subject"], content["Text"]) == (entry["subject"], entry["text"])


def let_go(history: History, section: str, region: str) -> list[str]:
    """The names of a section that were let go in a region."""
    found = [one.partition(".") for one, places in history.let_go.items() if region in places]
    return [name for kind, _, name in found if kind == section]


def owner(ses: Any, identity: str) -> str | None:
    tags = ses.get_email_identity(EmailIdentity=identity).get("Tags", ())
    return next((t["Value"] for t in tags if t["Key"] == "recon:stack"), None)


def tracking(entry: dict[str, Any], region: str) -> str | None:
    domain = entry["tracking_options"]["custom_redirect_domain"]
    return domain and domain.replace("${region}", region)


def check_user(history: History) -> None:
    users = history.section("smtp_users")
    iam = client("iam")
    assert {one["UserName"] for one in iam.list_users()["Users"]} == {*users, "theirs"}
    listed = client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in listed if not one.get("DeletedDate")] == (["recon/news"] if users else [])
    for name in users:
        tags = {t["Key"]: t["Value"] for t in iam.list_user_tags(UserName=name)["Tags"]}
        keys = {one["AccessKeyId"]: one["Status"] for one in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]}
        stored = client("secretsmanager").get_secret_value(SecretId="recon/news")["SecretString"]
        assert keys.pop(tags["recon:key"]) == "Active"
        assert tags["recon:key"] in stored
        assert keys.keys() <= {tags.get("recon:key-old")}, "the key before it, until it is rotated out"


Sections = dict[str, dict[str, tuple[str, Any]]]


def declared(history: History) -> Sections:
    return {section: history.section(section) for section in ("domains", "configuration_sets")}


def records(sections: Sections, zone: str) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """The records of what is declared, but SPF, in one zone."""
    for name, (_, entry) in sections.get("domains", {}).items():
        if zone_of(name) != zone:
            continue
        for region in entry.get("regions", ()):
            found = client("sesv2", region).get_email_identity(EmailIdentity=name)["DkimAttributes"]
            for token in found["Tokens"]:
                yield (f"{token}._domainkey.{name}", "CNAME"), [f"{token}.{found['SigningHostedZone']}"]
            if "mail_from" in entry:
                bounce = f"{region}-bounce.{name}"
                yield (bounce, "MX"), [f"10 feedback-smtp.{region}.amazonses.com"]
                yield (bounce, "TXT"), ['"v=spf1 include:amazonses.com ~all"']
        if "dmarc" in entry:
            yield (f"_dmarc.{name}", "TXT"), [f'"v=DMARC1; p={entry["dmarc"]["p"]}"']
        if "null_mx" in entry:
            yield (name, "MX"), ["0 ."]
        if "bimi" in entry:
            yield (f"default._bimi.{name}", "TXT"), [f'"v=BIMI1; l={entry["bimi"]["l"]}; a="']
    for _, entry in sections.get("configuration_sets", {}).values():
        for region in entry["regions"]:
            tracked = tracking(entry, region)
            if tracked and zone_of(tracked) == zone:
                yield (tracked, "CNAME"), [f"r.{region}.awstrack.me"]


def with_spf(history: History, zone: str, wanted: Values) -> Values:
    """``wanted`` with the terms of declared SPF in the one record of each name, before its ``all``."""
    named = {name: e["spf"]["include"] for name, (_, e) in history.section("domains").items() if "spf" in e}
    for name, includes in {**named, **history.left_spf}.items():
        if zone_of(name) != zone:
            continue
        terms = [f"include:{one}" for one in includes]
        values = wanted.setdefault((name, "TXT"), [])
        there = next((value for value in values if value.startswith('"v=spf1')), '"v=spf1 ~all"')
        values[:] = [value for value in values if value != there]
        *before, end = there.strip('"').split()
        values.append(f'"{" ".join([*before, *terms, end])}"')
    return wanted


def normal(values: Values) -> Values:
    """Values in one form: SPF terms sorted but for the last, hosts without their dot."""

    def one(value: str) -> str:
        if value.startswith('"v=spf1'):
            first, *terms, end = value.strip('"').split()
            return " ".join([first, *sorted(terms), end])
        return value.rstrip(".").rstrip('";= a') if "BIMI1" in value else value.rstrip(".")

    return {key: sorted(map(one, found)) for key, found in values.items() if found}


def check_marker(history: History, domain: str, lines: list[str]) -> None:
    """A marker speaks of what its stack declares, and of nothing else."""
    for line in lines:
        facts = dict(part.strip().partition("=")[::2] for part in line.strip('"').split(";")[1:])
        scope, entry = history.section("domains").get(domain, ("", {}))
        assert facts["stack"] == scope, f"{domain} has the marker {line}"
        own = {"dmarc", "bimi", "null_mx"} & {*entry} if "identity" in entry else set()
        assert "groups" not in facts or {*facts["groups"].split()} == own, line
        assert "own" not in facts, line
        if "spf" in facts:
            assert set(facts["spf"].split()) <= {f"include:{one}" for one in entry.get("spf", {}).get("include", ())}


def seeds(first: int, count: int) -> list[int]:
    one = os.environ.get("RECON_SEED")
    return [int(one)] if one else list(range(first, first + count))


@pytest.mark.parametrize("seed", seeds(0, 20))
def test_a_history_ends_as_declared(house: House, seed: int) -> None:
    live_through(house, seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(20, 2020, 20))
def test_two_thousand_histories_end_as_declared(house: House, first: int) -> None:
    wrong = []
    for seed in seeds(first, 20):
        house.home = house.home.parent / f"history-{seed}"
        house.home.mkdir()
        house.begin()
        try:
            live_through(house, seed)
        except AssertionError as problem:
            wrong.append(str(problem))
    assert not wrong, "\n\n".join(wrong[:3]) + f"\n\n{len(wrong)} of {len(seeds(first, 20))} went wrong"
