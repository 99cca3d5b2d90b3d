"""The account suppression list in several regions: read page by page at any size, addresses added and removed.

SES keeps one list for each account and region, and does not deliver to the addresses on it. Nothing here holds a whole
list in memory: the regions are read in parallel, a few pages ahead of the reader.

Source: SES v2 API, ListSuppressedDestinations, GetSuppressedDestination, PutSuppressedDestination,
DeleteSuppressedDestination; SES Developer Guide, "Using the Amazon SES account-level suppression list".
"""

from __future__ import annotations

import csv
import io
import json
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError
from reconciler.model import Diagnostic, State
from reconciler.resources import SECTIONS

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS = ("sesv2:ListSuppressedDestinations", "sesv2:GetSuppressedDestination")
REASONS = ("BOUNCE", "COMPLAINT")
PAGE = 1000
"""Addresses a call, the most that ListSuppressedDestinations gives."""
AHEAD = 8
"""Pages of a region that wait for the reader."""
ONE_BY_ONE = 50
"""Up to this many addresses are looked up one by one; for more, the lists are read."""
FIELDS = ("address", "reason", "region", "since")


@dataclass(frozen=True, slots=True)
class SuppressedAddress:
    """One address on the list of one region; ``since`` is when it was put there last (ISO 8601)."""

    address: str
    reason: str
    region: str
    since: str

    def to_json(self) -> dict[str, str]:
        return {"address": self.address, "reason": self.reason, "region": self.region, "since": self.since}


