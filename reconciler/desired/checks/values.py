"""Checks of one entry's values: forms, lengths and counts that AWS or an RFC fixes; names are folded on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from reconciler.desired.checks.domains import check_address, check_domain
from reconciler.desired.checks.forms import check_tags
from reconciler.desired.checks.place import EntryContext
from reconciler.desired.checks.sets import check_configuration_set, check_pool
from reconciler.desired.checks.smtp import check_smtp_user
from reconciler.model import Stack

_SECTIONS: Final[Mapping[str, Callable[[EntryContext, Stack], None]]] = {
    "domains": check_domain,
    "email_addresses": check_address,
    "configuration_sets": check_configuration_set,
    "dedicated_ip_pools": check_pool,
    "smtp_users": check_smtp_user,
}


def check_values(place: EntryContext, stack: Stack) -> None:
    """Check the values of one entry that passed its schema, and fold the names inside them. May be called again."""
    _SECTIONS[place.section](place, stack)
    check_tags(place)
