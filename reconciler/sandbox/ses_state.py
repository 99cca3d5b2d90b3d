"""What Amazon SES keeps for one account in one region, and how an identity's statuses follow from DNS.

Statuses are worked out when they are read: SES checks periodically, and a caller sees what its last check found.

Source: SES Developer Guide "Easy DKIM", "BYODKIM", "Deterministic Easy DKIM", "Using a custom MAIL FROM domain",
"Verified identities"; botocore's sesv2 model for the fields.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.sandbox.dns import Reply
from reconciler.sandbox.protocol import ApiError
from reconciler.sandbox.records import BadRecord, normalise_name
from reconciler.sandbox.world import moment

if TYPE_CHECKING:
    from reconciler.sandbox.dns import Resolver
    from reconciler.sandbox.world import Call, World

REGIONAL_DKIM_ZONES: Final = frozenset({
    "af-south-1", "ap-northeast-3", "ap-south-2", "ap-southeast-3", "ap-southeast-5", "ca-west-1", "eu-central-2",
    "eu-south-1", "il-central-1", "me-central-1", "us-gov-east-1",
})  # fmt: skip
"""Regions with DKIM CNAMEs below ``dkim.<region>.amazonses.com``. Source: AWS General Reference, SES endpoints."""


MAX_TAGS: Final = 50

_TAG = re.compile(r"[\w\s_.:/=+\-@]*")


def signing_zone(region: str) -> str:
    """The zone that Easy DKIM tokens of a region point into. That of the European Sovereign Cloud is not published, and
    is made up here: clients must take it from ``SigningHostedZone``."""
    if region.startswith("eusc-"):
        return f"dkim.{region}.amazonses.invented.example"
    return f"dkim.{region}.amazonses.com" if region in REGIONAL_DKIM_ZONES else "dkim.amazonses.com"


def bad(message: str) -> ApiError:
    """BadRequestException, SES's answer to what it does not accept."""
    return ApiError("BadRequestException", message, 400)


def refuse_if(*cases: tuple[bool, str]) -> None:
    """Refuse in the words of the first case that holds. Raises: ApiError, BadRequestException."""
    for holds, message in cases:
        if holds:
            raise bad(message)


def missing(what: str) -> ApiError:
    return ApiError("NotFoundException", what, 404)


def exists(what: str) -> ApiError:
    """AlreadyExistsException; its status is 400, not 409."""
    return ApiError("AlreadyExistsException", what, 400)


def over_limit(what: str) -> ApiError:
    return ApiError("LimitExceededException", what, 400)


