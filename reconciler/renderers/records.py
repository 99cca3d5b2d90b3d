"""DNS records for somebody else to publish: as text, a sheet in Markdown, CSV, and in the forms that DNS tools read.

Records are the JSON objects of ``recon records``. Sources: RFC 1035 section 5 (zone files; a character as ``\\DDD``,
decimal); Cloudflare Docs "Import and export records" (BIND form, ``cf_tags=cf-proxied:false``); octoDNS documentation
"Records" (semicolons of TXT are escaped); Terraform AWS provider, ``aws_route53_record`` (strings of a long TXT value
are separated by ``""``); HCL native syntax specification, "Template expressions" (``$${``).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from reconciler.renderers.escape import markdown_code, markdown_text, safe

RecordRow = Mapping[str, Any]

FORMATS: Final = ("text", "bind", "csv", "json", "markdown", "octodns", "terraform", "cloudflare")
ZONE_FORMATS: Final = ("bind", "cloudflare", "octodns", "terraform")
"""Forms that a DNS tool reads as they are: every value must be known."""
ENDINGS: Final = {
    "text": "txt", "bind": "zone", "csv": "csv", "json": "json", "markdown": "md", "octodns": "yaml",
    "terraform": "tf", "cloudflare": "zone",
}  # fmt: skip

PURPOSES: Final[Mapping[str, str]] = {
    "dkim": "DKIM: SES signs mail", "mail_from": "MAIL FROM: bounces come back to SES",
    "dmarc": "DMARC policy", "spf": "SPF: who may send", "bimi": "BIMI: the logo",
    "null_mx": "takes no mail", "tracking": "links and opens are counted",
}  # fmt: skip
COLUMNS: Final = ("domain", "name", "type", "ttl", "priority", "value", "purpose", "status")
_STRING: Final = 255
"""Octets in one string of a TXT value (RFC 1035 section 3.3)."""


def drawn(records: Sequence[RecordRow], format: str) -> str:
    """The records in one of ``FORMATS`` but ``json``; they are in order, all of a domain together."""
    return _DRAWN[format](records)


def _by_domain(records: Iterable[RecordRow]) -> dict[str, list[RecordRow]]:
    found: dict[str, list[RecordRow]] = {}
    for one in records:
        found.setdefault(one["domain"], []).append(one)
    return found


def zones_of(records: Iterable[RecordRow]) -> dict[str, list[RecordRow]]:
    """The records by the outermost of their domains, which is taken for the zone: ``shop.acme.com`` is in ``acme.com``
    if both have records."""
    domains = {one["domain"] for one in records}
    found: dict[str, list[RecordRow]] = {}
    for one in records:
        labels = one["domain"].split(".")
        above = (".".join(labels[n:]) for n in range(len(labels)))
        found.setdefault(next(name for name in above if _outermost(name, domains)), []).append(one)
    return found


def _outermost(name: str, domains: Iterable[str]) -> bool:
    return name in domains and not any(name.endswith(f".{other}") for other in domains)


def _text(records: Sequence[RecordRow]) -> str:
    if not records:
        return "No records to publish.\n"
    blocks = []
    for domain, group in _by_domain(records).items():
        rows = [
            (one["status"] if one["status"] != "unchecked" else "", one["type"], one["name"], _value(one),
             _purpose(one))
            for one in group
        ]  # fmt: skip
        widths = [max(len(safe(row[n])) for row in rows) for n in range(4)]
        lines = [
            "  ".join(
                [*(safe(cell).ljust(width) for cell, width in zip(row[:4], widths, strict=True) if width), row[4]]
            )
            for row in rows
        ]
        blocks.append("".join(f"{line}\n" for line in [safe(domain), *(f"  {line}".rstrip() for line in lines)]))
    return "\n".join(blocks)


def _purpose(one: RecordRow) -> str:
    return PURPOSES.get(str(one["purpose"]), str(one["purpose"]))


def _value(one: RecordRow) -> str:
    return str(one["value"]) if one["priority"] is None else f"{one['priority']} {one['value']}"


_SHEET: Final = (
    "Please create these records where the DNS of the domain is managed. Names are complete: leave the domain out if "
    "the form adds it by itself. Do not send CNAME records through a proxy. A TXT value is one text, even if the form "
    "splits it."
)


def _markdown(records: Sequence[RecordRow]) -> str:
    """A sheet for whoever runs the DNS: what to create, and how."""
    if not records:
        return "No records to publish.\n"
    parts = []
    for domain, group in _by_domain(records).items():
        checked = any(one["status"] != "unchecked" for one in group)
        heads = ["Type", "Name", "Value", "Priority", "TTL", "For", *(["Status"] if checked else [])]
        lines = [
            f"## DNS records for {markdown_text(domain)}", "",
            _SHEET, "",
            "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads),
        ]  # fmt: skip
        for one in group:
            cells = [
                one["type"], markdown_code(one["name"]), markdown_code(one["value"]),
                "" if one["priority"] is None else str(one["priority"]), str(one["ttl"]),
                markdown_text(_purpose(one)), *([one["status"]] if checked else []),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if any(one["purpose"] == "spf" for one in group):
            lines += ["", "A name has one SPF record: if it has one already, add to that instead of creating a second."]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _csv(records: Sequence[RecordRow]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    columns = (*COLUMNS, "since")
    table.writerow(columns)
    table.writerows(["" if one.get(column) is None else one[column] for column in columns] for one in records)
    return out.getvalue()


def _strings(text: str) -> list[str]:
    """A TXT value as strings of at most 255 octets; cut between characters of UTF-8."""
    strings, current, size = [], "", 0
    for char in text:
        octets = len(char.encode())
        if size + octets > _STRING:
            strings.append(current)
            current, size = "", 0
        current, size = current + char, size + octets
    return [*strings, current]


def _quoted(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if 32 <= ord(char) < 127 else "".join(f"\\{octet:03d}" for octet in char.encode())


def _zone_line(one: RecordRow, after: str = "") -> str:
    match one["type"]:
        case "TXT":
            value = " ".join(map(_quoted, _strings(one["value"])))
        case "MX":
            value = f"{one['priority']} {_absolute(one['value'])}"
        case _:
            value = _absolute(one["value"])
    return f"{one['name']}. {one['ttl']} IN {one['type']} {value}{after}\n"


def _absolute(host: str) -> str:
    return host if host.endswith(".") else f"{host}."


def _bind(records: Sequence[RecordRow], after: str = "") -> str:
    parts = []
    for domain, group in _by_domain(records).items():
        parts.append(
            f"; {domain}\n" + "".join(_zone_line(one, after if one["type"] == "CNAME" else "") for one in group)
        )
    return "\n".join(parts)


def _cloudflare(records: Sequence[RecordRow]) -> str:
    """The BIND form; CNAMEs are not sent through Cloudflare's proxy, which would hide their targets."""
    return _bind(records, " ; cf_tags=cf-proxied:false")


