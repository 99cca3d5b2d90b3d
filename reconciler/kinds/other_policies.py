"""What the policies beside recon's own let a user or role send, or keep it from sending: inline policies, attached
ones, and those of its groups.

Judged by what IAM would answer: requests that the policies suggest are tried with and without each of them. A policy
that could not be read counts as none: what is unknown is never reported.
Source: IAM User Guide, "Policy evaluation logic": permissions add up, and an explicit Deny wins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.kinds.iam_account import groups_and_policies
from reconciler.model import Observed, Stack, canonical_json
from reconciler.policy_evaluation import Policies, Principal, Reach, Statement, parsed, reach
from reconciler.policy_evaluation.evaluate import matches

if TYPE_CHECKING:
    from reconciler.aws import Aws
    from reconciler.kinds.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class OtherPolicy:
    """A group, attached policy or inline policy (``word``) by its name, with its documents: a group has several."""

    word: str
    name: str
    documents: tuple[Any, ...]

    def statements(self) -> tuple[Statement, ...]:
        """Those of all its documents; of one that cannot be parsed none."""
        found: list[Statement] = []
        for document in self.documents:
            try:
                found += parsed(document, f"the {self.word} {self.name}")
            except ValueError:
                continue
        return tuple(found)


def read(
    aws: Aws, snapshot: Snapshot, details: Iterable[Mapping[str, Any]], key: str
) -> dict[str, tuple[OtherPolicy, ...]]:
    """The groups and attached policies of users or roles, by the name under ``key``. Raises AwsError."""
    named = {d[key]: (list(d.get("GroupList") or ()), _arns(d)) for d in details}
    all_groups, policies = groups_and_policies(aws, snapshot)
    groups, managed = {g["GroupName"]: g for g in all_groups}, {p["Arn"]: p for p in policies}

    def documents(arns: Iterable[str]) -> Iterator[Any]:
        for arn in arns:
            versions = (managed.get(arn) or {}).get("PolicyVersionList") or ()
            yield from (v.get("Document") for v in versions if v.get("IsDefaultVersion"))

    found = {}
    for user, (names, arns) in named.items():
        mine = [OtherPolicy("attached policy", arn, tuple(documents([arn]))) for arn in arns]
        for name in names:
            group = groups.get(name) or {}
            inline = [p.get("PolicyDocument") for p in group.get("GroupPolicyList") or ()]
            mine.append(OtherPolicy("group", name, (*inline, *documents(_arns(group)))))
        found[user] = tuple(mine)
    return found


def _arns(detail: Mapping[str, Any]) -> list[str]:
    return [p["PolicyArn"] for p in detail.get("AttachedManagedPolicies") or ()]


def size(documents: Iterable[Any]) -> int:
    """The characters of inline policies as IAM counts them: without white space."""
    return sum(len("".join((d if isinstance(d, str) else canonical_json(d)).split())) for d in documents)


# --- judged --------------------------------------------------------------------------------------------------------


class Judged:
    """What a live user or role may send by its own policy alone, and with the others."""

    def __init__(self, stack: Stack, live: Observed, own: Mapping[str, Any], type: str) -> None:
        """``own`` is the policy that is declared; ``type`` is ``user`` or ``role``."""
        arn = f"arn:{stack.partition}:iam::{stack.account}:{type}{live.spec.get('path') or '/'}{live.name}"
        self._principal = Principal(
            arn, type, stack.account, live.name, str(live.facts.get("id") or ""), dict(live.tags)
        )  # fmt: skip
        self._regions = stack.regions
        self._own = parsed(own, "its own policy")
        self.others: tuple[OtherPolicy, ...] = tuple(live.facts.get("policies") or ())
        self._denies = tuple(s for other in self.others for s in other.statements() if not s.allows)

    def _reach(self, *statements: Statement) -> Reach:
        return reach(Policies(identity=statements), self._principal, self._regions)

    def wider(self) -> Iterator[tuple[OtherPolicy, str]]:
        """The others that let the user send what its own policy does not, and what that is."""
        alone: Reach | None = None
        for other in self.others:
            allows = [s for s in other.statements() if s.allows]
            if allows:
                alone = alone or self._reach(*self._own, *self._denies)
                more = _more(alone, self._reach(*self._own, *self._denies, *allows))
                if more:
                    yield other, more

    def denied(self) -> str:
        """What the others keep the user from sending that its own policy allows, and which of them; "" for nothing."""
        if not self._denies:
            return ""
        alone, together = self._reach(*self._own), self._reach(*self._own, *self._denies)
        lost = "to send" if together.can_send == "no" else _more(together, alone)
        if not lost or alone.can_send == "no":
            return ""
        by = [o for o in self.others if any(not s.allows for s in o.statements())]
        names = " and ".join(f"the {other.word} {other.name}" for other in by)
        return f"{names} {'deny' if len(by) > 1 else 'denies'} it {lost}"


def _more(less: Reach, wider: Reach) -> str:
    """What ``wider`` allows beyond ``less``, in words; "" for nothing."""
    parts = (
        ("as ", "as anybody", less.from_addresses, wider.from_addresses),
        ("from the network ", "from anywhere", less.networks, wider.networks),
        ("to ", "to anybody", less.recipients, wider.recipients),
        ("through ", "through any identity", less.resources, wider.resources),
        ("with the set ", "with any set", less.sets, wider.sets),
        ("by ", "by any action", less.actions, wider.actions),
    )
    found = []
    for word, unlimited, had, has in parts:
        new = [label for label in has if not any(_covers(known, label) for known in had)]
        found += [unlimited if "*" in new else word + " and ".join(new)] * bool(new)
    return "to send " + ", ".join(found) if found else ""


def _covers(known: str, label: str) -> bool:
    """Whether a pattern or network of the words of policies holds another."""
    if known == label or matches(known, label):
        return True
    try:
        one, other = ipaddress.ip_network(known, strict=False), ipaddress.ip_network(label, strict=False)
    except ValueError:
        return False
    return one.version == other.version and other.subnet_of(one)  # type: ignore[arg-type]
