"""What the YAML declares of the sender of a message."""

from __future__ import annotations

from reconciler.doctor.facts import may_send
from reconciler.model import State


def declared_sender(state: State, address: str) -> str:
    """In words: the configuration set of the domain or address, and the SMTP users that may send for it; "" where
    there is no address."""
    domain = address.rpartition("@")[2].lower()
    if not domain:
        return ""
    entries = [e for e in state.entries if e.section in {"domains", "email_addresses"} and e.name in {domain, address}]
    sets = sorted({str(name) for e in entries if (name := e.values.get("configuration_set_name"))})
    users = sorted(e.name for e in state.section("smtp_users") if may_send(e, domain))
    parts = [f"declared set {', '.join(sets)}"] if sets else []
    parts += [f"SMTP users that may send for {domain}: {', '.join(users[:5])}"] if users else []
    return "; ".join(parts) or ("" if entries else f"{domain} is not declared")
