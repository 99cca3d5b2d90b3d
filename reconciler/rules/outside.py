"""What the world outside AWS shows: TXT texts in public DNS, and the certificates of HTTPS hosts.

Nothing here is asked unless a run is told to look outside. Whoever answers is not trusted: each look-up has its time,
all of them together have theirs, and whatever goes wrong is an answer that did not come.
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
    ReconError where it is no address, or where the system names no resolver. Each name is asked for once: a plan that
    is made again looks at the same ones."""
    return Outside(cache(public_resolver()), cache(lambda host: certificate(host)))


def public_resolver(timeout: float = LOOKUP) -> Resolve:
    """A ``Resolve`` that asks public DNS; ``timeout`` in seconds a name."""
    dns = PublicDns(timeout=timeout)

    def resolve(name: str) -> tuple[str, ...] | None:
        answer = dns.one(name, "TXT")
        return None if answer.problem else answer.values

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
