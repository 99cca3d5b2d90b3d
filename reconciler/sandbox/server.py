"""A small HTTP/1.1 server for the sandbox: one thread per connection, keep-alive, loopback only.

Written for this because it must do what servers avoid: reset connections, and carry a request out without answering.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any, Final
from urllib.parse import urlsplit

from reconciler.sandbox.admin import PREFIX, Admin
from reconciler.sandbox.gateway import Gateway, Outcome
from reconciler.sandbox.protocol import Request, Response

MAX_HEAD: Final = 256 * 1024
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Closed(Exception):
    """The client went away or sent what is not HTTP."""


class Connection(socketserver.BaseRequestHandler):
    """Serves the requests of one connection, one after the other."""

    server: SandboxServer

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def handle(self) -> None:
        try:
            while self._serve_one():
                pass
        except (Closed, ConnectionError, TimeoutError):
            return

    def _fill(self) -> None:
        try:
            data = self.request.recv(65536)
        except OSError as error:
            # Besides a client that resets: an interrupt while this thread starts makes the server close its socket.
            raise Closed from error
        if not data:
            raise Closed
        self.buffer += data

    def _take(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self._fill()
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self._fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _read(self) -> Request:
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > MAX_HEAD:
                raise Closed
            self._fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        try:
            method, target, _ = first.split(" ", 2)
        except ValueError as error:
            raise Closed from error
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self._line().split(b";")[0], 16):
                body += self._take(size)
                self._line()
            while self._line():
                pass
        else:
            body = self._take(int(headers.get("content-length") or 0))
        if target.startswith("http://"):
            target = "/" + target.split("/", 3)[3]
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, body)

    def _serve_one(self) -> bool:
        """Serve the next request; False when the connection is over."""
        request = self._read()
        outcome = self.server.respond(request)
        if outcome.action == "reset":
            # SO_LINGER with a time of zero makes close() send RST instead of FIN.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if outcome.answer is None:
            return False
        answer = outcome.answer
        head = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"]
        head += [f"{name}: {value}" for name, value in answer.headers]
        body = answer.body
        if request.method == "HEAD" or answer.status in (204, 304):
            body = b""
        if not any(name.lower() == "content-length" for name, _ in answer.headers) and answer.status != 204:
            head.append(f"Content-Length: {len(body)}")
        self.request.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace") + body)
        return request.headers.get("connection", "").lower() != "close"


class SandboxServer(socketserver.ThreadingTCPServer):
    """The listening socket and the gateway behind it."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, host: str, port: int, gateway: Gateway) -> None:
        """Raises: ValueError for a host that is not loopback; OSError if the port is taken."""
        if host not in LOOPBACK:
            raise ValueError(f"the sandbox listens on loopback only, not on {host!r}")
        self.address_family = socket.AF_INET6 if host == "::1" else socket.AF_INET
        self.gateway = gateway
        self.admin = Admin(gateway)
        self._open: set[Any] = set()
        self._open_lock = threading.Lock()
        super().__init__((host, port), Connection)

    def respond(self, request: Request) -> Outcome:
        """The outcome of one request. A web page that a browser on this machine shows may reach this port, too: what it
        sends names another origin, or (DNS rebinding) another host."""
        if problem := _foreign(request.headers):
            return Outcome("answer", Response(403, [("Content-Type", "text/plain")], f"{problem}\n".encode()))
        if request.path.startswith(PREFIX):
            return Outcome("answer", self.admin.handle(request))
        return self.gateway.handle(request)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        self.close_request(request)

    def server_close(self) -> None:
        """Stop listening and cut all connections, so that clients do not wait on a dead server."""
        super().server_close()
        with self._open_lock:
            still_open, self._open = self._open, set()
        for connection in still_open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A defect of the sandbox or of moto: show it to whoever asked, as a 500, and on standard error."""
        text = traceback.format_exc()
        sys.stderr.write(text)
        body = text.encode()
        head = f"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            request.sendall((head + "Connection: close\r\n\r\n").encode() + body)


def _foreign(headers: Mapping[str, str]) -> str:
    """Why a request is not from a program on this machine; empty where it is."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not _loopback(f"//{host}"):
        return "the sandbox answers to localhost and 127.0.0.1 alone: the Host header names another host"
    if origin is not None and not _loopback(origin):
        return "the sandbox does not answer web pages: the Origin header names another host"
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return "the sandbox does not answer web pages: Sec-Fetch-Site names another site"
    return ""


def _loopback(url: str) -> bool:
    """Whether a URL's host is this machine; with ``localhost``, S3 clients write the bucket before it."""
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return name in LOOPBACK or name.endswith(".localhost")


def run(server: SandboxServer, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted; ``on_ready`` gets the URL once connections are accepted."""
    host, port = server.server_address[:2]
    if on_ready is not None:
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        on_ready(f"http://{shown}:{port}")
    try:
        server.serve_forever(poll_interval=0.05)
    finally:
        server.server_close()
