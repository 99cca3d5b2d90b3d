"""The plan in one sentence, in terms of mail: who starts or stops sending, signing, enforcing, and what it costs.

Derived from the changes alone. What no phrase covers is counted at the end, so that the sentence never says less than
the plan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from reconciler.model import Change, Plan
from reconciler.renderers.view import address_parts, domain_of, subject

MANAGED_POOL_DOLLARS: Final = 15.0
"""A month, per account, once any managed dedicated IP pool exists. Source: Amazon SES pricing, "Dedicated IPs"."""

_RANK: Final = {"none": 0, "quarantine": 1, "reject": 2}
_DOLLARS = re.compile(r"\$(\d+(?:\.\d+)?)\s*(?:/|a|per)\s*month", re.IGNORECASE)
_MAIL_FROM_SPF: Final = ("v=spf1 include:amazonses.com ~all", "v=spf1 include:amazonses.com -all")
_P_TAG = re.compile(r"(?:^|;)\s*p\s*=\s*(\w+)", re.IGNORECASE)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 domain``, ``2 domains``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _get(document: Mapping[str, Any] | None, path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _policy(document: Mapping[str, Any] | None) -> str | None:
    """The ``p`` of a DMARC record, from its tags or from the text of the record."""
    for path in ("p", "dmarc.p"):
        value = _get(document, path)
        if isinstance(value, str):
            return value.lower()
    for text in _strings(document):
        stripped = text.strip().strip('"')
        if stripped.upper().startswith("V=DMARC1"):
            match = _P_TAG.search(stripped)
            return match[1].lower() if match else None
    return None


def _moved(change: Change, path: str) -> tuple[Any, Any] | None:
    """The field before and after where this change alters it."""
    for diff in change.diff:
        if diff.path == path:
            return diff.before, diff.after
        if path.startswith(diff.path + "."):
            below = path[len(diff.path) + 1 :]
            return (
                _get(diff.before, below) if isinstance(diff.before, Mapping) else None,
                _get(diff.after, below) if isinstance(diff.after, Mapping) else None,
            )
    if change.action == "create" or (change.before is None and change.after is not None):
        after = _get(change.after, path)
        return (None, after) if after is not None else None
    return None


class _Facts:
    """Phrases with the distinct things that each counts."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, set[str]]] = {}
        self.other: dict[str, int] = {}
        self.records = {"create": 0, "change": 0, "delete": 0}

    def add(self, phrase: str, thing: str, where: str = "") -> None:
        self.found.setdefault(phrase, {}).setdefault(thing, set()).add(where)


def _identity(change: Change, facts: _Facts) -> None:
    name = subject(change)
    region = change.region or (address_parts(change.address)[0] if len(address_parts(change.address)) > 1 else "")
    is_address = "@" in name
    noun = "address" if is_address else "domain"
    if change.action == "delete":
        facts.add(f"{noun}:stops", name, region)
        return
    if change.action == "replace":
        facts.add(f"{noun}:recreated", name, region)
        return
    said = False
    signing = _moved(change, "dkim.signing_enabled")
    if change.action == "create":
        # a written ``dkim`` block signs unless it says otherwise
        signs = not is_address and signing != (None, False) and _get(change.after, "dkim") is not None
        facts.add(f"{noun}:signs" if signs else f"{noun}:new", name, region)
        said = True
    elif signing and signing[0] != signing[1]:
        facts.add(f"{noun}:signs" if signing[1] is not False else f"{noun}:unsigned", name, region)
        said = True
    if change.action == "create":
        return
    if any(diff.path.startswith("dkim.") and diff.path != "dkim.signing_enabled" for diff in change.diff):
        facts.add("domain:dkim", name, region)
        said = True
    if any(diff.path == "mail_from" or diff.path.startswith("mail_from.") for diff in change.diff):
        names = _moved(change, "mail_from.mail_from_domain") or _moved(change, "mail_from") or (True, True)
        facts.add("domain:mail_from" if all(names) else f"mail_from:{'new' if names[1] else 'gone'}", name, region)
        said = True
    moved = _moved(change, "configuration_set_name")
    if moved and change.action == "update":
        facts.add(f"{noun}:set", name, region)
        said = True
    if any(diff.path.startswith("policies") for diff in change.diff):
        facts.add(f"{noun}:policy", name, region)
        said = True
    if change.action == "adopt":
        facts.add("adopted", change.address)
    elif not said:
        _plain(change, facts)


