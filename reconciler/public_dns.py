"""Public DNS, through resolvers. An answer has values, or says that there are none, or that no resolver answered.

Source: RFC 1035 and 2308 (NXDOMAIN and NODATA mean that there are no records; SERVFAIL and timeouts mean nothing).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from reconciler.activity import counted
from reconciler.errors import ReconError

TIMEOUT = 5.0
"""Seconds for one name, including all resolvers and retries."""
PARALLELISM = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """``values`` in presentation form: names in lower case without the final dot, TXT strings joined. ``problem`` is
    why no resolver answered ("" if one did)."""

    values: tuple[str, ...] = ()
    ttl: int = 0
    problem: str = ""


class PublicDns:
    """Queries the given resolvers (``ADDRESS`` or ``ADDRESS:PORT``), else that of ``RECON_RESOLVER``, else the
    system's. Raises ReconError for another form, or if there is no resolver."""

    def __init__(self, resolvers: Iterable[str] = (), timeout: float = TIMEOUT) -> None:
        import dns.exception
        import dns.nameserver
        import dns.resolver

        given, named = list(resolvers), "the resolver"
        if not given and (from_environment := os.environ.get("RECON_RESOLVER")):
            given, named = [from_environment], "RECON_RESOLVER"
        try:
            self._resolver: Any = dns.resolver.Resolver(configure=not given)
        except dns.resolver.NoResolverConfiguration:
            raise ReconError("this machine has no DNS resolver", hint="set RECON_RESOLVER=ADDRESS:PORT") from None
        if given:
            self._resolver.nameservers = [self._server(text, named) for text in given]
        self._resolver.lifetime = timeout
        self._resolver.timeout = min(timeout, 2.0)

    @staticmethod
    def _server(text: str, named: str) -> Any:
        import ipaddress

        import dns.nameserver

        host, colon, port = text.strip().rpartition(":")
        if not colon or (text.count(":") > 1 and not text.startswith("[")):
            host, port = text.strip(), "53"
        host = host.strip("[]")
        try:
            if ipaddress.ip_address(host).is_unspecified:
                raise ValueError
            number = int(port)
        except ValueError:
            raise ReconError(f"{named} {text!r} is not an address", hint="such as 1.1.1.1 or 127.0.0.1:5353") from None
        return dns.nameserver.Do53Nameserver(host, number)

    def ask(self, questions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """The answer to each (name, type), queried in parallel."""
        pending = list(questions)
        with ThreadPoolExecutor(max_workers=PARALLELISM) as pool:
            answers = counted(pool.map(lambda q: self.one(*q), pending), "record in public DNS", len(pending))
            return dict(zip(pending, answers, strict=True))

    def one(self, name: str, kind: str) -> Answer:
        """The answer to one question."""
        import dns.exception
        import dns.resolver

        try:
            answer = self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return Answer()
        except dns.resolver.LifetimeTimeout:
            return Answer(problem="no resolver answered in time")
        except (dns.exception.DNSException, OSError, ValueError) as problem:
            return Answer(problem=f"the resolvers failed ({type(problem).__name__})")
        return Answer(tuple(sorted(_value(record, kind) for record in answer)), int(answer.rrset.ttl))


def _value(record: Any, kind: str) -> str:
    if kind == "TXT":
        return b"".join(record.strings).decode("utf-8", "backslashreplace")
    if kind == "MX":
        return f"{record.preference} {record.exchange.to_text(omit_final_dot=True).lower() or '.'}"
    return str(record.to_text()).rstrip(".").lower()
