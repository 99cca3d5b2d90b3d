"""What depends on the AWS region or partition alone: SES host names, DKIM zones, ARNs.

Facts that AWS returns per identity (``SigningHostedZone``) win over the tables here; these are what a plan says
before AWS was asked, and the fallback where an endpoint leaves the field out.
Sources: botocore ``DkimSigningAttributesOrigin`` (the regions), SES Developer Guide "Regions and Amazon SES", AWS
General Reference "Amazon SES endpoints and quotas".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

SES_REGIONS: Final[tuple[str, ...]] = (
    "af-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1",
    "ap-southeast-2", "ap-southeast-3", "ap-southeast-5", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
    "eu-north-1", "eu-south-1", "eu-west-1", "eu-west-2", "eu-west-3", "eusc-de-east-1", "il-central-1",
    "me-central-1", "me-south-1", "sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1",
    "us-west-2",
)  # fmt: skip
"""Regions where SES is known to exist."""

UNPUBLISHED: Final = frozenset({"eusc-de-east-1"})
"""Regions of which AWS has not published the names of the feedback MX, the SMTP endpoint and the tracking host: a
guessed MX would lose bounces. Their DKIM zone is known from each identity (``SigningHostedZone``)."""

_OWN_DKIM_ZONE: Final = frozenset(
    {
        "af-south-1", "ap-northeast-3", "ap-south-2", "ap-southeast-3", "ap-southeast-5", "ca-west-1", "eu-central-2",
        "eu-south-1", "il-central-1", "me-central-1", "us-gov-east-1",
    }
)  # fmt: skip

NO_SMTP: Final = frozenset({"af-south-1", "ap-southeast-3", "eu-south-1", "me-south-1"})
"""Regions whose SES has no SMTP endpoint (SES Developer Guide "Regions", General Reference)."""

_REGION: Final = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]+")
_SPECIAL: Final = r"\$\{([*?$])\}"
_ORIGIN_PREFIX: Final = "AWS_SES_"
_PARTITION_PREFIXES: Final = (
    ("us-gov-", "aws-us-gov"), ("cn-", "aws-cn"), ("eusc-", "aws-eusc"), ("us-iso-", "aws-iso"),
)  # fmt: skip
_HOME_REGIONS: Final = {
    "aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1", "aws-eusc": "eusc-de-east-1",
}  # fmt: skip


def home_region(partition: str, otherwise: str = "us-east-1") -> str:
    """The region of a partition's global services (IAM, Route 53): their API calls are recorded there, and Route 53's
    tags are there. ``otherwise`` is for partitions that are not known. Source: IAM User Guide, "Endpoints"."""
    return _HOME_REGIONS.get(partition, otherwise)


def partition_of(region: str) -> str:
    """The ARN partition of a region: ``aws``, ``aws-us-gov``, ``aws-cn``, ..."""
    for prefix, partition in _PARTITION_PREFIXES:
        if region.startswith(prefix):
            return partition
    return "aws"


def of_partition_of(name: str, choices: Iterable[str], partition: str = "aws") -> list[str]:
    """``choices`` without the regions of another partition than the mistyped ``name`` begins with, or else than
    ``partition``. Of ``AWS_SES_US_EAST_1`` its region counts; what names no region stays."""

    def region_in(text: str) -> str:
        return deterministic_parent(text) or text

    prefixed = partition_of(region_in(name.lower()))
    wanted = partition if prefixed == "aws" else prefixed
    return [c for c in choices if not _REGION.fullmatch(region_in(c)) or partition_of(region_in(c)) == wanted]


def dkim_zone(region: str) -> str:
    """The zone that Easy DKIM CNAMEs of this region point into, where AWS does not name it itself; empty where nobody
    but AWS knows it.

    Source: AWS General Reference "Amazon SES endpoints and quotas", DKIM domains.
    """
    if region in UNPUBLISHED:
        return ""
    return f"dkim.{region}.amazonses.com" if region in _OWN_DKIM_ZONE else "dkim.amazonses.com"


def feedback_host(region: str) -> str:
    """The host that receives bounces for a custom MAIL FROM domain of this region."""
    return f"feedback-smtp.{region}.amazonses.com"


def feedback_mx(region: str) -> str:
    """The one MX value of a custom MAIL FROM domain (SES Developer Guide "Custom MAIL FROM"), without final dot."""
    return f"10 {feedback_host(region)}"


def tracking_target(region: str) -> str:
    """Where the CNAME of a custom open and click domain points (SES Developer Guide "Custom tracking domains")."""
    return f"r.{region}.awstrack.me"


def smtp_host(region: str) -> str:
    """The SMTP endpoint of a region; see ``has_smtp`` for regions without one."""
    return f"email-smtp.{region}.amazonaws.com"


def has_smtp(region: str) -> bool:
    """Whether the region is not known to lack an SMTP endpoint, and the endpoint's name is known."""
    return region not in NO_SMTP and region not in UNPUBLISHED


@lru_cache(maxsize=256)
def deterministic_parent(origin: str) -> str | None:
    """The parent region of a Deterministic Easy DKIM origin (``AWS_SES_US_EAST_1`` -> ``us-east-1``), else None."""
    upper = origin.upper()
    if not upper.startswith(_ORIGIN_PREFIX) or upper == _ORIGIN_PREFIX:
        return None
    return upper.removeprefix(_ORIGIN_PREFIX).lower().replace("_", "-")


def ses_arn(partition: str, region: str, account: str, resource: str) -> str:
    """The ARN of a resource of SES: ``resource`` is ``identity/acme.com``, ``configuration-set/transactional`` ..."""
    return f"arn:{partition}:ses:{region}:{account}:{resource}"


def literal(name: str) -> str:
    """``name`` as a policy of IAM says it, where ``*``, ``?`` and ``$`` stand for more: ``sale*`` is ``sale${*}``.

    Source: IAM User Guide, "IAM policy elements: Variables and tags", special characters.
    """
    return re.sub(r"[*?$]", r"${\g<0>}", name)


def meant(text: str) -> str | None:
    """The one name that ``text`` in a policy of IAM stands for, the opposite of ``literal``; None for a pattern."""
    plain = re.sub(_SPECIAL, "", text)
    return None if set(plain) & {"*", "?"} else re.sub(_SPECIAL, r"\1", text)


@lru_cache(maxsize=4096)
def iam_pattern(text: str) -> re.Pattern[str]:
    """What ``text`` in a policy of IAM matches: ``*`` any characters, ``?`` one, ``${*}`` and the like themselves."""
    wild = {"*": ".*", "?": "."}
    parts = re.findall(rf"{_SPECIAL}|(.)", text, re.DOTALL)
    return re.compile("".join(re.escape(special) or wild.get(one, re.escape(one)) for special, one in parts), re.DOTALL)


def identity_arn(partition: str, region: str, account: str, name: str) -> str:
    """``arn:aws:ses:us-east-1:111122223333:identity/acme.com``."""
    return ses_arn(partition, region, account, f"identity/{name}")


def configuration_set_arn(partition: str, region: str, account: str, name: str) -> str:
    """``arn:aws:ses:us-east-1:111122223333:configuration-set/transactional``."""
    return ses_arn(partition, region, account, f"configuration-set/{name}")