def _record(change: Change, facts: _Facts) -> None:
    name = subject(change)
    if name.startswith("_dmarc.") and change.action != "adopt":
        old, new = _policy(change.before), _policy(change.after)
        for diff in change.diff:
            if diff.path.rpartition(".")[2] == "p":
                old = diff.before.lower() if isinstance(diff.before, str) else None
                new = diff.after.lower() if isinstance(diff.after, str) else None
        domain = domain_of(name)
        if change.action == "create":
            facts.add("dmarc:new", domain)
        elif change.action == "delete":
            facts.add("dmarc:lost" if _RANK.get(old or "", 0) else "dmarc:gone", domain)
        elif old != new and (old in _RANK or new in _RANK):
            was, now = _RANK.get(old or "", 0), _RANK.get(new or "", 0)
            facts.add(
                "dmarc:tightened" if now > was else "dmarc:lost" if now == 0 and was else "dmarc:loosened", domain
            )
        else:
            facts.add("dmarc:changed", domain)
        return
    texts = [text.strip().strip('"').lower() for text in _strings([change.before, change.after])]
    records = [text for text in texts if text.startswith("v=spf1")]
    # the SPF record of a MAIL FROM name comes and goes with its identity; only a domain's own is news
    if any(text not in _MAIL_FROM_SPF for text in records):
        verb = {"create": "new", "delete": "gone"}.get(change.action, "changed")
        facts.add(f"spf:{verb}", name)
        return
    facts.records[change.action if change.action in ("create", "delete") else "change"] += 1


def _configuration_set(change: Change, facts: _Facts) -> None:
    name = change.address
    if change.action == "create":
        facts.add("set:new", name)
        return
    if change.action == "delete":
        facts.add("set:gone", name)
        return
    said = False
    sending = _moved(change, "sending_options.sending_enabled")
    if sending and sending[0] != sending[1]:
        facts.add("set:paused" if sending[1] is False else "set:resumed", name)
        said = True
    tls = _moved(change, "delivery_options.tls_policy")
    if tls and tls[0] != tls[1]:
        facts.add("set:tls" if tls[1] == "REQUIRE" else "set:tls_optional", name)
        said = True
    if not said or change.action == "adopt":
        _plain(change, facts)


def _pool(change: Change, facts: _Facts) -> None:
    if begins_to_cost(change):
        facts.add("pool:cost", change.address)
    elif change.action == "delete":
        facts.add("pool:gone", change.address)
    else:
        _plain(change, facts)


def _user(change: Change, facts: _Facts) -> None:
    verb = {"create": "new", "delete": "gone"}.get(change.action)
    if change.action == "update" and any(
        diff.path.split(".")[0] in ("from_addresses", "source_ips", "identities", "conditions") for diff in change.diff
    ):
        verb = "limits"
    if verb:
        facts.add(f"user:{verb}", subject(change))
    else:
        _plain(change, facts)


def _credential(change: Change, facts: _Facts) -> None:
    verb = {"create": "new", "replace": "new", "delete": "gone"}.get(change.action)
    if verb is None and "access_key" in change.unknown:
        verb = "new"
    if verb:
        facts.add(f"password:{verb}", subject(change))
    else:
        _plain(change, facts)


def _destination(change: Change, facts: _Facts) -> None:
    if change.action == "adopt":
        _plain(change, facts)
    else:
        verb = {"create": "new", "delete": "gone"}.get(change.action, "changed")
        facts.add(f"events:{verb}", change.address)


def _plain(change: Change, facts: _Facts) -> None:
    if change.action == "adopt":
        facts.add("adopted", change.address)
    else:
        facts.other[change.action] = facts.other.get(change.action, 0) + 1


_KINDS: Final[dict[str, Callable[[Change, _Facts], None]]] = {
    "email_identity": _identity,
    "dns_record": _record,
    "configuration_set": _configuration_set,
    "dedicated_ip_pool": _pool,
    "smtp_user": _user,
    "smtp_credential": _credential,
    "event_destination": _destination,
}

