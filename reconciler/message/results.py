"""Authentication-Results, Received-SPF and Received in the forms that receivers write, and which of them to believe.

Anybody can write such headers before the message is sent. Only what the last receiver wrote counts: its name is in the
``by`` of the Received headers, which nobody but it could put on top. Sources: RFC 8601 (Authentication-Results), RFC
7208 (Received-SPF), RFC 5321 (Received); mails of Gmail, Microsoft, Yahoo and SES for what these do otherwise.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler.message.reading import MailPart, domain_in

_WITHOUT_ID: Final = (
    "outlook.com", "microsoft.com", "exchangelabs.com", "office365.com", "hotmail.com", "outlook.cn", "office365.us",
)  # fmt: skip
"""Receivers that write no name into their header."""
_SAME: Final = {"amazonaws.com": "amazonses.com", "googlemail.com": "google.com"}
"""Sites that write another site's name into their header."""
_METHODS: Final = frozenset(
    {"dkim", "spf", "dmarc", "arc", "compauth", "domainkeys", "sender-id", "iprev", "auth", "bimi"}
)
_OF_SES: Final = re.compile(r"\s*(client-ip|envelope-from|helo|receiver)\s*=\s*(\S+)", re.IGNORECASE)
MAX_VALUE: Final = 10_000
"""Characters of a header that are looked at."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One result: ``dkim=pass (comment) header.d=acme.com`` has the properties ``{"header.d": "acme.com"}``."""

    method: str
    result: str
    comment: str
    properties: Mapping[str, str]

    @property
    def domain(self) -> str:
        """The domain that the result is about."""
        for name in (
            "header.d",
            "header.i",
            "smtp.mailfrom",
            "smtp.mfrom",
            "envelope-from",
            "header.from",
            "smtp.helo",
        ):
            if value := self.properties.get(name, "").strip("<>\"'"):
                return domain_in(value.rpartition("@")[2])
        return ""


@dataclass(frozen=True, slots=True)
class AuthenticationResults:
    """The header of one receiver; ``server`` is the name it gave itself, "" where it gave none."""

    server: str
    results: tuple[MethodResult, ...]

    def of(self, method: str) -> list[MethodResult]:
        return [one for one in self.results if one.method == method]


@dataclass(frozen=True, slots=True)
class MailHop:
    """One Received header: who handed the message to whom. Names and addresses are "" where it does not say."""

    sender: str
    address: str
    by: str
    place: int


@dataclass(frozen=True, slots=True)
class Receiver:
    """The last receiver: its site, its results (None where it wrote none), where it got the message from, and the
    servers whose results are not believed."""

    site: str
    results: AuthenticationResults | None
    client: MailHop | None
    foreign: tuple[str, ...]


def parse_results(value: str) -> AuthenticationResults:
    """The results of a header; what is not of the form ``method=result`` is left out."""
    pieces = list(_pieces(value[:MAX_VALUE]))
    server, rest = "", pieces
    words = pieces[0].split() if pieces else []
    if words and "=" not in re.sub(r"\(.*", "", words[0]):
        server = words[0].lower()
        rest = [pieces[0][pieces[0].find(words[0]) + len(words[0]) :], *pieces[1:]]
    results: list[MethodResult] = []
    for piece in rest:
        if (found := _result(piece)) is not None:
            results.append(found)
        elif results and (more := _OF_SES.match(piece)):  # SES divides what belongs to its SPF result
            last = results.pop()
            properties = {**last.properties, more[1].lower(): more[2].strip('"')}
            results.append(MethodResult(last.method, last.result, last.comment, properties))
    return AuthenticationResults(server, tuple(results))


def _pieces(value: str) -> Iterator[str]:
    """What semicolons divide, outside quotes and comments."""
    depth, quoted, start = 0, False, 0
    for place, char in enumerate(value):
        if char == '"' and not depth:
            quoted = not quoted
        elif not quoted:
            depth = max(depth + (char == "(") - (char == ")"), 0)
            if char == ";" and not depth:
                yield value[start:place].strip()
                start = place + 1
    yield value[start:].strip()


