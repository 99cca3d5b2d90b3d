"""The senders of an account as text, Markdown and a page, from the JSON document of the command; all of it is
untrusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final

from reconciler.model import Diagnostic
from reconciler.renderers.escape import markdown_code, markdown_text
from reconciler.renderers.headline import plural
from reconciler.renderers.html import template_page
from reconciler.renderers.picture import Box, Picture, laid_out
from reconciler.renderers.text import Line, Style, draw
from reconciler.renderers.view import fold_diagnostics

SendersDocument = Mapping[str, Any]

COLUMNS: Final = ("sender", "sends", "declared by", "as", "from", "sets", "keys", "last used")
_TOLD: Final = ("credential-report", "may-give-rights")
"""Notes that the text shows without -v."""
_DRAWN: Final = 30
"""Senders in the picture; the others are in the table alone."""
_NAMED: Final = 12
"""Identities or sets that a sender's patterns are drawn to one by one."""


def senders_text(
    document: SendersDocument, now: str, *, color: bool = False, unicode: bool = True, verbose: int = 0
) -> str:
    """The headline, a table with the reasons below it, administrators, and what could not be read."""
    style = Style(color=color, unicode=unicode)
    lines: list[Line] = [[("head", style.safe(headline(document)))], []]
    if document["senders"]:
        lines += _table(document["senders"], now, style)
        lines.append([])
    for one in document["senders"]:
        reasons = one["reasons"] if verbose or one["can_send"] != "yes" else one["reasons"][:3]
        details = [*(_user_of(one, who) for who in one["used_by"]), *reasons]
        if details and (verbose or one["can_send"] != "yes" or not one["declared_by"]):
            lines.append([("", style.safe(_name(one)))])
            lines += [[("", f"    {style.safe(text)}")] for text in details]
    if document["administrators"]:
        listed = ", ".join(_name(one) for one in document["administrators"])
        lines += [[], [("", style.safe(f"Administrators, who may do everything: {listed}"))]]
    for one in document["diagnostics"]:
        if one["severity"] != "note" or verbose or one["code"] in _TOLD:
            lines.append([(one["severity"], one["severity"]), ("", f": {style.safe(one['message'])}")])
            if one.get("hint"):
                lines.append([("dim", f"  hint:    {style.safe(one['hint'])}")])
    return draw(lines, style)


