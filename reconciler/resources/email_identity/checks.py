"""Values of domains and single addresses. Names inside them are folded on the way.

Sources: SES API v2 DkimSigningAttributes, CreateEmailIdentityPolicy, PutEmailIdentityMailFromAttributes; RFC 7505.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.policies import check_policy
from reconciler.desired.checks.together import Together
from reconciler.desired.checks.values import REGION_NAME, refuse_pasted
from reconciler.desired.layers import dkim_companions, dkim_family
from reconciler.desired.nodes import show
from reconciler.mail import bimi, dmarc, spf, txt
from reconciler.mail.tags import BadRecord
from reconciler.model import Entry, Stack, canonical_json
from reconciler.names import fold_domain, is_below
from reconciler.regions import UNPUBLISHED, deterministic_parent
from reconciler.resources.email_identity import NOTIFICATIONS, NOTIFIED

MAX_POLICIES: Final = 20
MAX_POLICY_BYTES: Final = 4096
LONG_TTL: Final = 604800

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_POLICY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ZONE_ID = re.compile(r"Z[A-Z0-9]{3,31}")
_ADVICE = re.compile(r"; (?=(?:write|it belongs|quote|leave|percent-encode)\b)")
_EXAMPLES: Final = {
    "dmarc": 'such as {p: quarantine, rua: ["mailto:dmarc@acme.com"]}',
    "spf": 'such as {include: [_spf.crm.example], all: "~all"}',
    "bimi": 'such as {l: "https://acme.com/logo.svg", a: "https://acme.com/vmc.pem"}',
}


def check(place: EntryContext, stack: Stack) -> None:
    """A domain's own records (region None), or an identity in one region."""
    if place.region is None:
        _domain_records(place)
        return
    _dkim(place)
    _mail_from(place)
    _notifications(place)
    _policies(place)


def _notifications(place: EntryContext) -> None:
    """Topics are standard ones of the identity's region (SES Developer Guide, "Configuring Amazon SNS notifications"),
    and headers need one."""
    block = place.values.get(NOTIFICATIONS)
    if not isinstance(block, dict):
        return
    for kind in NOTIFIED:
        key = f"{kind.lower()}_topic"
        path, topic = f"{NOTIFICATIONS}.{key}", block.get(key)
        if isinstance(topic, str) and ":" in topic:
            parts = topic.split(":", 5)
            if len(parts) < 6 or parts[2] != "sns":
                place.error(path, "bad-arn", f"{show(topic)} is no ARN of a topic",
                            "write such as arn:aws:sns:us-east-1:111122223333:mail-events")  # fmt: skip
            elif topic.endswith(".fifo"):
                place.error(path, "fifo-topic", "SES does not publish to FIFO topics", "name a standard topic")
            elif parts[3] != place.region:
                place.error(
                    path, "wrong-region", f"{show(topic)} is in {parts[3]}, and the identity in {place.region}",
                    "SES takes topics of its own region; write ${region} in the ARN",
                )  # fmt: skip
        headers = f"headers_in_{kind.lower()}_notifications_enabled"
        if block.get(headers) is True and not topic:
            place.error(f"{NOTIFICATIONS}.{headers}", "needs-topic", f"{key} is missing, and headers need it",
                        f"write `{key}:`, or take {headers} out")  # fmt: skip


def _domain_records(place: EntryContext) -> None:
    values = place.values
    if place.name.startswith("*."):
        _wildcard(place)
    _zone(place)
    ttl = values.get("ttl")
    if isinstance(ttl, int) and ttl > LONG_TTL:
        place.warn("ttl", "dns-long-ttl", f"{ttl} seconds are more than a week: a wrong record would stay that long",
                   "write 300 to 86400")  # fmt: skip
    _records(place)
    if values.get("null_mx") is True and values.get("identity") is not False:
        place.warn(
            "null_mx", "dns-null-mx-sends", "a name that takes no mail should not send any (RFC 7505 section 4.2)",
            "add `identity: false`, or take null_mx out",
        )  # fmt: skip


def _zone(place: EntryContext) -> None:
    """``zone``: auto, manual or an id; or a list of ids and ``manual``, of which one alone is no list."""
    zone = place.values.get("zone")
    listed = zone if isinstance(zone, list) else [zone]
    found = [_zone_word(place, word) for word in listed if isinstance(word, str)]
    if not found:
        return
    if "auto" in found and len(found) > 1:
        place.error("zone", "bad-zone", "auto names one zone, and does not stand beside others", "write the zone's id")
    for word in dict.fromkeys(word for word in found if found.count(word) > 1):
        place.error("zone", "bad-zone", f"{show(word)} is named twice", "name each zone once", word)
    place.values["zone"] = found[0] if len(found) == 1 else found


