"""The house that the engine's tests live in: one sandbox, one stack, a few verbs.

``House`` runs recon in this process, from YAML text to AWS calls, against the embedded sandbox; clients are shared
between runs, since making them is what takes time. The command line itself is tested through ``House.cli`` and, where
a real process matters, ``House.process``.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

from reconciler import applier, running
from reconciler.aws import Aws
from reconciler.desired import load
from reconciler.model import Change, Plan, Result
from reconciler.safeguards import check_safeguards
from reconciler.sandbox import Sandbox
from reconciler.sandbox.faults import Fault
from reconciler.sandbox.protocol import Request
from reconciler.sandbox.route53 import State as Route53State

T = TypeVar("T")

ACCOUNT = "111122223333"
HOME = "us-east-1"
OTHER = "eu-west-1"
READS = ("Get", "List", "Describe", "BatchGet", "Lookup", "Simulate", "Generate")
EXTRA_REPLY = {"ResponseMetadata"}

FOREIGN = {
    ("acme.com", "TXT"): ["google-site-verification=abc123", "MS=ms99887766"],
    ("acme.com", "MX"): ["1 aspmx.l.google.com.", "5 alt1.aspmx.l.google.com."],
    ("_dmarc.acme.com", "TXT"): ["vendor-token=zzz"],
    ("www.acme.com", "CNAME"): ["acme.web.example."],
    ("*.wild.acme.com", "TXT"): ["star"],
}
"""What others keep in the zone of acme.com; it must outlive everything that recon does."""


@functools.lru_cache(maxsize=1)
def sandbox() -> Sandbox:
    """The one sandbox of this test process."""
    return Sandbox()


@functools.lru_cache(maxsize=256)
def client(service: str, region: str = HOME, access_key: str = "AKIASANDBOXSANDBOX00") -> Any:
    """A boto3 client of the sandbox, for looking and for playing the others."""
    return direct(sandbox().client(service, region, access_key=access_key))


def direct(client: Any) -> Any:
    """Let a client hand its signed requests to the sandbox without the way through two sockets and a thread, which is a
    quarter of what a call costs. Where faults are set, which may cut connections, and for bodies that are read bit by
    bit (S3's), requests go over HTTP as ever; so they do in processes, and in the tests of the sandbox itself.

    Nor are they really signed, another tenth: of a signature, the sandbox reads who, where and which service. S3 signs
    bodies in its own way, and STS takes calls that are not signed at all."""
    client.meta.events.register_first("before-send", _at_once)
    if client.meta.service_model.service_name not in {"s3", "sts"}:
        signer = client._request_signer
        signer.sign = functools.partial(_name_the_caller, signer)
    return client


def _name_the_caller(signer: Any, operation: str, request: Any) -> None:
    from botocore.exceptions import NoCredentialsError

    if signer._credentials is None:
        raise NoCredentialsError
    key = signer._credentials.get_frozen_credentials().access_key
    signing = request.context.get("signing") or {}
    scope = f"{signing.get('region') or signer._region_name}/{signing.get('signing_name') or signer._signing_name}"
    del request.headers["Authorization"]
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/20261122/{scope}/aws4_request"


def _at_once(request: Any, **_: Any) -> Any:
    from botocore.awsrequest import AWSResponse

    server = sandbox()._server
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    if not request.url.startswith(sandbox().url + "/") or server.gateway.faults or not isinstance(body, bytes):
        return None
    where = urlsplit(request.url)
    headers = {k.lower(): v.decode("latin-1") if isinstance(v, bytes) else str(v) for k, v in request.headers.items()}
    if "transfer-encoding" in headers:
        return None
    headers.setdefault("host", where.netloc)
    answer = server.respond(Request(request.method, where.path, where.query, headers, body)).answer
    assert answer is not None, "without faults every request is answered"
    bare = request.method == "HEAD" or answer.status in (204, 304)
    return AWSResponse(request.url, answer.status, dict(answer.headers), _Body(b"" if bare else answer.body))


class _Body(io.BytesIO):
    """A body as botocore reads it from urllib3."""

    def stream(self, amount: int = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        yield self.read()


_clients: dict[tuple[Any, ...], Any] = {}


def shared_clients(make: Any) -> Any:
    """Wrap ``Aws._client`` so that every run of this process shares its clients."""

    def _client(self: Aws, service: str, region: str, dns: bool, brief: bool = False) -> Any:
        role = (self.stack.dns_role_arn if dns else None) or self._role
        key = (service, region, role, os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_ENDPOINT_URL"))
        if key not in _clients:
            with _lock:
                if key not in _clients:
                    _clients[key] = direct(make(self, service, region, dns))
        return _clients[key]

    _lock = threading.Lock()
    return _client


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two YAML documents as one; maps merge, everything else replaces."""
    out = dict(below)
    for key, value in above.items():
        mine = out.get(key)
        out[key] = merge(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return out


def put(document: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of ``document`` with ``value`` at ``path``."""
    out = copy.deepcopy(dict(document))
    place = out
    for key in path[:-1]:
        if not isinstance(place.get(key), dict):
            place[key] = {}
        place = place[key]
    place[path[-1]] = value
    return out


def lines(change: Change) -> dict[str, tuple[Any, Any]]:
    """The diff of a change as path -> (before, after), without recon's own tags."""
    return {d.path: (d.before, d.after) for d in change.diff if not d.path.startswith("tags.recon:")}


_worlds: dict[str, tuple[Any, list[dict[str, Any]], Path, dict[str, Any], Any]] = {}


class AtOnce:
    """A ThreadPoolExecutor without threads: what is submitted is done at once, by the caller."""

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = max_workers

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def submit(self, work: Callable[..., T], *given: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(work(*given, **named))
        except BaseException as problem:  # as an executor does: whoever asks for the result gets it
            future.set_exception(problem)
        return future


class House:
    """One stack in one directory, its AWS, and what may be done to both."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sandbox = sandbox()
        self.document: dict[str, Any] = {}
        self.noise: list[str] = []

    def begin(self) -> House:
        """An empty AWS again, for tests that live through many stories."""
        self.sandbox.reset()
        return self

    def once(self, name: str, make: Callable[[], object]) -> None:
        """Call ``make``, which readies the world and this directory, once in a process for each ``name``; from then on
        both are put back from copies. Of moto, only what ``ledger.take`` knows of may be in that world."""
        from faults import ledger

        entries = self.sandbox._server.gateway.ledger.entries
        if name not in _worlds:
            make()
            folder = Path(tempfile.mkdtemp(prefix="recon-world-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(self.home, folder, dirs_exist_ok=True)
            _worlds[name] = (ledger.take(self.sandbox), list(entries), folder, self.document, getattr(self, "kept", {}))
            return
        world, calls, folder, document, kept = _worlds[name]
        ledger.restore(self.sandbox, world)
        entries.extend(copy.deepcopy(calls))
        shutil.copytree(folder, self.home, dirs_exist_ok=True)
        self.document, self.kept = copy.deepcopy(document), copy.deepcopy(kept)

    # -- the YAML ---------------------------------------------------------------------------------------------------

    def write(self, document: Mapping[str, Any], *, stack: Mapping[str, Any] | None = None) -> Path:
        """Write the state and return its file. ``stack`` is laid over a stack ``acme`` in us-east-1."""
        base = {"stack": {"name": "acme", "account": ACCOUNT, "regions": [HOME], "max_deletes": 100}}
        self.document = merge(merge(base, document), {"stack": dict(stack or {})})
        path = self.home / "state.yaml"
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        path.write_text(yaml.dump(self.document, Dumper=dumper, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    # -- recon, in this process -------------------------------------------------------------------------------------

    def make(
        self, document: Mapping[str, Any] | None = None, *, env: str | None = None, **options: Any
    ) -> running.PlannedRun:
        if document is not None:
            self.write(document)
        return running.make(
            load(self.home / "state.yaml", env).state, parallelism=options.pop("parallelism", 4), **options
        )

    def plan(self, document: Mapping[str, Any] | None = None, **options: Any) -> Plan:
        return self.make(document, **options).plan

    def apply(
        self,
        document: Mapping[str, Any] | None = None,
        *,
        expect: str | None = "applied",
        allow_adopt: bool = True,
        resume_sending: bool = True,
        wait_for_ses: bool = False,
        verify_timeout: float = 5.0,
        check: bool = True,
        skip_refused: bool = False,
        **options: Any,
    ) -> Result:
        """Plan, obey the safeguards, carry out; ``expect`` is the outcome that must come (None: any)."""
        planned = self.make(document, purpose="apply", **options)
        if check:
            consent = {"allow_adopt": allow_adopt, "resume_sending": resume_sending, "skip_refused": skip_refused}
            check_safeguards(planned.plan, allow_deletes=10**6, **consent)
        result = applier.apply_plan(
            planned.plan,
            planned.aws,
            zones=planned.snapshot.zones,
            wait_for_ses=wait_for_ses,
            verify_timeout=verify_timeout,
        )
        if expect is not None:
            assert result.outcome == expect, told(result)
        return result

    def settle(self, document: Mapping[str, Any] | None = None, **options: Any) -> Plan:
        """Apply; then the plan is empty at the first try and a second apply writes nothing; returns what was done."""
        result = self.apply(document, expect=None, **options)
        assert result.outcome in {"applied", "no_changes"}, told(result)
        assert not [d for d in result.diagnostics if d.code == "reads-late"], told(result)
        self.quiet()
        return result.plan

    def quiet(self) -> None:
        """Nothing is left to do, and doing it anyway writes nothing."""
        self.clear()
        result = self.apply(expect=None)
        assert not result.plan.changes, "\n".join(["the plan is not empty:", *map(words, result.plan.changes)])
        assert result.outcome == "no_changes", told(result)
        assert self.writes() == []

    def destroy(self, expect: str | None = "applied") -> Result:
        planned = self.make(removing=True, purpose="apply")
        check_safeguards(planned.plan, allow_deletes=10**6, consent=True, resume_sending=True)
        result = applier.apply_plan(planned.plan, planned.aws, zones=planned.snapshot.zones)
        if expect is not None:
            assert result.outcome == expect, told(result)
        return result

    # -- recon, as a command ----------------------------------------------------------------------------------------

    def cli(self, *arguments: str, answer: str | None = None) -> Ran:
        """One command line in this process; ``answer`` is typed at a terminal that is then there."""
        from reconciler import cli

        out, err = io.StringIO(), io.StringIO()
        stdin, cwd = sys.stdin, Path.cwd()
        sys.stdin = Terminal(answer) if answer is not None else io.StringIO()
        os.chdir(self.home)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.run(list(arguments))
        finally:
            sys.stdin = stdin
            os.chdir(cwd)
        return Ran(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, **environment: str) -> Ran:
        """One command line as a process of its own, without a terminal."""
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def fresh_clients(self) -> None:
        """Let the next run make its clients, and take on its roles, anew."""
        _clients.clear()

    # -- looking ----------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget the calls so far."""
        self.sandbox.clear_calls()

    def calls(self) -> list[str]:
        return [f"{c['service']}:{c['operation']}" for c in self.sandbox.calls()]

    def writes(self) -> list[str]:
        """The calls since ``clear`` that are no reads."""
        return [c for c in self.calls() if not c.partition(":")[2].startswith(READS)]

    def zone(self, name: str = "acme.com", zone_id: str | None = None) -> dict[tuple[str, str], list[str]]:
        """The record sets of a zone as (name, type) -> values as stored (sorted), NS and SOA of the apex left out."""
        found: dict[tuple[str, str], list[str]] = {}
        for raw in self.raw_zone(name, zone_id):
            key = (raw["Name"].rstrip(".").replace("\\052", "*"), raw["Type"])
            if key in {(name, "NS"), (name, "SOA")}:
                continue
            found.setdefault(key, []).extend(r["Value"] for r in raw.get("ResourceRecords", ()))
        return {k: sorted(v) for k, v in found.items()}

    def raw_zone(self, name: str = "acme.com", zone_id: str | None = None) -> list[dict[str, Any]]:
        route53 = client("route53")
        if zone_id is None:
            listed = route53.list_hosted_zones()["HostedZones"]
            zone_id = next(z["Id"] for z in listed if z["Name"] == name + "." and not z["Config"]["PrivateZone"])
        sets: list[dict[str, Any]] = []
        for page in route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone_id):
            sets += page["ResourceRecordSets"]
        return sets

    def dns_values(self, name: str, kind: str = "TXT", zone: str = "acme.com") -> list[str]:
        """The values of one record set as Route 53 stores them; none where there is no such set."""
        return next(
            (
                [v["Value"] for v in raw.get("ResourceRecords", ())]
                for raw in self.raw_zone(zone)
                if raw["Name"] == name + "." and raw["Type"] == kind
            ),
            [],
        )

    def dns(self, name: str, kind: str = "TXT") -> list[str]:
        return sorted(self.sandbox.dns(name, kind))

    def identity(self, name: str = "acme.com", region: str = HOME) -> dict[str, Any]:
        found: dict[str, Any] = client("sesv2", region).get_email_identity(EmailIdentity=name)
        return found

    def set(self, name: str = "main", region: str = HOME) -> dict[str, Any]:
        found: dict[str, Any] = client("sesv2", region).get_configuration_set(ConfigurationSetName=name)
        return found

    # -- the others -------------------------------------------------------------------------------------------------

    def seed_zone(
        self, name: str = "acme.com", foreign: Mapping[tuple[str, str], Iterable[str]] | None = None, **more: Any
    ) -> str:
        """A public zone with other people's values; ``check_foreign`` compares with them byte for byte."""
        records = [
            {"name": owner, "type": kind, "values": list(values), "ttl": 3600}
            for (owner, kind), values in (FOREIGN if foreign is None else foreign).items()
        ]
        made = self.sandbox.seed(zones=[{"name": name, "records": records, **more}])
        self.kept = self.raw_foreign()
        return str(made["zones"][name])

    def raw_foreign(self) -> dict[tuple[str, str, str], list[str]]:
        """Every value of every zone as the sandbox holds it now, by (zone id, name, type)."""
        found: dict[tuple[str, str, str], list[str]] = {}
        world = self.sandbox._server.gateway.world
        with world.lock:
            for zone in world.current("route53", ACCOUNT, "", Route53State).zones.values():
                for raw in zone.sets.values():
                    key = (f"/hostedzone/{zone.id}", raw["Name"], raw["Type"])
                    found.setdefault(key, []).extend(r["Value"] for r in raw.get("ResourceRecords", ()))
        return found

    def check_foreign(self, *, alone: bool = False) -> None:
        """Every value seeded by others is still there, byte for byte; ``alone``: and nothing else is."""
        now = self.raw_foreign()
        for key, values in self.kept.items():
            for value in values:
                assert value in now.get(key, []), f"{key} lost the foreign value {value}"
        if alone:
            left = {k: sorted(set(v) - set(self.kept.get(k, ()))) for k, v in now.items()}
            assert not {k: v for k, v in left.items() if v}, f"left behind: {left}"

    def change(
        self,
        name: str,
        kind: str,
        *values: str,
        action: str = "UPSERT",
        ttl: int = 300,
        zone: str = "acme.com",
        **more: Any,
    ) -> None:
        """Somebody edits DNS. ``zone`` is a name or an id."""
        listed = client("route53").list_hosted_zones()["HostedZones"]
        public = [z for z in listed if not z["Config"]["PrivateZone"]]
        zone_id = next(z["Id"] for z in public if z["Name"] == zone + "." or z["Id"].endswith(f"/{zone}"))
        body = {"TTL": ttl, "ResourceRecords": [{"Value": v} for v in values]} if values else {}
        client("route53").change_resource_record_sets(
            HostedZoneId=zone_id,
            ChangeBatch={
                "Changes": [{"Action": action, "ResourceRecordSet": {"Name": name, "Type": kind, **body, **more}}]
            },
        )


class Terminal(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Ran:
    """How a command line ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        assert "Traceback" not in out + err, out + err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def words(change: Change) -> str:
    """One change for a failing test's message."""
    listed = "; ".join(f"{d.path}: {d.before!r} -> {d.after!r}" for d in change.diff)
    return f"{change.action} {change.address}: {listed}"


def told(result: Result) -> str:
    """Why an apply did not end as it should."""
    found = [f"outcome {result.outcome}"]
    found += [f"{a.status} {a.action} {a.address}: {a.message}" for a in result.applied if a.status != "done"]
    found += [
        f"{d.severity} {d.code} {d.address}: {d.message}" for d in (*result.diagnostics, *result.plan.diagnostics)
    ]
    return "\n".join(found)


# --- interruptions -------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: no call after this one, and nothing catches it."""


@contextlib.contextmanager
def killed_before(nth: int) -> Iterator[list[str]]:
    """Inside, the ``nth`` write call (from 1) and every call after it never leave the process; yields the writes."""
    made: list[str] = []
    dead = threading.Event()
    call = Aws.call

    def mortal(self: Aws, service: str, operation: str, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        if not operation.startswith(READS):
            if len(made) + 1 >= nth:
                dead.set()
            else:
                made.append(f"{service}:{operation}")
        if dead.is_set():
            raise Killed
        return call(self, service, operation, *arguments, **parameters)

    Aws.call = mortal  # type: ignore[method-assign]
    try:
        yield made
    except Killed:
        pass
    finally:
        Aws.call = call  # type: ignore[method-assign]


class NthWrite(Fault):
    """A fault of the sandbox that strikes the ``skip + 1``-th write call, whatever it is."""

    def hits(self, service: str, operation: str, region: str, account: str, text: str) -> bool:
        if operation.startswith(READS):
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + (self.count or 1)


@contextlib.contextmanager
def struck(deed: str, nth: int, **more: Any) -> Iterator[None]:
    """Inside, the ``nth`` write call (from 1) meets ``deed``; ``error`` is an HTTP 500."""
    gateway = sandbox()._server.gateway
    fault = NthWrite(deed, skip=nth - 1, **{"status": 500, **more})
    gateway.faults.append(fault)
    try:
        yield
    finally:
        gateway.faults.remove(fault)


GUARD = 60.0
"""Seconds after which a test that waits for an event fails instead of hanging; however busy the machine, it comes."""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds; AssertionError saying ``what`` never happened."""
    deadline = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


class Gate:
    """One call that the sandbox holds back before it is carried out: ``wait`` for its arrival, then ``open``."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        assert self.arrived.wait(GUARD), "the call that is to be held never arrived"

    def open(self) -> None:
        self.opened.set()


@contextlib.contextmanager
def gate(operation: str, *, service: str = "*", nth: int = 1) -> Iterator[Gate]:
    """Inside, the ``nth`` call (from 1) of ``operation`` waits in the sandbox until the gate is opened."""
    gateway = sandbox()._server.gateway
    made, fault, injure = Gate(), Fault("delay", service=service, operation=operation, skip=nth - 1), gateway._injure

    def hold(hit: Fault, *more: Any) -> Any:
        if hit is fault:
            made.arrived.set()
            made.opened.wait(GUARD)
        return injure(hit, *more)

    gateway._injure = hold  # type: ignore[method-assign]
    gateway.faults.append(fault)
    try:
        yield made
    finally:
        made.open()
        gateway.faults.remove(fault)
        del gateway._injure


def interrupted(house: House, held: Gate, *arguments: str) -> Ran:
    """One command line as a process that gets Ctrl-C while the call behind ``held`` is in flight; the call goes on when
    the process has said that it is interrupted."""
    files = [house.home / name for name in ("interrupted.out", "interrupted.err")]
    with files[0].open("w") as out, files[1].open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", *arguments], cwd=house.home, stdin=subprocess.DEVNULL, stdout=out,
            stderr=err, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
    held.wait()
    process.send_signal(signal.SIGINT)
    until(lambda: "Interrupted" in files[1].read_text(), "the process says that it is interrupted")
    held.open()
    return Ran(process.wait(GUARD), *(file.read_text() for file in files))


def snapshot() -> Any:
    """The sandbox's own services as they are now, for ``restore``: cheaper than building them again."""
    gateway = sandbox()._server.gateway
    with gateway.world.lock:
        return copy.deepcopy((gateway.world.states, gateway.world.principals, gateway.world.dead_keys))


def restore(kept: Any) -> None:
    gateway = sandbox()._server.gateway
    with gateway.world.lock:
        world = gateway.world
        world.states, world.principals, world.dead_keys = copy.deepcopy(kept)
        world.zone_version += 1
