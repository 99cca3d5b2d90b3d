"""SES email identities beyond what fits beside their fields: reading many at once, and the writes of one."""

from reconciler.model import Address

NAME = "email_identity"


def address_of(region: str, name: str) -> Address:
    """``email_identity/REGION/NAME``."""
    return f"{NAME}/{region}/{name}"
