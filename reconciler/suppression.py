"""The account suppression list over several regions: read page by page at any size, and addresses taken off it.

SES keeps one list an account and region and does not deliver to what is on it. Nothing here holds a whole list in
memory: pages of all regions are read side by side, a few ahead of who prints them.

Source: SES v2 API, ListSuppressedDestinations, GetSuppressedDestination, DeleteSuppressedDestination; SES Developer
Guide, "Using the Amazon SES account-level suppression list".
"""

from __future__ import annotations

import csv
import io
import json
import queue
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import translate
from typing import TYPE_CHECKING, Any

from reconciler.errors import AwsError, ReconError
from reconciler.model import Diagnostic, State

if TYPE_CHECKING:
    from reconciler.aws import Aws

READS = ("sesv2:ListSuppressedDestinations", "sesv2:GetSuppressedDestination")
WRITES = ("sesv2:DeleteSuppressedDestination",)
REASONS = ("BOUNCE", "COMPLAINT")
PAGE = 1000
"""Addresses a call, the most that ListSuppressedDestinations gives."""
AHEAD = 8
"""Pages of a region that are held until somebody takes them."""
ONE_BY_ONE = 50
"""Up to so many addresses are asked for by name; for more of them the lists are read."""
FIELDS = ("address", "reason", "region", "since")


@dataclass(frozen=True, slots=True)
class Entry:
    """One address on the list of one region; ``since`` is when it was put there last (ISO 8601)."""

    address: str
    reason: str
    region: str
    since: str

    def to_json(self) -> dict[str, str]:
        return {"address": self.address, "reason": self.reason, "region": self.region, "since": self.since}


