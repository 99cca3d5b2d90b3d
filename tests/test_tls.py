"""TLS as users have it: one context for all connections of a run, and AWS's settings for it, which keep working."""

from __future__ import annotations

import http.server
import importlib
import select
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import HOME, OTHER, House

from reconciler.aws import Aws
from reconciler.aws.tls import SharedTls
from reconciler.errors import AwsError
from reconciler.model import Stack

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MAKE_CLIENT = Aws._client


@pytest.fixture
def wired(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The sandbox behind TLS; the variables point there, and clients are made as in a process."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(Aws, "_client", MAKE_CLIENT)
    with importlib.import_module("wire").Wire(house.sandbox.url, house.home / "wire") as wire:
        for name, value in wire.environment().items():
            monkeypatch.setenv(name, value)
        yield wire


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file of authorities is read."""
    found: Counter[str] = Counter()
    load = ssl.SSLContext.load_verify_locations

    def counted(self: Any, cafile: Any = None, *rest: Any, **more: Any) -> None:
        found[str(cafile)] += 1
        load(self, cafile, *rest, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    return found


def ask(aws: Aws | None = None) -> None:
    """Connect to four endpoints."""
    aws = aws or Aws(Stack("acme", None, "111122223333", (HOME,)))
    aws.call("sts", "GetCallerIdentity")
    aws.call("route53", "ListHostedZones")
    for region in (HOME, OTHER):
        aws.call("sesv2", "GetAccount", region)


def test_the_authorities_are_read_once_a_run(wired: Any, loads: Counter[str]) -> None:
    ask()
    assert (loads, wired.connections) == ({str(wired.ca_bundle): 1}, 4)
    ask()
    assert loads == {str(wired.ca_bundle): 2}, "each run trusts what the file says then"


def test_whom_the_bundle_does_not_name_is_not_trusted(wired: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AWS_CA_BUNDLE the usual authorities are trusted; and a host must be the one of its certificate."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", wired.url.replace("localhost", "127.0.0.1"))
    with pytest.raises(AwsError, match="no TLS connection"):
        ask()
    monkeypatch.setenv("AWS_ENDPOINT_URL", wired.url)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(AwsError, match="no TLS connection"):
        ask()


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_a_bundle_that_cannot_be_read_is_said(
    content: str | None, wired: Any, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = house.home / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(AwsError, match="the TLS certificates cannot be read"):
        ask()


class Tunnel(http.server.BaseHTTPRequestHandler):
    """A proxy that knows CONNECT (RFC 9110, section 9.3.6)."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.flush()
            both = [self.connection, far]
            while True:
                for one in select.select(both, [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    both[1 - both.index(one)].sendall(data)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_a_proxy_is_used_and_the_authorities_are_read_once(
    wired: Any, loads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    handler = type("Asked", (Tunnel,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        ask()
        proxy.shutdown()
    assert asked == [f"localhost:{wired.server_port}"] * 4
    assert loads == {str(wired.ca_bundle): 1}


def client_of(wired: Any, **config: Any) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client("sts", region_name=HOME, config=Config(**config))


def test_a_client_with_a_certificate_of_its_own_keeps_its_context(wired: Any, house: House) -> None:
    """Its certificate must not be shown by other clients; the server here takes nobody without one."""
    own, key = importlib.import_module("wire").certificate(house.home / "client")
    wired.context.load_verify_locations(own)
    wired.context.verify_mode = ssl.CERT_REQUIRED
    shared = SharedTls()
    client = client_of(wired, client_cert=(str(own), str(key)))
    before = client._endpoint.http_session._manager.connection_pool_kw["ssl_context"]
    shared.share(client)
    assert client._endpoint.http_session._manager.connection_pool_kw["ssl_context"] is before
    assert client.get_caller_identity()["Account"] == "111122223333"
    bare = client_of(wired)
    shared.share(bare)
    with pytest.raises(Exception, match=r"(?i)ssl|connection"):
        bare.get_caller_identity()


OTHER_BOTOCORES: dict[str, Callable[[Any], None]] = {
    "a session with other parts": lambda session: setattr(session, "_manager", SimpleNamespace()),
    "one that verifies nothing": lambda session: setattr(session, "_verify", False),
}


@pytest.mark.parametrize("name", OTHER_BOTOCORES)
def test_where_botocore_differs_it_does_as_ever(name: str, wired: Any) -> None:
    client = client_of(wired)
    session = client._endpoint.http_session
    OTHER_BOTOCORES[name](session)
    before = dict(vars(session))
    SharedTls().share(client)
    assert vars(session) == before


def test_a_session_that_is_not_botocores_is_left_alone(wired: Any) -> None:
    client = client_of(wired)
    client._endpoint.http_session = SimpleNamespace(send=None)
    SharedTls().share(client)
    assert vars(client._endpoint.http_session) == {"send": None}