def _zone_word(place: EntryContext, zone: str) -> str:
    """One zone as it is written, ``auto`` and ``manual`` in lower case."""
    if zone.lower() in ("auto", "manual"):
        return zone.lower()
    if not _ZONE_ID.fullmatch(zone):
        bare = zone.removeprefix("/hostedzone/").upper()
        hint = f"write {bare}" if _ZONE_ID.fullmatch(bare) else "write auto, manual, or an id such as Z0123456789ABC"
        message = f"{show(zone)} is neither auto nor manual nor the id of a hosted zone"
        place.error("zone", "bad-zone", message, hint, zone)
    return zone


def _wildcard(place: EntryContext) -> None:
    """A wildcard has DNS records alone, and only those that stand at its own name (RFC 4592: ``*`` is one only as the
    first label)."""
    if place.values.get("identity") is not False:
        place.error("", "wildcard", f"{place.name} is a wildcard: SES has no identity for it", "add `identity: false`")
    for key, below in (("dmarc", "_dmarc"), ("bimi", "default._bimi")):
        if place.values.get(key) is not None:
            parent = place.name.removeprefix("*.")
            place.error(
                key, "wildcard", f"{below}.{place.name} is not a wildcard: receivers would not find it",
                f"declare it at {parent}, where it holds for all names below (sp for other mail)",
            )  # fmt: skip


_SOUND: Final[set[str]] = set()
"""Records of which there is nothing to say: thousands of domains declare the same few."""


def _records(place: EntryContext) -> None:
    """Let the codec of each record judge it, and warn of what receivers ignore in it."""
    for key, read in _TEXTS.items():
        written = place.values.get(key)
        if written is None or (known := f"{key} {written!r}") in _SOUND:
            continue
        sound = _record(place, key, written, read)
        try:
            remarks = _CODECS[key].remarks(_CODECS[key].from_yaml(written)) if key in _CODECS else ()
        except ValueError:
            continue  # reported as an error
        for code, tag, what, remedy in remarks:
            place.warn(f"{key}.{tag}" if isinstance(written, dict) else key, code, what, remedy)
        if sound and not remarks and len(_SOUND) < 16384:
            _SOUND.add(known)


def _spf_text(value: Any) -> str:
    """The SPF record where there is none yet. Raises ValueError."""
    wanted = spf.from_yaml(value)
    return spf.merge(None, wanted.terms, wanted.all or "~all")


_CODECS: Final[Mapping[str, Any]] = {"dmarc": dmarc, "bimi": bimi}
_TEXTS: Final[Mapping[str, Callable[[Any], str]]] = {
    "dmarc": lambda value: dmarc.to_text(dmarc.from_yaml(value)),
    "spf": _spf_text,
    "bimi": lambda value: bimi.to_text(bimi.from_yaml(value)),
}
"""Record -> what returns the text that an entry asks for, and raises ValueError."""


def _record(place: EntryContext, key: str, value: Any, read: Callable[[Any], str]) -> bool:
    """Let the codec of a record judge it; its sentences go to the tag that they are about. ``read`` returns the text,
    which must fit a TXT record. Whether it does."""
    try:
        txt.encode(read(value))
    except ValueError as error:
        for sentence, hint in _sentences(error):
            tag = re.split(r"[:= ]", sentence, maxsplit=1)[0]
            path = f"{key}.{tag}" if isinstance(value, dict) and tag in value else key
            message = sentence.removeprefix(f"{tag}: ") if path != key else sentence
            place.error(path, f"bad-{key}", message, hint or _EXAMPLES[key], sentence)
        return False
    return True


def _sentences(error: ValueError) -> list[tuple[str, str]]:
    """The findings of a codec with their advice, which it appends after a semicolon."""
    problems = error.problems if isinstance(error, BadRecord) else (str(error),)
    found = []
    for problem in dict.fromkeys(problems):
        advice = [*_ADVICE.finditer(problem)]
        cut = advice[-1].start() if advice else len(problem)
        found.append((problem[:cut], problem[cut:].removeprefix("; ")))
    return found


