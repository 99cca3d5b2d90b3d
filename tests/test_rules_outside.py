"""Looking outside: public DNS through the command line, certificates of TLS servers, and hosts that are no good."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import support

from reconciler.errors import ReconError
from reconciler.rules import outside

HOST = "click.acme.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with certificates, each its own authority: ``good`` and ``other`` by name, ``past`` its date."""
    home = tmp_path_factory.mktemp("certificates")
    for name, host, days in (("good", HOST, "2"), ("other", "www.example", "2")):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             days, "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", home / f"{name}.key",
             "-out", home / f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    return home


@contextlib.contextmanager
def serving(answer: object) -> Iterator[int]:
    """A server on loopback that gives each connection to ``answer``; its port."""
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    answer(connection, over)  # type: ignore[operator]

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(server.getsockname(), 1).close()
        server.close()
        thread.join(2)


def secure(home: Path, name: str) -> object:
    def answer(connection: socket.socket, over: threading.Event) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(home / f"{name}.pem", home / f"{name}.key")
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(1)

    return answer


def check(port: int, authority: Path | None = None, timeout: float = 5.0) -> str | None:
    trusted = str(authority) if authority else None
    return outside.certificate(HOST, address="127.0.0.1", port=port, authority=trusted, timeout=timeout)


def test_certificates(authority: Path) -> None:
    with serving(secure(authority, "good")) as port:
        assert check(port, authority / "good.pem") == ""
        assert "self-signed" in (check(port) or "").replace("self signed", "self-signed")
    with serving(secure(authority, "other")) as port:
        assert "not valid for" in (check(port, authority / "other.pem") or "")


def test_hosts_that_are_no_good() -> None:
    with serving(lambda connection, over: connection.sendall(b"HTTP/1.1 400 no\r\n\r\n" * 10_000)) as port:
        assert "TLS" in (check(port) or "")
    with serving(lambda connection, over: connection.close()) as port:
        assert check(port)
    with serving(lambda connection, over: over.wait(2 * support.GUARD)) as port:
        began = time.monotonic()
        assert check(port, timeout=0.2) is None
        assert time.monotonic() - began < support.GUARD
    assert "does not listen" in (check(port) or "")
    for name in ("nowhere.invalid", "", "a" * 300, "\udcff", "a b"):
        assert outside.certificate(name, address="", port=0, timeout=0.5) != ""


class UpWhenAllButOneEnded(types.ModuleType):
    """``time`` that stands still until, of the threads begun since, only one is left; then the time for all is up."""

    def __init__(self) -> None:
        super().__init__("time")
        self.before = set(threading.enumerate())

    def monotonic(self) -> float:
        begun = set(threading.enumerate()) - self.before
        if threading.current_thread() in begun or not begun:
            return 0.0
        support.until(lambda: len(set(threading.enumerate()) - self.before) <= 1, "all but one are answered")
        return 1000.0


def test_all_together_have_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs keeps neither the others nor the run."""
    hung = threading.Event()
    world = outside.Outside(
        lambda name: ("x",) if name != "slow" else (hung.wait(2 * support.GUARD), ())[1], lambda host: None, 0.3
    )
    with monkeypatch.context() as patch:
        patch.setattr(outside, "time", UpWhenAllButOneEnded())
        found = world.ask(world.resolve, ["slow", *(f"n{n}" for n in range(50))])
    assert found.keys() == {f"n{n}" for n in range(50)}
    hung.set()
    assert world.ask(world.certify, ["a"]) == {}


def test_a_plan_looks_outside_only_when_told(house: support.House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.seed_zone(foreign={})
    terms = " ".join(f"include:s{n}.crm.example" for n in range(11))
    house.seed_zone("crm.example", {("_spf.crm.example", "TXT"): [f"v=spf1 {terms} -all"]})
    host, port = house.sandbox.serve_dns()
    monkeypatch.setenv("RECON_RESOLVER", f"{host}:{port}")
    monkeypatch.setattr(outside, "certificate", lambda name: "its certificate is past its date")
    house.write(
        {
            "domains": {
                "acme.com": {
                    "dkim": {"signing_attributes_origin": "AWS_SES"},
                    "spf": {"include": ["_spf.crm.example"], "all": "~all"},
                    "dmarc": {"p": "none", "rua": ["mailto:x@crm.example"]},
                }
            },
            "configuration_sets": {
                "main": {"tracking_options": {"custom_redirect_domain": "click.acme.com", "https_policy": "REQUIRE"}}
            },
        }
    )

    def found(*more: str) -> set[str]:
        ran = house.cli("plan", "state.yaml", "--format", "json", *more)
        assert ran.code in (0, 3), ran
        told = json.loads(ran.out)
        return {n["rule"] for c in told["changes"] for n in c["notes"]} | {d["code"] for d in told["diagnostics"]}

    quiet, loud = found(), found("--check-public-dns")
    assert {"tracking-https-unchecked"} <= quiet
    assert not {"spf-lookups", "dmarc-rua-unauthorized", "tracking-https"} & quiet
    assert {"spf-lookups", "dmarc-rua-unauthorized", "tracking-https"} <= loud
    assert "tracking-https-unchecked" not in loud


def test_a_resolver_that_does_not_answer_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_RESOLVER", "127.0.0.1:1")
    assert outside.public_resolver(timeout=0.2)("acme.com") is None


@pytest.mark.parametrize("wrong", ["x", "localhost:", "::", "a b:53"])
def test_a_resolver_that_is_none(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_RESOLVER", wrong)
    with pytest.raises(ReconError, match="RECON_RESOLVER"):
        outside.public()


def test_a_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is made again, after another look at AWS, asks the world outside nothing twice."""
    asked: list[str] = []

    def resolve(name: str) -> tuple[str, ...]:
        asked.append(name)
        return ("v=spf1 -all",)

    monkeypatch.setattr(outside, "public_resolver", lambda kind="TXT": resolve)
    world = outside.public()
    for _ in range(2):
        assert world.ask(world.resolve, ["a.example", "b.example"]).keys() == {"a.example", "b.example"}
    assert sorted(asked) == ["a.example", "b.example"]
