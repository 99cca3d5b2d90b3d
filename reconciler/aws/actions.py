"""The IAM actions of API calls."""

from __future__ import annotations

from typing import Final

_IAM_PREFIX: Final = {"sesv2": "ses", "resourcegroupstaggingapi": "tag"}
"""Clients whose IAM prefix is not their own name (Service Authorization Reference)."""


def iam_action(service: str, operation: str) -> str:
    """The IAM action of a client's operation: ``sesv2``, ``GetEmailIdentity`` -> ``ses:GetEmailIdentity``."""
    return f"{_IAM_PREFIX.get(service, service)}:{operation}"
