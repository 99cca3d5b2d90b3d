"""What the rules see of DNS: the zones of the stack, as they are and as they will be, and what public DNS answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from typing import Any, Literal, NamedTuple, TypeVar

from reconciler.mail import spf
from reconciler.names import at_or_above

When = Literal["before", "after"]

Method = TypeVar("Method", bound=Callable[..., Any])


class RecordView(NamedTuple):
    """One name and type in a zone.

    ``values`` are decoded: the joined text of a TXT, ``10 host`` for an MX, a folded name for CNAME and NS, without
    final dots. ``kind`` is ``simple``, ``alias`` or ``routed`` (weighted, latency, ...); ``lookup`` reads simple ones
    only. The value of an alias is its target.
    """

    values: tuple[str, ...] = ()
    kind: Literal["simple", "alias", "routed"] = "simple"
    ttl: int | None = None


class HostedZoneView(NamedTuple):
    """A public hosted zone: its id and name servers (empty where it was not read); whether resolvers ask it as far as
    its parent zone in the same account tells (None where that does not say); whether the stack writes to it."""

    id: str
    servers: tuple[str, ...] = ()
    asked: bool | None = None
    used: bool = True


RecordViews = Mapping[tuple[str, str], RecordView]
"""(folded owner name, type) -> the record set."""


def remembered(method: Method) -> Method:
    """Remember the answers of a look-up that many rules repeat: a view is frozen, so they stay valid."""

    @wraps(method)
    def answer(self: DnsView, *asked: Any) -> Any:
        memo, key = self._memo, (method, *asked)
        found = memo.get(key, memo)
        if found is memo:  # not asked for yet
            found = memo[key] = method(self, *asked)
        return found

    return answer  # type: ignore[return-value]


class DnsView:
    """Look-ups in the record sets of the stack's hosted zones, for ``RuleView``, which declares and documents them."""

    zones: frozenset[str]
    dns_before: RecordViews
    dns_after: RecordViews
    outside_txt: Mapping[str, tuple[str, ...]]
    hosted: Mapping[str, tuple[HostedZoneView, ...]]
    outside_servers: Mapping[str, tuple[str, ...]]

    @cached_property
    def dns_unchanged(self) -> bool:
        """Whether this plan changes no record: then a rule about changes in DNS finds nothing."""
        return self.dns_after is self.dns_before or self.dns_after == self.dns_before

    @cached_property
    def _memo(self) -> dict[Any, Any]:
        return {}

    def zone_of(self, name: str) -> str | None:
        """The most specific known zone that holds ``name``; None where no zone of the stack holds it, or
        it is delegated to other name servers."""
        held = self._held
        if name in held:
            return held[name]
        above = name.partition(".")[2]
        # Remembered for names that have others below them: many rules ask for each record of a domain.
        if above not in held:
            held[above] = self.zone_of(above)
        return held[above]

    @cached_property
    def _held(self) -> dict[str, str | None]:
        """The zone that holds a name, or None: of the zones, of names with name servers of their own, and of those that
        ``zone_of`` has come by."""
        records = self.dns_before if self.dns_after is self.dns_before else (*self.dns_before, *self.dns_after)
        delegated = {name: None for name, type_ in records if type_ == "NS"}
        return {"": None, **delegated, **{name: name for name in self.zones}}

    def asked_zones(self, name: str) -> frozenset[str] | None:
        """The ids of the hosted zones of a name that resolvers ask, as public DNS says, else a parent zone in the
        account; None where neither does."""
        zones, public = self.hosted.get(name, ()), self.outside_servers.get(name)
        if public is not None:
            found = frozenset(zone.id for zone in zones if {*zone.servers} & {*public})
            if found or all(zone.servers for zone in zones):
                return found
        known = frozenset(zone.id for zone in zones if zone.asked)
        return known if known or any(zone.asked is False for zone in zones) else None

    def lookup(self, name: str, kind: str, when: When = "after") -> tuple[str, ...] | None:
        """The values at a name, or None where they are unknown (zone not read, alias, routed, or a CNAME)."""
        if self.zone_of(name) is None:
            return None
        records = self.dns_after if when == "after" else self.dns_before
        if kind != "CNAME" and (name, "CNAME") in records:
            return None
        found = records.get((name, kind))
        if found is None:
            return ()
        return found.values if found.kind == "simple" else None

    @cached_property
    def types_before(self) -> Mapping[str, frozenset[str]]:
        """Owner name -> types, as the zones are."""
        return _types(self.dns_before)

    @cached_property
    def types_after(self) -> Mapping[str, frozenset[str]]:
        """Owner name -> types, as the zones will be."""
        return _types(self.dns_after)

    @cached_property
    def existing_names(self) -> frozenset[str]:
        """Every name that exists in the zones as they are, also a name without records that has names below it."""
        return frozenset({above for name in self.types_before for above in at_or_above(name)})

    @remembered
    def spf_texts(self, name: str, when: When = "after") -> tuple[str, ...] | None:
        """The SPF records at a name; None where they are unknown."""
        texts = self.lookup(name, "TXT", when)
        return None if texts is None else those(texts, spf.is_record)

    def txt_anywhere(self, name: str, when: When = "after") -> tuple[str, ...] | None:
        """TXT texts of a name in the stack's zones, else in public DNS; None where they are unknown."""
        texts = self.lookup(name, "TXT", when)
        return self.outside_txt.get(name) if texts is None else texts


def those(texts: tuple[str, ...], are: Callable[[str], bool]) -> tuple[str, ...]:
    """Those of ``texts`` that ``are`` such; ``texts`` itself where all of them are, the usual case."""
    return texts if all(map(are, texts)) else tuple(filter(are, texts))


def _types(records: RecordViews) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, kind in records:
        found.setdefault(name, set()).add(kind)
    return {name: frozenset(kinds) for name, kinds in found.items()}
