"""Checks of how the entries of one state fit together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from reconciler.desired.checks.forms import SHARED_POOLS
from reconciler.desired.checks.place import address_of
from reconciler.desired.layers import dkim_family
from reconciler.desired.nodes import Problems, show
from reconciler.desired.variables import suggestion
from reconciler.model import Entry, Moved, Source, Stack, canonical_json
from reconciler.names import domain_of, fold_domain, is_at_or_below, parents
from reconciler.regions import deterministic_parent, identity_arn

MAX_IDENTITIES: Final = 10_000
MAX_SETS: Final = 10_000
MAX_POOLS: Final = 50
MAX_INLINE_POLICY: Final = 2048
"""The first three per region (SES Developer Guide, "Service quotas"); the last in characters without white space (IAM
User Guide, "IAM and STS quotas")."""


def check_all(stack: Stack, entries: Iterable[Entry], moved: Iterable[Moved], problems: Problems) -> None:
    """Record everything that only the whole state can show."""
    across = _Across(stack, problems)
    for entry in entries:
        across.entries.append(entry)
        across.index.setdefault((entry.section, entry.name), {})[entry.region] = entry
    across.check(tuple(moved))


@dataclass(slots=True)
class _Across:
    stack: Stack
    problems: Problems
    entries: list[Entry] = field(default_factory=list)
    index: dict[tuple[str, str], dict[str | None, Entry]] = field(default_factory=dict)
    hints: dict[tuple[str, str], str] = field(default_factory=dict)

    def error(self, entry: Entry, path: str, code: str, message: str, hint: str = "", detail: str = "") -> None:
        self._record(self.problems.error, entry, path, code, message, hint, detail)

    def warn(
        self, entry: Entry, path: str, code: str, message: str, hint: str = "", detail: str = "", address: str = ""
    ) -> None:  # fmt: skip
        """``address`` is what the warning is about where that is not the entry: what a reference names."""
        self._record(self.problems.warn, entry, path, code, message, hint, detail, address)

    def _record(
        self, record: Any, entry: Entry, path: str, code: str, message: str, hint: str, detail: str, address: str = ""
    ) -> None:  # fmt: skip
        record(
            code, f"{entry.section}.{entry.name}{'.' if path else ''}{path}: {message}", hint,
            source=entry.source_of(path), address=address or address_of(entry.section, entry.name, entry.region),
            detail=detail or path, who=entry.name,
        )  # fmt: skip

    def check(self, moved: tuple[Moved, ...]) -> None:
        for entry in self.entries:
            if entry.section == "domains":
                self._references(entry)
                self._deterministic(entry)
            elif entry.section == "email_addresses":
                self._references(entry)
            elif entry.section == "configuration_sets":
                self._pool_reference(entry)
        self._mail_from_names()
        self._tracking_names()
        self._selectors()
        self._dedicated_ips()
        self._smtp_users()
        self._counts()
        self._moved(moved)

    # --- references: undeclared is a warning, it may exist live ---

    def _references(self, entry: Entry) -> None:
        name = entry.values.get("configuration_set_name")
        if isinstance(name, str) and entry.region is not None:
            self._must_exist(entry, "configuration_set_name", "configuration_sets", name)

    def _pool_reference(self, entry: Entry) -> None:
        delivery = entry.values.get("delivery_options")
        name = delivery.get("sending_pool_name") if isinstance(delivery, dict) else None
        if isinstance(name, str) and name not in SHARED_POOLS:
            self._must_exist(entry, "delivery_options.sending_pool_name", "dedicated_ip_pools", name)

    def _must_exist(self, entry: Entry, path: str, section: str, name: str) -> None:
        found = self.index.get((section, name))
        if found is not None and entry.region in found:
            return
        what = "configuration set" if section == "configuration_sets" else "dedicated IP pool"
        if found is None:
            hint = self._suggest(section, name)
            message = f"the {what} {name} is not declared"
        else:
            message = f"the {what} {name} is not declared for {entry.region}"
            hint = f"it is declared for {', '.join(str(region) for region in found)}; add {entry.region} to its regions"
        referred = address_of(section, name, entry.region)
        self.warn(entry, path, "undeclared-reference", message, hint, f"{path} {name} {entry.region}", referred)

    def _suggest(self, section: str, name: str) -> str:
        if (section, name) not in self.hints:
            hint = suggestion(name, [known for kind, known in self.index if kind == section])
            if not hint.startswith("did you mean"):
                hint = f"declare it under `{section}:`; plan refuses unless it exists live"
            self.hints[section, name] = hint
        return self.hints[section, name]

    # --- DKIM ---

    def _deterministic(self, entry: Entry) -> None:
        dkim = entry.values.get("dkim")
        origin = dkim.get("signing_attributes_origin") if isinstance(dkim, dict) else None
        if entry.region is None or not isinstance(origin, str) or dkim_family(origin) != "deterministic":
            return
        path = "dkim.signing_attributes_origin"
        parent = deterministic_parent(origin) or ""
        if parent == entry.region:
            self.error(
                entry, path, "deterministic-own-region", f"{origin} in {entry.region}: a replica is in another region "
                "than its parent", f"write it for the other regions only: by_region: {{REGION: {{dkim: "
                f"{{signing_attributes_origin: {origin}}}}}}}, and AWS_SES for {parent}",
            )  # fmt: skip
            return
        family = self.index.get((entry.section, entry.name), {})
        source = family.get(parent)
        if source is None:
            self.warn(
                entry, path, "deterministic-parent", f"the parent identity in {parent} is not declared here",
                f"add {parent} to the domain's regions, or see to it that the identity exists there with Easy DKIM",
            )  # fmt: skip
            return
        block = source.values.get("dkim")
        other = block.get("signing_attributes_origin") if isinstance(block, dict) else None
        if isinstance(other, str) and dkim_family(other) != "easy":
            self.error(
                entry, path, "deterministic-parent", f"the parent in {parent} has origin {other}; only one with "
                "Easy DKIM can be a parent", f"write AWS_SES for {parent}",
            )  # fmt: skip

    def _selectors(self) -> None:
        """One selector is one record: two regions may share it only if they share the key."""
        seen: dict[tuple[str, str], tuple[str, Entry]] = {}
        for entry in self._section("domains"):
            dkim = entry.values.get("dkim")
            if not isinstance(dkim, dict) or entry.region is None:
                continue
            selector, key = dkim.get("domain_signing_selector"), dkim.get("domain_signing_private_key")
            if not isinstance(selector, str) or key is None:
                continue
            place = (entry.name, selector.lower())
            reference = canonical_json(key)
            before = seen.setdefault(place, (reference, entry))
            if before[0] != reference:
                self.error(
                    entry, "dkim.domain_signing_selector", "selector-clash",
                    f"the selector {selector} stands for another key in {before[1].region}",
                    "use one key for both regions, or another selector",
                )  # fmt: skip

    # --- names that cannot be shared ---

    def _mail_from_names(self) -> None:
        seen: dict[str, Entry] = {}
        for entry in self._section("domains"):
            block = entry.values.get("mail_from")
            name = block.get("mail_from_domain") if isinstance(block, dict) else None
            if entry.region is None or not isinstance(name, str):
                continue
            path = "mail_from.mail_from_domain"
            before = seen.setdefault(name, entry)
            if before is entry:
                self._mail_from_meets_others(entry, path, name)
            elif before.name == entry.name:
                self.error(
                    entry, path, "mail-from-shared", f"{name} is the MAIL FROM name in {before.region} and in "
                    f"{entry.region}: its one MX can only point to one region",
                    'put the region into it: "bounce-${region}.${domain}"', name,
                )  # fmt: skip
            else:
                self.error(
                    entry, path, "mail-from-shared", f"{name} is also the MAIL FROM name of {before.name} "
                    f"({before.source_of(path)})", 'put the domain into it: "bounce-${region}.${domain}"', name,
                )  # fmt: skip

    def _mail_from_meets_others(self, entry: Entry, path: str, name: str) -> None:
        other = self.index.get(("domains", name), {}).get(None)
        if other is None:
            return
        if other.values.get("null_mx") is True:
            self.error(
                entry, path, "mail-from-null-mx", f"{name} is also declared with null_mx ({other.source}); a MAIL FROM "
                "name needs the MX of SES", "choose another name",
            )  # fmt: skip
        elif other.values.get("identity") is not False:
            self.warn(
                entry, path, "mail-from-is-identity", f"{name} is also declared as a domain ({other.source}); AWS asks "
                "that a MAIL FROM name neither sends nor receives mail of its own", "choose a name for MAIL FROM alone",
            )  # fmt: skip

    def _tracking_names(self) -> None:
        seen: dict[str, Entry] = {}
        mail_from = {
            block["mail_from_domain"]: entry
            for entry in self._section("domains")
            if isinstance(block := entry.values.get("mail_from"), dict)
            and isinstance(block.get("mail_from_domain"), str)
        }
        for entry in self._section("configuration_sets"):
            options = entry.values.get("tracking_options")
            name = options.get("custom_redirect_domain") if isinstance(options, dict) else None
            if not isinstance(name, str) or entry.region is None:
                continue
            path = "tracking_options.custom_redirect_domain"
            if not any(("domains", covering) in self.index for covering in (name, *parents(name))):
                self.warn(
                    entry, path, "undeclared-reference", f"no declared domain covers {name}: SES takes a tracking "
                    "domain only below a verified identity", "declare its domain under `domains:`", f"{path} {name}",
                )  # fmt: skip
            if isinstance(options, dict) and options.get("https_policy") in ("REQUIRE", "REQUIRE_OPEN_ONLY"):
                continue
            before = seen.setdefault(name, entry)
            if before.region != entry.region:
                self.error(
                    entry, path, "tracking-two-regions", f"{name} is the tracking domain in {before.region} and in "
                    f"{entry.region}: its one CNAME can only point to one region",
                    'put the region into it: "click-${region}.acme.com"', name,
                )  # fmt: skip
            if name in mail_from:
                self.error(
                    entry, path, "tracking-is-mail-from", f"{name} is also MAIL FROM of {mail_from[name].name}: "
                    "a CNAME takes no other record at its name", "choose another name",
                )  # fmt: skip
            own = self.index.get(("domains", name), {}).get(None)
            if own is not None and any(own.values.get(key) for key in ("spf", "null_mx")):
                self.error(
                    entry, path, "tracking-is-domain", f"{name} is declared with records of its own ({own.source}): a "
                    "CNAME takes no other record at its name", "choose a name for tracking alone",
                )  # fmt: skip

    def _dedicated_ips(self) -> None:
        seen: dict[str, Entry] = {}
        for entry in self._section("dedicated_ip_pools"):
            for index, ip in enumerate(entry.values.get("dedicated_ips") or ()):
                before = seen.setdefault(ip, entry)
                if before is not entry:
                    other = f"{before.name} in {before.region}"
                    self.error(
                        entry, f"dedicated_ips.{index}", "ip-in-two-pools", f"{ip} is also in the pool {other}; an IP "
                        "belongs to one pool of one region", "keep it in one; by_region says what only one region has",
                    )  # fmt: skip

    # --- SMTP users ---

    def _smtp_users(self) -> None:
        names: dict[str, Entry] = {}
        stores: dict[tuple[str, str, str], Entry] = {}
        covered = {entry.name for section in ("domains", "email_addresses") for entry in self._section(section)}
        for entry in self._section("smtp_users"):
            before = names.setdefault(entry.name.lower(), entry)
            if before is not entry:
                self.error(
                    entry, "", "duplicate-declaration", f"IAM takes it for the same name as {before.name} "
                    f"({before.source}): user names differ by more than case", "choose another name",
                )  # fmt: skip
            self._stores(entry, stores)
            size = self._policy_size(entry)
            if size > MAX_INLINE_POLICY:
                self.error(
                    entry, "", "policy-too-long", f"its policy would have at least {size} characters; IAM takes "
                    f"{MAX_INLINE_POLICY} for a user",
                    "use patterns with * in from_addresses, fewer identities or none (then all), or several users",
                )  # fmt: skip
            for index, name in enumerate(entry.values.get("identities") or ()):
                if name not in covered and not any(parent in covered for parent in _covering(name)):
                    self.warn(
                        entry, f"identities.{index}", "undeclared-identity", f"the identity {name} is not declared",
                        suggestion(name, covered) or "declare it under `domains:`",
                    )  # fmt: skip
            for index, pattern in enumerate(entry.values.get("from_addresses") or ()):
                domain = pattern.rpartition("@")[2]
                if "*" in domain or not domain or "@" not in pattern:
                    continue
                try:
                    folded = fold_domain(domain)
                except ValueError as error:
                    self.error(entry, f"from_addresses.{index}", "bad-name", str(error), "such as *@acme.com")
                    continue
                if pattern not in covered and not any(
                    is_at_or_below(folded, name) for name in covered if "@" not in name
                ):
                    self.warn(
                        entry, f"from_addresses.{index}", "undeclared-reference",
                        f"no declared identity covers {domain}",
                        "declare the domain under `domains:`, or correct the address",
                    )  # fmt: skip

    def _policy_size(self, entry: Entry) -> int:
        """The least that the user's policy can take; the ARNs of configuration sets in it are not counted."""
        values, stack = entry.values, self.stack
        resources = [
            identity_arn(stack.partition, region, stack.account, name)
            for name in values.get("identities") or ()
            for region in self._regions_of(name)
        ]
        statement = {
            "Effect": "Allow", "Action": ["ses:SendRawEmail"], "Resource": resources or ["*"],
            "Condition": {
                **(values.get("conditions") or {}),
                "StringLike": {"ses:FromAddress": values.get("from_addresses") or []},
                "IpAddress": {"aws:SourceIp": values.get("source_ips") or []},
            },
        }  # fmt: skip
        return len(canonical_json({"Version": "2012-10-17", "Statement": [statement]}))

    def _regions_of(self, identity: str) -> list[str]:
        for section in ("domains", "email_addresses"):
            found = self.index.get((section, identity))
            if found is not None:
                return [region for region in found if region is not None]
        return list(self.stack.regions[:1])

    def _stores(self, entry: Entry, stores: dict[tuple[str, str, str], Entry]) -> None:
        block = entry.values.get("credentials")
        if not isinstance(block, dict):
            return
        for store in ("secretsmanager", "ssm"):
            target = block.get(store)
            name = target.get("name") if isinstance(target, dict) else None
            if not isinstance(name, str):
                continue
            first = self.stack.regions[0] if self.stack.regions else ""
            region = str(block.get("region") or ("" if "${region}" in name else first))
            before = stores.setdefault((store, region, name), entry)
            if before is not entry:
                self.error(
                    entry, f"credentials.{store}.name", "shared-secret", f"{show(name)} is also where the password of "
                    f"{before.name} is stored ({before.source_of('credentials')}); one would overwrite the other",
                    f'choose another name, such as "recon/{entry.name}"',
                )  # fmt: skip

    # --- counts, renames ---

    def _counts(self) -> None:
        limits = {
            "email_identity": MAX_IDENTITIES, "configuration_set": MAX_SETS, "dedicated_ip_pool": MAX_POOLS,
        }  # fmt: skip
        counts: dict[tuple[str, str], int] = {}
        for entry in self.entries:
            if entry.region is not None:
                kind = address_of(entry.section, entry.name, entry.region).partition("/")[0]
                counts[kind, entry.region] = counts.get((kind, entry.region), 0) + 1
        for (kind, region), count in counts.items():
            if count > limits[kind]:
                self.problems.warn(
                    "quota", f"{count} of {kind} in {region}: the SES quota is {limits[kind]}",
                    "ask AWS whether it can be raised, or use several accounts", source=self.stack.source,
                    detail=f"{kind} {region}",
                )  # fmt: skip

    def _moved(self, moved: tuple[Moved, ...]) -> None:
        declared = self._declared_addresses() if moved else frozenset()
        sources: dict[str, Source] = {}
        targets: dict[str, Source] = {}
        for item in moved:
            old, new = item.from_address, item.to_address
            kind, region = _kind_and_region(old)
            if old == new:
                self._moved_error(item, "moved-to-itself", f"{old} is moved to itself", "take the line out")
                continue
            if (kind, region) != _kind_and_region(new):
                self._moved_error(item, "moved-elsewhere", f"{old} cannot become {new}: a rename keeps kind and region",
                                  "take the line out: this is a delete and a create")  # fmt: skip
            for seen, address, word in ((sources, old, "from"), (targets, new, "to")):
                if address in seen:
                    self._moved_error(item, "duplicate-declaration", f"{word}: {address} stands twice: also at "
                                      f"{seen[address]}", "keep one of the two")  # fmt: skip
                seen.setdefault(address, item.source)
            if old in declared:
                self._moved_error(item, "moved-still-declared", f"{old} is still declared",
                                  "take the old declaration out, or the line in `moved:`")  # fmt: skip
            if kind not in ("dns_record", "smtp_credential") and new not in declared:
                self.problems.warn("moved-not-declared", f"moved.to: {new} is not declared",
                                   "declare it, or take the line out", source=item.source)  # fmt: skip

    def _moved_error(self, item: Moved, code: str, message: str, hint: str) -> None:
        self.problems.error(code, f"moved: {message}", hint, source=item.source)

    def _declared_addresses(self) -> frozenset[str]:
        found: set[str] = set()
        for entry in self.entries:
            found.add(address_of(entry.section, entry.name, entry.region))
            for name in entry.values.get("event_destinations") or ():
                found.add(f"event_destination/{entry.region}/{entry.name}/{name}")
        return frozenset(found - {""})

    def _section(self, name: str) -> Iterable[Entry]:
        return (entry for entry in self.entries if entry.section == name)


def _covering(name: str) -> Iterable[str]:
    domain = domain_of(name)
    return (domain, *parents(domain)) if domain != name else parents(name)


def _kind_and_region(address: str) -> tuple[str, str]:
    kind, _, rest = address.partition("/")
    return kind, "" if kind in ("smtp_user", "smtp_credential", "dns_record") else rest.partition("/")[0]
