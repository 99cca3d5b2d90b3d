"""The ``stack:`` block, and ``moved``, ``rules`` and ``waivers``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from reconciler.desired import compiled
from reconciler.desired.entries import expand, folder_of, typed
from reconciler.desired.findings import findings
from reconciler.desired.layers import ENVIRONMENT_NAME, report, rule_severity
from reconciler.desired.nodes import Node, Problems, show
from reconciler.desired.variables import BadVariable, Variables, suggestion
from reconciler.model import CLOUDFORMATION, Entry, Moved, Released, Severity, Source, Stack, Waiver, address_parts
from reconciler.names import fold_domain
from reconciler.regions import SES_REGIONS, partition_of
from reconciler.resources import KINDS, SECTIONS

STACK_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
"""Goes into tag values, object keys and TXT markers, so it is kept to what all of them take."""
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/[\x21-\x7e]{1,576}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CLOUDFORMATION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
"""CloudFormation API, CreateStack, StackName."""

ADDRESS_FORMS: Final[Mapping[str, tuple[str, ...]]] = {name: spec.address for name, spec in KINDS.items()}
"""Kind -> what follows it in an address."""
DEFAULT_MAX_DELETES: Final = 5
SEVERITIES: Final = ("error", "warning", "note", "off")


def base_values(node: Node | None, environment: str | None, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that hold everywhere: the state's, and the built-in ones as far as the stack says them.

    ``env`` is empty where there are no environments.
    """
    values: dict[str, Any] = {**variables, "env": environment or ""}
    scope = Variables(values)
    for name, key in (("stack", "name"), ("account", "account")):
        child = node.get(key) if node is not None else None
        values[name] = child.value if child is not None and isinstance(child.value, str) else ""
    region = ""
    regions = node.get("regions") if node is not None else None
    if regions is not None and type(regions.value) is list and regions.value:
        first = regions.value[0].value
        if isinstance(first, str):
            try:
                region = scope.expand(first).lower()
            except ValueError:
                region = ""
    values["region"] = region
    values["partition"] = partition_of(region) if region else "aws"
    return values


def read_stack(
    node: Node | None, environment: str | None, values: Mapping[str, Any], problems: Problems, document: Node
) -> Stack:
    """The stack; what is missing or wrong is recorded and becomes an empty value."""
    if node is None or not node.is_map:
        if node is None:
            problems.error(
                "missing-key", "there is no `stack:`", "say which stack this is: stack: {name: acme-mail, account: "
                '"111122223333", regions: [us-east-1]}', at=document,
            )  # fmt: skip
        return Stack("", environment, "", ())
    sources: dict[str, Source] = {}
    plain = expand(node, Variables(values), sources, problems, where="stack")
    fold = compiled.folder("stack")
    plain = fold(plain) if fold else plain
    found = findings("stack", plain)
    if typed(plain, found, node, values):
        found = findings("stack", plain)
    report(found, node, "stack", problems)
    reader = _StackReader(plain, node, sources, problems)
    return reader.stack(environment)


