"""What a message says about who sent it through SES: region, set, tags, MAIL FROM.

SES takes X-SES-CONFIGURATION-SET, -MESSAGE-TAGS and -TENANT out of what it sends; they are still in what a client or a
webmail wanted to send. Received mail has Feedback-ID, whose first two parts are the message tags ``ses:feedback-id-a``
and ``-b``. Source: SES Developer Guide, "Using headers", "Feedback-ID"; received mails for what SES writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.message.reading import MailPart, address_in

_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"


@dataclass(frozen=True, slots=True)
class SesTrace:
    """Who sent it. ``region`` is that of SES, "" where the message never went through SES; ``feedback`` are the parts
    a and b of the Feedback-ID that the sender set."""

    from_address: str = ""
    mail_from: str = ""
    region: str = ""
    configuration_set: str = ""
    tenant: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    feedback: tuple[str, str] = ("", "")
    message_id: str = ""

    def to_json(self) -> dict[str, object]:
        return {
            "from": self.from_address or None, "mail_from": self.mail_from or None, "region": self.region or None,
            "configuration_set": self.configuration_set or None, "tenant": self.tenant or None, "tags": dict(self.tags),
            "feedback_id_a": self.feedback[0] or None, "feedback_id_b": self.feedback[1] or None,
            "message_id": self.message_id or None,
        }  # fmt: skip


def trace(message: MailPart) -> SesTrace:
    """What the headers say. Nothing of it is proven: whoever writes a message can write any header."""
    message_id = message.first("message-id").strip("<> ")
    region, feedback = _feedback(message.first("feedback-id"))
    mail_from = address_in(message.first("return-path"))
    if not region:
        host = message_id.rpartition("@")[2].lower()
        found = re.fullmatch(rf"(?:({_REGION})\.amazonses\.com|email\.amazonses\.com)", host)
        region = "" if found is None else found[1] or "us-east-1"
    pairs = [pair.partition("=") for value in message.all("x-ses-message-tags") for pair in value.split(",")]
    tags = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    return SesTrace(
        address_in(message.first("from")), mail_from, region, message.first("x-ses-configuration-set")[:64],
        message.first("x-ses-tenant")[:64], tags, feedback, message_id[:200],
    )  # fmt: skip


def _feedback(value: str) -> tuple[str, tuple[str, str]]:
    """Region and the two parts of the sender of a Feedback-ID of SES: ``a:b:1.us-east-1.TOKEN=:AmazonSES``."""
    parts = value.strip().split(":")
    if len(parts) < 2 or parts[-1].lower() != "amazonses":
        return "", ("", "")
    found = re.search(rf"(?:^|\.)({_REGION})\.", parts[-2])
    own = [part.strip()[:100] for part in parts[:-2]]
    return (found[1] if found else ""), ((own[0] if own else ""), (own[1] if len(own) > 1 else ""))
