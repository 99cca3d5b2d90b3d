"""The embedded AWS: SES, Route 53, IAM and what recon needs around them, in memory, on loopback.

``recon sandbox`` runs it with :func:`serve`; tests run it with :class:`Sandbox`. The same recon commands work against
it unchanged, pointed there by ``AWS_ENDPOINT_URL``. It behaves as AWS documents where moto does not, and can be set
to throttle, deny, lose answers and trail behind its own writes.

Importing this package costs nothing; the server and botocore's models are loaded when a sandbox starts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from reconciler.sandbox.nameserver import NameServer
    from reconciler.sandbox.server import SandboxServer

__all__ = ["Sandbox", "environment", "serve"]

DEFAULT_PORT = 5566


def environment(
    url: str, *, region: str = "us-east-1", access_key: str = "AKIASANDBOXSANDBOX00", paced: bool = False,
    resolver: str = "",
) -> dict[str, str]:  # fmt: skip
    """The variables that point boto3, the AWS CLI and Terraform at a sandbox.

    Without ``paced`` they also switch recon's own pacing off, as fits a sandbox that limits no rates. ``resolver``
    (``ADDRESS:PORT``) is where recon asks public DNS.
    """
    variables = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        **({"RECON_RESOLVER": resolver} if resolver else {}),
    }
    return variables if paced else {**variables, "RECON_RATES": "off"}


_SERVICES = (
    "CLOUDFORMATION", "CLOUDTRAIL", "CLOUDWATCH", "EVENTBRIDGE", "IAM", "KMS", "RESOURCE_GROUPS_TAGGING_API",
    "ROUTE_53", "S3", "SECRETS_MANAGER", "SES", "SESV2", "SNS", "SSM", "STS",
)  # fmt: skip
CLEARED = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    *(f"AWS_ENDPOINT_URL_{service}" for service in _SERVICES),
)  # fmt: skip
"""Variables that would still lead a client to AWS, or be sent to the sandbox (AWS SDKs and Tools Reference Guide)."""


def _server(host: str, port: int, rates: Any, account: str) -> SandboxServer:
    from reconciler.sandbox.gateway import Gateway
    from reconciler.sandbox.server import SandboxServer
    from reconciler.sandbox.world import World

    gateway = Gateway(World(account))
    gateway.rates.set(rates)
    return SandboxServer(host, port, gateway)


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    on_ready: Callable[[str, str], None] | None = None,
    rates: str | Mapping[str, Any] | None = None,
    account: str = "111122223333",
    dns_port: int | None = None,
    scenario: str | None = None,
) -> None:
    """Run a sandbox until interrupted (KeyboardInterrupt passes through).

    Args:    port 0 for any free one; ``on_ready`` is called with the URL, and with the address of its DNS or "", once
             it answers; ``rates="aws"`` for AWS's documented limits, None for none; ``account`` is where keys act that
             the sandbox did not make; with ``dns_port`` the public zones are also served as DNS there; ``scenario`` is
             the incident to start in (``scenarios``).
    Raises:  ValueError for a host that is not loopback, bad rates or an unknown scenario; OSError if a port is taken.
    """
    from reconciler.sandbox import scenarios
    from reconciler.sandbox.nameserver import NameServer
    from reconciler.sandbox.server import run

    chosen = scenarios.scenario(scenario) if scenario is not None else None
    server = _server(host, port, None if chosen else rates, account)
    nameserver = None
    if dns_port is not None:
        nameserver = NameServer(server.gateway.world, server.gateway.resolver, port=dns_port)
    resolver = "" if nameserver is None else ":".join(map(str, nameserver.address))
    try:
        if chosen is not None:
            scenarios.make_before_serving(server, chosen)
            server.gateway.rates.set(rates)
        run(server, None if on_ready is None else lambda url: on_ready(url, resolver))
    finally:
        if nameserver is not None:
            nameserver.close()


class Sandbox:
    """A sandbox in a thread of this process, as a context manager.

    ``url`` is where it answers. The methods do what ``/_sandbox/`` does over HTTP, without the detour.
    """

    def __init__(
        self, port: int = 0, *, host: str = "127.0.0.1", rates: str | Mapping[str, Any] | None = None,
        account: str = "111122223333",
    ) -> None:  # fmt: skip
        self._server = _server(host, port, rates, account)
        self.account = account
        self._nameserver: NameServer | None = None
        self._session: Any = None
        self._session_lock = threading.Lock()
        self.url = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="recon-sandbox", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, cut open connections, and forget what moto holds: its backends outlive a sandbox."""
        if self._nameserver is not None:
            self._nameserver.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
        self._server.gateway.moto.reset()

    def environment(self, **options: Any) -> dict[str, str]:
        """Environment variables that point AWS clients here; options as of :func:`environment`."""
        return environment(self.url, **options)

    def client(
        self, service: str, region: str = "us-east-1", *, access_key: str = "AKIASANDBOXSANDBOX00", **config: Any
    ) -> Any:
        """A boto3 client that talks to this sandbox, without retries; ``config`` is passed to botocore's Config."""
        import boto3
        from botocore.config import Config

        with self._session_lock:
            if self._session is None:
                self._session = boto3.session.Session()
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id=access_key,
                aws_secret_access_key="sandbox",
                config=Config(**{"retries": {"total_max_attempts": 1}, "user_agent": "sandbox-client", **config}),
            )

    def calls(self, **match: str) -> list[dict[str, Any]]:
        """The ledger, oldest first; globs select: ``calls(service="sesv2", operation="Put*")``.

        Each entry has time, account, region, service, operation, params (secrets left out), status, error,
        reads_only, access_key, arn, user_agent and milliseconds.
        """
        return self._server.gateway.ledger.select(**match)

    def clear_calls(self) -> None:
        self._server.gateway.ledger.entries.clear()

    def fault(self, do: str, **rule: Any) -> None:
        """Add a fault, such as ``fault("throttle", service="sesv2", operation="Put*", count=2)``."""
        with self._server.gateway.world.lock:
            self._server.admin.add_faults({"do": do, **rule})

    def clear_faults(self) -> None:
        self._server.gateway.faults.clear()

    def seed(self, **given: Any) -> dict[str, Any]:
        """Put zones, records, identities, addresses, IPs and suppressed addresses in place; see ``Admin.seed``."""
        with self._server.gateway.world.lock:
            return self._server.admin.seed(given)

    def rates(self, limits: str | Mapping[str, Any] | None, time_scale: float = 1.0) -> None:
        """``"aws"``, None, or calls a second by service."""
        self._server.gateway.rates.set(limits, time_scale)

    def advance(self, seconds: float) -> None:
        """Push the sandbox's clock forward."""
        self._server.gateway.world.clock.advance(seconds)

    def settings(self, **values: Any) -> None:
        """Change settings, such as ``settings(verification_delay=5.0)``; see ``world.Settings``."""
        self._server.gateway.world.settings.update(values)

    def consistency(self, **lags: Mapping[str, float] | None) -> None:
        """Let reads trail writes: ``consistency(iam={"reads": 3})``."""
        self._server.admin.set_consistency(lags)

    def scenario(self, name: str) -> None:
        """Put the situation of an incident in place; see ``scenarios``. Raises: ValueError for an unknown name."""
        from reconciler.sandbox import scenarios

        scenarios.make(self._server, scenarios.scenario(name))

    def principal(self, access_key: str, **given: Any) -> None:
        """Give a key an account, an ARN and policies that limit it."""
        self._server.admin.add_principals({"access_key": access_key, **given})

    def dns(self, name: str, kind: str = "TXT") -> list[str]:
        """What public DNS answers from the sandbox's zones."""
        found: list[str] = self._server.admin.dns({"name": name, "type": kind})["values"]
        return found

    def serve_dns(self, port: int = 0) -> tuple[str, int]:
        """Answer DNS queries (UDP and TCP) from the public zones; returns host and port. Raises: OSError."""
        from reconciler.sandbox.nameserver import NameServer

        if self._nameserver is None:
            gateway = self._server.gateway
            self._nameserver = NameServer(gateway.world, gateway.resolver, port=port)
        return self._nameserver.address

    def reset(self) -> None:
        """Back to an empty AWS."""
        with self._server.gateway.world.lock:
            self._server.admin.reset()
