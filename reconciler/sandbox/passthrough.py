"""Everything that the sandbox does not implement itself: moto, through its WSGI application.

moto is imported at the first call that needs it (about a second). Its own account comes from a header that the
sandbox sets, so that assumed roles act in their accounts there too.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from reconciler.sandbox.protocol import ApiError, Request, Response

HOP_HEADERS: Final = frozenset({"connection", "content-length", "transfer-encoding", "date", "server"})


class Moto:
    """Hands requests to moto, one at a time: its backends are not made for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.used = False
        """Whether anything may be there that a reset must take away."""
        self._app: Callable[..., Iterable[bytes]] | None = None

    def _application(self) -> Callable[..., Iterable[bytes]]:
        if self._app is None:
            from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

            class Dispatcher(DomainDispatcherApplication):  # type: ignore[misc]
                """Finds the service of a host once: moto searches its own directories at every request."""

                def __init__(self) -> None:
                    super().__init__(create_backend_app)
                    self._found: dict[str | None, Any] = {}

                def get_backend_for_host(self, host: str | None) -> Any:
                    if host not in self._found:
                        self._found[host] = super().get_backend_for_host(host)
                    return self._found[host]

            self._app = Dispatcher()
        return self._app

    def reset(self) -> None:
        """Forget all resources in moto, if it was used since the last time."""
        if self.used:
            self._send(Request("POST", "/moto-api/reset", "", {"host": "localhost"}, b""), "")
            self.used = False

    def call(self, request: Request, account: str) -> Response:
        """The answer to one signed request, acting in an account. moto's own endpoints, which write files, are no part
        of AWS."""
        path = posixpath.normpath(unquote_to_bytes(request.path).decode("latin-1").lower())
        if path.lstrip("/").startswith("moto-api") or "motoapi" in request.headers.get("host", "").lower():
            raise ApiError("UnknownOperationException", "the sandbox does not offer moto's own endpoints", 404)
        return self._send(request, account)

    def _send(self, request: Request, account: str) -> Response:
        path = unquote_to_bytes(request.path).decode("latin-1")
        host = request.headers.get("host", "127.0.0.1")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": request.query,
            "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
            "REQUEST_URI": request.path + (f"?{request.query}" if request.query else ""),
            "SERVER_NAME": host.partition(":")[0], "SERVER_PORT": host.partition(":")[2] or "80",
            "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers.get("content-type", ""), "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }  # fmt: skip
        for name, value in request.headers.items():
            if name not in ("content-type", "content-length"):
                environ["HTTP_" + name.upper().replace("-", "_")] = value
        if account:
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = account
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            started.append((status, headers))
            return lambda data: None

        try:
            with self._lock:
                self.used = True
                body = b"".join(self._application()(environ, start))
        except NotImplementedError as error:
            raise ApiError("UnknownOperationException", f"moto does not have this operation: {error}", 501) from error
        status, headers = started[-1]
        kept = [(k, v) for k, v in headers if k.lower() not in HOP_HEADERS]
        if request.method == "HEAD":
            kept += [(k, v) for k, v in headers if k.lower() == "content-length"]
        code = int(status.split()[0])
        return Response(code, kept, body, error_of(body, headers) if code >= 400 else None)


def error_of(body: bytes, headers: Iterable[tuple[str, str]]) -> str:
    """The error code in one of moto's answers, for the ledger; "error" if none is found."""
    for name, value in headers:
        if name.lower() == "x-amzn-errortype":
            return value.partition(":")[0]
    if match := re.search(rb"<Code>([^<]+)</Code>", body):
        return match.group(1).decode()
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return "error"
    return str(found.get("__type", "error")).rpartition("#")[2] if isinstance(found, dict) else "error"
