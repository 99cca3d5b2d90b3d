"""Route 53 record sets as values: names, record data and their checks.

Source: Amazon Route 53 Developer Guide, "DNS domain name format", "Supported DNS record types", "Quotas".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

NAME_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
QUOTED: Final = frozenset({"TXT", "SPF"})
ROUTING: Final = ("Weight", "Region", "GeoLocation", "Failover", "MultiValueAnswer", "CidrRoutingConfig",
                  "GeoProximityLocation")  # fmt: skip
MAX_STRING: Final = 255
MAX_VALUES: Final = 400

_OCTAL = re.compile(r"\\([0-3][0-7]{2})")
_STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"')


class BadRecord(Exception):
    """Why AWS would refuse a name or a value; the text is the message inside InvalidChangeBatch."""


def normalise_name(name: str) -> str:
    r"""A name as it is compared: lower case, escapes decoded, with trailing dot. ``\052.A.com`` -> ``*.a.com.``.

    Raises: BadRecord for empty or too long labels and names.
    """
    text = _OCTAL.sub(lambda m: chr(int(m.group(1), 8)), name).lower()
    text = text if text.endswith(".") else text + "."
    if text == ".":
        raise BadRecord("FATAL problem: DomainLabelEmpty (Domain label is empty) encountered with '.'")
    for label in text[:-1].split("."):
        if not label:
            raise BadRecord(f"FATAL problem: DomainLabelEmpty (Domain label is empty) encountered with '{name}'")
        if len(label) > 63:
            raise BadRecord(f"FATAL problem: DomainLabelTooLong (Domain label is too long) encountered with '{name}'")
    if len(text) > 255:
        raise BadRecord(f"FATAL problem: DomainNameTooLong (Domain name is too long) encountered with '{name}'")
    if any(ord(c) > 255 for c in text):
        raise BadRecord(
            f"FATAL problem: UnsupportedCharacter (Value contains unsupported characters) encountered with '{name}'"
        )
    return text


def show_name(name: str) -> str:
    r"""A normalised name as Route 53 returns it: all but ``a-z 0-9 - _ .`` as ``\ooo``."""
    if all(c in NAME_SAFE or c == "." for c in name):
        return name
    return "".join(c if c in NAME_SAFE or c == "." else f"\\{ord(c):03o}" for c in name)


def sort_key(name: str) -> tuple[str, ...]:
    """The order in which Route 53 lists names: labels reversed, parents before children."""
    return tuple(reversed(name.rstrip(".").split(".")))


def is_below(name: str, zone: str) -> bool:
    """Whether ``name`` is ``zone`` or below it; both normalised."""
    return name == zone or name.endswith("." + zone)


def text_of(value: str) -> str:
    """A quoted TXT value as DNS clients see it: strings joined, escapes decoded; bytes as latin-1 characters.

    Strings may stand side by side without a space, as the many users of Terraform write them.

    Raises: BadRecord where Route 53 would refuse the value.
    """
    strings = []
    position = 0
    while position < len(value):
        match = _STRINGS.match(value, position)
        if match is None:
            raise BadRecord(
                "FATAL problem: InvalidCharacterString (Value should be enclosed in quotation marks) encountered with "
                f"'{value}'"
            )
        text = re.sub(r"\\([0-3][0-7]{2}|.)", lambda m: _unescape(m.group(1)), match.group(1))
        if any(ord(c) > 126 or ord(c) < 32 for c in match.group(1)):
            raise BadRecord(
                "FATAL problem: UnsupportedCharacter (Value contains unsupported characters) encountered with "
                f"'{value}'"
            )
        if len(text) > MAX_STRING:
            raise BadRecord(
                f"FATAL problem: CharacterStringTooLong (Value is too long) encountered with '{match.group(0)}'"
            )
        strings.append(text)
        position = match.end()
        position = len(value) - len(value[position:].lstrip(" \t"))
    if not strings:
        raise BadRecord(
            "FATAL problem: InvalidCharacterString (Value should be enclosed in quotation marks) encountered with ''"
        )
    return "".join(strings)


def _unescape(found: str) -> str:
    return chr(int(found, 8)) if len(found) == 3 else found


def check_value(kind: str, value: str) -> None:
    """Check one record's data by its type. Raises: BadRecord in Route 53's words."""
    try:
        if kind in QUOTED:
            text_of(value)
        elif kind == "A":
            ipaddress.IPv4Address(value)
        elif kind == "AAAA":
            ipaddress.IPv6Address(value)
        elif kind in ("CNAME", "NS", "PTR"):
            normalise_name(value)
            if " " in value.strip():
                raise BadRecord(f"FATAL problem: InvalidDomainName (Value contains spaces) encountered with '{value}'")
        elif kind == "MX":
            preference, _, target = value.strip().partition(" ")
            if not preference.isdigit() or int(preference) > 65535 or not target.strip() or " " in target.strip():
                raise BadRecord(
                    f"FATAL problem: MRRNotTwoFields (MX record doesn't have 2 fields) encountered with '{value}'"
                )
            if target.strip() != ".":
                normalise_name(target.strip())
        elif kind == "SRV" and len(value.split()) != 4:
            raise BadRecord(
                f"FATAL problem: SRVRRNotFourFields (SRV record doesn't have 4 fields) encountered with '{value}'"
            )
        elif kind == "CAA" and not re.fullmatch(r'\d{1,3} [a-z0-9]+ ".*"', value):
            raise BadRecord(
                f"FATAL problem: CAARRNotThreeFields (CAA record doesn't have 3 fields) encountered with '{value}'"
            )
    except ipaddress.AddressValueError as error:
        problem = "InvalidIPv4Address" if kind == "A" else "InvalidIPv6Address"
        raise BadRecord(f"ARRDATAIllegalIPv4Address: {problem} (Value is not a valid address) '{value}'") from error


def elements(record_set: Mapping[str, Any]) -> int:
    """How many ResourceRecord elements a set counts against the limit of 1,000; an alias counts as one."""
    return len(record_set.get("ResourceRecords", ())) or 1


def characters(record_set: Mapping[str, Any]) -> int:
    """How many characters a set counts against the limit of 32,000: those of all its values."""
    return sum(len(r["Value"]) for r in record_set.get("ResourceRecords", ()))


def same_set(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether a DELETE names exactly the live set: TTL, values in any order, alias target and routing."""

    def shape(record_set: Mapping[str, Any]) -> dict[str, Any]:
        found = {k: v for k, v in record_set.items() if k not in ("Name", "ResourceRecords", "AliasTarget")}
        found["values"] = sorted(r["Value"] for r in record_set.get("ResourceRecords", ()))
        if alias := record_set.get("AliasTarget"):
            found["alias"] = {**alias, "DNSName": normalise_name(alias["DNSName"])}
        return found

    return shape(left) == shape(right)