class _StackReader:
    def __init__(self, plain: Any, node: Node, sources: Mapping[str, Source], problems: Problems) -> None:
        self.plain: dict[str, Any] = plain
        self.node = node
        self.sources = sources
        self.problems = problems

    def error(self, code: str, path: str, message: str, hint: str = "", severity: Severity = "error") -> None:
        source = self.sources.get(path, self.node.source)
        record = self.problems.error if severity == "error" else self.problems.warn
        record(code, f"stack{'.' if path else ''}{path}: {message}", hint, source=source)

    def stack(self, environment: str | None) -> Stack:
        plain = self.plain
        for key, example in (("name", "acme-mail"), ("account", '"111122223333"'), ("regions", "[us-east-1]")):
            if plain.get(key) is None:
                self.error("missing-key", "", f"{key} is missing", f"write `{key}: {example}`")
        name = self._text("name")
        if isinstance(plain.get("name"), str) and not STACK_NAME.fullmatch(name):
            self.error(
                "bad-name", "name", f"{show(name)} is not a name for a stack",
                "use 1 to 64 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
            )  # fmt: skip
        account = self._text("account")
        regions = self._regions()
        partition = partition_of(regions[0]) if regions else "aws"
        plan_role, apply_role = self._roles(account, partition)
        dns_account, dns_role = self._dns(partition)
        tags = plain.get("tags")
        max_deletes = plain.get("max_deletes")
        backend = plain.get("backend")
        self._backend(backend)
        return Stack(
            name=name, environment=environment, account=account, regions=regions, partition=partition,
            plan_role_arn=plan_role, apply_role_arn=apply_role, dns_account=dns_account, dns_role_arn=dns_role,
            tags=tags if isinstance(tags, dict) else {},
            max_deletes=max_deletes if type(max_deletes) is int else DEFAULT_MAX_DELETES,
            backend=backend if isinstance(backend, dict) else {}, source=self.node.source,
            formerly=self._formerly(),
        )  # fmt: skip

    def _text(self, key: str) -> str:
        value = self.plain.get(key)
        return value if isinstance(value, str) else ""

    def _regions(self) -> tuple[str, ...]:
        value = self.plain.get("regions")
        regions = tuple(r for r in value if r in SES_REGIONS) if isinstance(value, list) else ()
        partitions = {partition_of(region) for region in regions}
        if len(partitions) > 1:
            self.error(
                "mixed-partitions", "regions",
                f"the regions lie in several partitions: {', '.join(sorted(partitions))}",
                "an account belongs to one partition: use one stack for each",
            )  # fmt: skip
        return regions

    def _formerly(self) -> tuple[str, ...]:
        found = []
        listed = self.plain.get("formerly")
        for number, owner in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(owner, str):
                continue
            name, slash, environment = owner.partition("/")
            if owner.startswith(CLOUDFORMATION):
                good = bool(_CLOUDFORMATION_NAME.fullmatch(environment))
            else:
                good = bool(STACK_NAME.fullmatch(name) and (not slash or ENVIRONMENT_NAME.fullmatch(environment)))
            if good:
                found.append(owner)
            else:
                self.error(
                    "bad-name", f"formerly.{number}", f"{show(owner)} is not the name of a stack",
                    f"write it like acme-mail, acme-mail/production or {CLOUDFORMATION}STACK",
                )  # fmt: skip
        return tuple(dict.fromkeys(found))

    def _roles(self, account: str, partition: str) -> tuple[str | None, str | None]:
        value = self.plain.get("role_arn")
        if isinstance(value, str):
            self._role("role_arn", value, account, "stack.account", partition)
            return value, value
        if not isinstance(value, dict):
            return None, None
        for key in ("plan", "apply"):
            if isinstance(value.get(key), str):
                self._role(f"role_arn.{key}", value[key], account, "stack.account", partition)
        return value.get("plan"), value.get("apply")

    def _role(self, path: str, arn: str, account: str, whose: str, partition: str) -> None:
        match = _ROLE.fullmatch(arn)
        if match is None:
            self.error(
                "bad-role-arn", path, f"{show(arn)} is not the ARN of an IAM role",
                f"write arn:{partition}:iam::{account or '111122223333'}:role/NAME",
            )  # fmt: skip
            return
        if account and match.group(2) != account:
            # an environment may keep the role of the account that its own names: the run itself refuses the account
            severity: Severity = "error" if path.startswith("dns") else "warning"
            self.error(
                "role-in-another-account", path, f"the role is in account {match.group(2)}, but {whose} is {account}",
                "name a role of that account, or correct the account", severity,
            )  # fmt: skip
        if match.group(1) != partition:
            self.error(
                "bad-role-arn", path, f"the role is in partition {match.group(1)}, the regions in {partition}",
                f"begin it with arn:{partition}:",
            )  # fmt: skip

    def _dns(self, partition: str) -> tuple[str | None, str | None]:
        value = self.plain.get("dns")
        if not isinstance(value, dict):
            return None, None
        account, role = value.get("account"), value.get("role_arn")
        account = account if isinstance(account, str) else None
        role = role if isinstance(role, str) else None
        if role is not None:
            # Route 53 of GovCloud is apart from that of the commercial partition, whose zones it may use
            match = _ROLE.fullmatch(role)
            self._role("dns.role_arn", role, account or "", "stack.dns.account", match.group(1) if match else partition)
            if account is None and match is not None:
                account = match.group(2)
        return account, role

    def _backend(self, backend: Any) -> None:
        s3 = backend.get("s3") if isinstance(backend, dict) else None
        if not isinstance(s3, dict):
            return
        bucket = s3.get("bucket")
        if bucket is None:
            self.error("missing-key", "backend.s3", "bucket is missing", "write `bucket: NAME`")
        elif isinstance(bucket, str) and (not _BUCKET.fullmatch(bucket) or ".." in bucket):
            self.error(
                "bad-name", "backend.s3.bucket", f"{show(bucket)} is not the name of an S3 bucket",
                "3 to 63 lower-case letters, digits, `-` and `.`",
            )  # fmt: skip
        prefix = s3.get("prefix")
        if isinstance(prefix, str) and (prefix.startswith("/") or ".." in prefix.split("/")):
            self.error("bad-name", "backend.s3.prefix", f"{show(prefix)} is not a key prefix", "write it like mail/")


