"""Prove a stored SMTP credential: connect, STARTTLS with certificate checks, log in, and leave before any mail.

Ports 587 and 2587 speak STARTTLS, 465 TLS from the start; the next one is tried only where the network would not have
the one before. The order of failures tells what is wrong: no connection is the network, a certificate that does not
check is somebody in between, 535 is the password, any other refusal is policy.

Source: SES Developer Guide, "Connecting to an Amazon SES SMTP endpoint" (ports), "Amazon SES SMTP issues" (535, 454,
530, 554 and what they mean); RFC 4954 section 6 (reply codes of AUTH); RFC 3207 (STARTTLS).
"""

from __future__ import annotations

import base64
import contextlib
import os
import smtplib
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from reconciler import regions
from reconciler.errors import ReconError

PORTS = ((587, "starttls"), (2587, "starttls"), (465, "tls"))
TIMEOUT = 10.0
FRESH_SECONDS = 120.0
"""A key younger than this may not be known everywhere yet: its 535 is asked again (IAM User Guide, eventual
consistency)."""
FRESH_PAUSES = (2.0, 4.0, 8.0)

HEALTHY, STALE, NETWORK, CERTIFICATE, POLICY, MISSING, WRONG = (
    "healthy", "stale-password", "network", "certificate", "policy", "not-stored", "wrong-key",
)  # fmt: skip
FOUND = frozenset({STALE, CERTIFICATE, POLICY, MISSING, WRONG})
"""Verdicts that say that something is wrong; ``network`` and ``unread`` say that it could not be checked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect; ``mode`` is ``starttls`` or ``tls``."""

    host: str
    port: int
    mode: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port} ({'STARTTLS' if self.mode == 'starttls' else 'TLS'})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one login went: ``verdict`` is one of the names above; ``endpoint`` is the last that was tried."""

    verdict: str
    message: str
    hint: str = ""
    endpoint: str = ""
    tried: tuple[str, ...] = ()


def endpoints(region: str) -> list[Endpoint]:
    """SES's SMTP endpoints of a region, in the order of trying; ``RECON_SMTP_ENDPOINT`` replaces them: one or more of
    ``host:port`` (STARTTLS) and ``smtps://host:port`` (TLS), by commas. Raises ReconError."""
    given = os.environ.get("RECON_SMTP_ENDPOINT")
    if not given:
        return [Endpoint(regions.smtp_host(region), port, mode) for port, mode in PORTS]
    found = []
    for part in given.split(","):
        text = part.strip()
        mode = "tls" if text.startswith("smtps://") else "starttls"
        host, _, port = text.removeprefix("smtps://").rpartition(":")
        if not host or not port.isdigit():
            raise ReconError(f"RECON_SMTP_ENDPOINT is not host:port: {part!r}")
        found.append(Endpoint(host.strip("[]"), int(port), mode))
    return found


def context() -> ssl.SSLContext:
    """Certificates and host names are checked; ``RECON_SMTP_CA`` names the one authority to trust instead of the
    system's. Raises ReconError."""
    authority = os.environ.get("RECON_SMTP_CA")
    try:
        made = ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as problem:
        raise ReconError(f"RECON_SMTP_CA could not be read: {authority}: {type(problem).__name__}") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def log_in(
    username: str, password: str, places: Iterable[Endpoint], trust: ssl.SSLContext, *, fresh: bool = False,
    timeout: float = TIMEOUT,
) -> Verdict:  # fmt: skip
    """Log in at the first endpoint that the network allows, and quit. ``fresh`` asks again for a while where the
    password is refused. No server's words come out with the password in them."""
    failures: list[str] = []
    verdict = Verdict(NETWORK, "no endpoint to try")
    for place in places:
        pauses = iter(FRESH_PAUSES if fresh else ())
        while True:
            verdict = _attempt(username, password, place, trust, timeout)
            if verdict.verdict != STALE or (pause := next(pauses, None)) is None:
                break
            time.sleep(pause)
        if verdict.verdict != NETWORK:
            more = f"; {'; '.join(failures)}" if failures and verdict.verdict != HEALTHY else ""
            return Verdict(verdict.verdict, verdict.message + more, verdict.hint, str(place), tuple(failures))
        failures.append(verdict.message)
    return Verdict(
        NETWORK, "; ".join(failures) or verdict.message,
        "this machine cannot reach SES over SMTP: look at outgoing firewalls, security groups (EC2 blocks port 25, "
        "not these) and proxies; nothing is known of the password", verdict.endpoint, tuple(failures),
    )  # fmt: skip


