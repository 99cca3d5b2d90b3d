"""Where the reports of a run are: a folder, or ``s3://BUCKET/PREFIX``. Each run has its own place in it.

run.json               which command it is, so that a second start cannot resume another one
reports/UNIT.json      the report of a unit: its being there is what makes the unit done
attempts/UNIT~HEX      an empty mark for each time that a worker began the unit
fleet.json             the document over all, written at the end
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

from reconciler.errors import ReconError
from reconciler.files import MAX_GIVEN, read_given, reason, replacing

if TYPE_CHECKING:
    from reconciler.backend import Bucket

RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _Place(Protocol):
    def get(self, name: str) -> str | None: ...

    def put(self, name: str, text: str) -> None: ...

    def names(self, folder: str) -> list[str]: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> str | None:
        return read_given(str(self.path / name), MAX_GIVEN) if (self.path / name).exists() else None

    def put(self, name: str, text: str) -> None:
        target = self.path / name
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise ReconError(
                f"{target.parent} could not be made: {reason(problem)}", hint="name another --out"
            ) from None
        with replacing(str(target), lambda said: None) as (file, keep):
            file.write(text)
            keep()

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(one.name for one in (self.path / folder).iterdir() if not one.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise ReconError(f"{self.path / folder} could not be read: {reason(problem)}") from None


class _Objects:
    """Objects of a bucket, through the credentials of whoever asks."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = _connected(bucket, prefix), prefix

    def get(self, name: str) -> str | None:
        found = self.bucket.get(self.prefix + name)
        return found.body.decode("utf-8", "replace") if found is not None else None

    def put(self, name: str, text: str) -> None:
        self.bucket.put(self.prefix + name, text.encode())

    def names(self, folder: str) -> list[str]:
        start = f"{self.prefix}{folder}/"
        return [key.removeprefix(start) for key in self.bucket.keys(start)]


def _connected(bucket: str, prefix: str) -> Bucket:
    from reconciler.aws import Aws
    from reconciler.aws.default_region import default_region
    from reconciler.backend import Bucket, Location
    from reconciler.model import Stack
    from reconciler.regions import partition_of

    region = default_region() or "us-east-1"
    stack = Stack("", None, "", (region,), partition_of(region))
    return Bucket(Location(bucket, prefix), Aws(stack, purpose="plan", parallelism=4))


class Reports:
    """The reports of one run."""

    def __init__(self, out: str, run_id: str) -> None:
        """Raises ReconError for a run id or place that cannot be one."""
        if not RUN_ID.fullmatch(run_id):
            raise ReconError(
                f"--run-id {run_id!r} cannot be a run id",
                hint="letters, digits, dots, hyphens and underscores, at most 64",
            )
        self.run_id = run_id
        url = urlsplit(out) if out.startswith("s3:") else None
        if url is not None and not url.netloc:
            raise ReconError(f"--out {out} names no bucket", hint="s3://BUCKET/PREFIX, or a folder")
        prefix = "/".join(filter(None, [url.path.strip("/"), run_id])) + "/" if url else ""
        self.url = f"s3://{url.netloc}/{prefix}" if url else str(Path(out) / run_id)
        self._read: dict[str, dict[str, Any]] = {}
        self._place: _Place = _Objects(url.netloc, prefix) if url else _Folder(Path(out) / run_id)

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say which run this is, or check that it is the one that began here. Raises ReconError for another."""
        there = self._place.get("run.json")
        if there is None:
            self._place.put("run.json", _text(run))
        elif _parsed(there) != run:
            before = _parsed(there)
            words = " ".join(map(str, [before.get("command"), *(before.get("options") or ())]))
            raise ReconError(
                f"{self.url} holds another run: recon fleet {words}",
                hint="start with the same command and options, or with another --run-id",
            )

    def has(self, unit: str) -> bool:
        return self.read(unit) is not None

    def read(self, unit: str) -> dict[str, Any] | None:
        """The report of a unit without its ``document``, and the first error of that as ``message``; None where it has
        none, or what is there is not whole. Each is read once."""
        if unit not in self._read:
            text = self._place.get(_report(unit))
            found = _parsed(text) if text is not None else {}
            if found.get("id") != unit or not isinstance(found.get("exit_code"), int):
                return None
            said = _first_error(found.pop("document", None))
            self._read[unit] = {**found, "message": said}
        return self._read[unit]

    def write(self, unit: str, report: Mapping[str, Any]) -> None:
        self._place.put(_report(unit), _text(report))

    def done(self) -> set[str]:
        """The units that have a report."""
        return {unquote(name.removesuffix(".json")) for name in self._place.names("reports")}

    def attempt(self, unit: str) -> None:
        """Note that a worker begins a unit."""
        self._place.put(f"attempts/{_slug(unit)}~{secrets.token_hex(4)}", "")

    def attempts(self) -> Counter[str]:
        return Counter(unquote(name.rpartition("~")[0]) for name in self._place.names("attempts"))

    def finish(self, document: Mapping[str, Any]) -> None:
        self._place.put("fleet.json", _text(document))

    def url_of(self, unit: str) -> str:
        """Where the report of a unit is, for people."""
        return f"{self.url.rstrip('/')}/{_report(unit)}"


def _report(unit: str) -> str:
    return f"reports/{_slug(unit)}.json"


def _slug(unit: str) -> str:
    return quote(unit, safe="@")


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _parsed(text: str) -> dict[str, Any]:
    """A JSON object; empty where the text is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _first_error(document: Any) -> str | None:
    """What the command said of why it failed, if it did."""
    found = document.get("diagnostics") if isinstance(document, dict) else None
    errors = [one for one in found or () if isinstance(one, dict) and one.get("severity") == "error"]
    return str(errors[0].get("message")) if errors else None