def address_problem(address: str) -> str:
    """Why a text is not an address of section 3 of the contract (``KIND/PLACE.../NAME``); empty where it is one."""
    kind, *rest = address.split("/")
    form = ADDRESS_FORMS.get(kind)
    if form is None:
        return f"there is no kind {show(kind)}; the kinds are {', '.join(ADDRESS_FORMS)}"
    if len(rest) != len(form) or not all(rest):
        return f"an address of this kind is {kind}/{'/'.join(form)}"
    if form[0] == "REGION" and rest[0] not in SES_REGIONS:
        return f"SES has no region {show(rest[0])}"
    if any(ch.isspace() for ch in address):
        return "an address holds no white space"
    return ""


def fold_moved(address: str) -> str:
    """An address with its domain names folded."""
    kind, *rest = address.split("/")
    if kind == "email_identity" and len(rest) == 2:
        local, at, domain = rest[1].rpartition("@")
        try:
            rest[1] = f"{local}{at}{fold_domain(domain)}"
        except ValueError:
            return address
    return "/".join([kind, *rest])


def _entries(
    node: Node | None, values: Mapping[str, Any], problems: Problems, where: str
) -> Iterator[tuple[dict[str, Any], dict[str, Source], Source]]:
    """The maps of a list with their variables put in, the place of each of their keys, and their own place."""
    for item in node.value if node is not None and type(node.value) is list else ():
        sources: dict[str, Source] = {}
        plain = expand(item, Variables(values), sources, problems, where=where)
        if isinstance(plain, dict):
            yield plain, sources, item.source


