"""What the world outside AWS shows: TXT texts in public DNS, and the certificates of HTTPS hosts.

Nothing here is asked unless a run is told to look outside. Whoever answers is not trusted: each look-up has its time,
all of them together have theirs, and whatever goes wrong is an answer that did not come.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reconciler.errors import ReconError

Resolve = Callable[[str], "tuple[str, ...] | None"]
"""TXT texts of a name in public DNS: an empty tuple where there are none, None where no answer came."""

Certify = Callable[[str], "str | None"]
"""What is wrong with the certificate that a host shows for its name: empty where nothing is, None for no answer."""

LOOKUP: Final = 3.0
"""Seconds for one look-up in DNS."""
HANDSHAKE: Final = 6.0
"""Seconds to connect to a host and agree on TLS with it."""
ALTOGETHER: Final = 45.0
"""Seconds for everything that one run looks up outside."""
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Outside:
    """The two ways to look outside, and how to ask many at once."""

    resolve: Resolve
    certify: Certify
    deadline: float = ALTOGETHER

    def ask(self, what: Callable[[str], Any], names: Iterable[str]) -> Mapping[str, Any]:
        """``what`` of each name, those that answered in time; an answer that did not come is left out.

        Daemon threads: one that hangs in the system's resolver does not keep the run from ending.
        """
        found: dict[str, Any] = {}
        waiting = list(names)
        lock = threading.Lock()
        until = time.monotonic() + self.deadline

        def work() -> None:
            while True:
                with lock:
                    if not waiting or time.monotonic() > until:
                        return
                    name = waiting.pop(0)
                answer = what(name)
                if answer is not None:
                    with lock:
                        found[name] = answer

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(waiting)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        with lock:
            return dict(found)


def public() -> Outside:
    """The world as this machine sees it. ``RECON_RESOLVER`` (host:port) replaces the system's resolver. Raises
    ReconError where it is no address, or where the system names no resolver."""
    return Outside(public_resolver(), lambda host: certificate(host))


def public_resolver(timeout: float = LOOKUP) -> Resolve:
    """A ``Resolve`` that asks the system's resolver, or that of ``RECON_RESOLVER``; ``timeout`` in seconds a name."""
    import dns.exception
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver(configure=not os.environ.get("RECON_RESOLVER"))
        if given := os.environ.get("RECON_RESOLVER"):
            host, _, port = given.rpartition(":")
            resolver.nameservers, resolver.port = [host.strip("[]")], int(port)
    except ValueError:
        raise ReconError(
            f"RECON_RESOLVER is not an address and a port: {given!r}", hint="such as 127.0.0.1:53"
        ) from None
    except dns.exception.DNSException as problem:
        raise ReconError(
            f"this machine has no resolver to ask: {problem}", hint="set RECON_RESOLVER=host:port"
        ) from None

    def resolve(name: str) -> tuple[str, ...] | None:
        try:
            answer = resolver.resolve(name, "TXT", lifetime=timeout)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError, ValueError):
            return None
        return tuple(b"".join(record.strings).decode("latin-1") for record in answer)

    return resolve


def certificate(
    host: str, *, address: str | None = None, port: int = 443, authority: str | None = None, timeout: float = HANDSHAKE
) -> str | None:
    """Connect to a host, agree on TLS and hang up: what is wrong with its certificate for that name, in words.

    Empty where nothing is; None where there is no network to it from here. ``address`` is where to connect instead of
    what the name resolves to; ``authority`` a file with the one authority to trust instead of the system's.
    """
    import socket
    import ssl

    context = ssl.create_default_context(cafile=authority)
    try:
        with socket.create_connection((address or host, port), timeout) as plain:
            plain.settimeout(timeout)
            with context.wrap_socket(plain, server_hostname=host) as secure, contextlib.suppress(OSError):
                secure.unwrap()
    except ssl.SSLCertVerificationError as problem:
        return f"its certificate is not good: {problem.verify_message or problem.reason}"[:200]
    except ssl.SSLError as problem:
        return f"it does not speak TLS: {problem.reason or 'the connection broke'}"[:200]
    except ConnectionRefusedError:
        return "nothing listens there for HTTPS"
    except (ConnectionResetError, BrokenPipeError):
        return "it hangs up before TLS"
    except (OSError, ValueError):  # no such name, no route, too slow, a name that is none
        return None
    return ""