def _sets(records: Iterable[RecordRow]) -> dict[tuple[str, str], list[RecordRow]]:
    found: dict[tuple[str, str], list[RecordRow]] = {}
    for one in records:
        found.setdefault((one["name"], one["type"]), []).append(one)
    return found


def _octodns(records: Sequence[RecordRow]) -> str:
    """One YAML document a zone. Strings are written as in JSON, which YAML reads alike."""
    parts = []
    for zone, group in zones_of(records).items():
        names: dict[str, list[str]] = {}
        for (name, kind), same in sorted(_sets(group).items()):
            values = [_octodns_value(one) for one in same]
            listed = f"value: {values[0]}" if len(values) == 1 else f"values: [{', '.join(values)}]"
            label = name.removesuffix(zone).removesuffix(".")
            names.setdefault(label, []).append(f"- ttl: {same[0]['ttl']}\n    type: {kind}\n    {listed}\n")
        text = "".join(f"{json.dumps(label)}:\n  {'  '.join(items)}" for label, items in sorted(names.items()))
        parts.append(f"---\n# zone {zone}.\n{text}")
    return "".join(parts)


def _octodns_value(one: RecordRow) -> str:
    match one["type"]:
        case "TXT":
            # octoDNS wants semicolons escaped; it cuts long values into strings itself
            return json.dumps(one["value"].replace(";", "\\;"), ensure_ascii=False)
        case "MX":
            return f"{{exchange: {json.dumps(_absolute(one['value']))}, preference: {one['priority']}}}"
        case _:
            return json.dumps(_absolute(one["value"]))


def _terraform(records: Sequence[RecordRow]) -> str:
    parts = []
    zones, taken = set[str](), set[str]()
    for zone, group in zones_of(records).items():
        label = _label(zone, zones)
        parts.append(f'data "aws_route53_zone" "{label}" {{\n  name = {_hcl(zone)}\n}}\n')
        for (name, kind), same in _sets(group).items():
            values = ", ".join(_hcl(_terraform_value(one)) for one in same)
            parts.append(
                f'resource "aws_route53_record" "{_label(f"{name}_{kind.lower()}", taken)}" {{\n'
                f"  zone_id = data.aws_route53_zone.{label}.zone_id\n  name    = {_hcl(name)}\n"
                f"  type    = {_hcl(kind)}\n  ttl     = {same[0]['ttl']}\n  records = [{values}]\n}}\n"
            )
    return "\n".join(parts)


def _terraform_value(one: RecordRow) -> str:
    if one["type"] == "TXT":
        return '""'.join(text.replace("\\", "\\\\").replace('"', '\\"') for text in _strings(one["value"]))
    return _value(one)


def _hcl(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _label(name: str, taken: set[str]) -> str:
    """A name for Terraform that nothing has yet."""
    plain = re.sub(r"[^a-z0-9]+", "_", name).strip("_")
    text = plain = plain if plain[:1].isalpha() else f"r_{plain}"
    number = 1
    while text in taken:
        number += 1
        text = f"{plain}_{number}"
    taken.add(text)
    return text


_DRAWN: Final[Mapping[str, Callable[[Sequence[RecordRow]], str]]] = {
    "text": _text, "markdown": _markdown, "csv": _csv, "bind": _bind, "cloudflare": _cloudflare,
    "octodns": _octodns, "terraform": _terraform,
}  # fmt: skip
