"""SES email identities: domains and addresses that may send mail."""

NAME = "email_identity"


def address_of(region: str, name: str) -> str:
    """``email_identity/REGION/NAME``."""
    return f"{NAME}/{region}/{name}"