@dataclass(frozen=True, slots=True)
class Wish:
    """An address to take off, in one region or (None) in every one."""

    address: str
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are meant. ``start`` and ``end`` bound ``since``; ``match`` is a glob over the address, case
    aside."""

    reasons: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    match: str | None = None

    def request(self) -> dict[str, Any]:
        """What SES can filter by itself, as parameters of ListSuppressedDestinations."""
        wanted: dict[str, Any] = {"PageSize": PAGE}
        if self.reasons:
            wanted["Reasons"] = list(self.reasons)
        if self.start:
            wanted["StartDate"] = self.start
        if self.end:
            wanted["EndDate"] = self.end
        return wanted


def regions_of(state: State, chosen: Iterable[str] = ()) -> list[str]:
    """The regions whose lists matter to a stack: every one in which it declares something; or those ``chosen``.

    Raises ReconError for a region that the stack does not use.
    """
    used = {e.region for kind in ("domains", "email_addresses", "configuration_sets") for e in state.section(kind)}
    known = sorted({*state.stack.regions, *(r for r in used if r)})
    if wrong := sorted(set(chosen) - set(known)):
        raise ReconError(
            f"the stack {state.stack.name} is not in {', '.join(wrong)}", hint=f"it is in {', '.join(known)}"
        )
    return sorted(set(chosen)) or known


# --- read ----------------------------------------------------------------------------------------------------------


def listed(aws: Aws, regions: Iterable[str], filter: Filter) -> Iterator[Entry | ReconError]:
    """Every entry, region after region; all regions are read at once. A region that fails ends with its error."""
    match = re.compile(translate(filter.match.lower())) if filter.match else None
    over = threading.Event()
    lanes = [(region, queue.Queue[list[Entry] | ReconError | None](AHEAD)) for region in regions]
    for region, lane in lanes:
        threading.Thread(target=_read, args=(aws, region, filter, lane, over), daemon=True).start()
    try:
        for _, lane in lanes:
            while (page := lane.get()) is not None:
                if isinstance(page, ReconError):
                    yield page
                    break
                yield from (e for e in page if match is None or match.match(e.address.lower()))
    finally:
        over.set()


def _read(
    aws: Aws, region: str, filter: Filter, lane: queue.Queue[list[Entry] | ReconError | None], over: threading.Event
) -> None:
    """Fill ``lane`` with the pages of one region until ``over``; ends with None or what failed."""

    def give(page: list[Entry] | ReconError | None) -> bool:
        while not over.is_set():
            try:
                lane.put(page, timeout=0.5)
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
            give(error)
            return
        found = answer.get("SuppressedDestinationSummaries") or ()
        token = answer.get("NextToken")
        if not give([_entry(item, region) for item in found]) or not token:
            give(None)
            return


def _entry(item: Mapping[str, Any], region: str) -> Entry:
    at = item.get("LastUpdateTime")
    return Entry(
        str(item.get("EmailAddress") or ""), str(item.get("Reason") or ""), region,
        at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if isinstance(at, datetime) else "",
    )  # fmt: skip


def present(aws: Aws, regions: Iterable[str], wishes: Iterable[Wish]) -> tuple[list[Entry], list[ReconError]]:
    """Which of the wished entries there are, and the regions that could not be read. In memory: as many as wished."""
    wanted: dict[str, set[str]] = {}
    every = list(regions)
    for wish in wishes:
        for region in [wish.region] if wish.region else every:
            wanted.setdefault(region, set()).add(wish.address)
    if len({a for names in wanted.values() for a in names}) > ONE_BY_ONE:
        folded = {region: {a.lower() for a in names} for region, names in wanted.items()}
        found: list[Entry] = []
        problems: list[ReconError] = []
        for entry in listed(aws, sorted(wanted), Filter()):
            if isinstance(entry, ReconError):
                problems.append(entry)
            elif entry.address.lower() in folded[entry.region]:
                found.append(entry)
        return found, problems

    def ask(job: tuple[str, str]) -> Entry | ReconError | None:
        region, address = job
        try:
            answer = aws.call_if_there("sesv2", "GetSuppressedDestination", region, EmailAddress=address)
        except AwsError as error:
            return error
        if answer is None:
            return None
        return _entry(answer.get("SuppressedDestination") or {"EmailAddress": address}, region)

    answers = aws.parallel(ask, sorted((r, a) for r, names in wanted.items() for a in names), lambda job: job[0])
    return (
        [a for a in answers if isinstance(a, Entry)],
        [a for a in answers if isinstance(a, ReconError)],
    )


# --- written -------------------------------------------------------------------------------------------------------


def remove(aws: Aws, entries: Iterable[Entry]) -> Iterator[tuple[Entry, ReconError | None]]:
    """Take entries off, regions side by side; each with what failed. One that is gone already is done."""
    by_region: dict[str, list[Entry]] = {}
    for entry in entries:
        by_region.setdefault(entry.region, []).append(entry)
    done: queue.Queue[tuple[Entry, ReconError | None] | None] = queue.Queue()
    over = threading.Event()

    def work(lane: list[Entry]) -> None:
        for entry in lane:
            if over.is_set():
                break
            done.put((entry, _remove_one(aws, entry)))
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
        over.set()
        for thread in threads:  # The call in flight ends.
            thread.join()


def _remove_one(aws: Aws, entry: Entry) -> ReconError | None:
    try:
        aws.call_if_there("sesv2", "DeleteSuppressedDestination", entry.region, EmailAddress=entry.address)
    except AwsError as error:
        return error
    return None


# --- what people write ---------------------------------------------------------------------------------------------


def day(text: str, *, end: bool = False) -> datetime:
    """``2026-11-01``, a moment in ISO 8601, or ``7d`` (so long ago), in UTC. A bare day means its first moment, or its
    last with ``end``. Raises ReconError."""
    from reconciler.aws.clock import now

    if ago := re.fullmatch(r"(\d{1,5})d", text.strip()):
        return datetime.fromisoformat(now()).astimezone(UTC) - timedelta(days=int(ago[1]))
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
            first = datetime.combine(date.fromisoformat(text.strip()), datetime.min.time(), UTC)
            return first + timedelta(days=1, microseconds=-1) if end else first
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ReconError(f"not a day: {text!r}", hint="write 2026-11-01, 2026-11-01T08:00:00Z or 7d") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_ADDRESS = re.compile(r"[^\s@<>,;\"]{1,64}@[^\s@<>,;\"]{1,255}")


def wishes(text: str, file: str, regions: Iterable[str]) -> list[Wish]:
    """The addresses of a file: one a line, or what ``recon suppression export`` wrote (CSV or JSON lines).

    Raises ReconError that carries all bad lines, each with its place.
    """
    known = set(regions)
    found: list[Wish] = []
    problems: list[Diagnostic] = []
    head: list[str] | None = None
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row: Mapping[str, Any]
        if line.lstrip().startswith("{"):
            try:
                row = json.loads(line)
            except ValueError:
                row = {}
        else:
            cells = next(csv.reader(io.StringIO(line)), [])
            if head is None and "address" in cells:
                head = cells
                continue
            row = dict(zip(head, cells, strict=False)) if head else {"address": line.strip()}
        address, region = str(row.get("address") or "").strip(), str(row.get("region") or "").strip() or None
        if not _ADDRESS.fullmatch(address):
            problems.append(_bad(f"{line.strip()[:80]!r} is no address", "one address a line", file, number))
        elif region and region not in known:
            hint = f"the regions are {', '.join(sorted(known))}"
            problems.append(_bad(f"{region} is not among the regions of this run", hint, file, number))
        else:
            found.append(Wish(address, region))
    if problems:
        raise ReconError(f"{file} has {len(problems)} bad lines", hint="nothing was removed", diagnostics=problems)
    return found


def _bad(message: str, hint: str, file: str, line: int) -> Diagnostic:
    return Diagnostic("error", "bad-address", message, hint, file=file, line=line)


def is_address(text: str) -> bool:
    """Whether ``text`` has the form of one e-mail address."""
    return bool(_ADDRESS.fullmatch(text))


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV (RFC 4180 quoting, a line feed at its end)."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(list(cells))
    return out.getvalue()
