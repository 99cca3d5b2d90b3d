"""The plan refined: what a first plan shows must be known better, before it is the plan that anybody sees.

Four things cost too much to read for everything, and matter only for what a plan changes:

- what a bulk read has seen in part, or with the tags that the search has found, is read whole, so that the plan changes
  no more and no less than a full one would, and apply finds it as it was planned (one call an identity);
- the topics of identities' own, where a rule would report that nothing receives their bounces and complaints (one
  call for 100 identities);
- what AWS would refuse a deletion for (``kinds/obstacles.py``);
- whether another stack owns a record that the plan deletes or takes over, where only the tags of its resources could
  say it (``resources/dns_record/foreign_ownership.py``: one call a region for 100 resources).

What is read is put into a copy of the snapshot, and the plan is made again from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconciler.kinds import obstacles
from reconciler.kinds.reading import Reader, read_each, read_users
from reconciler.kinds.registry import REGISTRY
from reconciler.kinds.snapshot import Snapshot
from reconciler.model import Address, Change, Observed, Plan, address_parts
from reconciler.resources.dns_record import foreign_ownership
from reconciler.resources.email_identity import bulk

if TYPE_CHECKING:
    from reconciler.aws import Aws


def plan_to_fixpoint(snapshot: Snapshot, aws: Aws, plan_of: Callable[[Snapshot], Plan]) -> tuple[Plan, Snapshot]:
    """The plan that further reading would not change, and the frozen snapshot it is made from. Reads only."""
    while True:
        plan = plan_of(snapshot.freeze())
        partly = _seen_in_part(snapshot, plan.changes)
        doubtful = set() if partly else foreign_ownership.doubtful(snapshot, plan.changes)
        silent = [] if partly else bulk.without_topics(snapshot, plan)
        going = [] if partly else _not_asked(snapshot, plan.changes)
        if not (partly or doubtful or silent or going):
            return plan, snapshot
        more = snapshot.thaw()
        if partly:
            more.whole.update(partly)
            for kind in sorted({more.observed.pop(address).kind for address in partly}):
                reader = REGISTRY[kind]
                assert isinstance(reader, Reader)  # of the others nothing is read in part
                read_each(reader, aws, more, [a for a in partly if address_parts(a).kind == kind])
        elif not (doubtful and foreign_ownership.ask(aws, more, doubtful, REGISTRY)) and not (silent or going):
            return plan, snapshot
        bulk.read_topics(aws, more, silent)
        read_users(aws, more, going, REGISTRY)
        obstacles.read(aws, more, going, REGISTRY)
        snapshot = more


def _not_asked(snapshot: Snapshot, changes: Iterable[Change]) -> list[Observed]:
    """What ``changes`` delete and whose obstacles nobody has asked for."""
    found = (snapshot.observed.get(c.moved_from or c.address) for c in changes if c.action == "delete" or c.moved_from)
    return [one for one in found if one is not None and one.address not in snapshot.obstacles]


def _seen_in_part(snapshot: Snapshot, changes: Iterable[Change]) -> list[Address]:
    """What ``changes`` change and a bulk read has not seen whole."""
    live = (snapshot.observed.get(change.address) for change in changes)
    return sorted({one.address for one in live if one is not None and one.facts.get("bulk")})