@dataclass(frozen=True, slots=True)
class Removal:
    """An address to remove, in one region or (None) in all."""

    address: str
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries to list. ``start`` and ``end`` limit ``since``; ``match`` is a glob for the address in any case."""

    reasons: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    match: str | None = None

    def request(self) -> dict[str, Any]:
        """The part that SES filters, as parameters of ListSuppressedDestinations."""
        wanted: dict[str, Any] = {"PageSize": PAGE}
        if self.reasons:
            wanted["Reasons"] = list(self.reasons)
        if self.start:
            wanted["StartDate"] = self.start
        if self.end:
            wanted["EndDate"] = self.end
        return wanted


Pages = queue.Queue[list[SuppressedAddress] | ReconError | None]
"""The pages of one region; None, or the error that ended it, is the last."""


def regions_of(state: State, chosen: Iterable[str] = ()) -> list[str]:
    """The regions in which a stack declares something, or those of them that are ``chosen``.

    Raises ReconError for a region that the stack does not use.
    """
    used = {e.region for section in SECTIONS for e in state.section(section)}
    known = sorted({*state.stack.regions, *(r for r in used if r)})
    if wrong := sorted(set(chosen) - set(known)):
        raise ReconError(
            f"the stack {state.stack.name} is not in {', '.join(wrong)}", hint=f"it is in {', '.join(known)}"
        )
    return sorted(set(chosen)) or known


# --- read ----------------------------------------------------------------------------------------------------------


def list_entries(aws: Aws, regions: Iterable[str], filter: Filter) -> Iterator[SuppressedAddress | ReconError]:
    """Every entry, region after region; all regions are read in parallel. A region that fails ends with its error."""
    match = re.compile(translate(filter.match.lower())) if filter.match else None
    stop = threading.Event()
    queues = [(region, Pages(AHEAD)) for region in regions]
    for region, pages in queues:
        threading.Thread(target=_read_pages, args=(aws, region, filter, pages, stop), daemon=True).start()
    try:
        for _, pages in queues:
            while (page := pages.get()) is not None:
                if isinstance(page, ReconError):
                    yield page
                    break
                yield from (e for e in page if match is None or match.match(e.address.lower()))
    finally:
        stop.set()


def _read_pages(aws: Aws, region: str, filter: Filter, pages: Pages, stop: threading.Event) -> None:
    """Put the pages of one region into ``pages``, then None or the error, until ``stop`` is set."""

    def put(page: list[SuppressedAddress] | ReconError | None) -> bool:
        while not stop.is_set():
            try:
                pages.put(page, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    token: str | None = None
    while True:
        more: dict[str, Any] = {"NextToken": token} if token else {}
        try:
            answer = aws.call("sesv2", "ListSuppressedDestinations", region, **filter.request(), **more)
        except ReconError as error:
            put(error)
            return
        found = answer.get("SuppressedDestinationSummaries") or ()
        token = answer.get("NextToken")
        if not put([_entry(item, region) for item in found]) or not token:
            put(None)
            return


def _entry(item: Mapping[str, Any], region: str) -> SuppressedAddress:
    at = item.get("LastUpdateTime")
    return SuppressedAddress(
        str(item.get("EmailAddress") or ""), str(item.get("Reason") or ""), region,
        at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if isinstance(at, datetime) else "",
    )  # fmt: skip


def find_entries(
    aws: Aws, regions: Iterable[str], removals: Iterable[Removal]
) -> tuple[list[SuppressedAddress], list[ReconError]]:  # fmt: skip
    """The entries that ``removals`` name, and an error for each region that could not be read."""
    wanted: dict[str, set[str]] = {}
    every = list(regions)
    for removal in removals:
        for region in [removal.region] if removal.region else every:
            wanted.setdefault(region, set()).add(removal.address)
    many = len({a for addresses in wanted.values() for a in addresses}) > ONE_BY_ONE
    answers = _find_in_lists(aws, wanted) if many else _find_one_by_one(aws, wanted)
    found: list[SuppressedAddress] = []
    problems: list[ReconError] = []
    for answer in answers:
        if isinstance(answer, ReconError):
            problems.append(answer)
        elif answer is not None:
            found.append(answer)
    return found, problems


def _find_in_lists(aws: Aws, wanted: Mapping[str, set[str]]) -> Iterator[SuppressedAddress | ReconError]:
    folded = {region: {a.lower() for a in addresses} for region, addresses in wanted.items()}
    for entry in list_entries(aws, sorted(wanted), Filter()):
        if isinstance(entry, ReconError) or entry.address.lower() in folded[entry.region]:
            yield entry


def _find_one_by_one(aws: Aws, wanted: Mapping[str, set[str]]) -> list[SuppressedAddress | ReconError | None]:
    def find(job: tuple[str, str]) -> SuppressedAddress | ReconError | None:
        region, address = job
        try:
            answer = aws.call_if_there("sesv2", "GetSuppressedDestination", region, EmailAddress=address)
        except AwsError as error:
            return error
        if answer is None:
            return None
        return _entry(answer.get("SuppressedDestination") or {"EmailAddress": address}, region)

    jobs = sorted((region, address) for region, addresses in wanted.items() for address in addresses)
    return aws.parallel(find, jobs, lambda job: job[0])


# --- remove --------------------------------------------------------------------------------------------------------


Written = Iterator[tuple[SuppressedAddress, ReconError | None]]
"""Each entry that was written, with its error, if any."""


def remove(aws: Aws, entries: Iterable[SuppressedAddress]) -> Written:
    """Remove entries, regions in parallel. A missing entry counts as removed."""
    return _write(lambda entry: _remove_one(aws, entry), entries)


def add(aws: Aws, entries: Iterable[SuppressedAddress]) -> Written:
    """Put entries on the lists, regions in parallel. SES replaces the reason and date of one that is there already
    (PutSuppressedDestination): leave those out that ``find_entries`` found."""
    return _write(lambda entry: _add_one(aws, entry), entries)


def _write(one: Callable[[SuppressedAddress], ReconError | None], entries: Iterable[SuppressedAddress]) -> Written:
    by_region: dict[str, list[SuppressedAddress]] = {}
    for entry in entries:
        by_region.setdefault(entry.region, []).append(entry)
    done: queue.Queue[tuple[SuppressedAddress, ReconError | None] | None] = queue.Queue()
    stop = threading.Event()

    def work(lane: list[SuppressedAddress]) -> None:
        for entry in lane:
            if stop.is_set():
                break
            done.put((entry, one(entry)))
        done.put(None)

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for _, lane in sorted(by_region.items())]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            ended = done.get()
            if ended is None:
                left -= 1
            else:
                yield ended
    finally:
        stop.set()
        for thread in threads:  # wait for the calls in flight
            thread.join()


def _remove_one(aws: Aws, entry: SuppressedAddress) -> ReconError | None:
    try:
        aws.call_if_there("sesv2", "DeleteSuppressedDestination", entry.region, EmailAddress=entry.address)
    except AwsError as error:
        return error
    return None


def _add_one(aws: Aws, entry: SuppressedAddress) -> ReconError | None:
    try:
        aws.call(
            "sesv2", "PutSuppressedDestination", entry.region, EmailAddress=entry.address, Reason=entry.reason
        )  # fmt: skip
    except AwsError as error:
        return error
    return None


# --- statistics ----------------------------------------------------------------------------------------------------


class SuppressionStats:
    """How many addresses were put on the lists, by region and week, and by receiver; each by reason. Holds counts, no
    address."""

    def __init__(self) -> None:
        self.weeks: dict[tuple[str, str], Counter[str]] = {}
        """(Monday of the week in UTC, region) -> reason -> number; the week is "" where the date is not known."""
        self.receivers: dict[str, Counter[str]] = {}
        """Domain of the address -> reason -> number, over all regions."""

    def count(self, entry: SuppressedAddress) -> None:
        week = ""
        if entry.since:
            added = datetime.fromisoformat(entry.since).date()
            week = (added - timedelta(days=added.weekday())).isoformat()
        self.weeks.setdefault((week, entry.region), Counter())[entry.reason] += 1
        self.receivers.setdefault(entry.address.rpartition("@")[2].lower(), Counter())[entry.reason] += 1

    def to_json(self) -> dict[str, Any]:
        """Weeks from the newest, receivers from the one with most addresses; every reason has its number."""
        total = sum((counts for counts in self.weeks.values()), Counter())
        most = sorted(self.receivers.items(), key=lambda item: (-item[1].total(), item[0]))
        return {
            "total": _numbers(total),
            "weeks": [
                {"week": week or None, "region": region, **_numbers(counts)}
                for (week, region), counts in sorted(self.weeks.items(), key=lambda item: item[0][0], reverse=True)
            ],
            "receivers": [{"receiver": name, **_numbers(counts)} for name, counts in most],
        }


def _numbers(counts: Counter[str]) -> dict[str, int]:
    return {"addresses": counts.total(), **{reason: counts[reason] for reason in REASONS}}


# --- input ---------------------------------------------------------------------------------------------------------


def day(text: str, now: str, *, end: bool = False) -> datetime:
    """A time in UTC from ``2026-11-01``, ISO 8601, or ``7d`` (seven days before ``now``, ISO 8601). A bare day is its
    first moment, or its last with ``end``. Raises ReconError."""
    if ago := re.fullmatch(r"(\d{1,5})d", text.strip()):
        return datetime.fromisoformat(now).astimezone(UTC) - timedelta(days=int(ago[1]))
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
            first = datetime.combine(date.fromisoformat(text.strip()), datetime.min.time(), UTC)
            return first + timedelta(days=1, microseconds=-1) if end else first
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ReconError(f"not a day: {text!r}", hint="write 2026-11-01, 2026-11-01T08:00:00Z or 7d") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_ADDRESS = re.compile(r"[^\s@<>,;\"]{1,64}@[^\s@<>,;\"]{1,255}")


def parse_removals(text: str, file: str, regions: Iterable[str]) -> list[Removal]:
    """The addresses of a file: one a line, or what ``recon suppression export`` wrote (CSV or JSON lines).

    Raises ReconError that carries all bad lines, each with its place.
    """
    return [Removal(address, region) for address, region, _ in _parsed(text, file, regions, "nothing was removed")]


def parse_additions(text: str, file: str, regions: Iterable[str], reason: str) -> list[SuppressedAddress]:
    """The entries that a file asks for: an address alone in all ``regions``, one with a region in that one; ``reason``
    where a line has none. Each once. Raises ReconError that carries all bad lines, each with its place."""
    every = sorted(set(regions))
    found: dict[tuple[str, str], SuppressedAddress] = {}
    for address, region, own in _parsed(text, file, every, "nothing was added", reasons=True):
        for place in [region] if region else every:
            found.setdefault((place, address.lower()), SuppressedAddress(address, own or reason, place, ""))
    return list(found.values())


def _parsed(
    text: str, file: str, regions: Iterable[str], hint: str, *, reasons: bool = False
) -> list[tuple[str, str | None, str]]:
    """(address, region, reason) of every line; with ``reasons`` a reason must be one of SES's."""
    known = set(regions)
    found: list[tuple[str, str | None, str]] = []
    problems: list[Diagnostic] = []
    for number, line, row in _rows(text):
        address, region = str(row.get("address") or "").strip(), str(row.get("region") or "").strip() or None
        if not is_address(address):
            message = f"{line.strip()[:80]!r} is not an e-mail address"
            problems.append(_bad(message, "one address a line", file, number))
        elif region and region not in known:
            listed = f"the regions are {', '.join(sorted(known))}"
            problems.append(_bad(f"{region} is not among the regions of this run", listed, file, number))
        elif reasons and (reason := str(row.get("reason") or "").strip().upper()) not in {"", *REASONS}:
            problems.append(_bad(f"{reason[:40]!r} is no reason", f"one of {', '.join(REASONS)}", file, number))
        else:
            found.append((address, region, str(row.get("reason") or "").strip().upper()))
    if problems:
        raise ReconError(f"{file} has {len(problems)} bad lines", hint=hint, diagnostics=problems)
    return found