def _dkim(place: EntryContext) -> None:
    block = place.values.get("dkim")
    if not isinstance(block, dict):
        return
    origin = block.get("signing_attributes_origin")
    selector = block.get("domain_signing_selector")
    if selector is not None and not _SELECTOR.fullmatch(selector):
        place.error("dkim.domain_signing_selector", "bad-selector", f"{show(selector)} is not a DKIM selector",
                    "1 to 63 letters, digits and inner hyphens, no dots")  # fmt: skip
    family = dkim_family(origin) if origin else "easy"
    allowed = dkim_companions(origin) if origin else dkim_companions("AWS_SES")
    shown = origin or "AWS_SES (the default)"
    for key in ("next_signing_key_length", "domain_signing_selector", "domain_signing_private_key"):
        if key not in block or key in allowed:
            continue
        if key == "next_signing_key_length":
            why = (
                "a Deterministic identity takes the parent's keys" if family == "deterministic" else "you bring the key"
            )
            hint = "take the key length out; AWS refuses it"
        else:
            why, hint = (
                "only EXTERNAL takes a key of yours",
                "write `signing_attributes_origin: EXTERNAL`, or take it out",
            )
        place.error(f"dkim.{key}", "dkim-conflict", f"does not go with origin {shown}: {why}", hint)
    if family == "external":
        for key, example in (
            ("domain_signing_selector", "s1"),
            ("domain_signing_private_key", "{secretsmanager: NAME}"),
        ):
            if key not in block:
                place.error("dkim", "missing-key", f"EXTERNAL needs {key}", f"write `{key}: {example}`", key)
    _private_key(place, block.get("domain_signing_private_key"))


def _private_key(place: EntryContext, reference: Any) -> None:
    if not isinstance(reference, dict):
        return
    path = "dkim.domain_signing_private_key"
    refuse_pasted(place, path, reference)
    kinds = [key for key in ("secretsmanager", "ssm", "file", "env") if key in reference]
    if len(kinds) != 1:
        place.error(path, "exactly-one", f"exactly one of secretsmanager, ssm, file, env is wanted; found "
                    f"{', '.join(kinds) or 'none'}", "say in one place where the key is")  # fmt: skip
    region = reference.get("region")
    if isinstance(region, str) and not REGION_NAME.fullmatch(region):
        place.error(
            f"{path}.region", "unknown-region", f"{show(region)} is not the name of a region", "such as us-east-1"
        )
    file = reference.get("file")
    if isinstance(file, str):
        parts = file.replace("\\", "/").split("/")
        if file.startswith(("/", "~")) or re.match(r"[A-Za-z]:", file):
            if file.startswith("~"):
                place.error(f"{path}.file", "bad-path", "~ is not replaced in paths", "write the whole path")
            else:
                place.warn(
                    f"{path}.file", "absolute-path", "an absolute path exists only on machines that are set up for it",
                    "secretsmanager, ssm or env work everywhere",
                )  # fmt: skip
        elif ".." in parts:
            place.error(f"{path}.file", "bad-path", "the path leads out of the state directory",
                        "write a path below the state directory, or a whole one")  # fmt: skip


def _mail_from(place: EntryContext) -> None:
    block = place.values.get("mail_from")
    if not isinstance(block, dict):
        return
    if place.region in UNPUBLISHED:
        place.error(
            "mail_from", "unpublished-host", "a MAIL FROM domain needs the MX of SES, whose name AWS has not published "
            f"for {place.region}: a guessed MX would lose bounces",
            "take mail_from out: bounces then go to SES's own domain",
        )  # fmt: skip
        return
    if "mail_from_domain" not in block:
        place.error("mail_from", "missing-key", "mail_from_domain is missing",
                    'write a name such as "bounce-${region}.${domain}"; `mail_from: null` switches it off')  # fmt: skip
        return
    name = block["mail_from_domain"]
    if not isinstance(name, str):
        return
    path = "mail_from.mail_from_domain"
    try:
        folded = fold_domain(name)
    except ValueError as error:
        place.error(
            path, "bad-name", str(error), f'write a name below {place.name}, such as "bounce-${{region}}.${{domain}}"'
        )
        return
    block["mail_from_domain"] = folded
    if not is_below(folded, place.name):
        place.error(
            path, "mail-from-outside", f"{folded} is not below {place.name}: SES takes only a subdomain",
            f'write a name below it, such as "bounce-${{region}}.${{domain}}" or bounce.{place.name}',
        )  # fmt: skip


def _policies(place: EntryContext) -> None:
    policies = place.values.get("policies")
    if not isinstance(policies, dict):
        return
    if len(policies) > MAX_POLICIES:
        place.error("policies", "too-many", f"{len(policies)} policies; SES takes {MAX_POLICIES} an identity",
                    "join some of them: a policy may hold several statements")  # fmt: skip
    for name, body in policies.items():
        path = f"policies.{name}"
        if not _POLICY_NAME.fullmatch(name):
            place.error(
                path, "bad-name", f"{show(name)} is not a name for a policy", "1 to 64 letters, digits, - and _"
            )
        if not isinstance(body, dict):
            continue
        size = len(canonical_json(body).encode())
        if size > MAX_POLICY_BYTES:
            place.error(path, "too-long", f"the policy has {size} bytes; SES takes {MAX_POLICY_BYTES}",
                        "split it into several, or shorten it")  # fmt: skip
        check_policy(place, path, body)


