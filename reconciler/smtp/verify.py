"""Check stored SMTP credentials: connect, STARTTLS with certificate checks, log in, and quit before any mail.

Ports 587 and 2587 use STARTTLS, 465 TLS from the start; the next port is tried only where the network blocks the one
before. The kind of failure names the cause: no connection is the network, a wrong certificate is something in between,
535 is the password, any other refusal is policy.

Source: SES Developer Guide, "Connecting to an Amazon SES SMTP endpoint" (ports), "Amazon SES SMTP issues" (535, 454,
530, 554 and what they mean); RFC 4954 section 6 (reply codes of AUTH); RFC 3207 (STARTTLS).
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from reconciler import regions
from reconciler.errors import DENIED, AwsError, ReconError
from reconciler.files import check_regular
from reconciler.kinds.snapshot import Snapshot
from reconciler.masking import MASK, mask, remember
from reconciler.model import Desired
from reconciler.resources.smtp_credential import keys, stores
from reconciler.resources.smtp_credential import kind as smtp_credential
from reconciler.resources.smtp_credential.rotation import parse_time
from reconciler.resources.smtp_user import kind as smtp_user
from reconciler.smtp.rotate import declared_credential

if TYPE_CHECKING:
    from reconciler.aws import Aws

PORTS = ((587, "starttls"), (2587, "starttls"), (465, "tls"))
TIMEOUT = 10.0
FRESH_SECONDS = 120.0
"""A key younger than this may not be visible everywhere yet: after 535 the login is retried (IAM User Guide, eventual
consistency)."""
FRESH_PAUSES = (2.0, 4.0, 8.0)

HEALTHY, STALE, NETWORK, CERTIFICATE, POLICY, MISSING, WRONG, UNREAD, UNDECIDED = (
    "healthy", "stale-password", "network", "certificate", "policy", "not-stored", "wrong-key", "unread", "undecided",
)  # fmt: skip
FOUND = frozenset({STALE, CERTIFICATE, POLICY, MISSING, WRONG})
"""Verdicts that mean that something is wrong; ``network`` and ``unread`` mean that it could not be checked, and
``undecided`` that the login works and nobody knows whether mail does."""


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
    """The result of one login: ``verdict`` is one of the names above; ``endpoint`` is the last that was tried.

    ``cause`` says what of the policies refuses mail after a login that works (``senders.permission``); else "".
    """

    verdict: str
    message: str
    hint: str = ""
    endpoint: str = ""
    tried: tuple[str, ...] = ()
    cause: str = ""


def endpoints(region: str) -> list[Endpoint]:
    """The SMTP endpoints of a region, in the order in which they are tried; ``RECON_SMTP_ENDPOINT`` replaces them: a
    comma-separated list of ``host:port`` (STARTTLS) and ``smtps://host:port`` (TLS). Raises ReconError."""
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
    """A TLS context that checks certificates and host names; ``RECON_SMTP_CA`` names the one authority to trust instead
    of the system's. Raises ReconError."""
    authority = os.environ.get("RECON_SMTP_CA")
    try:
        if authority:
            check_regular(Path(authority).stat(), f"RECON_SMTP_CA {authority}")  # opening a pipe could wait
        made = ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as problem:
        raise ReconError(f"RECON_SMTP_CA could not be read: {authority}: {type(problem).__name__}") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def log_in(
    username: str, password: str, places: Iterable[Endpoint], trust: ssl.SSLContext, *, fresh: bool = False,
    timeout: float = TIMEOUT,
) -> Verdict:  # fmt: skip
    """Log in at the first endpoint that the network allows, and quit. With ``fresh`` a refused password is retried for
    a while. The password is removed from any server reply in the verdict."""
    remember(password)
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
        "this machine cannot reach SES over SMTP: check outgoing firewalls, security groups (EC2 blocks port 25, "
        "not these) and proxies; the password was not checked", verdict.endpoint, tuple(failures),
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
                    "a mail proxy or firewall between here and SES removes it: the password was not sent",
                )  # fmt: skip
            server.starttls(context=trust)
        server.ehlo()
        server.login(username, password)
    except ssl.SSLCertVerificationError as problem:
        return Verdict(
            CERTIFICATE, f"{place}: the certificate is not valid: {problem.verify_message}",
            "another server answers instead of SES, or a proxy intercepts TLS: the password was not sent",
        )  # fmt: skip
    except smtplib.SMTPAuthenticationError as problem:
        return _refused(problem.smtp_code, words(problem.smtp_code, problem.smtp_error), place)
    except smtplib.SMTPNotSupportedError:
        return Verdict(POLICY, f"{place} offers no login", "check that this server is SES")
    except smtplib.SMTPServerDisconnected as problem:
        if isinstance(problem.__context__, TimeoutError):
            return Verdict(NETWORK, f"{place}: no answer in {timeout:g} s")
        return Verdict(NETWORK, f"{place}: the server closed the connection")
    except smtplib.SMTPResponseException as problem:
        return _refused(problem.smtp_code, words(problem.smtp_code, problem.smtp_error), place)
    except ssl.SSLError as problem:
        return Verdict(
            CERTIFICATE, f"{place}: TLS failed: {problem.reason or type(problem).__name__}",
            "a proxy or firewall intercepts it, or the port uses another protocol",
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
            "the stored password does not belong to the access key any more, or the key is inactive: recon plan shows "
            "which, recon apply fixes it",
        )  # fmt: skip
    if code in {454, 421, 451, 432}:
        return Verdict(
            POLICY, f"{place} refused for now: {code} {text}", "SES throttles logins or has a problem: try again later"
        )
    return Verdict(
        POLICY, f"{place} refused by policy: {code} {text}",
        "the password is not the reason: check the user's policies for a deny, its source networks, and whether the "
        "account may send",
    )  # fmt: skip