def _rows(text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """(number, line, its columns) of every line that is neither empty, a comment nor the header."""
    head: list[str] | None = None
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            if line.lstrip().startswith("{"):
                yield number, line, json.loads(line)
                continue
            cells = next(csv.reader(io.StringIO(line)), [])
        except (ValueError, RecursionError, csv.Error):
            yield number, line, {}
            continue
        if head is None and "address" in cells:
            head = cells
            continue
        row = dict(zip(head, map(from_cell, cells), strict=False)) if head else {"address": line.strip()}
        yield number, line, row


def _bad(message: str, hint: str, file: str, line: int) -> Diagnostic:
    return Diagnostic("error", "bad-address", message, hint, file=file, line=line)


def is_address(text: str) -> bool:
    """Whether ``text`` has the form of one e-mail address."""
    return bool(_ADDRESS.fullmatch(text))


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV (RFC 4180 quoting, a line feed at its end)."""
    out = io.StringIO()
    csv.writer(out).writerow([to_cell(cell) for cell in cells])  # its "\r\n" makes it quote a carriage return, too
    return out.getvalue().removesuffix("\r\n") + "\n"


_FORMULA = re.compile(r"'*[=+\-@\uff1d\uff0b\uff0d\uff20\s\x00-\x1f\x7f-\x9f]")
"""How a cell begins that a spreadsheet may take for a formula (OWASP, "CSV Injection")."""


def to_cell(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula: an apostrophe before what could be one."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """The text of a cell that ``to_cell`` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
