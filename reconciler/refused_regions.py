"""Regions that refused a session, where nobody could say whether the account has them.

The search for what is ours counts as unread there only where something says that this stack had something there: the
state, a marker in DNS, the journal. Elsewhere it is one note, since most accounts never enable most regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reconciler.errors import ReconError
from reconciler.model import address_parts
from reconciler.resources.dns_record import marker

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot


def settle(snapshot: Snapshot, aws: Aws) -> None:
    """Say of each region in ``snapshot.refused`` that it is unread, or name it in a note. Reads the journal where
    nothing else says that the stack had something in a region."""
    from reconciler.aws import opt_in

    left = {*snapshot.refused}
    if not left:
        return

    def unread(regions: set[str], why: str) -> None:
        for region in sorted(left & regions):
            words = f"what is ours could not be looked for in {region}, and {why} it: {snapshot.refused[region]}"
            snapshot.unreadable("sweep", words, opt_in.HINT)
        left.difference_update(regions)

    unread({*snapshot.regions}, "the state names")
    unread(_marked(snapshot, left), "a marker in DNS names")
    problem = ""
    if left:
        recorded, problem = _recorded(snapshot, aws)
        unread(recorded, "the journal names")
    if left:
        more = f"; nothing says that this stack had anything there{problem}"
        snapshot.say("note", "regions-refused", opt_in.unread_in(left) + more, hint=opt_in.HINT)


def _marked(snapshot: Snapshot, regions: set[str]) -> set[str]:
    """Those of ``regions`` in which hosts are that our markers name: ``feedback-smtp.REGION.amazonses.com``."""
    texts = [text.lower() for text in _marker_texts(snapshot)]
    return {region for region in regions if any(f".{region}." in text for text in texts)}


def _marker_texts(snapshot: Snapshot) -> Iterator[str]:
    for zone in snapshot.zones.values():
        for name, type_ in zone.records if zone.loaded else ():
            if type_ == "TXT" and name.startswith(f"{marker.LABEL}."):
                texts = [text for _, text in zone.texts(name)]
                yield from (t for t in texts if any(marker.is_ours(t, s) for s in snapshot.state.stack.scopes))


def _recorded(snapshot: Snapshot, aws: Aws) -> tuple[set[str], str]:
    """The regions of what past runs have written; and, in words, why the journal could not be read."""
    from reconciler.journal import past_runs

    try:
        runs = past_runs(snapshot.state.stack, aws)
    except ReconError as error:
        return set(), f"; the journal could not be read: {error.message}"
    return {address_parts(step.partition("#")[0]).place for run in runs for step, *_ in run.steps}, ""