# in the order of the sentence: what begins, what changes, what is lost; (one, many)
_PHRASES: Final[tuple[tuple[str, str, str], ...]] = (
    ("domain:signs", "{n} domain starts signing with DKIM", "{n} domains start signing with DKIM"),
    ("domain:new", "{n} domain is set up to send", "{n} domains are set up to send"),
    ("address:new", "{n} address is set up to send", "{n} addresses are set up to send"),
    ("address:signs", "{n} address starts signing with DKIM", "{n} addresses start signing with DKIM"),
    ("domain:dkim", "{n} domain changes its DKIM key", "{n} domains change their DKIM key"),
    ("mail_from:new", "{n} domain gets a MAIL FROM of its own", "{n} domains get a MAIL FROM of their own"),
    ("domain:mail_from", "{n} domain changes its MAIL FROM", "{n} domains change their MAIL FROM"),
    ("domain:set", "{n} domain sends through another configuration set",
     "{n} domains send through another configuration set"),
    ("address:set", "{n} address sends through another configuration set",
     "{n} addresses send through another configuration set"),
    ("domain:policy", "{n} domain changes who may send for it", "{n} domains change who may send for them"),
    ("address:policy", "{n} address changes who may send for it", "{n} addresses change who may send for them"),
    ("dmarc:new", "{n} domain gets a DMARC policy", "{n} domains get a DMARC policy"),
    ("dmarc:tightened", "{n} DMARC policy is tightened", "{n} DMARC policies are tightened"),
    ("dmarc:changed", "{n} DMARC record changes", "{n} DMARC records change"),
    ("spf:new", "{n} SPF record is added", "{n} SPF records are added"),
    ("spf:changed", "{n} SPF record changes", "{n} SPF records change"),
    ("set:new", "{n} configuration set is created", "{n} configuration sets are created"),
    ("set:resumed", "{n} configuration set sends again", "{n} configuration sets send again"),
    ("set:tls", "TLS becomes required on {n} configuration set", "TLS becomes required on {n} configuration sets"),
    ("events:new", "{n} event destination is added", "{n} event destinations are added"),
    ("events:changed", "{n} event destination changes", "{n} event destinations change"),
    ("user:new", "{n} SMTP user is created", "{n} SMTP users are created"),
    ("user:limits", "{n} SMTP user changes what it may send", "{n} SMTP users change what they may send"),
    ("password:new", "{n} SMTP password is issued", "{n} SMTP passwords are issued"),
    ("adopted", "{n} live resource is adopted", "{n} live resources are adopted"),
    ("pool:cost", "{n} managed IP pool begins to cost", "{n} managed IP pools begin to cost"),
    ("address:recreated", "{n} address identity is replaced", "{n} address identities are replaced"),
    ("domain:recreated", "{n} domain identity is replaced", "{n} domain identities are replaced"),
    ("set:tls_optional", "TLS becomes optional on {n} configuration set",
     "TLS becomes optional on {n} configuration sets"),
    ("dmarc:loosened", "{n} DMARC policy is loosened", "{n} DMARC policies are loosened"),
    ("dmarc:lost", "{n} domain loses DMARC enforcement", "{n} domains lose DMARC enforcement"),
    ("dmarc:gone", "{n} DMARC record is removed", "{n} DMARC records are removed"),
    ("mail_from:gone", "{n} domain loses its MAIL FROM", "{n} domains lose their MAIL FROM"),
    ("spf:gone", "{n} SPF record is removed", "{n} SPF records are removed"),
    ("events:gone", "{n} event destination is removed", "{n} event destinations are removed"),
    ("pool:gone", "{n} dedicated IP pool is deleted", "{n} dedicated IP pools are deleted"),
    ("set:gone", "{n} configuration set is deleted", "{n} configuration sets are deleted"),
    ("set:paused", "{n} configuration set stops sending", "{n} configuration sets stop sending"),
    ("user:gone", "{n} SMTP user is deleted", "{n} SMTP users are deleted"),
    ("password:gone", "{n} SMTP password stops working", "{n} SMTP passwords stop working"),
    ("domain:unsigned", "{n} domain stops signing with DKIM", "{n} domains stop signing with DKIM"),
    ("address:unsigned", "{n} address stops signing with DKIM", "{n} addresses stop signing with DKIM"),
    ("address:stops", "{n} address stops sending", "{n} addresses stop sending"),
    ("domain:stops", "{n} domain stops sending", "{n} domains stop sending"),
)  # fmt: skip