def _attempt(username: str, password: str, place: Endpoint, trust: ssl.SSLContext, timeout: float) -> Verdict:
    def words(code: int, text: bytes | str) -> str:
        return _without(text, username, password, code)

    server: smtplib.SMTP | None = None
    try:
        if place.mode == "tls":
            server = smtplib.SMTP_SSL(place.host, place.port, timeout=timeout, context=trust)
        else:
            server = smtplib.SMTP(place.host, place.port, timeout=timeout)
            server.ehlo()
            if not server.has_extn("starttls"):
                return Verdict(
                    CERTIFICATE, f"{place} offers no STARTTLS",
                    "somebody between here and SES strips it (a mail proxy or firewall): the password was not sent",
                )  # fmt: skip
            server.starttls(context=trust)
        server.ehlo()
        server.login(username, password)
    except ssl.SSLCertVerificationError as problem:
        return Verdict(
            CERTIFICATE, f"{place}: the certificate does not check: {problem.verify_message}",
            "somebody else answers in SES's place, or a proxy opens TLS: the password was not sent",
        )  # fmt: skip
    except smtplib.SMTPAuthenticationError as problem:
        return _refused(problem.smtp_code, words(problem.smtp_code, problem.smtp_error), place)
    except smtplib.SMTPNotSupportedError:
        return Verdict(POLICY, f"{place} offers no way to log in", "is it SES that answers there?")
    except smtplib.SMTPServerDisconnected as problem:
        if isinstance(problem.__context__, TimeoutError):
            return Verdict(NETWORK, f"{place}: no answer in {timeout:g} s")
        return Verdict(NETWORK, f"{place}: the connection was closed in the middle")
    except smtplib.SMTPResponseException as problem:
        return _refused(problem.smtp_code, words(problem.smtp_code, problem.smtp_error), place)
    except ssl.SSLError as problem:
        return Verdict(
            CERTIFICATE, f"{place}: TLS failed: {problem.reason or type(problem).__name__}",
            "a proxy or firewall in between, or a port that speaks something else",
        )  # fmt: skip
    except (socket.gaierror, UnicodeError):
        return Verdict(NETWORK, f"{place}: the name does not resolve")
    except TimeoutError:
        return Verdict(NETWORK, f"{place}: no answer in {timeout:g} s")
    except (OSError, smtplib.SMTPException) as problem:
        return Verdict(NETWORK, f"{place}: {getattr(problem, 'strerror', None) or type(problem).__name__}")
    finally:
        if server is not None:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                server.quit()
    return Verdict(HEALTHY, f"logged in at {place}")


def _refused(code: int, text: str, place: Endpoint) -> Verdict:
    """What a refusal means (SES Developer Guide, "Amazon SES SMTP issues")."""
    if code == 535:
        return Verdict(
            STALE, f"{place} refused the password: {code} {text}",
            "the stored password does not fit the access key any more, or the key is off: recon plan says which, recon "
            "apply heals it",
        )  # fmt: skip
    if code in {454, 421, 451, 432}:
        return Verdict(
            POLICY, f"{place} refused for now: {code} {text}", "SES throttles logins or has a problem: try again later"
        )
    return Verdict(
        POLICY, f"{place} refused by policy: {code} {text}",
        "the password is not the reason: look at a deny in the user's policies, its source networks, and whether the "
        "account may send",
    )  # fmt: skip


def _without(text: bytes | str, username: str, password: str, code: int) -> str:
    """A server's words on one line, without anything that was sent to it."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    both = f"\0{username}\0{password}"
    for secret in (password, both):
        for form in (secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe="")):
            shown = shown.replace(form, "(sensitive)")
    line = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
    return line.removeprefix(str(code)).strip()[:300]


def judge(stored: Mapping[str, object] | None, expected_key: str | None, keys: Mapping[str, str]) -> Verdict | None:
    """What can be told of a stored credential before anybody logs in; None where nothing speaks against it.

    ``keys`` maps the user's key ids to their status.
    """
    if stored is None:
        return Verdict(MISSING, "no credential is stored", "recon apply stores one")
    username = str(stored.get("username"))
    if username not in keys:
        return Verdict(WRONG, f"the stored key {username} does not exist any more", "recon apply heals it")
    if keys[username] != "Active":
        return Verdict(WRONG, f"the stored key {username} is {keys[username]}", "recon apply, or recon smtp rotate")
    if expected_key is not None and username != expected_key:
        return Verdict(WRONG, f"the stored key is {username}, the user's is {expected_key}", "recon apply heals it")
    return None
