"""Rules that look at one record at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import NamedTuple, TypeVar

from reconciler.rules.registry import RawFinding, RuleCheck
from reconciler.rules.view import RuleView

Record = TypeVar("Record")

Tags = Mapping[str, str]
"""The tags of one record by name (``p``, ``rua``, ``l``)."""


class RecordProblem(NamedTuple):
    """What a rule says of one record."""

    message: str
    hint: str = ""


def per_record(
    records: Callable[[RuleView], Iterable[tuple[str, Record]]], prefix: str = ""
) -> Callable[[Callable[[RuleView, str, Record], Iterator[RecordProblem]]], RuleCheck]:
    """A decorator that makes a rule of a function that checks one TXT record.

    ``records`` gives each domain and its record; the finding is at ``prefix`` + domain. The function is called with
    the view, the domain and the record, and yields a ``RecordProblem`` for each problem. Such a finding never says that
    this plan breaks mail, because the function sees the record after apply only.
    """

    def decorated(check: Callable[[RuleView, str, Record], Iterator[RecordProblem]]) -> RuleCheck:
        @wraps(check)
        def check_all(view: RuleView) -> Iterator[RawFinding]:
            for domain, record in records(view):
                for message, hint in check(view, domain, record):
                    yield RawFinding(view.record_address(f"{prefix}{domain}", "TXT"), message, hint)

        return check_all

    return decorated
