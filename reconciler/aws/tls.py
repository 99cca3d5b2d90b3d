"""One TLS context for the connections of all clients of a run.

botocore has urllib3 parse the file of certificate authorities again for each connection, which takes over 20 ms of CPU
time; a run has some forty connections, one for each region and service and more for those with calls in parallel.

Source: botocore/httpsession.py (URLLib3Session) and urllib3's ``ssl_wrap_socket``, which loads ``ca_certs`` into the
context that it is given.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ssl import SSLContext

_USED: Final = ("_manager", "_verify", "_cert_file", "_get_pool_manager_kwargs", "_setup_ssl_cert")
"""What is used of botocore's session. It is private to botocore: where any of it differs, botocore does as ever."""


class SharedTls:
    """The contexts of one run, by the file of certificate authorities. Thread-safe."""

    def __init__(self) -> None:
        self._contexts: dict[str, SSLContext | None] = {}
        self._lock = threading.Lock()

    def share(self, client: Any) -> None:
        """Have the connections of ``client`` use the shared context. A client that verifies nothing, or shows a
        certificate of its own, keeps botocore's: the certificate would be shown to all."""
        session: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
        url = str(client.meta.endpoint_url)
        if not url.startswith("https:") or not all(hasattr(session, name) for name in _USED):
            return
        kwargs = getattr(session._manager, "connection_pool_kw", {})
        if not session._verify or session._cert_file or "ssl_context" not in kwargs:
            return
        context = self._context(session._verify)
        if context is None:
            return
        kwargs["ssl_context"] = context
        of_botocore = session._get_pool_manager_kwargs
        # Of managers for proxies; the TLS of a proxy itself has a context of its own.
        session._get_pool_manager_kwargs = lambda **more: {**of_botocore(**more), "ssl_context": context}
        session._setup_ssl_cert = _verified

    def _context(self, verify: Any) -> SSLContext | None:
        """A context that trusts ``verify``: a file, or True for the usual one. None where it cannot be made: botocore
        then says what is wrong with the file, when it connects."""
        from botocore import httpsession

        with self._lock:
            if str(verify) not in self._contexts:
                made: SSLContext | None = None
                try:
                    made = httpsession.create_urllib3_context()
                    made.load_verify_locations(httpsession.get_cert_path(verify))
                except (AttributeError, OSError, TypeError, ValueError):
                    made = None
                self._contexts[str(verify)] = made
            return self._contexts[str(verify)]


def _verified(connection: Any, url: str, verify: Any) -> None:
    """Have the server's certificate verified, without loading authorities: the context has them."""
    connection.cert_reqs, connection.ca_certs = "CERT_REQUIRED", None
