"""What is between users and AWS: TLS, and for each region the time that a message takes there and back.

A proxy in front of the sandbox, which speaks plain HTTP and answers at once. It has a certificate of its own, made for
it, which the measured process trusts by AWS_CA_BUNDLE.
"""

from __future__ import annotations

import datetime
import http.client
import http.server
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore import httpsession

ROUND_TRIPS = {
    "us-east-1": 90, "us-east-2": 100, "us-west-1": 150, "us-west-2": 155, "ca-central-1": 95, "ca-west-1": 145,
    "sa-east-1": 200, "mx-central-1": 140, "eu-west-1": 25, "eu-west-2": 15, "eu-west-3": 12, "eu-central-1": 4,
    "eu-central-2": 10, "eu-north-1": 25, "eu-south-1": 12, "eu-south-2": 30, "il-central-1": 60, "me-south-1": 90,
    "me-central-1": 110, "af-south-1": 155, "ap-south-1": 120, "ap-south-2": 130, "ap-southeast-1": 160,
    "ap-southeast-2": 250, "ap-southeast-3": 170, "ap-southeast-4": 245, "ap-southeast-5": 165, "ap-southeast-7": 175,
    "ap-northeast-1": 225, "ap-northeast-2": 235, "ap-northeast-3": 230, "ap-east-1": 190,
}  # fmt: skip
"""Region -> milliseconds there and back from Frankfurt, rounded: of the kind that users see, not measured by us."""
_SERVICE_TIME = 0.03
"""Seconds that AWS takes to answer a call, beside the way."""


def as_in_frankfurt(region: str) -> float:
    """Seconds of one round trip to a region from Frankfurt."""
    return ROUND_TRIPS.get(region, 100) / 1000


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate that signs itself, for ``localhost`` alone: (certificate, its key)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return certificate_file, key_file


class Wire(http.server.ThreadingHTTPServer):
    """The proxy, served by a thread as long as it is entered. ``url`` is where it answers, ``ca_bundle`` the usual
    authorities and its certificate; ``delay`` is the round trip to a region in seconds, infinite where nothing is ever
    answered."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, behind: str, folder: Path, delay: Callable[[str], float] = lambda region: 0.0, *,
        service_time: float = _SERVICE_TIME, tls: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(("127.0.0.1", 0), _Forward)
        self.behind = urlsplit(behind).netloc
        self.delay, self.service_time = delay, service_time
        self.connections = 0
        own, key = certificate(folder)
        self.ca_bundle = folder / "ca-bundle.pem"  # as long as the usual one, which costs time to read
        self.ca_bundle.write_bytes(Path(httpsession.get_cert_path(True)).read_bytes() + b"\n" + own.read_bytes())
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(own, key)
        self.url = f"{'https' if tls else 'http'}://localhost:{self.server_port}"
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()

    def environment(self) -> dict[str, str]:
        """What points a process here instead of at the sandbox."""
        return {"AWS_ENDPOINT_URL": self.url, **({"AWS_CA_BUNDLE": str(self.ca_bundle)} if self.context else {})}

    def handle_error(self, request: Any, address: Any) -> None:
        return  # clients go away as they like


class _Forward(http.server.BaseHTTPRequestHandler):
    """Passes requests of one connection on, each after its delay."""

    server: Wire
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        if self.server.context is not None:  # here and not where it is accepted: a thread for each handshake
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()
        self.server.connections += 1
        self.onward = http.client.HTTPConnection(self.server.behind, timeout=300)
        self.first = True

    def finish(self) -> None:
        super().finish()
        self.onward.close()

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        scope = self.headers.get("Authorization", "").partition("Credential=")[2].split("/")
        trip = self.server.delay(scope[2] if len(scope) > 2 else "")
        if trip == float("inf"):
            self.server.over.wait()
            return
        # A new connection has cost a round trip for TCP, and one for TLS 1.3 (RFC 8446, section 2), before this one.
        time.sleep((3 if self.first else 1) * trip + self.server.service_time * bool(trip))
        self.first = False
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "expect"}}
        self.onward.request(self.command, self.path, body, headers)
        answer = self.onward.getresponse()
        text = answer.read()
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = forward  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:
        return
