"""Public DNS as a server: the sandbox's zones over UDP and TCP, for what asks DNS instead of Route 53.

Answers come from the same look-up that verifies identities, so a tool sees exactly what SES sees. Alias sets have no
answer of their own. Source: RFC 1035, 6.1 and 4.2; RFC 2308 for the SOA of negative answers.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from typing import Any, Final

from reconciler.sandbox.dns import Resolver
from reconciler.sandbox.records import BadRecord, normalise_name, show_name
from reconciler.sandbox.world import World

UDP_SIZE: Final = 512


def answer(world: World, resolver: Resolver, wire: bytes, limit: int) -> bytes | None:
    """The reply to one query of at most ``limit`` bytes (then truncated); None for what is no query."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

    try:
        query = dns.message.from_wire(wire)
        reply = dns.message.make_response(query, recursion_available=True)
    except (dns.exception.DNSException, struct.error):
        return None
    if len(query.question) != 1:
        reply.set_rcode(dns.rcode.FORMERR)
        return reply.to_wire()
    question = query.question[0]
    name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
    with world.lock:
        owner = name
        for _ in range(8):
            alias = resolver.lookup(owner, "CNAME").values if kind != "CNAME" else ()
            if not alias:
                break
            reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", _dotted(alias[0])))
            owner = _dotted(alias[0])
        records = resolver.records(owner, kind)
        found = resolver.lookup(owner, kind)
        if records:
            values = [v if kind not in ("CNAME", "MX", "NS", "PTR") else _dotted(v) for v in records]
            reply.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *values))
        else:
            if found.code == "NXDOMAIN":
                reply.set_rcode(dns.rcode.NXDOMAIN)
            if found.zone is not None:
                soa = found.zone.sets[(found.zone.name, "SOA", "")]["ResourceRecords"][0]["Value"]
                reply.authority.append(dns.rrset.from_text(found.zone.name, 60, "IN", "SOA", soa))
    size = limit if query.edns < 0 else max(limit, query.payload)
    try:
        return reply.to_wire(max_size=size)
    except dns.exception.TooBig:
        short = dns.message.make_response(query, recursion_available=True)
        short.flags |= dns.flags.TC
        return short.to_wire()


def _dotted(value: str) -> str:
    """A name in record data as a master file has it: absolute."""
    head, _, target = value.strip().rpartition(" ")
    try:
        shown = show_name(normalise_name(target)) if target != "." else target
    except BadRecord:
        shown = target
    return f"{head} {shown}".strip()


class NameServer:
    """Serves DNS on one loopback port, UDP and TCP, in two threads."""

    def __init__(self, world: World, resolver: Resolver, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises: OSError if the port is taken."""

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, channel = self.request
                if (reply := answer(world, resolver, data, UDP_SIZE)) is not None:
                    channel.sendto(reply, self.client_address)

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = self.rfile.read(2)
                if len(head) == 2:
                    data = self.rfile.read(struct.unpack("!H", head)[0])
                    if (reply := answer(world, resolver, data, 65535)) is not None:
                        self.wfile.write(struct.pack("!H", len(reply)) + reply)

        self._servers: list[Any] = [socketserver.ThreadingTCPServer((host, port), Stream)]
        self.address = (host, int(self._servers[0].server_address[1]))
        try:
            self._servers.append(socketserver.ThreadingUDPServer(self.address, Datagram))
        except OSError:
            self._servers[0].server_close()
            raise
        for server in self._servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