def check_together(together: Together) -> None:
    """How the domains of one state fit together."""
    for entry in together.section("domains"):
        _deterministic(together, entry)
    _mail_from_names(together)
    _selectors(together)


def _deterministic(together: Together, entry: Entry) -> None:
    dkim = entry.values.get("dkim")
    origin = dkim.get("signing_attributes_origin") if isinstance(dkim, dict) else None
    if entry.region is None or not isinstance(origin, str) or dkim_family(origin) != "deterministic":
        return
    path = "dkim.signing_attributes_origin"
    parent = deterministic_parent(origin) or ""
    if parent == entry.region:
        together.error(
            entry, path, "deterministic-own-region", f"{origin} in {entry.region}: a replica is in another region "
            "than its parent", f"write it for the other regions only: by_region: {{REGION: {{dkim: "
            f"{{signing_attributes_origin: {origin}}}}}}}, and AWS_SES for {parent}",
        )  # fmt: skip
        return
    family = together.index.get((entry.section, entry.name), {})
    source = family.get(parent)
    if source is None:
        together.warn(
            entry, path, "deterministic-parent", f"the parent identity in {parent} is not declared here",
            f"add {parent} to the domain's regions, or see to it that the identity exists there with Easy DKIM",
        )  # fmt: skip
        return
    block = source.values.get("dkim")
    other = block.get("signing_attributes_origin") if isinstance(block, dict) else None
    if isinstance(other, str) and dkim_family(other) != "easy":
        together.error(
            entry, path, "deterministic-parent", f"the parent in {parent} has origin {other}; only one with "
            "Easy DKIM can be a parent", f"write AWS_SES for {parent}",
        )  # fmt: skip


def _selectors(together: Together) -> None:
    """One selector is one record: two regions may share it only if they share the key."""
    seen: dict[tuple[str, str], tuple[str, Entry]] = {}
    for entry in together.section("domains"):
        dkim = entry.values.get("dkim")
        if not isinstance(dkim, dict) or entry.region is None:
            continue
        selector, key = dkim.get("domain_signing_selector"), dkim.get("domain_signing_private_key")
        if not isinstance(selector, str) or key is None:
            continue
        place = (entry.name, selector.lower())
        reference = canonical_json(key)
        before = seen.setdefault(place, (reference, entry))
        if before[0] != reference:
            together.error(
                entry, "dkim.domain_signing_selector", "selector-clash",
                f"the selector {selector} is the selector of another key in {before[1].region}",
                "use one key for both regions, or another selector",
            )  # fmt: skip


def _mail_from_names(together: Together) -> None:
    seen: dict[str, Entry] = {}
    for entry in together.section("domains"):
        block = entry.values.get("mail_from")
        name = block.get("mail_from_domain") if isinstance(block, dict) else None
        if entry.region is None or not isinstance(name, str):
            continue
        path = "mail_from.mail_from_domain"
        before = seen.setdefault(name, entry)
        if before is entry:
            _mail_from_meets_others(together, entry, path, name)
        elif before.name == entry.name:
            together.error(
                entry, path, "mail-from-shared", f"{name} is the MAIL FROM name in {before.region} and in "
                f"{entry.region}: its one MX can only point to one region",
                'put the region into it: "bounce-${region}.${domain}"', name,
            )  # fmt: skip
        else:
            together.error(
                entry, path, "mail-from-shared", f"{name} is also the MAIL FROM name of {before.name} "
                f"({before.source_of(path)})", 'put the domain into it: "bounce-${region}.${domain}"', name,
            )  # fmt: skip


def _mail_from_meets_others(together: Together, entry: Entry, path: str, name: str) -> None:
    other = together.index.get(("domains", name), {}).get(None)
    if other is None:
        return
    if other.values.get("null_mx") is True:
        together.error(
            entry, path, "mail-from-null-mx", f"{name} is also declared with null_mx ({other.source}); a MAIL FROM "
            "name needs the MX of SES", "choose another name",
        )  # fmt: skip
    elif other.values.get("identity") is not False:
        together.warn(
            entry, path, "mail-from-is-identity", f"{name} is also declared as a domain ({other.source}); AWS asks "
            "that a MAIL FROM name neither sends nor receives mail of its own", "choose a name for MAIL FROM alone",
        )  # fmt: skip
