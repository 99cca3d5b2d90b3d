"""What a shell completes: environments, addresses, domains, formats, rules and regions, from the state that is named.

It runs while somebody types: a state that is missing or wrong completes nothing, and nothing is printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from reconciler.errors import ReconError

VARIABLE = "_RECON_COMPLETE"
"""Set by the shell when it asks (click, "Shell completion")."""


def complete_all(command: Any) -> None:
    """Give the options and arguments of a command and its subcommands what completes them."""
    for subcommand in getattr(command, "commands", {}).values():
        complete_all(subcommand)
    for parameter in command.params:
        if (values := _values_of(parameter)) is not None:
            parameter._custom_shell_complete = _matching(values)


def _values_of(parameter: Any) -> Callable[[Any], Iterable[str]] | None:
    by_option = {"--env": _environments, "--target": _addresses, "--region": lambda context: _regions()}
    for option in parameter.opts:
        if option == "--format":
            words = re.findall(r"[a-z]+", (parameter.help or "").replace(" or ", " "))
            return lambda context: words
        if option in by_option:
            return by_option[option]
    metavar = str(parameter.metavar or "")
    if "[DOMAIN]" in metavar:
        return _domains
    return _rules if parameter.name == "id" else None


def _matching(values: Callable[[Any], Iterable[str]]) -> Callable[[Any, Any, str], list[str]]:
    def complete(context: Any, parameter: Any, incomplete: str) -> list[str]:
        try:
            return [value for value in values(context) if value.startswith(incomplete)]
        except (ReconError, OSError):
            return []

    return complete


def _place(context: Any) -> str:
    """The state that the command line names, so far."""
    from reconciler.cli.common import is_path

    given = context.params.get("state")
    words = [given] if isinstance(given, str) else [w for w in context.params.get("what") or () if is_path(w)]
    return words[0] if words else "state"


def _environments(context: Any) -> Iterable[str]:
    from reconciler.desired import environments

    return environments(_place(context))


def _state(context: Any) -> Any:
    from reconciler import desired

    place, chosen = _place(context), context.params.get("env")
    found = desired.environments(place)
    return desired.load(place, chosen or (found[0] if found else None)).state


def _addresses(context: Any) -> Iterable[str]:
    from reconciler import observing
    from reconciler.kinds.snapshot import now

    return sorted(observing.declare(_state(context), now()).desired)


def _domains(context: Any) -> Iterable[str]:
    return sorted({entry.name for entry in _state(context).section("domains")})


def _regions() -> Iterable[str]:
    from reconciler.regions import SES_REGIONS

    return SES_REGIONS


def _rules(context: Any) -> Iterable[str]:
    from reconciler import codes
    from reconciler.rules import all_rules

    return sorted({*all_rules(), *codes.known()})


def wanted() -> bool:
    """Whether a shell asks, instead of somebody running a command."""
    return VARIABLE in os.environ