def _result(piece: str) -> MethodResult | None:
    comments = re.findall(r"\(([^()]*)\)", piece)
    plain = piece
    for _ in range(5):  # comments in comments
        plain = re.sub(r"\([^()]*\)", " ", plain)
    found = re.match(r"\s*([a-z][\w-]*)(?:/\d+)?\s*=\s*([a-z]+)", plain, re.IGNORECASE)
    if found is None or found[1].lower() not in _METHODS:
        return None
    listed = re.findall(r'([a-z][\w-]*(?:\.[\w-]+)?)\s*=\s*("[^"]*"|[^\s;]*)', plain[found.end() :], re.IGNORECASE)
    properties = {name.lower(): value.strip('"') for name, value in listed}
    return MethodResult(found[1].lower(), found[2].lower(), comments[0].strip() if comments else "", properties)


def parse_hop(value: str, place: int) -> MailHop:
    """A Received header."""
    value = value[:MAX_VALUE]
    path = value.rpartition(";")[0] or value
    head, by, tail = path.partition(" by ") if not path.startswith("by ") else ("", "by ", path[3:])
    sender = re.match(r"\s*from\s+(\S+)", head, re.IGNORECASE)
    named = re.match(r"\s*([^\s;()]+)", tail) if by else None
    address = next(
        filter(None, map(_address, re.findall(r"[\[( ]((?:IPv6:)?[0-9A-Fa-f:.]{3,45})[\]) ,]", f"{head} "))), ""
    )
    return MailHop(
        domain_in(sender[1].strip("[]()")) if sender else "",
        address,
        named[1].lower().rstrip(".") if named else "",
        place,
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.removeprefix("IPv6:")))
    except ValueError:
        return ""


def hops(message: MailPart) -> list[MailHop]:
    """The Received headers, the last hop first."""
    return [parse_hop(header.value, header.place) for header in message.headers if header.name == "received"]


def site(host: str) -> str:
    """The part of a host name that its owner registered: a guess, good enough to compare names of one operator."""
    labels = host.rstrip(".").lower().split(".")
    if len(labels) < 2 or _address(host) or not labels[-1].isalpha():
        return ""
    long = len(labels[-1]) == 2 and len(labels[-2]) <= 3 and len(labels) > 2
    found = ".".join(labels[-3 if long else -2 :])
    return _SAME.get(found, found)


def receiver_of(message: MailPart) -> Receiver:
    """Who received the message last, and what it found.

    Its own is the highest header that it wrote: one above all Received headers, or one that bears its name. RFC 8601
    has every receiver delete what bears its name when it comes from outside.
    """
    path = hops(message)
    own = next((found for hop in path if (found := site(hop.by))), "")
    first = path[0].place if path else None
    results, foreign = None, []
    for header in message.headers:
        if header.name != "authentication-results":
            continue
        parsed = parse_results(header.value)
        above = first is None or header.place < first
        named = site(parsed.server) == own if parsed.server else own in _WITHOUT_ID
        if results is None and (above or (own and named)):
            results = parsed
        elif results is not None and above and first is not None and _is_more(parsed, results):
            results = AuthenticationResults(results.server, (*results.results, *parsed.results))
        elif results is None or site(parsed.server) != site(results.server):
            foreign.append(parsed.server or "a server without a name")
    if results is not None and not results.of("spf") and (more := _received_spf(message, first)):
        results = AuthenticationResults(results.server, (*results.results, more))
    inner = [hop for hop in path if site(hop.by) in {own, ""}]
    client = next((hop for hop in reversed(inner) if hop.address), None)
    return Receiver(own or site(results.server if results else ""), results, client, tuple(dict.fromkeys(foreign)))


def _is_more(parsed: AuthenticationResults, results: AuthenticationResults) -> bool:
    """Whether a header is another of the same receiver, which writes one for each method under a name of its own, as
    iCloud does. Above all Received headers nobody else could write it."""
    known = {one.method for one in results.results}
    other = parsed.server != results.server and site(parsed.server) == site(results.server) != ""
    return other and not known & {one.method for one in parsed.results}


def _received_spf(message: MailPart, first: int | None) -> MethodResult | None:
    """The receiver's Received-SPF: one before the second Received header."""
    path = hops(message)
    limit = path[1].place if len(path) > 1 else len(message.headers)
    for header in message.headers:
        if header.name == "received-spf" and header.place <= max(limit, first or 0):
            return _result(f"spf={header.value.replace(';', ' ')}")
    return None
