"""Rules that look at one record at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import NamedTuple, TypeVar

from reconciler.rules.registry import Check, RawFinding
from reconciler.rules.view import RuleView

Record = TypeVar("Record")


class Words(NamedTuple):
    """What a rule says of one record."""

    message: str
    hint: str = ""


def per_record(
    records: Callable[[RuleView], Iterable[tuple[str, Record]]], prefix: str = ""
) -> Callable[[Callable[[RuleView, str, Record], Iterator[Words]]], Check]:
    """A decorator that makes a rule of a function that checks one TXT record.

    ``records`` gives each domain and its record; the finding is at ``prefix`` + domain. The function is called with the
    view, the domain and the record, and yields ``Words`` for each problem. Such a finding never says that this plan
    breaks mail, because the function sees the record after apply only.
    """

    def decorated(check: Callable[[RuleView, str, Record], Iterator[Words]]) -> Check:
        @wraps(check)
        def check_all(view: RuleView) -> Iterator[RawFinding]:
            for domain, record in records(view):
                for message, hint in check(view, domain, record):
                    yield RawFinding(view.record_address(f"{prefix}{domain}", "TXT"), message, hint)

        return check_all

    return decorated