class BadEntryName(ValueError):
    """A text is not the SECTION.NAME of an entry; ``hint`` says what would be right."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def entry_name(text: str) -> tuple[str, str]:
    """(section, folded name) of ``SECTION.NAME``, split at the first dot. Raises BadEntryName."""
    section, dot, name = text.partition(".")
    if section not in SECTIONS or not dot:
        raise BadEntryName(
            f"{show(text)} does not begin with a section", f"write section.name; {suggestion(section, SECTIONS)}"
        )
    if SECTIONS[section][1].single:
        raise BadEntryName(f"`{section}` has no entries with names", "take the line out: nothing of it is ever deleted")
    try:
        return section, folder_of(section)(name)
    except ValueError as error:
        raise BadEntryName(str(error), f"write it as it stood under `{section}:`") from None


def read_released(node: Node | None, values: Mapping[str, Any], problems: Problems) -> tuple[Released, ...]:
    """The entries that are let go, each once."""
    found: dict[tuple[str, str], Released] = {}
    for item in node.value if node is not None and type(node.value) is list else ():
        if not isinstance(item.value, str):
            continue  # the schema has said it
        try:
            section, name = entry_name(Variables(values).expand(item.value))
        except BadVariable as error:
            problems.error(error.code, f"released: {error}", error.hint, source=item.source)
        except BadEntryName as error:
            problems.error("unknown-released", f"released: {error}", error.hint, source=item.source)
        else:
            found.setdefault((section, name), Released(section, name, item.source))
    return tuple(found.values())


def _moved_everywhere(ends: list[str], source: Source, stack: Stack, entries: Iterable[Entry]) -> Iterator[Moved]:
    """The renames that ``{from: SECTION.OLD, to: SECTION.NEW}`` means: one in each region of the new entry. Raises
    BadEntryName."""
    (section, old), (new_section, new) = map(entry_name, ends)
    if section != new_section:
        raise BadEntryName(f"{ends[0]} cannot become {ends[1]}", "a rename keeps the section: this is a delete and a "
                           "create")  # fmt: skip
    spec, _ = SECTIONS[section]
    declared = sorted({e.region for e in entries if (e.section, e.name) == (section, new) and e.region})
    for region in (declared or stack.regions) if spec.regional else ("",):
        place = (region,) if region else ()
        yield Moved(spec.address_of(*place, old), spec.address_of(*place, new), source)


def read_moved(
    node: Node | None, values: Mapping[str, Any], problems: Problems, stack: Stack, entries: Iterable[Entry]
) -> tuple[Moved, ...]:
    """The renames; each end is checked alone, see ``checks`` for how they fit the entries."""
    found: list[Moved] = []
    for plain, sources, source in _entries(node, values, problems, "moved"):
        ends = [end for end in (plain.get("from"), plain.get("to")) if isinstance(end, str)]
        if len(ends) != 2:
            continue
        if not any("/" in end for end in ends):
            try:
                found += _moved_everywhere(ends, source, stack, entries)
            except BadEntryName as error:
                problems.error("bad-address", f"moved: {error}", error.hint, source=source)
            continue
        bad = False
        for key, end in zip(("from", "to"), ends, strict=True):
            reason = address_problem(end)
            if reason:
                bad = True
                problems.error(
                    "bad-address", f"moved.{key}: {show(end)} is not an address: {reason}",
                    "such as configuration_set/us-east-1/old; or give both as section.name: configuration_sets.old",
                    source=sources.get(key, source),
                )  # fmt: skip
        if not bad:
            found.append(Moved(fold_moved(ends[0]), fold_moved(ends[1]), source))
    return _with_held(found, entries)


def _with_held(found: Iterable[Moved], entries: Iterable[Entry]) -> tuple[Moved, ...]:
    """The renames, and those that follow for what the renamed entry holds itself, whose name begins with its name; not
    where they are said already."""
    every = {moved.from_address: moved for moved in found}
    for moved in found:
        (kind, region, old), (_, _, new) = map(address_parts, (moved.from_address, moved.to_address))
        spec = KINDS[kind]
        holders = [e for e in entries if e.name == new and e.region == region and SECTIONS[e.section][0] is spec]
        for held in spec.holds if holders else ():
            held_spec = SECTIONS[held.section][0]
            paths = [path.split(".") for path in holders[0].sources]
            for key in dict.fromkeys(path[1] for path in paths if path[0] == held.key and len(path) > 1):
                before, after = (held_spec.address_of(region, f"{name}-{key}") for name in (old, new))
                every.setdefault(before, Moved(before, after, moved.source))
    return tuple(every.values())


def read_rules(node: Node | None) -> dict[str, str]:
    """Severity by rule id, in lower case; the schema has checked both."""
    rules: dict[str, str] = {}
    for name, child in node.children() if node is not None else ():
        severity = rule_severity(child)
        if isinstance(severity, str) and severity.lower() in SEVERITIES:
            rules[name] = severity.lower()
    return rules


def read_waivers(node: Node | None, values: Mapping[str, Any], problems: Problems) -> tuple[Waiver, ...]:
    """The accepted findings, ``until`` as an ISO 8601 date."""
    found: list[Waiver] = []
    for plain, sources, source in _entries(node, values, problems, "waivers"):
        until = plain.get("until")
        if isinstance(until, str):
            try:
                datetime.date.fromisoformat(until)
                valid = len(until) == 10
            except ValueError:
                valid = False
            if not valid:
                problems.error(
                    "bad-date", f"waivers.until: {show(until)} is not a date", "write it like 2027-01-31",
                    source=sources.get("until", source),
                )  # fmt: skip
                continue
        reason = plain.get("reason")
        if isinstance(reason, str) and not reason.strip():
            problems.error(
                "bad-length", "waivers.reason: the reason is empty", "say why the finding is accepted",
                source=sources.get("reason", source),
            )  # fmt: skip
        texts = [text for key in ("rule", "address", "reason", "until") if isinstance(text := plain.get(key), str)]
        if len(texts) == 4:
            found.append(Waiver(texts[0], texts[1], texts[2], texts[3], source))
    return tuple(found)
