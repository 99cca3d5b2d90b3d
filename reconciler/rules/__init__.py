"""Named rules that check a plan for what it means to mail, before it is applied.

Each rule is a pure function with an id, a default severity and the texts of its page in docs/rules. A rule about a kind
of resource is in that kind's folder: ``resources/KIND/rules.py``, or a package ``rules``. Importing this package finds
and registers them all. ``judge`` runs them over a ``RuleView``; severities come from the state's ``rules:``, exceptions
from its ``waivers:``.
"""

from __future__ import annotations

from importlib import import_module

from reconciler import resources
from reconciler.rules import account as account  # registers the rules that are about no kind of resource
from reconciler.rules.registry import (
    RULES,
    WAIVER_EXPIRED,
    Finding,
    RawFinding,
    Rule,
    all_rules,
    judge,
    known_ids,
)
from reconciler.rules.view import RecordView, Resource, RuleView, Topic

__all__ = [
    "RULES",
    "WAIVER_EXPIRED",
    "Finding",
    "RawFinding",
    "RecordView",
    "Resource",
    "Rule",
    "RuleView",
    "Topic",
    "all_rules",
    "judge",
    "known_ids",
]


def _rule_modules() -> list[str]:
    """The modules of ``resources/*/rules.py`` and ``resources/*/rules/*.py``, in the order of their paths."""
    root = resources.FOLDER
    files = sorted([*root.glob("*/rules.py"), *root.glob("*/rules/*.py")])
    parts = (file.relative_to(root).with_suffix("").parts for file in files)
    return [".".join((resources.__name__, *part)) for part in parts if part[-1] != "__init__"]


for _module in _rule_modules():
    import_module(_module)
