"""What IAM policies name, from what a stack declares: an ARN, and what recon does with it.

Source: Service Authorization Reference, "Actions, resources, and condition keys" for Amazon SES, IAM, Secrets Manager,
Systems Manager and KMS (the resource types of each action, and the form of their ARNs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reconciler.model import Stack
from reconciler.regions import literal

Role = Literal[
    "own", "referred", "replicated", "user", "role", "instance_profile", "profiled_role", "boundary", "secret",
    "parameter", "dkim_secret", "dkim_parameter", "store_key", "topic", "passed_role", "stream", "renamed_user",
    "record", "released",
]  # fmt: skip
"""``own``, ``referred`` and ``replicated`` are resources of SES: declared; used by what is declared; identities that
share a DKIM key with another region. Of the DKIM secrets and parameters nothing but the value is read. ``store_key`` is
a KMS key that SMTP passwords are encrypted with, ``passed_role`` an IAM role that SES assumes, ``stream`` a delivery
stream that it writes to. ``renamed_user`` is the
old name of a user. ``profiled_role`` is a role that is put into its instance profile, ``boundary`` a managed policy
whose existence is asked for. ``record`` is a DNS name whose records are written, with ``*.`` in front those below it.
``released`` is a resource of SES, a user or a role that is let go: it is only read by its name."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One resource that a plan or apply touches."""

    role: Role
    arn: str
    """Of a KMS key also its id or alias, as the YAML says it; of a record its name."""
    via: str = ""
    """Of a KMS key: the service that uses it, as ``kms:ViaService`` says it (``ssm.eu-west-1.amazonaws.com``). Of a
    record: the id of its zone, empty where that is not known."""
    boundary: str = ""
    """Of a user or role: the ARN of its permissions boundary."""


def secret_grants(role: Role, stack: Stack, name: str, region: str) -> Iterator[Grant]:
    """A secret, with the six characters that Secrets Manager adds to a name, and without, for one that does not exist
    yet."""
    if name.startswith("arn:"):
        yield Grant(role, literal(name))
        return
    base = f"arn:{stack.partition}:secretsmanager:{region}:{stack.account}:secret:{literal(name)}"
    yield from (Grant(role, base), Grant(role, f"{base}-??????"))


def parameter_grant(role: Role, stack: Stack, name: str, region: str) -> Grant:
    """A parameter of Systems Manager."""
    if name.startswith("arn:"):
        return Grant(role, literal(name))
    return Grant(role, f"arn:{stack.partition}:ssm:{region}:{stack.account}:parameter/{literal(name.lstrip('/'))}")