def _table(senders: Sequence[SendersDocument], now: str, style: Style) -> list[Line]:
    rows = [[style.safe(cell) for cell in _row(one, now)] for one in senders]
    heads = [head.upper() for head in COLUMNS]
    widths = [max(len(row[n]) for row in [heads, *rows]) for n in range(len(heads))]
    lines: list[Line] = [[("dim", "  ".join(text.ljust(width) for text, width in zip(heads, widths, strict=True)))]]
    for one, row in zip(senders, rows, strict=True):
        looks = {"yes": "" if one["declared_by"] else "delete", "unknown": "warning", "no": "dim"}[one["can_send"]]
        lines.append([(looks, "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))])
    return lines


def _row(one: SendersDocument, now: str) -> list[str]:
    nothing = one["can_send"] == "no"
    cells = ["-"] * 3 if nothing else [
        _some(one["from_addresses"], "any address"), _some(one["networks"], "anywhere"),
        _some(one["configuration_sets"], "any", "none"),
    ]  # fmt: skip
    declared = one["declared_by"] or "nobody"
    return [_name(one), one["can_send"], declared, *cells, _keys(one, now), _ago(one["last_used"], now)]


def _name(one: SendersDocument) -> str:
    return f"{one['type']} {one['name']}"


def _user_of(one: SendersDocument, who: str) -> str:
    return f"{who} may assume it" if one["type"] == "role" else f"{who} holds its password"


def _some(values: Sequence[str], anything: str, nothing: str = "-") -> str:
    if list(values) == ["*"]:
        return anything
    return ", ".join(values[:2]) + (f" +{len(values) - 2}" if len(values) > 2 else "") if values else nothing


def _keys(one: SendersDocument, now: str) -> str:
    if one["type"] != "user":
        return "-"
    if one["keys"] is None:
        return "unread"
    active = [key for key in one["keys"] if key["status"] == "Active"]
    if not active:
        return "none active" if one["keys"] else "none"
    ages = [_days(key["created"], now) for key in active if key["created"]]
    return f"{len(active)}, {max(ages)} days" if ages else str(len(active))


def _days(since: str, now: str) -> int:
    return max((datetime.fromisoformat(now) - datetime.fromisoformat(since)).days, 0)


def _ago(at: str | None, now: str) -> str:
    return f"{at[:10]} ({_days(at, now)} days)" if at else "-"


def headline(document: SendersDocument) -> str:
    """Who can send that nothing declares; the first line of every format."""
    senders = [one for one in document["senders"] if one["can_send"] == "yes"]
    loose = [one for one in senders if one["declared_by"] is None]
    unknown = sum(one["can_send"] == "unknown" for one in document["senders"])
    if any(one["code"] == "principals-unread" for one in document["diagnostics"]) and not document["principals"]:
        return f"Who may send from account {document['account']} could not be read."
    if loose:
        loose.sort(key=lambda one: one["last_used"] or "", reverse=True)  # who sends now is the one to look at first
        names = ", ".join(_name(one) for one in loose[:3]) + (f" and {len(loose) - 3} more" if len(loose) > 3 else "")
        are = "is" if len(loose) == 1 else "are"
        text = f"{len(loose)} of {plural(len(senders), 'sender')} of account {document['account']} {are} declared by "
        text += f"nobody: {names}"
    elif senders:
        text = f"{plural(len(senders), 'sender')} of account {document['account']}, each of them declared"
    else:
        text = f"Nobody of {plural(document['principals'], 'user')} and roles of account {document['account']} may send"
    if unknown:
        text += f"; {unknown} more perhaps"
    return text + "."


def senders_markdown(document: SendersDocument, now: str) -> str:
    """The headline, a table, and lists of the rest."""
    lines = [f"**{markdown_text(headline(document))}**", ""]
    if document["senders"]:
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for one in document["senders"]:
            cells = _row(one, now)
            lines.append("| " + " | ".join([markdown_code(cells[0]), *map(markdown_text, cells[1:])]) + " |")
        lines.append("")
    for one in document["senders"]:
        if one["reasons"]:
            reasons = "; ".join(one["reasons"])
            lines.append(f"- {markdown_code(one['arn'])}: {markdown_text(reasons)}")
    if document["administrators"]:
        lines += ["", "Administrators, who may do everything:", ""]
        lines += [f"- {markdown_code(one['arn'])}" for one in document["administrators"]]
    found = [one for one in document["diagnostics"] if one["severity"] != "note"]
    if found:
        lines += ["", *(f"- {one['severity']}: {markdown_text(one['message'])}" for one in found)]
    return "\n".join(lines).rstrip() + "\n"


# --- the page ------------------------------------------------------------------------------------------------------


def senders_html(document: SendersDocument, now: str) -> str:
    """The paths from those who hold a right or a password over users, roles and sets to identities, and all details."""
    diagnostics = [
        Diagnostic(one["severity"], one["code"], one["message"], one.get("hint") or "")
        for one in document["diagnostics"]
    ]
    everybody = [*document["senders"], *document["administrators"]]
    anchors = {id(one): f"s{number}" for number, one in enumerate(everybody, 1)}
    return template_page(
        "senders.html", f"senders {document['account']}", document=document, heading=headline(document),
        anchor=lambda one: anchors[id(one)],
        drawn=_paths(document), details=lambda one: _details(one, now), row=lambda one: _row(one, now), look=_look,
        name=_name, left=max(len(document["senders"]) - _DRAWN, 0), found=fold_diagnostics(diagnostics),
        lines=[f"{plural(document['principals'], 'user')} and roles read",
               f"{plural(len(document['administrators']), 'administrator')}", f"read at {now}"],
    )  # fmt: skip


def _look(one: SendersDocument) -> str:
    """The colour: red for what nothing declares, amber where it is unknown."""
    if one["can_send"] == "no":
        return "adopt"
    return "update" if one["can_send"] == "unknown" else "create" if one["declared_by"] else "delete"


def _details(one: SendersDocument, now: str) -> list[tuple[str, list[str]]]:
    keys = [
        f"{key['id'] or 'key'}: {key['status']}, made {key['created'] or 'at an unknown time'}, "
        + (f"last used {key['last_used']} for {key['last_service']} in {key['last_region']}"
           if key["last_used"] else "never used")
        for key in one["keys"] or ()
    ]  # fmt: skip
    every = {
        "ARN": [one["arn"]], "declared by": [one["declared_by"] or "nobody"], "from addresses": one["from_addresses"],
        "recipients": one["recipients"], "networks": one["networks"], "identities": one["identities"],
        "configuration sets": one["configuration_sets"], "resources": one["resources"], "actions": one["actions"],
        "ways": one["ways"], "used by": one["used_by"], "keys": ["unread"] if one["keys"] is None else keys,
        "last used": [_ago(one["last_used"], now)], "reasons": one["reasons"],
    }  # fmt: skip
    return [(name, values) for name, values in every.items() if values]


class _Paths:
    """Boxes by what they stand for, and the lines between them."""

    def __init__(self) -> None:
        self.boxes: dict[int, Box] = {}
        self.edges: set[tuple[int, int]] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def box(self, kind: str, name: str, action: str = "", target: Any = None) -> int:
        number = self._numbers.setdefault((kind, name), len(self._numbers))
        self.boxes.setdefault(number, Box(kind, name, action, target))
        return number

    def path(self, *numbers: int) -> None:
        self.edges |= set(pairwise(numbers))


def _paths(document: SendersDocument) -> Picture | None:
    """Who holds it, the sender, API or SMTP, the sets, the identities."""
    paths = _Paths()
    live = document["live"]
    for one in [s for s in document["senders"] if s["can_send"] != "no"][:_DRAWN]:
        sender = paths.box(one["type"], one["name"], _look(one), one)
        for who in one["used_by"][:_NAMED]:
            paths.path(paths.box("holds its password" if one["type"] == "user" else "may assume it", who), sender)
        named = _drawn(one["configuration_sets"], live["configuration_sets"])
        sets = [paths.box("configuration set", name) for name in named]
        ends = [paths.box("identity", name) for name in _drawn(one["identities"], live["identities"])]
        for way in one["ways"]:
            through = paths.box("through SES", way)
            paths.path(sender, through)
            for end in ends:
                for middle in sets:
                    paths.path(through, middle, end)
                if not sets:
                    paths.path(through, end)
    return laid_out(paths.boxes, sorted(paths.edges), False) if paths.edges else None


def _drawn(patterns: Iterable[str], live: Sequence[str]) -> list[str]:
    """The names that patterns stand for, or the patterns themselves where there are too many."""
    found: list[str] = []
    for pattern in patterns:
        fitting = [name for name in live if fnmatchcase(name, pattern)] if "*" in pattern else [pattern]
        found += fitting if 0 < len(fitting) <= _NAMED else ["every one" if pattern == "*" else pattern]
    return list(dict.fromkeys(found))[:_NAMED]
