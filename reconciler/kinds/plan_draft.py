"""What planning hands from kind to kind: a plan in the making, with what tags must remember and what must run when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reconciler.kinds.kind import Order
from reconciler.kinds.ownership import named
from reconciler.kinds.snapshot import Diagnostics, Snapshot
from reconciler.model import Address, Change
from reconciler.resources.spec import Memory


@dataclass(slots=True)
class PlanDraft(Diagnostics):
    """One planning run: the frozen snapshot, and what the kinds that have planned so far found out for later ones.

    Its own diagnostics are what planning found; what reading found is in the snapshot.
    """

    snapshot: Snapshot
    changes: list[Change] = field(default_factory=list)
    """The changes of the kinds that have planned so far."""
    _makes: set[Address] = field(default_factory=set)
    _remembered: dict[tuple[Address, Memory], frozenset[str]] = field(default_factory=dict)
    _orders: dict[Address, tuple[set[Address], set[Address], set[Address]]] = field(default_factory=dict)

    def left(self, address: Address, owner: str) -> None:
        """Name what a former owner has and this state does not declare: it is neither changed nor deleted."""
        self.say(
            "note",
            "left",
            f"{address} belongs to {named(owner)} and is not declared here: it stays as it is",
            hint="declare it to take it over; or delete it with that stack's YAML",
            address=address,
        )

    def remember(self, owner: Address, tag: Memory, names: Iterable[str]) -> None:
        """Have ``tag`` of ``owner`` name ``names``, too, after this plan."""
        self._remembered[owner, tag] = self.remembered(owner, tag).union(names)

    def remembered(self, owner: Address, tag: Memory) -> frozenset[str]:
        """What ``tag`` of ``owner`` must name after this plan; empty where no kind said anything."""
        return self._remembered.get((owner, tag), frozenset())

    def make_part(self, owner: Address) -> None:
        """Say that this plan makes or changes a part that the tags of ``owner`` remember."""
        self._makes.add(owner)

    def judged(self, change: Change) -> Change:
        """``change``; an update where it only remembers more, and some of that is still to be made."""
        made = change.claims and change.address in self._makes
        return replace(change, action="update", claims=False) if made else change

    def add_order(
        self,
        owner: Address,
        *,
        before: Iterable[Address] = (),
        marks: Iterable[Address] = (),
        after: Iterable[Address] = (),
    ) -> None:
        """Have the steps of ``owner`` wait for those of others; the meaning of each is in ``Order``."""
        for known, more in zip(
            self._orders.setdefault(owner, (set(), set(), set())), (before, marks, after), strict=True
        ):
            known.update(more)

    def order(self, owner: Address) -> Order:
        """Everything that was added for ``owner``, sorted."""
        before, marks, after = self._orders.get(owner, ((), (), ()))
        return Order(tuple(sorted(before)), tuple(sorted(marks)), tuple(sorted(after)))