def begins_to_cost(change: Change) -> bool:
    """Whether a dedicated IP pool becomes MANAGED by this change."""
    if change.kind != "dedicated_ip_pool" or change.action == "delete":
        return False
    mode = _moved(change, "scaling_mode")
    if mode is None and change.action == "replace":
        mode = (_get(change.before, "scaling_mode"), _get(change.after, "scaling_mode"))
    return mode is not None and mode[1] == "MANAGED" and mode[0] != "MANAGED"


def monthly_dollars(plan: Plan) -> float:
    """What the plan adds to the monthly bill, US dollars, as far as its changes say; 0 when nothing does.

    A managed pool costs once per account, however many pools there are; the amount is an estimate, since the account
    may have one already and each message costs on top. Other amounts are those that notes give (``$25 a month``).
    """
    total = MANAGED_POOL_DOLLARS if any(begins_to_cost(change) for change in plan.changes) else 0.0
    for change in plan.changes:
        if change.kind != "dedicated_ip_pool" and change.action != "delete":
            total += max((float(found) for note in change.notes for found in _DOLLARS.findall(note.message)), default=0)
    return total


def phrases(plan: Plan) -> list[str]:
    """What the plan means for mail, phrase by phrase; empty when nothing changes."""
    facts = _Facts()
    for change in plan.changes:
        _KINDS.get(change.kind, _plain)(change, facts)
    said = []
    for key, one, many in _PHRASES:
        things = facts.found.get(key)
        if not things:
            continue
        phrase = (one if len(things) == 1 else many).format(n=len(things))
        if key.endswith((":stops", ":unsigned")):
            regions = sorted({region for where in things.values() for region in where if region})
            if 0 < len(regions) <= 2:
                phrase += " in " + " and ".join(regions)
            elif regions:
                phrase += f" in {len(regions)} regions"
        if key == "pool:cost":
            phrase += f" {dollars(MANAGED_POOL_DOLLARS)}"
        said.append(phrase)
    records = facts.records
    verbs = {"create": "written", "change": "changed", "delete": "removed"}
    if any(records.values()):
        said.append(_counted("DNS record", [(records[action], verb) for action, verb in verbs.items()]))
    other = sum(facts.other.values())
    if other and said:
        said.append(plural(other, "other change"))
    elif other:
        verbs = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        said.append(_counted("resource", [(facts.other.get(action, 0), verb) for action, verb in verbs.items()]))
    return said


def _counted(noun: str, parts: list[tuple[int, str]]) -> str:
    """``3 DNS records are written, 1 changed and 2 removed``."""
    (count, verb), *rest = [part for part in parts if part[0]]
    said = f"{plural(count, noun)} {'is' if count == 1 else 'are'} {verb}"
    for number, (count, verb) in enumerate(rest, 1):
        said += f"{' and' if number == len(rest) else ','} {count} {verb}"
    return said


def headline(plan: Plan) -> str:
    """One sentence without its full stop, upper case where a sentence needs it: ``2 domains start signing, …``."""
    found = phrases(plan)
    extra = monthly_dollars(plan) - (MANAGED_POOL_DOLLARS if any(map(begins_to_cost, plan.changes)) else 0)
    if extra > 0:
        found.append(f"other cost of {dollars(extra)} begins")
    return ", ".join(found) if found else "Nothing changes"


def duration(seconds: float) -> str:
    """``about 20 s``, ``about 4 min``, ``about 2 h``: never finer than an estimate is."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h".replace(".0 h", " h")


def dollars(amount: float) -> str:
    """``$15 a month``."""
    return f"${amount:.0f} a month" if amount == int(amount) else f"${amount:.2f} a month"
