"""What there is outside AWS: TXT texts in public DNS, and the certificates of HTTPS hosts.

Nothing here is asked without ``--check-public-dns``. The answers are not trusted: each look-up has a time limit, all of
them together have one, and a look-up that fails counts as no answer.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from reconciler.public_dns import PublicDns

Resolve = Callable[[str], "tuple[str, ...] | None"]
"""TXT texts of a name in public DNS: an empty tuple where there are none, None where no answer came."""

Certify = Callable[[str], "str | None"]
"""The problem of the certificate of a host: empty where it is valid, None where no answer came."""

LOOKUP: Final = 3.0
"""Seconds for one DNS look-up."""
HANDSHAKE: Final = 6.0
"""Seconds for the connection and the TLS handshake with one host."""
ALTOGETHER: Final = 45.0
"""Seconds for all look-ups of one run."""
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Outside:
    """The two kinds of look-up, and how to do many at once."""

    resolve: Resolve
    certify: Certify
    deadline: float = ALTOGETHER
    name_servers: Resolve = lambda name: None
    """The name servers of a zone in public DNS."""

    def ask(self, what: Callable[[str], Any], names: Iterable[str]) -> Mapping[str, Any]:
        """``what(name)`` for each name that answered in time; the others are left out.

        The threads are daemons, so that one that hangs in the system's resolver does not keep the process alive.
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
    """Look-ups from this machine. ``RECON_RESOLVER`` (host:port) replaces the system's resolver.

    Answers are cached, for a plan that is made again. Raises ReconError where the variable is not an address, or where
    the system has no resolver.
    """
    certify = cache(lambda host: certificate(host))
    return Outside(cache(public_resolver()), certify, name_servers=cache(public_resolver(kind="NS")))


def public_resolver(timeout: float = LOOKUP, kind: str = "TXT") -> Resolve:
    """A ``Resolve`` that asks public DNS for one type of record; ``timeout`` is in seconds, for each name."""
    dns = PublicDns(timeout=timeout)

    def resolve(name: str) -> tuple[str, ...] | None:
        answer = dns.one(name, kind)
        return None if answer.problem else answer.values

    return resolve


def certificate(
    host: str, *, address: str | None = None, port: int = 443, authority: str | None = None, timeout: float = HANDSHAKE
) -> str | None:
    """Do a TLS handshake with a host and return the problem of its certificate, in words.

    Empty where it is valid; None where the host cannot be reached from here. ``address`` is where to connect instead of
    the address of the name; ``authority`` is a file with the one authority to trust instead of the system's.
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
        return f"its certificate is not valid: {problem.verify_message or problem.reason}"[:200]
    except ssl.SSLError as problem:
        return f"it does not support TLS: {problem.reason or 'the connection broke'}"[:200]
    except ConnectionRefusedError:
        return "it does not listen for HTTPS"
    except (ConnectionResetError, BrokenPipeError):
        return "it closes the connection before the TLS handshake"
    except (OSError, ValueError):  # no such name, no route, too slow, an invalid name
        return None
    return ""