def merge_tags(tags: Mapping[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    """Tags with some added or changed. Raises: ApiError for bad keys and values and over 50 tags."""
    keys = [tag["Key"] for tag in added]
    if len(set(keys)) != len(keys):
        raise bad("Duplicate tag keys are not allowed.")
    for tag in added:
        key, value = tag["Key"], tag["Value"]
        if not 1 <= len(key) <= 128 or not _TAG.fullmatch(key):
            raise bad(f"The tag key <{key}> is not valid.")
        if key.lower().startswith("aws:"):
            raise bad("The tag key prefix aws: is reserved.")
        if len(value) > 256 or not _TAG.fullmatch(value):
            raise bad(f"The value of tag <{key}> is not valid.")
    merged = {**tags, **{tag["Key"]: tag["Value"] for tag in added}}
    if len(merged) > MAX_TAGS:
        raise bad(f"A resource can have at most {MAX_TAGS} tags.")
    return merged


@dataclass
class Check:
    """A verification that runs against DNS. ``started`` is None when nothing is being verified.

    ``status`` is the last one found: PENDING, SUCCESS, TEMPORARY_FAILURE or FAILED.
    """

    started: float | None = None
    status: str = "PENDING"
    lost: float | None = None
    checked: float | None = None
    succeeded: float | None = None
    error: str | None = None

    def start(self, now: float) -> None:
        """Begin anew."""
        self.started, self.status, self.lost, self.error = now, "PENDING", None, None

    def update(self, problem: str | None, changed: float, now: float, delay: float, deadline: float) -> str:
        """Take in one look at DNS and return the status.

        ``problem`` is an ErrorType, or None when all is right since ``changed``. A FAILED check stays failed until it
        is started again; records lost after SUCCESS count from when they changed.
        """
        if self.started is None or self.status == "FAILED":
            return self.status
        self.checked = now
        if problem is None:
            if self.status == "TEMPORARY_FAILURE" or now >= max(changed, self.started) + delay:
                self.status, self.lost, self.succeeded = "SUCCESS", None, now
            return self.status
        self.error = problem
        if self.status in ("SUCCESS", "TEMPORARY_FAILURE"):
            self.lost = self.lost or min(max(changed, self.succeeded or 0.0), now)
            self.status = "FAILED" if now >= self.lost + deadline else "TEMPORARY_FAILURE"
        elif now >= self.started + deadline:
            self.status = "FAILED"
        return self.status


@dataclass
class Identity:
    """A domain or an address that may send."""

    name: str
    kind: str
    region: str
    account: str
    created: float
    feedback: bool = True
    verified: bool = False
    address_requested: float = 0.0
    txt_token: str | None = None
    signing_enabled: bool = False
    origin: str = "AWS_SES"
    tokens: list[str] = field(default_factory=list)
    selector: str | None = None
    public_key: str | None = None
    next_length: str = "RSA_1024_BIT"
    current_length: str | None = None
    key_made: float | None = None
    key_changed: float | None = None
    dkim: Check = field(default_factory=Check)
    mail_from: str | None = None
    mx_behavior: str = "USE_DEFAULT_VALUE"
    mail_from_check: Check = field(default_factory=Check)
    policies: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    configuration_set: str | None = None
    topics: dict[str, str] = field(default_factory=dict)
    headers_in_notifications: dict[str, bool] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """The domain, or an address's domain, in lower case."""
        return self.name.rpartition("@")[2].lower()


@dataclass
class Item:
    """A resource of a plain kind (see ``plain``): a configuration set, a contact.

    ``body`` has the members of its operations as they are stored, ``resources`` what it holds itself, by noun and name:
    a configuration set its event destinations. Times are seconds since the epoch.
    """

    name: str
    created: float
    updated: float
    body: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    resources: dict[str, dict[str, Item]] = field(default_factory=dict)

    def of(self, noun: str) -> dict[str, Item]:
        """What it holds of one kind, by name."""
        return self.resources.setdefault(noun, {})


@dataclass
class Tenant:
    name: str
    id: str
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    resources: set[str] = field(default_factory=set)
    suppression: dict[str, Any] | None = None


@dataclass
class SesState:
    """SES of one account in one region."""

    identities: dict[str, Identity] = field(default_factory=dict)
    resources: dict[str, dict[str, Item]] = field(default_factory=dict)
    """The plain kinds, by noun and name."""
    suppressed: dict[str, tuple[str, float]] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    sending_enabled: bool = True
    production_access: bool | None = None
    enforcement: str = "HEALTHY"
    suppressed_reasons: list[str] = field(default_factory=lambda: ["BOUNCE", "COMPLAINT"])
    validation: dict[str, Any] = field(
        default_factory=lambda: {"ConditionThreshold": {"ConditionThresholdEnabled": "DISABLED"}}
    )
    vdm: dict[str, Any] = field(default_factory=dict)
    """Empty until it is put for the first time."""
    delivery_mode: str = "GLOBAL"
    details: dict[str, Any] | None = None
    auto_warmup: bool = True
    quota: dict[str, float] = field(
        default_factory=lambda: {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 0.0}
    )

    sent: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    """What was sent, a quarter of an hour each: time, delivery attempts, bounces, complaints, rejects."""

    sent_by: dict[str, int] = field(default_factory=dict)
    """What identities sent in the last day, for the metrics of the Virtual Deliverability Manager."""
    sent_to: dict[str, dict[str, int]] = field(default_factory=dict)
    """What was sent to large receivers (the dimension ISP), by metric."""

    def of(self, noun: str) -> dict[str, Item]:
        """The resources of one plain kind, by name: ``of("ConfigurationSet")``."""
        return self.resources.setdefault(noun, {})

    def key(self, name: str) -> str:
        """How an identity is found: domains ignore case, addresses do not (Developer Guide, "Creating identities")."""
        return name if "@" in name else name.lower().rstrip(".")

    def find(self, name: str) -> Identity | None:
        return self.identities.get(self.key(name))

    def covering(self, domain: str) -> Identity | None:
        """The most specific domain identity that covers a domain."""
        labels = domain.lower().split(".")
        for start in range(len(labels) - 1):
            found = self.identities.get(".".join(labels[start:]))
            if found is not None:
                return found
        return None


def refuse_if_tenant(call: Call, state: SesState, resource: str) -> None:
    """Refuse to delete what is associated with a tenant (Developer Guide "Tenants"). Raises: ApiError.

    ``resource`` is the last part of an ARN: ``configuration-set/tx``.
    """
    arn = call.arn("ses", resource)
    if any(arn in tenant.resources for tenant in state.tenants.values()):
        raise bad(f"The resource <{arn}> is associated with a tenant and cannot be deleted.")


def easy_dkim_tokens(account: str, region: str, domain: str, generation: int) -> list[str]:
    """Three tokens of 32 letters and digits that nobody can know before the identity exists.

    They look random but depend only on their arguments, so that a run can be repeated.
    """
    tokens = []
    for index in range(3):
        digest = hashlib.sha256(f"{account}/{region}/{domain}/{generation}/{index}".encode()).digest()
        tokens.append(base64.b32encode(digest).decode().lower()[:32])
    return tokens


class Verifier:
    """Works out statuses of identities from DNS and from other identities."""

    def __init__(self, world: World, resolver: Resolver) -> None:
        self.world = world
        self.resolver = resolver

    def parent(self, identity: Identity) -> Identity | None:
        """The identity whose DKIM a replica shares, where it can be one."""
        region = identity.origin.removeprefix("AWS_SES_").lower().replace("_", "-")
        state = self.world.current("ses", identity.account, region, SesState)
        found = state.find(identity.name)
        usable = (
            found is not None and region != identity.region and found.origin == "AWS_SES" and found.kind == "DOMAIN"
        )
        return found if usable else None

    def replication_problem(self, identity: Identity) -> str | None:
        """Why a Deterministic Easy DKIM replica cannot work, as VerificationInfo.ErrorType, or None."""
        region = identity.origin.removeprefix("AWS_SES_").lower().replace("_", "-")
        if region == identity.region:
            return "REPLICATION_PRIMARY_INVALID_REGION"
        found = self.world.current("ses", identity.account, region, SesState).find(identity.name)
        if found is None or found.kind != "DOMAIN":
            return "REPLICATION_PRIMARY_NOT_FOUND"
        if found.origin == "EXTERNAL":
            return "REPLICATION_PRIMARY_BYO_DKIM_NOT_SUPPORTED"
        if found.origin != "AWS_SES":
            return "REPLICATION_REPLICA_AS_PRIMARY_NOT_SUPPORTED"
        return None

    def tokens(self, identity: Identity) -> list[str]:
        """Easy DKIM tokens (a replica's are its parent's), or the BYODKIM selector."""
        if identity.origin == "EXTERNAL":
            return [identity.selector] if identity.selector else []
        if identity.origin != "AWS_SES":
            parent = self.parent(identity)
            return parent.tokens if parent else []
        return identity.tokens

    def zone(self, identity: Identity) -> str | None:
        """SigningHostedZone: where the CNAMEs must point; None for BYODKIM and for replicas without a parent."""
        if identity.origin == "EXTERNAL":
            return None
        if identity.origin == "AWS_SES":
            return signing_zone(identity.region)
        parent = self.parent(identity)
        return signing_zone(parent.region) if parent else None

    def _dkim_problem(self, identity: Identity) -> tuple[str | None, float]:
        """What is wrong with the DKIM records (an ErrorType or None), and when the last of them changed."""
        changed = 0.0
        if identity.origin == "EXTERNAL":
            reply = self.resolver.lookup(f"{identity.selector}._domainkey.{identity.domain}", "TXT")
            problem = _missing(reply)
            if problem is None and not any(_public_key(v) == identity.public_key for v in reply.values):
                problem = "INVALID_VALUE"
            return problem, reply.changed
        if identity.origin != "AWS_SES":
            replica = self.replication_problem(identity)
            if replica:
                return replica, identity.dkim.started or 0.0
        zone = self.zone(identity)
        for token in self.tokens(identity):
            reply = self.resolver.lookup(f"{token}._domainkey.{identity.domain}", "CNAME")
            changed = max(changed, reply.changed)
            problem = _missing(reply)
            if problem is None and _host(reply.values[0]) != f"{token}.{zone}.":
                problem = "INVALID_VALUE"
            if problem:
                return problem, reply.changed
        return None, changed

    def dkim_status(self, identity: Identity, now: float) -> str:
        """The DKIM status of a domain identity now."""
        if identity.dkim.started is None:
            return "NOT_STARTED"
        problem, changed = self._dkim_problem(identity)
        if problem and problem.startswith("REPLICATION_") and identity.dkim.status != "FAILED":
            identity.dkim.status, identity.dkim.error, identity.dkim.checked = "FAILED", problem, now
            return "FAILED"
        settings = self.world.settings
        status = identity.dkim.update(
            problem, changed, now, settings.verification_delay, settings.verification_deadline
        )
        if status == "SUCCESS":
            identity.verified = True
        if identity.key_changed and now >= identity.key_changed + settings.key_rotation_delay:
            identity.current_length = identity.next_length
        return status

    def mail_from_status(self, identity: Identity, now: float) -> str:
        """The status of the custom MAIL FROM domain now: exactly one MX, and the TXT that lets SES send."""
        domain = identity.mail_from or ""
        mx = self.resolver.lookup(domain, "MX")
        problem, changed = _missing(mx), mx.changed
        wanted = (10, f"feedback-smtp.{identity.region}.amazonses.com.")
        if problem is None and (len(mx.values) != 1 or _mx(mx.values[0]) != wanted):
            problem = "INVALID_VALUE"
        if problem is None:
            txt = self.resolver.lookup(domain, "TXT")
            changed = max(changed, txt.changed)
            policies = [v for v in txt.values if v.lower().startswith("v=spf1")]
            if not policies:
                problem = "TYPE_NOT_FOUND"
            elif len(policies) != 1 or "include:amazonses.com" not in policies[0].lower().split():
                problem = "INVALID_VALUE"
        settings = self.world.settings
        return identity.mail_from_check.update(
            problem, changed, now, settings.verification_delay, settings.verification_deadline
        )

    def status(self, identity: Identity, now: float) -> str:
        """VerificationStatus: an address by its link, a domain by DKIM or by the older ``_amazonses`` TXT."""
        settings = self.world.settings
        if identity.kind == "EMAIL_ADDRESS":
            if identity.verified:
                return "SUCCESS"
            return "FAILED" if now >= identity.address_requested + 24 * 3600 else "PENDING"
        dkim = self.dkim_status(identity, now)
        if identity.txt_token is not None:
            reply = self.resolver.lookup(f"_amazonses.{identity.domain}", "TXT")
            if identity.txt_token in reply.values and now >= reply.changed + settings.verification_delay:
                identity.verified = True
                return "SUCCESS"
        if dkim == "PENDING" and identity.verified:
            return "SUCCESS"
        return "PENDING" if dkim == "NOT_STARTED" else dkim

    def dkim_attributes(self, state: SesState, identity: Identity, now: float) -> dict[str, Any]:
        """``DkimAttributes`` as GetEmailIdentity returns them."""
        shown: dict[str, Any] = {}
        if identity.kind == "EMAIL_ADDRESS":
            parent = state.covering(identity.domain)
            if parent is None:
                return {
                    "SigningEnabled": False, "Status": "NOT_STARTED", "SigningAttributesOrigin": "AWS_SES",
                    "NextSigningKeyLength": "RSA_1024_BIT",
                }  # fmt: skip
            identity = parent
        shown["Status"] = self.dkim_status(identity, now)
        shown |= {
            "SigningEnabled": identity.signing_enabled,
            "Tokens": self.tokens(identity),
            "SigningAttributesOrigin": identity.origin,
        }
        source = identity
        if identity.origin not in ("AWS_SES", "EXTERNAL"):
            source = self.parent(identity) or identity
        if identity.origin != "EXTERNAL":
            shown["NextSigningKeyLength"] = source.next_length
            if source.current_length:
                shown["CurrentSigningKeyLength"] = source.current_length
            if source.key_made is not None:
                shown["LastKeyGenerationTimestamp"] = moment(source.key_made)
            if not self.world.settings.doubt_signing_hosted_zone_absent:
                shown["SigningHostedZone"] = self.zone(identity)
        return shown

    def verification_info(self, identity: Identity, now: float) -> dict[str, Any]:
        """``VerificationInfo``; a setting says whether an old ErrorType stays when the check succeeds."""
        if identity.kind == "EMAIL_ADDRESS":
            return {}
        check, shown = identity.dkim, {}
        if check.checked is not None:
            shown["LastCheckedTimestamp"] = moment(check.checked)
        if check.succeeded is not None:
            shown["LastSuccessTimestamp"] = moment(check.succeeded)
        info: dict[str, Any] = dict(shown)
        if check.error and (check.status != "SUCCESS" or self.world.settings.doubt_stale_error_type):
            info["ErrorType"] = check.error
        zone = self.resolver.zone_of(identity.domain + ".")
        if zone is not None:
            info["SOARecord"] = {
                "PrimaryNameServer": zone.name_servers[0], "AdminEmail": "awsdns-hostmaster.amazon.com",
                "SerialNumber": 1,
            }  # fmt: skip
        return info


def _missing(reply: Reply) -> str | None:
    if reply.code == "NXDOMAIN":
        return "HOST_NOT_FOUND"
    return None if reply.values else "TYPE_NOT_FOUND"


def _host(value: str) -> str:
    try:
        return normalise_name(value.strip())
    except BadRecord:
        return value


def _mx(value: str) -> tuple[int, str]:
    preference, _, target = value.strip().partition(" ")
    return int(preference), _host(target)


def _public_key(record: str) -> str | None:
    """The ``p=`` of a DKIM record, without white space."""
    for part in record.split(";"):
        name, _, value = part.strip().partition("=")
        if name.strip() == "p":
            return re.sub(r"\s", "", value)
    return None


def public_key_of(private_key: str) -> tuple[str, int]:
    """The public half of a BYODKIM key as a ``p=`` value (base64 DER), and its size in bits.

    ``private_key`` is the base64 of DER (PKCS #1 or PKCS #8), or of a whole PEM text, which SES takes too.
    Raises: ValueError if it is no RSA key.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_der_private_key,
        load_pem_private_key,
    )

    data = base64.b64decode(private_key, validate=True)
    load = load_pem_private_key if data.startswith(b"-----BEGIN") else load_der_private_key
    key = load(data, password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode(), key.key_size