def _without(text: bytes | str, username: str, password: str, code: int) -> str:
    """A server's reply on one line, without anything that was sent to it."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    both = f"\0{username}\0{password}"
    for secret in (password, both):
        for form in (secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe="")):
            shown = shown.replace(form, MASK)
    line = " ".join("".join(c if c.isprintable() else " " for c in mask(shown)).split())
    return line.removeprefix(str(code)).strip()[:300]


# --- a password that somebody holds --------------------------------------------------------------------------------


def verify_held(username: str, password: str, region: str) -> Verdict:
    """Log in at one region's endpoint with a password that no store holds. Raises ReconError for a region without SMTP.

    A refused password is judged by its form: what an SMTP password cannot look like is named.
    """
    if not regions.has_smtp(region):
        raise ReconError(f"no SMTP endpoint of SES is known in {region}", hint="such as us-east-1")
    verdict = log_in(username, password, endpoints(region), context())
    if verdict.verdict != STALE:
        return verdict
    shape = _shape_problem(password)
    hint = shape or (
        f"it belongs to another access key than {username} or to another region than {region}, or the key is inactive "
        "or deleted"
    )
    return replace(verdict, hint=hint)


def _shape_problem(password: str) -> str:
    """What is wrong with the form of a password (SES Developer Guide, "Obtaining Amazon SES SMTP credentials"): 44
    characters of Base64 whose first byte is the version, 4 today. "" where the form is right."""
    if re.fullmatch(r"[A-Za-z0-9/+]{40}", password):
        return "this has the form of a secret access key: an SMTP password is derived from it, and has 44 characters"
    try:
        decoded = base64.b64decode(password, validate=True)
    except ValueError:
        decoded = b""
    if len(decoded) != 33:
        return "this is no SMTP password of SES: that has 44 characters of Base64; perhaps a part was cut off or added"
    if decoded[0] != 4:
        return f"this password is of version {decoded[0]}: SES takes version 4, which depends on the region"
    return ""


def owner_of_key(aws: Aws, username: str) -> str:
    """The user of an access key; "" where IAM does not say. Raises AwsError."""
    return str(aws.call("iam", "GetAccessKeyLastUsed", AccessKeyId=username).get("UserName") or "")


def why_refused(aws: Aws, username: str) -> str:
    """What IAM says of the key of a refused password; "" where it says nothing that explains it. Raises AwsError."""
    try:
        user = owner_of_key(aws, username)
    except AwsError as error:
        if error.aws_code in DENIED:  # IAM's answer for a key that it does not have, too
            return f"IAM knows no access key {username} in account {aws.stack.account}, or does not let recon see it"
        raise
    if not user:
        return ""
    status = next((k["status"] for k in keys.list_keys(aws, user) if k["id"] == username), None)
    if status is None:
        return f"the access key {username} of {user} is deleted: derive the password of a key that exists"
    if status != "Active":
        return f"the access key {username} of {user} is {status}: that is why, whatever the password"
    return f"the access key {username} of {user} is Active: the password is not its password in this region"


# --- stored credentials --------------------------------------------------------------------------------------------


def verify_all(snapshot: Snapshot, aws: Aws, user: str | None, only: list[str]) -> list[tuple[str, str, Verdict]]:
    """(user, region, verdict) of every login, sorted; users and regions in parallel. ``only`` limits the regions.

    Raises ReconError for a user or a region without a credential.
    """
    every = sorted(snapshot.kind(smtp_credential.NAME), key=lambda d: d.name)
    if user is not None:
        every = [declared_credential(snapshot, user)]
    covered = sorted({r for d in every for r in d.spec["regions"]})
    if unknown := sorted(set(only) - set(covered)):
        hint = f"there are: {', '.join(covered)}" if covered else "no declared SMTP user has a stored credential"
        raise ReconError(f"no credential is stored for {', '.join(unknown)}", hint=hint)
    trust = context()
    todo = [(d, s, r) for d in every for s in d.spec["stores"] for r in s["regions"] if not only or r in only]
    for _, _, region in todo:
        endpoints(region)
    verdicts = aws.parallel(lambda item: _verify(snapshot, aws, *item, trust), todo, lambda one: one[2], "SMTP login")
    return [(d.name, region, verdict) for (d, _, region), verdict in zip(todo, verdicts, strict=True)]


def _verify(
    snapshot: Snapshot, aws: Aws, desired: Desired, store: stores.Store, region: str, trust: ssl.SSLContext
) -> Verdict:  # fmt: skip
    stored: dict[str, Any] | None = None
    try:
        stored = stores.read(aws, store)
    except AwsError as error:
        if not error.absent:
            return Verdict(UNREAD, f"{stores.label(store)} could not be read: {error.message}", error.hint)
    except ReconError as error:
        return Verdict(MISSING, error.message, error.hint)
    live = snapshot.observed.get(desired.address)
    if live is not None:
        early = _check_key(stored, live.spec["key"], {k["id"]: k["status"] for k in live.spec["keys"]})
        if early is not None:
            return early
    if stored is None:
        return Verdict(MISSING, f"{stores.label(store)} does not exist", "recon apply stores a credential")
    password = stores.passwords_in(stored).get(region)
    if password is None:
        return Verdict(MISSING, f"{stores.label(store)} holds no password for {region}", "recon apply stores one")
    made = parse_time(stored.get("created_at"))
    age = (datetime.fromisoformat(snapshot.now) - made).total_seconds() if made else FRESH_SECONDS
    verdict = log_in(str(stored["username"]), password, endpoints(region), trust, fresh=0 <= age < FRESH_SECONDS)
    denied = smtp_user.denied(snapshot, desired.name) if verdict.verdict == HEALTHY else ""
    if not denied:
        return verdict
    return replace(
        verdict, verdict=POLICY, cause="deny", message=f"{verdict.message}, but SES refuses its mail: {denied}",
        hint="remove the statement that denies, or the user from the group; recon does not change it",
    )  # fmt: skip


def _check_key(
    stored: Mapping[str, object] | None, expected_key: str | None, keys: Mapping[str, str]
) -> Verdict | None:  # fmt: skip
    """What is wrong with a stored credential before any login; None where nothing is. ``keys``: key id -> status."""
    if stored is None:
        return Verdict(MISSING, "no credential is stored", "recon apply stores one")
    username = str(stored.get("username"))
    if username not in keys:
        return Verdict(WRONG, f"the stored key {username} does not exist any more", "recon apply fixes it")
    if keys[username] != "Active":
        return Verdict(WRONG, f"the stored key {username} is {keys[username]}", "recon apply, or recon smtp rotate")
    if expected_key is not None and username != expected_key:
        return Verdict(WRONG, f"the stored key is {username}, the user's is {expected_key}", "recon apply fixes it")
    return None
